"""The recurrent layers, and the two directions of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bn import _check, nn
from bn.keras import initializers, regularizers
from bn.keras.configs import named, serialized
from bn.keras.layers.base import REFUSED, Layer
from bn.keras.layers.weight import ROWS_AND_COLUMNS, SAME, Arrays, Layout
from bn.module import Module
from bn.parameter import Parameter
from bn.types import Array, Shape

# Options of which `bn.keras` has the default only. "cudnn" and unrolling do not change results.
RECURRENT = {
    "recurrent_constraint": None, "dropout": 0.0, "recurrent_dropout": 0.0, "return_state": False,
    "go_backwards": False, "stateful": False, "zero_output_for_mask": False,
}  # fmt: skip


class Constant(Parameter):
    """Zeros that no training changes: the second bias of a layer, which Keras's has not.

    Examples
    --------
    >>> zeros = Constant(np.zeros(2))
    >>> zeros.accumulate(np.ones(2)); zeros.grad is None, zeros.trainable
    (True, False)
    """

    __slots__ = ()

    @property
    def trainable(self) -> bool:
        """Never."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        pass


class Recurrent(Layer):
    """What the recurrent layers share.

    Parameters
    ----------
    units : int
        Values of the state.
    activation : str
        Of the state; each layer says which it has.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    kernel_regularizer, recurrent_regularizer : str or Regularizer, optional
    bias_regularizer : str or Regularizer, optional
    return_sequences : bool
        Whether the output has all steps; else it is the last one's.
    seed : int, optional
        Taken, and not used, because there is no dropout.
    unroll, use_cudnn : object
        Taken, and not used, because they do not change results.
    **options
        As in `Layer`.
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "units", "activation", "use_bias", "kernel_initializer", "recurrent_initializer",
        "bias_initializer", "kernel_regularizer", "recurrent_regularizer", "bias_regularizer",
        "return_sequences",
    )  # fmt: skip
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, **RECURRENT}
    known_activations: ClassVar[tuple[str, ...]] = ("tanh",)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        return_sequences: bool = False,
        seed: int | None = None,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _check.positive_int("units", units)
        _check.flag("use_bias", use_bias)
        _check.flag("return_sequences", return_sequences)
        self.units, self.use_bias, self.return_sequences = units, use_bias, return_sequences
        self.activation = getattr(activation, "config_name", activation)
        _check.one_of("activation", self.activation, self.known_activations)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    # ---- what the kinds differ in ----

    def recurrence(self, inputs: int, bidirectional: bool) -> Module:
        """The layer of `bn.nn`."""
        raise NotImplementedError(f"{type(self).__name__}.recurrence")

    def weight_layout(self) -> Layout:
        """How the kernels are laid out."""
        return ROWS_AND_COLUMNS

    def add_bias(self, layer: Module, suffix: str, place: str) -> None:
        """Note Keras's one bias, which is the first of the two in `bn.nn`."""
        setattr(layer, f"bias_hh{suffix}", Constant(np.zeros_like(layer_bias(layer, suffix))))
        self.add_weight(
            "bias", layer, f"bias_ih{suffix}", layout=self.bias_layout(), place=place,
            initializer=self.bias_initializer, regularizer=self.bias_regularizer,
        )  # fmt: skip

    def bias_layout(self) -> Layout:
        """How the bias is laid out."""
        return SAME

    # ---- making it ----

    def build_for(self, shapes: Any) -> None:
        _check.keras_input_rank(self.name, shapes[0], (3,))
        _check.keras_known_lengths(self.name, shapes[0][-1:])
        super().build_for(shapes)

    def numbers(self, shape: Shape) -> int:
        return 4 * self.units * (shape[-1] + self.units + 2)  # of an LSTM

    def make(self, shape: Shape) -> list[Module]:
        layer = self.recurrence(shape[-1], False)
        self.add_direction(layer, "_l0", "cell")
        return [layer]

    def add_direction(self, layer: Module, suffix: str, place: str) -> None:
        """Note the weights of one direction, which Keras has at a place below the layer."""
        layout = self.weight_layout()
        self.add_weight(
            "kernel", layer, f"weight_ih{suffix}", layout=layout, place=place,
            initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
        )  # fmt: skip
        self.add_weight(
            "recurrent_kernel", layer, f"weight_hh{suffix}", layout=layout, place=place,
            initializer=self.recurrent_initializer, regularizer=self.recurrent_regularizer,
        )  # fmt: skip
        if self.use_bias:
            self.add_bias(layer, suffix, place)

    def options(self, bidirectional: bool) -> dict[str, Any]:
        """What all layers of `bn.nn` get."""
        return {
            "bias": self.use_bias, "batch_first": True, "bidirectional": bidirectional,
            "return_sequences": self.return_sequences, "return_state": False,
            "dtype": self.dtype,
        }  # fmt: skip


def layer_bias(layer: Module, suffix: str) -> Array:
    """The first bias of a recurrent layer of `bn.nn`."""
    bias: Array = getattr(layer, f"bias_ih{suffix}").data
    return bias


class SimpleRNN(Recurrent):
    """The simple recurrent layer, by `bn.nn.RNN`.

    Parameters
    ----------
    units : int
        Values of the state.
    activation : {"tanh", "relu"}
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    kernel_regularizer, recurrent_regularizer : str or Regularizer, optional
    bias_regularizer : str or Regularizer, optional
    return_sequences : bool
        Whether the output has all steps; else it is the last one's.
    seed : int, optional
        Taken, and not used, because there is no dropout.
    unroll, use_cudnn : object
        Taken, and not used, because they do not change results.
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.SimpleRNN.

    Examples
    --------
    >>> SimpleRNN(4)(np.ones((2, 5, 3))).shape
    (2, 4)
    """

    known_activations = ("tanh", "relu")

    def recurrence(self, inputs: int, bidirectional: bool) -> Module:
        return nn.RNN(
            inputs, self.units, nonlinearity=self.activation, **self.options(bidirectional)
        )


class Gated(Recurrent):
    """The recurrent layers with gates, whose activation is the sigmoid.

    Parameters
    ----------
    units : int
        Values of the state.
    activation : {"tanh"}
    recurrent_activation : {"sigmoid"}
        Of the gates.
    use_bias : bool
    **options
        As in `Recurrent`.
    """

    config_names: ClassVar[tuple[str, ...]] = (*Recurrent.config_names, "recurrent_activation")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(units, activation, use_bias, **options)
        self.recurrent_activation = getattr(
            recurrent_activation, "config_name", recurrent_activation
        )
        _check.one_of("recurrent_activation", self.recurrent_activation, ("sigmoid",))


class LSTM(Gated):
    """Long short-term memory, by `bn.nn.LSTM`.

    Parameters
    ----------
    units : int
        Values of the state.
    activation : {"tanh"}
    recurrent_activation : {"sigmoid"}
        Of the gates.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    unit_forget_bias : bool
        Whether the bias of the gate that forgets begins with ones.
    **options
        Regularizers, `return_sequences` and others, as in `SimpleRNN`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.LSTM; Hochreiter and Schmidhuber, "Long short-term memory", 1997.

    Examples
    --------
    >>> layer = LSTM(4, return_sequences=True)
    >>> layer(np.ones((2, 5, 3))).shape, [weight.shape for weight in layer.weights]
    ((2, 5, 4), [(3, 16), (4, 16), (16,)])
    """

    config_names: ClassVar[tuple[str, ...]] = (*Gated.config_names, "unit_forget_bias")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, **options,
        )  # fmt: skip
        _check.flag("unit_forget_bias", unit_forget_bias)
        self.unit_forget_bias = unit_forget_bias

    def recurrence(self, inputs: int, bidirectional: bool) -> Module:
        return nn.LSTM(inputs, self.units, **self.options(bidirectional))

    def add_bias(self, layer: Module, suffix: str, place: str) -> None:
        super().add_bias(layer, suffix, place)
        if self.unit_forget_bias:
            layer_bias(layer, suffix)[self.units : 2 * self.units] = 1


class GatesExchanged(Layout):
    """A GRU's kernel: Keras has the update gate first, `bn.nn` the reset gate.

    Parameters
    ----------
    units : int

    Examples
    --------
    >>> import numpy as np
    >>> GatesExchanged(1).to_keras(np.array([[1.0], [2.0], [3.0]]))
    array([[2., 1., 3.]])
    """

    def __init__(self, units: int) -> None:
        self.units = units

    def exchanged(self, rows: Array) -> Array:
        """Rows with the first two gates in the other order."""
        first, second, rest = np.split(rows, [self.units, 2 * self.units])
        return np.concatenate([second, first, rest])

    def to_keras(self, *arrays: Array) -> Array:
        return self.exchanged(arrays[0]).T

    def from_keras(self, array: Array) -> Arrays:
        return (self.exchanged(array.T),)


class TwoBiases(GatesExchanged):
    """The two biases of a GRU, which are two rows in Keras.

    Parameters
    ----------
    units : int

    Examples
    --------
    >>> import numpy as np
    >>> TwoBiases(1).to_keras(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    array([[2., 1., 3.],
           [0., 0., 0.]])
    """

    def to_keras(self, *arrays: Array) -> Array:
        return np.stack([self.exchanged(bias) for bias in arrays])

    def from_keras(self, array: Array) -> Arrays:
        return tuple([self.exchanged(row) for row in array])


class GRU(Gated):
    """The gated recurrent unit, by `bn.nn.GRU`.

    Parameters
    ----------
    units : int
        Values of the state.
    activation : {"tanh"}
    recurrent_activation : {"sigmoid"}
        Of the gates.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    **options
        Regularizers, `return_sequences` and others, as in `SimpleRNN`. `reset_after` must be True.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.GRU; Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.

    Examples
    --------
    >>> layer = GRU(4)
    >>> layer(np.ones((2, 5, 3))).shape, [weight.shape for weight in layer.weights]
    ((2, 4), [(3, 12), (4, 12), (2, 12)])
    """

    refused: ClassVar[Mapping[str, Any]] = {**Gated.refused, "reset_after": True}

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, **options,
        )  # fmt: skip

    def recurrence(self, inputs: int, bidirectional: bool) -> Module:
        return nn.GRU(inputs, self.units, **self.options(bidirectional))

    def weight_layout(self) -> Layout:
        return GatesExchanged(self.units)

    def add_bias(self, layer: Module, suffix: str, place: str) -> None:
        """Note Keras's bias: two rows, as `bn.nn` has two biases."""
        self.add_weight(
            "bias", layer, f"bias_ih{suffix}", f"bias_hh{suffix}",
            layout=TwoBiases(self.units), place=place,
            initializer=self.bias_initializer, regularizer=self.bias_regularizer,
        )  # fmt: skip


class Bidirectional(Layer):
    """A recurrent layer in two directions, whose outputs stand side by side.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
    merge_mode : {"concat"}
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        `layer` is another one, or the outputs are to be merged otherwise.

    References
    ----------
    keras.layers.Bidirectional.

    Examples
    --------
    >>> Bidirectional(LSTM(4))(np.ones((2, 5, 3))).shape
    (2, 8)
    """

    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, "weights": None, "backward_layer": None}

    def __init__(self, layer: Recurrent, merge_mode: str = "concat", **options: Any) -> None:
        _check.keras_kind("layer", layer, Recurrent, "a SimpleRNN, an LSTM or a GRU")
        super().__init__(**options)
        _check.one_of("merge_mode", merge_mode, ("concat",))
        self.layer_kind, self.layer_config = type(layer), layer.get_config()
        self.merge_mode = merge_mode

    def build_for(self, shapes: Any) -> None:
        _check.keras_input_rank(self.name, shapes[0], (3,))
        _check.keras_known_lengths(self.name, shapes[0][-1:])
        super().build_for(shapes)

    def numbers(self, shape: Shape) -> int:
        layer: Recurrent = self.layer_kind.from_config(self.layer_config)
        return 2 * layer.numbers(shape)

    def make(self, shape: Shape) -> list[Module]:
        layer: Recurrent = self.layer_kind.from_config(self.layer_config)
        recurrence = layer.recurrence(shape[-1], True)
        for suffix, place in (("_l0", "forward"), ("_l0_reverse", "backward")):
            layer.add_direction(recurrence, suffix, f"{place}_layer/cell")
        self._table.extend(layer.own_weights)
        return [recurrence]

    def get_config(self) -> dict[str, Any]:
        layer = serialized(self.layer_kind.from_config(self.layer_config))
        return {**super().get_config(), "layer": layer, "merge_mode": self.merge_mode}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """A layer with these arguments, of which files have those of both directions."""
        _check.mapping("config", config)
        own = dict(config)
        _check.keras_backward_layer(own.get("layer"), own.pop("backward_layer", None))
        layer = dict(own.pop("layer"))
        inner = dict(layer["config"])
        inner.pop("zero_output_for_mask", None)  # there are no masks
        return cls(named("recurrent layer", {**layer, "config": inner}, KINDS), **own)


KINDS = {"SimpleRNN": SimpleRNN, "LSTM": LSTM, "GRU": GRU}
