/* What synapses draw: see neuro.compiler.streams.synaptic. draws: a stream's two words, and the first trial. place: of a synapse in the definition;
   trial: since the first; step: since the first run began. */
#define UNIFORM(drawn) ((double)((drawn) >> 11) * 0x1p-53)
static void drawn_at(const long *draws, word place, long trial, long step, word *restrict out) {
    const keys_t keys = keys_of((word)draws[0], (word)draws[1]);
    philox(place / 4 + 1, 0, (word)(draws[2] + trial), (word)step, &keys, out);
}
static real uniform_at(const long *draws, long place, long trial, long step) {
    word found[4];
    drawn_at(draws, (word)place, trial, step, found);
    return (real)UNIFORM(found[place % 4]);
}
static real normal_at(const long *draws, long place, long trial, long step) {
    word found[4];
    drawn_at(draws, 2 * (word)place, trial, step, found);
    const word *const two = found + 2 * (place % 2);
    return (real)(sqrt(-2.0 * log(1.0 - UNIFORM(two[0]))) * cos(2.0 * 3.141592653589793 * UNIFORM(two[1])));
}
