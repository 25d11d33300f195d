"""`Sequential` and `Residual`: layers that contain layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, cast, overload

from bn import _check
from bn._core import core
from bn.module import Module, backward_without_input
from bn.nn.flatten import Flatten
from bn.nn.linear import Linear
from bn.types import Array, Gradient, Shape

if TYPE_CHECKING:
    from typing_extensions import Self


class Sequential(Module):
    """Layers that are applied one after the other.

    Their names are "0", "1", ..., as in PyTorch's container. The layers can be indexed, sliced,
    replaced, counted and iterated; a slice is a Sequential of the same layer objects.

    If a layer raises, or Ctrl-C interrupts it, the running statistics of all layers become what
    they were before the call. `output_shape` and `summary` find a layer that does not fit without
    a forward pass.

    Parameters
    ----------
    *layers : Module

    Raises
    ------
    TypeError
        A layer is not a Module.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> model = Sequential(nn.Linear(4, 3, rng=0), nn.ReLU())
    >>> model(np.ones((2, 4), np.float32)).shape, list(model.state_dict())
    ((2, 3), ['0.weight', '0.bias'])
    >>> model
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *layers: Module) -> None:
        for layer in layers:
            _check.instance("every layer", layer, Module)
        self._layers = list(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        for i, layer in enumerate(self._layers):
            yield str(i), layer
        yield from super().children()

    def _attributes(self) -> Iterator[tuple[str, object]]:
        return (item for item in super()._attributes() if item[0] != "_layers")

    def append(self, layer: Module) -> Self:
        """Add a layer at the end."""
        _check.instance("every layer", layer, Module)
        self._layers.append(layer)
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module | Sequential:
        if isinstance(index, slice):
            return Sequential(*self._layers[index])
        return self._layers[index]

    @overload
    def __setitem__(self, index: int, value: Module) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Module]) -> None: ...
    def __setitem__(self, index: int | slice, value: Module | Iterable[Module]) -> None:
        """Replace one layer, or a slice by any number of layers."""
        if isinstance(index, slice):
            layers = list(cast("Iterable[Module]", value))
            for layer in layers:
                _check.instance("every layer", layer, Module)
            self._layers[index] = layers
        else:
            _check.instance("every layer", value, Module)
            self._layers[index] = cast("Module", value)

    def child_inputs(self, input_shape: Shape) -> Iterator[tuple[str, Module, Shape]]:
        """For each layer its name, itself and the shape of its input without the batch axis."""
        for i, layer in enumerate(self._layers):
            yield str(i), layer, input_shape
            input_shape = layer.output_shape(input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.own_output_shape(self, Sequential.forward)
        for layer in self._layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def build(self, input_shape: Shape) -> None:
        self.output_shape(input_shape)  # raises before any layer is built
        for _, layer, shape in self.child_inputs(input_shape):
            layer.build(shape)

    def forward(self, x: Array) -> Array:
        with core.Transaction():
            for layer, options in zip(self._layers, self._options(), strict=True):
                x = layer(x, **options)
        return x

    def _options(self) -> list[dict[str, bool]]:
        """For each layer the arguments with which a `Linear` flattens in place of a `Flatten`."""
        options: list[dict[str, bool]] = [{} for _ in self._layers]
        for i, pair in enumerate(pairwise(self._layers)):
            if [type(layer) for layer in pair] == [Flatten, Linear]:
                options[i], options[i + 1] = {"copy": False}, {"flatten": True}
        return options

    def backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        """The gradient of the input, for dy, that of the output.

        Parameters
        ----------
        dy : ndarray
        input_grad : bool
            False returns None, and leaves out what only the gradient of the input needs: the
            backward passes before the first layer with parameters, and part of that layer's.

        Returns
        -------
        ndarray or None
        """
        _check.used_once(self.modules())
        if not input_grad:
            return self._backward_without_input(dy)
        for layer in reversed(self._layers):
            dy = layer.backward(dy)
        return dy

    def _backward_without_input(self, dy: Array) -> None:
        trained = (i for i, layer in enumerate(self._layers) if layer.parameters())
        first = next(trained, len(self._layers))
        for layer in reversed(self._layers[first + 1 :]):
            dy = layer.backward(dy)
        for layer in self._layers[first : first + 1]:
            backward_without_input(layer, dy)
        for layer in self._layers[:first]:  # last: a dy that is refused changes nothing
            layer.forget()


class Residual(Module):
    """y = body(x) + shortcut(x).

    Parameters
    ----------
    body : Module
    shortcut : Module or None
        None stands for the identity.

    Raises
    ------
    TypeError
        `body` or `shortcut` is not a Module.
    ValueError
        On a call: the two outputs differ in shape.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> Residual(nn.ReLU())(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        _check.instance("body", body, Module)
        if shortcut is not None:
            _check.instance("shortcut", shortcut, Module)
        self.body = body
        self.shortcut = shortcut

    def child_inputs(self, input_shape: Shape) -> Iterator[tuple[str, Module, Shape]]:
        """For body and shortcut the name, the layer and the shape of its input."""
        for name, child in self.children():
            yield name, child, input_shape

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.own_output_shape(self, Residual.forward)
        shape = self.body.output_shape(input_shape)
        other = input_shape
        if self.shortcut is not None:
            other = self.shortcut.output_shape(input_shape)
        _check.same_output_shape("Residual", shape, other)
        return shape

    def build(self, input_shape: Shape) -> None:
        self.output_shape(input_shape)
        for _, child, shape in self.child_inputs(input_shape):
            child.build(shape)

    def forward(self, x: Array) -> Array:
        with core.Transaction():
            y = self.body(x)
            other = x if self.shortcut is None else self.shortcut(x)
            _check.same_output_shape("Residual", y.shape, other.shape)
            y = core.add(y, other)
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        """The gradient of the input, for dy, that of the output.

        Parameters
        ----------
        dy : ndarray
        input_grad : bool
            False returns None, and leaves out what only the gradient of the input needs.

        Returns
        -------
        ndarray or None
        """
        _check.used_once(self.modules())
        if not input_grad:
            for _, part in self.children():
                backward_without_input(part, dy)
            return None
        dx = self.body.backward(dy)
        return core.add(dx, dy if self.shortcut is None else self.shortcut.backward(dy))
