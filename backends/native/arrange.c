/* How a kernel has a projection's synapses: those of a source by the part of the cells that their target is in, then by delay; those
   of one part and delay as they were. Rows begin ... end - 1 of the sources. */
#include <stdint.h>

/* first, post: rows of targets. given: place of each in the definition, 0 where it is the same. late: steps by that place, of `wide`
   bytes, 0 where nobody asks. groups: the number that each delay has. border: the last cell of a part, and one more. cuts: where the
   groups of a row begin, and where the last one ends, counted from the row's first. to, place: what is made; place may be 0. */
void arrange(long begin, long end, const int64_t *first, const int32_t *post, const int32_t *given, const void *late, long wide,
             const int32_t *groups, long delays, const int32_t *border, long parts, int32_t *cuts, int32_t *to, int32_t *place) {
    const long width = parts * delays;
    for (long i = begin; i < end; i++) {
        int32_t *const cut = cuts + i * (width + 1);
        for (long g = 0; g <= width; g++) cut[g] = 0;
        for (int turn = 0; turn < 2; turn++) {
            for (int64_t s = first[i]; s < first[i + 1]; s++) {
                const int64_t own = given ? given[s] : s;
                long part = 0, delay = 0;
                while (post[s] >= border[part]) part++;
                if (late) delay = groups[wide == 1 ? ((const uint8_t *)late)[own] : wide == 2 ? ((const uint16_t *)late)[own] : ((const int64_t *)late)[own]];
                const long group = part * delays + delay;
                if (!turn) { cut[group]++; continue; }
                const int64_t at = first[i] + cut[group]++;
                to[at] = post[s];
                if (place) place[at] = (int32_t)own;
            }
            /* numbers -> beginnings; after the second turn a group's entry is its end, and so the next one's beginning */
            int32_t sum = 0;
            if (!turn) for (long g = 0; g <= width; g++) { const int32_t n = cut[g]; cut[g] = sum; sum += n; }
        }
        for (long g = width; g > 0; g--) cut[g] = cut[g - 1];
        cut[0] = 0;
    }
}
