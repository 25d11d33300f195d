/* Resampling along one axis: weighted sums of adjoining inputs. The loops are plain: compilers make vectors
   of them. What a loop must not test for each value is a constant argument of an inlined function. */

/* ---- one output for many values side by side ---- */

/* One term, or two; added to what is there before, unless they are the first. */
ALWAYS_INLINE void NAME(add_terms)(const int terms, const int first, const ptrdiff_t step, real *restrict to,
                                   const real *restrict a, const real *restrict b, real a_weight,
                                   real b_weight, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const real one = a_weight * a[i * step];
        real sum = first ? one : to[i] + one;
        if (terms == 2) sum += b_weight * b[i * step];
        to[i] = sum;
    }
}

ALWAYS_INLINE void NAME(combine_values)(const ptrdiff_t step, real *to, const real *from, ptrdiff_t input,
                                        const bn_taps *taps, ptrdiff_t output, ptrdiff_t n)
{
    const ptrdiff_t count = taps->count[output], next = taps->outputs;
    const real *weight = (const real *)taps->weights + output;
    from += taps->first[output] * input;
    if (count == 0) memset(to, 0, n * sizeof(real));
    for (ptrdiff_t k = 0; k < count; k += 2, from += 2 * input, weight += 2 * next) {
        if (k + 1 < count && k == 0)
            NAME(add_terms)(2, 1, step, to, from, from + input, weight[0], weight[next], n);
        else if (k + 1 < count) NAME(add_terms)(2, 0, step, to, from, from + input, weight[0], weight[next], n);
        else if (k == 0) NAME(add_terms)(1, 1, step, to, from, from, weight[0], 0, n);
        else NAME(add_terms)(1, 0, step, to, from, from, weight[0], 0, n);
    }
}

static void NAME(combine)(void *to, const void *from, ptrdiff_t input, ptrdiff_t step, const bn_taps *taps,
                          ptrdiff_t output, ptrdiff_t n)
{
    if (step == 1) NAME(combine_values)(1, to, from, input, taps, output, n);
    else NAME(combine_values)(step, to, from, input, taps, output, n);
}

/* ---- all outputs of a line ---- */

/* Outputs `begin` to `end`, which have equally many terms. */
ALWAYS_INLINE void NAME(sum_terms)(const ptrdiff_t count, const ptrdiff_t step, real *restrict to,
                                   const real *restrict from, const bn_taps *taps, ptrdiff_t begin,
                                   ptrdiff_t end)
{
    const ptrdiff_t *restrict first = taps->first;
    const real *restrict weights = taps->weights;
    const ptrdiff_t next = taps->outputs;
    for (ptrdiff_t j = begin; j < end; j++) {
        const real *x = from + first[j];
        real sum = count > 0 ? weights[j] * x[0] : 0;
        for (ptrdiff_t k = 1; k < count; k++) sum += weights[k * next + j] * x[k];
        to[j * step] = sum;
    }
}

ALWAYS_INLINE void NAME(resample_values)(const ptrdiff_t step, real *to, const real *from, const bn_taps *taps)
{
    for (ptrdiff_t begin = 0, end; begin < taps->outputs; begin = end) {
        const ptrdiff_t count = taps->count[begin];
        for (end = begin + 1; end < taps->outputs && taps->count[end] == count;) end++;
        if (count == 1) NAME(sum_terms)(1, step, to, from, taps, begin, end);
        else if (count == 2) NAME(sum_terms)(2, step, to, from, taps, begin, end);
        else NAME(sum_terms)(count, step, to, from, taps, begin, end);
    }
}

static void NAME(resample_line)(void *to, ptrdiff_t step, const void *from, const bn_taps *taps)
{
    if (step == 1) NAME(resample_values)(1, to, from, taps);
    else NAME(resample_values)(step, to, from, taps);
}

static const bn_resample_kernels NAME(resample_table) = {
    .itemsize = sizeof(real),
    .combine = NAME(combine),
    .resample_line = NAME(resample_line),
};
