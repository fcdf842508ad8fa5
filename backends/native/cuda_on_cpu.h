/* CUDA's words for one processor: each thread of a block is a fiber, which runs until it waits for others. Blocks take turns.
   A warp runs as far as it can, to the next barrier of its block; then the next one does, in ascending order or, where CHECKED is defined, in
   descending order. What one thread writes and another reads between two barriers depends on that order: two runs find a barrier that is
   missing. CHECKED also finds scratch that two threads change between two barriers: on a GPU one of two sums may be lost, though not here. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

typedef struct {
    unsigned x;
} index_t;
typedef enum { RUNS, AT_BLOCK, AT_WARP, ENDED } wait_t;
typedef struct {
    ucontext_t at;
    wait_t waits;
    int line, says; /* the barrier's line; what is said there */
} fiber_t;
typedef struct {
    fiber_t *now;
    void (*body)(const void *arguments);
    const void *arguments;
    ucontext_t back;
    char *shared;
} block_t;

long emulated_barriers; /* that blocks have been at, all together */
static __thread index_t threadIdx, blockIdx, gridDim;
static __thread block_t emulated;

#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define SHARED(name) char *const name = emulated.shared
#define ADD(total, amount) ((void)((total) += (real)(amount)))
#define GLOBAL(address) (address)
#define PREFETCH(address) ((void)(address))
#define __ffs(bits) __builtin_ffs(bits)
#define __syncthreads() ((void)emulated_wait(AT_BLOCK, __LINE__, 0))
#define __syncthreads_or(yes) emulated_wait(AT_BLOCK, __LINE__, !!(yes))
#define __ballot_sync(mask, yes) ((unsigned)emulated_wait(AT_WARP, __LINE__, !!(yes)))
#define WARP 32
#define STACK (1 << 16)

/* Gives what all that wait here have said: whether one of a block said 1; one bit each of a warp. */
static __attribute__((noinline)) int emulated_wait(wait_t for_whom, int line, int says) {
    fiber_t *const own = emulated.now;
    own->waits = for_whom, own->line = line, own->says = says;
    swapcontext(&own->at, &emulated.back);
    return own->says;
}

static void emulated_thread(void) {
    emulated.body(emulated.arguments);
    emulated.now->waits = ENDED;
    swapcontext(&emulated.now->at, &emulated.back);
}

/* Says which two threads did what they may not, and at which barriers they are. */
enum { PARTED = 1, BOTH_WROTE = 2 };
static int wrong(long *status, int what, const fiber_t *fibers, int a, int b) {
    const long found[] = {-2, what, a, fibers[a].line, b, fibers[b].line};
    memcpy(status, found, sizeof(found));
    return 0;
}

/* Lets fibers from first to last - 1 go on if all of them wait in one place for the same; it is wrong if they don't. */
static int released(fiber_t *fibers, int first, int last, wait_t for_whom, long *status) {
    int together = 0;
    for (int n = first; n < last; n++) {
        if (fibers[n].waits != for_whom || fibers[n].line != fibers[first].line) return wrong(status, PARTED, fibers, first, n);
        together |= for_whom == AT_WARP ? (int)((unsigned)fibers[n].says << (n - first)) : fibers[n].says;
    }
    for (int n = first; n < last; n++) fibers[n].says = together, fibers[n].waits = RUNS;
    return 1;
}

#ifdef CHECKED
#define IN_TURN(n, number) ((number) - 1 - (n))
/* Bytes of a block's scratch, what was in them before a thread's turn, and who changed each since all were at a barrier. */
static __thread struct {
    char *room, *before;
    int *by;
    long bytes;
} watched;
static void begun(void) {
    if (!watched.room) return;
    memcpy(watched.before, watched.room, watched.bytes), memset(watched.by, -1, watched.bytes * sizeof(int));
}
static void watch(char *room) {
    if (room == watched.room) return;
    watched.room = room;
    begun();
}
#define WATCH(room, bytes) watch(room)
static int alone(long *status, const fiber_t *fibers, int n) {
    if (!watched.room || memcmp(watched.before, watched.room, watched.bytes) == 0) return 1;
    for (long i = 0; i < watched.bytes; i++) if (watched.before[i] != watched.room[i]) {
        if (watched.by[i] >= 0 && watched.by[i] != n) return wrong(status, BOTH_WROTE, fibers, watched.by[i], n);
        watched.before[i] = watched.room[i], watched.by[i] = n;
    }
    return 1;
}
#else
#define IN_TURN(n, number) (n)
static void begun(void) {}
static int alone(long *status, const fiber_t *fibers, int n) { return 1; }
#endif

/* One block of threads; gives whether it came to its end. */
static int emulated_block(int threads, fiber_t *fibers, char *stacks, void (*body)(const void *), const void *arguments, long *status) {
    emulated.body = body, emulated.arguments = arguments;
    for (int n = 0; n < threads; n++) {
        getcontext(&fibers[n].at);
        fibers[n].at.uc_stack.ss_sp = stacks + (size_t)n * STACK, fibers[n].at.uc_stack.ss_size = STACK, fibers[n].at.uc_link = 0;
        fibers[n].waits = RUNS, fibers[n].line = 0;
        makecontext(&fibers[n].at, emulated_thread, 0);
    }
    for (;;) {
        begun();
        for (int turn = 0; turn < threads / WARP; turn++) {
            const int first = WARP * IN_TURN(turn, threads / WARP);
            for (int more = 1; more;) {
                for (int lane = 0; lane < WARP; lane++) {
                    const int n = first + IN_TURN(lane, WARP);
                    if (fibers[n].waits != RUNS) continue;
                    threadIdx.x = n, emulated.now = fibers + n;
                    swapcontext(&emulated.back, &fibers[n].at);
                    if (!alone(status, fibers, n)) return 0;
                }
                more = fibers[first].waits == AT_WARP;
                if (more && !released(fibers, first, first + WARP, AT_WARP, status)) return 0;
            }
        }
        if (fibers[0].waits == ENDED) {
            for (int n = 1; n < threads; n++) if (fibers[n].waits != ENDED) return wrong(status, PARTED, fibers, 0, n);
            return 1;
        }
        if (!released(fibers, 0, threads, AT_BLOCK, status)) return 0;
        __atomic_add_fetch(&emulated_barriers, 1, __ATOMIC_RELAXED);
    }
}

/* Nanoseconds. */
static long emulated_clock(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000L + at.tv_nsec;
}

/* A launch in the way of a function in C: see work.h. bytes: of scratch. shared: of a block's memory. blocks: how many share the units; 0 for one
   for two, so that a block finds what the unit before left. It comes back between two blocks. */
typedef struct {
    void *const *arrays;
    const long *strides;
    long *statuses;
    const void *run;
    long from, until, begin, end;
    char *scratch;
    long apart;
} launch_t;
#define PLACES 6
static void emulated_grid(launch_t *l, int threads, long bytes, long shared, void (*body)(const void *), long blocks, long *status) {
    const long usual = (l->until - l->from + 1) / 2, due = emulated_clock() + 50000000;
#ifdef CHECKED
    watched.room = 0, watched.before = (char *)malloc(bytes), watched.by = (int *)malloc(bytes * sizeof(int)), watched.bytes = bytes;
    int room = watched.before && watched.by;
#else
    int room = 1;
#endif
    gridDim.x = (unsigned)(blocks ? blocks : usual), blockIdx.x = status[0] == 3 ? (unsigned)status[1] : 0;
    fiber_t *const fibers = (fiber_t *)malloc(threads * sizeof(fiber_t));
    char *const stacks = (char *)malloc((size_t)threads * STACK), *const rooms = (char *)(l->apart ? 0 : malloc(gridDim.x * bytes + 64));
    char *const memory = (char *)malloc(shared + 64);
    emulated.shared = memory + 63 - ((size_t)memory + 63) % 64;
    l->statuses = (long *)calloc(gridDim.x * PLACES, sizeof(long));
    room = room && fibers && stacks && memory && l->statuses && (rooms || l->apart);
    if (rooms) l->scratch = rooms;
    status[0] = room ? 0 : -1;
    while (room && blockIdx.x < gridDim.x) {
        long *const said = l->statuses + PLACES * blockIdx.x;
        const int ended = emulated_block(threads, fibers, stacks, body, l, said);
        if (!ended || said[0]) {
            memcpy(status, said, PLACES * sizeof(long));
            break;
        }
        if (++blockIdx.x < gridDim.x && emulated_clock() > due) {
            status[0] = 3, status[1] = blockIdx.x;
            break;
        }
    }
#ifdef CHECKED
    free(watched.by), free(watched.before);
#endif
    free(l->statuses), free(memory), free(rooms), free(stacks), free(fibers);
}
