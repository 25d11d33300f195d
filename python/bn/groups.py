"""Group and instance normalization: channels of a sample, some together, have own statistics."""

from __future__ import annotations

import numpy as np
from numpy import float64

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.functional import normalize
from bn.rows import NO_EPILOGUE, Gradients, no_gradients, no_values, stats_of
from bn.statistics import Stats, commit_moments
from bn.types import Array, Doubles


class Groups:
    """How groups of channels are normalized in each sample, and the gradients of it.

    Parameters
    ----------
    groups : int or None
        How many groups of adjoining channels there are; None: each channel is one.
    axis : int
        The channel axis, counted from the front; the samples are on axis 0.

    Examples
    --------
    >>> x = np.array([[[1.0, 3.0], [5.0, 7.0]]])
    >>> y, batch = Groups(1, 1).forward(x, None, None, 0.0)
    >>> batch.mean, batch.var
    (array([4.]), array([5.]))
    """

    def __init__(self, groups: int | None, axis: int) -> None:
        self.groups, self.axis = groups, axis

    def forward(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        residual: Array | None = None,
        epilogue: tuple[int, float] = NO_EPILOGUE,
    ) -> tuple[Array, Stats]:
        """Normalize x.

        Parameters
        ----------
        x : ndarray
            Samples with channels.
        weight, bias : ndarray of shape (C,), or None
        eps, residual, epilogue
            As in `Rows.forward`.

        Returns
        -------
        y : ndarray
            In x's order of axes in memory if the channels are its first axis or its last one there.
        batch : Stats
            Of each group of each sample, N·G values.
        """
        channels = x.shape[self.axis]
        groups = self._number(channels)
        if x.size == 0:
            return core.empty_like(x), no_values(len(x) * groups)
        planar, span = self._planar(x), channels // groups
        view = self._rows if planar else self._samples
        added = None if residual is None else view(residual)
        if planar:
            y, *moments = core.forward_rows(
                view(x), span, weight, bias, None, None, eps, False, None, added, *epilogue
            )
        else:
            y, *moments = core.forward_samples(
                view(x), span, weight, bias, eps, None, added, *epilogue
            )
        return self._like(y, x, planar), stats_of(*moments)

    def backward(
        self,
        dy: Array,
        x: Array,
        batch: Stats,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        y: Array | None = None,
        epilogue: tuple[int, float] = NO_EPILOGUE,
        residual: bool = False,
    ) -> Gradients:
        """The gradients for dy, that of the output.

        Parameters
        ----------
        dy, x, batch, weight, bias, eps, y, epilogue, residual
            As in `Rows.backward`.

        Returns
        -------
        Gradients
        """
        channels = x.shape[self.axis]
        groups = self._number(channels)
        if x.size == 0:
            return no_gradients(x, (channels,), residual)
        planar = self._planar(x)
        view = self._rows if planar else self._samples
        images = view(x)
        g = core.empty_like(images) if residual else None
        span, moments = channels // groups, (batch.mean, batch.var)
        activated = None if y is None else view(y)
        if planar:
            dx, sums, products, _, _ = core.backward_rows(
                view(dy), images, span, *moments, weight, bias, None, None, eps, batch.count,
                False, False, None, activated, g, *epilogue,
            )  # fmt: skip
        else:
            dx, sums, products = core.backward_samples(
                view(dy), images, span, *moments, weight, bias, eps, batch.count,
                None, activated, g, *epilogue,
            )  # fmt: skip
        rstd = core.rstd(batch.var, eps).reshape(len(x), groups, 1)
        dweight = (products.reshape(len(x), groups, span) * rstd).sum(axis=0).reshape(channels)
        dbias = sums.reshape(len(x), channels).sum(axis=0)
        dresidual = None if g is None else self._like(g, x, planar)
        return Gradients(self._like(dx, x, planar), dresidual, dweight, dbias)

    def _number(self, channels: int) -> int:
        return channels if self.groups is None else self.groups

    def _planar(self, x: Array) -> bool:
        """Whether the kernels take x with its channels in front; else they are last in memory."""
        if np.moveaxis(x, self.axis, 1).flags.c_contiguous:
            return True
        return not np.moveaxis(x, self.axis, -1).flags.c_contiguous

    def _rows(self, a: Array) -> Array:
        """The channels of all samples, (N·C, L)."""
        planes = np.require(np.moveaxis(a, self.axis, 1), requirements=("C", "A"))
        return planes.reshape(planes.shape[0] * planes.shape[1], -1)

    def _samples(self, a: Array) -> Array:
        """The samples, (N, L, C)."""
        images = np.require(np.moveaxis(a, self.axis, -1), requirements=("C", "A"))
        return images.reshape(images.shape[0], -1, images.shape[-1])

    def _like(self, a: Array, x: Array, planar: bool) -> Array:
        """What has the shape of `_rows` or `_samples`, in the shape of x."""
        moved = 1 if planar else x.ndim - 1
        shape = np.moveaxis(x, self.axis, moved).shape
        return np.moveaxis(a.reshape(shape), moved, self.axis)


@takes_arrays
def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    axis: int = 1,
) -> Array:
    """Group normalization, with the arguments of ``torch.nn.functional.group_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    C / num_groups adjoining channels of a sample. It is the same in training and in evaluation.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64, at least 2 axes
        Samples, on axis 0, with C channels: (N, C, ...), or (N, ..., C) with ``axis=-1``.
    num_groups : int
        Divides C.
    weight, bias : ndarray of float32 or float64, shape (C,), optional
        Scale and shift; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    axis : int, default 1
        The channel axis.

    Returns
    -------
    ndarray
        With x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above.

    References
    ----------
    Wu & He, "Group Normalization", 2018.

    Examples
    --------
    >>> group_norm(np.array([[[1.0], [3.0], [10.0], [30.0]]]), 2, eps=0.0).ravel()
    array([-1.,  1., -1.,  1.])
    """
    axis, channels = _check.channels_of(x, axis)
    _check.channel_groups(num_groups, channels)
    _check.optional_of_shape("weight", weight, (channels,))
    _check.optional_of_shape("bias", bias, (channels,))
    _check.eps(eps)
    _check.enough_in_groups(x, num_groups)
    return Groups(int(num_groups), axis).forward(x, weight, bias, eps)[0]


@takes_arrays
def instance_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    axis: int = 1,
) -> Array:
    """Instance normalization, with the arguments of ``torch.nn.functional.instance_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    one channel of one sample. Running statistics, if given, are updated in place with the means
    over the samples of mean and of the unbiased variance.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64, at least 3 axes
        Samples, on axis 0, with C channels: (N, C, ...), or (N, ..., C) with ``axis=-1``.
    running_mean, running_var : ndarray of float32 or float64, shape (C,), or None
        Running statistics; both or neither.
    weight, bias : ndarray of float32 or float64, shape (C,), optional
        Scale and shift; None stands for 1 and 0.
    use_input_stats : bool, default True
        False normalizes with the running statistics, and leaves them as they are.
    momentum : float, default 0.1
        The weight of the new value.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    axis : int, default 1
        The channel axis.

    Returns
    -------
    ndarray
        With x's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or a value is not as above; a channel of a sample has a single value.

    References
    ----------
    Ulyanov, Vedaldi & Lempitsky, "Instance Normalization", 2016.

    Examples
    --------
    >>> instance_norm(np.array([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    axis, channels = _check.channels_of(x, axis)
    _check.flag("use_input_stats", use_input_stats)
    _check.running_pair(running_mean, running_var, needed=not use_input_stats)
    vectors = {"weight": weight, "bias": bias, "running_mean": running_mean}
    for name, vector in {**vectors, "running_var": running_var}.items():
        _check.optional_of_shape(name, vector, (channels,))
    _check.finite("momentum", momentum)
    _check.eps(eps)
    if not use_input_stats:
        assert running_mean is not None and running_var is not None
        return normalize(x, running_mean, running_var, weight, bias, eps, axis=axis)
    _check.enough_places(x, axis)
    if running_mean is not None and running_var is not None:
        _check.writeable("running_mean", running_mean)
        _check.writeable("running_var", running_var)
    y, batch = Groups(None, axis).forward(x, weight, bias, eps)
    if running_mean is not None and running_var is not None and x.size:
        mean_of_samples = over_samples(batch, channels)
        commit_moments(
            mean_of_samples, running_mean, running_var, momentum, unbiased=True, nonfinite="skip"
        )
    return y


def over_samples(batch: Stats, channels: int) -> Stats:
    """The means over all samples of the moments of their channels, as the moments of one.

    Parameters
    ----------
    batch : Stats
        Of each channel of each sample, N·C values.
    channels : int
        C.

    Returns
    -------
    Stats
        Of C channels, with the count of a single sample. It is what enters running statistics: the
        mean of the samples' variances is not the variance of all their values.

    Examples
    --------
    >>> x = np.array([[[1.0, 3.0]], [[10.0, 10.0]]])
    >>> over_samples(Groups(None, 1).forward(x, None, None, 0.0)[1], 1).var
    array([0.5])
    """
    if batch.count.size == 0:
        return no_values(channels)

    def mean(values: Doubles) -> Doubles:
        means: Doubles = values.reshape(-1, channels).mean(axis=0, dtype=float64)
        return means

    return Stats(mean(batch.count), mean(batch.mean), mean(batch.m2))
