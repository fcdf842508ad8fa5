void backward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long from, long until, long lane) {
    const size_t room = 64 + 168*sizeof(int) + 64 + 8*sizeof(int) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64 + 40*sizeof(real) + 64;
    char *const scratch = malloc(room);
    if (!scratch) { status[0] = -1; return; }
    for (long unit = from; unit < until; unit++) {
        char *at = scratch;
        memset(scratch, 0, room);
        const long tiles = (batch + TILE - 1)/TILE, set = unit/tiles, first = unit%tiles*TILE;
        const long active = batch - first < TILE ? batch - first : TILE, trial = set*batch + first;
        int *restrict cells__list = (int *)take(&at, 168*sizeof(int));
        int *restrict cells__count = (int *)take(&at, 8*sizeof(int));
        real *restrict A_cells__v = (real *)take(&at, 40*sizeof(real));
        real *restrict A_cells__I = (real *)take(&at, 40*sizeof(real));
        real *restrict B_cells__I = (real *)take(&at, 40*sizeof(real));
        real *restrict Z_cells = (real *)take(&at, 40*sizeof(real));
        byte *restrict cells__spikes = (byte *)arrays[0];
        real *restrict D_cells__v__record = (real *)arrays[1];
        real *restrict loop__to__I = (real *)arrays[2] + set*strides[2];
        real *restrict G_loop__to__I = (real *)arrays[3];
        real *restrict loop__to__I__T = (real *)arrays[4];
        real *restrict feed__to__I = (real *)arrays[5] + set*strides[5];
        real *restrict G_feed__to__I = (real *)arrays[6];
        long *restrict x__offsets = (long *)arrays[7];
        int *restrict x__channels = (int *)arrays[8];
        real *restrict D_cells__spikes = (real *)arrays[9];
        long *restrict D_cells__spikes_given = (long *)arrays[10];
        const real cells__c3 = *((real *)arrays[11] + set*strides[11]);
        real *restrict cells__v__at1 = (real *)arrays[12];
        const real cells__R = *((real *)arrays[13] + set*strides[13]);
        const real cells__c6 = *((real *)arrays[14] + set*strides[14]);
        real *restrict cells__v__at0 = (real *)arrays[15];
        const real cells__E_L = *((real *)arrays[16] + set*strides[16]);
        real *restrict cells__I__at1 = (real *)arrays[17];
        const real cells__c4 = *((real *)arrays[18] + set*strides[18]);
        real *restrict G_cells__c4 = (real *)arrays[19];
        real *restrict G_cells__c6 = (real *)arrays[20];
        real *restrict cells__v__initial = (real *)arrays[21];
        real *restrict cells__v__record = (real *)arrays[22];
        for (long k = steps - 1; k >= 0; k--) {
            const real t = k*(real)0.001;
            for (long b = 0; b < active; b++) cells__count[b] = hits(cells__spikes + ((trial + b)*steps + k)*5, 5, (cells__list + b*21));
            if ((k + 1)%every == 0) {
                for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*steps + k)*TILE + b)*5;
                    VECTOR for (long i = 0; i < 5; i++) {
                        const real g_l_out = D_cells__v__record[((trial + b)*(steps/every) + (k + 1)/every - 1)*5 + i];
                        A_cells__v[o + i] += g_l_out;
                    } }
            }
            /* back through reset of cells */
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*steps + k)*TILE + b)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const int fired = (k >= 0 && cells__spikes[((trial + b)*steps + k - 0)*5 + i]);
                    const real g_l_v__0 = A_cells__v[o + i];
                    const real h_l_v__0 = g_l_v__0 - (fired ? 0 : g_l_v__0);
                    A_cells__v[o + i] = (fired ? 0 : g_l_v__0);
                } }
            /* back through loop delivers to cells.I */
            for (long b = 0; b < active; b++) {
                scatter(G_loop__to__I + lane*25, B_cells__I + (k + 0)%1*TILE*5 + b*5, (cells__list + b*21), cells__count[b], 5);
            }
            project(Z_cells, B_cells__I + (k + 0)%1*TILE*5, loop__to__I__T, 5, 5);
            /* back through feed delivers to cells.I */
            for (long b = 0; b < active; b++) {
                scatter(G_feed__to__I + lane*35, B_cells__I + (k + 0)%1*TILE*5 + b*5, (x__channels + x__offsets[(first + b)*steps + k]), x__offsets[(first + b)*steps + k + 1] - x__offsets[(first + b)*steps + k], 5);
            }
            /* back through spikes of cells */
            if (D_cells__spikes_given[0]) {
                for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*steps + k)*TILE + b)*5;
                    VECTOR for (long i = 0; i < 5; i++) {
                        (Z_cells)[o + i] += D_cells__spikes[((trial + b)*steps + k)*5 + i];
                    } }
            }
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*steps + k)*TILE + b)*5;
                VECTOR for (long i = 0; i < 5; i++) {
                    const real x = (cells__c3 + cells__v__at1[q + i])*(real)49.99999999999999;
                    const real z = (Z_cells)[o + i]*((1/((((real)1.0 + (real)25.0*R(fabs)(x))*((real)1.0 + (real)25.0*R(fabs)(x))))))*(real)49.99999999999999;
                    const real g_l_margin = z;
                    A_cells__v[o + i] += g_l_margin;
                    (Z_cells)[o + i] = 0;
                } }
            /* back through integrate of cells */
            for (long b = 0; b < active; b++) { const long o = b*5, q = ((unit*steps + k)*TILE + b)*5;
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
    free(scratch);
}
