# Memory of outputs, which is recycled.

cdef extern from "numpy/arrayobject.h":
    cnp.ndarray PyArray_NewLikeArray(cnp.ndarray prototype, cnp.NPY_ORDER order, void *descr,
                                     int subok)

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
    void *bn_memory_malloc(void *context, size_t size)
    void bn_memory_free(void *context, void *data, size_t size)
    bn_memory_counts bn_memory_info()
    void bn_memory_set_limit(size_t limit)
    size_t bn_memory_trim()


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


def empty(tuple shape, dtype, like=None):
    """An uninitialised array; recycled memory if it is large.

    The order of its axes in memory is that of the array `like`, which has as many axes; else C's."""
    cdef object before
    if bn_memory_info().limit == 0:
        return uninitialised(shape, dtype, like)
    before = cnp.PyDataMem_SetHandler(recycler)
    try:
        return uninitialised(shape, dtype, like)
    finally:
        cnp.PyDataMem_SetHandler(before)


cdef object uninitialised(tuple shape, dtype, like):
    if like is None:
        return np.empty(shape, dtype)
    return np.empty_like(like, dtype, "K", False, shape)


cdef bint has_order_of(cnp.ndarray a, cnp.ndarray x):
    """Whether the axes of a lie in memory as those of x, of the same shape; axes of length 1 do not count."""
    cdef int i
    for i in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIMS(a)[i] > 1 and cnp.PyArray_STRIDES(a)[i] != cnp.PyArray_STRIDES(x)[i]:
            return False
    return True


cdef cnp.ndarray ordered_like(cnp.ndarray a, cnp.ndarray x):
    """A copy of a, its axes in x's order in memory."""
    cdef cnp.ndarray copy = empty_like(x)
    copy_values(copy, a)
    return copy


cdef int copy_values(cnp.ndarray to, cnp.ndarray a) except -1:
    """to[...] = a, of equal shapes; on all cores if they are images of one dtype."""
    cdef int number = cnp.PyArray_TYPE(a)
    cdef bint real = number == cnp.NPY_FLOAT32 or number == cnp.NPY_FLOAT64
    if (cnp.PyArray_NDIM(a) == 4 and real and cnp.PyArray_TYPE(to) == number and cnp.PyArray_ISALIGNED(a)
            and cnp.PyArray_ISNOTSWAPPED(a)):
        copy_images(to, a)
    else:
        to[...] = a
    return 0


def contiguous(cnp.ndarray a):
    """a in C order: a itself, or a copy."""
    if cnp.PyArray_IS_C_CONTIGUOUS(a):
        return a
    cdef cnp.ndarray copy = empty(tuple(cnp.PyArray_DIMS(a)[k] for k in range(cnp.PyArray_NDIM(a))), a.dtype)
    copy_values(copy, a)
    return copy


cpdef cnp.ndarray in_order_of(cnp.ndarray a, cnp.ndarray x):
    """a, of x's shape, with its axes in x's order in memory: a itself, or a copy."""
    return a if has_order_of(a, x) else ordered_like(a, x)


def memory_info():
    """{limit, held, used, hits, misses}: bytes, and requests served from kept blocks or not."""
    return bn_memory_info()


def set_memory_limit(size_t limit):
    bn_memory_set_limit(limit)


def trim_memory():
    return bn_memory_trim()
