"""`Team`: what the ranks of a training tell each other, beside the statistics of layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np

from bn import _check
from bn.distributed.exchange import Exchange, Phase, SyncError, exchange_over
from bn.functional import merge
from bn.statistics import Stats
from bn.types import Array

# Values in a buffer. Larger ones save no time, and a rank has to hold the buffers of all ranks.
VALUES = 2**20
TEXT = 1000  # bytes of what a rank says


class Team:
    """All ranks of a communicator. Every method is called on all of them, in the same order.

    Parameters
    ----------
    comm : mpi4py communicator or Communicator
    timeout : float
        How many seconds a rank waits for others.

    Attributes
    ----------
    comm, timeout
        As given.
    rank, size : int
    agreed : bool
        Whether what the ranks have heard last lets all of them raise the same exception, so that
        none has to be told of it.

    Examples
    --------
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, buffer, timeout):
    ...         return buffer[np.newaxis]
    >>> team = Team(Alone(), timeout=60)
    >>> team.sum("losses", np.array([1.0, 2.0])), team.any("stop", [True, False])
    (array([1., 2.]), [True, False])
    """

    def __init__(self, comm: Any, timeout: float) -> None:
        self.comm, self.timeout = comm, timeout
        self._exchange: Exchange = exchange_over(comm, timeout)
        self.rank, self.size = self._exchange.rank, self._exchange.size
        self.agreed = False

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and shows what happens."""
        return self.rank == 0

    def gather(self, name: str, values: Array) -> Array:
        """The values of all ranks, in their order: shape (size, n)."""
        self.agreed = False
        place = self._exchange.place(name, values.dtype)
        rows: Array = self._exchange.gather(place, Phase.TRAINING, values)[:, 0]
        return rows

    def sum(self, name: str, values: Array) -> Array:
        """The sums over all ranks, added in the order of the ranks: the same bits on each."""
        total: Array
        total, *others = self.gather(name, values)
        for other in others:
            total += other
        return total

    def merged(self, name: str, part: Stats) -> Stats:
        """The statistics of all ranks, merged in their order."""
        rows = self.gather(name, np.concatenate([part.count, part.mean, part.m2]))
        return merge([Stats(*row.reshape(3, -1)) for row in rows])

    def any(self, name: str, flags: Sequence[bool]) -> list[bool]:
        """Which flags are true on some rank."""
        return [bool(each) for each in self.sum(name, np.array(flags, np.int64))]

    def texts(self, name: str, text: str) -> list[str]:
        """What each rank says, of which no more than the beginning is sent."""
        row = np.zeros(TEXT, np.uint8)
        said = np.frombuffer(text.encode()[:TEXT], np.uint8)
        row[: said.size] = said
        rows = self.gather(name, row)
        return [each.tobytes().rstrip(b"\0").decode(errors="replace") for each in rows]

    def from_first(self, name: str, array: Array) -> None:
        """Let an array have the values of rank 0."""
        if self.size > 1:
            flat = array.reshape(-1).copy() if self.first else np.zeros(array.size, array.dtype)
            for part in _buffers(flat):
                part[:] = self.gather(name, part)[0]
            put_back(flat, [array])

    def state_of_first(self, name: str, state: Any) -> Any:
        """What rank 0 has of a state that JSON can represent."""
        if self.size == 1:
            return state
        said = np.frombuffer(json.dumps(state).encode(), np.uint8)
        lengths = self.gather(name, np.array([said.size]))[:, 0]
        row = np.zeros(lengths.max(), np.uint8)
        row[: said.size] = said
        return json.loads(self.gather(name, row)[0, : lengths[0]].tobytes())

    def sum_all(self, name: str, arrays: Sequence[Array]) -> None:
        """Let arrays have their sums over all ranks, in a few large buffers."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(array.dtype for array in arrays):
            alike = [array for array in arrays if array.dtype == dtype]
            flat = np.concatenate([array.ravel() for array in alike])
            for part in _buffers(flat):
                part[:] = self.sum(name, part)
            put_back(flat, alike)

    def check_same(self, name: str, what: str, digest: bytes) -> None:
        """Raise `SyncError` on all ranks unless they have the same checksum of something."""
        others = self.differ(name, digest)
        if others:
            self.agreed = True
            raise SyncError(_check.ranks_differ(what, others))

    def differ(self, name: str, digest: bytes) -> list[int]:
        """The ranks whose checksum is not that of rank 0."""
        rows = self.gather(name, np.frombuffer(digest, np.uint8))
        return [rank for rank, row in enumerate(rows) if (row != rows[0]).any()]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Within it, an exception on this rank is a `SyncError` on all others, unless `agreed`."""
        try:
            yield
        except BaseException as error:
            self.tell(error)
            raise

    def tell(self, error: BaseException) -> None:
        """Tell the other ranks of an exception, unless it has come on all of them."""
        if not self.agreed:
            self._exchange.fail(error)


@contextmanager
def team_of(comm: Any, timeout: float) -> Iterator[Team | None]:
    """The team of a communicator, which hears of exceptions; None without one."""
    if comm is None:
        yield None
        return
    team = Team(comm, timeout)
    with team.telling():
        yield team


def put_back(flat: Array, arrays: Sequence[Array]) -> None:
    """Write the values that several arrays have one after the other into each of them."""
    ends = np.cumsum([array.size for array in arrays])[:-1]
    for array, values in zip(arrays, np.split(flat, ends), strict=True):
        array[...] = values.reshape(array.shape)


def _buffers(flat: Array) -> Iterator[Array]:
    """Parts of an array that are sent together."""
    for begin in range(0, flat.size, VALUES):
        yield flat[begin : begin + VALUES]


def digest_of(arrays: Sequence[tuple[str, Array]], values: bool) -> bytes:
    """A checksum of the names, shapes and dtypes of arrays, and of their values if asked for."""
    found = blake2b(digest_size=16)
    for name, array in arrays:
        found.update(f"{name} {array.shape} {array.dtype.str};".encode())
        if values:
            found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()
