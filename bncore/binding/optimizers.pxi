# Steps of optimizers: all parameters in one pass.

cdef extern from "numpy/arrayobject.h":
    int PyArray_FailUnlessWriteable(cnp.ndarray array, const char *name) except -1

cdef extern from "kernels/kernels.h" nogil:
    ctypedef struct bn_sgd:
        double lr, decay, momentum, gain
        int nesterov
    ctypedef struct bn_adam:
        double shrink, decay, beta1, beta2, root, eps, step_size
    ctypedef struct bn_rmsprop:
        double lr, decay, alpha, eps, momentum

cdef enum StepKind:
    SGD, SGD_MOMENTUM, ADAM, RMSPROP


cdef bn_elementwise_kernel optimizer_kernel(StepKind kind, cnp.ndarray p):
    cdef const bn_elementwise_kernels *kernels = kernels_of(p).elementwise
    if kind == SGD:
        return kernels.sgd
    if kind == SGD_MOMENTUM:
        return kernels.sgd_momentum
    return kernels.adam if kind == ADAM else kernels.rmsprop


def all_fit(list params, list grads):
    """Whether all are plain arrays, float32 or float64, and each gradient is like its parameter."""
    for p, grad in zip(params, grads):
        if not (type(p) is type(grad) is cnp.ndarray and is_float(p)
                and cnp.PyArray_TYPE(p) == cnp.PyArray_TYPE(grad)
                and cnp.PyArray_ISNOTSWAPPED(grad) and PyArray_SAMESHAPE(p, grad)):
            return False
    return True


# ---- one parameter ----

cdef bint overlap(cnp.ndarray a, cnp.ndarray b):
    """Whether two runs of equal length share memory."""
    cdef ptrdiff_t distance = <char *>cnp.PyArray_DATA(a) - <char *>cnp.PyArray_DATA(b)
    return -cnp.PyArray_NBYTES(a) < distance < cnp.PyArray_NBYTES(a)


cdef cnp.ndarray gradient_like(cnp.ndarray grad, cnp.ndarray p):
    """The gradient in the order of p, a run, in memory of its own."""
    grad = as_like(grad, p)
    return ordered_like(grad, p) if overlap(grad, p) else grad


cdef int change(StepKind kind, list arrays, cnp.ndarray grad, const void *options) except -1:
    """Change a parameter, the first array, and what is remembered of it, however they lie in memory."""
    cdef cnp.ndarray p = as_run(arrays[0])
    cdef list runs = [None if array is None else as_like(array, p) for array in arrays]
    pass_over(optimizer_kernel(kind, p), [*runs, gradient_like(grad, p)], options)
    for array, run in zip(arrays, runs):
        if run is not array:
            array[...] = run
    return 0


# ---- all parameters ----

ctypedef struct Span:
    size_t begin, end


cdef int compare_spans(const void *a, const void *b) noexcept nogil:
    cdef size_t first = (<const Span *>a).begin, second = (<const Span *>b).begin
    return (first > second) - (first < second)


cdef class Jobs:
    """The jobs of one pass, each of which changes one parameter."""

    cdef bn_elementwise_job *job
    cdef Span *span
    cdef Py_ssize_t count
    cdef list gradients  # they may be copies, which must live as long as the jobs

    def __cinit__(self, Py_ssize_t most):
        self.job = <bn_elementwise_job *>bn_memory_malloc(NULL, most * sizeof(bn_elementwise_job))
        self.span = <Span *>bn_memory_malloc(NULL, most * sizeof(Span))
        if self.job == NULL or self.span == NULL:
            raise MemoryError("bn: no memory for the step of an optimizer")
        self.gradients = []

    def __dealloc__(self):
        bn_memory_free(NULL, self.job, 0)
        bn_memory_free(NULL, self.span, 0)

    cdef bint add(self, StepKind kind, list arrays, cnp.ndarray grad, const void *options) except -1:
        """Add a job, or return False if the arrays are not runs of one kind."""
        cdef cnp.ndarray p = arrays[0], array
        cdef bn_elementwise_job *job = &self.job[self.count]
        cdef int i
        if not is_run(p):
            return False
        for i in range(len(arrays)):
            job.tensor[i] = NULL
            if arrays[i] is not None:
                array = arrays[i]
                if as_like(array, p) is not array:
                    return False
                job.tensor[i] = cnp.PyArray_DATA(array)
        grad = gradient_like(grad, p)
        self.gradients.append(grad)
        job.tensor[len(arrays)] = cnp.PyArray_DATA(grad)
        job.kernel, job.count, job.options = optimizer_kernel(kind, p), cnp.PyArray_SIZE(p), options
        self.span[self.count].begin = <size_t>cnp.PyArray_DATA(p)
        self.span[self.count].end = <size_t>cnp.PyArray_DATA(p) + cnp.PyArray_NBYTES(p)
        self.count += 1
        return True

    cdef bint tied(self):
        """Whether two of the parameters share memory."""
        cdef Py_ssize_t i
        qsort(self.span, self.count, sizeof(Span), compare_spans)
        for i in range(1, self.count):
            if self.span[i].begin < self.span[i - 1].end:
                return True
        return False

    cdef int run(self):
        cdef int threads = bn_max_threads()
        with nogil:
            bn_elementwise_jobs(self.job, self.count, threads)
        return 0


cdef int step_all(StepKind kind, list slots, list grads, const void *options) except -1:
    """Take a step of all parameters, which are the first slot.

    Each other slot is None, or has for each parameter an array of what is remembered of it."""
    cdef Py_ssize_t i, count = len(grads)
    for slot in slots:
        if slot is not None:
            for array in slot:
                PyArray_FailUnlessWriteable(array, "output array")
    cdef list rows = [[None if slot is None else slot[i] for slot in slots] for i in range(count)]
    cdef list others = []
    cdef Jobs jobs = Jobs(count)
    for i in range(count):
        if not jobs.add(kind, rows[i], grads[i], options):
            others.append(i)
    if jobs.tied():  # tied weights, for instance: one after the other, so that no two threads write one
        others = list(range(count))
    else:
        jobs.run()
    for i in others:
        change(kind, rows[i], grads[i], options)
    return 0


def sgd_step(list params, list grads, buffers, double lr, double decay, double momentum,
             double gain, bint nesterov):
    """buffer = momentum * buffer + gain * (grad + decay * p), and p moves along it; None: along grad."""
    cdef bn_sgd options = bn_sgd(lr, decay, momentum, gain, nesterov)
    if buffers is None:
        step_all(SGD, [params], grads, &options)
    else:
        step_all(SGD_MOMENTUM, [params, buffers], grads, &options)


def adam_step(list params, list grads, list m, list v, double shrink, double decay, double beta1,
              double beta2, double root, double eps, double step_size):
    """p = shrink * p - step_size * m / (sqrt(v) / root + eps) with new m and v."""
    cdef bn_adam options = bn_adam(shrink, decay, beta1, beta2, root, eps, step_size)
    step_all(ADAM, [params, m, v], grads, &options)


def rmsprop_step(list params, list grads, list squares, means, buffers, double lr, double decay,
                 double alpha, double eps, double momentum):
    """p moves along grad / (sqrt(squares - means**2) + eps), with buffers with momentum; None: without."""
    cdef bn_rmsprop options = bn_rmsprop(lr, decay, alpha, eps, momentum)
    step_all(RMSPROP, [params, squares, means, buffers], grads, &options)
