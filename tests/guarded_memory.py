"""NumPy arrays whose memory ends, or begins, at a page that must not be touched.

A read or a write past that end of any array, be it an input, an output or a temporary array, then
ends the process. What the compiled core allocates for itself is not guarded.
"""

import collections
import ctypes
import mmap

import numpy as np

NO_ACCESS, READ_WRITE = 0, mmap.PROT_READ | mmap.PROT_WRITE
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
FAILED = ctypes.c_void_p(-1).value
SET_HANDLER = 304  # the place of PyDataMem_SetHandler in NumPy's table of C functions

Malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
Calloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
Realloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
Free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", Malloc),
        ("calloc", Calloc),
        ("realloc", Realloc),
        ("free", Free),
    )


class GuardedMemory:
    """Memory between two pages without access, at the end of it, or at the start.

    Arrays that are made after `use` lie in such memory, in this thread and those that take over its
    context. The object must outlive them.
    """

    def __init__(self, at_end):
        self.at_end, self.blocks = at_end, {}  # in use
        self.waiting = collections.defaultdict(list)  # not in use, by their size
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.mmap.restype = ctypes.c_void_p
        self.libc.mmap.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
            ctypes.c_long,
        ]  # fmt: skip
        self.libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self.handler = Handler(
            b"guarded", 1, None,
            Malloc(self.malloc), Calloc(self.calloc), Realloc(self.realloc), Free(self.free),
        )  # fmt: skip

    def use(self):
        api = ctypes.pythonapi
        api.PyCapsule_GetPointer.restype = ctypes.c_void_p
        api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
        api.PyCapsule_New.restype = ctypes.py_object
        api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        core = np._core if hasattr(np, "_core") else np.core
        table = api.PyCapsule_GetPointer(core._multiarray_umath._ARRAY_API, None)
        address = (ctypes.c_void_p * (SET_HANDLER + 1)).from_address(table)[SET_HANDLER]
        set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(address)
        set_handler(api.PyCapsule_New(ctypes.addressof(self.handler), b"mem_handler", None))

    def malloc(self, context, size):
        usable = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        waiting = self.waiting.get(usable)
        start = waiting.pop() if waiting else self.guarded(usable)
        if start is None:
            return None
        address = start + (usable - size if self.at_end else 0)
        self.blocks[address] = start, usable, size
        return address

    def guarded(self, usable):
        """Return the address of new memory between two pages without access, or None."""
        page = mmap.PAGESIZE
        start = self.libc.mmap(None, usable + 2 * page, NO_ACCESS, ANONYMOUS, -1, 0)
        if start == FAILED or self.libc.mprotect(start + page, usable, READ_WRITE) != 0:
            return None
        return start + page

    def calloc(self, context, count, size):
        address = self.malloc(context, count * size)
        if address:
            ctypes.memset(address, 0, count * size)
        return address

    def realloc(self, context, address, size):
        new = self.malloc(context, size)
        if new and address:
            ctypes.memmove(new, address, min(size, self.blocks[address][2]))
            self.free(context, address, 0)
        return new

    def free(self, context, address, size):
        if address:
            start, usable, _ = self.blocks.pop(address)
            self.waiting[usable].append(start)  # new mappings would take longer
