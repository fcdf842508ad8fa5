void backward(void *const *arrays, const long *strides, long *status, long steps, long every, long batch, long begin, long end, long from, long until, long lane, char *kept) {
    work(&backward_text, arrays, strides, status, steps, every, batch, begin, end, from, until, lane, kept);
}
