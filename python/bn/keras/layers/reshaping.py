"""Layers that move values: flattening, other shapes, zeros around images, larger images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from bn import _check, nn
from bn.keras.layers.base import Layer, Size
from bn.keras.tensors import OpenShape, closed
from bn.module import Module
from bn.types import Shape

Sides = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


class Flatten(Layer):
    """Each sample as a vector: the channels of a pixel stay side by side.

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.Flatten.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.ones((2, 4, 4, 3))).shape
    (2, 48)
    """

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        _check.channels_last_only("Flatten", data_format)

    def make(self, shape: Shape) -> list[Module]:
        return [nn.Flatten()] if len(shape) > 1 else []

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        _check.one_input(self.name, len(shapes))
        known = [n for n in shapes[0] if n is not None]
        return (math.prod(known) if len(known) == len(shapes[0]) else None,)


class Reshape(Layer):
    """The values of each sample in another shape.

    Parameters
    ----------
    target_shape : tuple of int
        Of a sample; one length may be -1, which stands for what is left.
    **options
        As in `Layer`.

    Raises
    ------
    ValueError
        It is no such shape. On a call: it has another number of values.

    References
    ----------
    keras.layers.Reshape.

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((2, -1))(np.ones((1, 6))).shape
    (1, 2, 3)
    """

    config_names: ClassVar[tuple[str, ...]] = ("target_shape",)

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        _check.keras_target_shape(target_shape)
        self.target_shape = tuple(int(n) for n in target_shape)

    def forward(self, x: Any) -> Any:
        """The values in the other shape."""
        return x.reshape(x.shape[0], *self.lengths(x.shape[1:]))

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        _check.one_input(self.name, len(shapes))
        if None in shapes[0]:
            return tuple([None if n == -1 else n for n in self.target_shape])
        return self.lengths(closed(shapes[0], 1))

    def lengths(self, shape: Shape) -> Shape:
        """The target, with what is left in the place of -1."""
        known = -math.prod(self.target_shape) if -1 in self.target_shape else 0
        left = math.prod(shape) // known if known else 0
        found = tuple(left if n == -1 else n for n in self.target_shape)
        _check.keras_as_many(self.name, shape, found)
        return found


class Permute(Layer):
    """The axes of each sample in another order.

    Parameters
    ----------
    dims : sequence of int
        The axes, counted from 1, because that of the batch is 0.
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.Permute.

    Examples
    --------
    >>> import numpy as np
    >>> Permute((2, 1))(np.ones((5, 2, 3))).shape
    (5, 3, 2)
    """

    config_names: ClassVar[tuple[str, ...]] = ("dims",)

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        _check.keras_dims(dims)
        self.dims = tuple(int(axis) for axis in dims)

    def forward(self, x: Any) -> Any:
        """The view of x."""
        _check.keras_input_rank(self.name, x.shape[1:], (len(self.dims) + 1,))
        return x.transpose(0, *self.dims)


class RepeatVector(Layer):
    """A vector several times, one below the other.

    Parameters
    ----------
    n : int
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.RepeatVector.

    Examples
    --------
    >>> import numpy as np
    >>> RepeatVector(3)(np.ones((1, 2))).shape
    (1, 3, 2)
    """

    config_names: ClassVar[tuple[str, ...]] = ("n",)

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        _check.positive_int("n", n)
        self.n = n

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        _check.one_input(self.name, len(shapes))
        _check.keras_input_rank(self.name, shapes[0], (2,))
        return (self.n, *shapes[0])

    def forward(self, x: Any) -> Any:
        """The vector n times."""
        _check.keras_input_rank(self.name, x.shape[1:], (2,))
        return nn.concatenate([x.reshape(x.shape[0], 1, x.shape[1])] * self.n, axis=1)


class ImageLayer(Layer):
    """What the layers of images (N, H, W, C) below share: the check of their inputs.

    Parameters
    ----------
    **options
        As in `Layer`.
    """

    def build_for(self, shapes: Sequence[OpenShape]) -> None:
        _check.keras_input_rank(self.name, shapes[0], (4,))
        super().build_for(shapes)


class ZeroPadding2D(ImageLayer):
    """Zeros around images (N, H, W, C).

    Parameters
    ----------
    padding : int, pair of int, or pair of pairs
        On all sides; (above and below, left and right); or ((above, below), (left, right)).
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.ZeroPadding2D.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPadding2D(((1, 0), (2, 0)))(np.ones((1, 4, 4, 1))).shape
    (1, 5, 6, 1)
    """

    config_names: ClassVar[tuple[str, ...]] = ("padding",)

    def __init__(
        self, padding: Sides = (1, 1), data_format: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        _check.channels_last_only("ZeroPadding2D", data_format)
        self.padding = _check.keras_sides("padding", padding)

    def make(self, shape: Shape) -> list[Module]:
        (top, bottom), (left, right) = self.padding
        return [nn.ZeroPad2d((left, right, top, bottom), axis=-1)]


class Cropping2D(ImageLayer):
    """Images (N, H, W, C) without some pixels at their sides.

    Parameters
    ----------
    cropping : int, pair of int, or pair of pairs
        As `padding` of `ZeroPadding2D`.
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.Cropping2D.

    Examples
    --------
    >>> import numpy as np
    >>> Cropping2D(1)(np.ones((1, 4, 4, 1))).shape
    (1, 2, 2, 1)
    """

    config_names: ClassVar[tuple[str, ...]] = ("cropping",)

    def __init__(
        self, cropping: Sides = ((0, 0), (0, 0)), data_format: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        _check.channels_last_only("Cropping2D", data_format)
        self.cropping = _check.keras_sides("cropping", cropping)

    def make(self, shape: Shape) -> list[Module]:
        (top, bottom), (left, right) = self.cropping
        return [nn.ZeroPad2d((-left, -right, -top, -bottom), axis=-1)]


class UpSampling2D(ImageLayer):
    """Images (N, H, W, C) that are larger by whole factors.

    Parameters
    ----------
    size : int or pair of int
        The factors of the height and of the width.
    data_format : {"channels_last"}, optional
    interpolation : {"nearest", "bilinear"}
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.UpSampling2D.

    Examples
    --------
    >>> import numpy as np
    >>> UpSampling2D(2)(np.array([[[[1.0], [2.0]]]]))[0, 1, :, 0]
    array([1., 1., 2., 2.], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("size", "interpolation")

    def __init__(
        self,
        size: Size = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _check.channels_last_only("UpSampling2D", data_format)
        _check.one_of("interpolation", interpolation, ("nearest", "bilinear"))
        self.size = _check.keras_sizes("size", size, 2)
        self.interpolation = interpolation

    def make(self, shape: Shape) -> list[Module]:
        scale = tuple(float(n) for n in self.size)
        return [nn.Upsample(scale_factor=scale, mode=self.interpolation, axis=-1)]  # type: ignore[arg-type]
