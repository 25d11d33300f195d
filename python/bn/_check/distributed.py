"""Checks of what several ranks compute together, and the messages of what went wrong on one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bn._check.base import above, is_integer


def communicator(comm: Any) -> None:
    rank, size, allgather = (getattr(comm, name, None) for name in ("rank", "size", "allgather"))
    if not is_integer(rank) or not is_integer(size) or not callable(allgather):
        raise TypeError(
            "comm must be an mpi4py communicator or have rank, size and allgather, "
            f"got {type(comm).__name__}"
        )
    if not 0 <= rank < size:
        raise ValueError(f"comm must have a rank from 0 to size - 1, got {rank} of {size}")


def mpi_communicator(comm: Any, kind: Any) -> None:
    if not isinstance(comm, kind):
        raise TypeError(f"comm must be an mpi4py communicator, got {type(comm).__name__}")
    not_freed(comm)
    if comm.Is_inter():
        raise TypeError("comm must be an intracommunicator, got an intercommunicator")


def not_freed(comm: Any) -> None:
    if not comm:
        raise ValueError("comm must be a communicator in use, got one that was freed")


def timeout(value: object) -> None:
    above("timeout", value, 0)


def synchronizable(model: str, batch_norms: int, sample_norms: int) -> None:
    if batch_norms == 0 and sample_norms > 0:
        raise ValueError(
            f"model must have batch normalization layers to synchronize, got a {model} whose "
            "normalizations take statistics of single samples, which are the same on any number "
            "of ranks: leave out bn.synchronize"
        )
    if batch_norms == 0:
        raise ValueError(
            f"model must have batch normalization layers to synchronize, got a {model} without"
        )


def no_ghosts(path: str) -> None:
    raise ValueError(
        f"model must have no GhostBatchNorm to synchronize, got one at {path or 'the top'}, whose "
        "ghost batches are not shared between ranks"
    )


def no_other_combine(path: str) -> None:
    raise ValueError(
        f"model must have no combine of other kinds to synchronize, got one in {path}: set it to "
        "None first"
    )


def no_communicator(layer: str) -> RuntimeError:
    return RuntimeError(
        f"{layer} with synchronized=True must be called inside of bn.synchronized(comm), or after "
        "bn.synchronize(model, comm), got neither"
    )


def nothing_came(ranks: Sequence[int], timeout: float) -> str:
    return f"nothing came from {rank_list(ranks)} within {timeout:g} s"


def came_late(timeout: float) -> str:
    return f"not all ranks came within {timeout:g} s, though all are there"


def rank_list(ranks: Sequence[int]) -> str:
    """``rank 1``, or ``ranks 0, 2``."""
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def ranks_differ(what: str, others: Sequence[int]) -> str:
    return f"all ranks must have {what}, got another one on {rank_list(others)} than on rank 0"


def trains_in_parts(place: str, layer: object, reason: str) -> None:
    """Refuse a layer whose results for the ranks' parts are not those of the batch."""
    raise ValueError(
        f"model must have no {type(layer).__name__} to be trained by several ranks, got one at "
        f"{place}, {reason}"
    )


def one_part(accumulate: int) -> None:
    if accumulate != 1:
        raise ValueError(
            f"accumulate must be 1 with comm, whose ranks are the parts of a batch, "
            f"got {accumulate}"
        )


def takes_share(criterion: Any) -> None:
    """Check that the gradient of a loss can be that of a larger batch's."""
    reduction = getattr(criterion, "reduction", None)
    if reduction not in ("mean", "sum"):
        raise TypeError(
            "criterion must be a loss of bn.nn with the reduction mean or sum, to be that of "
            f"several ranks, got {criterion!r}"
        )
