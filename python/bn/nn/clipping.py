"""`clip_grad_norm`: gradients that are too long are shortened."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from bn import _check
from bn._core import core
from bn.module import Module
from bn.nn.blocks import BLOCK_BYTES
from bn.nn.reduction import in_order
from bn.parameter import Parameter
from bn.types import Array

# Below this, powers of some gradients may have become 0 although they count.
SMALLEST_SUM = 1e-280
SMALL_BYTES = 2**16  # a gradient of so many bytes takes less time than a call of NumPy for it alone


def clip_grad_norm(
    params: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    r"""Multiply all gradients by one factor, so that their norm is at most `max_norm`.

    The norm is that of one vector g of all gradients, :math:`(\sum_i |g_i|^p)^{1/p}` with p the
    `norm_type`. The factor is :math:`\min(1, c / (\lVert g \rVert_p + 10^{-6}))` with c the
    `max_norm`.

    Parameters
    ----------
    params : iterable of Parameter, or a Parameter
        For instance ``model.parameters()``. Those without a gradient are left out. The gradients
        are changed in place.
    max_norm : float
        The largest norm; with ``numpy.inf`` the gradients stay as they are.
    norm_type : float
        p, above 0; ``numpy.inf`` for the largest absolute value.
    error_if_nonfinite : bool
        Whether a norm that is infinite or NaN is an error.

    Returns
    -------
    float
        The norm that the gradients had.

    Raises
    ------
    ValueError
        A number is out of range, there are no parameters, one is given twice, or a gradient does
        not have its parameter's shape or cannot be written. The gradients are unchanged.
    TypeError
        `params` holds something else, or a gradient does not have its parameter's dtype.
    RuntimeError
        The norm is infinite or NaN, and `error_if_nonfinite` is true. The gradients are unchanged.

    Notes
    -----
    The norm is computed in float64, whatever the gradients' dtype, and it neither overflows nor
    underflows where its value is a float64. The number of threads does not change its bits.

    If the norm is not finite, the gradients become what they become in PyTorch: after a NaN all of
    them are NaN. If some are infinite, these are NaN and all others 0.

    References
    ----------
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013;
    ``torch.nn.utils.clip_grad_norm_``.

    Examples
    --------
    >>> p = Parameter(np.zeros(2))
    >>> p.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm([p], max_norm=1.0), p.grad.round(4)
    (5.0, array([0.6, 0.8]))
    """
    grads = _gradients(params)
    _check.max_norm(max_norm)
    _check.norm_type(norm_type)
    _check.flag("error_if_nonfinite", error_if_nonfinite)
    with np.errstate(all="ignore"):  # the norm tells of what is not finite
        norm = _norm(_runs(grads), float(norm_type))
        if error_if_nonfinite and not math.isfinite(norm):
            raise RuntimeError(f"the norm of all gradients must be finite, got {norm}")
        factor = math.inf if max_norm == math.inf else max_norm / (norm + 1e-6)
        if not factor >= 1:  # NaN, too
            for grad in grads:
                _scale(grad, factor)
    return norm


def _gradients(params: Parameter | Iterable[Parameter]) -> list[Array]:
    """The gradients that there are, all of which can be changed."""
    _check.no_module("params", params, Module)
    if isinstance(params, Parameter):
        params = [params]
    _check.several("params", params)
    params = list(params)
    _check.parameters(params, Parameter, "clip_grad_norm")
    _check.gradients(params)
    grads = [p.grad for p in params if p.grad is not None]
    for grad in grads:
        _check.writeable("every gradient", grad)
    return grads


def _runs(grads: list[Array]) -> list[Array]:
    """All gradients as arrays with one axis; the small ones are one array together, in float64."""
    small = [grad.ravel("K") for grad in grads if grad.nbytes <= SMALL_BYTES]
    runs = [core.runs(grad)[0] for grad in grads if grad.nbytes > SMALL_BYTES]
    if small:
        runs.append(np.concatenate(small, dtype=np.float64))
    return runs


def _norm(runs: list[Array], p: float) -> float:
    if p != math.inf:
        total = sum(_power_sum(values, p, 1.0) for values in runs)
        if SMALLEST_SUM < total < math.inf:
            return float(total ** (1 / p))
    largest = float(np.max([_largest(values) for values in runs], initial=0))
    if p == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    # The powers were too large or too small for float64. Those of the quotients are not.
    total = sum(_power_sum(values, p, largest) for values in runs)
    return float(largest * total ** (1 / p))


def _power_sum(values: Array, p: float, unit: float) -> np.float64:
    """The sum of ``|g / unit|**p``, in float64."""
    sums = {}

    def block(begin: int, end: int) -> None:
        part = values[begin:end].astype(np.float64)
        if unit != 1:
            part /= unit
        if p == 2:
            np.square(part, out=part)
        else:
            np.abs(part, out=part)
            part **= p
        sums[begin] = np.sum(part)

    core.in_blocks(block, values.size, BLOCK_BYTES // values.itemsize)
    return in_order(sums)


def _largest(values: Array) -> float:
    """The largest absolute value; NaN if there is one."""
    found = {}

    def block(begin: int, end: int) -> None:
        found[begin] = np.abs(values[begin:end]).max(initial=0)

    core.in_blocks(block, values.size, BLOCK_BYTES // values.itemsize)
    return float(np.max(list(found.values()), initial=0))


def _scale(grad: Array, factor: float) -> None:
    """Multiply in place; a large gradient in blocks if its values are one run in memory."""
    if grad.nbytes > SMALL_BYTES:
        (values,) = core.runs(grad)
        if np.may_share_memory(values, grad):  # else it is a copy

            def block(begin: int, end: int) -> None:
                part = values[begin:end]
                np.multiply(part, factor, out=part)

            core.in_blocks(block, values.size, BLOCK_BYTES // values.itemsize)
            return
    np.multiply(grad, factor, out=grad)
