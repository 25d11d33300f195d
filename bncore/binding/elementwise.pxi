# Elementwise passes: activations, sums, dropout, and NumPy's functions.

cdef extern from "kernels/kernels.h" nogil:
    ctypedef struct bn_softplus:
        double beta, threshold
    ctypedef struct bn_prelu:
        const void *slope
        ptrdiff_t channels, run
    ctypedef struct bn_dropout:
        uint64_t seed, threshold
        double scale

cdef extern from "driver/elementwise.h" nogil:
    enum: BN_MOST_OPERANDS
    ctypedef struct bn_elementwise_job:
        bn_elementwise_kernel kernel
        void *tensor[5]  # BN_MOST_OPERANDS
        ptrdiff_t count
        const void *options
    void bn_elementwise(bn_elementwise_kernel kernel, void *const *tensor, ptrdiff_t count,
                        int threads, const void *options)
    void bn_elementwise_jobs(bn_elementwise_job *job, ptrdiff_t jobs, int threads)


# ---- arrays as runs of values ----

cdef bint is_run(cnp.ndarray a):
    """Whether a is aligned, and its values are one run in memory, its axes in any order."""
    cdef int i, rank = cnp.PyArray_NDIM(a)
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(a)
    cdef cnp.npy_intp *strides = cnp.PyArray_STRIDES(a)
    cdef cnp.npy_intp length = cnp.PyArray_ITEMSIZE(a)
    if not cnp.PyArray_ISALIGNED(a):
        return False
    if cnp.PyArray_IS_C_CONTIGUOUS(a) or cnp.PyArray_IS_F_CONTIGUOUS(a):
        return True
    for _ in range(rank):  # the axis whose steps are as long as the run of the axes before
        for i in range(rank):
            if shape[i] > 1 and strides[i] == length:
                length *= shape[i]
                break
    return length == cnp.PyArray_NBYTES(a)


cdef bint is_like(cnp.ndarray a, cnp.ndarray run):
    """Whether a has the shape of `run`, and is a run with the same order of axes."""
    cdef int i
    cdef cnp.npy_intp *shape = cnp.PyArray_DIMS(run)
    cdef cnp.npy_intp size = cnp.PyArray_ITEMSIZE(a), run_size = cnp.PyArray_ITEMSIZE(run)
    if not (PyArray_SAMESHAPE(a, run) and cnp.PyArray_ISALIGNED(a)):
        return False
    for i in range(cnp.PyArray_NDIM(run)):
        if shape[i] > 1 and (cnp.PyArray_STRIDES(a)[i] * run_size
                             != cnp.PyArray_STRIDES(run)[i] * size):
            return False
    return True


cdef cnp.ndarray as_run(cnp.ndarray a):
    """a itself if it is a run, else a copy."""
    return a if is_run(a) else cnp.PyArray_NewCopy(a, cnp.NPY_KEEPORDER)


cdef cnp.ndarray as_like(cnp.ndarray a, cnp.ndarray run):
    """a itself if it is a run of the same kind, else a copy."""
    if (cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(run) and cnp.PyArray_ISNOTSWAPPED(a)
            and is_like(a, run)):
        return a
    return ordered_like(a, run)


cdef int pass_over(bn_elementwise_kernel kernel, list arrays, const void *options) except -1:
    """Call the kernel for arrays that are runs of the same kind; None becomes NULL."""
    cdef void *tensor[BN_MOST_OPERANDS]
    cdef int i, threads = bn_max_threads()
    cdef ptrdiff_t count = cnp.PyArray_SIZE(<cnp.ndarray>arrays[0])
    for i in range(len(arrays)):
        tensor[i] = NULL if arrays[i] is None else cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
    with nogil:
        bn_elementwise(kernel, tensor, count, threads, options)
    return 0


cdef cnp.ndarray mapped(bn_elementwise_kernel kernel, cnp.ndarray x, const void *options):
    """The result of a kernel for x, in its order in memory."""
    x = as_run(x)
    cdef cnp.ndarray out = empty_like(x)
    pass_over(kernel, [out, x], options)
    return out


cdef cnp.ndarray combined(bn_elementwise_kernel kernel, cnp.ndarray a, cnp.ndarray b,
                          const void *options=NULL):
    """The result of a kernel for a and b, in b's order in memory."""
    b = as_run(b)
    a = as_like(a, b)
    cdef cnp.ndarray out = empty_like(b)
    pass_over(kernel, [out, a, b], options)
    return out


# ---- activations, and sums ----
# x, y and dy of a call have one shape and one dtype, float32 or float64.

def relu(cnp.ndarray x):
    """x where it is positive or NaN, else 0."""
    return mapped(kernels_of(x).elementwise.relu, x, NULL)


def relu_dx(cnp.ndarray dy, cnp.ndarray y):
    """0 where y is not positive, else dy; in y's order in memory."""
    return combined(kernels_of(y).elementwise.relu_dx, dy, y)


def relu6(cnp.ndarray x):
    """relu(x) where it is below 6, else 6; NaN where x is."""
    return mapped(kernels_of(x).elementwise.relu6, x, NULL)


def relu6_dx(cnp.ndarray dy, cnp.ndarray y):
    """dy where y is between 0 and 6 or NaN, else 0; in y's order in memory."""
    return combined(kernels_of(y).elementwise.relu6_dx, dy, y)


def leaky_relu(cnp.ndarray a, cnp.ndarray x, double slope):
    """a where x is positive, else slope * a; in x's order in memory."""
    return combined(kernels_of(x).elementwise.leaky_relu, a, x, &slope)


def sigmoid_dx(cnp.ndarray dy, cnp.ndarray y):
    return combined(kernels_of(y).elementwise.sigmoid_dx, dy, y)


def tanh_dx(cnp.ndarray dy, cnp.ndarray y):
    return combined(kernels_of(y).elementwise.tanh_dx, dy, y)


def gelu(cnp.ndarray x, bint tanh):
    """x times the part of a normal distribution below x; with tanh, approximately."""
    cdef int unused = 0
    cdef const bn_elementwise_kernels *kernels = kernels_of(x).elementwise
    return mapped(kernels.gelu_tanh if tanh else kernels.gelu, x, &unused)


def gelu_dx(cnp.ndarray dy, cnp.ndarray x, bint tanh):
    cdef int unused = 0
    cdef const bn_elementwise_kernels *kernels = kernels_of(x).elementwise
    return combined(kernels.gelu_tanh_dx if tanh else kernels.gelu_dx, dy, x, &unused)


def silu(cnp.ndarray x):
    cdef int unused = 0
    return mapped(kernels_of(x).elementwise.silu, x, &unused)


def silu_dx(cnp.ndarray dy, cnp.ndarray x):
    cdef int unused = 0
    return combined(kernels_of(x).elementwise.silu_dx, dy, x, &unused)


def elu(cnp.ndarray x, double alpha):
    return mapped(kernels_of(x).elementwise.elu, x, &alpha)


def elu_dx(cnp.ndarray dy, cnp.ndarray x, double alpha):
    return combined(kernels_of(x).elementwise.elu_dx, dy, x, &alpha)


def softplus(cnp.ndarray x, double beta, double threshold):
    cdef bn_softplus options = bn_softplus(beta, threshold)
    return mapped(kernels_of(x).elementwise.softplus, x, &options)


def softplus_dx(cnp.ndarray dy, cnp.ndarray x, double beta, double threshold):
    cdef bn_softplus options = bn_softplus(beta, threshold)
    return combined(kernels_of(x).elementwise.softplus_dx, dy, x, &options)


def hardswish(cnp.ndarray x):
    cdef int unused = 0
    return mapped(kernels_of(x).elementwise.hardswish, x, &unused)


def hardswish_dx(cnp.ndarray dy, cnp.ndarray x):
    cdef int unused = 0
    return combined(kernels_of(x).elementwise.hardswish_dx, dy, x, &unused)


def prelu(cnp.ndarray a, cnp.ndarray x, cnp.ndarray slope, int axis):
    """a where x is positive, else a times the slope of its channel, which is one for all or lies on `axis`.

    The slopes are a contiguous vector of x's dtype. The result has x's order in memory."""
    cdef cnp.ndarray run = as_run(x)
    cdef bn_prelu options = bn_prelu(cnp.PyArray_DATA(slope), cnp.PyArray_SIZE(slope), 1)
    if options.channels == 1:
        options.run = max(1, cnp.PyArray_SIZE(run))
    else:
        options.run = max(1, cnp.PyArray_STRIDES(run)[axis] // cnp.PyArray_ITEMSIZE(run))
    return combined(kernels_of(run).elementwise.prelu, a, run, &options)


def logistic_loss(cnp.ndarray x, cnp.ndarray negative, cnp.ndarray positive):
    """(loss, slope): negative * log(1 + exp(x)) + positive * log(1 + exp(-x)), and its derivative.

    Both have x's order in memory."""
    x = as_run(x)
    cdef cnp.ndarray loss = empty_like(x), slope = empty_like(x)
    cdef list inputs = [x, as_like(negative, x), as_like(positive, x)]
    pass_over(kernels_of(x).elementwise.logistic_loss, [loss, slope, *inputs], NULL)
    return loss, slope


def add(a, b):
    """a + b, in a's order in memory. NumPy adds where the kernels do not serve the two."""
    if not (type(a) is type(b) is cnp.ndarray and a.dtype == b.dtype and is_float(a)
            and PyArray_SAMESHAPE(a, b)):
        return a + b
    return combined(kernels_of(a).elementwise.add, b, a)


# ---- dropout ----

def dropout(cnp.ndarray x, uint64_t seed, double p, double scale):
    """(y, mask): values that are 0 with probability p, else x * scale; bytes that are 1 there."""
    x = as_run(x)
    cdef cnp.ndarray y = empty_like(x)
    mask = empty(np.shape(x), np.uint8, x)
    cdef bn_dropout options = bn_dropout(seed, <uint64_t>(p * 2.0**32 + 0.5), scale)
    pass_over(kernels_of(x).elementwise.dropout, [y, mask, x], &options)
    return y, mask


def masked(cnp.ndarray dy, cnp.ndarray mask, double scale):
    """dy * mask * scale, in the mask's order in memory."""
    cdef cnp.ndarray ordered = dy
    if not is_like(dy, mask):
        ordered = empty(np.shape(dy), dy.dtype, mask)
        ordered[...] = dy
    cdef cnp.ndarray dx = empty_like(ordered)
    pass_over(kernels_of(dy).elementwise.masked, [dx, ordered, mask], &scale)
    return dx


# ---- NumPy's functions ----

def runs(cnp.ndarray x, *others):
    """The values of x, and those of the others in x's order in memory, as arrays with one axis."""
    cdef cnp.ndarray first = as_run(x)
    return [first.ravel("K"), *(as_like(other, first).ravel("K") for other in others)]


cdef class Blocks:
    """Calls a function for blocks of a range, wherever they run as if in the caller's thread."""

    cdef object function, context, error_state
    cdef Py_ssize_t count, block
    cdef list errors

    def __init__(self, function, Py_ssize_t count, Py_ssize_t block):
        self.function, self.count, self.block, self.errors = function, count, block, []
        self.context = copy_context()
        # NumPy 1 does not keep it in the context, but for each thread.
        self.error_state = {**np.geterr(), "call": np.geterrcall()}

    cdef void start(self, ptrdiff_t begin, ptrdiff_t end) noexcept:
        try:
            # Two threads cannot be in one context.
            self.context.copy().run(self.call, begin, end)
        except BaseException as error:
            self.errors.append(error)

    def call(self, Py_ssize_t begin, Py_ssize_t end):
        cdef Py_ssize_t i
        with np.errstate(**self.error_state):
            for i in range(begin, end):
                if self.errors:
                    break
                self.function(i * self.block, min((i + 1) * self.block, self.count))


cdef void start_blocks(const void *context, ptrdiff_t begin, ptrdiff_t end, int worker) noexcept nogil:
    with gil:
        (<Blocks>context).start(begin, end)


def in_blocks(function, Py_ssize_t count, Py_ssize_t block):
    """Call function(begin, end) for the blocks of 0 ... count, on the threads of the pool.

    NumPy's functions let the threads run side by side: they hold Python's lock only between their
    loops. After an error in a block no other one begins, and when all have ended, the error is raised
    here; so is what a signal's handler raises, which runs in a block of the main thread."""
    cdef Py_ssize_t number = (count + block - 1) // block
    cdef int threads = bn_max_threads()
    if number <= 1:
        function(0, count)
        return
    cdef Blocks blocks = Blocks(function, count, block)
    cdef const void *context = <const void *>blocks
    with nogil:
        bn_parallel_for(number, threads, start_blocks, context)
    if blocks.errors:
        raise blocks.errors[0]
