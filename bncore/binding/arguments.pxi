# A fast check of arguments.


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
