"""What a step of several ranks costs: computation, messages, bytes; fitted, and on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measured:
    """A step that was timed.

    Attributes
    ----------
    name : str
    seconds : float
    apart : float
        Seconds of the same step if ranks compute side by side, without exchanges.
    messages, received : float
        How many exchanges, and the bytes that a rank gets in them.
    delay : float
        Seconds by which each exchange was late on purpose.
    """

    name: str
    seconds: float
    apart: float
    messages: float
    received: float
    delay: float


@dataclass(frozen=True)
class Model:
    """``seconds = compute · apart + messages · (latency + delay) + received / bandwidth``.

    Attributes
    ----------
    compute : float
        A step's computation over that of ranks that do not wait for each other.
    latency : float
        Seconds of one exchange: the transport's, and Python's.
    per_byte : float
        Seconds; one over the bandwidth.
    """

    compute: float
    latency: float
    per_byte: float

    def seconds(self, step: Measured) -> float:
        """What a step should take."""
        return (
            self.compute * step.apart
            + step.messages * (self.latency + step.delay)
            + step.received * self.per_byte
        )

    def error(self, step: Measured) -> float:
        """By which part of its time a step is predicted too long."""
        return self.seconds(step) / step.seconds - 1


def fit(steps: Sequence[Measured]) -> Model:
    """The model with the least squares of relative errors."""
    terms = np.array([[s.apart, s.messages, s.received] for s in steps])
    rest = np.array([s.seconds - s.messages * s.delay for s in steps])
    weights = np.array([1 / s.seconds for s in steps])
    found, *_ = np.linalg.lstsq(terms * weights[:, np.newaxis], rest * weights, rcond=None)
    return Model(*found.tolist())


@dataclass(frozen=True)
class Network:
    """What connects ranks: seconds until the first byte is there, and for each byte."""

    name: str
    latency: float
    per_byte: float


NETWORKS = (
    Network("10 Gbit/s, 25 µs", 25e-6, 8 / 10e9),
    Network("100 Gbit/s, 2 µs", 2e-6, 8 / 100e9),
)
PAPER = (64, 1024, 10_000)  # ranks
WORTH = 0.1  # of the computation may go into statistics


@dataclass(frozen=True)
class Exchanges:
    """What all exchanges of one kind in a step are.

    Attributes
    ----------
    messages, sent : float
        By one rank.
    per_rank : float
        Seconds in which the numbers of one more rank are merged or added.
    """

    messages: float
    sent: float
    per_rank: float


@dataclass(frozen=True)
class Paper:
    """A step on more ranks than there are here.

    An exchange takes log2(P) rounds, as Bruck's algorithm does, and a rank gets what P - 1 others
    send.

    Attributes
    ----------
    compute : float
        Seconds.
    software : float
        Of one exchange, as fitted here.
    statistics, gradients : Exchanges
    network : Network
    """

    compute: float
    software: float
    statistics: Exchanges
    gradients: Exchanges
    network: Network

    def exchanged(self, kind: Exchanges, ranks: int) -> float:
        """Seconds in all exchanges of one kind."""
        rounds = math.log2(ranks)
        return kind.messages * (self.software + rounds * self.network.latency) + (ranks - 1) * (
            kind.sent * self.network.per_byte + kind.per_rank
        )

    def ring(self, ranks: int) -> float:
        """Seconds in which a ring would add the gradients: each rank passes parts to the next."""
        steps = 2 * (ranks - 1)
        return steps * (self.network.latency + self.gradients.sent / ranks * self.network.per_byte)

    def largest_group(self) -> int:
        """The largest power of two of ranks whose statistics are worth their time."""
        ranks = 1
        while self.exchanged(self.statistics, 2 * ranks) <= WORTH * self.compute:
            ranks *= 2
        return ranks
