/* beginning of cells */
static __device__ int forward_0(const unit_t *u, long k, int id, real *of__cells__v, real *begin__values, real *initial__cells__v, real *coming__cells__I__0) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) COPY(of__cells__v + b*5, resumed ? begin__values + (trial + b)*10 + id + 0 : initial__cells__v, 5);
    if (resumed) for (long b = 0; b < active; b++) COPY(coming__cells__I__0 + (wrapped(k - 1, 1)*TILE + b)*5, begin__values + (trial + b)*10 + id + 5, 5);
    return failing;
}

/* inputs of cells */
static __device__ int forward_1(const unit_t *u, long k, int id, real *of__cells__I, real *coming__cells__I__0) { UNIT int failing = 0;
    COPY(of__cells__I, coming__cells__I__0 + wrapped(k - 1, 1)*TILE*5, active*5); CLEAR(coming__cells__I__0 + wrapped(k - 1, 1)*TILE*5, active*5);
    return failing;
}

/* integrate of cells */
static __device__ int forward_2(const unit_t *u, long k, int id, real *of__cells__v, real hoisted__cells__0, real hoisted__cells__3, real of__cells__E_L, real *of__cells__I, real of__cells__R, real of__cells__v_th, int *fired__cells, int *words__cells) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) { const long o = b*5; int bad = 0;
        VECTOR OWN(i, 5) {
            bad |= !((of__cells__v[o + i] - of__cells__v[o + i]) == 0);
            const real let__new__v = hoisted__cells__0*of__cells__v[o + i] + hoisted__cells__3*(of__cells__E_L + of__cells__I[o + i]*of__cells__R);
            const real new__v__1 = let__new__v;
            of__cells__v[o + i] = new__v__1;
            const int z = (new__v__1 > of__cells__v_th);
            fired__cells[o + i] = z;
        }
        failing |= bad && k > 0;
    }
    for (long b = 0; b < active; b++) noted(fired__cells + b*5, 5, (words__cells + ((trial + b)*(past + steps) + past + k)*1));
    return failing;
}

/* feed delivers to cells.I */
static __device__ int forward_3(const unit_t *u, long k, int id, real *coming__cells__I__0, real *amounts__feed__I__0, int *channels__x, long *offsets__x) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) gather(coming__cells__I__0 + (0*TILE + b)*5, amounts__feed__I__0, (channels__x + (offsets__x + (first + b)*(past + steps) + past)[k]), ((offsets__x + (first + b)*(past + steps) + past)[k + 1] - (offsets__x + (first + b)*(past + steps) + past)[k]), 5);
    return failing;
}

/* loop delivers to cells.I */
static __device__ int forward_4(const unit_t *u, long k, int id, real *coming__cells__I__0, real *amounts__loop__I__1, int *words__cells) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) gather_fired(coming__cells__I__0 + (0*TILE + b)*5, amounts__loop__I__1, (words__cells + ((trial + b)*(past + steps) + past + k)*1), 5, 5);
    return failing;
}

/* reset of cells */
static __device__ int forward_5(const unit_t *u, long k, int id, int *fired__cells, real of__cells__E_L, real *of__cells__v) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) { const long o = b*5;
        OWN(i, 5) { if (!fired__cells[o + i]) continue;
            const real new__v__0 = of__cells__E_L;
            of__cells__v[o + i] = new__v__0;
        }
    }
    return failing;
}

/* values of cells */
static __device__ int forward_6(const unit_t *u, long k, int id, real *of__cells__v) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) for (long i = 0; i < 5; i++) {
        if (!isfinite(of__cells__v[b*5 + i])) return failed(u, id, 0, k - 1, b, i);
    }
    return failing;
}

/* end of cells */
static __device__ int forward_7(const unit_t *u, long k, int id, real *end__values, real *of__cells__v, real *coming__cells__I__0) { UNIT int failing = 0;
    for (long b = 0; b < active; b++) {
        COPY(end__values + (trial + b)*10 + id + 0, of__cells__v + b*5, 5);
        COPY(end__values + (trial + b)*10 + id + 5, coming__cells__I__0 + (wrapped(k - 1, 1)*TILE + b)*5, 5);
    }
    return failing;
}

KERNEL void __launch_bounds__(THREADS) forward_kernel(void *const *arrays, const long *strides, long *statuses, const run_t *run, long from, long until, long begin, long end, char *scratch, long apart) {
    SHARED(shared);
    long held = -1;
    for (long unit = from + blockIdx.x; unit < until; unit += gridDim.x) {
        const long set = unit / run->batch, past = run->past;
        const unit_t own_unit = {statuses + STATUS*blockIdx.x, run, begin, end, end - begin, unit, unit % run->batch, 1, unit, blockIdx.x, 0};
        const unit_t *const u = &own_unit;
        char *const own_room = ALIGNED(scratch) + (apart ? unit*apart : (long)blockIdx.x*256);
        char *const room = shared;
        WATCH(room, 256);
        const real hoisted__cells__0 = *(real *)GIVEN(0);
        const real hoisted__cells__3 = *(real *)GIVEN(1);
        const real of__cells__E_L = *(real *)GIVEN(2);
        const real of__cells__R = *(real *)GIVEN(3);
        const real of__cells__v_th = *(real *)GIVEN(4);
        int *const words__cells = (int *)GIVEN(5);
        real *const amounts__feed__I__0 = (real *)(shared + 512);
        long *const offsets__x = (long *)GIVEN(7);
        int *const channels__x = (int *)GIVEN(8);
        real *const amounts__loop__I__1 = (real *)(shared + 256);
        real *const begin__values = (real *)GIVEN(10);
        real *const initial__cells__v = (real *)GIVEN(11);
        real *const end__values = (real *)GIVEN(12);
        real *const coming__cells__I__0 = (real *)(room + 0);
        real *const of__cells__I = (real *)(room + 64);
        real *const of__cells__v = (real *)(room + 128);
        int *const fired__cells = (int *)(room + 192);
        if (set != held) {
            COPY(amounts__loop__I__1, (real *)GIVEN(9), 25);
            COPY(amounts__feed__I__0, (real *)GIVEN(6), 35);
            held = set; }
        if (!(begin == 0)) COPY(room, own_room, 256);
        if (begin == 0) {
            CLEAR(room, 256); __syncthreads();
            { const long k = begin;
                forward_0(u, k, 0, of__cells__v, begin__values, initial__cells__v, coming__cells__I__0); __syncthreads();
            }
        }
        __syncthreads();
        long suspect = -1;
        for (long k = begin; k < end; k++) {
            forward_1(u, k, 0, of__cells__I, coming__cells__I__0);
            if (forward_2(u, k, 0, of__cells__v, hoisted__cells__0, hoisted__cells__3, of__cells__E_L, of__cells__I, of__cells__R, of__cells__v_th, fired__cells, words__cells) && suspect < 0) suspect = k;
            forward_3(u, k, 0, coming__cells__I__0, amounts__feed__I__0, channels__x, offsets__x);
            AGREED(k)
            forward_4(u, k, 0, coming__cells__I__0, amounts__loop__I__1, words__cells);
            forward_5(u, k, 0, fired__cells, of__cells__E_L, of__cells__v);
        }
        AGREED(end)
        { const long k = end;
            if (forward_6(u, k, 0, of__cells__v)) return; __syncthreads();
            if (forward_7(u, k, 0, end__values, of__cells__v, coming__cells__I__0)) return; __syncthreads();
        }
        if (apart) COPY(own_room, room, 256);
        __syncthreads();
    }
}
