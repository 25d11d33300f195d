"""`Module`: what every layer and model is, in `bn` and in `bn.nn`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from numpy import ndarray
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.arrays import holds_foreign, numpy_argument, takes_arrays, takes_gradients
from bn.inputs import Inputs
from bn.markup import module_html
from bn.parameter import Parameter
from bn.prediction import predict
from bn.recording.in_place import Summed, check_unchanged, setting, summed
from bn.recording.kept import Kept, current, now
from bn.recording.plan import plan
from bn.recording.record import Record, takes_option
from bn.recording.trace import output_shape, trace
from bn.recording.waiting import Activation, MaxPooling, Waiting
from bn.summary import summary
from bn.types import Array, Gradient, Shape

if TYPE_CHECKING:
    from typing_extensions import Self


COLLECTIONS = (list, tuple, dict, set)  # in which layers would not be found
Hook = Callable[["Module", tuple[Any, ...], Any], object]


class Module:
    """A layer or a model.

    ``layer(x)`` is the forward pass. ``layer.backward(dy)`` returns the gradient of its input and
    adds those of its parameters to their `grad`.

    A *layer* computes on arrays, and defines both `forward` and `backward`: it keeps what its
    backward pass needs with `keep`, and `backward` gets it with `take`. It may return a tuple of
    arrays. Then `keep` and `take` get the first one, or its gradient, `further_shapes` tells the
    shapes of the others, and `backward` gets a tuple of gradients, zeros for those not needed.

    A *model* defines `forward` alone, by calls of layers and other models. These calls are
    recorded, and the backward pass goes through them. What flows in such a forward is a
    `bn.nn.Value`, which tells what can be done with it.

    Attributes that are `Parameter` or `Module` objects are part of the layer without further
    registration, in the order of their assignment. Arrays that belong to the state without being
    trained are named in `buffer_names`.

    Attributes
    ----------
    training : bool
        Whether the layer is in training mode; `train` and `eval` set it.
    buffer_names : tuple of str
        The attributes whose arrays belong to the state without being trained (of the class).
    state_names : mapping of str to str
        The names in the state of attributes that are called otherwise there (of the class).
    kept_names : tuple of str
        What messages of `bn.check_inputs` call the values that `keep` gets (of the class).

    Examples
    --------
    A layer of one's own, which scales its input by one trainable number:

    >>> import numpy as np
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.weight = Parameter(np.array([2.0]))
    ...     def output_shape(self, input_shape):
    ...         return input_shape
    ...     def forward(self, x):
    ...         y = x * self.weight.data
    ...         self.keep(y, x)  # dy must be like y; backward needs x
    ...         return y
    ...     def backward(self, dy):
    ...         (x,) = self.take(dy)
    ...         self.weight.accumulate(np.array([np.sum(dy * x)]))
    ...         return dy * self.weight.data
    >>> layer = Scale()
    >>> layer(np.array([1.0, 3.0])), layer.backward(np.ones(2)), layer.weight.grad
    (array([2., 6.]), array([2., 2.]), array([4.]))

    A model that uses it twice:

    >>> class Twice(Module):
    ...     def __init__(self):
    ...         self.scale = Scale()
    ...     def forward(self, x):
    ...         return self.scale(self.scale(x)) + x
    >>> model = Twice()
    >>> model(np.array([1.0, 3.0])), model.backward(np.ones(2)), model.scale.weight.grad
    (array([ 5., 15.]), array([5., 5.]), array([16.]))
    """

    training: bool = True
    buffer_names: ClassVar[tuple[str, ...]] = ()
    state_names: ClassVar[Mapping[str, str]] = {}
    takes_integers: ClassVar[bool] = False  # whether x holds integers, as that of an embedding
    takes_unflattened: ClassVar[bool] = False  # whether forward has an argument `flatten`
    records: ClassVar[bool] = False  # whether it is a model: forward without backward
    fuses: ClassVar[bool] = False  # whether it can be computed with other layers, in one pass
    kept_names: ClassVar[tuple[str, ...]] = ()  # of what `keep` gets, for `bn.check_inputs`
    hooks: tuple[Hook, ...] = ()
    # The numbers of values in a model's records that a layer joined, although others need them too.
    needed_alone: frozenset[int] = frozenset()
    _kept: Kept | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.records = cls.forward is not Module.forward and cls.backward is Module.backward
        cls.fuses = cls.fuses and cls.__module__.startswith("bn.")  # others may change anything
        if "backward" in vars(cls):
            cls.backward = takes_gradients(cls.backward)  # type: ignore[method-assign]

    def forward(self, *args: Any, **options: Any) -> Any:
        """The output for x, the first argument; a layer or model defines it."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: Array, *args: Any, **options: Any) -> Any:
        """The gradient of the input, for dy, that of the output.

        A layer defines it. That of a model goes through the calls of its forward.

        Parameters
        ----------
        dy : ndarray
        input_grad : bool, default True
            False returns None, and leaves out what only the gradient of the input needs. Layers
            need not take this argument.

        Returns
        -------
        ndarray or None
            A tuple of arrays if the model was called with several arrays.

        Raises
        ------
        RuntimeError
            No forward pass came since the last call.
        TypeError, ValueError
            dy has not the shape and dtype of the output.
        """
        if not self.records:
            raise NotImplementedError(
                f"{type(self).__name__}.backward: a class that defines backward is a layer, whose "
                "forward is not recorded, so it must compute the gradient itself"
            )
        return self._backward(dy, *args, **options)

    @takes_arrays
    def _backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        _check.flag("input_grad", input_grad)
        if self._kept is None and now() is None:
            raise _check.not_recorded_model(type(self).__name__)
        (record,) = self.take(dy)
        gradient: Gradient = record.backward(dy, input_grad)
        return gradient

    def __call__(self, *args: Any, **options: Any) -> Any:
        if options and args and not self.records:
            self._check_options(options)
        running = current.get()
        if running is not None and isinstance(running[0], Record):
            return running[0].call(self, args, options)
        if len(args) != 1 or type(args[0]) is not ndarray:  # not the usual call
            args = self._numpy_arguments(args)
        y = self._recorded(args, options) if self.records else self.forward(*args, **options)
        if self.hooks:
            self.call_hooks(args, y)
        return y

    def _numpy_arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments by position, with arrays of other libraries as NumPy's."""
        if not any(map(holds_foreign, args)):
            return args
        names = ["x", *(f"argument {i}" for i in range(2, len(args) + 1))]
        return tuple(
            numpy_argument(f"{name} of {type(self).__name__}", value)
            for name, value in zip(names, args, strict=True)
        )

    def _check_options(self, options: Iterable[str]) -> None:
        """Check the arguments of a layer by name: Python would name a class that it inherits."""
        for name in options:
            _check.layer_takes(self, name, takes_option(type(self).forward, name))

    def _recorded(self, args: tuple[Any, ...], options: dict[str, Any]) -> Array:
        """Run a model's forward, and keep its record."""
        forward = type(self).forward
        own = {name: value for name, value in options.items() if takes_option(forward, name)}
        record = Record(self, {name: options[name] for name in options if name not in own})
        y = record.run(*args, **own)
        self.keep(y, record)
        return y

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call a function after each forward pass of this layer or model.

        Parameters
        ----------
        hook : callable
            ``hook(layer, inputs, y)``, where the inputs are a tuple of the positional arguments
            and y is the output, all arrays. Its result is ignored.

        Returns
        -------
        callable
            Takes the hook away again.

        References
        ----------
        torch.nn.Module.register_forward_hook.

        Examples
        --------
        >>> import numpy as np
        >>> from bn import nn
        >>> model = nn.Sequential(nn.Flatten(), nn.ReLU())
        >>> remove = model[0].register_forward_hook(lambda layer, inputs, y: print(y.shape))
        >>> y = model(np.ones((2, 3, 4)))
        (2, 12)
        >>> remove()
        >>> y = model(np.ones((2, 3, 4)))
        """
        _check.function("hook", hook)
        self.hooks = (*self.hooks, hook)

        def remove() -> None:
            left = list(self.hooks)
            if hook in left:
                left.remove(hook)
            self.hooks = tuple(left)

        return remove

    def call_hooks(self, inputs: tuple[Any, ...], y: Any) -> None:
        """Tell the forward hooks of one forward pass."""
        for hook in self.hooks:
            hook(self, inputs, y)

    def defer(self, x: Array, **options: Any) -> Waiting | None:
        """The forward pass without its output, which waits for the layers that follow; or None."""
        return None

    def reads_again(self) -> bool:
        """Whether a forward pass by itself goes over its input twice, as for statistics."""
        return False

    def epilogue(self) -> Activation | MaxPooling | None:
        """What this layer is to one in front of it that can be computed together with it."""
        return None

    def prepared(self, *args: Any, **options: Any) -> Callable[..., Array]:
        """A function of arrays that does what `forward` does, while nothing else changes.

        A layer may override it to do once what does not depend on the numbers in its input.

        Parameters
        ----------
        *args, **options
            Of a call of `forward`. The arrays that the function gets later are laid out like these.

        Returns
        -------
        callable

        Examples
        --------
        >>> import numpy as np
        >>> from bn import nn
        >>> x = np.array([-1.0, 1.0])
        >>> nn.ReLU().prepared(x)(-x)
        array([1., 0.])
        """
        return partial(self.forward, **options) if options else self.forward

    def keep(self, y: Array | Waiting, *values: Any) -> None:
        """Keep what `backward` will need; the gradient that it gets must be like y.

        Parameters
        ----------
        y : ndarray
            The output, whose shape and dtype are kept, not its values.
        *values
            What `take` returns.

        Examples
        --------
        See `Module`.
        """
        running = current.get()
        if setting.get() is not None:
            values = summed(type(self).__name__, self.kept_names, values)
        if running is None:
            self._kept = (y.shape, y.dtype, values)
        else:
            running[0][self] = (y.shape, y.dtype, values)

    def take(self, dy: Array) -> tuple[Any, ...]:
        """What forward kept, which serves one backward pass.

        Parameters
        ----------
        dy : ndarray
            The gradient that `backward` got.

        Returns
        -------
        tuple
            The values that were given to `keep`.

        Raises
        ------
        RuntimeError
            No forward pass came since the last call; or `bn.check_inputs` found that an array was
            changed since then.
        TypeError, ValueError
            dy has not the shape and dtype of the output; what was kept stays.

        Examples
        --------
        See `Module`.
        """
        frame = now()
        kept = self._kept if frame is None else frame.get(self)
        _check.dy(type(self).__name__, dy, kept)
        assert kept is not None
        if type(kept[2]) is Summed:
            check_unchanged(kept[2].sums)
        if frame is None:
            self._kept = None
        else:
            del frame[self]
        return kept[2]

    def attribute_dicts(self) -> list[dict[str, Any]]:
        """The dicts of attributes that a forward pass may set: its own, and those of its parts."""
        return [vars(self)]

    @property
    def last_record(self) -> Record | None:
        """The record of a model's last forward pass, until a backward pass uses it."""
        kept = self._kept[2] if self._kept is not None else ()
        return kept[0] if self.records and kept else None

    def forget(self) -> None:
        """Drop what forward kept in this layer and all inside it."""
        for module in self.modules():
            module._kept = None

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`, both without the batch axis."""
        if self.records:
            return output_shape(self, input_shape)
        _check.own_output_shape(self, Module.forward)
        return input_shape

    def further_shapes(self, shape: Shape) -> list[Shape]:
        """The shapes of a layer's outputs behind the first, for x of this shape with all axes."""
        return []

    def build(self, input_shape: Shape) -> None:
        """Create the parameters that depend on the input's shape (without the batch axis)."""
        if not self.records:
            return
        for visit in trace(self, input_shape)[1:]:  # raises before any layer is built
            layer = visit.module
            if not layer.records or type(layer).build is not Module.build:
                layer.build(visit.input_shape)

    @property
    def built(self) -> bool:
        """Whether the layer has its parameters; some learn a size from `build` or the first x."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: all but what forward kept, which is for one backward pass."""
        state = vars(self).copy()
        state.pop("_kept", None)
        return state

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, layer) of the layers directly inside this one."""
        for name, value in self._attributes():
            if isinstance(value, Module):
                yield name, value

    def _attributes(self) -> Iterator[tuple[str, object]]:
        """(name, value) of the attributes that may be layers or parameters."""
        yield from vars(self).items()

    def replace_child(self, name: str, layer: Module) -> None:
        """Put another layer in the place of one directly inside this one."""
        setattr(self, name, layer)

    def modules(self) -> Iterator[Module]:
        """The layer itself and all layers inside it, depth first."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted path, layer) of the layer itself, whose path is `prefix`, and all inside it.

        Parameters
        ----------
        prefix : str
            Stands before all paths.
        remove_duplicate : bool
            Yield a layer that is used in several places once. False yields each of its places, and
            what is inside it at the first one only.

        Examples
        --------
        >>> from bn import nn
        >>> [path for path, layer in nn.Sequential(nn.Sequential(nn.ReLU())).named_modules()]
        ['', '0', '0.0']
        """
        _check.flag("remove_duplicate", remove_duplicate)
        yield from self._named_modules(prefix, remove_duplicate, set())

    def _named_modules(
        self, path: str, remove_duplicate: bool, seen: set[int]
    ) -> Iterator[tuple[str, Module]]:
        first = id(self) not in seen
        if first or not remove_duplicate:
            yield path, self
        if first:
            seen.add(id(self))
            for name, child in self.children():
                inside = f"{path}.{name}" if path else name
                yield from child._named_modules(inside, remove_duplicate, seen)

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(name in the state, parameter) of this layer, without those of layers inside."""
        _check.built(type(self).__name__, self.built)
        for name, value in self._attributes():
            if isinstance(value, Parameter):
                yield self.state_names.get(name, name), value
            elif type(value) in COLLECTIONS:
                _check.no_layers_in(self, name, value, Module)

    def own_buffers(self) -> Iterator[tuple[str, Array]]:
        """(name in the state, array) of this layer's buffers, without those of layers inside."""
        for name in self.buffer_names:
            value = getattr(self, name)
            if value is not None:
                yield self.state_names.get(name, name), value

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) pairs; names are dotted paths, as in PyTorch."""
        for name, parameter in self.own_parameters():
            yield prefix + name, parameter
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """All trainable parameters, those of the layers inside included; a shared one is one."""
        return list(dict.fromkeys(parameter for _, parameter in self.named_parameters()))

    def named_state(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """(name, array) of parameters and buffers; the arrays are the layer's own, not copies."""
        for name, parameter in self.own_parameters():
            yield prefix + name, parameter.data
        for name, buffer in self.own_buffers():
            yield prefix + name, buffer
        for name, child in self.children():
            yield from child.named_state(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, under PyTorch's names (``0.weight``)."""
        return {name: array.copy() for name, array in self.named_state()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> Self:
        """Copy a state's arrays in, or raise and change nothing.

        Parameters
        ----------
        state : mapping of str to array_like
            As `state_dict` returns it, or a PyTorch model's. Values are cast to the layer's dtype.
            ``num_batches_tracked`` may be missing, as in old checkpoints.

        Returns
        -------
        Module
            The layer itself.

        Raises
        ------
        ValueError
            Names are missing or unknown, a shape differs, or a count is not a number.
        TypeError
            `state` is no mapping, or NumPy does not read a value as numbers: it reads no tensor of
            PyTorch that requires a gradient.
        """
        _check.mapping("state", state)
        own = dict(self.named_state())
        arrays = {name: _check.state_array(name, value) for name, value in state.items()}
        _check.state(own, arrays)
        cast = {name: array.astype(own[name].dtype) for name, array in arrays.items()}
        pairs = [(own[name], array) for name, array in cast.items()]
        copy_all([*pairs, *self._all_loading(set(arrays), "")])
        return self

    def get_weights(self) -> list[Array]:
        """Copies of all parameters and buffers, in the order of Keras's `get_weights`.

        The order is that of `named_modules`, and for each layer its parameters, then its buffers: a
        batch normalization has gamma, beta, moving_mean and moving_variance. An array that belongs
        to several layers comes once, and ``num_batches_tracked``, which Keras has not, is left out.

        Returns
        -------
        list of ndarray
            In this package's layouts, which are PyTorch's: the kernel of a `bn.nn.Conv2d` is
            (out, in, height, width), the weight of a `bn.nn.Linear` (out, in).

        References
        ----------
        keras.Model.get_weights.

        Examples
        --------
        >>> import bn
        >>> from bn import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), bn.BatchNorm1d(3))
        >>> [array.shape for array in model.get_weights()]
        [(3, 4), (3,), (3,), (3,), (3,), (3,)]
        """
        arrays = {id(array): array for _, array in self._weights()}
        return [array.copy() for array in arrays.values()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Copy arrays in, in the order of `get_weights`, or raise and change nothing.

        Parameters
        ----------
        weights : sequence of array_like
            Values are cast to the layer's dtype. A kernel of Keras's Conv2D, (height, width, in,
            out), goes in as ``kernel.transpose(3, 2, 0, 1)``, that of a Dense layer as
            ``kernel.T``.

        Raises
        ------
        ValueError
            There are more or fewer arrays than `get_weights` returns, or a shape differs.
        TypeError
            An array does not hold numbers.

        References
        ----------
        keras.Model.set_weights.

        Examples
        --------
        >>> import numpy as np
        >>> from bn import nn
        >>> one, other = nn.Linear(4, 3, rng=0), nn.Linear(4, 3, rng=1)
        >>> other.set_weights(one.get_weights())
        >>> bool(np.all(one.weight.data == other.weight.data))
        True
        """
        own = list(self._weights())
        arrays = dict.fromkeys(id(array) for _, array in own)
        _check.weight_count(len(weights), len(arrays))
        given = dict(zip(arrays, weights, strict=True))
        self.load_state_dict({name: given[id(array)] for name, array in own})

    def _weights(self) -> Iterator[tuple[str, Array]]:
        """(name, array) of the state without the numbers of batches."""
        for name, array in self.named_state():
            if name.rpartition(".")[2] != "num_batches_tracked":
                yield name, array

    def _all_loading(self, names: set[str], prefix: str) -> Iterator[tuple[Array, Array]]:
        own = (name for name, _ in (*self.own_parameters(), *self.own_buffers()))
        yield from self.loading({name for name in own if prefix + name in names})
        for name, child in self.children():
            yield from child._all_loading(names, f"{prefix}{name}.")

    def loading(self, names: set[str]) -> list[tuple[Array, Array]]:
        """(array, its new value) of what else changes when arrays of these names are loaded.

        `load_state_dict` copies them in the same step; a layer with more state overrides this.
        """
        return []

    def train(self, mode: bool = True) -> Self:
        """Switch this layer and all inside it to training mode (or to eval mode)."""
        _check.flag("mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this layer and all inside it to eval mode."""
        return self.train(False)

    def trains(self, parameter: Parameter) -> bool:
        """Whether `backward` adds to the gradient of this parameter of the layer."""
        return parameter.trainable

    @property
    def trainable(self) -> bool:
        """Whether the layer's parameters, and those of the layers inside, get gradients.

        False leaves them as they are, and a batch normalization normalizes with its running
        statistics, in training mode too.
        """
        own = all(parameter.trainable for _, parameter in self.own_parameters())
        return own and all(child.trainable for _, child in self.children())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        _check.flag("trainable", value)
        for _, parameter in self.own_parameters():
            parameter.trainable = value
            if not value:
                parameter.grad = None
        for _, child in self.children():
            child.trainable = value

    def predict(self, x: Inputs, batch_size: int = 256) -> Array:
        """The outputs for many samples, in eval mode and without keeping anything for `backward`.

        Each layer gets its mode back, also after an error. Several threads may predict with one
        model at once.

        Parameters
        ----------
        x : ndarray, shape (N, ...), or tuple or dict of such arrays
            A tuple has the arguments of `forward` by position, and a dict by name, such as
            ``{"x": texts, "lengths": lengths}``.
        batch_size : int
            How many samples go through the model together.

        Returns
        -------
        ndarray, shape (N, ...)

        Raises
        ------
        TypeError
            x is none of these, or an output is no array.
        ValueError
            `batch_size` is not a positive integer, or x does not fit the model.

        See Also
        --------
        bn.nn.evaluate : The loss and the accuracy.

        Examples
        --------
        >>> import numpy as np
        >>> from bn import nn
        >>> model = nn.Sequential(nn.Dropout(0.5), nn.ReLU())
        >>> model.predict(np.array([[-1.0], [2.0], [3.0]]), batch_size=2).ravel(), model.training
        (array([0., 2., 3.]), True)
        """
        return predict(self, x, batch_size)

    def further_state(self) -> dict[str, Array]:
        """The layer's own arrays that a state dict lacks, but that the next batches depend on.

        `bn.nn.save_training` saves them, so that a training goes on with the same bits. A layer
        with more than its parameters and buffers overrides this.
        """
        return {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients (PyTorch's argument is taken; they are always set to None)."""
        _check.flag("set_to_none", set_to_none)
        for parameter in self.parameters():
            parameter.grad = None

    def multiply_adds(self, output_shape: Shape) -> int:
        """The multiply-adds with weights for one output of this shape (without the batch axis)."""
        return 0

    def summary(self, input_shape: Shape, costs: bool = False) -> None:
        """Build the model and print its layers, output shapes and parameter counts.

        Parameters
        ----------
        input_shape : tuple of int
            The shape of one input, without the batch axis.
        costs : bool
            Also print, for one sample, each layer's multiply-adds with weights and the bytes of its
            output in float32.
        """
        print(summary(self, input_shape, costs))

    def plan(self, input_shape: Shape, batch_size: int = 32) -> None:
        """Print how the model's forward pass is computed, in its mode of training or evaluation.

        Parameters
        ----------
        input_shape : tuple of int
            The shape of one input, without the batch axis.
        batch_size : int
            Samples in the batch.
        """
        print(plan(self, input_shape, batch_size))

    def extra_repr(self) -> str:
        """What stands between the parentheses of this layer's repr."""
        return ""

    def __repr__(self) -> str:
        name, children = type(self).__name__, list(self.children())
        if not children:
            return f"{name}({self.extra_repr()})"
        lines = [f"({key}): {child!r}".replace("\n", "\n  ") for key, child in children]
        lines = [self.extra_repr(), *lines] if self.extra_repr() else lines
        return f"{name}(\n  " + "\n  ".join(lines) + "\n)"

    def _repr_html_(self) -> str:
        """What notebooks show: a table of the layers."""
        return module_html(self)


class Elementwise(Module):
    """A layer whose output has its input's shape."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def copy_all(pairs: Iterable[tuple[Array, Array]]) -> None:
    """Copy new values into arrays, given as (array, values): into all, whatever interrupts it."""
    pairs = list(pairs)
    core.copy_together([array for array, _ in pairs], [values for _, values in pairs])


def unchanged(model: Module) -> AbstractContextManager[None]:
    """Give all modules of a model back the attributes that they have now, when `with` ends."""
    return core.Restored([part for module in model.modules() for part in module.attribute_dicts()])
