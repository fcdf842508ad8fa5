/* Layers whose weights are bits, each 1 or -1, and whose inputs are bits as well, or planes: the eight bits of bytes, each 0 or 1.
   Weights come in panels: PANEL rows, their first words side by side, then their second words, and so on; a row of bits is padded with
   zeros. The bits of a layer come out in numpy's order of packbits: the first is the highest of its byte. */
#include <string.h>
#ifdef __AVX512VPOPCNTDQ__
#include <immintrin.h>
#endif

#define PANEL 8
#define ROWS 8         /* rows at once, for which a panel's word is read once; as many as a byte has planes */
#define NEAR (1 << 14) /* bytes of panels that all rows meet before the next ones are read: half of a small first cache */
#define INLINE static inline __attribute__((always_inline))
#define LEAST(a, b) ((a) < (b) ? (a) : (b))

typedef unsigned char byte;
typedef unsigned long long word;

/* Of rows of words and a panel, each with each: how many bits differ, or with `planes` how many are 1 in both. */
#ifdef __AVX512VPOPCNTDQ__
INLINE void counted(const word *const rows[ROWS], const word *panel, long words, int planes, word found[ROWS][PANEL]) {
    __m512i sums[ROWS];
    for (int r = 0; r < ROWS; r++) sums[r] = _mm512_setzero_si512();
    for (long k = 0; k < words; k++) {
        const __m512i w = _mm512_loadu_si512(panel + k * PANEL);
        for (int r = 0; r < ROWS; r++) {
            const __m512i a = _mm512_set1_epi64((long long)rows[r][k]);
            sums[r] = _mm512_add_epi64(sums[r], _mm512_popcnt_epi64(planes ? _mm512_and_si512(a, w) : _mm512_xor_si512(a, w)));
        }
    }
    for (int r = 0; r < ROWS; r++) _mm512_storeu_si512(found[r], sums[r]);
}
#else
INLINE void counted(const word *const rows[ROWS], const word *panel, long words, int planes, word found[ROWS][PANEL]) {
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < PANEL; l += 4) { /* four sums side by side: as many as any processor has registers for */
            word sums[4] = {0};
            for (long k = 0; k < words; k++)
                for (int j = 0; j < 4; j++) {
                    const word a = rows[r][k], w = panel[k * PANEL + l + j];
                    sums[j] += __builtin_popcountll(planes ? a & w : a ^ w);
                }
            memcpy(found[r] + l, sums, sizeof sums);
        }
}
#endif

/* A panel's sums of one row go to sums [rows, n]; where there are thresholds, one bit each to bits [rows, bytes]. */
INLINE void put(const int *found, long row, long panel, long n, const int *thresholds, int *sums, byte *bits, long bytes) {
    if (thresholds) {
        int b = 0;
        for (int l = 0; l < PANEL; l++) b |= (found[l] >= thresholds[panel * PANEL + l]) << (PANEL - 1 - l);
        bits[row * bytes + panel] = (byte)b;
    } else if (n - panel * PANEL >= PANEL) {
        memcpy(sums + row * n + panel * PANEL, found, PANEL * sizeof(int));
    } else {
        memcpy(sums + row * n + panel * PANEL, found, (n - panel * PANEL) * sizeof(int));
    }
}

/* Products of m rows of `length` bits with n of weights: length - 2 (bits that differ). thresholds: of all rows of the panels, or NULL. */
void of_bits(
    const word *rows, long m, const word *panels, long n, long words, long length, const int *thresholds, int *sums, byte *bits, long bytes
) {
    const long count = (n + PANEL - 1) / PANEL, near = 1 + NEAR / (words * PANEL * sizeof(word));
    for (long first = 0; first < count; first += near)
        for (long i = 0; i < m; i += ROWS) {
            const word *at[ROWS];
            for (int r = 0; r < ROWS; r++) at[r] = rows + LEAST(i + r, m - 1) * words;
            for (long p = first; p < LEAST(first + near, count); p++) {
                word differ[ROWS][PANEL];
                counted(at, panels + p * words * PANEL, words, 0, differ);
                for (int r = 0; r < LEAST(ROWS, m - i); r++) {
                    int found[PANEL];
                    for (int l = 0; l < PANEL; l++) found[l] = (int)(length - 2 * (long)differ[r][l]);
                    put(found, i + r, p, n, thresholds, sums, bits, bytes);
                }
            }
        }
}

/* The same of m rows of bytes x, given as planes: where p_n bits of plane n are 1 and their weights too, x.w = 2 sum_n 2^n p_n - sum(x). */
void of_planes(
    const word *planes, const long long *totals, long m, const word *panels, long n, long words, const int *thresholds, int *sums, byte *bits,
    long bytes
) {
    const long count = (n + PANEL - 1) / PANEL, near = 1 + NEAR / (words * PANEL * sizeof(word));
    for (long first = 0; first < count; first += near)
        for (long i = 0; i < m; i++) {
            const word *at[ROWS];
            for (int r = 0; r < ROWS; r++) at[r] = planes + (i * ROWS + r) * words;
            for (long p = first; p < LEAST(first + near, count); p++) {
                word both[ROWS][PANEL];
                int found[PANEL];
                counted(at, panels + p * words * PANEL, words, 1, both);
                for (int l = 0; l < PANEL; l++) {
                    word sum = 0;
                    for (int r = 0; r < ROWS; r++) sum += both[r][l] << r;
                    found[l] = (int)(2 * (long long)sum - totals[i]);
                }
                put(found, i, p, n, thresholds, sums, bits, bytes);
            }
        }
}

/* Planes [m, 8, bytes] of rows of bytes x [m, length], the lowest bits first; `planes` is zero before. totals [m]: sums of the rows. */
void split(const byte *x, long m, long length, byte *planes, long bytes, long long *totals) {
    for (long i = 0; i < m; i++) {
        const byte *row = x + i * length;
        long long total = 0;
        for (long k = 0; k < length; k++) total += row[k];
        totals[i] = total;
        for (long k = 0; k < length; k += 8) {
            word eight = 0; /* the first byte is the lowest, on any machine */
            for (int j = 0; j < LEAST(8, length - k); j++) eight |= (word)row[k + j] << 8 * j;
            for (int r = 0; r < ROWS; r++) /* one bit of each byte; the product brings all of them to the top, the first one highest */
                planes[(i * ROWS + r) * bytes + k / 8] = (byte)(((eight >> r & 0x0101010101010101ULL) * 0x8040201008040201ULL) >> 56);
        }
    }
}
