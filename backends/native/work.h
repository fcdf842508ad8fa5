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
    const long trial = u->trial, lane = u->lane; \
    const real t = (real)((u->run->start + k) * DT);

/* Says which population's state left the finite numbers in which step, trial and cell. */
static int failed(const unit_t *u, int cells, long state, long k, long b, long i) {
    const long found[] = {1, cells, state, k, u->trial + b, i};
    memcpy(u->status, found, sizeof(found));
    return 1;
}

/* An operation: gives 0, or 1 where the run failed in the step before. p: its arrays. id: a number of its own. share: see below. */
typedef int operation_t(const unit_t *u, void *const *p, long k, int id);
typedef struct {
    operation_t *run;
    int at, id, share;
} call_t;

/* What a function does: past in the steps before the run's own, each in those. places: the arrays of all its calls, one after another; -1 - i is piece i of its scratch. */
typedef struct {
    const call_t *start, *past, *each, *finish;
    int starts, pasts, eachs, finishes;
    const int *places;
    int pointers;
    const size_t *rooms;
    int scratches, back, parts;
} text_t;

/* Threads that share a trial. A step is phases: operations that follow one another and are shared in one way, since what comes after may
   read what others wrote. A phase has a job for each part of the cells, or one alone, and whoever comes first takes it, a thread its own
   part's before others': nobody waits for one that sleeps, whose processor another program has, or that the system didn't start. Whoever
   does a phase's last job begins the next; at the end of a step it settles whether the run ends there. Who has waited for long sleeps.
   turn: phases that are over. done: jobs of this one. taken: of each job, the last phase that has it, and one more. */
struct team {
    long parts, turn, done, failed, stop, over, step, asleep;
    long taken[];
};
enum { ONE, EACH, APART };
int sched_yield(void);
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
long syscall(long, ...);
#ifdef __x86_64__
#define FUTEX 202
#else
#define FUTEX 98
#endif
static void sleep_while(long *word, long value) { syscall(FUTEX, word, 128, (int)value, (void *)0, (void *)0, 0); }
static void wake(long *word) { syscall(FUTEX, word, 129, 1 << 30, (void *)0, (void *)0, 0); }
#else
static void sleep_while(long *word, long value) { (void)word, (void)value, sched_yield(); }
static void wake(long *word) { (void)word; }
#endif
#if defined(__x86_64__) || defined(__i386__)
#define RELAX __builtin_ia32_pause()
#else
#define RELAX (void)0
#endif
#ifndef PATIENCE
#define PATIENCE 1000
#endif

/* Whether a job of a phase is this thread's: nobody took it. */
static int mine(team_t *t, long job, long turn) {
    long last = __atomic_load_n(&t->taken[job], __ATOMIC_RELAXED);
    return last <= turn && __atomic_compare_exchange_n(&t->taken[job], &last, turn + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* A job of a phase is done. jobs: of the phase. step: the one that ends with it, -1 where none does. */
static void finished(team_t *t, long jobs, long step) {
    if (__atomic_add_fetch(&t->done, 1, __ATOMIC_ACQ_REL) < jobs) return;
    t->done = 0;
    if (step >= 0 && (__atomic_load_n(&t->failed, __ATOMIC_RELAXED) || __atomic_load_n(&t->stop, __ATOMIC_RELAXED))) {
        t->step = step;
        __atomic_store_n(&t->over, 1, __ATOMIC_RELEASE);
    }
    __atomic_add_fetch(&t->turn, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&t->asleep, __ATOMIC_SEQ_CST)) wake(&t->turn);
}

/* Until a phase is over. */
static void await(team_t *t, long turn) {
    for (int spins = 0; spins < PATIENCE; spins++) {
        if (__atomic_load_n(&t->turn, __ATOMIC_ACQUIRE) > turn) return;
        RELAX;
    }
    __atomic_add_fetch(&t->asleep, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&t->turn, __ATOMIC_SEQ_CST) <= turn) sleep_while(&t->turn, turn);
    __atomic_sub_fetch(&t->asleep, 1, __ATOMIC_SEQ_CST);
}

/* The operations of a step, by one thread: those that are shared it does part by part. */
static int all(const call_t *calls, int number, unit_t *u, void *const *pointers, long k, int parts) {
    for (int i = 0; i < number; i++) {
        const long last = calls[i].share == EACH ? parts : 1;
        for (u->part = 0; u->part < last; u->part++) if (calls[i].run(u, pointers + calls[i].at, k, calls[i].id)) return 1;
    }
    return 0;
}

/* The same by a team. turn: the step's first phase; gives the next step's. */
static long together(const call_t *calls, int number, unit_t *u, void *const *pointers, long k, team_t *team, long turn) {
    for (int from = 0, until; from < number; from = until, turn++) {
        const int share = calls[from].share;
        const long jobs = share == ONE ? 1 : team->parts;
        for (until = from; until < number && calls[until].share == share;) until++;
        for (long j = 0; j < jobs; j++) {
            u->part = (u->lane + j) % jobs;
            if (!mine(team, u->part, turn)) continue;
            for (int i = from; i < until; i++) if (share != APART || (i - from) % jobs == u->part)
                if (calls[i].run(u, pointers + calls[i].at, k, calls[i].id)) __atomic_store_n(&team->failed, 1, __ATOMIC_RELAXED);
            finished(team, jobs, until == number ? k : -1);
        }
        await(team, turn);
    }
    return turn;
}

/* Nanoseconds of a clock that goes on evenly. */
#ifdef __APPLE__
#define EVENLY 6
#else
#define EVENLY 1
#endif
int clock_gettime(int, long *);
static inline long now(void) {
    long at[2] = {0, 0};
    clock_gettime(EVENLY, at);
    return at[0] * 1000000000 + at[1];
}

/* Whether a call has taken long enough, which is after one step at the earliest. It looks at the clock every `stride` steps: seldom
   where they are short. */
#ifndef LONG_ENOUGH
#define LONG_ENOUGH 50000000
#define SELDOM 32
#endif
#define OFTEN 1000000
typedef struct {
    long due, last, stride, left;
} watch_t;
static int enough(watch_t *w) {
    if (--w->left) return 0;
    const long at = now();
    w->stride = at - w->last > OFTEN ? 1 : w->stride < SELDOM ? 2 * w->stride : SELDOM;
    w->last = at, w->left = w->stride;
    return at > w->due;
}

/* Units from ... until - 1, steps begin ... end - 1. strides: bytes from one parameter set's values to the next's. scratch: of
   unit 0, the next one's `apart` bytes further; 0 where they take turns. status: 0 before, and after; {PAUSED, unit, step} where
   the call has taken long enough and is to be called again, with this status and the same scratch, and goes on there. A team's
   threads call it with the same unit, each with its part as lane, and come back at the end or where they are told to stop. */
#define PAUSED 3
static void steps_of_team(const text_t *x, unit_t *u, void *const *pointers, team_t *team) {
    long turn = 1;
    for (long n = u->begin; n < u->end && !__atomic_load_n(&team->over, __ATOMIC_ACQUIRE); n++) turn = together(x->each, x->eachs, u, pointers, n, team, turn);
    if (__atomic_load_n(&team->over, __ATOMIC_ACQUIRE)) u->status[0] = team->failed ? 2 : PAUSED, u->status[3] = team->step;
}
static void work(const text_t *x, void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart) {
    size_t room = 64;
    for (int i = 0; i < x->scratches; i++) room += x->rooms[i] + 64;
    void **const pointers = malloc((x->pointers + x->scratches + 1) * sizeof(void *)), **const pieces = pointers + x->pointers;
    int goes_on = status[0] == PAUSED;
    long unit = goes_on ? status[1] : from, n = goes_on ? status[2] : begin;
    status[0] = pointers ? 0 : -1;
    const long batch = run->batch, past = x->pasts ? run->past : 0, tiles = (batch + TILE - 1) / TILE, start = now();
    const int parts = x->parts ? x->parts : 1;
    team_t *const team = run->team;
    if (!pointers && team) __atomic_store_n(&team->failed, 1, __ATOMIC_RELAXED);
    watch_t watch = {start + LONG_ENOUGH, start, 1, 2};
    for (; unit < until && status[0] == 0; unit++, n = begin) {
        const long set = unit / tiles, first = unit % tiles * TILE, active = batch - first < TILE ? batch - first : TILE;
        unit_t u = {status, run, begin, end, end - begin, unit, first, active, set * batch + first, lane, 0};
        char *const own = scratch + unit * apart, *at = own;
        for (int i = 0; i < x->scratches; i++) pieces[i] = take(&at, x->rooms[i]);
        for (int i = 0; i < x->pointers; i++) {
            const int place = x->places[i];
            pointers[i] = place < 0 ? pieces[-1 - place] : (char *)arrays[place] + set * strides[place];
        }
        const int first_of_all = !team || mine(team, 0, 0);
        if (first_of_all && !goes_on && (x->back ? end == run->steps : begin == 0)) {
            memset(own, 0, room);
            all(x->start, x->starts, &u, pointers, begin, parts);
        }
        if (first_of_all && !goes_on && !x->back && begin == 0) for (long k = -past; k < 0; k++) all(x->past, x->pasts, &u, pointers, k, parts);
        goes_on = 0;
        if (team) {
            if (first_of_all) finished(team, 1, -1);
            await(team, 0);
            steps_of_team(x, &u, pointers, team);
            if (status[0]) goto done;
        } else for (; n < end; n++) {
            if (enough(&watch)) {
                status[0] = PAUSED, status[1] = unit, status[2] = n;
                goto done;
            }
            if (all(x->each, x->eachs, &u, pointers, x->back ? begin + end - 1 - n : n, parts)) {
                status[0] = 2, status[3] = n;
                goto done;
            }
        }
        if (x->back && begin == 0) for (long k = -1; k >= -past; k--) all(x->past, x->pasts, &u, pointers, k, parts);
        if ((!team || lane == 0) && all(x->finish, x->finishes, &u, pointers, end, parts)) goto done;
    }
done:
    free(pointers);
}
