"""`ConvNd`: what the layers of convolutions share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._core import core
from bn.nn.conv_strategy import strategy
from bn.nn.init import Rng
from bn.nn.weighted import Weighted
from bn.nn.window import Pair, Window
from bn.types import Array, Gradient


class ConvNd(Weighted):
    """What `Conv1d`, `Conv2d` and `ConvTranspose2d` share: the channels, the repr, the gradients.

    Parameters
    ----------
    in_channels : int or None
    out_channels, groups : int
    bias : bool
    axis : {1, -1}
    dtype : dtype_like
    rng : int, Generator or None

    Attributes
    ----------
    kernel_size, stride, dilation, output_padding : tuple of int
    padding : tuple of int, or a word

    Examples
    --------
    >>> from bn import nn
    >>> nn.Conv2d(1, 2, 3, groups=1)
    Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))
    """

    kept_names = ("x",)
    output_padding: tuple[int, ...] = ()
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        groups: int,
        bias: bool,
        axis: int,
        dtype: DTypeLike,
        rng: Rng,
    ) -> None:
        _check.optional_positive_int("in_channels", in_channels)
        _check.positive_int("out_channels", out_channels)
        _check.groups(groups, in_channels, out_channels)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.axis = axis
        super().__init__(out_channels, bias, dtype, rng)

    @property
    def window(self) -> Window:
        """How the kernel moves over an image."""
        raise NotImplementedError

    def window_on(self, size: Pair) -> Window:
        """`window` for images of `size`; a layer may choose the padding by it."""
        return self.window

    def backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        """The gradient of x, or None with ``input_grad=False``; those of the parameters are added.

        Parameters
        ----------
        dy : ndarray
            The gradient of the output.
        input_grad : bool
            False leaves the gradient of x out.

        Returns
        -------
        ndarray or None
            In x's order in memory.
        """
        _check.flag("input_grad", input_grad)
        (x,) = self.take(dy)
        return self.gradients(x, dy, input_grad)

    def gradients(self, x: Array, dy: Array, input_grad: bool) -> Gradient:
        """`backward`, for an input x."""
        weight, bias = self.parameters_as(x.dtype)
        dx = core.empty(x.shape, x.dtype, x) if input_grad else None
        dbias: Array | None = None if bias is None else np.empty(bias.shape, x.dtype)
        images, dout = self.as_images(x), self.as_images(dy)
        dimages = None if dx is None else self.as_images(dx)
        way = strategy().convolve_backward
        window = self.window_on((images.shape[2], images.shape[3]))
        dweight = way(images, self.kernel_of(weight), window, dout, dimages, dbias)
        self.weight.accumulate(dweight.reshape(weight.shape), copy=False)
        if self.bias is not None and dbias is not None:
            self.bias.accumulate(dbias, copy=False)
        return dx

    def parameters_as(self, dtype: np.dtype[Any]) -> tuple[Array, Array | None]:
        """The weight and the bias in the dtype of the images."""
        bias = None if self.bias is None else self.bias.data.astype(dtype, copy=False)
        return self.weight.data.astype(dtype, copy=False), bias

    def kernel_of(self, weight: Array) -> Array:
        """The weight with four axes."""
        return weight if weight.ndim == 4 else weight[:, :, None]

    def as_images(self, x: Array) -> Array:
        """A view of inputs or outputs of the shape (N, C, H, W)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        text += f", padding={self.padding}" * (isinstance(self.padding, str) or any(self.padding))
        text += f", dilation={self.dilation}" * any(d != 1 for d in self.dilation)
        text += f", output_padding={self.output_padding}" * any(self.output_padding)
        text += f", groups={self.groups}" * (self.groups != 1)
        text += ", bias=False" * (not self.has_bias)
        return text + f", axis={self.axis}" * (self.axis != 1)


@lru_cache(1024)
def window_of(kernel: Pair, stride: Pair, padding: Pair | str, dilation: Pair) -> Window:
    """How a kernel moves over an image, with the padding in pixels.

    Parameters
    ----------
    kernel, stride, dilation : (int, int)
    padding : (int, int), "same" or "valid"

    Returns
    -------
    Window

    Examples
    --------
    >>> window_of((2, 3), (1, 1), "same", (1, 1)).before
    (0, 1)
    """
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = (total[0] // 2, total[1] // 2)
        after = (total[0] - before[0], total[1] - before[1])
    else:
        before = after = (0, 0) if isinstance(padding, str) else padding
    return Window(kernel, stride, before, after, dilation)
