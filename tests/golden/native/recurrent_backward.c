void backward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    const size_t room = 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64;
    char *const own = kept ? kept : malloc(room);
    if (!own) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *const scratch = kept ? kept + unit*room : own, *at = scratch;
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        real *restrict A_cells__v = (real *)take(&at, 40*sizeof(real));
        real *restrict A_cells__I = (real *)take(&at, 40*sizeof(real));
        real *restrict B_cells__I = (real *)take(&at, 40*sizeof(real));
        real *restrict Z_cells = (real *)take(&at, 40*sizeof(real));
        real *restrict D_cells__v__record = (real *)arrays[0];
        long *restrict D_cells__v__record__strides = (long *)arrays[1];
        long *restrict cells__offsets = (long *)arrays[2];
        int *restrict cells__events = (int *)arrays[3];
        real *restrict loop__to__I = (real *)arrays[4] + set*strides[4];
        real *restrict G_loop__to__I = (real *)arrays[5];
        real *restrict loop__to__I__T = (real *)arrays[6];
        real *restrict feed__to__I = (real *)arrays[7] + set*strides[7];
        real *restrict G_feed__to__I = (real *)arrays[8];
        long *restrict x__offsets = (long *)arrays[9];
        int *restrict x__channels = (int *)arrays[10];
        long *restrict D_cells__spikes_given = (long *)arrays[11];
        real *restrict D_cells__spikes = (real *)arrays[12];
        long *restrict D_cells__spikes__strides = (long *)arrays[13];
        const real cells__c3 = *((real *)arrays[14] + set*strides[14]);
        real *restrict cells__v__at1 = (real *)arrays[15];
        const real cells__R = *((real *)arrays[16] + set*strides[16]);
        const real cells__c6 = *((real *)arrays[17] + set*strides[17]);
        real *restrict cells__v__at0 = (real *)arrays[18];
        const real cells__E_L = *((real *)arrays[19] + set*strides[19]);
        real *restrict cells__I__at1 = (real *)arrays[20];
        const real cells__c4 = *((real *)arrays[21] + set*strides[21]);
        real *restrict G_cells__c4 = (real *)arrays[22];
        real *restrict G_cells__c6 = (real *)arrays[23];
        real *restrict cells__v__initial = (real *)arrays[24];
        real *restrict cells__v__record = (real *)arrays[25];
        if (end == steps) {
            memset(scratch, 0, room);
        }
        const long span = end - begin;
        for (long k = end - 1; k >= begin; k--) {
            const real t = k*(real)0.001;
            if (k > begin) fetch(cells__v__at1 + (unit*span + k - 1 - begin)*TILE*5, TILE*5);
            if (k > begin) fetch(cells__v__at0 + (unit*span + k - 1 - begin)*TILE*5, TILE*5);
            if (k > begin) fetch(cells__I__at1 + (unit*span + k - 1 - begin)*TILE*5, TILE*5);
            if ((k + 1)%every == 0) {
                for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                    VECTOR for (long i = 0; i < 5; i++) {
                        const real g_l_out = D_cells__v__record[(trial + b)*D_cells__v__record__strides[0] + ((k + 1)/every - 1)*D_cells__v__record__strides[1] + i*D_cells__v__record__strides[2]];
                        A_cells__v[o + i] += g_l_out;
                    } }
            }
            /* back through reset of cells */
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                { const int *list = ((cells__events + (trial + b)*steps*5) + (cells__offsets + (trial + b)*(steps + 1))[k]);
                    for (long e = 0, n = ((cells__offsets + (trial + b)*(steps + 1))[k + 1] - (cells__offsets + (trial + b)*(steps + 1))[k]); e < n; e++) { const long i = list[e];
                        const real g_l_v__0 = A_cells__v[o + i];
                        A_cells__v[o + i] = 0;
                    } }
            }
            /* back through loop delivers to cells.I */
            for (long b = 0; b < active; b++) {
                scatter(G_loop__to__I + lane*25, B_cells__I + (k + 0)%1*TILE*5 + b*5, ((cells__events + (trial + b)*steps*5) + (cells__offsets + (trial + b)*(steps + 1))[k]), ((cells__offsets + (trial + b)*(steps + 1))[k + 1] - (cells__offsets + (trial + b)*(steps + 1))[k]), 5);
            }
            project(Z_cells, B_cells__I + (k + 0)%1*TILE*5, loop__to__I__T, 5, 5);
            /* back through feed delivers to cells.I */
            for (long b = 0; b < active; b++) {
                scatter(G_feed__to__I + lane*35, B_cells__I + (k + 0)%1*TILE*5 + b*5, (x__channels + (x__offsets + (first + b)*steps)[k]), ((x__offsets + (first + b)*steps)[k + 1] - (x__offsets + (first + b)*steps)[k]), 5);
            }
            /* back through spikes of cells */
            if (D_cells__spikes_given[0]) {
                for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                    VECTOR for (long i = 0; i < 5; i++) {
                        (Z_cells)[o + i] += D_cells__spikes[(trial + b)*D_cells__spikes__strides[0] + (k)*D_cells__spikes__strides[1] + i*D_cells__spikes__strides[2]];
                    } }
            }
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real x = (cells__c3 + cells__v__at1[q + i])*(real)49.99999999999999;
                    const real z = (Z_cells)[o + i]*((1/((((real)1.0 + (real)25.0*R(fabs)(x))*((real)1.0 + (real)25.0*R(fabs)(x))))))*(real)49.99999999999999;
                    const real g_l_margin = z;
                    A_cells__v[o + i] += g_l_margin;
                    (Z_cells)[o + i] = 0;
                } }
            /* back through integrate of cells */
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*span + k - begin)*TILE + b)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real g_l_v__1 = A_cells__v[o + i];
                    const real g_l_v_new = g_l_v__1;
                    A_cells__v[o + i] = g_l_v_new*(cells__c4);
                    A_cells__I[o + i] += g_l_v_new*(cells__R*cells__c6);
                    G_cells__c4[lane*5 + i] += g_l_v_new*(cells__v__at0[q + i]);
                    G_cells__c6[lane*5 + i] += g_l_v_new*(cells__E_L + cells__I__at1[q + i]*cells__R);
                } }
            /* back through inputs of cells */
            memcpy(B_cells__I + wrapped(k - 1, 1)*TILE*5, A_cells__I, active*5*sizeof(real));
            memset(A_cells__I, 0, active*5*sizeof(real));
        }
    }
    done:
    if (!kept) free(own);
}
