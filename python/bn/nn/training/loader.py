"""`BatchLoader`: samples in batches, in an order that can be gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.inputs import Inputs, arrays_of, samples, taken
from bn.nn.init import Rng, generator
from bn.types import Array

Pair: TypeAlias = tuple[Inputs, Array]
Batch: TypeAlias = Pair | tuple[Inputs, Array, Array]
Augment: TypeAlias = Callable[[Any, Array, np.random.Generator], Pair]
Shard: TypeAlias = tuple[int, int]  # a rank, and how many there are


@dataclass(frozen=True)
class Samples:
    """A batch: what the model is called with, the targets, and the weights if there are any."""

    x: Inputs
    y: Array
    weight: Array | None = None

    @classmethod
    def checked(cls, batch: object, may_be_empty: bool = False) -> Samples:
        """What an iterator of batches gave; a rank's part of a small batch may be empty."""
        return cls(*_check.batch(batch, may_be_empty))

    def __len__(self) -> int:
        return len(self.y)


class BatchLoader:
    """Samples and their targets in batches, in a new random order each time.

    Iterating over it is one epoch. What it draws, the order and the augmentation, comes from one
    generator, whose state is part of `state_dict`: a loader that gets this state goes on with the
    next batch, to the same bits.

    Parameters
    ----------
    x : ndarray, shape (N, ...), or tuple or dict of such arrays
        A tuple has the arguments of the model's forward by position, and a dict by name, such as
        ``{"x": texts, "lengths": lengths}``.
    y : array_like, shape (N, ...)
    batch_size : int
    sample_weight : array_like, optional, shape (N, ...)
        Weights for the loss. Each batch has those of its samples as a third array.
    shuffle : bool
        Whether each epoch has an order of its own. Without it batches are views of x and y.
    drop_last : bool
        Whether to leave out the last batch if it is smaller. Batch normalization of rows (N, C)
        cannot train on a batch of one sample.
    augment : callable, optional
        ``augment(x, y, rng) -> (x, y)`` changes each batch; all that is random in it must come from
        the generator `rng`. It gets x as it is here: an array, a tuple or a dict.
    shard : (int, int)
        ``(rank, size)``: of each batch this loader gives the part of one of `size` ranks. All
        parts together are the batch, and their sizes differ by one sample at most; of a small
        batch, a part may have none. Give all ranks the same samples, options and seed.
    rng : int, Generator or None
        The generator, or its seed. All shards have the same order; the augmentation of each has
        random numbers of its own.

    Raises
    ------
    TypeError, ValueError
        Not all arrays have as many rows, or an option is not as above.

    See Also
    --------
    bn.nn.fit : Trains on what it gives.

    Examples
    --------
    >>> loader = BatchLoader(np.arange(5.0), np.arange(5), batch_size=2, rng=0)
    >>> len(loader), [y.tolist() for x, y in loader]
    (3, [[2, 4], [3, 0], [1]])
    """

    def __init__(
        self,
        x: Inputs,
        y: ArrayLike,
        batch_size: int,
        *,
        sample_weight: ArrayLike | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        augment: Augment | None = None,
        shard: Shard = (0, 1),
        rng: Rng = None,
    ) -> None:
        self.x: Inputs
        self.x, self.y, self.sample_weight = _check.samples_and_targets(x, y, sample_weight)
        _check.positive_int("batch_size", batch_size)
        _check.flag("shuffle", shuffle)
        _check.flag("drop_last", drop_last)
        _check.optional_function("augment", augment)
        _check.full_batch(batch_size, len(self.y), drop_last)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.augment = augment
        self.shard = _check.shard(shard)
        _check.shards_agree(rng, shuffle, self.shard[1])
        self.rng = generator(rng)
        self._seed = 0  # of this epoch's augmentation, if there are several shards
        self._order: Array | None = None  # of this epoch
        self._position = 0  # the samples of this epoch that were given
        self._begun = False  # whether an epoch has begun and not ended
        self._continues = False  # whether the next epoch goes on with a state that was loaded

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        n, size = len(self.y), self.batch_size
        return n // size if self.drop_last else -(-n // size)

    def __iter__(self) -> Iterator[Batch]:
        if not self._continues:
            self._position = 0
            self._order = self.rng.permutation(len(self.y)) if self.shuffle else None
            self._seed = seed_of_shards(self.rng, self.shard, self.augment)
        self._continues, self._begun = False, True
        end = min(len(self.y), len(self) * self.batch_size)
        while self._position < end:
            part = slice(self._position, min(self._position + self.batch_size, end))
            batch = self._batch(part)
            self._position = part.stop
            yield batch
        self._order, self._position, self._begun = None, 0, False

    def _batch(self, part: slice) -> Batch:
        own = part_of(part, self.shard)
        rows = own if self._order is None else self._order[own]
        x, y = taken(self.x, rows), self.y[rows]
        if self.augment is not None and len(y):
            rng = augmenting(self.rng, self.shard, self._seed, part)
            x, y = _check.augmented_batch(self.augment(x, y, rng))
        return (x, y) if self.sample_weight is None else (x, y, self.sample_weight[rows])

    def sharded(self, rank: int, size: int) -> BatchLoader:
        """A loader of the same samples that gives one rank's part of each batch."""
        return BatchLoader(
            self.x, self.y, self.batch_size, sample_weight=self.sample_weight,
            shuffle=self.shuffle, drop_last=self.drop_last, augment=self.augment,
            shard=(rank, size), rng=self.rng,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The state of the generator, the order of this epoch, and how far it is."""
        return {
            "rng": self.rng.bit_generator.state,
            "order": None if self._order is None else self._order.copy(),
            "position": self._position,
            "begun": self._begun,
            "seed": self._seed,
            "samples": len(self.y),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` of a loader of as many samples returned.

        Raises
        ------
        ValueError
            The state is of another loader; nothing is changed.
        """
        _check.loader_state(state, len(self.y), self.shuffle)
        self.rng.bit_generator.state = state["rng"]
        self._order, self._position = state["order"], int(state["position"])
        self._seed = int(state["seed"])
        self._begun = self._continues = bool(state["begun"])

    def __repr__(self) -> str:
        shapes = " and ".join(str(array.shape[1:]) for array in arrays_of(self.x))
        return (
            f"BatchLoader({samples(self.x)} samples of shape {shapes}, "
            f"batch_size={self.batch_size}, shuffle={self.shuffle}, drop_last={self.drop_last}, "
            f"augment={self.augment!r})"
        )


# ---- shards ----


def part_of(batch: slice, shard: Shard) -> slice:
    """What a rank has of the samples of a batch.

    Examples
    --------
    >>> part_of(slice(10, 15), (0, 2)), part_of(slice(10, 15), (1, 2))
    (slice(10, 12, None), slice(12, 15, None))
    """
    (rank, size), n = shard, batch.stop - batch.start
    return slice(batch.start + n * rank // size, batch.start + n * (rank + 1) // size)


def seed_of_shards(rng: np.random.Generator | None, shard: Shard, augment: object) -> int:
    """What the augmentations of an epoch begin from, if there are several shards."""
    if rng is None or shard[1] == 1 or augment is None:
        return 0
    return int(rng.integers(2**63))


def augmenting(
    rng: np.random.Generator, shard: Shard, seed: int, batch: slice
) -> np.random.Generator:
    """The generator for the augmentation of a batch.

    Those of several shards have no state that the other ranks would not know.
    """
    rank, size = shard
    return rng if size == 1 else np.random.default_rng((seed, batch.start, rank))
