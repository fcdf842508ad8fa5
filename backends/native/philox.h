/* Random numbers that a kernel draws: Philox4x64-10 with the words in numpy's order. Source: Salmon et al. (2011), Proc SC 11:16. */
typedef unsigned long long word;
typedef unsigned __int128 product_t;

/* A stream's two words in each round. */
#define ROUNDS 10
typedef struct {
    word k[ROUNDS], l[ROUNDS];
} keys_t;
static keys_t keys_of(word k, word l) {
    keys_t found;
    for (int round = 0; round < ROUNDS; round++) {
        found.k[round] = k, found.l[round] = l;
        k += 0x9E3779B97F4A7C15ULL, l += 0xBB67AE8584CAA73BULL;
    }
    return found;
}
#define LEFT 0xD2E7470EE14C6C93ULL
#define RIGHT 0xCA5A826395121157ULL

/* The four words at one counter of a stream. */
static inline __attribute__((always_inline)) void philox(word a, word b, word c, word d, const keys_t *keys, word *restrict out) {
    for (int round = 0; round < ROUNDS; round++) {
        const product_t p = (product_t)LEFT * a, q = (product_t)RIGHT * c;
        a = (word)(q >> 64) ^ b ^ keys->k[round], b = (word)q, c = (word)(p >> 64) ^ d ^ keys->l[round], d = (word)p;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* The same of 16 counters from a on, eight in a vector, each product of 64 bits as four of 32. */
#if defined(__AVX512DQ__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_pmuludq512_mask) && __has_builtin(__builtin_shufflevector)
#define COUNTERS 16
typedef word eight __attribute__((vector_size(64)));
typedef word eight_anywhere __attribute__((vector_size(64), aligned(8)));
typedef int lanes __attribute__((vector_size(64)));
typedef long long masked __attribute__((vector_size(64)));
static inline __attribute__((always_inline)) eight of_halves(eight a, eight b) {
    return (eight)__builtin_ia32_pmuludq512_mask((lanes)a, (lanes)b, (masked){0}, -1);
}
static inline __attribute__((always_inline)) eight upper(eight a, word by) {
    const eight low = (eight){0} + by, high = (eight){0} + (by >> 32);
    const eight some = of_halves(a >> 32, low) + (of_halves(a, low) >> 32);
    const eight rest = of_halves(a, high) + (some & 0xFFFFFFFFULL);
    return of_halves(a >> 32, high) + (some >> 32) + (rest >> 32);
}
#define NEAR(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define FAR(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
static inline __attribute__((always_inline)) void philoxes(word first, word second, word third, word fourth, const keys_t *keys, word *restrict out) {
    eight a[2], b[2], c[2], d[2];
    for (int v = 0; v < 2; v++) {
        a[v] = (eight){0, 1, 2, 3, 4, 5, 6, 7} + first + 8 * v;
        b[v] = (eight){0} + second, c[v] = (eight){0} + third, d[v] = (eight){0} + fourth;
    }
    for (int round = 0; round < ROUNDS; round++) for (int v = 0; v < 2; v++) {
        const eight p = upper(a[v], LEFT) ^ d[v] ^ keys->l[round], q = upper(c[v], RIGHT) ^ b[v] ^ keys->k[round];
        d[v] = a[v] * LEFT, b[v] = c[v] * RIGHT, a[v] = q, c[v] = p;
    }
    for (int v = 0; v < 2; v++, out += 32) {
        const eight w = NEAR(a[v], c[v]), x = NEAR(b[v], d[v]), y = FAR(a[v], c[v]), z = FAR(b[v], d[v]);
        eight_anywhere *const to = (eight_anywhere *)out;
        to[0] = NEAR(w, x), to[1] = FAR(w, x), to[2] = NEAR(y, z), to[3] = FAR(y, z);
    }
}
#endif
#endif

/* The words at some counters from a on. out: has room for a multiple of 64. */
static void words_at(word a, word b, word c, word d, const keys_t *keys, long counters, word *restrict out) {
    long n = 0;
#ifdef COUNTERS
    for (; n + COUNTERS / 2 <= counters; n += COUNTERS) philoxes(a + (word)n, b, c, d, keys, out + 4 * n);
#endif
    for (; n < counters; n++) philox(a + (word)n, b, c, d, keys, out + 4 * n);
}
