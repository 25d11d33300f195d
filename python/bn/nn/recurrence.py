"""One direction of one recurrent layer: its way through time, and back.

All arrays have the steps on their first axis and the sequences of the batch on the second. The
inputs of all steps are multiplied with their weight at once. The product with the state can only
be computed step by step; BLAS computes it, on one thread, and a kernel does the rest of the step.
Sequences do not depend on each other, so the threads share the batch: each takes some sequences
through all steps. The parts follow from the shapes alone, and so do the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bn._core import core
from bn.config import blas_on_one_thread
from bn.nn.products import input_gradient, outputs, weight_gradient
from bn.types import Array, Gradient

# Sharing a step of fewer multiplications would cost more time than it saves. BLAS is slow with
# fewer sequences than PART in a product.
SMALL_STEP, PART, MOST_PARTS = 2**18, 32, 8


class Weights(NamedTuple):
    """The parameters of one direction, in the dtype of x.

    Attributes
    ----------
    ih : ndarray, shape (gates * hidden, inputs)
    hh : ndarray, shape (gates * hidden, hidden)
    bias_ih, bias_hh : ndarray of shape (gates * hidden,), or None
    """

    ih: Array
    hh: Array
    bias_ih: Array | None
    bias_hh: Array | None


@dataclass
class Pass:
    """What one direction computed, and its backward pass needs.

    Attributes
    ----------
    kernel : {"rnn_tanh", "rnn_relu", "lstm", "gru"}
    x : ndarray, shape (steps, batch, inputs)
    gates : ndarray, shape (steps, batch, gates * hidden)
        Of LSTM and GRU the gates after their activations. The backward pass writes over it.
    h : ndarray, shape (steps + 1, batch, hidden)
        The states between the steps, in the order of time: step t lies between t and t + 1.
    c : ndarray or None
        As h: the cells of an LSTM.
    inner : ndarray or None
        What the reset gate of a GRU is multiplied with.
    weights : Weights
    active : ndarray of uint8, shape (steps, batch), or None
        Whether a sequence has a step; None if all have all steps.
    reverse : bool
        Whether time goes backwards.
    """

    kernel: str
    x: Array
    gates: Array
    h: Array
    c: Array | None
    inner: Array | None
    weights: Weights
    active: Array | None
    reverse: bool

    @property
    def output(self) -> Array:
        """The state after each step: a view."""
        return self.h[:-1] if self.reverse else self.h[1:]

    @property
    def before(self) -> Array:
        """The state before each step: a view."""
        return self.h[1:] if self.reverse else self.h[:-1]

    @property
    def last(self) -> int:
        """The place of the final state."""
        return 0 if self.reverse else len(self.x)

    def order(self) -> Sequence[int]:
        """The steps in the order in which the forward pass computes them."""
        steps = range(len(self.x))
        return steps[::-1] if self.reverse else steps

    def step(self, name: str, t: int, tensors: tuple[Array, ...], begin: int, end: int) -> None:
        """Let a kernel compute step t of some sequences."""
        active = None if self.active is None else self.active[t, begin:end]
        core.recurrent_step(name, tensors, active)


def run(
    kernel: str, x: Array, weights: Weights, states: Sequence[Array], active: Array | None,
    reverse: bool,
) -> Pass:  # fmt: skip
    """Go forward through time.

    Parameters
    ----------
    kernel : {"rnn_tanh", "rnn_relu", "lstm", "gru"}
    x : ndarray, shape (steps, batch, inputs)
        Without gaps, and 0 where a sequence has no step.
    weights : Weights
    states : sequence of ndarray, shape (batch, hidden)
        h before the first step, and of an LSTM c.
    active : ndarray of uint8, shape (steps, batch), or None
    reverse : bool

    Returns
    -------
    Pass

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> weights = Weights(one, one, None, None)
    >>> passed = run("rnn_relu", np.ones((3, 1, 1)), weights, [one], None, False)
    >>> passed.h.ravel()
    array([1., 2., 3., 4.])
    """
    steps, batch, inputs = x.shape
    hidden = weights.hh.shape[1]
    bias, inner_bias = _biases(kernel, weights)
    gates = outputs(x.reshape(steps * batch, inputs), weights.ih, bias)
    gates = gates.reshape(steps, batch, len(weights.hh))
    between = [core.empty((steps + 1, batch, hidden), x.dtype) for _ in states]
    for array, state in zip(between, states, strict=True):
        array[steps if reverse else 0] = state
    h, c = between if kernel == "lstm" else (between[0], None)
    inner = core.empty((steps, batch, hidden), x.dtype) if kernel == "gru" else None
    passed = Pass(kernel, x, gates, h, c, inner, weights, active, reverse)
    transposed = np.ascontiguousarray(weights.hh.T)  # BLAS reads it faster

    def part(begin: int, end: int) -> None:
        product = np.empty((end - begin, len(weights.hh)), x.dtype)
        own = slice(begin, end)
        for t in passed.order():
            before, after = (t + 1, t) if reverse else (t, t + 1)
            np.matmul(h[before, own], transposed, out=product)
            more: tuple[Array, ...] = ()
            if c is not None:
                more = (c[before, own], c[after, own])
            elif inner is not None:
                more = (inner[t, own], inner_bias)
            tensors = (gates[t, own], product, h[before, own], h[after, own], *more)
            passed.step(kernel, t, tensors, begin, end)

    _in_parts(part, passed)
    return passed


class Gradients(NamedTuple):
    """What the backward pass of one direction finds.

    Attributes
    ----------
    x : ndarray or None
        None if it is not wanted.
    states : list of ndarray
        Those of h and c before the first step.
    weights : list of ndarray
        In the order of `Weights`; those of the biases may be left out.
    """

    x: Gradient
    states: list[Array]
    weights: list[Array]


def run_back(passed: Pass, dy: Array, dstates: Sequence[Array], wanted: bool) -> Gradients:
    """Go back through time, once: the gates of the pass are lost.

    Parameters
    ----------
    passed : Pass
    dy : ndarray, shape (steps, batch, hidden)
        The gradient of the output. There may be gaps between steps, none within one.
    dstates : sequence of ndarray, shape (batch, hidden)
        The gradients of the final states, which become those of the initial ones.
    wanted : bool
        Whether the gradient of x is.

    Returns
    -------
    Gradients

    Examples
    --------
    >>> one, zero = np.ones((1, 1)), np.zeros((1, 1))
    >>> weights = Weights(one, one, None, None)
    >>> passed = run("rnn_relu", np.ones((3, 1, 1)), weights, [one], None, False)
    >>> found = run_back(passed, np.ones((3, 1, 1)), [zero], True)
    >>> found.x.ravel(), found.states[0], found.weights[0]
    (array([3., 2., 1.]), array([[3.]]), array([[6.]]))
    """
    kernel, gates, weights = passed.kernel, passed.gates, passed.weights
    # All but the GRU have the same gradient in front of both products.
    dproduct = core.empty_like(gates) if kernel == "gru" else gates
    through, dc = dstates[0], dstates[-1]
    product = np.zeros_like(through)

    def part(begin: int, end: int) -> None:
        own = slice(begin, end)
        for t in reversed(passed.order()):
            before, after = (t + 1, t) if passed.reverse else (t, t + 1)
            more: tuple[Array, ...] = (passed.h[after, own],)
            if passed.c is not None:
                more = (passed.c[before, own], passed.c[after, own], dc[own])
            elif passed.inner is not None:
                more = (passed.h[before, own], passed.inner[t, own], dproduct[t, own])
            tensors = (gates[t, own], through[own], product[own], dy[t, own], *more)
            passed.step(f"{kernel}_gradient", t, tensors, begin, end)
            np.matmul(dproduct[t, own], weights.hh, out=product[own])

    _in_parts(part, passed)
    through += product
    dgates, dproducts = _rows(gates), _rows(dproduct)
    dweights = [
        weight_gradient(dgates, _rows(passed.x)),
        weight_gradient(dproducts, _rows(passed.before)),
    ]
    if weights.bias_ih is not None:
        dbias = dgates.sum(axis=0)
        dweights += [dbias, dbias.copy() if dproduct is gates else dproducts.sum(axis=0)]
    dx = input_gradient(dgates, weights.ih).reshape(passed.x.shape) if wanted else None
    return Gradients(dx, list(dstates), dweights)


def _biases(kernel: str, weights: Weights) -> tuple[Array | None, Array]:
    """What is added to the products of all inputs; and of a GRU what its reset gate multiplies."""
    hidden = weights.hh.shape[1]
    if weights.bias_ih is None or weights.bias_hh is None:
        return None, np.zeros(hidden, weights.hh.dtype)
    if kernel != "gru":
        return weights.bias_ih + weights.bias_hh, np.zeros(0, weights.hh.dtype)
    bias, inner = weights.bias_ih.copy(), 2 * hidden
    bias[:inner] += weights.bias_hh[:inner]
    return bias, weights.bias_hh[inner:]


def _rows(a: Array) -> Array:
    """The rows of all steps as one matrix."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2])


def _in_parts(part: Callable[[int, int], None], passed: Pass) -> None:
    """Call part(begin, end) for parts of the batch, on the threads of the pool."""
    batch = passed.x.shape[1]
    if batch * passed.weights.hh.size <= SMALL_STEP:
        parts = 1
    else:
        parts = max(2, min(MOST_PARTS, batch // PART))
    with blas_on_one_thread():
        core.in_blocks(part, batch, max(1, -(-batch // parts)))
