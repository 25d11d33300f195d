# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The compiled core of `bn`: NumPy arrays in, C calls out; no argument is checked.

`bn` checks every argument before it calls here. All tensors of a call have one native dtype (float16
and bfloat16 are computed in float32); per-channel results are float64 vectors of length C.
"""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport isfinite
from libc.stddef cimport ptrdiff_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from contextvars import ContextVar

import numpy as np

cnp.import_array()


cdef extern from "numpy/arrayobject.h":
    cnp.ndarray PyArray_NewLikeArray(cnp.ndarray prototype, cnp.NPY_ORDER order, void *descr,
                                     int subok)
    bint PyArray_SAMESHAPE(cnp.ndarray a, cnp.ndarray b)

cdef extern from "driver/layout.h" nogil:
    enum: BN_MAX_TENSORS
    ctypedef struct bn_tensor:
        char *data
    ctypedef struct bn_layout:
        ptrdiff_t channels
    int bn_find_layout(int rank, const ptrdiff_t *shape, int axis, ptrdiff_t itemsize, int count,
                       const ptrdiff_t **strides, bn_layout *layout, bn_tensor *tensors)

cdef extern from "kernels/kernels.h" nogil:
    ctypedef struct bn_conv_kernels:
        ptrdiff_t lanes
    ctypedef struct bn_kernels:
        const bn_conv_kernels *convolution
    ctypedef struct bn_isa:
        const char *name
        const bn_kernels *float32
        const bn_kernels *float64
        const bn_kernels *float16
        const bn_kernels *bfloat16
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

cdef extern from "kernels/moments.h" nogil:
    void bn_merge(double count, double *mean, double *m2, double count_b, double mean_b,
                  double m2_b)
    double bn_rstd(double var, double eps)

cdef extern from "driver/partition.h" nogil:
    ctypedef struct bn_partition:
        ptrdiff_t chunks
    bn_partition bn_cut(const bn_layout *layout)

cdef extern from "driver/operations.h" nogil:
    ctypedef struct bn_tensors:
        pass
    ctypedef struct bn_call:
        const bn_kernels *kernels
        bn_layout layout
        int threads
        bn_tensors tensors
        bn_channel_values values
        bn_activation activation
        double negative_slope
    int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
    int bn_normalize(const bn_call *call)
    int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
    int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
    int bn_gradient(const bn_call *call)
    int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)

cdef extern from "driver/convolution.h" nogil:
    ctypedef struct bn_images:
        char *data
        ptrdiff_t channels, rows, columns
        ptrdiff_t image, channel, row, column
    ctypedef struct bn_window:
        ptrdiff_t kernel, stride, before, dilation
    ctypedef struct bn_convolution:
        const bn_conv_kernels *kernels
        int threads
        ptrdiff_t images
        bn_images x, y
        const void *weight
        bn_window window[2]
    int bn_convolve(const bn_convolution *call, const void *bias)
    int bn_convolve_dx(const bn_convolution *call)
    int bn_convolve_dweight(const bn_convolution *call, void *dweight)

cdef extern from "kernels/dispatch.h" nogil:
    const bn_isa *bn_supported_isa(int i)

cdef extern from "driver/parallel.h" nogil:
    enum: BN_MOST_THREADS
    int bn_has_openmp()
    int bn_max_threads()
    void bn_set_max_threads(int n)
    int bn_threads_asked()

cdef extern from *:
    """
    #include "memory.h"
    static PyDataMem_Handler bn_memory_handler = {
        "bn", 1,
        {NULL, bn_memory_malloc, bn_memory_calloc, bn_memory_realloc, bn_memory_free}};
    """
    cnp.PyDataMem_Handler bn_memory_handler

cdef extern from "memory.h" nogil:
    enum: BN_SMALLEST_BLOCK
    ctypedef struct bn_memory_counts:
        size_t limit, held, used, hits, misses
    void bn_memory_start()
    bn_memory_counts bn_memory_info()
    void bn_memory_set_limit(size_t limit)
    size_t bn_memory_trim()


# ---- memory of outputs ----

bn_memory_start()
cdef object recycler = PyCapsule_New(&bn_memory_handler, "mem_handler", NULL)


cpdef cnp.ndarray empty_like(cnp.ndarray x):
    """An uninitialised array of x's shape, dtype and order in memory; recycled memory if it is large."""
    if cnp.PyArray_NBYTES(x) < BN_SMALLEST_BLOCK or bn_memory_info().limit == 0:
        return PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, NULL, 0)
    cdef object before = cnp.PyDataMem_SetHandler(recycler)
    try:
        return PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, NULL, 0)
    finally:
        cnp.PyDataMem_SetHandler(before)


def memory_info():
    """{limit, held, used, hits, misses}: bytes, and requests served from kept blocks or not."""
    return bn_memory_info()


def set_memory_limit(size_t limit):
    bn_memory_set_limit(limit)


def trim_memory():
    return bn_memory_trim()


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


MOST_THREADS = BN_MOST_THREADS


def has_openmp():
    return bool(bn_has_openmp())


def max_threads():
    return bn_max_threads()


def set_max_threads(int n):
    bn_set_max_threads(n)


def threads_asked():
    return bn_threads_asked()


# ---- arrays to tensors ----

cdef enum:  # the members of bn_tensors, in their order
    X, RESIDUAL, Y, DY, DX, DRESIDUAL

cdef enum:
    MAX_VECTORS = 7  # mean, var, weight, bias, count and two sums


cdef const bn_kernels *kernels_of(cnp.ndarray x):
    cdef int number = cnp.PyArray_TYPE(x)
    if number == cnp.NPY_FLOAT32:
        return selected.float32
    if number == cnp.NPY_FLOAT64:
        return selected.float64
    return selected.float16 if number == cnp.NPY_FLOAT16 else selected.bfloat16


cdef cnp.ndarray ordered_like(cnp.ndarray a, cnp.ndarray x):
    """A copy of a, its axes in x's order in memory."""
    cdef cnp.ndarray copy = empty_like(x)
    copy[...] = a
    return copy


cdef bint find_layout(bn_call *call, list arrays, int axis):
    """Find the loops for all arrays at once; False if some must be copied first."""
    cdef cnp.ndarray x = arrays[X], array
    cdef const ptrdiff_t *strides[BN_MAX_TENSORS]
    cdef bn_tensor found[BN_MAX_TENSORS]
    cdef bn_tensor *tensors = <bn_tensor *>&call.tensors
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
            tensors[i] = found[count]
            tensors[i].data = <char *>cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
            count += 1
    return True


cdef int start(bn_call *call, list arrays, int axis, int output=-1) except -1:
    """Fill all of call but its values. If arrays[output] is None, it is created. If no loops serve all
    arrays at once, they are replaced by copies; outputs, which begin at `output`, by empty arrays."""
    cdef cnp.ndarray x = arrays[X]
    cdef int i
    if output >= 0 and arrays[output] is None:
        arrays[output] = empty_like(x)
    memset(call, 0, sizeof(bn_call))
    call.threads = bn_max_threads()
    call.kernels = kernels_of(x)
    if not find_layout(call, arrays, axis):
        arrays[X] = x = cnp.PyArray_NewCopy(x, cnp.NPY_KEEPORDER)
        for i in range(1, len(arrays)):
            if arrays[i] is not None:
                arrays[i] = empty_like(x) if 0 <= output <= i else ordered_like(arrays[i], x)
        find_layout(call, arrays, axis)
    return 0


cdef class Vectors:
    """Per-channel vectors as pointers to doubles, valid as long as this object lives."""

    cdef double *memory
    cdef Py_ssize_t channels, used

    def __cinit__(self, Py_ssize_t channels):
        self.channels = channels
        self.memory = <double *>malloc(MAX_VECTORS * channels * sizeof(double))
        if self.memory == NULL:
            raise MemoryError("bn: no memory for the values of the channels")

    def __dealloc__(self):
        free(self.memory)

    cdef double *of(self, values):
        """NULL for None; the array's own data if it is float64 without gaps, else a copy."""
        if values is None:
            return NULL
        cdef cnp.ndarray array = values
        cdef const char *data = <const char *>cnp.PyArray_DATA(array)
        cdef Py_ssize_t c, stride = cnp.PyArray_STRIDES(array)[0]
        cdef bint single = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT32
        cdef double *copy = self.memory + self.used * self.channels
        if not single and stride == sizeof(double) and cnp.PyArray_ISALIGNED(array):
            return <double *>data
        self.used += 1
        for c in range(self.channels):
            copy[c] = load(data + c * stride, single)
        return copy


cdef inline double load(const char *data, bint single) noexcept nogil:
    cdef float narrow
    cdef double wide
    if single:
        memcpy(&narrow, data, sizeof(float))  # vectors may be misaligned
        return narrow
    memcpy(&wide, data, sizeof(double))
    return wide


cdef inline void store(char *data, bint single, double value) noexcept nogil:
    cdef float narrow
    if single:
        narrow = <float>value
        memcpy(data, &narrow, sizeof(float))
    else:
        memcpy(data, &value, sizeof(double))


cdef inline double *pointer(cnp.ndarray vector):
    return <double *>cnp.PyArray_DATA(vector)


cdef Vectors fill(bn_call *call, mean, var, weight, bias, double eps, int activation,
                  double negative_slope):
    """Fill what all operations share. The pointers are valid as long as the returned object lives."""
    cdef Vectors vectors = Vectors.__new__(Vectors, call.layout.channels)
    call.values.mean, call.values.var = vectors.of(mean), vectors.of(var)
    call.values.weight, call.values.bias = vectors.of(weight), vectors.of(bias)
    call.values.eps = eps
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    return vectors


cdef cnp.ndarray vector(const bn_call *call):
    """An uninitialised float64 vector with a value for each channel."""
    cdef cnp.npy_intp length = call.layout.channels
    return cnp.PyArray_EMPTY(1, &length, cnp.NPY_FLOAT64, 0)


cdef cnp.ndarray returned(result, out):
    """The result, in `out` if the caller gave one."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


cdef int memory_found(int found) except -1:
    if not found:
        raise MemoryError("bn: no memory for the results of the channels")
    return 0


# ---- the operations ----

def chunks(cnp.ndarray x, int axis):
    """How many chunks x is cut into: the units of work that threads share."""
    cdef bn_call call
    cdef list arrays = [x]
    start(&call, arrays, axis)
    return bn_cut(&call.layout).chunks


def stats(cnp.ndarray x, int axis):
    """(count, mean, m2) of each channel."""
    cdef bn_call call
    cdef list arrays = [x]
    cdef int found
    start(&call, arrays, axis)
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
    cdef list arrays = [x, residual, out]
    cdef int found
    start(&call, arrays, axis, Y)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    with nogil:
        found = bn_normalize(&call)
    memory_found(found)
    return returned(arrays[Y], out)


def forward(cnp.ndarray x, int axis, weight, bias, double eps, out=None, residual=None,
            int activation=0, double negative_slope=0):
    """stats, then normalize with them: (y, count, mean, m2)."""
    cdef bn_call call
    cdef list arrays = [x, residual, out]
    cdef int found
    start(&call, arrays, axis, Y)
    vectors = fill(&call, None, None, weight, bias, eps, activation, negative_slope)
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
    """(sum of g, sum of g * (x - mean)) of each channel; g is the gradient before the activation."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy]
    cdef int found
    start(&call, arrays, axis)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
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
    """dx of a normalization with batch statistics, into out; g into dresidual."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, out, dresidual]
    cdef int found
    start(&call, arrays, axis, DX)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    call.values.count = vectors.of(count)
    call.values.sum_g, call.values.sum_g_xm = vectors.of(sum_g), vectors.of(sum_g_xm)
    with nogil:
        found = bn_gradient(&call)
    memory_found(found)
    if dresidual is not None:
        returned(arrays[DRESIDUAL], dresidual)
    return returned(arrays[DX], out)


def backward(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var, weight, bias, double eps, count,
             out=None, y=None, dresidual=None, int activation=0, double negative_slope=0):
    """reduce, then gradient with its sums: (dx, sum_g, sum_g_xm)."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, out, dresidual]
    cdef int found
    start(&call, arrays, axis, DX)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    call.values.count = vectors.of(count)
    sum_g, sum_g_xm = vector(&call), vector(&call)
    cdef double *s = pointer(sum_g)
    cdef double *p = pointer(sum_g_xm)
    with nogil:
        found = bn_backward(&call, s, p)
    memory_found(found)
    if dresidual is not None:
        returned(arrays[DRESIDUAL], dresidual)
    return returned(arrays[DX], out), sum_g, sum_g_xm


# ---- convolutions ----

def has_vectors():
    """Whether the compiler had vector types; without them, kernels compute one value at a time."""
    return selected.float32.convolution.lanes > 1


# Images are (N, C, H, W) in any order in memory. Weights are (O, C, kh, kw) without gaps. All arrays of
# a call are aligned and have one dtype, float32 or float64.

cdef bn_images images_of(cnp.ndarray array):
    cdef Py_ssize_t itemsize = cnp.PyArray_ITEMSIZE(array)
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(array)
    cdef cnp.npy_intp *strides = cnp.PyArray_STRIDES(array)
    cdef bn_images images
    images.data = <char *>cnp.PyArray_DATA(array)
    images.channels, images.rows, images.columns = shape[1], shape[2], shape[3]
    images.image, images.channel = strides[0] // itemsize, strides[1] // itemsize
    images.row, images.column = strides[2] // itemsize, strides[3] // itemsize
    return images


cdef bn_convolution convolution_of(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, tuple stride,
                                   tuple before, tuple dilation):
    cdef bn_convolution call
    cdef int i
    call.kernels = kernels_of(x).convolution
    call.threads = bn_max_threads()
    call.images = cnp.PyArray_DIMS(x)[0]
    call.x, call.y = images_of(x), images_of(y)
    call.weight = cnp.PyArray_DATA(weight)
    for i in range(2):
        call.window[i].kernel = cnp.PyArray_DIMS(weight)[2 + i]
        call.window[i].stride, call.window[i].before = stride[i], before[i]
        call.window[i].dilation = dilation[i]
    return call


cdef int convolution_memory_found(int found) except -1:
    if not found:
        raise MemoryError("bn: no memory for the buffers of a convolution")
    return 0


def convolve(cnp.ndarray x, cnp.ndarray weight, bias, cnp.ndarray y, tuple stride, tuple before,
             tuple dilation):
    """The convolution of x, into y. `before` is the padding above and left of the image."""
    cdef bn_convolution call = convolution_of(x, weight, y, stride, before, dilation)
    cdef const void *bias_data = NULL
    cdef int found
    if bias is not None:
        bias_data = cnp.PyArray_DATA(<cnp.ndarray>bias)
    with nogil:
        found = bn_convolve(&call, bias_data)
    convolution_memory_found(found)


def convolve_dx(cnp.ndarray dy, cnp.ndarray weight, cnp.ndarray dx, tuple stride, tuple before,
                tuple dilation):
    """The gradient with respect to x, into dx."""
    cdef bn_convolution call = convolution_of(dx, weight, dy, stride, before, dilation)
    cdef int found
    with nogil:
        found = bn_convolve_dx(&call)
    convolution_memory_found(found)


def convolve_dweight(cnp.ndarray x, cnp.ndarray dy, cnp.ndarray dweight, tuple stride, tuple before,
                     tuple dilation):
    """The gradient with respect to the weight, into dweight."""
    cdef bn_convolution call = convolution_of(x, dweight, dy, stride, before, dilation)
    cdef void *result = cnp.PyArray_DATA(dweight)
    cdef int found
    with nogil:
        found = bn_convolve_dweight(&call, result)
    convolution_memory_found(found)


# ---- per-channel arithmetic ----

def merge(double[::1] count, double[::1] mean, double[::1] m2, const double[::1] count_b,
          const double[::1] mean_b, const double[::1] m2_b):
    """Merge the moments (count_b, mean_b, m2_b) into (count, mean, m2)."""
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


cdef enum:  # what commit does with a channel that is not finite
    SKIP, REFUSE, PROPAGATE


def commit(cnp.ndarray running_mean, cnp.ndarray running_var, const double[::1] count,
           const double[::1] mean, const double[::1] m2, double momentum, bint unbiased,
           int nonfinite=SKIP):
    """running = (1 - momentum) * running + momentum * batch, for each channel that has values.

    Returns which channels are not finite, as booleans, or None if all are finite: those whose batch
    mean or variance, or whose new running value, would be inf or NaN in the dtype that stores it.
    SKIP leaves them as they are, REFUSE changes no channel if there is one, PROPAGATE stores them.
    """
    cdef cnp.npy_intp channels = count.shape[0]
    cdef cnp.ndarray found = cnp.PyArray_ZEROS(1, &channels, cnp.NPY_BOOL, 0)
    cdef cnp.npy_bool *bad = <cnp.npy_bool *>cnp.PyArray_DATA(found)
    cdef Py_ssize_t c
    cdef bint any_bad = False
    cdef running_values means = running_values_of(running_mean), vars = running_values_of(running_var)
    for c in range(channels):
        if count[c] > 0:
            bad[c] = not (can_take(&means, c, mean[c], momentum)
                          and can_take(&vars, c, variance(count[c], m2[c], unbiased), momentum))
            any_bad |= bad[c]
    if nonfinite == REFUSE and any_bad:
        return found
    for c in range(channels):
        if count[c] > 0 and (nonfinite == PROPAGATE or not bad[c]):
            take(&means, c, mean[c], momentum)
            take(&vars, c, variance(count[c], m2[c], unbiased), momentum)
    return found if any_bad else None


cdef struct running_values:
    char *data
    Py_ssize_t stride
    bint single


cdef running_values running_values_of(cnp.ndarray vector) noexcept:
    cdef running_values r
    r.data, r.stride = <char *>cnp.PyArray_DATA(vector), cnp.PyArray_STRIDES(vector)[0]
    r.single = cnp.PyArray_TYPE(vector) == cnp.NPY_FLOAT32
    return r


cdef inline double variance(double count, double m2, bint unbiased) noexcept:
    """m2 / (count - 1); weights that add up to less than 2 count as 2 * (count - 1) = count."""
    return m2 / (max(count - 1, count / 2) if unbiased else count)


cdef inline double mixed(double old, double value, double momentum) noexcept:
    return (1 - momentum) * old + momentum * value


cdef inline bint is_finite(double value, bint single) noexcept:
    return isfinite(<float>value) if single else isfinite(value)


cdef inline bint can_take(const running_values *r, Py_ssize_t c, double value,
                          double momentum) noexcept:
    cdef double old = load(r.data + c * r.stride, r.single)
    return is_finite(value, r.single) and (not isfinite(old)
                                           or is_finite(mixed(old, value, momentum), r.single))


cdef inline void take(const running_values *r, Py_ssize_t c, double value,
                      double momentum) noexcept:
    cdef char *place = r.data + c * r.stride
    store(place, r.single, mixed(load(place, r.single), value, momentum))


# ---- state that changes together ----

# Python runs signal handlers, and so raises KeyboardInterrupt, between two instructions of Python
# code only. What one of these functions does is therefore done as a whole or not at all, and the end
# of a `with` block cannot be missed.

def copy_together(list arrays, list values):
    """Copy each of the values into its array, or raise and change none."""
    cdef cnp.ndarray array, value
    for array, value in zip(arrays, values):
        if array is None or value is None:
            raise TypeError("cannot copy None")
        if not (PyArray_SAMESHAPE(array, value) and cnp.PyArray_ISWRITEABLE(array)
                and cnp.PyArray_TYPE(array) == cnp.PyArray_TYPE(value)):
            raise ValueError(f"cannot copy {value.dtype} of shape {np.shape(value)} into "
                             f"{array.dtype} of shape {np.shape(array)} "
                             f"(writeable: {array.flags.writeable})")
    for array, value in zip(arrays, values):
        cnp.PyArray_CopyInto(array, value)


cdef object open_changes = ContextVar("bn_open_changes", default=None)  # of the inner Transaction


cdef class Change:
    """New values for some arrays, which `apply` copies in and `undo` takes back, once each.

    `after` has the new values; they begin as copies of the arrays."""

    cdef readonly list arrays, after
    cdef readonly bint applied
    cdef list before

    def __init__(self, list arrays):
        cdef cnp.ndarray array
        self.arrays, self.before, self.after = arrays, [], []
        for array in arrays:
            if array is None:
                raise TypeError("a change must be of arrays, got None")
            self.before.append(cnp.PyArray_NewCopy(array, cnp.NPY_CORDER))
            self.after.append(cnp.PyArray_NewCopy(array, cnp.NPY_CORDER))

    def apply(self):
        changes = open_changes.get()
        if changes is not None:
            changes.append(self)
        copy_together(self.arrays, self.after)
        self.applied = True
        self.after = []

    def undo(self):
        if self.applied:
            copy_together(self.arrays, self.before)
            self.applied = False


cdef class Transaction:
    """An exception that ends the `with` block takes back all changes that were applied in it."""

    cdef list changes
    cdef object outer

    def __enter__(self):
        self.outer, self.changes = open_changes.get(), []
        open_changes.set(self.changes)

    def __exit__(self, kind, error, trace):
        if kind is not None:
            for change in reversed(self.changes):
                change.undo()
        elif self.outer is not None:
            self.outer.extend(self.changes)
        open_changes.set(self.outer)
        return False


cdef class Restored:
    """At the end of a `with` block, dicts hold again what they held when this was made."""

    cdef list pairs

    def __init__(self, list dicts):
        self.pairs = [(attributes, dict(attributes)) for attributes in dicts]

    def __enter__(self):
        return None

    def __exit__(self, *error):
        cdef dict attributes, saved
        for attributes, saved in self.pairs:  # first what needs no memory, which may have run out
            attributes.update(saved)
        for attributes, saved in self.pairs:
            for name in list(attributes):
                if name not in saved:
                    del attributes[name]
        return False


cdef class Setting:
    """A context variable has the value of `value()` within a `with` block.

    The variable holds (value, what it held before), so that an object can serve several blocks and
    threads at once."""

    cdef object variable

    def __init__(self, variable):
        self.variable = variable

    def value(self):
        raise NotImplementedError("value")

    def __enter__(self):
        self.variable.set((self.value(), self.variable.get()))

    def __exit__(self, *error):
        self.variable.set(self.variable.get()[1])
        return False


cdef class Threads:
    """Upper limit of the number of threads within a `with` block."""

    cdef int limit
    cdef list before

    def __init__(self, int limit):
        self.limit, self.before = limit, []

    def __enter__(self):
        self.before.append(bn_threads_asked())
        bn_set_max_threads(self.limit)

    def __exit__(self, *error):
        bn_set_max_threads(self.before.pop())
        return False


# ---- a fast check of arguments ----

cdef bint is_float(cnp.ndarray array):
    return (cnp.PyArray_TYPE(array) in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64)
            and cnp.PyArray_ISNOTSWAPPED(array))


cdef bint is_vector(value, Py_ssize_t channels):
    if type(value) is not cnp.ndarray:
        return False
    cdef cnp.ndarray vector = value
    return (cnp.PyArray_NDIM(vector) == 1 and cnp.PyArray_DIMS(vector)[0] == channels
            and is_float(vector))


def takes_batch(running_mean, running_var, Py_ssize_t channels):
    """Whether these are vectors of floats for so many channels, and can be written."""
    return (is_vector(running_mean, channels) and is_vector(running_var, channels)
            and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>running_mean)
            and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>running_var))


def fits(x, axis, tuple needed, tuple optional):
    """The channel axis, counted from the front, if x is a plain array of floats and each vector has a
    value for each channel; optional vectors may be None. Else -1: the caller must check in detail."""
    if type(x) is not cnp.ndarray or type(axis) is not int:
        return -1
    cdef cnp.ndarray tensor = x
    cdef int rank = cnp.PyArray_NDIM(tensor)
    if rank < 2 or not is_float(tensor) or not -rank <= axis < rank:
        return -1
    cdef int front = axis if axis >= 0 else axis + rank
    cdef Py_ssize_t channels = cnp.PyArray_DIMS(tensor)[front]
    for value in needed:
        if not is_vector(value, channels):
            return -1
    for value in optional:
        if value is not None and not is_vector(value, channels):
            return -1
    return front
