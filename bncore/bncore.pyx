# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The compiled core of `bn`: NumPy arrays in, C calls out; no argument is checked.

`bn` checks every argument before it calls here. All tensors of a call have one native dtype (float16
and bfloat16 are computed in float32); per-channel results are float64 vectors of length C.
"""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport isfinite
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memset

from contextvars import ContextVar, copy_context
from threading import Lock

import numpy as np

cnp.import_array()


include "binding/memory.pxi"
include "binding/threads.pxi"
include "binding/images.pxi"
include "binding/normalization.pxi"
include "binding/samples.pxi"
include "binding/pooling.pxi"
include "binding/resampling.pxi"
include "binding/convolution.pxi"
include "binding/elementwise.pxi"
include "binding/optimizers.pxi"
include "binding/recurrent.pxi"
include "binding/statistics.pxi"
include "binding/change.pxi"
include "binding/arguments.pxi"
