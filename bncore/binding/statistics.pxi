# Arithmetic of per-channel statistics.

cdef extern from "kernels/moments.h" nogil:
    void bn_merge(double count, double *mean, double *m2, double count_b, double mean_b,
                  double m2_b)
    double bn_rstd(double var, double eps)


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


def commit(cnp.ndarray running_mean, cnp.ndarray running_var, batch_count, batch_mean, batch_m2,
           double momentum, bint unbiased, int nonfinite=SKIP):
    """running = (1 - momentum) * running + momentum * batch, for each channel that has values.

    Returns which channels are not finite, as booleans, or None if all are finite: those whose batch
    mean or variance, or whose new running value, would be inf or NaN in the dtype that stores it.
    SKIP leaves them as they are, REFUSE changes no channel if there is one, PROPAGATE stores them.
    """
    cdef cnp.ndarray counts = cnp.PyArray_GETCONTIGUOUS(batch_count)
    cdef cnp.ndarray means_of_batch = cnp.PyArray_GETCONTIGUOUS(batch_mean)
    cdef cnp.ndarray m2_of_batch = cnp.PyArray_GETCONTIGUOUS(batch_m2)
    cdef const double *count = <const double *>cnp.PyArray_DATA(counts)
    cdef const double *mean = <const double *>cnp.PyArray_DATA(means_of_batch)
    cdef const double *m2 = <const double *>cnp.PyArray_DATA(m2_of_batch)
    cdef cnp.npy_intp channels = cnp.PyArray_SIZE(counts)
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
