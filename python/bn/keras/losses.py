"""Keras's losses: what they make of targets and weights, by the losses of `bn.nn`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from bn import _check, nn
from bn.keras.configs import Configured, made, named
from bn.keras.targets import class_numbers, like_outputs, spread_weights
from bn.nn.losses import ElementwiseLoss
from bn.types import Array

REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight")
EPSILON = 1e-7  # Keras's, by which probabilities are kept away from 0 and 1


class Loss(Configured):
    """The base class: what the loss of a batch is, from the losses of its places.

    A place is all of an output but its last axis, so that each sample of a classifier has one. With
    a weight for each sample, or for each place, the losses are multiplied with it.
    `"sum_over_batch_size"` divides their sum by the number of places, whatever the weights are.

    Parameters
    ----------
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    Examples
    --------
    >>> issubclass(MeanSquaredError, Loss)
    True
    """

    config_names: ClassVar[tuple[str, ...]] = ("reduction", "name")
    keras_module = "keras.losses"
    never_called = ("call",)
    refused: ClassVar[Mapping[str, Any]] = {"dtype": "float32"}
    means_values: ClassVar[bool] = True  # whether the loss of a place is a mean over its values

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        _check.one_of("reduction", reduction, REDUCTIONS)
        self.reduction = reduction
        self.name = type(self).__name__ if name is None else name
        self._criterion: Any = None
        self._factor = 1.0

    def criterion(self) -> Any:
        """The loss of `bn.nn`, which sums up."""
        raise NotImplementedError(f"{type(self).__name__}.criterion")

    def targets(self, y_true: Array, y_pred: Array) -> Array:
        """The targets that the criterion takes."""
        return like_outputs(y_true, y_pred)

    def scale(self) -> float:
        """What the criterion's losses are multiplied with."""
        return 1.0

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """The loss of a batch, with Keras's order of the arguments.

        Parameters
        ----------
        y_true, y_pred : array_like
        sample_weight : array_like, optional, shape (N,) or (N, ...)

        Returns
        -------
        float
        """
        return self.of(np.asarray(y_pred), np.asarray(y_true), sample_weight)

    def of(self, y_pred: Array, y_true: Array, sample_weight: ArrayLike | None = None) -> float:
        """The loss of a batch, whose gradient `backward` returns."""
        _check.floating("the output", y_pred)
        _check.rank_at_least("the output", y_pred, 1)
        places = y_pred.shape[:-1]
        weights = None if sample_weight is None else spread_weights(sample_weight, places)
        self._criterion = self.criterion()
        total = self.total(y_pred, self.targets(y_true, y_pred), weights)
        values = y_pred.shape[-1] if self.means_values else 1
        self._factor = self.scale() / max(values * self.count(places, weights), EPSILON)
        return float(total * self._factor)

    def total(self, y_pred: Array, targets: Array, weights: Array | None) -> float:
        """The sum of the criterion's losses."""
        if weights is not None:
            weights = np.broadcast_to(weights[..., None], y_pred.shape)
        return float(self._criterion(y_pred, targets, sample_weight=weights))

    def count(self, places: tuple[int, ...], weights: Array | None) -> float:
        """What the sum of the losses of all places is divided by."""
        if self.reduction == "sum":
            return 1.0
        if self.reduction == "mean_with_sample_weight" and weights is not None:
            return float(weights.sum(dtype=np.float64))
        return float(math.prod(places))

    def backward(self) -> Array:
        """The gradient of the last loss by the outputs."""
        gradient: Array = self._criterion.backward(self._factor)
        return gradient


class MeanSquaredError(Loss):
    """The square of the error.

    Parameters
    ----------
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    References
    ----------
    keras.losses.MeanSquaredError.

    Examples
    --------
    >>> MeanSquaredError()([[1.0], [1.0]], [[1.0], [3.0]])
    2.0
    """

    def criterion(self) -> Any:
        return nn.MSELoss("sum")


class MeanAbsoluteError(Loss):
    """The size of the error.

    Parameters
    ----------
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    References
    ----------
    keras.losses.MeanAbsoluteError.

    Examples
    --------
    >>> MeanAbsoluteError()([[1.0], [1.0]], [[1.0], [3.0]])
    1.0
    """

    def criterion(self) -> Any:
        return nn.L1Loss("sum")


class Huber(Loss):
    """Half of the square of an error up to `delta`, and a line beyond.

    Parameters
    ----------
    delta : float
        Above 0.
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    References
    ----------
    keras.losses.Huber.

    Examples
    --------
    >>> Huber()([[1.0], [1.0]], [[1.0], [3.0]])
    0.75
    """

    config_names: ClassVar[tuple[str, ...]] = ("delta", *Loss.config_names)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        _check.above("delta", delta, 0)
        self.delta = delta

    def criterion(self) -> Any:
        return nn.SmoothL1Loss("sum", beta=self.delta)

    def scale(self) -> float:
        return self.delta


class ProbabilityLoss(ElementwiseLoss):
    """Cross-entropy of two classes, of probabilities that are clipped as Keras clips them.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}

    Examples
    --------
    >>> round(ProbabilityLoss("sum")(np.array([0.5]), np.array([1.0])), 4)
    0.6931
    """

    def _values(self, y: Array, target: Array, loss: Array, slope: Array) -> None:
        p = np.clip(y, EPSILON, 1 - EPSILON)
        loss[...] = -(target * np.log(p) + (1 - target) * np.log1p(-p))
        slope[...] = np.where(p == y, (p - target) / (p * (1 - p)), 0)


class BinaryCrossentropy(Loss):
    """Cross-entropy of two classes, for each value of the output.

    Parameters
    ----------
    from_logits : bool
        Whether the outputs are logits; else they are probabilities.
    label_smoothing : float
        The part of each target, from 0 to 1, that is replaced by 1/2.
    axis : {-1}
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    References
    ----------
    keras.losses.BinaryCrossentropy.

    Examples
    --------
    >>> round(BinaryCrossentropy()([[1.0]], [[0.5]]), 4)
    0.6931
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "from_logits",
        "label_smoothing",
        "axis",
        *Loss.config_names,
    )

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        _check.flag("from_logits", from_logits)
        _check.interval("label_smoothing", label_smoothing, 0, 1)
        _check.last_axis(axis)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        self.axis = axis

    def criterion(self) -> Any:
        return nn.BCEWithLogitsLoss(reduction="sum") if self.from_logits else ProbabilityLoss("sum")

    def targets(self, y_true: Array, y_pred: Array) -> Array:
        targets = like_outputs(y_true, y_pred)
        return targets * (1 - self.label_smoothing) + self.label_smoothing / 2


class CategoricalCrossentropy(Loss):
    """Cross-entropy of classes, whose targets are a probability of each.

    Parameters
    ----------
    from_logits : bool
        Whether the outputs are logits; else they are probabilities, whose sum must be 1.
    label_smoothing : float
        The part of the targets, from 0 to 1, that is distributed evenly over all classes.
    axis : {-1}
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    References
    ----------
    keras.losses.CategoricalCrossentropy.

    Examples
    --------
    >>> round(CategoricalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]), 4)
    0.6931
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "from_logits",
        "label_smoothing",
        "axis",
        *Loss.config_names,
    )
    means_values = False

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        _check.flag("from_logits", from_logits)
        _check.interval("label_smoothing", label_smoothing, 0, 1)
        _check.last_axis(axis)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        self.axis = axis

    def criterion(self) -> Any:
        return nn.CrossEntropyLoss(
            reduction="sum", from_logits=self.from_logits, label_smoothing=self.label_smoothing
        )

    def targets(self, y_true: Array, y_pred: Array) -> Array:
        return np.moveaxis(like_outputs(y_true, y_pred), -1, 1)

    def total(self, y_pred: Array, targets: Array, weights: Array | None) -> float:
        _check.rank_at_least("the output", y_pred, 2)
        outputs = np.moveaxis(y_pred, -1, 1)  # where `bn.nn` has the classes
        return float(self._criterion(outputs, targets, sample_weight=weights))

    def backward(self) -> Array:
        return np.moveaxis(super().backward(), 1, -1)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """Cross-entropy of classes, whose targets are the numbers of the classes.

    Parameters
    ----------
    from_logits : bool
        Whether the outputs are logits; else they are probabilities, whose sum must be 1.
    ignore_class : int, optional
        A class that costs nothing.
    axis : {-1}
    reduction : {"sum_over_batch_size", "sum", "mean_with_sample_weight"}
    name : str, optional

    References
    ----------
    keras.losses.SparseCategoricalCrossentropy.

    Examples
    --------
    >>> round(SparseCategoricalCrossentropy()([1], [[0.5, 0.5]]), 4)
    0.6931
    """

    config_names: ClassVar[tuple[str, ...]] = ("from_logits", "axis", *Loss.config_names)
    refused: ClassVar[Mapping[str, Any]] = {**Loss.refused, "ignore_class": None}

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: None = None,
        axis: int = -1,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        _check.keras_arguments(type(self).__name__, {"ignore_class": ignore_class}, self.refused)
        super().__init__(from_logits, 0.0, axis, reduction, name)

    def targets(self, y_true: Array, y_pred: Array) -> Array:
        return class_numbers(y_true, y_pred)


CLASSES = (
    BinaryCrossentropy, CategoricalCrossentropy, Huber, MeanAbsoluteError, MeanSquaredError,
    SparseCategoricalCrossentropy,
)  # fmt: skip
NAMES: dict[str, type[Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "mean_squared_error": MeanSquaredError, "mse": MeanSquaredError, "MSE": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError, "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError,
    "huber": Huber,
}  # fmt: skip
NAMES |= {each.__name__: each for each in CLASSES}


def get(identifier: Any) -> Loss:
    """The loss that an argument of `compile` stands for.

    Parameters
    ----------
    identifier : str, dict, Loss or class of losses

    Raises
    ------
    TypeError, ValueError
        It stands for none; a function of one's own has no gradient.

    Examples
    --------
    >>> type(get("mse")).__name__
    'MeanSquaredError'
    """
    found = named("loss", made(identifier), NAMES)
    _check.keras_kind("a loss", found, Loss, "a name or of bn.keras.losses")
    return found  # type: ignore[no-any-return]


if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_keras("bn.keras", "loss", name, [c.__name__ for c in CLASSES])
