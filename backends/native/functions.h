/* Functions of numbers that C and CUDA share. R(name) names a function of the precision. */
static inline real exprel(real x) { const real safe = x == 0 ? 1 : x; return x == 0 ? 1 : R(expm1)(safe) / safe; }
/* (exp(x) - exprel(x))/x, its series near 0, where that is 0/0; without overflow before the result has it. */
static inline real exprel_slope(real x) {
    const real near = (real)0.5 + x * ((real)1 / 3 + x * ((real)1 / 8 + x * ((real)1 / 30 + x * ((real)1 / 144 + x * (real)(1.0 / 840)))));
    const real safe = R(fabs)(x) > EXPREL_NEAR ? x : 1, rest = R(expm1)(safe) / safe;
    const real far = safe > 1 ? rest * ((safe - 1) / safe) + 1 / safe : (R(exp)(safe) - rest) / safe;
    return R(fabs)(x) > EXPREL_NEAR ? far : near;
}
/* 0 times anything is 0: an adjoint that has vanished stays so, however steep what it goes back through. */
static inline real times(real g, real slope) { return (g == 0) | (slope == 0) ? 0 : g * slope; }
/* Derivatives of x**p, with their limits at 0. */
static inline real power_by_base(real x, real p) { return p == 0 ? 0 : p * R(pow)(x, p - 1); }
static inline real power_by_exponent(real x, real p) { return x > 0 ? R(pow)(x, p) * R(log)(x) : 0; }
static inline real sigmoid_of(real x) { return 1 / (1 + R(exp)(-x)); }
static inline real sign_of(real x) { return (real)((x > 0) - (x < 0)); }
static inline real greater(real a, real b) { return a > b ? 1 : 0; }
static inline real greater_equal(real a, real b) { return a >= b ? 1 : 0; }
/* NaN passes through both; at a tie the first is taken. */
static inline real minimum(real a, real b) { return a <= b ? a : b < a ? b : a + b; }
static inline real maximum(real a, real b) { return a >= b ? a : b > a ? b : a + b; }
static inline real straight_through(real value, real slope_of) { (void)slope_of; return value; }
static inline real chosen(real condition, real a, real b) { return condition > 0 ? a : b; }
/* The rest of an exact division, with the sign of b, as numpy has it. */
static inline real remainder_of(real a, real b) {
    const real rest = R(fmod)(a, b);
    return rest == 0 ? R(copysign)(rest, b) : (rest < 0) != (b < 0) ? rest + b : rest;
}
/* A count of this mean from a uniform number; see neuro/language/counts.py, whose order of operations this is. */
static inline real poisson_of(real mean, real uniform) {
    const double m = (double)mean, u = (double)uniform;
    double left = m, p = 1, s = 1, k = 0, scale = exp(-m);
    if (!(m > 0)) return m != m ? mean : 0;
    if (m > 1e6) return (real)INFINITY;
    while (u >= s * scale && !(k > m && p < s * 1e-17)) {
        k += 1;
        p *= m / k;
        s += p;
        if (p > 1e200 && left > 0) {
            const double shift = left < 400 ? left : 400;
            p *= exp(-shift);
            s *= exp(-shift);
            left -= shift;
            scale = exp(-left);
        }
    }
    return (real)k;
}
static inline real floor_ratio(real a, real b) { return R(floor)(a / b); }
static inline long wrapped(long k, long depth) { return ((k % depth) + depth) % depth; }
