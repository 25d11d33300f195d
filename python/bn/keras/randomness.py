"""The generator that initial weights, dropout and the order of samples draw from."""

from __future__ import annotations

import numpy as np

from bn.nn.init import Rng, generator

_state = {"generator": np.random.default_rng()}


def begin_at(seed: int) -> None:
    """Begin all random numbers of `bn.keras` at a seed.

    Parameters
    ----------
    seed : int
    """
    _state["generator"] = generator(seed)


def rng_of(seed: Rng) -> np.random.Generator:
    """The generator of a seed of one's own; without one, that of all.

    Parameters
    ----------
    seed : int, Generator or None

    Examples
    --------
    >>> begin_at(3)
    >>> rng_of(None) is rng_of(None), bool(rng_of(7).random() == rng_of(7).random())
    (True, True)
    """
    return _state["generator"] if seed is None else generator(seed)
