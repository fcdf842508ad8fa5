beginning of cells */
static int forward_0(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__cells__v = p[0];
    real *restrict initial__cells__v = p[1];
    long *restrict offsets__cells = p[2];
    for (long b = 0; b < active; b++) memcpy(of__cells__v + b*5, initial__cells__v, 5*sizeof(real));
    for (long b = 0; b < active; b++) (offsets__cells + (trial + b)*(steps + 1))[0] = 0;
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
    for (long b = 0; b < active; b++) memcpy(of__feed__w + b*35, initial__feed__w, 35*sizeof(real));
    for (long b = 0; b < active; b++) memcpy(of__feed__x + b*35, initial__feed__x, 35*sizeof(real));
    for (long b = 0; b < active; b++) memcpy(of__feed__y + b*35, initial__feed__y, 35*sizeof(real));
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
    for (long b = 0; b < active; b++) { long *at = (offsets__cells + (trial + b)*(steps + 1)) + k;
        at[1] = at[0] + hits(fired__cells + b*5, 5, (events__cells + (trial + b)*steps*5) + at[0]); }
    return 0;
}

/* feed delivers to cells.v */
static int forward_5(const unit_t *u, void *const *p, long k, int id) { UNIT
    int *restrict channels__x = p[0];
    long *restrict offsets__x = p[1];
    real *restrict of__cells__v = p[2];
    real *restrict of__feed__w = p[3];
    for (long b = 0; b < active; b++) {
        { const int *list = (channels__x + (offsets__x + (first + b)*steps)[k]);
            for (long e = 0, n = ((offsets__x + (first + b)*steps)[k + 1] - (offsets__x + (first + b)*steps)[k]); e < n; e++) { const long i = list[e];
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
        { const int *list = (channels__x + (offsets__x + (first + b)*steps)[k]);
            for (long e = 0, n = ((offsets__x + (first + b)*steps)[k + 1] - (offsets__x + (first + b)*steps)[k]); e < n; e++) { const long i = list[e];
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
        if (((offsets__cells + (trial + b)*(steps + 1))[k + 1] - (offsets__cells + (trial + b)*(steps + 1))[k])) {
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
        { const int *list = ((events__cells + (trial + b)*steps*5) + (offsets__cells + (trial + b)*(steps + 1))[k]);
            for (long e = 0, n = ((offsets__cells + (trial + b)*(steps + 1))[k + 1] - (offsets__cells + (trial + b)*(steps + 1))[k]); e < n; e++) { const long i = list[e];
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

/* weights of feed */
static int forward_10(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict final__feed__w = p[0];
    real *restrict of__feed__w = p[1];
    memcpy(final__feed__w + trial*35, of__feed__w, active*35*sizeof(real));
    return 0;
}

static const call_t forward_start[] = {{forward_0, 0, 0}, {forward_1, 3, 0}};
static const call_t forward_each[] = {{forward_2, 9, 0}, {forward_3, 10, 0}, {forward_4, 13, 0}, {forward_5, 23, 0}, {forward_6, 27, 0}, {forward_7, 32, 0}, {forward_8, 37, 0}};
static const call_t forward_finish[] = {{forward_9, 41, 0}, {forward_10, 42, 0}};
static const int forward_places[] = {-1, 0, 1, -4, 3, -5, 4, -6, 5, -2, 6, -5, -6, -1, 7, 8, 9, -2, 10, 11, -3, 1, 2, 13, 12, -1, -4, 13, 12, -5, -4, -6, 1, -3, -6, -4, -5, 2, 1, 9, -1, -1, 14, -4};
static const size_t forward_rooms[] = {5*sizeof(real), 5*sizeof(real), 5*sizeof(int), 35*sizeof(real), 35*sizeof(real), 35*sizeof(real)};
static const text_t forward_text = {forward_start, forward_each, forward_finish, 2, 7, 2, forward_places, 44, forward_rooms, 6, 0};
void forward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    work(&forward_text, arrays, strides, status, steps, every, batch, begin, end, from, until, lane, kept);
}
