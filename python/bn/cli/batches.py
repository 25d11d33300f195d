"""Images in batches, as `nn.fit` takes them, converted as they are needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from bn.nn.training.loader import Shard, augmenting, part_of, seed_of_shards
from bn.types import Array

Augment = Callable[[Array, Any, np.random.Generator], tuple[Array, Any]]


class Batches:
    """Images and labels in batches of about equal length, which go on where they were.

    The images stay bytes, a quarter of what they need as numbers for a network; `nn.BatchLoader`
    would give a last batch of one image, on which rows of features cannot be normalized.

    Parameters
    ----------
    x, y : ndarray
    convert : callable
        Makes a network's input of some images.
    batch_size : int
    rng : Generator, optional
        For the order of the images, and for `augment`. Without it they come in their own order.
    augment : callable, optional
    shard : (int, int)
        As in `nn.BatchLoader`.

    Attributes
    ----------
    started : float
        When the last batch began to be made, by `time.perf_counter`.
    size : int
        The images of the last batch, those of all shards together.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        convert: Callable[[Array], Array],
        batch_size: int,
        rng: np.random.Generator | None = None,
        augment: Augment | None = None,
        shard: Shard = (0, 1),
    ) -> None:
        self.x, self.y, self.convert, self.rng, self.augment = x, y, convert, rng, augment
        self.batch_size, self.shard = batch_size, shard
        self.parts = split(len(x), batch_size)
        self.order: Array | None = None  # of this epoch
        self.next = 0  # the part that comes next in this epoch
        self.seed = 0  # of this epoch's augmentation, if there are several shards
        self.continues = False  # whether the next epoch goes on with a state that was loaded
        self.started, self.size = 0.0, 0

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        if not self.continues:
            self.next = 0
            self.order = None if self.rng is None else self.rng.permutation(len(self.x))
            self.seed = seed_of_shards(self.rng, self.shard, self.augment)
        self.continues = False
        while self.next < len(self.parts):
            self.started = time.perf_counter()
            batch = self.parts[self.next]
            part = part_of(batch, self.shard)
            rows = part if self.order is None else self.order[part]
            x, y = self.convert(self.x[rows]), self.y[rows]
            if self.augment is not None and self.rng is not None and len(y):
                rng = augmenting(self.rng, self.shard, self.seed, batch)
                x, y = self.augment(x, y, rng)
            self.next, self.size = self.next + 1, batch.stop - batch.start
            yield x, y
        self.next = 0

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on with the next batch."""
        assert self.rng is not None
        rng = self.rng.bit_generator.state
        return {"rng": rng, "order": self.order, "next": self.next, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        assert self.rng is not None
        self.rng.bit_generator.state = state["rng"]
        self.order, self.next = state["order"], int(state["next"])
        self.seed = int(state["seed"])
        self.continues = self.next > 0


def split(n: int, size: int) -> list[slice]:
    """Divide n images into batches of about equal length, at most `size`.

    From two images on, no batch has a single one, since batch normalization cannot train on it. If
    `size` is two, a batch may therefore have three images.

    Examples
    --------
    >>> split(10, 4)
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    count = max(1, min(-(-n // size), n // 2))
    bounds = [(n * i + count - 1) // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]
