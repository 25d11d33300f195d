# Convolutions.

cdef extern from "driver/convolution.h" nogil:
    ctypedef struct bn_conv_epilogue:
        bn_images residual
        bn_activation activation
        double negative_slope
        bn_pooling pooling
    ctypedef struct bn_convolution:
        const bn_conv_kernels *kernels
        int threads
        ptrdiff_t images
        bn_images x, y
        void *weight
        const void *packed
        ptrdiff_t groups
        bn_window window[2]
        bn_conv_epilogue epilogue
        bint winograd
    int bn_convolve(const bn_convolution *call, const void *bias)
    size_t bn_packed_bytes(const bn_convolution *call)
    void bn_pack_weight(const bn_convolution *call, void *packed)
    int bn_convolve_dx(const bn_convolution *call, const void *bias)
    int bn_convolve_dweight(const bn_convolution *call, void *dbias)


def has_vectors():
    """Whether the compiler had vector types; without them, kernels compute one value at a time."""
    return selected.float32.convolution.lanes > 1


cdef Py_ssize_t LINE = 64  # of a cache, in bytes

# Images are (N, C, H, W) in any order in memory. Weights are (O, C / groups, kh, kw) without gaps. All
# arrays of a call are aligned and have one dtype, float32 or float64.

cdef bn_convolution convolution_of(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, tuple stride,
                                   tuple before, tuple dilation):
    cdef bn_convolution call
    cdef int i
    memset(&call, 0, sizeof(bn_convolution))
    call.kernels = kernels_of(x).convolution
    call.threads = bn_max_threads()
    call.images = cnp.PyArray_DIMS(x)[0]
    call.x, call.y = images_of(x), images_of(y)
    call.weight = cnp.PyArray_DATA(weight)
    call.groups = cnp.PyArray_DIMS(x)[1] // cnp.PyArray_DIMS(weight)[1]
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
             tuple dilation, bint winograd, residual=None, positions=None, int activation=0,
             double negative_slope=0, tuple size=None, tuple kernel=None, packed=None):
    """activation(convolution of x + residual), into y. `before` is the padding above and left of the image.

    With a `kernel`, y gets the maxima of windows of that size, which lie side by side, and `positions`, if
    given, the number of each maximum in its window; `size` is then the height and width of the convolution.
    `packed` is what `pack_weight` returned for the weight and arrays of these shapes."""
    cdef bn_convolution call = convolution_of(x, weight, y, stride, before, dilation)
    cdef const void *bias_data = NULL
    cdef int found
    call.winograd = winograd
    if packed is not None:
        call.packed = cnp.PyArray_DATA(<cnp.ndarray>packed)
    if bias is not None:
        bias_data = cnp.PyArray_DATA(<cnp.ndarray>bias)
    if residual is not None:
        call.epilogue.residual = images_of(residual)
    call.epilogue.activation = <bn_activation>activation
    call.epilogue.negative_slope = negative_slope
    if kernel is not None:
        call.y.rows, call.y.columns = size
        call.epilogue.pooling = pooling_of(x, y, kernel, kernel, (0, 0))
        if positions is not None:
            call.epilogue.pooling.positions = images_of(positions)
            call.epilogue.pooling.position_bytes = 1
    with nogil:
        found = bn_convolve(&call, bias_data)
    convolution_memory_found(found)


def pack_weight(cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, tuple stride, tuple before,
                tuple dilation, bint winograd):
    """The weight as the kernels read it, in bytes, for convolutions of arrays of these shapes.

    y is the convolution itself, not what is pooled of it."""
    cdef bn_convolution call = convolution_of(x, weight, y, stride, before, dilation)
    call.winograd = winograd
    cdef Py_ssize_t size = bn_packed_bytes(&call)
    cdef cnp.ndarray memory = np.empty(size + LINE, np.uint8)
    cdef Py_ssize_t before_line = -<Py_ssize_t>cnp.PyArray_DATA(memory) % LINE
    cdef cnp.ndarray packed = memory[before_line:before_line + size]
    with nogil:
        bn_pack_weight(&call, cnp.PyArray_DATA(packed))
    return packed


def convolve_dx(cnp.ndarray dy, cnp.ndarray weight, bias, cnp.ndarray dx, tuple stride, tuple before,
                tuple dilation, bint winograd):
    """The gradient with respect to x, into dx; plus the bias of a transposed convolution, or None."""
    cdef bn_convolution call = convolution_of(dx, weight, dy, stride, before, dilation)
    call.winograd = winograd
    cdef const void *bias_data = NULL
    cdef int found
    if bias is not None:
        bias_data = cnp.PyArray_DATA(<cnp.ndarray>bias)
    with nogil:
        found = bn_convolve_dx(&call, bias_data)
    convolution_memory_found(found)


def convolve_dweight(cnp.ndarray x, cnp.ndarray dy, cnp.ndarray dweight, dbias, tuple stride,
                     tuple before, tuple dilation, bint winograd):
    """The gradient with respect to the weight, into dweight, and to the bias, unless dbias is None."""
    cdef bn_convolution call = convolution_of(x, dweight, dy, stride, before, dilation)
    call.winograd = winograd
    cdef void *dbias_data = NULL
    cdef int found
    if dbias is not None:
        dbias_data = cnp.PyArray_DATA(<cnp.ndarray>dbias)
    with nogil:
        found = bn_convolve_dweight(&call, dbias_data)
    convolution_memory_found(found)
