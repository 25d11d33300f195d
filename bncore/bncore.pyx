# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The compiled core of `bn`: NumPy arrays in, kernels over them, nothing checked.

`bn` checks every argument before it calls here. Arrays of data have one native dtype, float32 or
float64; what belongs to a channel is float64 of length C.
"""

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

import numpy as np

cnp.import_array()


cdef extern from "layout.h" nogil:
    enum: BN_MAX_OPERANDS
    ctypedef struct bn_operand:
        char *data
        ptrdiff_t outer_stride, channel_stride
    ctypedef struct bn_layout:
        ptrdiff_t channels
    int bn_find_layout(int rank, const ptrdiff_t *shape, int axis, ptrdiff_t itemsize, int count,
                       const ptrdiff_t **strides, bn_layout *layout, bn_operand *operands)

cdef extern from "kernels.h" nogil:
    ctypedef struct bn_kernels:
        pass
    ctypedef struct bn_isa:
        const char *name
        bn_kernels float32, float64
    ctypedef struct bn_channel_values:
        const double *mean
        const double *var
        const double *weight
        const double *bias
        double eps
        const double *sum_dy
        const double *sum_dy_xmu
        const double *count

cdef extern from "moments.h" nogil:
    void bn_merge(double count, double *mean, double *m2, double count_b, double mean_b,
                  double m2_b)
    double bn_rstd(double var, double eps)

cdef extern from "driver.h" nogil:
    ctypedef struct bn_call:
        const bn_kernels *kernels
        bn_layout layout
        int threads
    int bn_stats(const bn_call *call, bn_operand x, double *count, double *mean, double *m2)
    int bn_normalize(const bn_call *call, bn_operand x, bn_operand y,
                     const bn_channel_values *values)
    int bn_forward(const bn_call *call, bn_operand x, bn_operand y, const double *weight,
                   const double *bias, double eps, double *count, double *mean, double *m2)
    int bn_reduce(const bn_call *call, bn_operand dy, bn_operand x, const double *mean,
                  double *sum_dy, double *sum_dy_xmu)
    int bn_gradient(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                    const bn_channel_values *values)
    int bn_backward(const bn_call *call, bn_operand dy, bn_operand x, bn_operand dx,
                    const bn_channel_values *values, double *sum_dy, double *sum_dy_xmu)

cdef extern from "dispatch.h" nogil:
    const bn_isa *bn_supported_isa(int i)

cdef extern from "parallel.h" nogil:
    int bn_has_openmp()
    int bn_max_threads()
    void bn_set_max_threads(int n)
    int bn_release_threads()


# ---- instruction sets and threads ----

cdef const bn_isa *selected = NULL


def available_isas():
    """Names of the instruction sets that this CPU has, best last."""
    names = []
    cdef int i = 0
    while bn_supported_isa(i) != NULL:
        names.append(bn_supported_isa(i).name.decode())
        i += 1
    return names


def select_isa(str name):
    """Use this instruction set from now on; False if this CPU does not have it."""
    global selected
    cdef int i = 0
    while bn_supported_isa(i) != NULL:
        if bn_supported_isa(i).name.decode() == name:
            selected = bn_supported_isa(i)
            return True
        i += 1
    return False


def selected_isa():
    return selected.name.decode()


*_, best = available_isas()
select_isa(best)


def has_openmp():
    return bool(bn_has_openmp())


def max_threads():
    return bn_max_threads()


def set_max_threads(int n):
    bn_set_max_threads(n)


def release_threads():
    return bool(bn_release_threads())


# ---- arrays to operands ----

cdef bint find_call(list arrays, int axis, bn_call *call, bn_operand *operands):
    """Find the loops for all arrays at once; False if some must be copied first."""
    cdef cnp.ndarray first = arrays[0], array
    cdef const ptrdiff_t *strides[BN_MAX_OPERANDS]
    cdef int i
    for i in range(len(arrays)):
        array = arrays[i]
        if not cnp.PyArray_ISALIGNED(array):
            return False
        operands[i].data = <char *>cnp.PyArray_DATA(array)
        strides[i] = <const ptrdiff_t *>cnp.PyArray_STRIDES(array)
    call.kernels = (&selected.float32 if cnp.PyArray_TYPE(first) == cnp.NPY_FLOAT32
                    else &selected.float64)
    call.threads = bn_max_threads()
    return bn_find_layout(cnp.PyArray_NDIM(first), <const ptrdiff_t *>cnp.PyArray_DIMS(first), axis,
                          cnp.PyArray_ITEMSIZE(first), <int>len(arrays), strides, &call.layout,
                          operands)


cdef cnp.ndarray dense(cnp.ndarray x):
    """A copy without gaps, its axes in x's order in memory."""
    return cnp.PyArray_NewCopy(x, cnp.NPY_KEEPORDER)


cdef cnp.ndarray empty_like(cnp.ndarray x):
    return np.empty_like(x, subok=False)


cdef cnp.ndarray ordered_like(cnp.ndarray a, cnp.ndarray x):
    """A copy of a, its axes in x's order in memory."""
    cdef cnp.ndarray copy = empty_like(x)
    copy[...] = a
    return copy


cdef cnp.ndarray doubles(values):
    """A float64 vector without gaps; the very one if it is one already."""
    return np.ascontiguousarray(values, dtype=np.float64)


cdef inline double *pointer(cnp.ndarray vector):
    return <double *>cnp.PyArray_DATA(vector)


cdef int memory_found(int found) except -1:
    if not found:
        raise MemoryError("bn: no memory for the results of a channel")
    return 0


# ---- the operations ----

def stats(cnp.ndarray x, int axis):
    """(count, mean, m2) of each channel, float64."""
    cdef bn_call call
    cdef bn_operand operands[BN_MAX_OPERANDS]
    cdef int found
    if not find_call([x], axis, &call, operands):
        x = dense(x)
        find_call([x], axis, &call, operands)
    cdef cnp.ndarray count = np.empty(call.layout.channels)
    cdef cnp.ndarray mean = np.empty(call.layout.channels)
    cdef cnp.ndarray m2 = np.empty(call.layout.channels)
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    with nogil:
        found = bn_stats(&call, operands[0], counts, means, m2s)
    memory_found(found)
    return count, mean, m2


def normalize(cnp.ndarray x, int axis, mean, var, weight, bias, double eps, cnp.ndarray out=None):
    """(x - mean) / sqrt(var + eps) * weight + bias, into out."""
    cdef bn_call call
    cdef bn_operand operands[BN_MAX_OPERANDS]
    cdef int found
    cdef cnp.ndarray y = empty_like(x) if out is None else out
    if not find_call([x, y], axis, &call, operands):
        x = dense(x)
        y = empty_like(x)
        find_call([x, y], axis, &call, operands)
    cdef cnp.ndarray means = doubles(mean), vars = doubles(var), weights, biases
    cdef bn_channel_values values
    values.mean, values.var, values.eps = pointer(means), pointer(vars), eps
    values.weight = values.bias = NULL
    if weight is not None:
        weights = doubles(weight)
        values.weight = pointer(weights)
    if bias is not None:
        biases = doubles(bias)
        values.bias = pointer(biases)
    with nogil:
        found = bn_normalize(&call, operands[0], operands[1], &values)
    memory_found(found)
    return returned(y, out)


def forward(cnp.ndarray x, int axis, weight, bias, double eps, cnp.ndarray out=None):
    """stats, then normalize with them: (y, count, mean, m2)."""
    cdef bn_call call
    cdef bn_operand operands[BN_MAX_OPERANDS]
    cdef int found
    cdef cnp.ndarray y = empty_like(x) if out is None else out
    if not find_call([x, y], axis, &call, operands):
        x = dense(x)
        y = empty_like(x)
        find_call([x, y], axis, &call, operands)
    cdef cnp.ndarray count = np.empty(call.layout.channels)
    cdef cnp.ndarray mean = np.empty(call.layout.channels)
    cdef cnp.ndarray m2 = np.empty(call.layout.channels)
    cdef cnp.ndarray weights, biases
    cdef double *w = NULL
    cdef double *b = NULL
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    if weight is not None:
        weights = doubles(weight)
        w = pointer(weights)
    if bias is not None:
        biases = doubles(bias)
        b = pointer(biases)
    with nogil:
        found = bn_forward(&call, operands[0], operands[1], w, b, eps, counts, means, m2s)
    memory_found(found)
    return returned(y, out), count, mean, m2


def reduce(cnp.ndarray dy, cnp.ndarray x, int axis, mean):
    """(sum of dy, sum of dy * (x - mean)) of each channel, float64."""
    cdef bn_call call
    cdef bn_operand operands[BN_MAX_OPERANDS]
    cdef int found
    if not find_call([x, dy], axis, &call, operands):
        x = dense(x)
        dy = ordered_like(dy, x)
        find_call([x, dy], axis, &call, operands)
    cdef cnp.ndarray means = doubles(mean)
    cdef cnp.ndarray sum_dy = np.empty(call.layout.channels)
    cdef cnp.ndarray sum_dy_xmu = np.empty(call.layout.channels)
    cdef double *m = pointer(means)
    cdef double *s = pointer(sum_dy)
    cdef double *p = pointer(sum_dy_xmu)
    with nogil:
        found = bn_reduce(&call, operands[1], operands[0], m, s, p)
    memory_found(found)
    return sum_dy, sum_dy_xmu


def gradient(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var, weight, double eps, count, sum_dy,
             sum_dy_xmu, cnp.ndarray out=None):
    """dx of batch normalization whose statistics were the batch's, into out."""
    cdef bn_call call
    cdef bn_operand operands[BN_MAX_OPERANDS]
    cdef int found
    cdef cnp.ndarray dx = empty_like(x) if out is None else out
    if not find_call([x, dy, dx], axis, &call, operands):
        x = dense(x)
        dy = ordered_like(dy, x)
        dx = empty_like(x)
        find_call([x, dy, dx], axis, &call, operands)
    cdef cnp.ndarray means = doubles(mean), vars = doubles(var), counts = doubles(count), weights
    cdef cnp.ndarray sums = doubles(sum_dy), products = doubles(sum_dy_xmu)
    cdef bn_channel_values values
    values.mean, values.var, values.eps = pointer(means), pointer(vars), eps
    values.count, values.sum_dy, values.sum_dy_xmu = pointer(counts), pointer(sums), pointer(products)
    values.weight = NULL
    if weight is not None:
        weights = doubles(weight)
        values.weight = pointer(weights)
    with nogil:
        found = bn_gradient(&call, operands[1], operands[0], operands[2], &values)
    memory_found(found)
    return returned(dx, out)


def backward(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var, weight, double eps, count,
             cnp.ndarray out=None):
    """reduce, then gradient with its sums: (dx, sum_dy, sum_dy_xmu)."""
    cdef bn_call call
    cdef bn_operand operands[BN_MAX_OPERANDS]
    cdef int found
    cdef cnp.ndarray dx = empty_like(x) if out is None else out
    if not find_call([x, dy, dx], axis, &call, operands):
        x = dense(x)
        dy = ordered_like(dy, x)
        dx = empty_like(x)
        find_call([x, dy, dx], axis, &call, operands)
    cdef cnp.ndarray means = doubles(mean), vars = doubles(var), counts = doubles(count), weights
    cdef cnp.ndarray sum_dy = np.empty(call.layout.channels)
    cdef cnp.ndarray sum_dy_xmu = np.empty(call.layout.channels)
    cdef double *s = pointer(sum_dy)
    cdef double *p = pointer(sum_dy_xmu)
    cdef bn_channel_values values
    values.mean, values.var, values.eps, values.count = pointer(means), pointer(vars), eps, pointer(counts)
    values.weight = NULL
    if weight is not None:
        weights = doubles(weight)
        values.weight = pointer(weights)
    with nogil:
        found = bn_backward(&call, operands[1], operands[0], operands[2], &values, s, p)
    memory_found(found)
    return returned(dx, out), sum_dy, sum_dy_xmu


cdef cnp.ndarray returned(cnp.ndarray result, cnp.ndarray out):
    """The array that the caller gave, if he gave one."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


# ---- per-channel arithmetic ----

def merge(double[::1] count, double[::1] mean, double[::1] m2, const double[::1] count_b,
          const double[::1] mean_b, const double[::1] m2_b):
    """Take the moments b into (count, mean, m2)."""
    cdef Py_ssize_t c
    for c in range(count.shape[0]):
        if count_b[c] > 0:
            bn_merge(count[c], &mean[c], &m2[c], count_b[c], mean_b[c], m2_b[c])
            count[c] += count_b[c]


def rstd(const double[::1] var, double eps):
    """1 / sqrt(var + eps)."""
    result = np.empty(var.shape[0])
    cdef double[::1] values = result
    cdef Py_ssize_t c
    for c in range(var.shape[0]):
        values[c] = bn_rstd(var[c], eps)
    return result


ctypedef fused real:
    float
    double


def update_running(real[:] running, const double[:] value, double share):
    """running = (1 - share) * running + share * value, in double."""
    cdef Py_ssize_t c
    for c in range(running.shape[0]):
        running[c] = <real>((1 - share) * running[c] + share * value[c])
