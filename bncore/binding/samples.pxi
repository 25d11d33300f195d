# Normalization of each sample by itself: layer, group, instance and RMS normalization.

cdef extern from "driver/samples.h" nogil:
    int bn_forward_samples(const bn_call *call, ptrdiff_t samples, ptrdiff_t bytes, double *count,
                           double *mean, double *m2)
    int bn_backward_samples(const bn_call *call, ptrdiff_t samples, ptrdiff_t bytes, double *sum_g,
                            double *sum_g_xm)


cdef cnp.ndarray doubles(Py_ssize_t length):
    """An uninitialised float64 vector."""
    cdef cnp.npy_intp n = length
    return cnp.PyArray_EMPTY(1, &n, cnp.NPY_FLOAT64, 0)


cdef Vectors fill_span(bn_call *call, Py_ssize_t span, mean, var, weight, bias, double eps, count,
                       int activation, double negative_slope):
    vectors = fill(call, None, None, weight, bias, eps, activation, negative_slope)
    call.values.span = span
    call.values.mean, call.values.var = vectors.of(mean), vectors.of(var)
    call.values.count = vectors.of(count)
    return vectors


# ---- rows: each row of x is a channel, and `span` rows have a statistic ----

def forward_rows(cnp.ndarray x, Py_ssize_t span, weight, bias, run_weight, run_bias, double eps,
                 bint about_zero=False, out=None, residual=None, int activation=0,
                 double negative_slope=0):
    """(y, count, mean, m2) of the rows of x, (R, n).

    Rows have weight[row % len(weight)] and a bias; or their values have run_weight and run_bias, float64
    vectors of length n. About zero, the mean is 0 and m2 is the sum of squares. With a span above 1, all
    arrays are without gaps."""
    cdef bn_call call
    cdef list arrays = [x, residual, out]
    cdef int found
    start(&call, arrays, 0, BN_Y, True)
    vectors = fill_span(&call, span, None, None, weight, bias, eps, None, activation, negative_slope)
    call.run_weight = NULL if run_weight is None else pointer(run_weight)
    call.run_bias = NULL if run_bias is None else pointer(run_bias)
    call.about_zero = about_zero
    statistics = call.layout.channels // span
    count, mean, m2 = doubles(statistics), doubles(statistics), doubles(statistics)
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    with nogil:
        found = bn_forward(&call, counts, means, m2s)
    memory_found(found)
    return arrays[BN_Y], count, mean, m2


def backward_rows(cnp.ndarray dy, cnp.ndarray x, Py_ssize_t span, mean, var, weight, bias, run_weight,
                  run_bias, double eps, count, bint about_zero=False, bint run_gradients=False,
                  out=None, y=None, dresidual=None, int activation=0, double negative_slope=0):
    """(dx, sum_g, sum_g_xm, dweight, dbias): sums for each row; gradients of run_weight and run_bias."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, out, dresidual]
    cdef int found
    start(&call, arrays, 0, BN_DX, True)
    vectors = fill_span(&call, span, mean, var, weight, bias, eps, count, activation, negative_slope)
    call.run_weight = NULL if run_weight is None else pointer(run_weight)
    call.run_bias = NULL if run_bias is None else pointer(run_bias)
    call.about_zero = about_zero
    sum_g, sum_g_xm = vector(&call), vector(&call)
    dweight = dbias = None
    if run_gradients:
        dweight, dbias = doubles(call.layout.inner), doubles(call.layout.inner)
        call.run_dweight, call.run_dbias = pointer(dweight), pointer(dbias)
    cdef double *s = pointer(sum_g)
    cdef double *p = pointer(sum_g_xm)
    with nogil:
        found = bn_backward(&call, s, p)
    memory_found(found)
    return arrays[BN_DX], sum_g, sum_g_xm, dweight, dbias


# ---- samples with their channels last: x is (N, L, C), and `span` channels have a statistic ----
# No array has gaps. Vectors of channels and of statistics go over all samples.

cdef int start_samples(bn_call *call, list arrays, int output) except -1:
    """`start` for the first of them. Returns 0."""
    if arrays[output] is None:
        arrays[output] = empty_like(arrays[BN_X])
    cdef list first = [None if array is None else array[0] for array in arrays]
    return start(call, first, 1)


def forward_samples(cnp.ndarray x, Py_ssize_t span, weight, bias, double eps, out=None, residual=None,
                    int activation=0, double negative_slope=0):
    """(y, count, mean, m2)."""
    cdef bn_call call
    cdef list arrays = [x, residual, out]
    cdef int found
    cdef ptrdiff_t samples = cnp.PyArray_DIMS(x)[0], bytes = cnp.PyArray_STRIDES(x)[0]
    start_samples(&call, arrays, BN_Y)
    vectors = fill_span(&call, span, None, None, weight, bias, eps, None, activation, negative_slope)
    statistics = samples * (call.layout.channels // span)
    count, mean, m2 = doubles(statistics), doubles(statistics), doubles(statistics)
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    with nogil:
        found = bn_forward_samples(&call, samples, bytes, counts, means, m2s)
    memory_found(found)
    return arrays[BN_Y], count, mean, m2


def backward_samples(cnp.ndarray dy, cnp.ndarray x, Py_ssize_t span, mean, var, weight, bias,
                     double eps, count, out=None, y=None, dresidual=None, int activation=0,
                     double negative_slope=0):
    """(dx, sum_g, sum_g_xm): sums for each channel of each sample."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, out, dresidual]
    cdef int found
    cdef ptrdiff_t samples = cnp.PyArray_DIMS(x)[0], bytes = cnp.PyArray_STRIDES(x)[0]
    start_samples(&call, arrays, BN_DX)
    vectors = fill_span(&call, span, mean, var, weight, bias, eps, count, activation, negative_slope)
    channels = samples * call.layout.channels
    sum_g, sum_g_xm = doubles(channels), doubles(channels)
    cdef double *s = pointer(sum_g)
    cdef double *p = pointer(sum_g_xm)
    with nogil:
        found = bn_backward_samples(&call, samples, bytes, s, p)
    memory_found(found)
    return arrays[BN_DX], sum_g, sum_g_xm
