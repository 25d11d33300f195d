# Batch normalization: arrays to tensors, and the operations.

cdef extern from "driver/layout.h" nogil:
    enum: BN_X, BN_RESIDUAL, BN_Y, BN_DY, BN_DX, BN_DRESIDUAL, BN_TENSORS
    ctypedef struct bn_tensor:
        char *data
    ctypedef struct bn_layout:
        ptrdiff_t channels, inner
    bn_layout bn_layout_of(int rank, const ptrdiff_t *shape, int axis, const ptrdiff_t *strides)
    bn_layout bn_layout_of_rows(const ptrdiff_t *shape)
    bint bn_fits_layout(const bn_layout *layout, char *data, const ptrdiff_t *strides,
                        ptrdiff_t itemsize, bn_tensor *tensor)

cdef extern from "driver/partition.h" nogil:
    ctypedef struct bn_partition:
        ptrdiff_t chunks
    bn_partition bn_cut(const bn_layout *layout)

cdef extern from "driver/pooled.h" nogil:
    ctypedef struct bn_pooled:
        const bn_pool_kernels *kernels
        ptrdiff_t kernel[2]
        ptrdiff_t size[2]
        ptrdiff_t outputs[2]
        const char *dy
        const unsigned char *positions

cdef extern from "driver/operations.h" nogil:
    ctypedef struct bn_tensors:
        pass
    ctypedef struct bn_call:
        const bn_kernels *kernels
        bn_layout layout
        int threads
        bn_tensors tensors
        const ptrdiff_t *gathered[BN_TENSORS]
        const bn_pooled *pooled
        bn_channel_values values
        const double *run_weight
        const double *run_bias
        double *run_dweight
        double *run_dbias
        int about_zero
        bn_activation activation
        double negative_slope
    int bn_stats(const bn_call *call, double *count, double *mean, double *m2)
    int bn_normalize(const bn_call *call)
    int bn_forward(const bn_call *call, double *count, double *mean, double *m2)
    int bn_reduce(const bn_call *call, double *sum_g, double *sum_g_xm)
    int bn_gradient(const bn_call *call)
    int bn_backward(const bn_call *call, double *sum_g, double *sum_g_xm)


# ---- arrays to tensors ----

cdef enum:
    MAX_VECTORS = 7  # mean, var, weight, bias, count and two sums


cdef const bn_kernels *kernels_of(cnp.ndarray x):
    cdef int number = cnp.PyArray_TYPE(x)
    if number == cnp.NPY_FLOAT32:
        return selected.float32
    if number == cnp.NPY_FLOAT64:
        return selected.float64
    return selected.float16 if number == cnp.NPY_FLOAT16 else selected.bfloat16


cdef int start(bn_call *call, list arrays, int axis, int output=-1, bint rows=False) except -1:
    """Fill all of call but its values. `arrays` has the members of bn_tensors, in their order; if
    arrays[output] is None, it is created. Of two axes, the rows are the channels if `rows`."""
    cdef cnp.ndarray x = arrays[BN_X], array
    cdef bn_tensor *tensors = <bn_tensor *>&call.tensors
    cdef const ptrdiff_t *strides
    cdef int i
    if output >= 0 and arrays[output] is None:
        arrays[output] = empty_like(x)
    memset(call, 0, sizeof(bn_call))
    call.threads = bn_max_threads()
    call.kernels = kernels_of(x)
    call.values.span = 1
    if rows:
        call.layout = bn_layout_of_rows(<const ptrdiff_t *>cnp.PyArray_DIMS(x))
    else:
        call.layout = bn_layout_of(cnp.PyArray_NDIM(x), <const ptrdiff_t *>cnp.PyArray_DIMS(x), axis,
                                   <const ptrdiff_t *>cnp.PyArray_STRIDES(x))
    for i in range(len(arrays)):
        if arrays[i] is None:
            continue
        array = arrays[i]
        strides = <const ptrdiff_t *>cnp.PyArray_STRIDES(array)
        if not (bn_fits_layout(&call.layout, <char *>cnp.PyArray_DATA(array), strides,
                               cnp.PyArray_ITEMSIZE(x), &tensors[i])
                and cnp.PyArray_ISALIGNED(array)):
            call.gathered[i] = strides
    return 0


cdef class Vectors:
    """Per-channel vectors as pointers to doubles, valid as long as this object lives."""

    cdef double *memory
    cdef Py_ssize_t channels, used

    def __cinit__(self, Py_ssize_t channels):
        self.channels = channels
        self.memory = <double *>bn_memory_malloc(
            NULL, MAX_VECTORS * channels * sizeof(double))
        if self.memory == NULL:
            raise MemoryError("bn: no memory for the values of the channels")

    def __dealloc__(self):
        bn_memory_free(NULL, self.memory, 0)

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
        for c in range(cnp.PyArray_SIZE(array)):
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
    """Fill what all operations share. The pointers are valid as long as the returned object lives.

    Fewer means than channels are those of equally many adjoining channels each; fewer weights repeat."""
    cdef Py_ssize_t channels = call.layout.channels
    cdef Vectors vectors = Vectors.__new__(Vectors, channels)
    call.values.span = channels // max(length_of(mean, channels), 1)
    call.values.parameters = min(length_of(weight, channels), length_of(bias, channels))
    call.values.mean, call.values.var = vectors.of(mean), vectors.of(var)
    call.values.weight, call.values.bias = vectors.of(weight), vectors.of(bias)
    call.values.eps = eps
    call.activation, call.negative_slope = <bn_activation>activation, negative_slope
    return vectors


cdef Py_ssize_t length_of(vector, Py_ssize_t channels):
    return channels if vector is None else cnp.PyArray_SIZE(<cnp.ndarray>vector)


cdef cnp.ndarray vector(const bn_call *call):
    """An uninitialised float64 vector with a value for each channel."""
    cdef cnp.npy_intp length = call.layout.channels
    return cnp.PyArray_EMPTY(1, &length, cnp.NPY_FLOAT64, 0)


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
    start(&call, arrays, axis, BN_Y)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    with nogil:
        found = bn_normalize(&call)
    memory_found(found)
    return arrays[BN_Y]


def forward(cnp.ndarray x, int axis, weight, bias, double eps, out=None, residual=None,
            int activation=0, double negative_slope=0):
    """stats, then normalize with them: (y, count, mean, m2)."""
    cdef bn_call call
    cdef list arrays = [x, residual, out]
    cdef int found
    start(&call, arrays, axis, BN_Y)
    vectors = fill(&call, None, None, weight, bias, eps, activation, negative_slope)
    count, mean, m2 = vector(&call), vector(&call), vector(&call)
    cdef double *counts = pointer(count)
    cdef double *means = pointer(mean)
    cdef double *m2s = pointer(m2)
    with nogil:
        found = bn_forward(&call, counts, means, m2s)
    memory_found(found)
    return arrays[BN_Y], count, mean, m2


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
    start(&call, arrays, axis, BN_DX)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    call.values.count = vectors.of(count)
    call.values.sum_g, call.values.sum_g_xm = vectors.of(sum_g), vectors.of(sum_g_xm)
    with nogil:
        found = bn_gradient(&call)
    memory_found(found)
    return arrays[BN_DX]


def backward(cnp.ndarray dy, cnp.ndarray x, int axis, mean, var, weight, bias, double eps, count,
             out=None, y=None, dresidual=None, int activation=0, double negative_slope=0):
    """reduce, then gradient with its sums: (dx, sum_g, sum_g_xm)."""
    cdef bn_call call
    cdef list arrays = [x, None, y, dy, out, dresidual]
    cdef int found
    start(&call, arrays, axis, BN_DX)
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    call.values.count = vectors.of(count)
    sum_g, sum_g_xm = vector(&call), vector(&call)
    cdef double *s = pointer(sum_g)
    cdef double *p = pointer(sum_g_xm)
    with nogil:
        found = bn_backward(&call, s, p)
    memory_found(found)
    return arrays[BN_DX], sum_g, sum_g_xm


# ---- the gradient behind a pooling ----

def gradient_pooled(cnp.ndarray dy, cnp.ndarray positions, cnp.ndarray x, int axis, mean, var, weight,
                    bias, double eps, count, sum_g, sum_g_xm, int activation, double negative_slope,
                    tuple kernel):
    """`gradient`, where dy and the positions are those of the maxima of windows side by side.

    x is (N, C, H, W) or (N, H, W, C) with its channels last in memory, without gaps; dy and the positions
    are (N, H, W, C) without gaps. A window has at most 256 pixels."""
    cdef bn_call call
    cdef bn_pooled pooled
    cdef list arrays = [x, None, None, None, None]
    cdef int found, i
    start(&call, arrays, axis, BN_DX)
    memset(&pooled, 0, sizeof(bn_pooled))
    pooled.kernels = kernels_of(x).pooling
    for i in range(2):
        pooled.kernel[i] = kernel[i]
        pooled.size[i] = cnp.PyArray_DIMS(x)[(2 if axis == 1 else 1) + i]
        pooled.outputs[i] = cnp.PyArray_DIMS(dy)[1 + i]
    pooled.dy = <const char *>cnp.PyArray_DATA(dy)
    pooled.positions = <const unsigned char *>cnp.PyArray_DATA(positions)
    (<bn_tensor *>&call.tensors)[BN_DY].data = <char *>pooled.dy
    call.pooled = &pooled
    vectors = fill(&call, mean, var, weight, bias, eps, activation, negative_slope)
    call.values.count = vectors.of(count)
    call.values.sum_g, call.values.sum_g_xm = vectors.of(sum_g), vectors.of(sum_g_xm)
    with nogil:
        found = bn_gradient(&call)
    memory_found(found)
    return arrays[BN_DX]
