beginning of cells */
static int forward_0(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict begin__values = p[1];
    real *restrict initial__cells__v = p[2];
    real *restrict coming__cells__I__0 = p[3];
    long *restrict offsets__cells = p[4];
    for (long b = 0; b < active; b++) memcpy(of__cells__v + b*5, resumed ? begin__values + (trial + b)*10 + id + 0 : initial__cells__v, 5*sizeof(real));
    if (resumed) for (long b = 0; b < active; b++) memcpy(coming__cells__I__0 + (wrapped(k - 1, 1)*TILE + b)*5, begin__values + (trial + b)*10 + id + 5, 5*sizeof(real));
    for (long b = 0; b < active; b++) (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[-past] = 0;
    return 0;
}

/* inputs of cells */
static int forward_1(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__I = p[0];
    real *restrict coming__cells__I__0 = p[1];
    memcpy(of__cells__I, coming__cells__I__0 + wrapped(k - 1, 1)*TILE*5, active*5*sizeof(real)); memset(coming__cells__I__0 + wrapped(k - 1, 1)*TILE*5, 0, active*5*sizeof(real));
    return 0;
}

/* integrate of cells */
static int forward_2(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    const real hoisted__cells__0 = *(real *)p[1];
    const real hoisted__cells__3 = *(real *)p[2];
    const real of__cells__E_L = *(real *)p[3];
    real *restrict of__cells__I = p[4];
    const real of__cells__R = *(real *)p[5];
    const real of__cells__v_th = *(real *)p[6];
    int *restrict fired__cells = p[7];
    long *restrict offsets__cells = p[8];
    int *restrict events__cells = p[9];
    for (long b = 0; b < active; b++) { const long o = b*5; int bad = 0;
        VECTOR for (long i = 0; i < 5; i++) {
            bad |= !((of__cells__v[o + i] - of__cells__v[o + i]) == 0);
            const real let__new__v = hoisted__cells__0*of__cells__v[o + i] + hoisted__cells__3*(of__cells__E_L + of__cells__I[o + i]*of__cells__R);
            const real new__v__1 = let__new__v;
            of__cells__v[o + i] = new__v__1;
            const int z = (new__v__1 > of__cells__v_th);
            fired__cells[o + i] = z;
        }
        if (bad && k > 0) return 1;
    }
    for (long b = 0; b < active; b++) { long *at = (offsets__cells + (trial + b)*(past + steps) + trial + b + past) + k;
        at[1] = at[0] + hits(fired__cells + b*5, 0, 5, (events__cells + (trial + b)*(past + steps)*5) + at[0]);
    }
    return 0;
}

/* feed delivers to cells.I */
static int forward_3(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict coming__cells__I__0 = p[0];
    real *restrict amounts__feed__I__0 = p[1];
    int *restrict channels__x = p[2];
    long *restrict offsets__x = p[3];
    for (long b = 0; b < active; b++) gather(coming__cells__I__0 + (0*TILE + b)*5, amounts__feed__I__0, (channels__x + (offsets__x + (first + b)*(past + steps) + past)[k]), ((offsets__x + (first + b)*(past + steps) + past)[k + 1] - (offsets__x + (first + b)*(past + steps) + past)[k]), 5);
    return 0;
}

/* loop delivers to cells.I */
static int forward_4(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict coming__cells__I__0 = p[0];
    real *restrict amounts__loop__I__1 = p[1];
    int *restrict events__cells = p[2];
    long *restrict offsets__cells = p[3];
    for (long b = 0; b < active; b++) gather(coming__cells__I__0 + (0*TILE + b)*5, amounts__loop__I__1, ((events__cells + (trial + b)*(past + steps)*5) + (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k]), ((offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k + 1] - (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k]), 5);
    return 0;
}

/* reset of cells */
static int forward_5(const unit_t *u, void *const *p, long k, int id) { UNIT
    int *restrict events__cells = p[0];
    long *restrict offsets__cells = p[1];
    const real of__cells__E_L = *(real *)p[2];
    real *restrict of__cells__v = p[3];
    for (long b = 0; b < active; b++) { const long o = b*5;
        { const int *list = ((events__cells + (trial + b)*(past + steps)*5) + (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k]);
            for (long e = 0, n = ((offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k + 1] - (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k]); e < n; e++) { const long i = list[e];
                const real new__v__0 = of__cells__E_L;
                of__cells__v[o + i] = new__v__0;
            } }
    }
    return 0;
}

/* values of cells */
static int forward_6(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    for (long b = 0; b < active; b++) for (long i = 0; i < 5; i++) {
        if (!isfinite(of__cells__v[b*5 + i])) return failed(u, id, 0, k - 1, b, i);
    }
    return 0;
}

/* end of cells */
static int forward_7(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict end__values = p[0];
    real *restrict of__cells__v = p[1];
    real *restrict coming__cells__I__0 = p[2];
    for (long b = 0; b < active; b++) {
        memcpy(end__values + (trial + b)*10 + id + 0, of__cells__v + b*5, 5*sizeof(real));
        memcpy(end__values + (trial + b)*10 + id + 5, coming__cells__I__0 + (wrapped(k - 1, 1)*TILE + b)*5, 5*sizeof(real));
    }
    return 0;
}

static const call_t forward_start[] = {{forward_0, 0, 0}};
static const call_t forward_past[] = {};
static const call_t forward_each[] = {{forward_1, 5, 0}, {forward_2, 7, 0}, {forward_3, 17, 0}, {forward_4, 21, 0}, {forward_5, 25, 0}};
static const call_t forward_finish[] = {{forward_6, 29, 0}, {forward_7, 30, 0}};
static const int forward_places[] = {-3, 11, 12, -1, 5, -2, -1, -3, 0, 1, 2, -2, 3, 4, -4, 5, 6, -1, 7, 9, 8, -1, 10, 6, 5, 6, 5, 2, -3, -3, 13, -3, -1};
static const size_t forward_rooms[] = {5*sizeof(real), 5*sizeof(real), 5*sizeof(real), 5*sizeof(int)};
static const text_t forward_text = {forward_start, forward_past, forward_each, forward_finish, 1, 0, 5, 2, forward_places, 33, forward_rooms, 4, 0};
void forward(void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart) {
    work(&forward_text, arrays, strides, status, run, begin, end, from, until, lane, scratch, apart);
}
