"""`GroupNorm`, with PyTorch's arguments, and Keras's `GroupNormalization`."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.groups import Groups
from bn.layers.initializers import Initializer
from bn.layers.keras_sample_norm import KerasSampleNorm
from bn.layers.sample_norm import SampleNorm
from bn.types import Array, Shape


class GroupNorm(SampleNorm):
    """Group normalization, with the arguments of ``torch.nn.GroupNorm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    num_channels / num_groups adjoining channels of a sample. It is the same in training and in
    evaluation, and on any number of ranks, so that it needs no `bn.synchronize`.

    Parameters
    ----------
    num_groups : int
        Divides `num_channels`.
    num_channels : int
        The number of channels C.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    affine : bool, default True
        Have a trainable `weight` (ones at first) and `bias` (zeros).
    axis : int, default 1
        The channel axis; -1 for channels-last.
    dtype : dtype, default float32
        Of the parameters, float32 or float64; x may have any dtype that `bn.group_norm` takes.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (C,)

    Raises
    ------
    TypeError, ValueError
        From forward: x is not of a floating dtype with C channels.

    References
    ----------
    Wu & He, "Group Normalization", 2018; ``torch.nn.GroupNorm``.

    Examples
    --------
    >>> layer = GroupNorm(2, 4)
    >>> layer(np.array([[1.0, 3.0, 10.0, 30.0]])).round(3)
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        axis: int = 1,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(eps, dtype)
        _check.positive_int("num_channels", num_channels)
        _check.channel_groups(num_groups, num_channels)
        _check.flag("affine", affine)
        _check.integer("axis", axis)
        self.num_groups, self.num_channels, self.axis = num_groups, num_channels, axis
        self.affine = affine
        self.create((num_channels,), affine, affine)

    def parts(self, x: Array) -> Groups:
        axis, _ = _check.channels_of(x, self.axis, "x of GroupNorm")
        _check.channel_count("GroupNorm", x, axis, self.num_channels)
        return Groups(self.num_groups, axis)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.unbatched_channels(input_shape, self.axis, self.num_channels)
        return input_shape

    def extra_repr(self) -> str:
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return text if self.axis == 1 else f"{text}, axis={self.axis}"


class GroupNormalization(KerasSampleNorm):
    """Group normalization, with the arguments of ``keras.layers.GroupNormalization``.

    ``y = (x - mean) / sqrt(var + epsilon) · gamma + beta``, where mean and var (biased) are those
    of C / groups adjoining channels of a sample. The number of channels C is learned from the first
    input, or from `build`.

    Parameters
    ----------
    groups : int, default 32
        Divides C; -1 stands for C, instance normalization.
    axis : int, default -1
        The channel axis.
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
    gamma, beta : Parameter or None, shape (C,)

    Raises
    ------
    TypeError, ValueError
        From forward: x is not of a floating dtype, or its channels are not divided by `groups`.

    References
    ----------
    Wu & He, "Group Normalization", 2018; ``keras.layers.GroupNormalization``.

    Examples
    --------
    >>> layer = GroupNormalization(groups=2, epsilon=0.0)
    >>> layer(np.array([[1.0, 3.0, 10.0, 30.0]]))
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(epsilon, center, scale, beta_initializer, gamma_initializer, dtype)
        _check.group_count("groups", groups)
        _check.integer("axis", axis)
        self.groups, self.axis = groups, axis
        self.channels: int | None = None

    @property
    def built(self) -> bool:
        return self.channels is not None

    def build(self, input_shape: Shape) -> None:
        self._learn(_check.unbatched_channels(input_shape, self.axis, self.channels))

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.unbatched_channels(input_shape, self.axis, self.channels)
        return input_shape

    def parts(self, x: Array) -> Groups:
        axis, channels = _check.channels_of(x, self.axis, "x of GroupNormalization")
        if self.channels is not None:
            _check.channel_count("GroupNormalization", x, axis, self.channels)
        self._learn(channels)
        return Groups(None if self.groups == -1 else self.groups, axis)

    def _learn(self, channels: int) -> None:
        if self.channels is None:
            if self.groups != -1:
                _check.channel_groups(self.groups, channels, "groups")
            self.create((channels,), self.scale, self.center, channels=channels)

    def extra_repr(self) -> str:
        return (
            f"groups={self.groups}, axis={self.axis}, epsilon={self.epsilon}, "
            f"center={self.center}, scale={self.scale}"
        )
