/* How many events drives bring: Philox4x64-10 with the words in numpy's order, one uniform number a cell and step, inverted.
   Source: Salmon et al. (2011), Proc SC 11:16. */
typedef unsigned long long word;
typedef unsigned __int128 product_t;
#define DRAWN 256 /* words at once: two loops that each fit the processor take less time than one */

/* The four words at one counter of a stream. */
static inline __attribute__((always_inline)) void philox(word a, word b, word c, word d, word k, word l, word *restrict out) {
    for (int round = 0; round < 10; round++) {
        const product_t p = (product_t)0xD2E7470EE14C6C93ULL * a, q = (product_t)0xCA5A826395121157ULL * c;
        a = (word)(q >> 64) ^ b ^ k, b = (word)q, c = (word)(p >> 64) ^ d ^ l, d = (word)p;
        k += 0x9E3779B97F4A7C15ULL, l += 0xBB67AE8584CAA73BULL;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* A drive's law. sums: cumulative probabilities of all its tables, one after another, in 2^-53. guide: of each table, where the search for
   a word begins, by the word's first `bits`. shift: from a place in the sums to a count. cell: the table of each cell. */
typedef struct {
    const long *sums, *shift;
    const int *guide, *cell;
    long bits, one;
} law_t;

static inline real inverted(const law_t *law, word drawn, long i) {
    const long table = law->one ? 0 : law->cell[i], uniform = (long)(drawn >> 11);
    long n = law->guide[(table << law->bits) + (long)(drawn >> (64 - law->bits))];
    if (__builtin_expect(uniform >= law->sums[n], 0)) do n++; while (uniform >= law->sums[n]);
    return (real)(n + law->shift[table]);
}

/* draws: a stream's two words, the first trial, a guide's bits, the number of tables, whether counts are given. step: since the first run
   began; a block of 256 steps has counters of its own, which numpy raises before each use. row: of a trial's step in the given counts. begin,
   end: the cells whose counts are wanted. */
static void counts(
    real *restrict out, long size, long begin, long end, const long *draws, const long *sums, const int *guide, const int *cell, const long *shift,
    const real *given, long trial, long step, long row
) {
    if (draws[5]) {
        memcpy(out + begin, given + row * size + begin, (end - begin) * sizeof(real));
        return;
    }
    const law_t law = {sums, shift, guide, cell, draws[3], draws[4] == 1};
    const word first = (word)(step % 256) * (word)size, whose = (word)(draws[2] + trial), block = (word)(step / 256);
    word drawn[DRAWN];
    for (long i = begin; i < end;) {
        const word at = first + (word)i;
        const long before = (long)(at % 4), most = DRAWN - before, some = end - i < most ? end - i : most;
        for (long n = 0; n < before + some; n += 4) philox(at / 4 + 1 + (word)n / 4, 0, whose, block, (word)draws[0], (word)draws[1], drawn + n);
        for (long n = 0; n < some; n++) out[i + n] = inverted(&law, drawn[before + n], i + n);
        i += some;
    }
}
