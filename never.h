/* Network 'worst'. worst_reset() first; then worst_step() once every 0.001 s:
   input: 50 bytes, 1 where 'x' spikes. Spikes of a layer: state->LAYER_z, 1 or 0. */
#ifndef WORST_H
#define WORST_H
#include <stdint.h>

#define WORST_INPUTS 50
#define WORST_OUTPUTS 2

static const int8_t worst_cells_feed[100] = {
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127,
    127,127
};

static const uint16_t worst_cells_keep_i[2] = {
    30000,30000
};

static const uint16_t worst_cells_keep_v[2] = {
    32000,32000
};

static const int32_t worst_cells_v_th[2] = {
    2147483647,2147483647
};

typedef struct {
    int32_t cells_i[2], cells_v[2];
    uint8_t cells_z[2];
} worst_state;

static inline void worst_layer(int pre, int post, const int8_t *feed, const int8_t *loop, const uint8_t *in, uint8_t *z,
    int32_t *i, int32_t *v, const uint16_t *keep_i, const uint16_t *keep_v, const int32_t *v_th, int32_t scale,
    int subtract) {
    for (int j = 0; j < post; j++) i[j] = (int32_t)((int64_t)i[j] * keep_i[j] / 32768);
    for (int p = 0; p < pre; p++)
        if (in[p]) for (int j = 0; j < post; j++) i[j] += scale * feed[p * post + j];
    for (int p = 0; loop && p < post; p++)
        if (z[p]) for (int j = 0; j < post; j++) i[j] += scale * loop[p * post + j];
    for (int j = 0; j < post; j++) {
        v[j] = (int32_t)((int64_t)v[j] * keep_v[j] / 32768) + i[j];
        z[j] = v[j] > v_th[j];
        if (z[j]) v[j] = subtract ? v[j] - v_th[j] : 0;
    }
}

static inline void worst_reset(worst_state *s) {
    for (int j = 0; j < 2; j++) s->cells_i[j] = s->cells_v[j] = s->cells_z[j] = 0;
}

static inline void worst_step(worst_state *s, const uint8_t input[50]) {
    worst_layer(50, 2, worst_cells_feed, 0, input, s->cells_z, s->cells_i,
        s->cells_v, worst_cells_keep_i, worst_cells_keep_v, worst_cells_v_th, 256,
        0);
}

#endif
