/* What CUDA's operations are written with. A block is a trial, and all of its threads call each of these functions. Cells, and synapses by the
   cells that they end at, have an owner: the thread whose number is theirs modulo THREADS, which are whole warps. */
#ifdef __CUDACC__
#define INFINITY __int_as_float(0x7f800000)
/* Adds to a number of global memory to which this thread alone adds, and which nobody reads in this kernel: so it needn't wait for it. Its sums are
   formed in the order of its instructions. */
static __device__ void summed(float *total, float amount) { asm volatile("red.global.add.f32 [%0], %1;" ::"l"(total), "f"(amount)); }
static __device__ void summed(double *total, double amount) { asm volatile("red.global.add.f64 [%0], %1;" ::"l"(total), "d"(amount)); }
#define ADD(total, amount) summed(&(total), (real)(amount))
#define PREFETCH(address) asm volatile("prefetch.global.L1 [%0];" ::"l"(address))
static __device__ char *GLOBAL(char *address) {
    __builtin_assume(__isGlobal(address));
    return address;
}
#endif
#ifdef __cplusplus
#define KERNEL extern "C" __global__
#else
#define KERNEL __global__
#endif
#define restrict /* other threads write what a pointer of this one reads */
#define VECTOR
#define OWN(i, number) for (long i = threadIdx.x; i < (number); i += THREADS)
#define MINE(i) ((i) % THREADS == threadIdx.x)
#define FIRST if (threadIdx.x == 0)
#define COPY(to, from, number) OWN(own, number) (to)[own] = (from)[own]
#define CLEAR(to, number) OWN(own, number) (to)[own] = 0

/* Spikes of a step: a bit for each cell, 32 a word. FIRED loops over those that are set, in ascending order. */
#define FIRES(words, i) ((unsigned)(words)[(i) / 32] >> ((i) % 32) & 1)
#define FIRED(words, n) \
    for (long word = 0; 32 * word < (n); word++) for (unsigned unseen = (unsigned)(words)[word]; unseen; unseen &= unseen - 1)
#define THIS_ONE (32 * word + __ffs((int)unseen) - 1)

/* Writes the bits of n cells; a thread reads its own. */
static __device__ void noted(const int *z, long n, int *words) {
    for (long first = 0; first < n; first += THREADS) {
        const long i = first + threadIdx.x;
        const unsigned fired = __ballot_sync(~0u, i < n && z[i]);
        if (i % 32 == 0 && i < n) words[i / 32] = (int)fired;
    }
}

/* Whether one of n cells fired. */
static __device__ int some(const int *words, long n) {
    int found = 0;
    for (long word = 0; 32 * word < n; word++) found |= words[word];
    return found != 0;
}

/* y[post] += the rows of m[][post] that the list names, in its order. */
static __device__ void gather(real *y, const real *m, const int *list, long count, long post) {
    OWN(j, post) {
        real sum = y[j];
        for (long e = 0; e < count; e++) sum += m[list[e] * post + j];
        y[j] = sum;
    }
}

/* The same of cells that fired, in ascending order. */
static __device__ void gather_fired(real *y, const real *m, const int *words, long pre, long post) {
    OWN(j, post) {
        real sum = y[j];
        FIRED(words, pre) sum += m[THIS_ONE * post + j];
        y[j] = sum;
    }
}

/* y[post] += x[pre] @ m[pre][post], in the order of x. */
static __device__ void project(real *y, const real *x, const real *m, long pre, long post) {
    OWN(j, post) {
        real sum = y[j];
        for (long i = 0; i < pre; i++) sum += x[i] * m[i * post + j];
        y[j] = sum;
    }
}

/* The rows of g[][post] that the list names += y[post]. */
static __device__ void scatter(real *g, const real *y, const int *list, long count, long post) {
    OWN(j, post) for (long e = 0; e < count; e++) ADD(g[list[e] * post + j], y[j]);
}

/* The same of cells that fired. */
static __device__ void scatter_fired(real *g, const real *y, const int *words, long pre, long post) {
    OWN(j, post) FIRED(words, pre) ADD(g[THIS_ONE * post + j], y[j]);
}

/* g[pre][post] += x[pre] y[post]; a block has one trial. */
static __device__ void outer(real *g, const real *x, const real *y, long pre, long post, long one) {
    OWN(j, post) for (long i = 0; i < pre; i++) ADD(g[i * post + j], x[i] * y[j]);
}

/* Asks for what each thread reads soon. */
static __device__ void fetch(const real *at, long n) { OWN(own, n) PREFETCH(at + own); }

/* y += row */
static __device__ void add(real *y, const real *row, long n) { OWN(own, n) y[own] += row[own]; }

/* Where scratch begins: pieces of it don't share a line. */
#define ALIGNED(scratch) ((char *)(((size_t)(scratch) + 63) & ~(size_t)63))
#ifndef SHARED
#define SHARED(name) extern __shared__ __align__(64) char name[]
#endif
#ifndef WATCH
#define WATCH(room, bytes)
#endif
/* An array of the parameter set at hand. */
#define GIVEN(n) GLOBAL((char *)arrays[n] + set * strides[n])
/* The places of a status: see work.h. */
#define STATUS 6
static __device__ void cut_off(const unit_t *u, long k) { FIRST u->status[0] = 2, u->status[3] = k; }
/* Threads meet, once a step, and end where one has found a number that isn't finite. suspect: the step in which it did, at most one ago; -1. */
#define AGREED(k) \
    if (__syncthreads_or(suspect >= 0)) { \
        cut_off(u, (k) - (__syncthreads_or(suspect >= 0 && suspect < (k)) != 0)); \
        return; \
    }
