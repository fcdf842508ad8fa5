void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long from, long until, long lane) {
    const size_t room = 64 + 5*sizeof(real) + 64 + 5*sizeof(real) + 64 + 5*sizeof(int) + 64 + 5*sizeof(real) + 64 + 21*sizeof(int) + 64 + 1*sizeof(int) + 64;
    char *const scratch = malloc(room);
    if (!scratch) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *at = scratch;
        memset(scratch, 0, room);
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict cells__v = (real *)take(&at, 5*sizeof(real));
        real *restrict cells__I = (real *)take(&at, 5*sizeof(real));
        int *restrict cells__z = (int *)take(&at, 5*sizeof(int));
        real *restrict cells__I__coming = (real *)take(&at, 5*sizeof(real));
        int *restrict cells__list = (int *)take(&at, 21*sizeof(int));
        int *restrict cells__count = (int *)take(&at, 1*sizeof(int));
        real *restrict cells__v__initial = (real *)arrays[0];
        const real cells__c0 = *((real *)arrays[1] + set*strides[1]);
        const real cells__c3 = *((real *)arrays[2] + set*strides[2]);
        const real cells__E_L = *((real *)arrays[3] + set*strides[3]);
        const real cells__R = *((real *)arrays[4] + set*strides[4]);
        const real cells__c4 = *((real *)arrays[5] + set*strides[5]);
        byte *restrict cells__spikes = (byte *)arrays[6];
        real *restrict feed__to__I = (real *)arrays[7] + set*strides[7];
        long *restrict x__offsets = (long *)arrays[8];
        int *restrict x__channels = (int *)arrays[9];
        real *restrict loop__to__I = (real *)arrays[10] + set*strides[10];
        for (long b = 0; b < active; b++) memcpy(cells__v + b*5, cells__v__initial, 5*sizeof(real));
        for (long k = 0; k < steps; k++) {
            const real t = k*(real)0.001;
            /* inputs of cells */
            memcpy(cells__I, cells__I__coming + wrapped(k - 1, 1)*TILE*5, active*5*sizeof(real)); memset(cells__I__coming + wrapped(k - 1, 1)*TILE*5, 0, active*5*sizeof(real));
            /* integrate of cells */
            for (long b = 0; b < active; b++) { const long o = b*5; int bad = 0;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real l_v_new = cells__c0*cells__v[o + i] + cells__c3*(cells__E_L + cells__I[o + i]*cells__R);
                    const real l_v__1 = l_v_new;
                    cells__v[o + i] = l_v__1;
                    bad |= !(l_v__1 - l_v__1 == 0);
                }
                if (bad) for (long i = 0; i < 5; i++) {
                    if (!isfinite(cells__v[o + i])) { status[0] = 1; status[1] = 0; status[2] = 0; status[3] = k; status[4] = trial + b; status[5] = i; goto done; }
                }
            }
            /* spikes of cells */
            for (long b = 0; b < active; b++) { const long o = b*5;
                byte *restrict out = cells__spikes + ((trial + b)*steps + k)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const int z = (cells__c4 + cells__v[o + i] > 0);
                    cells__z[o + i] = z; out[i] = (byte)z;
                } }
            for (long b = 0; b < active; b++) cells__count[b] = hits(cells__spikes + ((trial + b)*steps + k)*5, 5, (cells__list + b*21));
            /* feed delivers to cells.I */
            for (long b = 0; b < active; b++) gather(cells__I__coming + ((k + 0)%1*TILE + b)*5, feed__to__I, (x__channels + x__offsets[(first + b)*steps + k]), x__offsets[(first + b)*steps + k + 1] - x__offsets[(first + b)*steps + k], 5);
            /* loop delivers to cells.I */
            for (long b = 0; b < active; b++) gather(cells__I__coming + ((k + 0)%1*TILE + b)*5, loop__to__I, (cells__list + b*21), cells__count[b], 5);
            /* reset of cells */
            for (long b = 0; b < active; b++) { const long o = b*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const int fired = cells__z[o + i];
                    const real l_v__0 = fired ? cells__E_L : cells__v[o + i];
                    cells__v[o + i] = l_v__0;
                }
            }
        }
    }
    done:
    free(scratch);
}
