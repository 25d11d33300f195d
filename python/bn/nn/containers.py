"""`Sequential`, `Residual`, `ModuleList`, `ModuleDict`: layers that contain layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast, overload

from bn import _check
from bn.module import Module

if TYPE_CHECKING:
    from typing_extensions import Self


class Layers(Module):
    """What `Sequential` and `ModuleList` share: layers in order, whose names are "0", "1", ....

    Parameters
    ----------
    layers : iterable of Module

    Examples
    --------
    >>> from bn import nn
    >>> layers = Layers([nn.ReLU(), nn.Tanh()])
    >>> [name for name, _ in layers.children()], len(layers)
    (['0', '1'], 2)
    """

    def __init__(self, layers: Iterable[Module]) -> None:
        self._layers = _modules(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        for i, layer in enumerate(self._layers):
            yield str(i), layer
        yield from super().children()

    def _attributes(self) -> Iterator[tuple[str, object]]:
        return (item for item in super()._attributes() if item[0] != "_layers")

    def replace_child(self, name: str, layer: Module) -> None:
        if name.isdigit():
            self[int(name)] = layer
        else:
            super().replace_child(name, layer)

    def append(self, layer: Module) -> Self:
        """Add a layer at the end."""
        self._layers += _modules([layer])
        return self

    def extend(self, layers: Iterable[Module]) -> Self:
        """Add layers at the end."""
        self._layers += _modules(layers)
        return self

    def insert(self, index: int, layer: Module) -> Self:
        """Put a layer in front of the one at this index."""
        self._layers[index:index] = _modules([layer])
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    @overload
    def __setitem__(self, index: int, value: Module) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Module]) -> None: ...
    def __setitem__(self, index: int | slice, value: Module | Iterable[Module]) -> None:
        """Replace one layer, or a slice by any number of layers."""
        if isinstance(index, slice):
            self._layers[index] = _modules(cast("Iterable[Module]", value))
        else:
            (self._layers[index],) = _modules([cast("Module", value)])


def _modules(layers: Iterable[Module]) -> list[Module]:
    """The layers, all of which must be modules."""
    _check.several("layers", layers)
    checked = list(layers)
    for layer in checked:
        _check.instance("every layer", layer, Module)
    return checked


class Sequential(Layers):
    """Layers that are applied one after the other.

    Their names are "0", "1", ..., as in PyTorch's container. The layers can be indexed, sliced,
    replaced, counted and iterated; a slice is a Sequential of the same layer objects.

    If a layer raises, or Ctrl-C interrupts it, the running statistics of all layers become what
    they were before the call, as in every model. `output_shape` and `summary` find a layer that
    does not fit without a forward pass.

    Parameters
    ----------
    *layers : Module

    Raises
    ------
    TypeError
        A layer is not a Module. On a call: a layer returns several arrays, as an `LSTM` does with
        its state unless it is made with ``return_state=False``.

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
        super().__init__(layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module | Sequential:
        return Sequential(*self._layers[index]) if isinstance(index, slice) else self._layers[index]

    def forward(self, x: Any) -> Any:
        for layer in self._layers:
            x = layer(x)
            _check.one_array_in_sequential(layer, x)
        return x


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

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        other = x if self.shortcut is None else self.shortcut(x)
        _check.same_output_shape("Residual", y.shape[1:], other.shape[1:])
        return y + other


class ModuleList(Layers):
    """A list of layers, which the model that has it as an attribute finds.

    Their names are "0", "1", ..., as in PyTorch. It has no forward of its own: the model calls the
    layers in it.

    Parameters
    ----------
    layers : iterable of Module

    Raises
    ------
    TypeError
        A layer is not a Module.

    References
    ----------
    torch.nn.ModuleList.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> class Branches(nn.Module):
    ...     def __init__(self):
    ...         self.branches = ModuleList(nn.Linear(2, 1, rng=i) for i in range(3))
    ...     def forward(self, x):
    ...         return nn.concatenate([branch(x) for branch in self.branches], axis=1)
    >>> Branches()(np.ones((4, 2), np.float32)).shape, len(Branches().parameters())
    ((4, 3), 6)
    """

    def __init__(self, layers: Iterable[Module] = ()) -> None:
        super().__init__(layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module | ModuleList:
        return ModuleList(self._layers[index]) if isinstance(index, slice) else self._layers[index]


class ModuleDict(Module):
    """Layers by name, which the model that has it as an attribute finds.

    It has no forward of its own: the model calls the layers in it.

    Parameters
    ----------
    layers : mapping of str to Module

    Raises
    ------
    TypeError
        A name is not a string, or a layer is not a Module.
    ValueError
        A name is empty or has a dot, which separates names in a state.

    References
    ----------
    torch.nn.ModuleDict.

    Examples
    --------
    >>> from bn import nn
    >>> heads = ModuleDict({"age": nn.Linear(8, 1), "sex": nn.Linear(8, 2)})
    >>> list(heads), list(heads.state_dict())[:2]
    (['age', 'sex'], ['age.weight', 'age.bias'])
    """

    def __init__(self, layers: Mapping[str, Module] | None = None) -> None:
        self._layers: dict[str, Module] = {}
        self.update({} if layers is None else layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        yield from self._layers.items()
        yield from super().children()

    def _attributes(self) -> Iterator[tuple[str, object]]:
        return (item for item in super()._attributes() if item[0] != "_layers")

    def replace_child(self, name: str, layer: Module) -> None:
        if name in self:
            self[name] = layer
        else:
            super().replace_child(name, layer)

    def update(self, layers: Mapping[str, Module]) -> Self:
        """Add layers, or put them in the place of those of their names."""
        _check.instance("layers", layers, Mapping)
        for name, layer in layers.items():
            self[name] = layer
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __getitem__(self, name: str) -> Module:
        return self._layers[name]

    def __setitem__(self, name: str, layer: Module) -> None:
        _check.layer_name(name)
        _check.instance("every layer", layer, Module)
        self._layers[name] = layer

    def __delitem__(self, name: str) -> None:
        del self._layers[name]

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._layers.keys()

    def values(self) -> Iterable[Module]:
        """The layers."""
        return self._layers.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """(name, layer) pairs."""
        return self._layers.items()
