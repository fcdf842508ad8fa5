/* How many events drives bring: Philox4x64-10 with the words in numpy's order, one uniform number a cell and step, inverted.
   Source: Salmon et al. (2011), Proc SC 11:16. */
typedef unsigned long long word;
typedef unsigned __int128 product_t;

/* The four words at one counter of a stream. */
static inline __attribute__((always_inline)) void philox(word a, word b, word c, word d, word k, word l, word *restrict out) {
    for (int round = 0; round < 10; round++) {
        const product_t p = (product_t)0xD2E7470EE14C6C93ULL * a, q = (product_t)0xCA5A826395121157ULL * c;
        a = (word)(q >> 64) ^ b ^ k, b = (word)q, c = (word)(p >> 64) ^ d ^ l, d = (word)p;
        k += 0x9E3779B97F4A7C15ULL, l += 0xBB67AE8584CAA73BULL;
    }
    out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* A drive's law. sums: cumulative probabilities of all its tables, one after another. guide: of each table, where the search for a number
   begins that lies in one of `guides` equal parts of 0 ... 1. shift: from a place in the sums to a count. cell: the table of each cell. */
typedef struct {
    const double *sums;
    const int *guide, *cell;
    const long *shift;
    long guides, one;
} law_t;

static inline real inverted(const law_t *law, double uniform, long i) {
    const long table = law->one ? 0 : law->cell[i];
    long n = law->guide[table * law->guides + (long)(uniform * (double)law->guides)];
    while (uniform >= law->sums[n]) n++;
    return (real)(n + law->shift[table]);
}

/* draws: a stream's two words, the first trial, the parts of a guide, the number of tables, whether counts are given. step: since the first run
   began; a block of 256 steps has counters of its own, which numpy raises before each use. row: of a trial's step in the given counts. */
static void counts(
    real *restrict out, long size, const long *draws, const double *sums, const int *guide, const int *cell, const long *shift,
    const real *given, long trial, long step, long row
) {
    if (draws[5]) {
        memcpy(out, given + row * size, size * sizeof(real));
        return;
    }
    const law_t law = {sums, guide, cell, shift, draws[3], draws[4] == 1};
    const word at = (word)(step % 256) * (word)size, whose = (word)(draws[2] + trial), block = (word)(step / 256);
    for (long i = 0; i < size;) {
        word found[4];
        philox((at + (word)i) / 4 + 1, 0, whose, block, (word)draws[0], (word)draws[1], found);
        for (long n = (long)((at + (word)i) % 4); n < 4 && i < size; n++, i++) out[i] = inverted(&law, (double)(found[n] >> 11) * 0x1p-53, i);
    }
}
