"""`InstanceNorm1d`, `InstanceNorm2d`, `InstanceNorm3d`: PyTorch's names, defaults, conventions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.functional import backward_apply, backward_reduce, normalize
from bn.groups import Groups, over_samples
from bn.layers.checked_attribute import part_of
from bn.layers.running_stats import RunningStats, updates_allowed
from bn.layers.sample_norm import SampleNorm, SampleNormalization
from bn.types import Array, Shape

_DOC = """Instance normalization of {what}, with PyTorch's conventions.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    one channel of one sample. With ``track_running_stats``, their means over the samples (of the
    unbiased variance) enter running statistics, which normalize in eval mode.

    Parameters
    ----------
    num_features : int
        The number of channels C.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    momentum : float or None, default 0.1
        The weight of the new value, from 0 to 1; None averages all batches alike.
    affine : bool, default False
        Have a trainable `weight` (ones at first) and `bias` (zeros).
    track_running_stats : bool, default False
        Keep running statistics, and normalize with them in eval mode.
    axis : int, default 1
        The channel axis; -1 for channels-last.
    dtype : dtype, default float32
        Of parameters and running statistics, float32 or float64; x may have any dtype
        that `bn.instance_norm` takes.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (C,)
    running_mean, running_var : ndarray or None, shape (C,)
    num_batches_tracked : ndarray of int64 or None, shape ()
        The number of batches. PyTorch leaves it at 0, and with ``momentum=None`` its running
        statistics never change.

    Raises
    ------
    TypeError, ValueError
        From forward: x is not {what} of a floating dtype with C channels, or a channel of a sample
        has a single value.

    References
    ----------
    Ulyanov, Vedaldi & Lempitsky, "Instance Normalization", 2016; ``torch.nn.{name}``.

    Examples
    --------
    >>> layer = {name}(3)
    >>> x = np.arange({size}, dtype=np.float32).reshape{shape}
    >>> bool(np.allclose(layer(x).mean(axis={places}), 0, atol=1e-6))
    True
    """


class _InstanceNorm(SampleNorm):
    buffer_names: ClassVar[tuple[str, ...]] = (
        "running_mean",
        "running_var",
        "num_batches_tracked",
    )
    ranks: ClassVar[tuple[int, ...]] = ()

    running_mean = part_of("running", "mean")
    running_var = part_of("running", "var")
    num_batches_tracked = part_of("running", "count")
    momentum = part_of("running", "momentum")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        axis: int = 1,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(eps, dtype)
        _check.positive_int("num_features", num_features)
        _check.flag("affine", affine)
        _check.flag("track_running_stats", track_running_stats)
        _check.integer("axis", axis)
        self.num_features, self.axis = num_features, axis
        self.affine, self.track_running_stats = affine, track_running_stats
        channels = num_features if track_running_stats else None
        self.running = RunningStats(channels, momentum=momentum, dtype=dtype)
        self.create((num_features,), affine, affine)

    def parts(self, x: Array) -> Groups:
        name = type(self).__name__
        if isinstance(x, np.ndarray):
            _check.batch_rank(name, x.ndim, self.ranks)
        axis, _ = _check.channels_of(x, self.axis, f"x of {name}")
        _check.channel_count(name, x, axis, self.num_features)
        return Groups(None, axis)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.unbatched_channels(input_shape, self.axis, self.num_features)
        _check.batch_rank(type(self).__name__, len(input_shape) + 1, self.ranks)
        return input_shape

    def forward(self, x: Array) -> Array:
        """Normalize x with the statistics of its own channels; or in eval mode the running ones.

        Parameters
        ----------
        x : ndarray

        Returns
        -------
        ndarray
        """
        parts = self.parts(x)
        self.running.settle()
        if self.track_running_stats and not self.training:
            return self._with_running(x, parts.axis)
        _check.enough_places(x, parts.axis)
        own = SampleNormalization(self, x, parts)
        y = own.array()
        if self.track_running_stats and x.size and updates_allowed():
            assert own.batch is not None
            self.running.update(over_samples(own.batch, self.num_features), self)
        self.keep(y, x, own)
        return y

    def _with_running(self, x: Array, axis: int) -> Array:
        mean, var = self.running.mean, self.running.var
        assert mean is not None and var is not None
        y = normalize(x, mean, var, *self.affine_arrays(), self.eps, axis=axis)
        self.keep(y, x, (axis, mean.copy(), var.copy()))  # a later batch changes them in place
        return y

    def defer(self, x: Array, **options: Any) -> SampleNormalization | None:
        if self.track_running_stats or options:
            return None
        _check.enough_places(x, self.parts(x).axis)
        return super().defer(x)

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to their ``grad``."""
        x, call = self.take(dy)
        if isinstance(call, SampleNormalization):
            return call.input_gradient(dy)
        axis, mean, var = call
        sums = backward_reduce(dy, x, mean, axis=axis)
        self.add_gradients(sums.dweight(var, self.eps), sums.dbias)
        return backward_apply(dy, x, mean, var, self.affine_arrays()[0], self.eps, axis=axis)

    def attribute_dicts(self) -> list[dict[str, Any]]:
        return [vars(self), vars(self.running)]

    def further_state(self) -> dict[str, Array]:
        return self.running.further_state()

    def loading(self, names: set[str]) -> list[tuple[Array, Array]]:
        parts = {"running_mean": "mean", "running_var": "var", "num_batches_tracked": "count"}
        return self.running.loading({part for name, part in parts.items() if name in names})

    def extra_repr(self) -> str:
        text = (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )
        return text if self.axis == 1 else f"{text}, axis={self.axis}"


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _DOC.format(
        what="(N, C, L)", name="InstanceNorm1d", shape="(2, 3, 4)", size=24, places="2"
    )
    ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _DOC.format(
        what="(N, C, H, W)", name="InstanceNorm2d", shape="(2, 3, 2, 2)", size=24, places="(2, 3)"
    )
    ranks = (4,)


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _DOC.format(
        what="(N, C, D, H, W)", name="InstanceNorm3d", shape="(2, 3, 2, 2, 1)", size=24,
        places="(2, 3, 4)",
    )  # fmt: skip
    ranks = (5,)
