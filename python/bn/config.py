"""How `bn` runs here: its threads, and what it was built with."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ContextDecorator
from functools import cache
from typing import Any, TypedDict

from bn import _check
from bn._core import core

VERSION = "0.1.0"

if "BN_ISA" in os.environ:
    _check.isa(os.environ["BN_ISA"], core.available_isas())
    core.select_isa(os.environ["BN_ISA"])


class Config(TypedDict):
    """What `show_config` tells."""

    version: str
    openmp: bool
    threads: int
    isa: str


def set_num_threads(n: int) -> None:
    """Use at most n threads in every call from now on, and in NumPy's own matrix products.

    Results do not depend on it: any number gives the same bits. (The README names an exception
    under "Limits": large linear layers outside the main thread.) If OpenMP's own number changes
    later, as threadpoolctl's limits make it, the smaller of the two wins. NumPy and SciPy each
    have a BLAS, for matrix products; it gets no more threads than the machine has cores.

    Parameters
    ----------
    n : int
        From 1 to 1024; more than the CPU has cores is allowed.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(1); get_num_threads()
    1
    >>> set_num_threads(before)
    """
    _check.threads(n)
    core.set_max_threads(int(n))
    libraries = _all_blas()
    core.set_threads(libraries, [_blas_threads(n)] * len(libraries))


@cache
def blas_on_one_thread() -> AbstractContextManager[None]:
    """Let NumPy's BLAS use one thread inside a ``with`` block.

    OpenBLAS may ignore this in other threads than the first, once the first has set a number.

    Examples
    --------
    >>> import numpy as np
    >>> with blas_on_one_thread():
    ...     np.ones((2, 2)) @ np.ones(2)
    array([2., 2.])
    """
    return core.OneLibraryThread(_all_blas())


def _all_blas() -> list[Any]:
    """Threadpoolctl's handles of every BLAS that is loaded; SciPy has one of its own."""
    from threadpoolctl import ThreadpoolController  # not at import, which it would slow down

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _blas_threads(n: int) -> int:
    return min(int(n), os.cpu_count() or 1)


def get_num_threads() -> int:
    """How many threads a large call would use now.

    At first this is what OpenMP says: ``OMP_NUM_THREADS``, or the number of cores.
    Built without OpenMP, `bn` has one thread whatever is asked for.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return core.max_threads()


class threads(core.Threads, ContextDecorator):
    """Use at most n threads inside a ``with`` block, or a function that it decorates.

    As `set_num_threads`; at the end, the numbers are again what they were.

    Parameters
    ----------
    n : int
        As in `set_num_threads`.

    Notes
    -----
    The number belongs to the process. If Python threads have blocks of this kind at the same time,
    all use the number that was set last, and the number of one of these blocks may stay.

    Examples
    --------
    >>> with threads(1):
    ...     get_num_threads()
    1
    """

    def __init__(self, n: int) -> None:
        _check.threads(n)
        super().__init__(int(n), _all_blas(), _blas_threads(n))


def show_config() -> Config:
    """Version, OpenMP, threads and the instruction set whose kernels run.

    The best set that the CPU has is chosen when `bn` is imported; the environment variable
    ``BN_ISA`` (baseline, avx2 or avx512) chooses another. Results do not depend on it.

    Examples
    --------
    >>> sorted(show_config())
    ['isa', 'openmp', 'threads', 'version']
    """
    return Config(
        version=VERSION,
        openmp=core.has_openmp(),
        threads=get_num_threads(),
        isa=core.selected_isa(),
    )
