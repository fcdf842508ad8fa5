/* How many events drives bring: one uniform number a cell and step, inverted. */
#define DRAWN 256 /* words at once: two loops that each fit the processor take less time than one */

/* A drive's law. sums: cumulative probabilities of all its tables, one after another, in 2^-53. guide: of each table, by a word's first
   `bits`, its place in the sums, n, where these bits decide about it, and else ~n, from which it is searched. shift: from a place in
   the sums to a count. cell: the table of each cell. */
typedef struct {
    const long *sums, *shift;
    const int *guide, *cell;
    long bits;
} law_t;

static inline __attribute__((always_inline)) real inverted(const law_t *law, word drawn, long table) {
    long n = law->guide[(table << law->bits) + (long)(drawn >> (64 - law->bits))];
    if (__builtin_expect(n < 0, 0)) for (n = ~n; (long)(drawn >> 11) >= law->sums[n];) n++;
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
    const law_t law = {sums, shift, guide, cell, draws[3]};
    const keys_t keys = keys_of((word)draws[0], (word)draws[1]);
    const word first = (word)(step % 256) * (word)size, whose = (word)(draws[2] + trial), block = (word)(step / 256);
    word drawn[DRAWN];
    for (long i = begin; i < end;) {
        const word at = first + (word)i;
        const long before = (long)(at % 4), most = DRAWN - before, some = end - i < most ? end - i : most;
        words_at(at / 4 + 1, 0, whose, block, &keys, (before + some + 3) / 4, drawn);
        if (draws[4] == 1) for (long n = 0; n < some; n++) out[i + n] = inverted(&law, drawn[before + n], 0);
        else for (long n = 0; n < some; n++) out[i + n] = inverted(&law, drawn[before + n], cell[i + n]);
        i += some;
    }
}
