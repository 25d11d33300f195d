"""Poolings of images and of signals, channels last."""

from __future__ import annotations

from typing import Any, ClassVar

from bn import _check, nn
from bn.keras.layers import padding as padded
from bn.keras.layers.base import Layer, Size
from bn.module import Module
from bn.types import Shape


class Pooling(Layer):
    """The windows that the poolings share.

    Parameters
    ----------
    pool_size : int or sequence of int
        The size of a window.
    strides : int or sequence of int, optional
        From one window to the next; None for `pool_size`.
    padding : {"valid", "same"}
        "same" gives a window for each stride; what lies beyond the image does not count.
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.
    """

    config_names: ClassVar[tuple[str, ...]] = ("pool_size", "strides", "padding")
    axes: ClassVar[int]
    valid: ClassVar[Any]
    same: ClassVar[Any]

    def __init__(
        self,
        pool_size: Size = 2,
        strides: Size | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        name = type(self).__name__
        _check.channels_last_only(name, data_format)
        self.pool_size = _check.keras_sizes("pool_size", pool_size, self.axes)
        given = self.pool_size if strides is None else strides
        self.strides = _check.keras_sizes("strides", given, self.axes)
        self.padding = _check.keras_padding(name, padding, ("valid", "same"))

    def build_for(self, shapes: Any) -> None:
        _check.keras_input_rank(self.name, shapes[0], (self.axes + 2,))
        super().build_for(shapes)

    def make(self, shape: Shape) -> list[Module]:
        kind = self.same if self.padding == "same" else self.valid
        return [kind(self.pool_size, self.strides, axis=-1, **self.further())]

    def further(self) -> dict[str, Any]:
        """Further arguments of the layer of `bn.nn`."""
        return {}


class MeanPooling(Pooling):
    """The poolings in whose means only what is inside the image counts."""

    def further(self) -> dict[str, Any]:
        return {"count_include_pad": False}


class MaxPooling2D(Pooling):
    """The maximum of each window of images (N, H, W, C).

    Parameters
    ----------
    pool_size : int or pair of int
    strides : int or pair of int, optional
        None for `pool_size`.
    padding : {"valid", "same"}
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.MaxPooling2D.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPooling2D(3, 2, padding="same")(np.ones((1, 7, 8, 2))).shape
    (1, 4, 4, 2)
    """

    axes, valid, same = 2, nn.MaxPool2d, padded.SameMaxPool2d


class AveragePooling2D(MeanPooling):
    """The mean of each window of images (N, H, W, C).

    Parameters
    ----------
    pool_size : int or pair of int
    strides : int or pair of int, optional
        None for `pool_size`.
    padding : {"valid", "same"}
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.AveragePooling2D.

    Examples
    --------
    >>> import numpy as np
    >>> AveragePooling2D()(np.ones((1, 8, 8, 2))).shape
    (1, 4, 4, 2)
    """

    axes, valid, same = 2, nn.AvgPool2d, padded.SameAvgPool2d


class MaxPooling1D(Pooling):
    """The maximum of each window of signals (N, L, C).

    Parameters
    ----------
    pool_size : int
    strides : int, optional
        None for `pool_size`.
    padding : {"valid", "same"}
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.MaxPooling1D.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPooling1D()(np.ones((1, 8, 2))).shape
    (1, 4, 2)
    """

    axes, valid, same = 1, nn.MaxPool1d, padded.SameMaxPool1d


class AveragePooling1D(MeanPooling):
    """The mean of each window of signals (N, L, C).

    Parameters
    ----------
    pool_size : int
    strides : int, optional
        None for `pool_size`.
    padding : {"valid", "same"}
    data_format : {"channels_last"}, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.AveragePooling1D.

    Examples
    --------
    >>> import numpy as np
    >>> AveragePooling1D()(np.ones((1, 8, 2))).shape
    (1, 4, 2)
    """

    axes, valid, same = 1, nn.AvgPool1d, padded.SameAvgPool1d


class GlobalPooling(Layer):
    """What the poolings of whole images and signals share.

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
        Whether the axes that are pooled stay, with the length 1.
    **options
        As in `Layer`.
    """

    config_names: ClassVar[tuple[str, ...]] = ("keepdims",)
    axes: ClassVar[int]
    pool: ClassVar[Any]

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        _check.channels_last_only(type(self).__name__, data_format)
        _check.flag("keepdims", keepdims)
        self.keepdims = keepdims

    def build_for(self, shapes: Any) -> None:
        _check.keras_input_rank(self.name, shapes[0], (self.axes + 2,))
        super().build_for(shapes)

    def make(self, shape: Shape) -> list[Module]:
        pool = self.pool(1, axis=-1)
        return [pool] if self.keepdims else [pool, nn.Flatten()]


class GlobalAveragePooling2D(GlobalPooling):
    """The mean of each channel of images (N, H, W, C).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.GlobalAveragePooling2D.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAveragePooling2D()(np.ones((1, 8, 8, 2)))
    array([[1., 1.]], dtype=float32)
    """

    axes, pool = 2, padded.GlobalAvgPool2d


class GlobalMaxPooling2D(GlobalPooling):
    """The maximum of each channel of images (N, H, W, C).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.GlobalMaxPooling2D.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalMaxPooling2D()(np.ones((1, 8, 8, 2)))
    array([[1., 1.]], dtype=float32)
    """

    axes, pool = 2, padded.GlobalMaxPool2d


class GlobalAveragePooling1D(GlobalPooling):
    """The mean of each channel of signals (N, L, C).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.GlobalAveragePooling1D.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAveragePooling1D()(np.ones((1, 8, 2)))
    array([[1., 1.]], dtype=float32)
    """

    axes, pool = 1, padded.GlobalAvgPool1d


class GlobalMaxPooling1D(GlobalPooling):
    """The maximum of each channel of signals (N, L, C).

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.GlobalMaxPooling1D.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalMaxPooling1D()(np.ones((1, 8, 2)))
    array([[1., 1.]], dtype=float32)
    """

    axes, pool = 1, padded.GlobalMaxPool1d
