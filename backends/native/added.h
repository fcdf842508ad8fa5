/* Adds the lanes of gradients, in ascending order; a number has one thread. arrays: of each gradient its lanes, one after another, and where their
   sum goes; strides: its numbers. begin ... end - 1: which gradients. until: lanes. */
KERNEL void __launch_bounds__(THREADS) added_kernel(ARGUMENTS) {
    for (long g = begin; g < end; g++) {
        const real *const lanes = (const real *)arrays[2 * g];
        real *const sum = (real *)arrays[2 * g + 1];
        for (long i = blockIdx.x * (long)THREADS + threadIdx.x; i < strides[g]; i += gridDim.x * (long)THREADS) {
            real total = lanes[i];
            for (long lane = 1; lane < until; lane++) total += lanes[lane * strides[g] + i];
            sum[i] = total;
        }
    }
}
