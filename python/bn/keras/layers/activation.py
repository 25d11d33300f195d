"""The activations that are layers with arguments of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bn import _check, nn
from bn.keras import initializers, regularizers
from bn.keras.layers.base import REFUSED, Layer
from bn.keras.layers.weight import Arrays, Layout
from bn.module import Module
from bn.types import Array, Shape


class ReLU(Layer):
    """max(x, 0), with a slope below 0 or a largest value of 6.

    Parameters
    ----------
    max_value : {None, 6}
    negative_slope : float
    **options
        As in `Layer`.

    Raises
    ------
    ValueError
        There are both a largest value and a slope, or another largest value than 6.

    References
    ----------
    keras.layers.ReLU.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU(max_value=6)(np.array([[-1.0, 9.0]]))
    array([[0., 6.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("max_value", "negative_slope")
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, "threshold": 0.0}

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        _check.at_least("negative_slope", negative_slope, 0)
        _check.keras_relu(max_value, negative_slope)
        self.max_value, self.negative_slope = max_value, negative_slope

    def make(self, shape: Shape) -> list[Module]:
        if self.max_value is not None:
            return [nn.ReLU6()]
        return [nn.LeakyReLU(self.negative_slope) if self.negative_slope else nn.ReLU()]


class LeakyReLU(Layer):
    """x above 0, and `negative_slope` times x below.

    Parameters
    ----------
    negative_slope : float
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.LeakyReLU.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.5)(np.array([[-1.0, 9.0]]))
    array([[-0.5,  9. ]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, **options: Any) -> None:
        negative_slope = options.pop("alpha", negative_slope)  # its name in Keras 2
        super().__init__(**options)
        _check.at_least("negative_slope", negative_slope, 0)
        self.negative_slope = negative_slope

    def make(self, shape: Shape) -> list[Module]:
        return [nn.LeakyReLU(self.negative_slope)]


class ELU(Layer):
    """x above 0, and ``alpha · (exp(x) - 1)`` below.

    Parameters
    ----------
    alpha : float
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.ELU.

    Examples
    --------
    >>> import numpy as np
    >>> ELU()(np.array([[0.0, 9.0]]))
    array([[0., 9.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("alpha",)

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        _check.finite("alpha", alpha)
        self.alpha = alpha

    def make(self, shape: Shape) -> list[Module]:
        return [nn.ELU(self.alpha)]


class Softmax(Layer):
    """exp(x) divided by its sum over an axis.

    Parameters
    ----------
    axis : int
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.Softmax.

    Examples
    --------
    >>> import numpy as np
    >>> Softmax()(np.array([[1.0, 1.0]]))
    array([[0.5, 0.5]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("axis",)

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = _check.integer("axis", axis)

    def make(self, shape: Shape) -> list[Module]:
        return [nn.Softmax(self.axis)]


class SharedSlopes(Layout):
    """A slope for each channel, with axes of length 1 in Keras for those that share it.

    Parameters
    ----------
    axes : int
        How many these are.

    Examples
    --------
    >>> import numpy as np
    >>> SharedSlopes(2).to_keras(np.zeros(3)).shape
    (1, 1, 3)
    """

    def __init__(self, axes: int) -> None:
        self.axes = axes

    def to_keras(self, *arrays: Array) -> Array:
        return arrays[0].reshape(*[1] * self.axes, -1)

    def from_keras(self, array: Array) -> Arrays:
        return (array.reshape(-1),)


class PReLU(Layer):
    """x above 0, and below it x times a slope that is trained, one for each channel.

    Parameters
    ----------
    alpha_initializer : str or Initializer
    alpha_regularizer : str or Regularizer, optional
    shared_axes : sequence of int, optional
        Of images and signals, all axes between the batch and the channels.
    **options
        As in `Layer`.

    Raises
    ------
    ValueError
        When it is built: `shared_axes` are others, for which `bn.nn` has no layer.

    References
    ----------
    keras.layers.PReLU.

    Examples
    --------
    >>> import numpy as np
    >>> layer = PReLU("ones", shared_axes=[1, 2])
    >>> layer(np.full((1, 8, 8, 3), -2.0)).min(), layer.weights[0].shape
    (np.float32(-2.0), (1, 1, 3))
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "alpha_initializer",
        "alpha_regularizer",
        "shared_axes",
    )
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, "alpha_constraint": None}

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        shared_axes: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.shared_axes = None if shared_axes is None else [int(axis) for axis in shared_axes]

    def numbers(self, shape: Shape) -> int:
        return shape[-1]

    def make(self, shape: Shape) -> list[Module]:
        between = list(range(1, len(shape)))
        _check.keras_shared_axes(self.shared_axes or [], between)
        layer = nn.PReLU(shape[-1], axis=-1, dtype=self.dtype)
        self.add_weight(
            "alpha", layer, "weight", layout=SharedSlopes(len(between)),
            initializer=self.alpha_initializer, regularizer=self.alpha_regularizer,
        )  # fmt: skip
        return [layer]
