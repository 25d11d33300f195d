# Resampling.

cdef extern from "kernels/kernels.h" nogil:
    ctypedef struct bn_range:
        ptrdiff_t begin, end
    ctypedef struct bn_taps:
        ptrdiff_t outputs
        const ptrdiff_t *first
        const ptrdiff_t *count
        const void *weights
        bint copies
        bn_range run

cdef extern from "driver/resampling.h" nogil:
    ctypedef struct bn_resampling:
        const bn_resample_kernels *kernels
        int threads
        ptrdiff_t images
        bn_images x, y
        bn_taps taps[2]
    int bn_resample(const bn_resampling *call)


cdef bn_taps taps_of(tuple given):
    cdef cnp.ndarray first = given[0], count = given[1], weights = given[2]
    cdef bn_taps taps
    taps.outputs = cnp.PyArray_DIMS(first)[0]
    taps.first = <const ptrdiff_t *>cnp.PyArray_DATA(first)
    taps.count = <const ptrdiff_t *>cnp.PyArray_DATA(count)
    taps.weights = cnp.PyArray_DATA(weights)
    taps.copies = given[3]
    taps.run.begin, taps.run.end = given[4], given[5]
    return taps


def resample(cnp.ndarray x, cnp.ndarray y, tuple rows, tuple columns):
    """Weighted sums of x's pixels, into y. Both are aligned images (N, C, H, W) of one dtype, float32 or float64.

    `rows` and `columns` are (first, count, weights, copies, begin, end) for the pixels of y along that axis:
    output j is the sum over k < count[j] of weights[k, j] times input first[j] + k. `first` and `count` are of
    intp, the weights of x's dtype, and all without gaps. `copies` says that each output is one input or zero.
    If outputs `begin` to `end` are inputs side by side and all others are zero, begin is less than end."""
    cdef bn_resampling call
    cdef int found
    call.kernels = kernels_of(x).resampling
    call.threads = bn_max_threads()
    call.images = cnp.PyArray_DIMS(x)[0]
    call.x, call.y = images_of(x), images_of(y)
    call.taps[BN_ROWS] = taps_of(rows)
    call.taps[BN_COLUMNS] = taps_of(columns)
    with nogil:
        found = bn_resample(&call)
    if not found:
        raise MemoryError("bn: no memory for the buffers of a resampling")
