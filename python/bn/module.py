"""`Module` and `Parameter`: what every layer is, in `bn` and in `bn.nn`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn._core import core
from bn.summary import summary
from bn.types import Array, Shape

if TYPE_CHECKING:
    from typing_extensions import Self


COLLECTIONS = (list, tuple, dict, set)  # in which layers would not be found


class Parameter:
    """A trainable array and its gradient.

    Parameters
    ----------
    data : array_like
        The initial value; it is not copied.

    Attributes
    ----------
    data : ndarray
        The value.
    grad : ndarray or None
        The accumulated gradient, None before the first `backward` and after `zero_grad`.

    Examples
    --------
    >>> p = Parameter(np.ones(2))
    >>> p.accumulate(np.array([1.0, 2.0])); p.accumulate(np.array([1.0, 2.0])); p.grad
    array([2., 4.])
    """

    __slots__ = ("data", "grad")

    def __init__(self, data: ArrayLike) -> None:
        self.data: Array = _check.array("data", data)
        self.grad: Array | None = None

    def accumulate(self, grad: Array) -> None:
        """Add to the gradient (the first one is kept in the parameter's dtype)."""
        if self.grad is None:
            self.grad = grad.astype(self.data.dtype)  # a copy: the caller keeps its own
        else:
            self.grad += grad

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __getitem__(self, index: Any) -> Any:
        return self.data[index]

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        self.data[index] = value

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if dtype is None or np.dtype(dtype) == self.data.dtype:
            return self.data.copy() if copy else self.data
        return self.data.astype(dtype)

    def __repr__(self) -> str:
        return f"Parameter({self.data!r})"


class Module:
    """A layer with an explicit backward pass.

    ``layer(x)`` is the forward pass. ``layer.backward(dy)`` returns the gradient of its input and
    adds those of its parameters to their `grad`. Nothing records the operations in between: a
    layer keeps what its own backward pass needs with `keep`, and `backward` gets it with `take`.

    Attributes that are `Parameter` or `Module` objects are part of the layer without further
    registration, in the order of their assignment. Arrays that belong to the state without being
    trained are named in `buffer_names`.

    Attributes
    ----------
    training : bool
        Whether the layer is in training mode; `train` and `eval` set it.
    buffer_names : tuple of str
        The attributes whose arrays belong to the state without being trained (of the class).
    state_names : mapping of str to str
        The names in the state of attributes that are called otherwise there (of the class).

    Examples
    --------
    A layer of one's own, which scales its input by one trainable number:

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.weight = Parameter(np.array([2.0]))
    ...     def output_shape(self, input_shape):
    ...         return input_shape
    ...     def forward(self, x):
    ...         y = x * self.weight.data
    ...         self.keep(y, x)  # dy must be like y; backward needs x
    ...         return y
    ...     def backward(self, dy):
    ...         (x,) = self.take(dy)
    ...         self.weight.accumulate(np.array([np.sum(dy * x)]))
    ...         return dy * self.weight.data
    >>> layer = Scale()
    >>> layer(np.array([1.0, 3.0])), layer.backward(np.ones(2)), layer.weight.grad
    (array([2., 6.]), array([2., 2.]), array([4.]))
    """

    training: bool = True
    buffer_names: ClassVar[tuple[str, ...]] = ()
    state_names: ClassVar[Mapping[str, str]] = {}
    _kept: tuple[Shape, np.dtype[Any], tuple[Any, ...]] | None = None

    def forward(self, x: Array) -> Array:
        """The output for x; a layer defines it."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: Array) -> Array:
        """The gradient of the input, for dy, that of the output; a layer defines it.

        Layers that save time by it, and containers, also take ``input_grad=False``: they then
        leave the gradient of the input out and return None.
        """
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def __call__(self, x: Array, *args: Any, **options: Any) -> Array:
        return self.forward(x, *args, **options)

    def keep(self, y: Array, *values: Any) -> None:
        """Keep what `backward` will need; the gradient that it gets must be like y.

        Parameters
        ----------
        y : ndarray
            The output, whose shape and dtype are kept, not its values.
        *values
            What `take` returns.

        Examples
        --------
        See `Module`.
        """
        self._kept = (y.shape, y.dtype, values)

    def take(self, dy: Array) -> tuple[Any, ...]:
        """What forward kept, which serves one backward pass.

        Parameters
        ----------
        dy : ndarray
            The gradient that `backward` got.

        Returns
        -------
        tuple
            The values that were given to `keep`.

        Raises
        ------
        RuntimeError
            No forward pass came since the last call.
        TypeError, ValueError
            dy has not the shape and dtype of the output; what was kept stays.

        Examples
        --------
        See `Module`.
        """
        _check.dy(type(self).__name__, dy, self._kept)
        assert self._kept is not None
        values = self._kept[2]
        self._kept = None
        return values

    def attribute_dicts(self) -> list[dict[str, Any]]:
        """The dicts of attributes that a forward pass may set: its own, and those of its parts."""
        return [vars(self)]

    def forget(self) -> None:
        """Drop what forward kept in this layer and all inside it."""
        for module in self.modules():
            module._kept = None

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`, both without the batch axis."""
        _check.own_output_shape(self, Module.forward)
        return input_shape

    def build(self, input_shape: Shape) -> None:
        """Create the parameters that depend on the input's shape (without the batch axis)."""

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, layer) of the layers directly inside this one."""
        for name, value in self._attributes():
            if isinstance(value, Module):
                yield name, value

    def _attributes(self) -> Iterator[tuple[str, object]]:
        """(name, value) of the attributes that may be layers or parameters."""
        yield from vars(self).items()

    def child_inputs(self, input_shape: Shape) -> Iterator[tuple[str, Module, Shape]]:
        """(name, layer, its input's shape without the batch axis) of the layers in a container."""
        yield from ()

    def modules(self) -> Iterator[Module]:
        """The layer itself and all layers inside it, depth first."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted path, layer) of the layer itself, whose path is `prefix`, and all inside it.

        Parameters
        ----------
        prefix : str
            Stands before all paths.
        remove_duplicate : bool
            Yield a layer that is used in several places once. False yields each of its places, and
            what is inside it at the first one only.

        Examples
        --------
        >>> from bn import nn
        >>> [path for path, layer in nn.Sequential(nn.Sequential(nn.ReLU())).named_modules()]
        ['', '0', '0.0']
        """
        yield from self._named_modules(prefix, remove_duplicate, set())

    def _named_modules(
        self, path: str, remove_duplicate: bool, seen: set[int]
    ) -> Iterator[tuple[str, Module]]:
        first = id(self) not in seen
        if first or not remove_duplicate:
            yield path, self
        if first:
            seen.add(id(self))
            for name, child in self.children():
                inside = f"{path}.{name}" if path else name
                yield from child._named_modules(inside, remove_duplicate, seen)

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(name in the state, parameter) of this layer, without those of layers inside."""
        for name, value in self._attributes():
            if isinstance(value, Parameter):
                yield self.state_names.get(name, name), value
            elif type(value) in COLLECTIONS:
                _check.no_layers_in(self, name, value, Module)

    def own_buffers(self) -> Iterator[tuple[str, Array]]:
        """(name in the state, array) of this layer's buffers, without those of layers inside."""
        for name in self.buffer_names:
            value = getattr(self, name)
            if value is not None:
                yield self.state_names.get(name, name), value

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) pairs; names are dotted paths, as in PyTorch."""
        for name, parameter in self.own_parameters():
            yield prefix + name, parameter
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """All trainable parameters, those of the layers inside included; a shared one is one."""
        return list(dict.fromkeys(parameter for _, parameter in self.named_parameters()))

    def named_state(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """(name, array) of parameters and buffers; the arrays are the layer's own, not copies."""
        for name, parameter in self.own_parameters():
            yield prefix + name, parameter.data
        for name, buffer in self.own_buffers():
            yield prefix + name, buffer
        for name, child in self.children():
            yield from child.named_state(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, under PyTorch's names (``0.weight``)."""
        return {name: array.copy() for name, array in self.named_state()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> Self:
        """Copy a state's arrays in, or raise and change nothing.

        Parameters
        ----------
        state : mapping of str to array_like
            As `state_dict` returns it, or a PyTorch model's. Values are cast to the layer's dtype.
            ``num_batches_tracked`` may be missing, as in old checkpoints.

        Returns
        -------
        Module
            The layer itself.

        Raises
        ------
        ValueError
            Names are missing or unknown, a shape differs, or a count is not a number.
        TypeError
            `state` is no mapping, or a value does not hold numbers.
        """
        _check.mapping("state", state)
        own = dict(self.named_state())
        arrays = {name: _check.array(name, value) for name, value in state.items()}
        _check.state(own, arrays)
        cast = {name: array.astype(own[name].dtype) for name, array in arrays.items()}
        pairs = [(own[name], array) for name, array in cast.items()]
        copy_all([*pairs, *self._all_loading(set(arrays), "")])
        return self

    def _all_loading(self, names: set[str], prefix: str) -> Iterator[tuple[Array, Array]]:
        own = (name for name, _ in (*self.own_parameters(), *self.own_buffers()))
        yield from self.loading({name for name in own if prefix + name in names})
        for name, child in self.children():
            yield from child._all_loading(names, f"{prefix}{name}.")

    def loading(self, names: set[str]) -> list[tuple[Array, Array]]:
        """(array, its new value) of what else changes when arrays of these names are loaded.

        `load_state_dict` copies them in the same step; a layer with more state overrides this.
        """
        return []

    def train(self, mode: bool = True) -> Self:
        """Switch this layer and all inside it to training mode (or to eval mode)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this layer and all inside it to eval mode."""
        return self.train(False)

    @property
    def trainable(self) -> bool:
        """Whether a batch normalization layer trains; other layers always do."""
        return True

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not value:
            raise AttributeError(
                f"{type(self).__name__}.trainable must stay True: only batch normalization layers "
                "can be frozen (bn.freeze(model) freezes those inside); leave the parameters of "
                "others out of the optimizer"
            )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def summary(self, input_shape: Shape) -> None:
        """Build the model and print its layers, output shapes and parameter counts.

        Parameters
        ----------
        input_shape : tuple of int
            The shape of one input, without the batch axis.
        """
        print(summary(self, input_shape))

    def extra_repr(self) -> str:
        """What stands between the parentheses of this layer's repr."""
        return ""

    def __repr__(self) -> str:
        name, children = type(self).__name__, list(self.children())
        if not children:
            return f"{name}({self.extra_repr()})"
        lines = [f"({key}): {child!r}".replace("\n", "\n  ") for key, child in children]
        lines = [self.extra_repr(), *lines] if self.extra_repr() else lines
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"


class Elementwise(Module):
    """A layer whose output has its input's shape."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def backward_without_input(layer: Module, dy: Array) -> None:
    """Add the gradients of a layer's parameters; that of its input is not computed if it can be.

    Parameters
    ----------
    layer : Module
    dy : ndarray
        The gradient of its output.

    Examples
    --------
    >>> from bn import nn
    >>> layer = nn.Linear(2, 1, rng=0)
    >>> _ = layer(np.ones((1, 2)))
    >>> backward_without_input(layer, np.ones((1, 1))); layer.bias.grad
    array([1.], dtype=float32)
    """
    if _takes_input_grad(type(layer).backward):
        layer.backward(dy, input_grad=False)  # type: ignore[call-arg]
    else:
        layer.backward(dy)


@cache
def _takes_input_grad(backward: Callable[..., Any]) -> bool:
    return "input_grad" in signature(backward).parameters


def copy_all(pairs: Iterable[tuple[Array, Array]]) -> None:
    """Copy new values into arrays, given as (array, values): into all, whatever interrupts it."""
    pairs = list(pairs)
    core.copy_together([array for array, _ in pairs], [values for _, values in pairs])


def unchanged(model: Module) -> AbstractContextManager[None]:
    """Give all modules of a model back the attributes that they have now, when `with` ends."""
    return core.Restored([part for module in model.modules() for part in module.attribute_dicts()])
