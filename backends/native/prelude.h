/* What C brings: its library, and vectors. */
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

#ifdef __AVX512F__
#define LANES (64 / (long)sizeof(real))
#else
#define LANES (32 / (long)sizeof(real))
#endif
typedef real pack __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real))));
#define VECTOR _Pragma("GCC ivdep")
/* In the body of a loop: no vectors are made of it, whose functions round otherwise than those of what is left over at its end. */
#define SINGLY __asm__ volatile("");

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
