"""`gradcheck`: the backward pass of a layer against differences of its forward pass."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from bn import _check
from bn.arrays import takes_arrays
from bn.layers import no_stat_update
from bn.module import Module
from bn.parameter import Parameter
from bn.recording.kept import no_grad
from bn.types import Array

STEP = 1e-6  # of x and parameters; times their size where that is above 1
ENTRIES = 100  # of each array, at most
Place = tuple[int, ...]  # the index of an entry


@takes_arrays
def gradcheck(layer: Module, x: Array | tuple[Array, ...], *, tolerance: float = 1e-6) -> None:
    """Check that the backward pass of a layer or model is the gradient of its forward pass.

    ``layer.backward`` is compared with central differences ``(layer(x + h) - layer(x - h)) / 2h``
    for x and for each parameter that trains, in the mode that the layer is in. They are compared
    entry by entry; of an array of more than 100 entries, 100 are chosen at random, always the
    same ones.

    Parameters
    ----------
    layer : Module
        It must be built. It stays as it is, because a copy is checked.
    x : ndarray of float64, or tuple of them
        The input, or several. Choose values away from the places where the layer has no gradient,
        such as 0 for a ReLU.
    tolerance : float, default 1e-6
        The largest difference that is allowed, relative to the gradient where that is above 1.

    Raises
    ------
    AssertionError
        A gradient differs. The message names the place of the largest difference:
        ``gradient of 0.weight[2, 1]: backward gives 0.5, differences give 0.25``.
    TypeError
        x, the output or a parameter is not float64, in which alone the differences are exact
        enough.
    ValueError
        A gradient has another shape than its array, or the layer gives another output when it is
        called again.

    Notes
    -----
    No batch enters the running statistics, and NumPy generators that are attributes of layers, like
    that of `Dropout`, are put back before each call.

    Two backward passes differ from the gradient of the output on purpose: batch renormalization
    takes its correction as constant, and a regularizer adds the gradient of its penalty.

    References
    ----------
    torch.autograd.gradcheck.

    Examples
    --------
    >>> from bn import nn
    >>> x = np.random.default_rng(0).standard_normal((4, 3))
    >>> gradcheck(nn.Sequential(nn.Linear(3, 2, dtype=np.float64, rng=0), nn.Tanh()), x)
    >>> class Square(nn.Module):
    ...     def forward(self, x):
    ...         self.keep(x, x)
    ...         return x * x
    ...     def backward(self, dy):
    ...         (x,) = self.take(dy)
    ...         return dy * x  # it should be 2 * x
    >>> gradcheck(Square(), x)
    Traceback (most recent call last):
    ...
    AssertionError: gradient of x[3, 0]: backward gives 1.6012915, differences give 3.202583
    """
    _check.instance("layer", layer, Module)
    _check.at_least("tolerance", tolerance, 0)
    inputs = x if isinstance(x, tuple) else (x,)
    names = [f"x[{i}]" for i in range(len(inputs))] if isinstance(x, tuple) else ["x"]
    for name, array in zip(names, inputs, strict=True):
        _check.float64(name, array)
    for name, parameter in layer.named_parameters():
        _check.float64(name, parameter.data)

    inputs = tuple(np.array(array) for array in inputs)  # copies, in their order in memory
    layer = _copy_of(layer)
    forward = _repeatable(layer, inputs)
    rng = np.random.default_rng(0)
    with no_stat_update():
        y = forward()
        _check.float64("the output", y)
        _check.same_output(type(layer).__name__, y, forward())
        dy = rng.standard_normal(y.shape)
        dx = layer.backward(dy.copy())
        arrays = list(zip(names, inputs, dx if len(inputs) > 1 else (dx,), strict=True))
        for name, parameter in _trained(layer):
            grad = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad
            arrays.append((name, parameter.data, grad))
        for name, array, gradient in arrays:
            _check.like(f"the gradient of {name}", gradient, array, name)
        with no_grad():
            found = [
                _Entry(name, place, float(gradient[place]), _difference(forward, array, place, dy))
                for name, array, gradient in arrays
                for place in _some_places(array, rng)
            ]
    worst = max(found, key=lambda entry: entry.error, default=None)
    if worst is not None and worst.error > tolerance:
        raise AssertionError(str(worst))


class _Entry(NamedTuple):
    """One number of a gradient, from `backward` and by differences."""

    name: str
    place: Place
    backward: float
    differences: float

    @property
    def error(self) -> float:
        """How far they are apart, relative to the gradient where that is above 1."""
        error = abs(self.backward - self.differences) / max(1.0, abs(self.differences))
        return math.inf if math.isnan(error) else error

    def __str__(self) -> str:
        index = f"[{', '.join(map(str, self.place))}]" if self.place else ""
        return (
            f"gradient of {self.name}{index}: backward gives {self.backward:.8g}, "
            f"differences give {self.differences:.8g}"
        )


def _copy_of(layer: Module) -> Module:
    """A copy without gradients and hooks."""
    layer = copy.deepcopy(layer)
    layer.zero_grad()
    for module in layer.modules():
        module.hooks = ()
    return layer


def _trained(layer: Module) -> Iterator[tuple[str, Parameter]]:
    """(name, parameter) of what gets gradients, each once."""
    seen = set()
    for path, module in layer.named_modules():
        for name, parameter in module.own_parameters():
            if module.trains(parameter) and parameter not in seen:
                seen.add(parameter)
                yield f"{path}.{name}" if path else name, parameter


def _repeatable(layer: Module, inputs: tuple[Array, ...]) -> Callable[[], Array]:
    """A function that calls the layer, with the same random numbers each time."""
    attributes = [value for module in layer.modules() for value in vars(module).values()]
    generators = [value for value in attributes if isinstance(value, np.random.Generator)]
    states = [generator.bit_generator.state for generator in generators]

    def forward() -> Array:
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state
        y: Array = layer(*inputs)
        return y

    return forward


def _some_places(array: Array, rng: np.random.Generator) -> list[Place]:
    """The indices of all entries, or of some where there are many."""
    chosen = np.arange(array.size)
    if array.size > ENTRIES:
        chosen = rng.choice(chosen, ENTRIES, replace=False)
    return [tuple(int(i) for i in np.unravel_index(c, array.shape)) for c in chosen]


def _difference(forward: Callable[[], Array], array: Array, place: Place, dy: Array) -> float:
    """The derivative of ``sum(y * dy)`` by one entry of an array, which `forward` reads."""
    value = array[place]
    step = STEP * max(1.0, abs(value))
    array[place] = value + step
    high, above = array[place], forward().copy()
    array[place] = value - step
    low, below = array[place], forward().copy()  # the output may be a view of the array
    array[place] = value
    return float(np.sum((above - below) * dy) / (high - low))
