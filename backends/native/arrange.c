/* How a kernel has a projection's synapses: those of a source by the part of the cells that their target is in, then by delay; those
   of one part and delay as they were. Rows begin ... end - 1 of the sources. */
#include <stdint.h>
#include <string.h>

/* first, post: rows of targets, which are arranged where they are. given: place of each in the definition, 0 where it is the same. late:
   steps by that place, of `wide` bytes, 0 where nobody asks. groups: the number that each delay has. border: the last cell of a part, and
   one more. cuts: where the groups of a row begin, and where the last one ends, counted from the row's first; of 2 bytes where they are
   narrow, else of 4. place: what is made. row, cut: room for the longest row, and for its groups and one more. */
void arrange(long begin, long end, const int64_t *first, int32_t *post, const int32_t *given, const void *late, long wide, const int32_t *groups,
             long delays, const int32_t *border, long parts, void *cuts, long narrow, int32_t *place, int32_t *row, int32_t *cut) {
    const long width = parts * delays;
    for (long i = begin; i < end; i++) {
        const long n = (long)(first[i + 1] - first[i]);
        int32_t *const to = post + first[i];
        memcpy(row, to, n * sizeof *row);
        memset(cut, 0, (width + 1) * sizeof *cut);
        for (int turn = 0; turn < 2; turn++) {
            for (long s = 0; s < n; s++) {
                const int64_t own = given ? given[first[i] + s] : first[i] + s;
                long part = 0, delay = 0;
                while (row[s] >= border[part]) part++;
                if (late) delay = groups[wide == 1 ? ((const uint8_t *)late)[own] : wide == 2 ? ((const uint16_t *)late)[own] : ((const int64_t *)late)[own]];
                const long group = part * delays + delay;
                if (!turn) { cut[group]++; continue; }
                const int32_t at = cut[group]++;
                to[at] = row[s];
                place[first[i] + at] = (int32_t)own;
            }
            /* numbers -> beginnings; after the second turn a group's entry is its end, and so the next one's beginning */
            int32_t sum = 0;
            if (!turn) for (long g = 0; g <= width; g++) { const int32_t found = cut[g]; cut[g] = sum; sum += found; }
        }
        for (long g = 0; g <= width; g++) {
            const int32_t found = g ? cut[g - 1] : 0;
            if (narrow) ((uint16_t *)cuts)[i * (width + 1) + g] = (uint16_t)found;
            else ((int32_t *)cuts)[i * (width + 1) + g] = found;
        }
    }
}
