"""`Waiting`: an output that is not computed yet, so that what follows can be computed with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bn._core import core
from bn.images import channels_first
from bn.mode import Mode
from bn.types import Array, Shape

if TYPE_CHECKING:
    from typing_extensions import Self

    from bn.module import Module

NOTHING = np.empty(0)
LARGEST_WINDOW = 256  # pixels, whose numbers are bytes


class Activation(NamedTuple):
    """What an activation layer is to a layer in front of it.

    Attributes
    ----------
    name : {"relu", "leaky_relu", "relu6"}
    negative_slope : float
        Of the leaky one; above 0.
    """

    name: str
    negative_slope: float = 0.01


class MaxPooling(NamedTuple):
    """What a max pooling is to a layer in front of it.

    Attributes
    ----------
    kernel, stride, padding : pair of int
        Along the height and the width.
    axis : {1, 3}
        The channel axis.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    axis: int

    @property
    def side_by_side(self) -> bool:
        """Whether no pixel is in two windows, and none outside of the image."""
        return self.kernel == self.stride and self.padding == (0, 0)

    def output_shape(self, shape: Shape) -> Shape | None:
        """The shape for images of this shape, (N, C, H, W) or (N, H, W, C); None if it has none."""
        out, rows = list(shape), 2 if self.axis == 1 else 1
        for i, (kernel, stride, padding) in enumerate(zip(*self[:3], strict=True)):
            out[rows + i] = (shape[rows + i] + 2 * padding - kernel) // stride + 1
        return tuple(out) if min(out) > 0 else None


class Waiting:
    """An output that is computed when somebody needs it, together with what has joined it.

    A layer whose `defer` returns one has done all of its forward pass but for the output itself.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        Of the output.
    """

    shape: Shape
    dtype: np.dtype[Any]

    def array(self) -> Array:
        """The output."""
        raise NotImplementedError

    def then(self, layer: Module) -> Waiting | None:
        """The output of a layer that follows; None if it cannot be computed together."""
        return None

    def plus(self, other: Array) -> Waiting | None:
        """The sum of this output and another array; None if it cannot be computed together."""
        return None

    def extra_bytes(self) -> int:
        """What computing it reads and writes beside its input, the output and parameters."""
        return 0

    def backward(self, dy: Array, wanted: bool) -> Sequence[Array | None]:
        """The gradients of the input and of what was added; those of parameters are added."""
        raise NotImplementedError

    def kept(self) -> dict[str, Array | None]:
        """What of its inputs and its output the backward pass needs, by name."""
        return {}


class Joinable(Waiting):
    """An output of which additions, activations and poolings that follow can become a part.

    The output is ``pooled(activation(own + residual))``, each of the three if there is one.

    Parameters
    ----------
    x : ndarray
        The input.
    shape : tuple of int
        Of the layer's own output, which has x's dtype.
    axis : int
        The channel axis, counted from the front.
    """

    def __init__(self, x: Array, shape: Shape, axis: int) -> None:
        self.x, self.own_shape, self.axis = x, shape, axis
        self.shape, self.dtype = shape, x.dtype
        self.residual: Array | None = None
        self.activation: Activation | None = None
        self.pooling: MaxPooling | None = None
        self.y: Array | None = None  # the output, where its sign tells that of what was activated
        self.positions: Array | None = None  # of the maxima

    def inputs(self) -> tuple[Array, ...]:
        """The arrays that it is computed from, beside parameters."""
        return (self.x,) if self.residual is None else (self.x, self.residual)

    def kept(self) -> dict[str, Array | None]:
        return {"x": self.x, "residual": self.residual, "the output": self.y}

    def prepared(self) -> Callable[..., Array]:
        """A function that computes the output of other inputs, which are laid out like these."""
        bare = self._with("x", NOTHING)
        bare.residual = None

        def output(x: Array, residual: Array | None = None) -> Array:
            twin = bare._with("x", x)
            twin.residual = residual
            return twin.array()

        return output

    def how(self) -> str:
        """In a word or two, how the layer itself computes."""
        return ""

    def extra_bytes(self) -> int:
        return 0 if self.pooling is None else math.prod(self.shape)  # the positions

    def joins(self) -> bool:
        """Whether additions and activations can become a part."""
        return True

    def pools(self, pooling: MaxPooling) -> bool:
        """Whether this pooling can become a part."""
        raise NotImplementedError

    def then(self, layer: Module) -> Joinable | None:
        part = layer.epilogue()
        usual = self.dtype in (np.float32, np.float64)
        if self.pooling is not None or part is None or not usual or not self.joins():
            return None
        if isinstance(part, Activation):
            return self._with("activation", part) if self.activation is None else None
        images = part.axis == self.axis and len(self.shape) == 4
        if not images or math.prod(part.kernel) > LARGEST_WINDOW:
            return None
        shape = part.output_shape(self.shape)
        if shape is None or 0 in shape or not self.pools(part):
            return None
        twin = self._with("pooling", part)
        twin.shape = shape
        return twin

    def plus(self, other: Array) -> Joinable | None:
        parts = (self.residual, self.activation, self.pooling)
        if any(part is not None for part in parts) or not self.joins():
            return None
        return self._with("residual", other)

    def _with(self, name: str, part: object) -> Self:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        setattr(twin, name, part)
        return twin

    # ---- backward ----

    def gradients(self, dx: Array | None, dresidual: Array) -> Sequence[Array | None]:
        """Those of the input and of what was added, in the same order in memory."""
        if self.residual is None:
            return (dx,)
        if dx is not None and dx.shape == dresidual.shape:
            dresidual = core.in_order_of(dresidual, dx)
        return dx, dresidual

    def before_activation(self, dy: Array) -> Array:
        """The gradient of what was activated, from y."""
        if self.activation is None:
            return dy
        assert self.y is not None
        if self.activation.name == "leaky_relu":
            return core.leaky_relu(dy, self.y, self.activation.negative_slope)
        return (core.relu_dx if self.activation.name == "relu" else core.relu6_dx)(dy, self.y)

    def before_pooling(self, g: Array, dx: Array) -> Array:
        """The gradient of what was pooled, into dx."""
        assert self.pooling is not None and self.positions is not None
        g, positions = channels_first(g, self.axis), channels_first(self.positions, self.axis)
        images = channels_first(dx, self.axis)
        core.pool_max_gradient(
            np.require(g, requirements="A"), positions, images, *self.pooling[:3]
        )
        return dx


# ---- whether layers are computed together ----


class fused(Mode):
    """Within it, models compute adjoining layers in one pass (True), or each by itself (False).

    Outside of it they compute them in one pass. `bn.Module.plan` tells which layers these are.

    Parameters
    ----------
    mode : bool, default True

    Raises
    ------
    TypeError
        `mode` is not a bool.

    Notes
    -----
    It holds for this thread.

    Examples
    --------
    >>> import bn, numpy as np
    >>> from bn import nn
    >>> model, x = nn.Sequential(bn.BatchNorm1d(2), nn.ReLU()), np.eye(2, dtype=np.float32)
    >>> with nn.fused(False):
    ...     y = model(x)
    >>> bool(np.allclose(model(x), y))
    True
    """
