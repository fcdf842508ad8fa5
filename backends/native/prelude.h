/* What generated kernels call. REAL_IS_FLOAT, TILE (trials side by side) come from the line before this text. */
/* No header but the one that names the C library: reading them takes longer than compiling a small kernel. */
#ifdef __linux__
#include <features.h>
#endif
typedef __SIZE_TYPE__ size_t;
void *malloc(size_t);
void free(void *);
void *memcpy(void *restrict, const void *restrict, size_t);
void *memset(void *, int, size_t);
#define INFINITY __builtin_inf()
#define NAN __builtin_nan("")
#define isfinite __builtin_isfinite

#ifdef REAL_IS_FLOAT
typedef float real;
#define EXPREL_NEAR (real)0.3
#define R(name) name##f
#else
typedef double real;
#define EXPREL_NEAR (real)0.02
#define R(name) name
#endif
#ifdef __AVX512F__
#define LANES (64 / (long)sizeof(real))
#else
#define LANES (32 / (long)sizeof(real))
#endif
typedef unsigned char byte;
typedef unsigned short ushort;
typedef real pack __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real))));
#define VECTOR _Pragma("GCC ivdep")

/* glibc's vector functions, errors up to 4 units in the last place; elsewhere the loops call libm one by one. */
#define SIMD
#if defined(__x86_64__) && defined(__GLIBC_PREREQ) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
#undef SIMD
#define SIMD __attribute__((simd("notinbranch")))
#endif
#endif
#define LIBM(name) real R(name)(real);
SIMD LIBM(exp) SIMD LIBM(log) SIMD LIBM(sin) SIMD LIBM(cos) SIMD LIBM(tan) SIMD LIBM(sinh) SIMD LIBM(cosh)
SIMD LIBM(tanh) SIMD LIBM(asin) SIMD LIBM(acos) SIMD LIBM(atan) SIMD LIBM(expm1) SIMD LIBM(log1p)
SIMD real R(pow)(real, real);
LIBM(sqrt) LIBM(floor) LIBM(ceil) LIBM(fabs)
real R(fmod)(real, real);
real R(copysign)(real, real);

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
/* The rest of an exact division, with the sign of b, as numpy has it. */
static inline real remainder_of(real a, real b) {
    const real rest = R(fmod)(a, b);
    return rest == 0 ? R(copysign)(rest, b) : (rest < 0) != (b < 0) ? rest + b : rest;
}

/* An entry of the exponential of the n x n matrix m: Taylor's series of m/2^k, squared k times. */
static real propagator(int row, int column, int n, const real *m) {
    double power[n * n], sum[n * n], next[n * n], norm = 0;
    for (int i = 0; i < n; i++) {
        double length = 0;
        for (int j = 0; j < n; j++) length += __builtin_fabs((double)m[i * n + j]);
        norm = length > norm || !(length <= norm) ? length : norm;
    }
    if (!isfinite(norm)) return (real)NAN;
    const int halved = norm > 0.25 ? (int)__builtin_ceil(__builtin_log2(norm)) + 2 : 0;
    const double scale = __builtin_ldexp(1.0, -halved);
    for (int i = 0; i < n * n; i++) power[i] = sum[i] = i % (n + 1) == 0;
    for (int term = 1; term <= 14; term++) {
        for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) {
            double dot = 0;
            for (int l = 0; l < n; l++) dot += power[i * n + l] * (double)m[l * n + j];
            next[i * n + j] = dot * scale / term;
        }
        for (int i = 0; i < n * n; i++) power[i] = next[i], sum[i] += next[i];
    }
    for (int square = 0; square < halved; square++) {
        for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) {
            double dot = 0;
            for (int l = 0; l < n; l++) dot += sum[i * n + l] * sum[l * n + j];
            next[i * n + j] = dot;
        }
        for (int i = 0; i < n * n; i++) sum[i] = next[i];
    }
    return (real)sum[row * n + column];
}
static inline long wrapped(long k, long depth) { return ((k % depth) + depth) % depth; }

/* The next piece of scratch, on a cache line of its own. */
static inline void *take(char **at, size_t bytes) {
    char *const found = (char *)(((size_t)*at + 63) & ~(size_t)63);
    *at = found + bytes;
    return found;
}

/* AVX-512 by the compiler's own functions, where it has them. */
#if defined(__AVX512F__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_compressstoresi512_mask) && __has_builtin(__builtin_ia32_ptestmd512)
#define COMPRESSES
typedef int ints __attribute__((vector_size(64), aligned(4)));
#endif
#endif

/* Indices of the cells i ... n - 1 that fired; gives their number. */
static inline long hits(const int *restrict z, long i, long n, int *restrict list) {
    long found = 0;
#ifdef COMPRESSES
    const ints count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (; i + 16 <= n; i += 16) {
        const ints some = *(const ints *)(z + i);
        const unsigned short fired = __builtin_ia32_ptestmd512(some, some, -1);
        if (fired) {
            __builtin_ia32_compressstoresi512_mask((void *)(list + found), count + (int)i, fired);
            found += __builtin_popcount(fired);
        }
    }
#endif
    for (; i + 8 <= n; i += 8) {
        int some = 0;
        for (int part = 0; part < 8; part++) some |= z[i + part];
        if (some) for (int part = 0; part < 8; part++) if (z[i + part]) list[found++] = (int)i + part;
    }
    for (; i < n; i++) if (z[i]) list[found++] = (int)i;
    return found;
}

/* Ask for an array that is read soon. */
static inline void fetch(const real *address, long n) {
    for (long i = 0; i < n; i += 64 / (long)sizeof(real)) __builtin_prefetch(address + i);
}

/* y += row */
static inline void add(real *restrict y, const real *restrict row, long n) { VECTOR for (long j = 0; j < n; j++) y[j] += row[j]; }

/* Which cells fired in the last steps, the present one first: cell, and how long ago above its 32 bits. at: where their lists begin. */
static long recent(const int *events, const long *at, long steps, long *restrict found) {
    long n = 0;
    for (long late = 0; late < steps; late++) for (long e = at[-late]; e < at[1 - late]; e++) found[n++] = late << 32 | events[e];
    return n;
}

/* Groups of synapses that arrive now: the first synapse of a row, and where a group's two ends are told, from there; then, in their
   place, these ends. */
typedef struct {
    long row, cut;
} due_t;
#define DUE 256
#define AHEAD 16

/* y += the amounts of the synapses of some groups, in order. post: their targets. each: 0 where all have the first amount. */
#define DELIVER(kind) \
static void deliver_##kind(real *restrict y, due_t *due, long n, const kind *restrict cuts, const int *restrict post, const real *restrict amounts, long each) { \
    for (long e = 0; e < n + AHEAD; e++) { \
        if (e < n) { \
            const kind *const cut = cuts + due[e].cut; \
            const long first = due[e].row + cut[0], last = due[e].row + cut[1]; \
            due[e].row = first, due[e].cut = last; \
            __builtin_prefetch(post + first), __builtin_prefetch(post + last - 1); \
            if (each) __builtin_prefetch(amounts + first), __builtin_prefetch(amounts + last - 1); \
        } \
        if (e < AHEAD) continue; \
        const long first = due[e - AHEAD].row, last = due[e - AHEAD].cut; \
        if (each) for (long s = first; s < last; s++) y[post[s]] += amounts[s]; \
        else for (long s = first; s < last; s++) y[post[s]] += amounts[0]; \
    } \
}
DELIVER(ushort)
DELIVER(int)
DELIVER(long)

#define BLOCK 8 /* packs that stay in registers */
#define PACK(address) (*(pack *)(address))

/* y[post] += the rows of m[][post] that the list names. */
static inline void gather(real *restrict y, const real *restrict m, const int *restrict list, long count, long post) {
    long j = 0;
    for (; j + BLOCK * LANES <= post; j += BLOCK * LANES) {
        pack sum[BLOCK];
        for (int w = 0; w < BLOCK; w++) sum[w] = PACK(y + j + w * LANES);
        for (long e = 0; e < count; e++) {
            const real *row = m + list[e] * post + j;
            for (int w = 0; w < BLOCK; w++) sum[w] += PACK(row + w * LANES);
        }
        for (int w = 0; w < BLOCK; w++) PACK(y + j + w * LANES) = sum[w];
    }
    if (j < post) for (long e = 0; e < count; e++) {
        const real *row = m + list[e] * post;
        VECTOR for (long i = j; i < post; i++) y[i] += row[i];
    }
}

/* The rows of g[][post] that the list names += y[post]. */
static inline void scatter(real *restrict g, const real *restrict y, const int *restrict list, long count, long post) {
    long j = 0;
    for (; j + BLOCK * LANES <= post; j += BLOCK * LANES) {
        pack part[BLOCK];
        for (int w = 0; w < BLOCK; w++) part[w] = PACK(y + j + w * LANES);
        for (long e = 0; e < count; e++) {
            real *row = g + list[e] * post + j;
            for (int w = 0; w < BLOCK; w++) PACK(row + w * LANES) += part[w];
        }
    }
    if (j < post) for (long e = 0; e < count; e++) {
        real *row = g + list[e] * post;
        VECTOR for (long i = j; i < post; i++) row[i] += y[i];
    }
}

/* Rows of the TILE trials: y[b][0..post) += x[b][0..pre) @ m[pre][post]. */
static void project(real *restrict y, const real *restrict x, const real *restrict m, long pre, long post) {
    long j = 0;
    for (; j + 2 * LANES <= post; j += 2 * LANES) {
        pack left[TILE], right[TILE];
        for (int b = 0; b < TILE; b++) left[b] = *(const pack *)(y + b * post + j), right[b] = *(const pack *)(y + b * post + j + LANES);
        for (long i = 0; i < pre; i++) {
            const pack p = *(const pack *)(m + i * post + j), q = *(const pack *)(m + i * post + j + LANES);
            for (int b = 0; b < TILE; b++) left[b] += x[b * pre + i] * p, right[b] += x[b * pre + i] * q;
        }
        for (int b = 0; b < TILE; b++) *(pack *)(y + b * post + j) = left[b], *(pack *)(y + b * post + j + LANES) = right[b];
    }
    for (; j < post; j++)
        for (int b = 0; b < TILE; b++) {
            real sum = y[b * post + j];
            for (long i = 0; i < pre; i++) sum += x[b * pre + i] * m[i * post + j];
            y[b * post + j] = sum;
        }
}

/* g[pre][post] += sum over the trials of x[b][pre] y[b][post]. */
static void outer(real *restrict g, const real *restrict x, const real *restrict y, long pre, long post, long active) {
    for (long i = 0; i < pre; i++)
        for (long b = 0; b < active; b++) {
            const real p = x[b * pre + i];
            VECTOR for (long j = 0; j < post; j++) g[i * post + j] += p * y[b * post + j];
        }
}
