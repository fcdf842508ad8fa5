void backward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    const size_t room = 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64;
    char *const own = kept ? kept : malloc(room);
    if (!own) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *const scratch = kept ? kept + unit*room : own, *at = scratch;
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict A__cells__v = (real *)take(&at, 40*sizeof(real));
        real *restrict A__cells__I = (real *)take(&at, 40*sizeof(real));
        real *restrict B__cells__I = (real *)take(&at, 40*sizeof(real));
        real *restrict Z__cells = (real *)take(&at, 40*sizeof(real));
        real *restrict D__record__cells__v = (real *)arrays[0];
        long *restrict strides__record__cells__v = (long *)arrays[1];
        long *restrict offsets__cells = (long *)arrays[2];
        int *restrict events__cells = (int *)arrays[3];
        real *restrict amounts__loop__I__0 = (real *)arrays[4] + set*strides[4];
        real *restrict G__amounts__loop__I__0 = (real *)arrays[5];
        real *restrict turned__amounts__loop__I__0 = (real *)arrays[6];
        real *restrict amounts__feed__I__1 = (real *)arrays[7] + set*strides[7];
        real *restrict G__amounts__feed__I__1 = (real *)arrays[8];
        long *restrict offsets__x = (long *)arrays[9];
        int *restrict channels__x = (int *)arrays[10];
        long *restrict given__spikes__cells = (long *)arrays[11];
        real *restrict D__spikes__cells = (real *)arrays[12];
        long *restrict strides__spikes__cells = (long *)arrays[13];
        const real hoisted__cells__3 = *((real *)arrays[14] + set*strides[14]);
        real *restrict tape__cells__v__1 = (real *)arrays[15];
        const real hoisted__cells__6 = *((real *)arrays[16] + set*strides[16]);
        const real of__cells__R = *((real *)arrays[17] + set*strides[17]);
        real *restrict tape__cells__v__0 = (real *)arrays[18];
        const real of__cells__E_L = *((real *)arrays[19] + set*strides[19]);
        real *restrict tape__cells__I__1 = (real *)arrays[20];
        const real hoisted__cells__4 = *((real *)arrays[21] + set*strides[21]);
        real *restrict G__hoisted__cells__4 = (real *)arrays[22];
        real *restrict G__hoisted__cells__6 = (real *)arrays[23];
        real *restrict initial__cells__v = (real *)arrays[24];
        real *restrict record__cells__v = (real *)arrays[25];
        if (end == steps) {
            memset(scratch, 0, room);
        }
        const long span = end - begin;
        for (long k = end - 1; k >= begin; k--) {
            const real t = (real)(k*0.001);
            if (k > begin) fetch(tape__cells__v__1 + (unit*span + k - 1 - begin)*TILE*5, TILE*5);
            if (k > begin) fetch(tape__cells__v__0 + (unit*span + k - 1 - begin)*TILE*5, TILE*5);
            if (k > begin) fetch(tape__cells__I__1 + (unit*span + k - 1 - begin)*TILE*5, TILE*5);
            if ((k + 1)%every == 0) {
                for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                    VECTOR for (long i = 0; i < 5; i++) {
                        const real g__out__ = D__record__cells__v[(trial + b)*strides__record__cells__v[0] + ((k + 1)/every - 1)*strides__record__cells__v[1] + i*strides__record__cells__v[2]];
                        A__cells__v[o + i] += g__out__;
                    } }
            }
            /* back through reset of cells */
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                { const int *list = ((events__cells + (trial + b)*steps*5) + (offsets__cells + (trial + b)*(steps + 1))[k]);
                    for (long e = 0, n = ((offsets__cells + (trial + b)*(steps + 1))[k + 1] - (offsets__cells + (trial + b)*(steps + 1))[k]); e < n; e++) { const long i = list[e];
                        const real g__new__v__0 = A__cells__v[o + i];
                        A__cells__v[o + i] = 0;
                    } }
            }
            /* back through loop delivers to cells.I */
            for (long b = 0; b < active; b++) {
                scatter(G__amounts__loop__I__0 + lane*25, B__cells__I + (k + 0)%1*TILE*5 + b*5, ((events__cells + (trial + b)*steps*5) + (offsets__cells + (trial + b)*(steps + 1))[k]), ((offsets__cells + (trial + b)*(steps + 1))[k + 1] - (offsets__cells + (trial + b)*(steps + 1))[k]), 5);
            }
            project(Z__cells, B__cells__I + (k + 0)%1*TILE*5, turned__amounts__loop__I__0, 5, 5);
            /* back through feed delivers to cells.I */
            for (long b = 0; b < active; b++) {
                scatter(G__amounts__feed__I__1 + lane*35, B__cells__I + (k + 0)%1*TILE*5 + b*5, (channels__x + (offsets__x + (first + b)*steps)[k]), ((offsets__x + (first + b)*steps)[k + 1] - (offsets__x + (first + b)*steps)[k]), 5);
            }
            /* back through spikes of cells */
            if (given__spikes__cells[0]) {
                for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                    VECTOR for (long i = 0; i < 5; i++) {
                        (Z__cells)[o + i] += D__spikes__cells[(trial + b)*strides__spikes__cells[0] + (k)*strides__spikes__cells[1] + i*strides__spikes__cells[2]];
                    } }
            }
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real x = (hoisted__cells__3 + tape__cells__v__1[q + i])*(real)49.99999999999999;
                    const real z = (Z__cells)[o + i]*(((real)1.0/(((real)1.0 + (real)25.0*R(fabs)(x))*((real)1.0 + (real)25.0*R(fabs)(x)))))*(real)49.99999999999999;
                    const real g__margin__ = z;
                    A__cells__v[o + i] += g__margin__;
                    (Z__cells)[o + i] = 0;
                } }
            /* back through integrate of cells */
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real g__new__v__1 = A__cells__v[o + i];
                    const real g__let__v_new = g__new__v__1;
                    A__cells__v[o + i] = g__let__v_new*(hoisted__cells__4);
                    A__cells__I[o + i] += g__let__v_new*(hoisted__cells__6*of__cells__R);
                    G__hoisted__cells__4[lane*5 + i] += g__let__v_new*(tape__cells__v__0[q + i]);
                    G__hoisted__cells__6[lane*5 + i] += g__let__v_new*(of__cells__E_L + tape__cells__I__1[q + i]*of__cells__R);
                } }
            /* back through inputs of cells */
            memcpy(B__cells__I + wrapped(k - 1, 1)*TILE*5, A__cells__I, active*5*sizeof(real));
            memset(A__cells__I, 0, active*5*sizeof(real));
        }
    }
    done:
    if (!kept) free(own);
}
