beginning of rate */
static int forward_0(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__rate__x = p[0];
    real *restrict begin__values = p[1];
    real *restrict initial__rate__x = p[2];
    for (long b = 0; b < active; b++) memcpy(of__rate__x + b*4, resumed ? begin__values + (trial + b)*4 + id + 0 : initial__rate__x, 4*sizeof(real));
    return 0;
}

/* inputs of rate */
static int forward_1(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__rate__z = p[0];
    real *restrict sent__loop = p[1];
    real *restrict of__rate__x = p[2];
    real *restrict total__loop = p[3];
    real *restrict amounts__loop__z__0 = p[4];
    real *restrict current__x = p[5];
    long *restrict channels__x = p[6];
    memset(of__rate__z, 0, active*4*sizeof(real));
    for (long b = 0; b < active; b++) VECTOR for (long i = 0; i < 4; i++) { const long s = i*4; sent__loop[b*4 + i] = of__rate__x[b*4 + i]; }
    memset(total__loop, 0, TILE*4*sizeof(real));
    project(total__loop, sent__loop, amounts__loop__z__0, 4, 4);
    for (long b = 0; b < active; b++) VECTOR for (long j = 0; j < 4; j++) { const long s = j; of__rate__z[b*4 + j] += ((real)1.0)*total__loop[b*4 + j]; }
    for (long b = 0; b < active; b++) { const real *in = current__x + ((first + b)*steps + k)*channels__x[0];
        const long one = channels__x[0] == 1;
        VECTOR for (long i = 0; i < 4; i++) of__rate__z[b*4 + i] += in[one ? 0 : i]; }
    return 0;
}

/* integrate of rate */
static int forward_2(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__rate__x = p[0];
    const real hoisted__rate__1 = *(real *)p[1];
    real *restrict of__rate__z = p[2];
    for (long b = 0; b < active; b++) { const long o = b*4; int bad = 0;
        VECTOR for (long i = 0; i < 4; i++) {
            bad |= !((of__rate__x[o + i] - of__rate__x[o + i]) == 0);
            const real let__new__x = of__rate__x[o + i] + hoisted__rate__1*(-of__rate__x[o + i] + R(tanh)(of__rate__z[o + i]));
            const real new__x__1 = let__new__x;
            of__rate__x[o + i] = new__x__1;
        }
        if (bad && k > 0) return 1;
    }
    return 0;
}

/* values of rate */
static int forward_3(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict of__rate__x = p[0];
    for (long b = 0; b < active; b++) for (long i = 0; i < 4; i++) {
        if (!isfinite(of__rate__x[b*4 + i])) return failed(u, id, 0, k - 1, b, i);
    }
    return 0;
}

/* end of rate */
static int forward_4(const unit_t *u, void *const *p, long k, int id) { UNIT
    real *restrict end__values = p[0];
    real *restrict of__rate__x = p[1];
    for (long b = 0; b < active; b++) {
        memcpy(end__values + (trial + b)*4 + id + 0, of__rate__x + b*4, 4*sizeof(real));
    }
    return 0;
}

static const call_t forward_start[] = {{forward_0, 0, 0}};
static const call_t forward_past[] = {};
static const call_t forward_each[] = {{forward_1, 3, 0}, {forward_2, 10, 0}};
static const call_t forward_finish[] = {{forward_3, 13, 0}, {forward_4, 14, 0}};
static const int forward_places[] = {-4, 4, 5, -3, -1, -4, -2, 0, 1, 2, -4, 3, -3, -4, 6, -4};
static const size_t forward_rooms[] = {4*sizeof(real), 4*sizeof(real), 4*sizeof(real), 4*sizeof(real)};
static const text_t forward_text = {forward_start, forward_past, forward_each, forward_finish, 1, 0, 2, 2, forward_places, 16, forward_rooms, 4, 0};
void forward(void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart) {
    work(&forward_text, arrays, strides, status, run, begin, end, from, until, lane, scratch, apart);
}
