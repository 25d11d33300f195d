# State that changes together.

cdef extern from "numpy/arrayobject.h":
    bint PyArray_SAMESHAPE(cnp.ndarray a, cnp.ndarray b)


# Python runs signal handlers, and so raises KeyboardInterrupt, between two instructions of Python
# code only. What one of these functions does is therefore done as a whole or not at all, and the end
# of a `with` block cannot be missed.

def copy_together(list arrays, list values):
    """Copy each of the values into its array, or raise and change none."""
    cdef cnp.ndarray array, value
    for array, value in zip(arrays, values):
        if array is None or value is None:
            raise TypeError("cannot copy None")
        if not (PyArray_SAMESHAPE(array, value) and cnp.PyArray_ISWRITEABLE(array)
                and cnp.PyArray_TYPE(array) == cnp.PyArray_TYPE(value)):
            raise ValueError(f"cannot copy {value.dtype} of shape {np.shape(value)} into "
                             f"{array.dtype} of shape {np.shape(array)} "
                             f"(writeable: {array.flags.writeable})")
    for array, value in zip(arrays, values):
        cnp.PyArray_CopyInto(array, value)


cdef object open_changes = ContextVar("bn_open_changes", default=None)  # of the inner Transaction


cdef class Change:
    """New values for some arrays, which `apply` copies in and `undo` takes back, once each."""

    cdef readonly list arrays
    cdef readonly bint applied
    cdef list before, new

    def __init__(self, list arrays):
        self.arrays, self.before = arrays, copies(arrays)

    @property
    def after(self):
        """The new values; they begin as copies of the arrays."""
        if self.new is None:
            self.new = copies(self.before)
        return self.new

    def apply(self):
        self.note()
        copy_together(self.arrays, self.after)
        self.applied = True
        self.new = []

    def commits(self, Py_ssize_t channels):
        """Whether `commit` can take a batch of so many channels, of which mean and var were checked."""
        return (len(self.arrays) in (3, 4) and is_counter(self.arrays[2], channels)
                and (len(self.arrays) == 3 or is_counter(self.arrays[3], 1)))

    def commit(self, count, mean, m2, double momentum, bint unbiased, int nonfinite):
        """Let a batch in: as `commit`, and counted. The arrays are a running mean and variance, the number
        of batches that were not finite in each channel, and that of all batches, if there is one."""
        cdef int64_t *batches
        cdef Py_ssize_t c
        self.note()
        bad = commit(self.arrays[0], self.arrays[1], count, mean, m2, momentum, unbiased, nonfinite)
        self.applied = True
        if bad is not None:
            batches = counter(self.arrays[2])
            for c in range(cnp.PyArray_SIZE(<cnp.ndarray>bad)):
                if (<cnp.npy_bool *>cnp.PyArray_DATA(<cnp.ndarray>bad))[c]:
                    count_one(&batches[c])
        if len(self.arrays) == 4:
            count_one(counter(self.arrays[3]))
        return bad

    cdef int note(self) except -1:
        """An open transaction takes back what is applied in it."""
        changes = open_changes.get()
        if changes is not None:
            changes.append(self)
        return 0

    def undo(self):
        if self.applied:
            copy_together(self.arrays, self.before)
            self.applied = False


cdef bint is_counter(cnp.ndarray array, Py_ssize_t size):
    return (cnp.PyArray_TYPE(array) == cnp.NPY_INT64 and cnp.PyArray_SIZE(array) == size
            and cnp.PyArray_ISCARRAY(array))


cdef int64_t *counter(cnp.ndarray array):
    return <int64_t *>cnp.PyArray_DATA(array)


cdef inline void count_one(int64_t *count) noexcept:
    """The largest count stays: one more would be negative."""
    if count[0] < INT64_MAX:
        count[0] += 1


cdef list copies(list arrays):
    cdef cnp.ndarray array
    cdef list result = []
    for array in arrays:
        if array is None:
            raise TypeError("a change must be of arrays, got None")
        result.append(cnp.PyArray_NewCopy(array, cnp.NPY_CORDER))
    return result


cdef class Transaction:
    """An exception that ends the `with` block takes back all changes that were applied in it."""

    cdef list changes
    cdef object outer

    def __enter__(self):
        self.outer, self.changes = open_changes.get(), []
        open_changes.set(self.changes)

    def __exit__(self, kind, error, trace):
        if kind is not None:
            for change in reversed(self.changes):
                change.undo()
        elif self.outer is not None:
            self.outer.extend(self.changes)
        open_changes.set(self.outer)
        return False


cdef class Restored:
    """At the end of a `with` block, dicts hold again what they held when this was made."""

    cdef list pairs

    def __init__(self, list dicts):
        self.pairs = [(attributes, dict(attributes)) for attributes in dicts]

    def __enter__(self):
        return None

    def __exit__(self, *error):
        cdef dict attributes, saved
        for attributes, saved in self.pairs:  # first what needs no memory, which may have run out
            attributes.update(saved)
        for attributes, saved in self.pairs:
            for name in list(attributes):
                if name not in saved:
                    del attributes[name]
        return False


cdef class Setting:
    """A context variable has the value of `value()` within a `with` block.

    The variable holds (value, what it held before), so that an object can serve several blocks and
    threads at once."""

    cdef object variable

    def __init__(self, variable):
        self.variable = variable

    def value(self):
        raise NotImplementedError("value")

    def __enter__(self):
        self.variable.set((self.value(), self.variable.get()))

    def __exit__(self, *error):
        self.variable.set(self.variable.get()[1])
        return False


def set_threads(list libraries, list numbers):
    """Set the number of threads of other libraries, which have threadpoolctl's methods."""
    for library, number in zip(libraries, numbers):
        library.set_num_threads(number)


cdef class OneLibraryThread:
    """Other libraries use one thread as long as any thread is in a `with` block of this object."""

    cdef list libraries, before
    cdef object lock
    cdef int users

    def __init__(self, list libraries):
        self.libraries, self.lock = libraries, Lock()

    def __enter__(self):
        with self.lock:
            if self.users == 0:
                self.before = [library.get_num_threads() for library in self.libraries]
                set_threads(self.libraries, [1] * len(self.libraries))
            self.users += 1

    def __exit__(self, *error):
        with self.lock:
            self.users -= 1
            if self.users == 0:
                set_threads(self.libraries, self.before)
        return False


cdef class Threads:
    """Upper limit of the number of threads within a `with` block: of the kernels, and of libraries."""

    cdef int limit, library_limit
    cdef list libraries, before

    def __init__(self, int limit, list libraries, int library_limit):
        self.limit, self.library_limit = limit, library_limit
        self.libraries, self.before = libraries, []

    def __enter__(self):
        numbers = [library.get_num_threads() for library in self.libraries]
        self.before.append((bn_threads_asked(), numbers))
        bn_set_max_threads(self.limit)
        set_threads(self.libraries, [self.library_limit] * len(numbers))

    def __exit__(self, *error):
        own, numbers = self.before.pop()
        bn_set_max_threads(own)
        set_threads(self.libraries, numbers)
        return False
