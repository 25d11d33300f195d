# Pooling.

cdef extern from "driver/pooling.h" nogil:
    ctypedef struct bn_pooling:
        const bn_pool_kernels *kernels
        int threads
        ptrdiff_t images
        bn_images x, y, positions
        int position_bytes
        bn_window window[2]
        const void *sign
        int count_padding
    void bn_pool_max(const bn_pooling *call)
    void bn_pool_max_gradient(const bn_pooling *call)
    void bn_pool_mean(const bn_pooling *call)
    void bn_pool_mean_gradient(const bn_pooling *call)


# Images and positions are (N, C, H, W) in any order in memory. All arrays are aligned; the images of a
# call have one dtype, float32 or float64, the positions uint8 or int32.

cdef bn_pooling pooling_of(cnp.ndarray x, cnp.ndarray y, tuple kernel, tuple stride, tuple padding):
    cdef bn_pooling call
    cdef int i
    call.kernels = kernels_of(x).pooling
    call.threads = bn_max_threads()
    call.images = cnp.PyArray_DIMS(x)[0]
    call.x, call.y = images_of(x), images_of(y)
    memset(&call.positions, 0, sizeof(bn_images))
    call.position_bytes = 0
    call.sign = NULL
    call.count_padding = 0
    for i in range(2):
        call.window[i].kernel, call.window[i].stride = kernel[i], stride[i]
        call.window[i].before, call.window[i].dilation = padding[i], 1
    return call


def pool_max(cnp.ndarray x, cnp.ndarray y, cnp.ndarray positions, tuple kernel, tuple stride,
             tuple padding):
    """The maximum of each window, into y, and where it is, into positions.

    A position is the number of the pixel: in the window as uint8, in the image as int32."""
    cdef bn_pooling call = pooling_of(x, y, kernel, stride, padding)
    call.positions = images_of(positions)
    call.position_bytes = cnp.PyArray_ITEMSIZE(positions)
    with nogil:
        bn_pool_max(&call)


def pool_extreme(cnp.ndarray x, cnp.ndarray sign, cnp.ndarray y, cnp.ndarray positions, tuple kernel,
                 tuple stride, tuple padding):
    """The value of each window whose product with its channel's sign (1, -1 or 0) is the largest.

    x, y and the positions, of uint8, lie channels-last without gaps; the signs have x's dtype."""
    cdef bn_pooling call = pooling_of(x, y, kernel, stride, padding)
    call.positions = images_of(positions)
    call.position_bytes = 1
    call.sign = cnp.PyArray_DATA(sign)
    with nogil:
        bn_pool_max(&call)


def pool_max_gradient(cnp.ndarray dy, cnp.ndarray positions, cnp.ndarray dx, tuple kernel,
                      tuple stride, tuple padding):
    """The gradient with respect to x, into dx."""
    cdef bn_pooling call = pooling_of(dx, dy, kernel, stride, padding)
    call.positions = images_of(positions)
    call.position_bytes = cnp.PyArray_ITEMSIZE(positions)
    with nogil:
        bn_pool_max_gradient(&call)


def pool_mean(cnp.ndarray x, cnp.ndarray y, tuple kernel, tuple stride, tuple padding,
              bint count_padding):
    """The mean of each window, into y; `count_padding`: with the zeros of the padding."""
    cdef bn_pooling call = pooling_of(x, y, kernel, stride, padding)
    call.count_padding = count_padding
    with nogil:
        bn_pool_mean(&call)


def pool_mean_gradient(cnp.ndarray dy, cnp.ndarray dx, tuple kernel, tuple stride, tuple padding,
                       bint count_padding):
    """The gradient with respect to x, into dx."""
    cdef bn_pooling call = pooling_of(dx, dy, kernel, stride, padding)
    call.count_padding = count_padding
    with nogil:
        bn_pool_mean_gradient(&call)
