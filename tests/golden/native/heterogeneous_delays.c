void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    const size_t room = 64 + 5*sizeof(real) + 64 + 5*sizeof(real) + 64 + 5*sizeof(int) + 64 + 30*sizeof(real) + 64;
    char *const own = kept ? kept : malloc(room);
    if (!own) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *const scratch = kept ? kept + unit*room : own, *at = scratch;
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict of__cells__v = (real *)take(&at, 5*sizeof(real));
        real *restrict of__cells__I = (real *)take(&at, 5*sizeof(real));
        int *restrict fired__cells = (int *)take(&at, 5*sizeof(int));
        real *restrict coming__cells__I = (real *)take(&at, 30*sizeof(real));
        real *restrict initial__cells__v = (real *)arrays[0];
        long *restrict offsets__cells = (long *)arrays[1];
        int *restrict events__cells = (int *)arrays[2];
        const real hoisted__cells__0 = *((real *)arrays[3] + set*strides[3]);
        const real hoisted__cells__3 = *((real *)arrays[4] + set*strides[4]);
        const real of__cells__E_L = *((real *)arrays[5] + set*strides[5]);
        const real of__cells__R = *((real *)arrays[6] + set*strides[6]);
        const real hoisted__cells__4 = *((real *)arrays[7] + set*strides[7]);
        real *restrict amounts__feed__I__0 = (real *)arrays[8] + set*strides[8];
        int *restrict delay__feed = (int *)arrays[9];
        long *restrict offsets__x = (long *)arrays[10];
        int *restrict channels__x = (int *)arrays[11];
        if (begin == 0) {
            memset(scratch, 0, room);
            for (long b = 0; b < active; b++) memcpy(of__cells__v + b*5, initial__cells__v, 5*sizeof(real));
            for (long b = 0; b < active; b++) (offsets__cells + (trial + b)*(steps + 1))[0] = 0;
        }
        for (long k = begin; k < end; k++) {
            const real t = (real)(k*0.001);
            /* inputs of cells */
            memcpy(of__cells__I, coming__cells__I + wrapped(k - 1, 6)*TILE*5, active*5*sizeof(real)); memset(coming__cells__I + wrapped(k - 1, 6)*TILE*5, 0, active*5*sizeof(real));
            /* integrate of cells */
            for (long b = 0; b < active; b++) { const long o = b*5; int bad = 0;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real let__v_new = hoisted__cells__0*of__cells__v[o + i] + hoisted__cells__3*(of__cells__E_L + of__cells__I[o + i]*of__cells__R);
                    const real new__v__1 = let__v_new;
                    of__cells__v[o + i] = new__v__1;
                    { const real sum = new__v__1; bad |= !(sum - sum == 0); }
                    const int z = ((step(hoisted__cells__4 + new__v__1)) > 0);
                    fired__cells[o + i] = z;
                }
                if (bad) for (long i = 0; i < 5; i++) {
                    if (!isfinite(of__cells__v[o + i])) { status[0] = 1; status[1] = 0; status[2] = 0; status[3] = k; status[4] = trial + b; status[5] = i; goto done; }
                }
            }
            for (long b = 0; b < active; b++) { long *at = (offsets__cells + (trial + b)*(steps + 1)) + k;
                at[1] = at[0] + hits(fired__cells + b*5, 5, (events__cells + (trial + b)*steps*5) + at[0]); }
            /* spikes of cells */
            /* feed delivers to cells.I */
            for (long b = 0; b < active; b++) {
                { const int *list = (channels__x + (offsets__x + (first + b)*steps)[k]);
                    for (long e = 0, n = ((offsets__x + (first + b)*steps)[k + 1] - (offsets__x + (first + b)*steps)[k]); e < n; e++) { const long i = list[e];
                        for (long j = 0; j < 5; j++) { const long s = i*5 + j;
                            coming__cells__I[((k + delay__feed[s])%6*TILE + b)*5 + j] += amounts__feed__I__0[s];
                        }
                    } }
            }
            /* reset of cells */
            for (long b = 0; b < active; b++) { const long o = b*5;
                { const int *list = ((events__cells + (trial + b)*steps*5) + (offsets__cells + (trial + b)*(steps + 1))[k]);
                    for (long e = 0, n = ((offsets__cells + (trial + b)*(steps + 1))[k + 1] - (offsets__cells + (trial + b)*(steps + 1))[k]); e < n; e++) { const long i = list[e];
                        const real new__v__0 = of__cells__E_L;
                        of__cells__v[o + i] = new__v__0;
                    } }
            }
        }
    }
    done:
    if (!kept) free(own);
}
