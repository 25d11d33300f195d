"""`Model` and `Sequential`: graphs and chains of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.keras import described, saving
from bn.keras.configs import serialized
from bn.keras.graph import Graph
from bn.keras.layers.base import Layer
from bn.keras.layers.core import InputLayer
from bn.keras.layers.weight import Weight
from bn.keras.names import name_for, unique
from bn.keras.tensors import KerasTensor, OpenShape
from bn.keras.training import Trainer
from bn.types import Array, Shape


class OutputShape(tuple[Any, ...]):
    """The shape of a model's output: a tuple, as Keras has it, and called, as `bn.nn` does.

    Parameters
    ----------
    lengths : iterable of int or None
        With the batch axis.
    of_input : callable
        Returns the shape of one output for that of one input, both without the batch axis.

    Examples
    --------
    >>> shape = OutputShape((None, 3), lambda input_shape: (3,))
    >>> shape, shape((4,))
    ((None, 3), (3,))
    """

    of_input: Callable[[Shape], Shape]

    def __new__(cls, lengths: Iterable[Any], of_input: Callable[[Shape], Shape]) -> OutputShape:
        made = super().__new__(cls, lengths)
        made.of_input = of_input
        return made

    def __call__(self, input_shape: Shape) -> Shape:
        return self.of_input(input_shape)


class Model(Trainer):
    """A graph of layers: from inputs to one output.

    Parameters
    ----------
    inputs : KerasTensor, or list or dict of them
        What `bn.keras.Input` returned.
    outputs : KerasTensor
        What a layer returned. A list of one is taken, too.
    name : str, optional
    trainable : bool

    Attributes
    ----------
    layers : list of Layer
        In Keras's order, inputs among them.

    Raises
    ------
    TypeError
        There are no inputs and no output, as for a subclass with a `call` of its own.
    ValueError
        There are several outputs, or the output needs what is no input.

    References
    ----------
    keras.Model.

    Examples
    --------
    >>> import numpy as np
    >>> from bn.keras import Input, layers
    >>> x = Input((4,))
    >>> y = layers.Add(name="sum")([x, layers.Dense(4)(x)])
    >>> model = Model(x, y)
    >>> model(np.ones((2, 4))).shape, model.layers[-1].name
    ((2, 4), 'sum')
    """

    keras_module = "keras.src.models.functional"
    graph: Graph

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        several = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
        flat = list(several) if isinstance(several, (tuple, list)) else [several]
        outputs = (
            outputs[0] if isinstance(outputs, (tuple, list)) and len(outputs) == 1 else outputs
        )
        for tensor in [*flat, outputs]:
            _check.keras_graph(tensor, KerasTensor)
        super().__init__(name=name or unique("functional"), trainable=trainable)
        self.set_graph(Graph(flat, outputs))

    def set_graph(self, graph: Graph) -> None:
        """Take the layers of a graph as one's own."""
        self.graph = graph
        self[:] = graph.layers
        self._is_built = True
        if not self._trainable:
            self.trainable = False
        self.train(self.training)

    @property
    def keras_class(self) -> str:
        return "Functional"

    # ---- what is in it ----

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self if isinstance(layer, Layer)]

    @property
    def own_weights(self) -> list[Weight]:
        return []

    @property
    def weights(self) -> list[Weight]:
        return [*dict.fromkeys(weight for layer in self.layers for weight in layer.weights)]

    @property
    def inputs(self) -> list[KerasTensor]:
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        return [self.graph.output]

    @property
    def input(self) -> Any:
        inputs = self.inputs
        return inputs if len(inputs) > 1 else inputs[0]

    @property
    def output(self) -> KerasTensor:
        return self.graph.output

    @property
    def input_shape(self) -> Any:
        shapes = [tensor.shape for tensor in self.inputs]
        return shapes if len(shapes) > 1 else shapes[0]

    @property
    def output_shape(self) -> OutputShape:
        """The shape of the output, with the batch axis; empty before the weights are made."""
        lengths = self.output.shape if self.built else ()
        return OutputShape(lengths, super().output_shape)

    @property
    def input_names(self) -> list[str]:
        return [tensor.node.layer.name for tensor in self.inputs]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of a name or at an index.

        Parameters
        ----------
        name : str, optional
        index : int, optional

        Raises
        ------
        ValueError
            There is no such layer.
        """
        layers = self.layers
        if index is not None and -len(layers) <= index < len(layers):
            return layers[index]
        for layer in layers:
            if index is None and layer.name == name:
                return layer
        asked = name if index is None else index
        raise _check.no_such_layer(self.name, asked, [layer.name for layer in layers])

    # ---- calls ----

    def __call__(self, inputs: Any, *others: Any, **options: Any) -> Any:
        """The output for arrays or symbolic tensors; a list of them, or a dict by name."""
        if isinstance(inputs, Mapping):
            _check.keras_input_names(inputs, self.input_names)
            inputs = [inputs[name] for name in self.input_names]
        return super().__call__(inputs, *others, **options)

    def forward(self, *values: Any) -> Any:
        """The output for values of the inputs."""
        return self.graph.run(values)

    def converted(self, number: int, x: ArrayLike) -> Array:
        array = super().converted(number, x)
        if self.built:
            expected = self.inputs[number].shape[1:]
            if array.ndim == len(expected) and expected[-1:] == (1,):
                array = array[..., None]  # one number for each sample is a row of one, as in Keras
            _check.keras_input_fits(self.name, array.shape, expected)
        return array

    def cast(self, x: Any) -> Any:
        return x  # its layers do that

    def takes_index(self, number: int) -> bool:
        return self.graph.takes_index(number)

    def input_dtype(self, number: int) -> np.dtype[Any]:
        if self.takes_index(number):
            return np.dtype(np.intp)
        return self.inputs[number].node.layer.dtype if self.built else self.dtype

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        known: dict[Any, OpenShape] = {
            tensor.node: shape for tensor, shape in zip(self.graph.inputs, shapes, strict=True)
        }
        for node in self.graph.calls:
            known[node] = node.layer.shape_for([known[parent] for parent in node.parents])
        return known[self.graph.output.node]

    # ---- files ----

    def get_config(self) -> dict[str, Any]:
        return saving.graph_config(self.name, self.trainable, self.graph)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The model that `get_config` describes, with new weights."""
        _check.mapping("config", config)
        return described.graph_of(config)


class Sequential(Model):
    """Layers that are applied one after the other.

    Parameters
    ----------
    layers : sequence of Layer, optional
        The first may be an `Input`. Without it, or an `input_shape` of the first layer, the weights
        are made by the first batch, or by `build`.
    trainable : bool
    name : str, optional

    Raises
    ------
    TypeError
        Something else than a layer is added.
    ValueError
        A layer does not fit the one before it.

    References
    ----------
    keras.Sequential.

    Examples
    --------
    >>> from bn.keras import layers
    >>> model = Sequential([layers.Dense(3, input_shape=(4,)), layers.ReLU()])
    >>> model.count_params(), model.output_shape((4,))
    (15, (3,))
    """

    keras_module = "keras"

    def __init__(
        self,
        layers: Sequence[Layer | KerasTensor] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        Trainer.__init__(self, name=name_for(Sequential, name), trainable=trainable)
        self.first: InputLayer | None = None
        for layer in layers or ():
            self._append(layer)
        self._connect()

    @property
    def keras_class(self) -> str:
        return "Sequential"

    def add(self, layer: Layer | KerasTensor) -> None:
        """Add a layer at the end.

        Parameters
        ----------
        layer : Layer
        """
        self._append(layer)
        self._connect()

    def pop(self) -> Layer | None:
        """Take the last layer away, and return it."""
        layers = self.layers
        if not layers:
            return None
        self[:] = layers[:-1]
        self._connect()
        return layers[-1]

    def _append(self, layer: Layer | KerasTensor) -> None:
        found = layer.node.layer if isinstance(layer, KerasTensor) else layer
        _check.keras_kind("each layer", found, Layer, "a layer of bn.keras")
        if isinstance(found, InputLayer):
            _check.keras_first(len(self) > 0 or self.first is not None)
            self.first = found
            return
        if not len(self) and self.first is None:
            shape = _shape_of_first(found)
            self.first = None if shape is None else InputLayer(shape, dtype=found.dtype)
        self.append(found)

    def _connect(self) -> None:
        """Call the layers on the symbolic input, if that is known."""
        self._is_built = False
        layers = self.layers
        _check.keras_unique_names([layer.name for layer in layers])
        if self.first is None or not layers:
            return
        tensor = self.first.output
        for layer in layers:
            tensor = layer(tensor)
        unique("functional")  # Keras makes a graph of it, too, which has a name
        self.set_graph(Graph([self.first.output], tensor))
        self[:] = layers  # without the input

    def build_for(self, shapes: Sequence[OpenShape]) -> None:
        if not self.built:
            _check.one_input(self.name, len(shapes))
            self.first = self.first or InputLayer(shapes[0], dtype=self.layers[0].dtype)
            self._connect()

    def takes_index(self, number: int) -> bool:
        layers = self.layers
        return bool(layers) and layers[0].takes_index(number)

    def forward(self, *values: Any) -> Any:
        """The output for the value of the input."""
        (x,) = values
        for layer in self.layers:
            x = layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        first = [] if self.first is None else [self.first]
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        config["dtype"] = self.dtype.name
        config["layers"] = [serialized(layer) for layer in (*first, *self.layers)]
        if self.first is not None:
            config["build_input_shape"] = [None, *self.first.shape]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        _check.mapping("config", config)
        return described.sequential_of(config)


def _shape_of_first(layer: Layer) -> OpenShape | None:
    """The shape of a sample, as far as the first layer of a chain knows it."""
    if isinstance(layer, Model) and layer.built:
        return layer.inputs[0].shape[1:]
    return layer.given_shape


described.MODELS.update(Sequential=Sequential, Functional=Model)
