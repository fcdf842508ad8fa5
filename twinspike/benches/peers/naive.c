/* The product of rows, found = a w^T, as one first writes it: three loops over float32, a [m, length], w [n, length] or its transpose. */

/* One sum after the other. */
void by_sums(const float *restrict a, const float *restrict w, float *restrict found, long m, long n, long length) {
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            float sum = 0;
            for (long k = 0; k < length; k++) sum += a[i * length + k] * w[j * length + k];
            found[i * n + j] = sum;
        }
}

/* A row of sums at once, from the transpose [length, n]: what a compiler makes vectors of without leave to change the order of sums. */
void by_rows(const float *restrict a, const float *restrict transpose, float *restrict found, long m, long n, long length) {
    for (long i = 0; i < m; i++) {
        for (long j = 0; j < n; j++) found[i * n + j] = 0;
        for (long k = 0; k < length; k++)
            for (long j = 0; j < n; j++) found[i * n + j] += a[i * length + k] * transpose[k * n + j];
    }
}
