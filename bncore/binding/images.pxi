# Batches of images, (N, C, H, W) in any order in memory.

cdef extern from "driver/images.h" nogil:
    ctypedef struct bn_images:
        char *data
        ptrdiff_t channels, rows, columns
        ptrdiff_t image, channel, row, column
    ctypedef struct bn_window:
        ptrdiff_t kernel, stride, before, dilation
    enum: BN_ROWS, BN_COLUMNS
    void bn_copy_images(const bn_conv_kernels *kernels, int threads, ptrdiff_t images, bn_images to,
                        bn_images frm)


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


cdef int copy_images(cnp.ndarray to, cnp.ndarray images) except -1:
    """Copy images to others of their shape and dtype, in another order in memory."""
    cdef const bn_conv_kernels *kernels = kernels_of(to).convolution
    cdef bn_images target = images_of(to), source = images_of(images)
    cdef int threads = bn_max_threads()
    cdef Py_ssize_t count = cnp.PyArray_DIMS(to)[0]
    with nogil:
        bn_copy_images(kernels, threads, count, target, source)
    return 0
