beginning of cells */
static int forward_0(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict begin__values = p[1];
    real *restrict initial__cells__v = p[2];
    long *restrict offsets__cells = p[3];
    for (long b = 0; b < active; b++) memcpy(of__cells__v + b*5, resumed ? begin__values + (trial + b)*5 + id + 0 : initial__cells__v, 5*sizeof(real));
    for (long b = 0; b < active; b++) (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[-past] = 0;
    return 0;
}

/* beginning of feed */
static int forward_1(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__feed__w = p[0];
    real *restrict initial__feed__w = p[1];
    real *restrict of__feed__x = p[2];
    real *restrict initial__feed__x = p[3];
    real *restrict of__feed__y = p[4];
    real *restrict initial__feed__y = p[5];
    for (long b = 0; b < active; b++) memcpy(of__feed__w + b*35, initial__feed__w + (resumed ? (trial + b)*35 : 0), 35*sizeof(real));
    for (long b = 0; b < active; b++) memcpy(of__feed__x + b*35, initial__feed__x + (resumed ? (trial + b)*35 : 0), 35*sizeof(real));
    for (long b = 0; b < active; b++) memcpy(of__feed__y + b*35, initial__feed__y + (resumed ? (trial + b)*35 : 0), 35*sizeof(real));
    return 0;
}

/* inputs of cells */
static int forward_2(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__I = p[0];
    memset(of__cells__I, 0, active*5*sizeof(real));
    return 0;
}

/* integrate of feed */
static int forward_3(const unit_t *u, void *const *p, long k, int id) { UNIT
    const real hoisted__feed__0 = *(real *)p[0];
    real *restrict of__feed__x = p[1];
    real *restrict of__feed__y = p[2];
    for (long b = 0; b < active; b++) {
        for (long i = 0; i < 7; i++) {
            for (long j = 0; j < 5; j++) { const long s = i*5 + j;
                const real let__new__x = hoisted__feed__0*of__feed__x[b*35 + s];
                const real let__new__y = hoisted__feed__0*of__feed__y[b*35 + s];
                const real new__x__2 = let__new__x;
                const real new__y__3 = let__new__y;
                of__feed__x[b*35 + s] = new__x__2;
                of__feed__y[b*35 + s] = new__y__3;
            }
        }
    }
    return 0;
}

/* integrate of cells */
static int forward_4(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    const real hoisted__cells__1 = *(real *)p[1];
    const real hoisted__cells__4 = *(real *)p[2];
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
            const real let__new__v = hoisted__cells__1*of__cells__v[o + i] + hoisted__cells__4*(of__cells__E_L + of__cells__I[o + i]*of__cells__R);
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

/* feed delivers to cells.v */
static int forward_5(const unit_t *u, void *const *p, long k, int id) { UNIT
    int *restrict channels__x = p[0];
    long *restrict offsets__x = p[1];
    real *restrict of__cells__v = p[2];
    real *restrict of__feed__w = p[3];
    for (long b = 0; b < active; b++) {
        { const int *list = (channels__x + (offsets__x + (first + b)*(past + steps) + past)[k]);
            for (long e = 0, n = ((offsets__x + (first + b)*(past + steps) + past)[k + 1] - (offsets__x + (first + b)*(past + steps) + past)[k]); e < n; e++) { const long i = list[e];
                for (long j = 0; j < 5; j++) { const long s = i*5 + j;
                    of__cells__v[(0*TILE + b)*5 + j] += of__feed__w[b*35 + s];
                }
            } }
    }
    return 0;
}

/* on_pre of feed */
static int forward_6(const unit_t *u, void *const *p, long k, int id) { UNIT
    int *restrict channels__x = p[0];
    long *restrict offsets__x = p[1];
    real *restrict of__feed__x = p[2];
    real *restrict of__feed__w = p[3];
    real *restrict of__feed__y = p[4];
    for (long b = 0; b < active; b++) {
        { const int *list = (channels__x + (offsets__x + (first + b)*(past + steps) + past)[k]);
            for (long e = 0, n = ((offsets__x + (first + b)*(past + steps) + past)[k + 1] - (offsets__x + (first + b)*(past + steps) + past)[k]); e < n; e++) { const long i = list[e];
                for (long j = 0; j < 5; j++) { const long s = i*5 + j;
                    const real new__x__0 = (real)1.0 + of__feed__x[b*35 + s];
                    const real new__w__1 = minimum(maximum(of__feed__w[b*35 + s] + (-(real)0.0002)*of__feed__y[b*35 + s], (real)0.0), (real)0.02);
                    of__feed__x[b*35 + s] = new__x__0;
                    of__feed__w[b*35 + s] = new__w__1;
                }
            } }
    }
    return 0;
}

/* on_post of feed */
static int forward_7(const unit_t *u, void *const *p, long k, int id) { UNIT
    long *restrict offsets__cells = p[0];
    int *restrict fired__cells = p[1];
    real *restrict of__feed__y = p[2];
    real *restrict of__feed__w = p[3];
    real *restrict of__feed__x = p[4];
    for (long b = 0; b < active; b++) {
        if (((offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k + 1] - (offsets__cells + (trial + b)*(past + steps) + trial + b + past)[k])) {
            for (long i = 0; i < 7; i++) {
                for (long j = 0; j < 5; j++) { const long s = i*5 + j;
                    if (!fired__cells[b*5 + j]) continue;
                    const real new__y__0 = (real)1.0 + of__feed__y[b*35 + s];
                    const real new__w__1 = minimum(maximum(of__feed__w[b*35 + s] + (real)0.0002*of__feed__x[b*35 + s], (real)0.0), (real)0.02);
                    of__feed__y[b*35 + s] = new__y__0;
                    of__feed__w[b*35 + s] = new__w__1;
                }
            }
        }
    }
    return 0;
}

/* reset of cells */
static int forward_8(const unit_t *u, void *const *p, long k, int id) { UNIT
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
static int forward_9(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    for (long b = 0; b < active; b++) for (long i = 0; i < 5; i++) {
        if (!isfinite(of__cells__v[b*5 + i])) return failed(u, id, 0, k - 1, b, i);
    }
    return 0;
}

/* end of cells */
static int forward_10(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict end__values = p[0];
    real *restrict of__cells__v = p[1];
    for (long b = 0; b < active; b++) {
        memcpy(end__values + (trial + b)*5 + id + 0, of__cells__v + b*5, 5*sizeof(real));
    }
    return 0;
}

/* end of feed */
static int forward_11(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict final__feed__w = p[0];
    real *restrict of__feed__w = p[1];
    real *restrict final__feed__x = p[2];
    real *restrict of__feed__x = p[3];
    real *restrict final__feed__y = p[4];
    real *restrict of__feed__y = p[5];
    memcpy(final__feed__w + trial*35, of__feed__w, active*35*sizeof(real));
    memcpy(final__feed__x + trial*35, of__feed__x, active*35*sizeof(real));
    memcpy(final__feed__y + trial*35, of__feed__y, active*35*sizeof(real));
    return 0;
}

static const call_t forward_start[] = {{forward_0, 0, 0}, {forward_1, 4, 0}};
static const call_t forward_past[] = {};
static const call_t forward_each[] = {{forward_2, 10, 0}, {forward_3, 11, 0}, {forward_4, 14, 0}, {forward_5, 24, 0}, {forward_6, 28, 0}, {forward_7, 33, 0}, {forward_8, 38, 0}};
static const call_t forward_finish[] = {{forward_9, 42, 0}, {forward_10, 43, 0}, {forward_11, 45, 0}};
static const int forward_places[] = {-2, 10, 11, 6, -4, 12, -5, 13, -6, 14, -1, 0, -5, -6, -2, 1, 2, 3, -1, 4, 5, -3, 6, 7, 9, 8, -2, -4, 9, 8, -5, -4, -6, 6, -3, -6, -4, -5, 7, 6, 3, -2, -2, 15, -2, 16, -4, 17, -5, 18, -6};
static const size_t forward_rooms[] = {5*sizeof(real), 5*sizeof(real), 5*sizeof(int), 35*sizeof(real), 35*sizeof(real), 35*sizeof(real)};
static const text_t forward_text = {forward_start, forward_past, forward_each, forward_finish, 2, 0, 7, 3, forward_places, 51, forward_rooms, 6, 0};
void forward(void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart) {
    work(&forward_text, arrays, strides, status, run, begin, end, from, until, lane, scratch, apart);
}
