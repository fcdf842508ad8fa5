/* One run. start: steps done before, 0 where it doesn't go on from a state. past: of those, the ones whose spikes may be on their
   way; lists of spikes begin with them. In those steps k is -past ... -1, and in the run's own 0 ... steps - 1. */
typedef struct team team_t;
typedef struct {
    long steps, every, batch, start, past, resumed;
    team_t *team;
} run_t;

/* One unit, a tile of trials of one parameter set, and how far its span of steps reaches. part: of its cells. */
typedef struct {
    long *status;
    const run_t *run;
    long begin, end, span, unit, first, active, trial, lane;
    long part;
} unit_t;
#define UNIT \
    const long steps = u->run->steps, every = u->run->every, batch = u->run->batch, past = u->run->past, resumed = u->run->resumed; \
    const long begin = u->begin, end = u->end, span = u->span, unit = u->unit, first = u->first, active = u->active; \
    const long trial = u->trial, lane = u->lane, mine = u->part; \
    const real t = (real)((u->run->start + k) * DT);

/* Says which population's state left the finite numbers in which step, trial and cell. */
static int failed(const unit_t *u, int cells, long state, long k, long b, long i) {
    const long found[] = {1, cells, state, k, u->trial + b, i};
    memcpy(u->status, found, sizeof(found));
    return 1;
}
