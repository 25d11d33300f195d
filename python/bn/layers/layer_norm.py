"""`LayerNorm` and `RMSNorm`, with PyTorch's arguments, and Keras's `LayerNormalization`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.layers.initializers import Initializer
from bn.layers.keras_sample_norm import KerasSampleNorm
from bn.layers.sample_norm import SampleNorm
from bn.rows import Rows, eps_of
from bn.types import Array, Shape


class _LastAxes(SampleNorm):
    """Normalization of the last axes of x, of known lengths."""

    about_zero: ClassVar[bool] = False
    normalized_shape: tuple[int, ...]

    def parts(self, x: Array) -> Rows:
        _check.ends_in(x, self.normalized_shape)
        return Rows(math.prod(self.normalized_shape), self.about_zero)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.shape_ends_in(type(self).__name__, input_shape, self.normalized_shape)
        return input_shape


class LayerNorm(_LastAxes):
    """Layer normalization, with the arguments of ``torch.nn.LayerNorm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    the last axes of x, for each of the others. It is the same in training and in evaluation, and on
    any number of ranks, so that it needs no `bn.synchronize`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the axes that are normalized.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    elementwise_affine : bool, default True
        Have a trainable `weight` (ones at first) and `bias` (zeros).
    bias : bool, default True
        With ``elementwise_affine``: False has a weight but no bias.
    dtype : dtype, default float32
        Of the parameters, float32 or float64; x may have any dtype that `bn.layer_norm` takes.

    Attributes
    ----------
    weight, bias : Parameter or None, shape `normalized_shape`

    Raises
    ------
    TypeError, ValueError
        From forward: x is not of a floating dtype, or its last axes have other lengths.

    References
    ----------
    Ba, Kiros & Hinton, "Layer Normalization", 2016; ``torch.nn.LayerNorm``.

    Examples
    --------
    >>> layer = LayerNorm(4)
    >>> layer(np.array([[1.0, 1.0, 3.0, 3.0]])).round(3)
    array([[-1., -1.,  1.,  1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(eps, dtype)
        _check.flag("elementwise_affine", elementwise_affine)
        _check.flag("bias", bias)
        self.normalized_shape = _check.normalized_shape(normalized_shape)
        self.elementwise_affine = elementwise_affine
        self.create(self.normalized_shape, elementwise_affine, elementwise_affine and bias)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_LastAxes):
    """RMS normalization, with the arguments of ``torch.nn.RMSNorm``.

    ``y = x / sqrt(mean(x²) + eps) · weight``, where the mean is over the last axes of x.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the axes that are normalized.
    eps : float or None
        Added to the mean square; None: see `bn.rms_norm`.
    elementwise_affine : bool, default True
        Have a trainable `weight` (ones at first).
    dtype : dtype, default float32
        Of the weight, float32 or float64; x may have any dtype that `bn.rms_norm` takes.

    Attributes
    ----------
    weight : Parameter or None, shape `normalized_shape`

    Raises
    ------
    TypeError, ValueError
        From forward: x is not of a floating dtype, or its last axes have other lengths.

    References
    ----------
    Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019; ``torch.nn.RMSNorm``.

    Examples
    --------
    >>> RMSNorm(4, eps=0.0)(np.array([[3.0, 4.0, 0.0, 0.0]]))
    array([[1.2, 1.6, 0. , 0. ]])
    """

    about_zero = True
    eps: float | None  # type: ignore[assignment]

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(0.0 if eps is None else eps, dtype)
        _check.flag("elementwise_affine", elementwise_affine)
        self.eps = eps
        self.normalized_shape = _check.normalized_shape(normalized_shape)
        self.elementwise_affine = elementwise_affine
        self.create(self.normalized_shape, elementwise_affine, False)

    def eps_for(self, x: Array) -> float:
        return eps_of(self.eps, x)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LayerNormalization(KerasSampleNorm):
    """Layer normalization, with the arguments of ``keras.layers.LayerNormalization``.

    ``y = (x - mean) / sqrt(var + epsilon) · gamma + beta``, where mean and var (biased) are those
    of the axes in `axis`, for each of the others. The lengths of these axes are learned from the
    first input, or from `build`.

    Parameters
    ----------
    axis : int or sequence of int, default -1
        The axes that are normalized, without that of the samples.
    epsilon : float, default 1e-3
        Added to the variance; at least 0.
    center, scale : bool, default True
        Have a trainable `beta`; a trainable `gamma`.
    beta_initializer, gamma_initializer : str or callable, default "zeros", "ones"
        "zeros", "ones", or a function of (shape, dtype) that returns an array.
    dtype : dtype, default float32
        Of the parameters, float32 or float64.

    Attributes
    ----------
    gamma, beta : Parameter or None
        Their shape is `lengths`.
    lengths : tuple of int or None
        The lengths of the axes, in rising order; None before `build`.

    Raises
    ------
    TypeError, ValueError
        From forward: x is not of a floating dtype, or its axes have not the lengths of before.

    References
    ----------
    Ba, Kiros & Hinton, "Layer Normalization", 2016; ``keras.layers.LayerNormalization``.

    Examples
    --------
    >>> layer = LayerNormalization(epsilon=0.0)
    >>> layer(np.array([[1.0, 1.0, 3.0, 3.0]]))
    array([[-1., -1.,  1.,  1.]])
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(epsilon, center, scale, beta_initializer, gamma_initializer, dtype)
        self.axis = _check.axes("axis", axis)
        self.lengths: Shape | None = None

    @property
    def built(self) -> bool:
        return self.lengths is not None

    def build(self, input_shape: Shape) -> None:
        axes = self._front((1, *_check.shape_tuple("input_shape", input_shape)))
        self._learn(tuple(input_shape[axis - 1] for axis in axes))

    def output_shape(self, input_shape: Shape) -> Shape:
        self._front((1, *_check.shape_tuple("input_shape", input_shape)))
        return input_shape

    def parts(self, x: Array) -> Rows:
        _check.data(x, -1, "x of LayerNormalization")
        axes = self._front(x.shape)
        lengths = tuple(x.shape[axis] for axis in axes)
        if self.lengths is not None:
            _check.axis_lengths("LayerNormalization", x.shape, axes, self.lengths)
        self._learn(lengths)
        last = axes == tuple(range(x.ndim - len(axes), x.ndim))
        return Rows(math.prod(lengths), axes=None if last else axes)

    def _front(self, shape: Shape) -> tuple[int, ...]:
        """The axes, counted from the front, in rising order."""
        return _check.sample_axes("axis", self.axis, len(shape))

    def _learn(self, lengths: Shape) -> None:
        if self.lengths is None:
            self.create(lengths, self.scale, self.center, lengths=lengths)

    def extra_repr(self) -> str:
        axis = self.axis[0] if len(self.axis) == 1 else list(self.axis)
        return f"axis={axis}, epsilon={self.epsilon}, center={self.center}, scale={self.scale}"
