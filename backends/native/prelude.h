/* What generated kernels call. REAL_IS_FLOAT, TILE (trials side by side) come from the line before this text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#ifdef REAL_IS_FLOAT
typedef float real;
#define R(name) name##f
#else
typedef double real;
#define R(name) name
#endif
#ifdef __AVX512F__
#define LANES (64 / (long)sizeof(real))
#else
#define LANES (32 / (long)sizeof(real))
#endif
typedef unsigned char byte;
typedef real pack __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real))));
#define VECTOR _Pragma("GCC ivdep")

/* glibc's vector functions, errors up to 4 units in the last place; elsewhere the loops call libm one by one. */
#if defined(__x86_64__) && defined(__GLIBC_PREREQ) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
#define VECTORISED(name) __attribute__((simd("notinbranch"))) real R(name)(real);
VECTORISED(exp) VECTORISED(log) VECTORISED(sin) VECTORISED(cos) VECTORISED(tan) VECTORISED(sinh) VECTORISED(cosh)
VECTORISED(tanh) VECTORISED(asin) VECTORISED(acos) VECTORISED(atan) VECTORISED(expm1) VECTORISED(log1p)
__attribute__((simd("notinbranch"))) real R(pow)(real, real);
#endif
#endif

static inline real exprel(real x) { const real safe = x == 0 ? 1 : x; return x == 0 ? 1 : R(expm1)(safe) / safe; }
static inline real sign_of(real x) { return (real)((x > 0) - (x < 0)); }
static inline real step(real x) { return x > 0 ? 1 : 0; }
static inline real step_or_equal(real x) { return x >= 0 ? 1 : 0; }
/* NaN passes through both; at a tie the first is taken. */
static inline real minimum(real a, real b) { return a <= b ? a : b < a ? b : a + b; }
static inline real maximum(real a, real b) { return a >= b ? a : b > a ? b : a + b; }
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
        for (int j = 0; j < n; j++) length += fabs((double)m[i * n + j]);
        norm = length > norm || !(length <= norm) ? length : norm;
    }
    if (!isfinite(norm)) return (real)NAN;
    const int halved = norm > 0.25 ? (int)ceil(log2(norm)) + 2 : 0;
    const double scale = ldexp(1.0, -halved);
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

/* Indices of the cells that fired; gives their number. */
static inline long hits(const int *restrict z, long n, int *restrict list) {
    long found = 0, i = 0;
#ifdef __AVX512F__
    const __m512i count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (; i + 16 <= n; i += 16) {
        const __m512i some = _mm512_loadu_si512(z + i);
        const __mmask16 fired = _mm512_test_epi32_mask(some, some);
        if (fired) {
            _mm512_mask_compressstoreu_epi32(list + found, fired, _mm512_add_epi32(count, _mm512_set1_epi32((int)i)));
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
