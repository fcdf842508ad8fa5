beginning of cells */
static int forward_0(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict begin__values = p[1];
    real *restrict initial__cells__v = p[2];
    real *restrict of__cells__g_ampa = p[3];
    real *restrict initial__cells__g_ampa = p[4];
    long *restrict offsets__cells = p[5];
    for (long b = 0; b < active; b++) memcpy(of__cells__v + b*5, resumed ? begin__values + (trial + b)*10 + id + 0 : initial__cells__v, 5*sizeof(real));
    for (long b = 0; b < active; b++) memcpy(of__cells__g_ampa + b*5, resumed ? begin__values + (trial + b)*10 + id + 5 : initial__cells__g_ampa, 5*sizeof(real));
    for (long b = 0; b < active; b++) (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[-past] = 0;
    return 0;
}

/* inputs of cells */
static int forward_1(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__in__I = p[0];
    memset(of__cells__in__I, 0, active*5*sizeof(real));
    return 0;
}

/* integrate of cells */
static int forward_2(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict of__cells__g_ampa = p[1];
    const real hoisted__cells__1 = *(real *)p[2];
    const real hoisted__cells__0 = *(real *)p[3];
    const real of__cells__E_L = *(real *)p[4];
    const real of__cells__R = *(real *)p[5];
    real *restrict of__cells__in__I = p[6];
    const real of__cells__E_ampa = *(real *)p[7];
    const real hoisted__cells__5 = *(real *)p[8];
    const real of__cells__v_th = *(real *)p[9];
    int *restrict fired__cells = p[10];
    long *restrict offsets__cells = p[11];
    int *restrict events__cells = p[12];
    for (long b = 0; b < active; b++) { const long o = b*5; int bad = 0;
        VECTOR for (long i = 0; i < 5; i++) {
            bad |= !((of__cells__v[o + i] - of__cells__v[o + i]) + (of__cells__g_ampa[o + i] - of__cells__g_ampa[o + i]) == 0);
            const real let__new__v = of__cells__v[o + i]*R(exp)(hoisted__cells__1*((-(real)1.0) + of__cells__g_ampa[o + i]*hoisted__cells__0)) + hoisted__cells__1*(of__cells__E_L + of__cells__R*(of__cells__in__I[o + i] + of__cells__g_ampa[o + i]*of__cells__E_ampa))*exprel(hoisted__cells__1*((-(real)1.0) + of__cells__g_ampa[o + i]*hoisted__cells__0));
            const real let__new__g_ampa = of__cells__g_ampa[o + i]*hoisted__cells__5;
            const real new__v__2 = let__new__v;
            const real new__g_ampa__3 = let__new__g_ampa;
            of__cells__v[o + i] = new__v__2;
            of__cells__g_ampa[o + i] = new__g_ampa__3;
            const int z = (new__v__2 > of__cells__v_th);
            fired__cells[o + i] = z;
        }
        if (bad && k > 0) return 1;
    }
    for (long b = 0; b < active; b++) { long *at = (offsets__cells + (trial + b)*(past + steps) + trial + b + past) + k;
        at[1] = at[0] + hits(fired__cells + b*5, 0, 5, (events__cells + (trial + b)*(past + steps)*5) + at[0]);
    }
    return 0;
}

/* feed delivers to cells.g_ampa */
static int forward_3(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__g_ampa = p[0];
    real *restrict amounts__feed__g_ampa__0 = p[1];
    int *restrict channels__x = p[2];
    long *restrict offsets__x = p[3];
    for (long b = 0; b < active; b++) gather(of__cells__g_ampa + (0*TILE + b)*5, amounts__feed__g_ampa__0, (channels__x + (offsets__x + (first + b)*(past + steps) + past)[k]), ((offsets__x + (first + b)*(past + steps) + past)[k + 1] - (offsets__x + (first + b)*(past + steps) + past)[k]), 5);
    return 0;
}

/* reset of cells */
static int forward_4(const unit_t *u, void *const *p, long k, int id) { UNIT
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
static int forward_5(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict of__cells__g_ampa = p[1];
    for (long b = 0; b < active; b++) for (long i = 0; i < 5; i++) {
        if (!isfinite(of__cells__v[b*5 + i])) return failed(u, id, 0, k - 1, b, i);
        if (!isfinite(of__cells__g_ampa[b*5 + i])) return failed(u, id, 1, k - 1, b, i);
    }
    return 0;
}

/* end of cells */
static int forward_6(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict end__values = p[0];
    real *restrict of__cells__v = p[1];
    real *restrict of__cells__g_ampa = p[2];
    for (long b = 0; b < active; b++) {
        memcpy(end__values + (trial + b)*10 + id + 0, of__cells__v + b*5, 5*sizeof(real));
        memcpy(end__values + (trial + b)*10 + id + 5, of__cells__g_ampa + b*5, 5*sizeof(real));
    }
    return 0;
}

static const call_t forward_start[] = {{forward_0, 0, 0}};
static const call_t forward_past[] = {};
static const call_t forward_each[] = {{forward_1, 6, 0}, {forward_2, 7, 0}, {forward_3, 20, 0}, {forward_4, 24, 0}};
static const call_t forward_finish[] = {{forward_5, 28, 0}, {forward_6, 30, 0}};
static const int forward_places[] = {-2, 12, 13, -3, 14, 7, -1, -2, -3, 0, 1, 2, 3, -1, 4, 5, 6, -4, 7, 8, -3, 9, 11, 10, 8, 7, 2, -2, -2, -3, 15, -2, -3};
static const size_t forward_rooms[] = {5*sizeof(real), 5*sizeof(real), 5*sizeof(real), 5*sizeof(int)};
static const text_t forward_text = {forward_start, forward_past, forward_each, forward_finish, 1, 0, 4, 2, forward_places, 33, forward_rooms, 4, 0};
void forward(void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart) {
    work(&forward_text, arrays, strides, status, run, begin, end, from, until, lane, scratch, apart);
}
