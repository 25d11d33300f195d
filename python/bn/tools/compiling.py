"""Make a model that only predicts, as fast as it can."""

from __future__ import annotations

from bn import _check
from bn.module import Module
from bn.nn.containers import Sequential
from bn.recording.compiled import Compiled
from bn.tools.folding import fold_for
from bn.types import Shape


def compile(model: Module, input_shape: Shape | None = None) -> Compiled:
    """Fold a model, and make a function of it that only predicts.

    The weights are arranged for the kernels once instead of in each call, and Python does no more
    than to go from one kernel to the next. On a single image of a small network, this takes most of
    the time away.

    Parameters
    ----------
    model : Module
        In eval mode. It is not changed, and later changes of it are not seen.
    input_shape : tuple of int, optional
        As in `fold`.

    Returns
    -------
    Compiled
        A function of arrays. Its attribute `model` is the folded model.

    Raises
    ------
    TypeError
        `model` is not a Module; or, in the first call, its forward looks at numbers.
    ValueError
        A layer is in training mode, or `input_shape` does not fit the model.

    Warns
    -----
    UserWarning
        Batch normalizations were not folded, because what comes before them is not known.

    See Also
    --------
    fold : Does the same without the arranged weights, and tells what was folded.

    Examples
    --------
    >>> import numpy as np
    >>> import bn
    >>> from bn import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0), bn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> predict = bn.compile(model, input_shape=(3, 6, 6))
    >>> x = np.ones((1, 3, 6, 6), np.float32)
    >>> predict(x).shape, bool(np.allclose(predict(x), model(x), atol=1e-6))
    ((1, 8, 4, 4), True)
    """
    _check.instance("model", model, Module)
    _check.eval_mode("compile", model.named_modules())
    folded = fold_for("compile", model, input_shape).model
    return Compiled(folded if folded.records else Sequential(folded).eval())
