# Batches of images, (N, C, H, W) in any order in memory.

cdef extern from "driver/images.h" nogil:
    ctypedef struct bn_images:
        char *data
        ptrdiff_t channels, rows, columns
        ptrdiff_t image, channel, row, column
    ctypedef struct bn_window:
        ptrdiff_t kernel, stride, before, dilation
    enum: BN_ROWS, BN_COLUMNS


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
