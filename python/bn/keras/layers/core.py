"""Dense layers, activations, embeddings, and layers that describe or do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bn import _check, nn
from bn.keras import activations, initializers, regularizers
from bn.keras.layers.base import REFUSED, Layer
from bn.keras.layers.weight import ROWS_AND_COLUMNS
from bn.keras.tensors import KerasTensor, Node, OpenShape
from bn.module import Module
from bn.types import Shape


class InputLayer(Layer):
    """The input of a model; `bn.keras.Input` returns its symbolic tensor.

    Parameters
    ----------
    shape : tuple of int or None
        Of one sample; None where any length will do.
    batch_size : int, optional
        Taken, and not used: any number of samples will do.
    dtype : str, optional
    batch_shape : tuple of int or None, optional
        The shape with the batch axis, in the place of `shape`.
    **options
        As in `Layer`.

    Raises
    ------
    ValueError
        There is no shape, or it is none.

    References
    ----------
    keras.layers.InputLayer.

    Examples
    --------
    >>> InputLayer((4,)).output.shape
    (None, 4)
    """

    refused: ClassVar[Mapping[str, Any]] = {
        **REFUSED,
        "sparse": None,
        "ragged": None,
        "optional": False,
        "input_tensor": None,
    }

    def __init__(
        self,
        shape: OpenShape | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: OpenShape | None = None,
        **options: Any,
    ) -> None:
        _check.optional_positive_int("batch_size", batch_size)
        options = {**options, "sparse": options.get("sparse") or None}
        options["ragged"] = options.get("ragged") or None
        integers = str(dtype).startswith(("int", "uint"))
        super().__init__(dtype=None if integers else dtype, **options)
        given = shape if batch_shape is None else batch_shape[1:]
        self.shape = _check.keras_shape("shape", given)
        self.nodes.append(Node(self, (), self.shape))
        self._is_built = True

    @property
    def batch_shape(self) -> OpenShape:
        return (None, *self.shape)

    def get_config(self) -> dict[str, Any]:
        base = {"batch_shape": [None, *self.shape], "dtype": self.dtype.name, "sparse": False}
        return {**base, "ragged": False, "name": self.name}


def Input(
    shape: OpenShape | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
    **options: Any,
) -> KerasTensor:
    """The symbolic input of a model.

    Parameters
    ----------
    shape : tuple of int or None
        Of one sample; None where any length will do.
    batch_size : int, optional
        Taken, and not used.
    dtype : str, optional
        Integers are for an `Embedding`.
    name : str, optional
    **options
        As in `InputLayer`.

    Returns
    -------
    KerasTensor

    References
    ----------
    keras.Input.

    Examples
    --------
    >>> Input((32, 32, 3)).shape
    (None, 32, 32, 3)
    """
    return InputLayer(shape, batch_size, dtype, name=name, **options).output


class Dense(Layer):
    r"""The affine map :math:`x W + b` of the last axis, and an activation.

    Parameters
    ----------
    units : int
        The length of the last axis of the output.
    activation : str or Activation, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.Dense.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Dense(2, kernel_initializer="ones")
    >>> layer(np.array([[1.0, 2.0]]))
    array([[3., 3.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "units", "activation", "use_bias", "kernel_initializer", "bias_initializer",
        "kernel_regularizer", "bias_regularizer",
    )  # fmt: skip

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _check.positive_int("units", units)
        _check.flag("use_bias", use_bias)
        self.units, self.use_bias = units, use_bias
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def numbers(self, shape: Shape) -> int:
        return (shape[-1] + 1) * self.units

    def make(self, shape: Shape) -> list[Module]:
        linear = nn.Linear(shape[-1], self.units, self.use_bias, dtype=self.dtype)
        self.add_weight(
            "kernel", linear, "weight", layout=ROWS_AND_COLUMNS,
            initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
        )  # fmt: skip
        if self.use_bias:
            self.add_weight(
                "bias", linear, "bias",
                initializer=self.bias_initializer, regularizer=self.bias_regularizer,
            )  # fmt: skip
        return [linear, *activations.layers_of(self.activation)]

    def build_for(self, shapes: Any) -> None:
        _check.keras_known_lengths(self.name, shapes[0][-1:])
        super().build_for(shapes)


class Activation(Layer):
    """An activation as a layer.

    Parameters
    ----------
    activation : str or Activation
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.Activation.

    Examples
    --------
    >>> import numpy as np
    >>> Activation("relu")(np.array([[-1.0, 2.0]]))
    array([[0., 2.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("activation",)

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)

    def make(self, shape: Shape) -> list[Module]:
        return activations.layers_of(self.activation)


class Identity(Layer):
    """What goes in comes out.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> import numpy as np
    >>> Identity()(np.array([[1.0]]))
    array([[1.]], dtype=float32)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)


class Rescaling(Layer):
    """``scale · x + offset``.

    Parameters
    ----------
    scale : float
    offset : float
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.Rescaling.

    Examples
    --------
    >>> import numpy as np
    >>> Rescaling(1 / 255)(np.array([[0, 255]], np.uint8))
    array([[0., 1.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("scale", "offset")

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        _check.finite("scale", scale)
        _check.finite("offset", offset)
        self.scale, self.offset = scale, offset

    def forward(self, x: Any) -> Any:
        """The values rescaled."""
        return x * self.scale + self.offset


class Embedding(Layer):
    """A row of a matrix for each integer.

    Parameters
    ----------
    input_dim : int
        How many integers there are, from 0.
    output_dim : int
        The length of the rows.
    embeddings_initializer : str or Initializer
    embeddings_regularizer : str or Regularizer, optional
    input_length : int, optional
        Of a `Sequential`'s first layer: how many integers a sample has.
    **options
        As in `Layer`. `mask_zero` must be False.

    Raises
    ------
    ValueError
        An argument is out of range. On a call: an integer is.

    References
    ----------
    keras.layers.Embedding.

    Examples
    --------
    >>> import numpy as np
    >>> Embedding(10, 4)(np.array([[1, 2, 2]])).shape
    (1, 3, 4)
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "input_dim",
        "output_dim",
        "embeddings_initializer",
        "embeddings_regularizer",
    )
    refused: ClassVar[Mapping[str, Any]] = {
        **REFUSED,
        "mask_zero": False,
        "embeddings_constraint": None,
        "weights": None,
    }
    takes_indices = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        input_length: int | None = None,
        **options: Any,
    ) -> None:
        if input_length is not None:
            options.setdefault("input_shape", (input_length,))
        super().__init__(**options)
        _check.positive_int("input_dim", input_dim)
        _check.positive_int("output_dim", output_dim)
        self.input_dim, self.output_dim = input_dim, output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)

    def numbers(self, shape: Shape) -> int:
        return self.input_dim * self.output_dim

    def make(self, shape: Shape) -> list[Module]:
        table = nn.Embedding(self.input_dim, self.output_dim, dtype=self.dtype)
        self.add_weight(
            "embeddings", table, "weight",
            initializer=self.embeddings_initializer, regularizer=self.embeddings_regularizer,
        )  # fmt: skip
        return [table]
