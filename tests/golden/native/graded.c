void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    const size_t room = 64 + 4*sizeof(real) + 64 + 4*sizeof(real) + 64 + 4*sizeof(real) + 64 + 4*sizeof(real) + 64;
    char *const own = kept ? kept : malloc(room);
    if (!own) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *const scratch = kept ? kept + unit*room : own, *at = scratch;
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict of__rate__x = (real *)take(&at, 4*sizeof(real));
        real *restrict of__rate__z = (real *)take(&at, 4*sizeof(real));
        real *restrict sent__loop = (real *)take(&at, 4*sizeof(real));
        real *restrict total__loop = (real *)take(&at, 4*sizeof(real));
        real *restrict initial__rate__x = (real *)arrays[0];
        real *restrict amounts__loop__z__0 = (real *)arrays[1] + set*strides[1];
        real *restrict current__x = (real *)arrays[2];
        long *restrict channels__x = (long *)arrays[3];
        const real hoisted__rate__1 = *((real *)arrays[4] + set*strides[4]);
        if (begin == 0) {
            memset(scratch, 0, room);
            for (long b = 0; b < active; b++) memcpy(of__rate__x + b*4, initial__rate__x, 4*sizeof(real));
        }
        for (long k = begin; k < end; k++) {
            const real t = (real)(k*0.001);
            /* inputs of rate */
            memset(of__rate__z, 0, active*4*sizeof(real));
            for (long b = 0; b < active; b++) VECTOR for (long i = 0; i < 4; i++) { const long s = i*4; sent__loop[b*4 + i] = of__rate__x[b*4 + i]; }
            memset(total__loop, 0, TILE*4*sizeof(real));
            project(total__loop, sent__loop, amounts__loop__z__0, 4, 4);
            for (long b = 0; b < active; b++) VECTOR for (long j = 0; j < 4; j++) { const long s = j; of__rate__z[b*4 + j] += (real)1.0*total__loop[b*4 + j]; }
            for (long b = 0; b < active; b++) { const real *in = current__x + ((first + b)*steps + k)*channels__x[0];
                const long one = channels__x[0] == 1;
                VECTOR for (long i = 0; i < 4; i++) of__rate__z[b*4 + i] += in[one ? 0 : i]; }
            /* integrate of rate */
            for (long b = 0; b < active; b++) { const long o = b*4; int bad = 0;
                VECTOR for (long i = 0; i < 4; i++) {
                    const real let__x_new = of__rate__x[o + i] + hoisted__rate__1*(-of__rate__x[o + i] + R(tanh)(of__rate__z[o + i]));
                    const real new__x__1 = let__x_new;
                    of__rate__x[o + i] = new__x__1;
                    { const real sum = new__x__1; bad |= !(sum - sum == 0); }
                }
                if (bad) for (long i = 0; i < 4; i++) {
                    if (!isfinite(of__rate__x[o + i])) { status[0] = 1; status[1] = 0; status[2] = 0; status[3] = k; status[4] = trial + b; status[5] = i; goto done; }
                }
            }
        }
    }
    done:
    if (!kept) free(own);
}
