"""`Recurrent`: what the recurrent layers share, which is all but the formulas of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn._core import core
from bn.module import Module
from bn.nn.init import Rng, generator, uniform_fan_in
from bn.nn.recurrence import Pass, Weights, run, run_back
from bn.parameter import Parameter
from bn.types import Array, Gradient, Shape

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Level(NamedTuple):
    """What one of the layers above each other computed.

    Attributes
    ----------
    passes : list of Pass
        One for each direction.
    mask : ndarray or None
        Of the dropout behind it.
    """

    passes: list[Pass]
    mask: Array | None


class Recurrent(Module):
    """What `RNN`, `LSTM` and `GRU` share. They document the arguments.

    Attributes
    ----------
    gates : int
        Rows of a weight for each hidden value (of the class).
    states : int
        Arrays of which the state consists (of the class).
    kernel : str
        The name of what computes a step.

    Examples
    --------
    >>> from bn import nn
    >>> issubclass(nn.LSTM, Recurrent), nn.LSTM.gates, nn.LSTM.states
    (True, 4, 2)
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    kernel: str
    kept_names = ("passes",)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool,
        dropout: float, bidirectional: bool, return_sequences: bool, return_state: bool,
        dtype: DTypeLike, rng: Rng,
    ) -> None:  # fmt: skip
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, size in sizes.items():
            _check.positive_int(name, size)
        _check.interval("dropout", dropout, 0, 1)
        flags = {
            "bias": bias, "batch_first": batch_first, "bidirectional": bidirectional,
            "return_sequences": return_sequences, "return_state": return_state,
        }  # fmt: skip
        for name, flag in flags.items():
            _check.flag(name, flag)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.return_sequences, self.return_state = return_sequences, return_state
        self.dropout, self.rng = float(dropout), generator(rng)
        self._draw(_check.floating_dtype(dtype))

    def _draw(self, dtype: np.dtype[Any]) -> None:
        rows = self.gates * self.hidden_size
        for level in range(self.num_layers):
            inputs = self._directions * self.hidden_size if level else self.input_size
            shapes = [(rows, inputs), (rows, self.hidden_size), (rows,), (rows,)]
            for suffix in self._suffixes(level):
                for name, shape in zip(NAMES[: self._arrays], shapes, strict=False):
                    values = uniform_fan_in(self.rng, shape, self.hidden_size, dtype)
                    setattr(self, name + suffix, Parameter(values))

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _arrays(self) -> int:
        """Parameters of each direction of each level."""
        return 4 if self.bias else 2

    def _suffixes(self, level: int) -> list[str]:
        """What the names of parameters end with, for each direction."""
        return [f"_l{level}", f"_l{level}_reverse"][: self._directions]

    def _parameters_of(self, suffix: str) -> list[Parameter]:
        return [getattr(self, name + suffix) for name in NAMES[: self._arrays]]

    def _weights_of(self, suffix: str, dtype: np.dtype[Any]) -> Weights:
        ih, hh, *biases = [p.data.astype(dtype, copy=False) for p in self._parameters_of(suffix)]
        return Weights(ih, hh, *(biases or (None, None)))

    # ---- shapes ----

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.sequence_shape(type(self).__name__, input_shape, self.input_size)
        features = self._directions * self.hidden_size
        if self.return_sequences:
            return (input_shape[0], features)
        # Without batch_first the first axis of x, of the steps, is not in input_shape.
        return (features,)

    def further_shapes(self, shape: Shape) -> list[Shape]:
        if not self.return_state:
            return []
        batch = shape[0 if self.batch_first else 1]
        return [(self._directions * self.num_layers, batch, self.hidden_size)] * self.states

    def multiply_adds(self, output_shape: Shape) -> int:
        """Of all steps; 0 where the shape does not tell how many these are."""
        if not self.return_sequences:
            return 0
        weights = sum(p.size for p in self.parameters() if p.data.ndim == 2)
        return weights * output_shape[0]

    # ---- forward ----

    def __call__(self, x: Any, hx: Any = None, **options: Any) -> Any:
        """The output for x, and the final state.

        Parameters
        ----------
        x : ndarray, shape (T, N, input_size)
            T steps of N sequences; (N, T, input_size) with `batch_first`.
        hx : ndarray, or of an LSTM a pair of them, optional
            The initial state: h_0, or (h_0, c_0), of the final state's shape. None stands for
            zeros.
        lengths : array_like of int, shape (N,), optional
            The number of steps of each sequence. The steps behind do not count: the state stays as
            it is, and outputs and the gradient of x are 0 there. With a whole model, ``lengths=``
            reaches all its layers that take it.
        training : bool, optional
            For this call, instead of the layer's mode.

        Returns
        -------
        output : ndarray, shape (T, N, D * hidden_size)
            As x with `batch_first`; D is 2 if the layer is bidirectional, else 1. The last output
            of each sequence, of shape (N, D * hidden_size), without `return_sequences`.
        state : ndarray of shape (D * num_layers, N, hidden_size), or a pair of them
            h_n, or of an LSTM (h_n, c_n); left out without `return_state`.
        """
        given = () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,)
        found = super().__call__(x, *given, **options)
        if type(found) is not tuple or self.states == 1:
            return found
        output, *state = found
        return output, tuple(state)

    def forward(
        self,
        x: Array,
        *hx: Array,
        lengths: ArrayLike | None = None,
        training: bool | None = None,
    ) -> Any:
        """As a call, but the parts of a state are arguments, and results, of their own."""
        steps = self._steps_first(x)
        initial = self._initial(steps, hx)
        active = self._active(lengths, steps)
        if active is not None:  # what is behind a sequence may be anything
            steps = np.where(active[..., None] != 0, steps, steps.dtype.type(0))
        _check.optional_flag("training", training)
        training = self.training if training is None else training
        levels, finals = [], []
        values = np.require(steps, requirements=["C", "A"])
        for i in range(self.num_layers):
            passes = self._run_level(i, values, initial, active)
            values, mask = _joined(passes, active), None
            if training and self.dropout > 0 and i < self.num_layers - 1:
                values, mask = self._drop(values)
            levels.append(Level(passes, mask))
            finals += [_final(p) for p in passes]
        y = self._output(values, finals)
        self.keep(y, levels, bool(hx))
        if not self.return_state:
            return y
        return (y, *(np.stack([each[i] for each in finals]) for i in range(self.states)))

    def _steps_first(self, x: Array) -> Array:
        name = type(self).__name__
        _check.floating(f"x of {name}", x)
        _check.sequences(name, x, self.batch_first, self.input_size)
        return x.transpose(1, 0, 2) if self.batch_first else x

    def _initial(self, x: Array, hx: Sequence[Array]) -> list[Array]:
        """The initial states: of each kind one for each direction of each level."""
        shape = (self._directions * self.num_layers, x.shape[1], self.hidden_size)
        if not hx:
            return [np.zeros(shape, x.dtype)] * self.states
        name = type(self).__name__
        _check.state_count(name, len(hx), self.states)
        for what, state in zip(("h_0", "c_0"), hx, strict=False):
            _check.initial_state(f"{what} of {name}", state, shape, x.dtype)
        return [*hx]

    def _active(self, lengths: ArrayLike | None, x: Array) -> Array | None:
        """Which sequences have which steps; None if all have all."""
        if lengths is None:
            return None
        steps, batch = x.shape[:2]
        values = _check.lengths(lengths, (batch, steps, self.input_size), -1)
        if (values == steps).all():
            return None
        return (np.arange(steps)[:, None] < values).astype(np.uint8)

    def _run_level(
        self, level: int, x: Array, initial: Sequence[Array], active: Array | None
    ) -> list[Pass]:
        first = level * self._directions
        return [
            run(
                self.kernel, x, self._weights_of(suffix, x.dtype),
                [state[first + i] for state in initial], active, reverse=bool(i),
            )
            for i, suffix in enumerate(self._suffixes(level))
        ]  # fmt: skip

    def _drop(self, values: Array) -> tuple[Array, Array]:
        seed = int(self.rng.integers(2**64, dtype=np.uint64))
        return core.dropout(values, seed, self.dropout, self._scale())

    def _scale(self) -> float:
        return 1 / (1 - self.dropout) if self.dropout < 1 else 1

    def _output(self, values: Array, finals: Sequence[Sequence[Array]]) -> Array:
        if not self.return_sequences:
            return np.concatenate([each[0] for each in finals[-self._directions :]], axis=1)
        return values.transpose(1, 0, 2) if self.batch_first else values

    # ---- backward ----

    def backward(self, dy: Any, input_grad: bool = True) -> Gradient:
        """The gradient of x, or None with ``input_grad=False``; those of the parameters are added.

        Parameters
        ----------
        dy : ndarray, or a tuple (dy, dstate)
            The gradient of the output, alone or with those of the final state: dstate is that of
            h_n, or of an LSTM a pair. A None in it stands for zeros.
        input_grad : bool
            False leaves the gradients of x and of the initial state out.

        Returns
        -------
        ndarray or None
            A tuple with the gradients of h_0, and of c_0, behind it, if the call had an initial
            state.
        """
        _check.flag("input_grad", input_grad)
        dy, *dfinals = _flat(dy)
        levels, has_initial = self.take(dy)
        last = levels[-1].passes
        steps, batch, _ = last[0].x.shape
        dstates = self._dstates(dfinals, batch, dy.dtype)
        if self.return_sequences:
            values = dy.transpose(1, 0, 2) if self.batch_first else dy
        else:
            values = np.broadcast_to(np.zeros_like(dy, order="C"), (steps, *dy.shape))
            for i, part in enumerate(np.split(dy, self._directions, axis=1)):
                dstates[0][i - self._directions] += part
        for i in reversed(range(self.num_layers)):
            wanted = input_grad or i > 0
            values = self._back_through(i, levels[i], values, dstates, wanted)
        dx = values.transpose(1, 0, 2) if input_grad and self.batch_first else values
        if not has_initial:
            return dx
        return (dx, *(dstates if input_grad else [None] * self.states))

    def _dstates(
        self, dfinals: Sequence[Array | None], batch: int, dtype: np.dtype[Any]
    ) -> list[Array]:
        """The gradients of the final states, to be overwritten by those of the initial ones."""
        name = type(self).__name__
        shape = (self._directions * self.num_layers, batch, self.hidden_size)
        _check.dstate_count(name, len(dfinals), self.states if self.return_state else 0)
        given = [*dfinals, *[None] * (self.states - len(dfinals))]
        found = []
        for what, dstate in zip(("h_n", "c_n"), given, strict=False):
            if dstate is not None:
                _check.initial_state(f"the gradient of {what} of {name}", dstate, shape, dtype)
            found.append(np.zeros(shape, dtype) if dstate is None else np.array(dstate, order="C"))
        return found

    def _back_through(
        self, level: int, kept: Level, dy: Array, dstates: Sequence[Array], wanted: bool
    ) -> Gradient:
        """The gradient of a level's input; those of the states are overwritten."""
        if kept.mask is not None:
            dy = core.masked(dy, kept.mask, self._scale())
        total: Gradient = None
        parts = np.split(dy, self._directions, axis=2)
        for i, (passed, part) in enumerate(zip(kept.passes, parts, strict=True)):
            place = level * self._directions + i
            own = [dstate[place] for dstate in dstates]
            found = run_back(passed, _dense(part), own, wanted)
            suffix = self._suffixes(level)[i]
            for parameter, grad in zip(self._parameters_of(suffix), found.weights, strict=True):
                parameter.accumulate(np.ascontiguousarray(grad), copy=False)
            total = found.x if total is None else core.add(total, found.x)
        return total

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {
            "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False, "return_sequences": True, "return_state": True,
        }  # fmt: skip
        for name, value in usual.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text


def _dense(dy: Array) -> Array:
    """A gradient of all steps, without gaps within a step; there may be gaps between them."""
    dense = dy[:1].flags.c_contiguous and dy.flags.aligned
    return dy if dense else np.require(dy, requirements=["C", "A"])


def _flat(gradients: Any) -> list[Any]:
    """(a, b) and (a, (b, c)) as a list, and an array as a list of one."""
    if not isinstance(gradients, tuple):
        return [gradients]
    return [leaf for each in gradients for leaf in _flat(each)]


def _final(passed: Pass) -> list[Array]:
    """The final states of one direction."""
    return [array[passed.last] for array in (passed.h, passed.c) if array is not None]


def _joined(passes: Sequence[Pass], active: Array | None) -> Array:
    """The outputs of all directions side by side; 0 where a sequence has no step."""
    if len(passes) == 1 and active is None:
        return passes[0].output
    joined = np.concatenate([p.output for p in passes], axis=2)
    if active is not None:
        joined[active == 0] = 0
    return joined
