# Instruction sets and threads.

cdef extern from "kernels/kernels.h" nogil:
    ctypedef struct bn_conv_kernels:
        ptrdiff_t lanes
    ctypedef struct bn_pool_kernels:
        pass
    ctypedef struct bn_resample_kernels:
        pass
    ctypedef void (*bn_elementwise_kernel)(void *const *tensor, ptrdiff_t begin, ptrdiff_t end,
                                           const void *options)
    ctypedef struct bn_elementwise_kernels:
        bn_elementwise_kernel relu, relu_dx, relu6, relu6_dx, leaky_relu, sigmoid_dx, tanh_dx, add
        bn_elementwise_kernel gelu, gelu_dx, gelu_tanh, gelu_tanh_dx, silu, silu_dx, elu, elu_dx
        bn_elementwise_kernel softplus, softplus_dx, hardswish, hardswish_dx, prelu, logistic_loss
        bn_elementwise_kernel dropout, masked, sgd, sgd_momentum, adam, rmsprop
    ctypedef struct bn_step:
        ptrdiff_t rows, hidden
        const uint8_t *active
    ctypedef void (*bn_step_kernel)(void *const *tensor, const bn_step *step)
    ctypedef struct bn_recurrent_kernels:
        bn_step_kernel rnn_tanh, rnn_tanh_gradient, rnn_relu, rnn_relu_gradient
        bn_step_kernel lstm, lstm_gradient, gru, gru_gradient
    ctypedef struct bn_kernels:
        const bn_conv_kernels *convolution
        const bn_pool_kernels *pooling
        const bn_resample_kernels *resampling
        const bn_elementwise_kernels *elementwise
        const bn_recurrent_kernels *recurrent
    ctypedef struct bn_isa:
        const char *name
        const bn_kernels *float32
        const bn_kernels *float64
        const bn_kernels *float16
        const bn_kernels *bfloat16
    ctypedef enum bn_activation:
        pass
    ctypedef struct bn_channel_values:
        ptrdiff_t span
        ptrdiff_t parameters
        const double *mean
        const double *var
        const double *weight
        const double *bias
        double eps
        const double *sum_g
        const double *sum_g_xm
        const double *count

cdef extern from "kernels/dispatch.h" nogil:
    const bn_isa *bn_supported_isa(int i)

cdef extern from "driver/parallel.h" nogil:
    enum: BN_MOST_THREADS
    ctypedef void (*bn_range_body)(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker)
    void bn_parallel_for(ptrdiff_t count, int threads, bn_range_body body, const void *context)
    int bn_has_openmp()
    int bn_max_threads()
    void bn_set_max_threads(int n)
    int bn_threads_asked()

cdef extern from "driver/host_team.h" nogil:
    int bn_host_find(const char *path)
    int bn_host_use(int on)


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


def find_host_team(str path):
    """Find the OpenMP runtime in this library, which must be loaded; whether its team can be used."""
    return bool(bn_host_find(path.encode()))


cdef class HostTeam:
    """Within it, the OpenMP team of the program around does the loops that this thread begins."""

    def __enter__(self):
        bn_host_use(1)

    def __exit__(self, kind, error, traceback):
        bn_host_use(0)
