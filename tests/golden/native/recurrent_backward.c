void backward(void *const *arrays, const long *strides, long *status, const run_t *run, long begin, long end, long from, long until, long lane, char *scratch, long apart) {
    work(&backward_text, arrays, strides, status, run, begin, end, from, until, lane, scratch, apart);
}
