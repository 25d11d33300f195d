"""Convolutions of images and of signals, channels last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from bn import _check, nn
from bn.keras import activations, initializers, regularizers
from bn.keras.layers.base import REFUSED, Layer, Size
from bn.keras.layers.padding import CausalConv1d, SameConv1d, SameConv2d, same_padding
from bn.keras.layers.weight import Arrays, Layout, Permuted
from bn.module import Module
from bn.types import Array, Shape

IMAGE_KERNEL, SIGNAL_KERNEL = Permuted(2, 3, 1, 0), Permuted(2, 1, 0)
DEPTHWISE = {"depthwise_constraint": None, "pointwise_constraint": None}


class Conv(Layer):
    """What the convolutions share: the window, the activation, the bias.

    Parameters
    ----------
    axes : int
        Of an image 2, of a signal 1.
    kernel_size, strides, dilation_rate : int or sequence of int
    padding : str
    paddings : tuple of str
        The words for it that there are.
    data_format : str or None
    activation : str, Activation or None
    use_bias : bool
    bias_initializer : str or Initializer
    bias_regularizer : str, Regularizer or None
    **options
        As in `Layer`.
    """

    def __init__(
        self,
        axes: int,
        kernel_size: Size,
        strides: Size,
        padding: str,
        paddings: tuple[str, ...],
        data_format: str | None,
        dilation_rate: Size,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        bias_regularizer: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        name = type(self).__name__
        _check.channels_last_only(name, data_format)
        _check.flag("use_bias", use_bias)
        self.kernel_size = _check.keras_sizes("kernel_size", kernel_size, axes)
        self.strides = _check.keras_sizes("strides", strides, axes)
        self.dilation_rate = _check.keras_sizes("dilation_rate", dilation_rate, axes)
        self.padding, self.use_bias = _check.keras_padding(name, padding, paddings), use_bias
        self.activation = activations.get(activation)
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.axes = axes

    def build_for(self, shapes: Any) -> None:
        _check.keras_input_rank(self.name, shapes[0], (self.axes + 2,))
        _check.keras_known_lengths(self.name, shapes[0][-1:])
        super().build_for(shapes)

    def convolution(self, inputs: int, outputs: int, groups: int, bias: bool) -> Module:
        """The layer of `bn.nn`."""
        same = self.padding == "same"
        options: dict[str, Any] = {"groups": groups, "bias": bias, "axis": -1, "dtype": self.dtype}
        sizes: Any = inputs, outputs, self.kernel_size, self.strides, 0, self.dilation_rate
        if self.axes == 2:
            return (SameConv2d if same else nn.Conv2d)(*sizes, **options)
        kind = SameConv1d if same else CausalConv1d if self.padding == "causal" else nn.Conv1d
        return kind(*sizes, **options)

    def add_bias(self, layer: Module) -> None:
        """Note the bias of a layer, if there is to be one."""
        if self.use_bias:
            self.add_weight(
                "bias", layer, "bias",
                initializer=self.bias_initializer, regularizer=self.bias_regularizer,
            )  # fmt: skip


class FullConv(Conv):
    """A convolution in which each output channel sees all input channels of its group.

    Parameters
    ----------
    axes, filters, groups : int
    kernel_initializer, kernel_regularizer : object
    **options
        As in `Conv`.
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "activation",
        "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
        "bias_regularizer",
    )  # fmt: skip

    def __init__(
        self,
        axes: int,
        filters: int,
        groups: int,
        kernel_initializer: Any,
        kernel_regularizer: Any,
        **options: Any,
    ) -> None:
        super().__init__(axes, **options)
        _check.positive_int("filters", filters)
        _check.positive_int("groups", groups)
        self.filters, self.groups = filters, groups
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)

    def numbers(self, shape: Shape) -> int:
        window = math.prod(self.kernel_size) * -(-shape[-1] // self.groups)
        return (window + 1) * self.filters

    def make(self, shape: Shape) -> list[Module]:
        layer = self.convolution(shape[-1], self.filters, self.groups, self.use_bias)
        self.add_weight(
            "kernel", layer, "weight", layout=IMAGE_KERNEL if self.axes == 2 else SIGNAL_KERNEL,
            initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
        )  # fmt: skip
        self.add_bias(layer)
        return [layer, *activations.layers_of(self.activation)]


class Conv2D(FullConv):
    """Convolution of images (N, H, W, C).

    Parameters
    ----------
    filters : int
        Output channels.
    kernel_size, strides : int or pair of int
    padding : {"valid", "same"}
        "same" gives an output for each stride, with the larger half of the zeros after the image.
    data_format : {"channels_last"}, optional
    dilation_rate : int or pair of int
    groups : int
    activation : str or Activation, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.Conv2D.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2D(16, 3, strides=2, padding="same")
    >>> layer(np.ones((1, 32, 32, 3))).shape, layer.weights[0].shape
    ((1, 16, 16, 16), (3, 3, 3, 16))
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Size = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            2, filters, groups, kernel_initializer, kernel_regularizer,
            kernel_size=kernel_size, strides=strides, padding=padding,
            paddings=("valid", "same"), data_format=data_format, dilation_rate=dilation_rate,
            activation=activation, use_bias=use_bias, bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer, **options,
        )  # fmt: skip


class Conv1D(FullConv):
    """Convolution of signals (N, L, C).

    Parameters
    ----------
    filters : int
        Output channels.
    kernel_size, strides : int
    padding : {"valid", "same", "causal"}
        "causal" puts all zeros before the signal.
    data_format : {"channels_last"}, optional
    dilation_rate : int
    groups : int
    activation : str or Activation, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.Conv1D.

    Examples
    --------
    >>> import numpy as np
    >>> Conv1D(4, 3, padding="causal")(np.ones((1, 10, 2))).shape
    (1, 10, 4)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Size = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            1, filters, groups, kernel_initializer, kernel_regularizer,
            kernel_size=kernel_size, strides=strides, padding=padding,
            paddings=("valid", "same", "causal"), data_format=data_format,
            dilation_rate=dilation_rate, activation=activation, use_bias=use_bias,
            bias_initializer=bias_initializer, bias_regularizer=bias_regularizer, **options,
        )  # fmt: skip


class DepthwiseKernel(Layout):
    """A depthwise kernel, (height, width, inputs, multiplier) in Keras.

    Parameters
    ----------
    multiplier : int

    Examples
    --------
    >>> import numpy as np
    >>> DepthwiseKernel(2).to_keras(np.zeros((6, 1, 5, 7))).shape
    (5, 7, 3, 2)
    """

    def __init__(self, multiplier: int) -> None:
        self.multiplier = multiplier

    def to_keras(self, *arrays: Array) -> Array:
        (weight,) = arrays
        return weight.reshape(-1, self.multiplier, *weight.shape[2:]).transpose(2, 3, 0, 1)

    def from_keras(self, array: Array) -> Arrays:
        return (array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2]),)


class DepthwiseConv2D(Conv):
    """Convolution of each channel of images (N, H, W, C) by itself.

    Parameters
    ----------
    kernel_size, strides : int or pair of int
    padding : {"valid", "same"}
    depth_multiplier : int
        Output channels of each input channel.
    data_format : {"channels_last"}, optional
    dilation_rate : int or pair of int
    activation : str or Activation, optional
    use_bias : bool
    depthwise_initializer, bias_initializer : str or Initializer
    depthwise_regularizer, bias_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.DepthwiseConv2D.

    Examples
    --------
    >>> import numpy as np
    >>> layer = DepthwiseConv2D(3, depth_multiplier=2)
    >>> layer(np.ones((1, 8, 8, 4))).shape, layer.weights[0].shape
    ((1, 6, 6, 8), (3, 3, 4, 2))
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "activation",
        "use_bias", "depthwise_initializer", "bias_initializer", "depthwise_regularizer",
        "bias_regularizer",
    )  # fmt: skip
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, **DEPTHWISE}

    def __init__(
        self,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Size = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            2, kernel_size, strides, padding, ("valid", "same"), data_format, dilation_rate,
            activation, use_bias, bias_initializer, bias_regularizer, **options,
        )  # fmt: skip
        _check.positive_int("depth_multiplier", depth_multiplier)
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)

    def numbers(self, shape: Shape) -> int:
        return (math.prod(self.kernel_size) + 1) * shape[-1] * self.depth_multiplier

    def depthwise(self, inputs: int, name: str, bias: bool) -> Module:
        """The layer of `bn.nn`, whose kernel is noted under a name."""
        layer = self.convolution(inputs, inputs * self.depth_multiplier, inputs, bias)
        self.add_weight(
            name, layer, "weight", layout=DepthwiseKernel(self.depth_multiplier),
            initializer=self.depthwise_initializer, regularizer=self.depthwise_regularizer,
        )  # fmt: skip
        return layer

    def make(self, shape: Shape) -> list[Module]:
        layer = self.depthwise(shape[-1], "kernel", self.use_bias)
        self.add_bias(layer)
        return [layer, *activations.layers_of(self.activation)]


class SeparableConv2D(DepthwiseConv2D):
    """A depthwise convolution and one of 1 × 1 pixels, which mixes the channels.

    Parameters
    ----------
    filters : int
        Output channels.
    kernel_size, strides : int or pair of int
    padding : {"valid", "same"}
    data_format : {"channels_last"}, optional
    dilation_rate : int or pair of int
    depth_multiplier : int
        Channels between the two, of each input channel.
    activation : str or Activation, optional
    use_bias : bool
    depthwise_initializer, pointwise_initializer, bias_initializer : str or Initializer
    depthwise_regularizer, pointwise_regularizer : str or Regularizer, optional
    bias_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.SeparableConv2D.

    Examples
    --------
    >>> import numpy as np
    >>> SeparableConv2D(5, 3, padding="same")(np.ones((1, 8, 8, 4))).shape
    (1, 8, 8, 5)
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "filters", "pointwise_initializer", "pointwise_regularizer",
        *DepthwiseConv2D.config_names,
    )  # fmt: skip

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Size = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate,
            activation, use_bias, depthwise_initializer, bias_initializer,
            depthwise_regularizer, bias_regularizer, **options,
        )  # fmt: skip
        _check.positive_int("filters", filters)
        self.filters = filters
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)

    def numbers(self, shape: Shape) -> int:
        between = shape[-1] * self.depth_multiplier
        return super().numbers(shape) + (between + 1) * self.filters

    def make(self, shape: Shape) -> list[Module]:
        depthwise = self.depthwise(shape[-1], "depthwise_kernel", False)
        pointwise = nn.Conv2d(
            shape[-1] * self.depth_multiplier, self.filters, 1,
            bias=self.use_bias, axis=-1, dtype=self.dtype,
        )  # fmt: skip
        self.add_weight(
            "pointwise_kernel", pointwise, "weight", layout=IMAGE_KERNEL,
            initializer=self.pointwise_initializer, regularizer=self.pointwise_regularizer,
        )  # fmt: skip
        self.add_bias(pointwise)
        return [depthwise, pointwise, *activations.layers_of(self.activation)]


class Trimmed(Module):
    """Images without some rows and columns at each side.

    Parameters
    ----------
    rows, columns : (int, int)
        How many before and behind.

    Examples
    --------
    >>> import numpy as np
    >>> Trimmed((1, 0), (0, 1))(np.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    array([2.])
    """

    def __init__(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        self.rows, self.columns = rows, columns

    def forward(self, x: Any) -> Any:
        (top, bottom), (left, right) = self.rows, self.columns
        return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


class Conv2DTranspose(FullConv):
    """The transpose of a convolution of images (N, H, W, C), which makes them larger.

    Parameters
    ----------
    filters : int
        Output channels.
    kernel_size, strides : int or pair of int
    padding : {"valid", "same"}
        With "same" the output is `strides` times as large as the input.
    data_format : {"channels_last"}, optional
    dilation_rate : int or pair of int
    activation : str or Activation, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not: `output_padding`, or a
        stride that is larger than the kernel.

    References
    ----------
    keras.layers.Conv2DTranspose.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2DTranspose(2, 3, strides=2, padding="same")
    >>> layer(np.ones((1, 8, 8, 4))).shape, layer.weights[0].shape
    ((1, 16, 16, 2), (3, 3, 2, 4))
    """

    config_names: ClassVar[tuple[str, ...]] = tuple(
        name for name in FullConv.config_names if name != "groups"
    )
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, "output_padding": None}

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Size = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            2, filters, 1, kernel_initializer, kernel_regularizer,
            kernel_size=kernel_size, strides=strides, padding=padding,
            paddings=("valid", "same"), data_format=data_format, dilation_rate=dilation_rate,
            activation=activation, use_bias=use_bias, bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer, **options,
        )  # fmt: skip
        _check.keras_strides_cover(self.strides, self.kernel_size)

    def make(self, shape: Shape) -> list[Module]:
        sizes: Any = {
            "kernel_size": self.kernel_size, "stride": self.strides, "dilation": self.dilation_rate,
        }  # fmt: skip
        layer = nn.ConvTranspose2d(
            shape[-1], self.filters, bias=self.use_bias, axis=-1, dtype=self.dtype, **sizes
        )
        self.add_weight(
            "kernel", layer, "weight", layout=IMAGE_KERNEL,
            initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
        )  # fmt: skip
        self.add_bias(layer)
        return [layer, *self.trimming(), *activations.layers_of(self.activation)]

    def trimming(self) -> list[Module]:
        """What "same" leaves out: the padding of the convolution that this is the transpose of."""
        if self.padding == "valid":
            return []
        sizes = zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        rows, columns = (same_padding(s, k, s, d) for k, s, d in sizes)
        return [Trimmed(rows, columns)]
