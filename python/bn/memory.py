"""Memory of outputs, recycled.

The memory of an array that `bn` returned (y of the forward functions, dx of the backward ones,
from 64 KiB on) is kept when the array and all its views are gone, and reused for the next outputs.
A steady loop then neither asks the system for pages nor has them zeroed, which for large arrays
costs as much as the normalization itself. `info` shows what is kept and used,
`set_limit` bounds what is kept, `trim` gives it back. Other arrays have NumPy's own allocator.

Arrays may be freed in any thread; a forked process owns copies of what it inherits. The environment
variable ``BN_MEMORY_LIMIT`` (bytes; 0 switches recycling off) sets the limit at the start. Without
it, the limit is an eighth of the machine's memory, and at most 2 GiB. Outputs and what is kept for
them are never more than a quarter beyond the peak use of outputs alone.

Examples
--------
>>> import numpy as np, bn
>>> bn.memory.set_limit(2**28)
>>> x = np.ones((8, 16, 32, 32), np.float32)
>>> y = bn.normalize(x, np.zeros(16), np.ones(16))
>>> address = y.ctypes.data
>>> del y
>>> y = bn.normalize(x, np.zeros(16), np.ones(16))
>>> y.ctypes.data == address
True
>>> bn.memory.set_limit(None)
"""

from __future__ import annotations

import os
from typing import TypedDict, cast

from bn import _check
from bn._core import core

__all__ = ["Info", "info", "set_limit", "trim"]

_VARIABLE = "BN_MEMORY_LIMIT"


class Info(TypedDict):
    """What `info` tells.

    Attributes
    ----------
    limit : int
        Bytes that may be kept.
    held : int
        Bytes that are kept for reuse.
    used : int
        Bytes of recyclable arrays that are alive.
    hits, misses : int
        Outputs whose memory was reused, and came from the system, since the start.

    Examples
    --------
    >>> now: Info = info()
    >>> now["held"] <= now["limit"]
    True
    """

    limit: int
    held: int
    used: int
    hits: int
    misses: int


def info() -> Info:
    """Bytes kept for reuse, bytes in use, and how many outputs reused memory.

    Sizes are those of the blocks: up to 64 KiB more than the arrays in them.

    Returns
    -------
    Info
        A dictionary: limit, held, used (bytes), hits, misses (outputs).

    Examples
    --------
    >>> sorted(info())
    ['held', 'hits', 'limit', 'misses', 'used']
    """
    return cast("Info", core.memory_info())


def set_limit(nbytes: int | None) -> None:
    """Keep at most so many bytes for reuse; what is beyond goes back to the system, oldest first.

    Parameters
    ----------
    nbytes : int or None
        0 switches recycling off: outputs then come from NumPy's allocator, as any array's memory.
        None sets what held at the start.

    Raises
    ------
    ValueError
        If nbytes is not a whole number of at least 0.

    Examples
    --------
    >>> set_limit(2**28); info()["limit"]
    268435456
    >>> set_limit(None)
    """
    value = _limit_at_start() if nbytes is None else nbytes
    core.set_memory_limit(_check.byte_count("nbytes", value))


def trim() -> int:
    """Give all memory that is kept for reuse back to the system; arrays keep theirs.

    Returns
    -------
    int
        How many bytes that were.

    Examples
    --------
    >>> freed = trim(); info()["held"]
    0
    """
    return core.trim_memory()


def _limit_at_start() -> int:
    text = os.environ.get(_VARIABLE, "")
    if text:
        return _check.byte_count(_VARIABLE, int(text) if text.isdecimal() else text)
    if not hasattr(os, "sysconf"):
        return 2**28
    return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8, 2**31)


set_limit(None)
