# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The compiled core of `bn`: NumPy arrays in, kernels over them, nothing checked.

`bn` checks every argument before it calls here. Arrays of data have one native dtype, float32 or
float64; what belongs to a channel is float64 of length C.
"""

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t
from libc.string cimport memset

import numpy as np

cnp.import_array()


cdef extern from "numpy/arrayobject.h":
    cnp.ndarray PyArray_NewLikeArray(cnp.ndarray prototype, cnp.NPY_ORDER order, void *descr,
                                     int subok)

cdef extern from "layout.h" nogil:
    enum: BN_MAX_OPERANDS
    ctypedef struct bn_operand:
        char *data
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
    ctypedef enum bn_activation:
        pass
    ctypedef struct bn_channel_values:
        const double *mean
        const double *var
        const double *weight
        const double *bias
        double eps
        const double *sum_g
        const double *sum_g_xm
        const double *count

cdef extern from "moments.h" nogil:
    void bn_merge(double count, double *mean, double *m2, double count_b, double mean_b,
                  double m2_b)
    double bn_rstd(double var, double eps)

cdef extern from "driver.h" nogil:
    ctypedef struct bn_arrays:
        pass
    ctypedef struct bn_call:
        const bn_kernels *kernels
        bn_layout layout
        int threads
        bn_arrays arrays
        bn_channel_values values
        bn_activation activation
        double negative_slope
    int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
    int bn_normalize(const bn_call *call)
    int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
    int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
    int bn_gradient(const bn_call *call)
    int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)

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

cdef enum:  # the members of bn_arrays, in their order
    X, RESIDUAL, Y, DY, DX, DRESIDUAL


cdef cnp.ndarray dense(cnp.ndarray x):
    """A copy without gaps, its axes in x's order in memory."""
    return cnp.PyArray_NewCopy(x, cnp.NPY_KEEPORDER)


cdef cnp.ndarray empty_like(cnp.ndarray x):
    return PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, NULL, 0)


cdef cnp.ndarray ordered_like(cnp.ndarray a, cnp.ndarray x):
    """A copy of a, its axes in x's order in memory."""
    cdef cnp.ndarray copy = empty_like(x)
    copy[...] = a
    return copy


cdef bint find_layout(bn_call *call, list arrays, int axis):
    """Find the loops for all arrays at once; False if some must be copied first."""
    cdef cnp.ndarray x = arrays[X], array
    cdef const ptrdiff_t *strides[BN_MAX_OPERANDS]
    cdef bn_operand found[BN_MAX_OPERANDS]
    cdef bn_operand *operands = <bn_operand *>&call.arrays
    cdef int i, count = 0
    for i in range(len(arrays)):
        if arrays[i] is not None:
            array = arrays[i]
            if not cnp.PyArray_ISALIGNED(array):
                return False
            strides[count] = <const ptrdiff_t *>cnp.PyArray_STRIDES(array)
            count += 1
    if not bn_find_layout(cnp.PyArray_NDIM(x), <const ptrdiff_t *>cnp.PyArray_DIMS(x), axis,
                          cnp.PyArray_ITEMSIZE(x), count, strides, &call.layout, found):
        return False
    count = 0
    for i in range(len(arrays)):
        if arrays[i] is not None:
            operands[i] = found[count]
            operands[i].data = <char *>cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
            count += 1
    return True


cdef int start(bn_call *call, list arrays, int axis, int first_output) except -1:
    """Fill all of call but its values; arrays that do not go together are replaced by copies, those
    from first_output on by empty ones."""
    cdef int i
    memset(call, 0, sizeof(bn_call))
    call.kernels = (&selected.float32 if cnp.PyArray_TYPE(arrays[X]) == cnp.NPY_FLOAT32
                    else &selected.float64)
    call.threads = bn_max_threads()
    if not find_layout(call, arrays, axis):
        arrays[X] = dense(arrays[X])
        for i in range(1, len(arrays)):
            if arrays[i] is not None:
                arrays[i] = (ordered_like(arrays[i], arrays[X]) if i < first_output
                             else empty_like(arrays[X]))
        find_layout(call, arrays, axis)
    return 0


cdef inline cnp.ndarray doubles(values):
    """A float64 vector without gaps; the very one if it is one already."""
    return cnp.PyArray_FROMANY(values, cnp.NPY_FLOAT64, 1, 1, cnp.NPY_ARRAY_CARRAY_RO)


cdef inline double *pointer(cnp.ndarray vector):
    return NULL if vector is None else <double *>cnp.PyArray_DATA(vector)


cdef cnp.ndarray vector(const bn_call *call):
    """An uninitialised float64 for each channel."""
    cdef cnp.npy_intp length = call.layout.channels
    return cnp.PyArray_EMPTY(1, &length, cnp.NPY_FLOAT64, 0)


cdef cnp.ndarray returned(cnp.ndarray result, out):
    """The array that the caller gave, if he gave one."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


cdef int memory_found(int found) except -1:
    if not found:
        raise MemoryError("bn: no memory for the results of the channels")
    return 0


# ---- the operations ----

def stats(cnp.ndarray x, int axis):
    """(count, mean, m2) of each channel."""
    cdef bn_call call
    cdef list arrays = [x]
    cdef int found
    start(&call, arrays, axis, 1)
    count, mean, m2 = vector(&call), vector(&call), vector(&call)
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    with nogil:
        found = bn_stats(&call, counts, means, m2s)
    memory_found(found)
    return count, mean, m2


def normalize(cnp.ndarray x, int axis, mean, var, weight, bias, double eps, out=None,
              residual=None, int activation=0, double negative_slope=0):
    """activation((x - mean) / sqrt(var + eps) * weight + bias + residual), into out."""
    cdef bn_call call
    cdef list arrays = [x, residual, empty_like(x) if out is None else out]
    cdef int found
    start(&call, arrays, axis, Y)
    cdef cnp.ndarray m = doubles(mean), v = doubles(var)
    cdef cnp.ndarray w = None if weight is None else doubles(weight)
    cdef cnp.ndarray b = None if bias is None else doubles(bias)
    call.values.mean, call.values.var, call.values.eps = pointer(m), pointer(v), eps
    call.values.weight, call.values.bias = pointer(w), pointer(b)
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    with nogil:
        found = bn_normalize(&call)
    memory_found(found)
    return returned(arrays[Y], out)


def forward(cnp.ndarray x, int axis, weight, bias, double eps, out=None, residual=None,
            int activation=0, double negative_slope=0):
    """stats, then normalize with them: (y, count, mean, m2)."""
    cdef bn_call call
    cdef list arrays = [x, residual, empty_like(x) if out is None else out]
    cdef int found
    start(&call, arrays, axis, Y)
    cdef cnp.ndarray w = None if weight is None else doubles(weight)
    cdef cnp.ndarray b = None if bias is None else doubles(bias)
    call.values.weight, call.values.bias, call.values.eps = pointer(w), pointer(b), eps
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    count, mean, m2 = vector(&call), vector(&call), vector(&call)
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    with nogil:
        found = bn_forward(&call, counts, means, m2s)
    memory_found(found)
    return returned(arrays[Y], out), count, mean, m2


def reduce(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var=None, weight=None, bias=None,
           double eps=0, y=None, int activation=0, double negative_slope=0):
    """(sum of g, sum of g * (x - mean)) of each channel, g being dy before the activation."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy]
    cdef int found
    start(&call, arrays, axis, DX)
    cdef cnp.ndarray m = doubles(mean)
    cdef cnp.ndarray v = None if var is None else doubles(var)
    cdef cnp.ndarray w = None if weight is None else doubles(weight)
    cdef cnp.ndarray b = None if bias is None else doubles(bias)
    call.values.mean, call.values.var, call.values.eps = pointer(m), pointer(v), eps
    call.values.weight, call.values.bias = pointer(w), pointer(b)
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    sum_g, sum_g_xm = vector(&call), vector(&call)
    cdef double *s = pointer(sum_g)
    cdef double *p = pointer(sum_g_xm)
    with nogil:
        found = bn_reduce(&call, s, p)
    memory_found(found)
    return sum_g, sum_g_xm


def gradient(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var, weight, bias, double eps, count,
             sum_g, sum_g_xm, out=None, y=None, dresidual=None, int activation=0,
             double negative_slope=0):
    """dx of a normalization whose statistics were the batch's, into out; g into dresidual."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, empty_like(x) if out is None else out, dresidual]
    cdef int found
    start(&call, arrays, axis, DX)
    cdef cnp.ndarray m = doubles(mean), v = doubles(var), counts = doubles(count)
    cdef cnp.ndarray s = doubles(sum_g), p = doubles(sum_g_xm)
    cdef cnp.ndarray w = None if weight is None else doubles(weight)
    cdef cnp.ndarray b = None if bias is None else doubles(bias)
    call.values.mean, call.values.var, call.values.eps = pointer(m), pointer(v), eps
    call.values.weight, call.values.bias = pointer(w), pointer(b)
    call.values.count, call.values.sum_g, call.values.sum_g_xm = pointer(counts), pointer(s), pointer(p)
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    with nogil:
        found = bn_gradient(&call)
    memory_found(found)
    returned(arrays[DRESIDUAL], dresidual)
    return returned(arrays[DX], out)


def backward(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var, weight, bias, double eps, count,
             out=None, y=None, dresidual=None, int activation=0, double negative_slope=0):
    """reduce, then gradient with its sums: (dx, sum_g, sum_g_xm)."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, empty_like(x) if out is None else out, dresidual]
    cdef int found
    start(&call, arrays, axis, DX)
    cdef cnp.ndarray m = doubles(mean), v = doubles(var), counts = doubles(count)
    cdef cnp.ndarray w = None if weight is None else doubles(weight)
    cdef cnp.ndarray b = None if bias is None else doubles(bias)
    call.values.mean, call.values.var, call.values.eps = pointer(m), pointer(v), eps
    call.values.weight, call.values.bias, call.values.count = pointer(w), pointer(b), pointer(counts)
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    sum_g, sum_g_xm = vector(&call), vector(&call)
    cdef double *s = pointer(sum_g)
    cdef double *p = pointer(sum_g_xm)
    with nogil:
        found = bn_backward(&call, s, p)
    memory_found(found)
    returned(arrays[DRESIDUAL], dresidual)
    return returned(arrays[DX], out), sum_g, sum_g_xm


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
