"""`Layer`: what all layers of `bn.keras` are: layers of `bn.nn` under Keras's conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bn import _check, nn
from bn.keras import initializers
from bn.keras.configs import Configured
from bn.keras.layers.casting import Cast
from bn.keras.layers.weight import SAME, Layout, Weight
from bn.keras.limits import spend
from bn.keras.names import name_for
from bn.keras.tensors import STAND_INS, KerasTensor, Node, OpenShape, closed, is_symbolic, opened
from bn.layers.regularizers import Regularizer
from bn.module import Module, copy_all
from bn.recording.record import takes_option
from bn.types import Array, Shape

Size: TypeAlias = int | Sequence[int]

# Arguments of Keras's layers of which `bn.keras` has the default only.
REFUSED: dict[str, Any] = {
    "activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
    "autocast": True, "lora_rank": None, "lora_alpha": None, "quantization_config": None,
}  # fmt: skip


class Layer(Configured, nn.Sequential):
    """A layer with Keras's name, arguments and weights, made of layers of `bn.nn`.

    Its layers are made when the shape of its input is known. It is called on arrays, on values
    inside a model, and on symbolic tensors, which describes a model.

    Parameters
    ----------
    name : str, optional
        By default Keras's, such as ``"conv2d_1"``.
    trainable : bool
        False: training leaves the weights as they are.
    dtype : str, optional
        Of the weights and of what is computed, float32 (the default) or float64.
    input_shape : tuple of int or None, optional
        Of a `Sequential`'s first layer: the shape of one sample.
    input_dim : int, optional
        The same, where that shape has one length.
    **others
        Further arguments of Keras's layers, which must be at their defaults.

    Attributes
    ----------
    weights : list of Weight
    nodes : list of Node
        Its calls on symbolic tensors.

    Examples
    --------
    >>> layer = Layer(name="nothing")
    >>> layer(np.ones((1, 2), np.float32)), layer.count_params()
    (array([[1., 1.]], dtype=float32), 0)
    """

    keras_module = "keras.layers"
    never_called = (
        "call", "build", "add_weight", "train_step", "test_step", "predict_step", "compute_loss",
    )  # fmt: skip
    refused: ClassVar[Mapping[str, Any]] = REFUSED
    least_inputs: ClassVar[int] = 1
    takes_indices: ClassVar[bool] = False  # whether x holds integers, as that of an embedding

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        input_shape: OpenShape | None = None,
        input_dim: int | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        _check.keras_arguments(type(self).__name__, others, self.refused)
        _check.flag("trainable", trainable)
        self.name = name_for(type(self), name)
        self.dtype = np.dtype(_check.keras_dtype(dtype))
        given = input_dim if input_shape is None else input_shape
        self.given_shape = None if given is None else _check.keras_shape("input_shape", given)
        self.nodes: list[Node] = []
        self._trainable, self._is_built = trainable, False
        self.training = False  # only `fit` and its like train
        self._table: list[Weight] = []
        self._cast: Cast | None = None  # made where a layer of another dtype comes before

    # ---- making it ----

    def make(self, shape: Shape) -> list[Module]:
        """The layers of `bn.nn` for inputs of this shape, without the batch axis."""
        return []

    def numbers(self, shape: Shape) -> int:
        """How many numbers the weights will hold at most, for inputs of this shape."""
        return 0

    @property
    def built(self) -> bool:
        return self._is_built

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of a shape with the batch axis, or of a list of them."""
        several = bool(input_shape) and isinstance(input_shape[0], (tuple, list))
        shapes = input_shape if several else [input_shape]
        self.build_for([_check.keras_shape("input_shape", shape)[1:] for shape in shapes])

    def build_for(self, shapes: Sequence[OpenShape]) -> None:
        """Make the weights for inputs of these shapes without the batch axis."""
        if not self._is_built:
            shape = closed(shapes[0], STAND_INS[0])
            spend(self.name, self.numbers(shape))
            self.extend(self.make(shape))
            self._is_built = True
            self.trainable = self._trainable
            self.train(self.training)

    def add_weight(
        self,
        name: str,
        owner: Module,
        *attributes: str,
        layout: Layout = SAME,
        place: str = "",
        initializer: Any = None,
        regularizer: Regularizer | None = None,
    ) -> None:
        """Note a weight, and begin it as an initializer says; None leaves it as it is."""
        weight = Weight(name, owner, attributes, layout, place, regularizer)
        if initializer is not None:
            weight.assign(initializers.get(initializer)(weight.shape, weight.dtype))
        self._table.append(weight)

    # ---- calls ----

    def __call__(self, inputs: Any, *others: Any, **options: Any) -> Any:
        """The output for arrays, values or symbolic tensors; a list of them for several inputs."""
        if type(inputs) is nn.Value and self._is_built and not others and not options:
            return super().__call__(self.cast(inputs))  # as in each step of a training
        flat = [*inputs, *others] if isinstance(inputs, (tuple, list)) else [inputs, *others]
        if is_symbolic(flat):
            return self.connect(flat, options)
        _check.keras_inputs(self.name, len(flat), self.least_inputs)
        arrays = [self.converted(i, x) if _is_data(x) else self.cast(x) for i, x in enumerate(flat)]
        if not self._is_built:
            self.build_for([tuple(x.shape[1:]) for x in arrays])
        return super().__call__(*arrays, **self.call_options(options))

    def cast(self, x: Any) -> Any:
        """A value inside a model in the layer's dtype; indices stay integers."""
        if type(x) is not nn.Value or x.dtype == self.dtype or x.dtype.kind != "f":
            return x
        if self._cast is None:
            self._cast = Cast(self.dtype)
        return self._cast(x)

    def call_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, without those that change nothing here."""
        given = {name: value for name, value in options.items() if value is not None}
        _check.keras_call_options(self.name, given)
        if given and not any(takes_option(type(m).forward, "training") for m in self.modules()):
            return {}  # whether it is a training does not matter
        return given

    def converted(self, number: int, x: ArrayLike) -> Array:
        """One of the inputs as an array of the layer's dtype; of indices, as integers."""
        array = _check.numeric("x", _check.array("x", x))
        _check.rank_at_least("x", array, 1)
        return array.astype(self.input_dtype(number), copy=False)

    def input_dtype(self, number: int) -> np.dtype[Any]:
        """The dtype of one of the inputs."""
        return np.dtype(np.intp) if self.takes_index(number) else self.dtype

    def takes_index(self, number: int) -> bool:
        """Whether one of the inputs holds integers, as that of an embedding."""
        return self.takes_indices

    def connect(self, inputs: Sequence[KerasTensor], options: Mapping[str, Any]) -> KerasTensor:
        """Describe a call: the symbolic output for symbolic inputs."""
        _check.keras_inputs(self.name, len(inputs), self.least_inputs)
        shapes = [tensor.shape[1:] for tensor in inputs]
        self.build_for(shapes)
        node = Node(self, inputs, self.shape_for(shapes), self.call_options(options))
        self.nodes.append(node)
        return node.output

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        """The shape of an output for inputs of these shapes, all without the batch axis."""
        _check.one_input(type(self).__name__, len(shapes))
        lengths = STAND_INS if None in shapes[0] else STAND_INS[:1]
        return opened([self.output_shape(closed(shapes[0], length)) for length in lengths])

    def compute_output_shape(self, input_shape: OpenShape) -> OpenShape:
        """The shape of the output for an input of a shape, both with the batch axis."""
        shape = _check.keras_shape("input_shape", input_shape)
        self.build_for([shape[1:]])
        return (shape[0], *self.shape_for([shape[1:]]))

    @property
    def output(self) -> KerasTensor:
        """The symbolic output of the first call."""
        _check.keras_connected(self.name, bool(self.nodes))
        return self.nodes[0].output

    @property
    def input(self) -> Any:
        """The symbolic input of the first call; a list of several."""
        _check.keras_connected(self.name, bool(self.nodes))
        inputs = self.nodes[0].inputs
        return list(inputs) if len(inputs) > 1 else inputs[0]

    # ---- weights ----

    @property
    def own_weights(self) -> list[Weight]:
        """The weights without those of layers of `bn.keras` inside."""
        return self._table

    @property
    def weights(self) -> list[Weight]:
        """All weights: those that train, then the others, as Keras orders a layer's."""
        return list(self.own_weights)

    @property
    def trainable_weights(self) -> list[Weight]:
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Weight]:
        return [weight for weight in self.weights if not weight.trainable]

    @property
    def variables(self) -> list[Weight]:
        return self.weights

    @property
    def trainable_variables(self) -> list[Weight]:
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Weight]:
        return self.non_trainable_weights

    def __getattr__(self, name: str) -> Weight:
        """A weight by its name, such as ``kernel``."""
        for weight in self.__dict__.get("_table", ()):  # a copy has no attributes at first
            if weight.name == name and not weight.place:
                return weight  # type: ignore[no-any-return]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        _check.flag("trainable", value)
        self._trainable = value
        for layer in self:
            layer.trainable = value

    def get_weights(self) -> list[Array]:
        """Copies of the weights, in Keras's order and layouts."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy arrays in, in the order of `get_weights`, or raise and change nothing."""
        own, given = self.weights, [np.asarray(each) for each in weights]
        _check.keras_built(self.name, self.built)
        _check.keras_weights(self.name, [weight.shape for weight in own], given)
        pairs = [weight.pairs(array) for weight, array in zip(own, given, strict=True)]
        copy_all([pair for each in pairs for pair in each])

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return sum(weight.size for weight in self.weights)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """A layer with these arguments."""
        _check.mapping("config", config)
        return cls(**config)

    @property
    def keras_class(self) -> str:
        """The class's name in Keras."""
        return type(self).__name__

    def get_config(self) -> dict[str, Any]:
        base = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype.name}
        return {**base, **super().get_config()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _is_data(x: object) -> bool:
    """Whether an input comes from outside: it is neither a recorded value nor a parameter."""
    return not isinstance(x, (nn.Value, nn.Parameter))
