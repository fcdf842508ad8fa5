/* What CUDA's operations are written with. A block is a trial, and all of its threads call each of these functions. Cells, and synapses by the
   cells that they end at, have an owner: the thread whose number is theirs modulo THREADS, which are whole warps. */
#ifdef __CUDACC__
#define INFINITY __int_as_float(0x7f800000)
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

/* Indices of the cells that fired, in ascending order; gives their number. A thread reads its own cells. */
static __device__ long hits(const int *z, long n, int *list) {
    __shared__ int of_warp[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = THREADS / 32;
    long found = 0;
    for (long first = 0; first < n; first += THREADS) {
        const long i = first + threadIdx.x;
        const int fires = i < n && z[i];
        const unsigned fired = __ballot_sync(~0u, fires);
        if (lane == 0) of_warp[warp] = __popc(fired);
        __syncthreads();
        long place = found + __popc(fired & ((1u << lane) - 1));
        for (int w = 0; w < warps; w++) {
            place += w < warp ? of_warp[w] : 0;
            found += of_warp[w];
        }
        if (fires) list[place] = (int)i;
        __syncthreads();
    }
    return found;
}

/* y[post] += the rows of m[][post] that the list names, in its order. */
static __device__ void gather(real *y, const real *m, const int *list, long count, long post) {
    OWN(j, post) {
        real sum = y[j];
        for (long e = 0; e < count; e++) sum += m[list[e] * post + j];
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
    OWN(j, post) for (long e = 0; e < count; e++) g[list[e] * post + j] += y[j];
}

/* g[pre][post] += x[pre] y[post]; a block has one trial. */
static __device__ void outer(real *g, const real *x, const real *y, long pre, long post, long one) {
    OWN(j, post) for (long i = 0; i < pre; i++) g[i * post + j] += x[i] * y[j];
}

/* y += row */
static __device__ void add(real *y, const real *row, long n) { OWN(own, n) y[own] += row[own]; }

/* Where scratch begins: pieces of it don't share a line. */
#define ALIGNED(scratch) ((char *)(((size_t)(scratch) + 63) & ~(size_t)63))
#ifndef WATCH
#define WATCH(room, bytes)
#endif
/* An array of the parameter set at hand. */
#define GIVEN(n) ((char *)arrays[n] + set * strides[n])
/* The places of a status: see work.h. */
#define STATUS 6
static __device__ void cut_off(const unit_t *u, long k) { FIRST u->status[0] = 2, u->status[3] = k; }
