"""Symbolic tensors: what flows between layers where a model is described and not yet called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from bn import _check
from bn.keras.names import unique
from bn.types import Shape

if TYPE_CHECKING:
    from bn.keras.layers.base import Layer

OpenShape: TypeAlias = tuple[int | None, ...]  # None where any length will do

# Two lengths in the place of an unknown one, which can be halved often, as many layers do.
STAND_INS = (192, 320)


class Node:
    """One call of a layer on symbolic tensors.

    Parameters
    ----------
    layer : Layer
    inputs : sequence of KerasTensor
    shape : tuple of int or None
        Of the output, without the batch axis.
    options : mapping, optional
        Further arguments of the call, such as ``training=False``.

    Attributes
    ----------
    output : KerasTensor
    """

    def __init__(
        self,
        layer: Layer,
        inputs: Sequence[KerasTensor],
        shape: OpenShape,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.layer, self.inputs, self.options = layer, tuple(inputs), dict(options or {})
        self.output = KerasTensor((None, *shape), layer.dtype.name, self)

    @property
    def parents(self) -> list[Node]:
        """The calls that made the inputs."""
        return [each.node for each in self.inputs]

    @property
    def number(self) -> int:
        """Which of its layer's calls it is."""
        return self.layer.nodes.index(self)


class KerasTensor:
    """The output of a layer in the description of a model: a shape, and where it comes from.

    Layers are called on it, as they are called on arrays. There is no arithmetic with it: layers
    such as `bn.keras.layers.Add` do that.

    Parameters
    ----------
    shape : tuple of int or None
        With the batch axis.
    dtype : str
    node : Node

    Examples
    --------
    >>> from bn import keras
    >>> keras.layers.Dense(3)(keras.Input((4,))).shape
    (None, 3)
    """

    def __init__(self, shape: OpenShape, dtype: str, node: Node) -> None:
        self.shape, self.dtype, self.node = shape, dtype, node
        self.name = unique("keras_tensor")

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def _refuse(self, *_: Any) -> NoReturn:
        raise _check.no_symbolic_arithmetic()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __getitem__ = __array__ = __bool__ = __iter__ = _refuse


def is_symbolic(inputs: Sequence[Any]) -> bool:
    """Whether the inputs of a layer are symbolic tensors; one that is makes all others need to be.

    Parameters
    ----------
    inputs : sequence

    Examples
    --------
    >>> from bn import keras
    >>> is_symbolic([keras.Input((4,))]), is_symbolic([1.0])
    (True, False)
    """
    if not any([type(each) is KerasTensor for each in inputs]):
        return False
    for each in inputs:
        _check.keras_kind("each input", each, KerasTensor, "a symbolic tensor as the others")
    return True


def closed(shape: OpenShape, length: int) -> Shape:
    """A shape with a length in the place of each unknown one.

    Parameters
    ----------
    shape : tuple of int or None
    length : int

    Examples
    --------
    >>> closed((None, 3), 192)
    (192, 3)
    """
    return tuple([length if n is None else n for n in shape])


def opened(shapes: Sequence[Shape]) -> OpenShape:
    """What several lengths in the place of an unknown one gave: where they differ, it is unknown.

    Parameters
    ----------
    shapes : sequence of tuple of int

    Examples
    --------
    >>> opened([(96, 8), (160, 8)])
    (None, 8)
    """
    return tuple([each[0] if len(set(each)) == 1 else None for each in zip(*shapes, strict=True)])
