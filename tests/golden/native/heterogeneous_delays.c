beginning of cells */
static int forward_0(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict initial__cells__v = p[1];
    long *restrict offsets__cells = p[2];
    for (long b = 0; b < active; b++) memcpy(of__cells__v + b*5, initial__cells__v, 5*sizeof(real));
    for (long b = 0; b < active; b++) (offsets__cells + (trial + b)*(steps + 1))[0] = 0;
    return 0;
}

/* inputs of cells */
static int forward_1(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__I = p[0];
    real *restrict coming__cells__I__0 = p[1];
    memcpy(of__cells__I, coming__cells__I__0 + wrapped(k - 1, 6)*TILE*5, active*5*sizeof(real)); memset(coming__cells__I__0 + wrapped(k - 1, 6)*TILE*5, 0, active*5*sizeof(real));
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
    for (long b = 0; b < active; b++) { long *at = (offsets__cells + (trial + b)*(steps + 1)) + k;
        at[1] = at[0] + hits(fired__cells + b*5, 5, (events__cells + (trial + b)*steps*5) + at[0]); }
    return 0;
}

/* feed delivers to cells.I */
static int forward_3(const unit_t *u, void *const *p, long k, int id) { UNIT
    int *restrict channels__x = p[0];
    long *restrict offsets__x = p[1];
    real *restrict coming__cells__I__0 = p[2];
    int *restrict delay__feed = p[3];
    real *restrict amounts__feed__I__0 = p[4];
    for (long b = 0; b < active; b++) {
        { const int *list = (channels__x + (offsets__x + (first + b)*steps)[k]);
            for (long e = 0, n = ((offsets__x + (first + b)*steps)[k + 1] - (offsets__x + (first + b)*steps)[k]); e < n; e++) { const long i = list[e];
                for (long j = 0; j < 5; j++) { const long s = i*5 + j;
                    coming__cells__I__0[((k + delay__feed[s])%6*TILE + b)*5 + j] += amounts__feed__I__0[s];
                }
            } }
    }
    return 0;
}

/* reset of cells */
static int forward_4(const unit_t *u, void *const *p, long k, int id) { UNIT
    int *restrict events__cells = p[0];
    long *restrict offsets__cells = p[1];
    const real of__cells__E_L = *(real *)p[2];
    real *restrict of__cells__v = p[3];
    for (long b = 0; b < active; b++) { const long o = b*5;
        { const int *list = ((events__cells + (trial + b)*steps*5) + (offsets__cells + (trial + b)*(steps + 1))[k]);
            for (long e = 0, n = ((offsets__cells + (trial + b)*(steps + 1))[k + 1] - (offsets__cells + (trial + b)*(steps + 1))[k]); e < n; e++) { const long i = list[e];
                const real new__v__0 = of__cells__E_L;
                of__cells__v[o + i] = new__v__0;
            } }
    }
    return 0;
}

/* values of cells */
static int forward_5(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    for (long b = 0; b < active; b++) for (long i = 0; i < 5; i++) {
        if (!isfinite(of__cells__v[b*5 + i])) return failed(u, id, 0, k - 1, b, i);
    }
    return 0;
}

static const call_t forward_start[] = {{forward_0, 0, 0}};
static const call_t forward_each[] = {{forward_1, 3, 0}, {forward_2, 5, 0}, {forward_3, 15, 0}, {forward_4, 20, 0}};
static const call_t forward_finish[] = {{forward_5, 24, 0}};
static const int forward_places[] = {-1, 0, 1, -2, -4, -1, 3, 4, 5, -2, 6, 7, -3, 1, 2, 11, 10, -4, 9, 8, 2, 1, 5, -1, -1};
static const size_t forward_rooms[] = {5*sizeof(real), 5*sizeof(real), 5*sizeof(int), 30*sizeof(real)};
static const text_t forward_text = {forward_start, forward_each, forward_finish, 1, 4, 1, forward_places, 25, forward_rooms, 4, 0};
void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    work(&forward_text, arrays, strides, status, steps, every, batch, begin, end, from, until, lane, kept);
}
