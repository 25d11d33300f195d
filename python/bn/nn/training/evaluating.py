"""`evaluate`: the loss and the metrics of a model in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from numpy.typing import ArrayLike

from bn import _check
from bn.inputs import Inputs, taken
from bn.module import Module
from bn.nn.cross_entropy import CrossEntropyLoss
from bn.nn.training.loader import Samples
from bn.nn.training.metrics import Metrics, Totals, fitting, named
from bn.nn.training.steps import Task, forward, loss_of
from bn.prediction import evaluating, parts


def evaluate(
    model: Module,
    x: Inputs,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    criterion: Any = None,
    metrics: Metrics = ("accuracy",),
    batch_size: int = 256,
) -> dict[str, float]:
    """The mean loss and the metrics of a model, in eval mode.

    Parameters
    ----------
    model : Module
        Whose layers get their modes back, each its own; nothing else of it changes.
    x : ndarray, shape (N, ...), or tuple or dict of such arrays
        As in `BatchLoader`.
    y : array_like, shape (N, ...)
    sample_weight : array_like, optional, shape (N, ...)
        For the criterion, which must take it; metrics count all samples alike.
    criterion : callable, optional
        A loss; by default `CrossEntropyLoss()`.
    metrics : tuple of str or callable
        ``"accuracy"``, and functions ``metric(out, y) -> float`` whose values for batches are
        averaged, weighted by the number of samples. The accuracy is left out for losses of a
        regression, and does not count targets that the criterion ignores.
    batch_size : int

    Returns
    -------
    dict
        ``{"loss": ..., "accuracy": ...}``; other metrics are called like their functions. The loss
        is that of all samples as one batch, whatever the `batch_size`: NaN if all targets are
        ignored.

    Raises
    ------
    TypeError, ValueError
        x and y do not fit the model or the loss, or an option is not as above.

    See Also
    --------
    bn.Module.predict : The outputs themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> x = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    >>> {name: round(value, 4) for name, value in evaluate(nn.Identity(), x, [0, 1, 1]).items()}
    {'loss': 0.4963, 'accuracy': 0.6667}
    """
    _check.instance("model", model, Module)
    x, targets, weight = _check.samples_and_targets(x, y, sample_weight)
    _check.positive_int("batch_size", batch_size)
    criterion = CrossEntropyLoss() if criterion is None else criterion
    _check.function("criterion", criterion)
    functions = fitting(named(metrics, criterion), criterion, targets)
    batches = (
        Samples(taken(x, part), targets[part], None if weight is None else weight[part])
        for part in parts(len(targets), batch_size)
    )
    return measured(Task(model, criterion, functions), batches).means()


def measured(
    task: Task, batches: Iterable[Samples], between: Callable[[], None] = lambda: None
) -> Totals:
    """The totals of a model's loss and metrics in eval mode; `between` is called after a batch."""
    totals = Totals(task.metrics)
    with evaluating(task.model):
        for batch in batches:
            if len(batch):  # a rank's part of a small batch may be empty
                out = forward(task.model, batch.x)
                totals.include(task.totals(*loss_of(task.criterion, out, batch), [(out, batch)]))
            between()
    return totals
