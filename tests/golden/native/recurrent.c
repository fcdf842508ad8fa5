void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    const size_t room = 64 + 5*sizeof(real) + 64 + 5*sizeof(real) + 64 + 5*sizeof(int) + 64 + 5*sizeof(real) + 64;
    char *const own = kept ? kept : malloc(room);
    if (!own) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *const scratch = kept ? kept + unit*room : own, *at = scratch;
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict cells__v = (real *)take(&at, 5*sizeof(real));
        real *restrict cells__I = (real *)take(&at, 5*sizeof(real));
        int *restrict cells__z = (int *)take(&at, 5*sizeof(int));
        real *restrict cells__I__coming = (real *)take(&at, 5*sizeof(real));
        real *restrict cells__v__initial = (real *)arrays[0];
        long *restrict cells__offsets = (long *)arrays[1];
        int *restrict cells__events = (int *)arrays[2];
        const real cells__c0 = *((real *)arrays[3] + set*strides[3]);
        const real cells__c3 = *((real *)arrays[4] + set*strides[4]);
        const real cells__E_L = *((real *)arrays[5] + set*strides[5]);
        const real cells__R = *((real *)arrays[6] + set*strides[6]);
        const real cells__c4 = *((real *)arrays[7] + set*strides[7]);
        real *restrict feed__to__I = (real *)arrays[8] + set*strides[8];
        long *restrict x__offsets = (long *)arrays[9];
        int *restrict x__channels = (int *)arrays[10];
        real *restrict loop__to__I = (real *)arrays[11] + set*strides[11];
        if (begin == 0) {
            memset(scratch, 0, room);
            for (long b = 0; b < active; b++) memcpy(cells__v + b*5, cells__v__initial, 5*sizeof(real));
            for (long b = 0; b < active; b++) (cells__offsets + (trial + b)*(steps + 1))[0] = 0;
        }
        for (long k = begin; k < end; k++) {
            const real t = k*(real)0.001;
            /* inputs of cells */
            memcpy(cells__I, cells__I__coming + wrapped(k - 1, 1)*TILE*5, active*5*sizeof(real)); memset(cells__I__coming + wrapped(k - 1, 1)*TILE*5, 0, active*5*sizeof(real));
            /* integrate of cells */
            for (long b = 0; b < active; b++) { const long o = b*5; int bad = 0;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real l_v_new = cells__c0*cells__v[o + i] + cells__c3*(cells__E_L + cells__I[o + i]*cells__R);
                    const real l_v__1 = l_v_new;
                    cells__v[o + i] = l_v__1;
                    { const real sum = l_v__1; bad |= !(sum - sum == 0); }
                    const int z = ((step(cells__c4 + l_v__1)) > 0);
                    cells__z[o + i] = z;
                }
                if (bad) for (long i = 0; i < 5; i++) {
                    if (!isfinite(cells__v[o + i])) { status[0] = 1; status[1] = 0; status[2] = 0; status[3] = k; status[4] = trial + b; status[5] = i; goto done; }
                }
            }
            for (long b = 0; b < active; b++) { long *at = (cells__offsets + (trial + b)*(steps + 1)) + k;
                at[1] = at[0] + hits(cells__z + b*5, 5, (cells__events + (trial + b)*steps*5) + at[0]); }
            /* spikes of cells */
            /* feed delivers to cells.I */
            for (long b = 0; b < active; b++) gather(cells__I__coming + (0*TILE + b)*5, feed__to__I, (x__channels + (x__offsets + (first + b)*steps)[k]), ((x__offsets + (first + b)*steps)[k + 1] - (x__offsets + (first + b)*steps)[k]), 5);
            /* loop delivers to cells.I */
            for (long b = 0; b < active; b++) gather(cells__I__coming + (0*TILE + b)*5, loop__to__I, ((cells__events + (trial + b)*steps*5) + (cells__offsets + (trial + b)*(steps + 1))[k]), ((cells__offsets + (trial + b)*(steps + 1))[k + 1] - (cells__offsets + (trial + b)*(steps + 1))[k]), 5);
            /* reset of cells */
            for (long b = 0; b < active; b++) { const long o = b*5;
                { const int *list = ((cells__events + (trial + b)*steps*5) + (cells__offsets + (trial + b)*(steps + 1))[k]);
                    for (long e = 0, n = ((cells__offsets + (trial + b)*(steps + 1))[k + 1] - (cells__offsets + (trial + b)*(steps + 1))[k]); e < n; e++) { const long i = list[e];
                        const real l_v__0 = cells__E_L;
                        cells__v[o + i] = l_v__0;
                    } }
            }
        }
    }
    done:
    if (!kept) free(own);
}
