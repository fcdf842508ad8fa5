void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    const size_t room = 64 + 4*sizeof(real) + 64 + 4*sizeof(real) + 64 + 4*sizeof(real) + 64 + 4*sizeof(real) + 64;
    char *const own = kept ? kept : malloc(room);
    if (!own) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *const scratch = kept ? kept + unit*room : own, *at = scratch;
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict rate__x = (real *)take(&at, 4*sizeof(real));
        real *restrict rate__z = (real *)take(&at, 4*sizeof(real));
        real *restrict loop__sent = (real *)take(&at, 4*sizeof(real));
        real *restrict loop__total = (real *)take(&at, 4*sizeof(real));
        real *restrict rate__x__initial = (real *)arrays[0];
        real *restrict loop__to__z = (real *)arrays[1] + set*strides[1];
        real *restrict x__current = (real *)arrays[2];
        long *restrict x__channels = (long *)arrays[3];
        const real rate__c1 = *((real *)arrays[4] + set*strides[4]);
        if (begin == 0) {
            memset(scratch, 0, room);
            for (long b = 0; b < active; b++) memcpy(rate__x + b*4, rate__x__initial, 4*sizeof(real));
        }
        for (long k = begin; k < end; k++) {
            const real t = k*(real)0.001;
            /* inputs of rate */
            memset(rate__z, 0, active*4*sizeof(real));
            for (long b = 0; b < active; b++) VECTOR for (long i = 0; i < 4; i++) { const long s = i*4; loop__sent[b*4 + i] = rate__x[b*4 + i]; }
            memset(loop__total, 0, TILE*4*sizeof(real));
            project(loop__total, loop__sent, loop__to__z, 4, 4);
            for (long b = 0; b < active; b++) VECTOR for (long j = 0; j < 4; j++) { const long s = j; rate__z[b*4 + j] += (real)1.0*loop__total[b*4 + j]; }
            for (long b = 0; b < active; b++) { const real *in = x__current + ((first + b)*steps + k)*x__channels[0];
                const long one = x__channels[0] == 1;
                VECTOR for (long i = 0; i < 4; i++) rate__z[b*4 + i] += in[one ? 0 : i]; }
            /* integrate of rate */
            for (long b = 0; b < active; b++) { const long o = b*4; int bad = 0;
                VECTOR for (long i = 0; i < 4; i++) {
                    const real l_x_new = rate__x[o + i] + rate__c1*(-rate__x[o + i] + R(tanh)(rate__z[o + i]));
                    const real l_x__1 = l_x_new;
                    rate__x[o + i] = l_x__1;
                    { const real sum = l_x__1; bad |= !(sum - sum == 0); }
                }
                if (bad) for (long i = 0; i < 4; i++) {
                    if (!isfinite(rate__x[o + i])) { status[0] = 1; status[1] = 0; status[2] = 0; status[3] = k; status[4] = trial + b; status[5] = i; goto done; }
                }
            }
        }
    }
    done:
    if (!kept) free(own);
}
