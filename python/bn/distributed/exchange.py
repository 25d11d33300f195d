"""One exchange between ranks: a header, which is read first, and numbers.

Each exchange begins with a block whose size is the same for all layers, because a transport may
mix up buffers of different lengths: MPI leaves open what happens then. The header in the block
tells whether all ranks are at the same place. Only then what does not fit into the block follows,
in a second call of the transport with a length that all ranks know to be the same.
"""

from __future__ import annotations

import struct
import weakref
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from bn import _check
from bn.config import VERSION
from bn.distributed.communicator import Communicator, communicator
from bn.types import Array

# Forward statistics of up to 169 channels fit. With 2 ranks on one machine, MPICH takes as long for
# 4096 bytes as for 32, and longer from 8192 on; a second call takes about as long as the first.
BLOCK = 4096
HEADER = struct.Struct("<IQQIB1s6x")


class SyncError(RuntimeError):
    """The ranks of a run cannot go on together; the message says which ranks, and where.

    It comes on every rank that can still speak. The statistics of this call have changed nothing.
    What is exchanged over the same communicator afterwards raises it again at once.

    Examples
    --------
    >>> import bn
    >>> class Late:
    ...     rank, size = 0, 2
    ...     def allgather(self, buffer, timeout):
    ...         raise TimeoutError(f"nothing came from rank 1 within {timeout} s")
    >>> layer = bn.synchronize(bn.BatchNorm1d(1), Late(), timeout=5)
    >>> layer(np.array([[1.0], [3.0]]))
    Traceback (most recent call last):
    ...
    bn.distributed.exchange.SyncError: rank 0 in forward of layer BatchNorm1d: nothing came from rank 1 within 5 s
    """  # noqa: E501


class Phase(IntEnum):
    """What a rank is doing."""

    FORWARD = 1
    BACKWARD = 2
    FAILED = 3
    TRAINING = 4  # anything but a call of a layer


class Header(NamedTuple):
    """The 32 bytes in front of an exchange."""

    version: int
    call: int  # of this communicator, counted from 1
    place: int  # the hash of the layer's path
    channels: int
    phase: int
    dtype: bytes  # its character in NumPy


class Place(NamedTuple):
    """A layer, or what else ranks do together; others get the hash of its name and its dtype."""

    name: str
    code: int
    dtype: bytes


@dataclass
class Progress:
    """How far the exchanges over a communicator are.

    Attributes
    ----------
    calls : int
        How many there were.
    broken : str or None
        Why there can be no more.
    names : dict of int to str
        Those of this rank's places by their code.
    """

    calls: int = 0
    broken: str | None = None
    names: dict[int, str] = field(default_factory=dict)


class Exchange:
    """What a rank says over a communicator, and hears from all.

    Parameters
    ----------
    communicator : Communicator
    progress : Progress
        Shared by all exchanges over this communicator.
    timeout : float
        How many seconds to wait for other ranks.
    """

    def __init__(self, communicator: Communicator, progress: Progress, timeout: float) -> None:
        self.rank, self.size = communicator.rank, communicator.size
        self.timeout = timeout
        self._communicator, self._progress = communicator, progress

    def place(self, name: str, dtype: np.dtype[Any]) -> Place:
        """A place of exchanges, such as a layer, which error messages name."""
        code = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
        place = Place(name, code, dtype.char.encode())
        self._progress.names[code] = place.name
        return place

    def gather(self, place: Place, phase: Phase, *vectors: Array) -> Array:
        """Send vectors of one length and dtype, and get those of all ranks.

        Parameters
        ----------
        place : Place
        phase : Phase
        *vectors : ndarray, shape (C,)

        Returns
        -------
        ndarray, shape (size, number of vectors, C)

        Raises
        ------
        SyncError
            The ranks are not at the same place, one has failed, or nothing came from it in time.
        """
        here = f"{_check.rank_list([self.rank])} in {_what(phase, place.name)}"
        channels = vectors[0].size
        header = self._next_header(place.code, channels, phase, place.dtype)
        message = np.concatenate([header, np.concatenate(vectors).view(np.uint8)])
        # After any exception the ranks may be at different exchanges, so there can be no more.
        self._progress.broken = f"{here}: it was interrupted"
        rows = self._allgather(_block(message), here)
        self._compare(rows)
        if message.size > BLOCK:
            rows = np.concatenate([rows, self._allgather(message[BLOCK:], here)], axis=1)
        self._progress.broken = None
        numbers = rows[:, HEADER.size : message.size].copy().view(vectors[0].dtype)
        return numbers.reshape(self.size, len(vectors), channels)

    def fail(self, error: BaseException) -> None:
        """Tell the other ranks, in the place of this rank's next exchange, that it has failed.

        They get a `SyncError` with this rank and the error in it. Nothing is raised here, where an
        exception is under way already; this rank waits until the others have heard, or until the
        timeout. Where an exchange has failed before, nothing is said.
        """
        if self._progress.broken is not None:
            return
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        header = self._next_header(0, 0, Phase.FAILED, b"")
        self._progress.broken = f"{_check.rank_list([self.rank])} failed: {text}"
        message = np.concatenate([header, np.frombuffer(text.encode(), np.uint8)])
        with suppress(Exception):  # where others cannot be told
            self._communicator.allgather(_block(message), self.timeout)

    def _next_header(self, code: int, channels: int, phase: Phase, dtype: bytes) -> Array:
        progress = self._progress
        if progress.broken is not None:
            raise SyncError(progress.broken)
        progress.calls += 1
        header = Header(VERSION_CODE, progress.calls, code, channels, phase, dtype)
        return np.frombuffer(HEADER.pack(*header), np.uint8)

    def _allgather(self, buffer: Array, here: str) -> Array:
        try:
            return self._communicator.allgather(buffer, self.timeout)
        except Exception as error:
            self._progress.broken = f"{here}: {error}"
            raise SyncError(self._progress.broken) from error

    def _compare(self, rows: Array) -> None:
        """Check that all ranks sent the same header."""
        headers = rows[:, : HEADER.size]
        if (headers == headers[self.rank]).all():
            return
        found = [Header(*HEADER.unpack(row.tobytes())) for row in headers]
        failed = [
            f"{_check.rank_list([rank])} failed: {_text(rows[rank])}"
            for rank, header in enumerate(found)
            if header.version == VERSION_CODE and header.phase == Phase.FAILED
        ]
        self._progress.broken = "; ".join(failed) or self._difference(found)
        raise SyncError(self._progress.broken)

    def _difference(self, headers: list[Header]) -> str:
        ranks: dict[str, list[int]] = {}
        for rank, header in enumerate(headers):
            ranks.setdefault(self._description(header), []).append(rank)
        calls = [f"{what} on {_check.rank_list(on)}" for what, on in ranks.items()]
        return f"all ranks must make the same call, got {', and '.join(calls)}"

    def _description(self, header: Header) -> str:
        if header.version != VERSION_CODE:
            return "a call of another version of bn"
        other = "a layer that this rank has not"
        if header.phase == Phase.TRAINING:
            other = "another part of a training"
        name = self._progress.names.get(header.place, other)
        dtype = np.dtype(header.dtype.decode()).name
        unit = "values" if header.phase == Phase.TRAINING else "channels"
        what = _what(Phase(header.phase), name)
        return f"{what} ({header.channels} {unit}, {dtype}, call {header.call})"


VERSION_CODE = zlib.crc32(VERSION.encode())

_progress: dict[int, Progress] = {}  # by the id of a communicator, as long as it is there


def exchange_over(comm: Any, timeout: float) -> Exchange:
    """The exchange over a communicator; all that are made for one go on where the others are."""
    _check.timeout(timeout)
    transport = communicator(comm)
    if id(comm) not in _progress:
        _progress[id(comm)] = Progress()
        weakref.finalize(comm, _progress.pop, id(comm), None)
    return Exchange(transport, _progress[id(comm)], timeout)


def _what(phase: Phase, name: str) -> str:
    """What a rank does, for messages."""
    return name if phase == Phase.TRAINING else f"{phase.name.lower()} of {name}"


def _block(message: Array) -> Array:
    """The first bytes of a message, with zeros behind it."""
    block = np.zeros(BLOCK, np.uint8)
    begin = message[:BLOCK]
    block[: begin.size] = begin
    return block


def _text(row: Array) -> str:
    return row[HEADER.size :].tobytes().rstrip(b"\0").decode(errors="replace")
