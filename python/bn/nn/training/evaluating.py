"""`evaluate`: the loss and the metrics of a model in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import ArrayLike

from bn import _check
from bn.module import Module
from bn.nn.cross_entropy import CrossEntropyLoss
from bn.nn.training.loader import Batch
from bn.nn.training.metrics import Metric, Metrics, Totals, fitting, named
from bn.prediction import evaluating, parts
from bn.types import Array


def evaluate(
    model: Module,
    x: Array,
    y: ArrayLike,
    *,
    criterion: Any = None,
    metrics: Metrics = ("accuracy",),
    batch_size: int = 256,
) -> dict[str, float]:
    """The mean loss and the metrics of a model, in eval mode.

    Parameters
    ----------
    model : Module
        Whose layers get their modes back, each its own; nothing else of it changes.
    x : ndarray, shape (N, ...)
    y : array_like, shape (N, ...)
    criterion : callable, optional
        A loss; by default `CrossEntropyLoss()`.
    metrics : tuple of str or callable
        ``"accuracy"``, and functions ``metric(out, y) -> float`` whose values for batches are
        averaged, weighted by the number of samples. The accuracy is left out for losses of a
        regression.
    batch_size : int

    Returns
    -------
    dict
        ``{"loss": ..., "accuracy": ...}``; other metrics are called like their functions.

    Raises
    ------
    TypeError, ValueError
        x and y do not fit the model or the loss, or an option is not as above.

    See Also
    --------
    bn.nn.Module.predict : The outputs themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> x = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    >>> {name: round(value, 4) for name, value in evaluate(nn.Identity(), x, [0, 1, 1]).items()}
    {'loss': 0.4963, 'accuracy': 0.6667}
    """
    _check.instance("model", model, Module)
    x, targets = _check.samples_and_targets(x, y)
    _check.positive_int("batch_size", batch_size)
    criterion = CrossEntropyLoss() if criterion is None else criterion
    _check.function("criterion", criterion)
    functions = fitting(named(metrics, criterion), criterion, targets)
    batches = ((x[part], targets[part]) for part in parts(len(x), batch_size))
    return measured(model, batches, criterion, functions).means()


def measured(
    model: Module,
    batches: Iterable[Batch],
    criterion: Any,
    metrics: dict[str, Metric],
    between: Callable[[], None] = lambda: None,
) -> Totals:
    """The totals of a model's loss and metrics in eval mode; `between` is called after a batch."""
    totals = Totals(metrics)
    with evaluating(model):
        for pair in batches:
            x, y = _check.batch(pair)
            out = model(x)
            _check.one_output(out)
            totals.add(_check.one_loss(criterion(out, y)), criterion, len(x))
            totals.measure(metrics, out, y)
            between()
    return totals
