"""Keras's metrics, each a sum over all samples divided by a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.keras import losses
from bn.keras.configs import Configured, made, named
from bn.keras.names import snake_case
from bn.keras.targets import class_numbers, like_outputs
from bn.nn.training.metrics import Ratio
from bn.types import Array


class Metric(Configured, Ratio):
    """The base class: a metric defines `counted`, and has a name.

    Parameters
    ----------
    name : str, optional
        Under which the history has it.

    Examples
    --------
    >>> metric = BinaryAccuracy()
    >>> metric.update_state([[1.0], [1.0]], [[0.9], [0.1]]); metric.result(), metric.name
    (0.5, 'binary_accuracy')
    """

    config_names: ClassVar[tuple[str, ...]] = ("name",)
    keras_module = "keras.metrics"
    never_called = ("update_state", "result")
    refused: ClassVar[Mapping[str, Any]] = {"dtype": "float32"}

    def __init__(self, name: str | None = None) -> None:
        self.__name__ = self.name = snake_case(type(self).__name__) if name is None else name
        self.reset_state()

    def reset_state(self) -> None:
        """Forget what `update_state` has got."""
        self._total = self._count = 0.0

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike) -> None:
        """Take in the targets and the outputs of some samples."""
        total, count = self.counted(np.asarray(y_pred), np.asarray(y_true))
        self._total, self._count = self._total + total, self._count + count

    def result(self) -> float:
        """The metric of what `update_state` has got; 0 of nothing."""
        return float(self._total / self._count) if self._count else 0.0


def share(right: Array) -> tuple[int, int]:
    """How many values are true, and how many there are.

    Parameters
    ----------
    right : ndarray of bool

    Examples
    --------
    >>> share(np.array([True, False]))
    (1, 2)
    """
    return int(np.count_nonzero(right)), right.size


class BinaryAccuracy(Metric):
    """The share of outputs that are on the right side of a threshold.

    Parameters
    ----------
    name : str, optional
    threshold : float

    References
    ----------
    keras.metrics.BinaryAccuracy.

    Examples
    --------
    >>> BinaryAccuracy()(np.array([[0.9], [0.1]]), np.array([[1], [1]]))
    0.5
    """

    config_names: ClassVar[tuple[str, ...]] = ("name", "threshold")

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        _check.interval("threshold", threshold, 0, 1)
        self.threshold = threshold

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        return share((out > self.threshold) == like_outputs(y, out))


class CategoricalAccuracy(Metric):
    """The share of places whose largest output is at the class with the largest target.

    Parameters
    ----------
    name : str, optional

    References
    ----------
    keras.metrics.CategoricalAccuracy.

    Examples
    --------
    >>> CategoricalAccuracy()(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([[1, 0], [0, 1]]))
    0.5
    """

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        return share(out.argmax(axis=-1) == like_outputs(y, out).argmax(axis=-1))


class SparseCategoricalAccuracy(Metric):
    """The share of places whose largest output is at the right class.

    Parameters
    ----------
    name : str, optional

    References
    ----------
    keras.metrics.SparseCategoricalAccuracy.

    Examples
    --------
    >>> SparseCategoricalAccuracy()(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    0.5
    """

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        return share(out.argmax(axis=-1) == class_numbers(y, out))


class Accuracy(Metric):
    """The accuracy that fits the shapes of outputs and targets, as ``metrics=["accuracy"]`` means.

    One output for each place is that of two classes; else the targets are the numbers of the
    classes, or have a value for each class.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> Accuracy()(np.array([[0.9], [0.1]]), np.array([1, 1]))
    0.5
    >>> Accuracy()(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 0]))
    1.0
    """

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(name)

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        kind: type[Metric] = CategoricalAccuracy
        if out.shape[-1] == 1:
            kind = BinaryAccuracy
        elif y.ndim < out.ndim or y.shape[-1] == 1:
            kind = SparseCategoricalAccuracy
        return kind().counted(out, y)


class TopKCategoricalAccuracy(Metric):
    """The share of places whose class, that of the largest target, is among the k largest outputs.

    Parameters
    ----------
    k : int
    name : str, optional

    References
    ----------
    keras.metrics.TopKCategoricalAccuracy.

    Examples
    --------
    >>> TopKCategoricalAccuracy(2)(np.array([[0.5, 0.4, 0.1]]), np.array([[0, 1, 0]]))
    1.0
    """

    config_names: ClassVar[tuple[str, ...]] = ("k", "name")

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        _check.positive_int("k", k)
        self.k = k

    def classes(self, out: Array, y: Array) -> Array:
        """The right classes."""
        found: Array = like_outputs(y, out).argmax(axis=-1)
        return found

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        right = np.take_along_axis(out, self.classes(out, y)[..., None], axis=-1)
        return share((out > right).sum(axis=-1) < self.k)


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """The share of places whose class is among the k largest outputs.

    Parameters
    ----------
    k : int
    name : str, optional

    References
    ----------
    keras.metrics.SparseTopKCategoricalAccuracy.

    Examples
    --------
    >>> SparseTopKCategoricalAccuracy(2)(np.array([[0.5, 0.4, 0.1]]), np.array([1]))
    1.0
    """

    def classes(self, out: Array, y: Array) -> Array:
        return class_numbers(y, out)


class Precision(Metric):
    """Of the outputs above 1/2, the share whose target is 1.

    Parameters
    ----------
    name : str, optional

    References
    ----------
    keras.metrics.Precision.

    Examples
    --------
    >>> Precision()(np.array([[0.9], [0.8], [0.1]]), np.array([[1], [0], [1]]))
    0.5
    """

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        return share(like_outputs(y, out)[out > 0.5] > 0.5)


class Recall(Metric):
    """Of the targets of 1, the share whose output is above 1/2.

    Parameters
    ----------
    name : str, optional

    References
    ----------
    keras.metrics.Recall.

    Examples
    --------
    >>> Recall()(np.array([[0.9], [0.8], [0.1]]), np.array([[1], [0], [1]]))
    0.5
    """

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        return share(out[like_outputs(y, out) > 0.5] > 0.5)


class LossMetric(Metric):
    """A loss that is measured and not trained on.

    Parameters
    ----------
    loss : Loss
    name : str

    Examples
    --------
    >>> LossMetric(losses.get("mse"), "mse")(np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]]))
    2.0
    """

    def __init__(self, loss: losses.Loss, name: str) -> None:
        super().__init__(name)
        self.loss = loss

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        places = out.size // out.shape[-1]
        return self.loss.of(out, y) * places, places


class MeanSquaredError(LossMetric):
    """The mean of the squares of the errors.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> MeanSquaredError()(np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]]))
    2.0
    """

    def __init__(self, name: str = "mean_squared_error") -> None:
        super().__init__(losses.MeanSquaredError(), name)


class MeanAbsoluteError(LossMetric):
    """The mean of the sizes of the errors.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> MeanAbsoluteError()(np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]]))
    1.0
    """

    def __init__(self, name: str = "mean_absolute_error") -> None:
        super().__init__(losses.MeanAbsoluteError(), name)


class FunctionMetric(Metric):
    """The mean of what a function of one's own returns.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns an array, such as a value for each sample.

    Examples
    --------
    >>> def largest_error(y_true, y_pred):
    ...     return abs(y_true - y_pred).max(axis=-1)
    >>> FunctionMetric(largest_error)(np.array([[1.0, 4.0]]), np.array([[1.0, 1.0]]))
    3.0
    """

    def __init__(self, function: Callable[[Array, Array], ArrayLike]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__))
        self.function = function

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        values = np.asarray(self.function(y, out), np.float64)
        return float(values.mean()) * len(out), len(out)


CLASSES = (
    BinaryAccuracy, CategoricalAccuracy, MeanAbsoluteError, MeanSquaredError, Precision, Recall,
    SparseCategoricalAccuracy, SparseTopKCategoricalAccuracy, TopKCategoricalAccuracy,
)  # fmt: skip
NAMES: dict[str, Any] = {each.__name__: each for each in CLASSES}
NAMES |= {snake_case(each.__name__): each for each in CLASSES}
NAMES |= {"mse": MeanSquaredError, "MSE": MeanSquaredError}
NAMES |= {"mae": MeanAbsoluteError, "MAE": MeanAbsoluteError}
ACCURACIES = ("accuracy", "acc")
LOSSES = tuple(name for name in losses.NAMES if name not in NAMES and name == name.lower())


def get(identifier: Any) -> Metric:
    """The metric that an argument of `compile` stands for.

    Parameters
    ----------
    identifier : str, dict, Metric, class of metrics or callable
        `"accuracy"` is `Accuracy`; a function of (y_true, y_pred) is averaged.

    Raises
    ------
    TypeError, ValueError
        It stands for none.

    Examples
    --------
    >>> type(get("mse")).__name__, get("mse").name
    ('MeanSquaredError', 'mse')
    """
    if identifier in ACCURACIES:
        return Accuracy(identifier)
    if identifier in LOSSES:
        return LossMetric(losses.get(identifier), identifier)
    if callable(identifier) and not isinstance(identifier, (type, Metric)):
        return FunctionMetric(identifier)
    found = named("metric", made(identifier), {**NAMES, **dict.fromkeys((*ACCURACIES, *LOSSES))})
    _check.keras_kind("a metric", found, Metric, "a name or of bn.keras.metrics")
    if isinstance(identifier, str) and identifier == identifier.lower():
        found.__name__ = found.name = identifier
    return found  # type: ignore[no-any-return]


if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_keras("bn.keras", "metric", name, [c.__name__ for c in CLASSES])
