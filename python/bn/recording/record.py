"""`Record`: the calls of a model's forward pass, and the backward pass through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from inspect import Parameter as Argument
from inspect import signature
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bn import _check
from bn._core import core
from bn.parameter import Parameter
from bn.recording.in_place import Sum, check_unchanged, setting, sums_of
from bn.recording.kept import NOWHERE, Frame, current, frame_of, now
from bn.recording.operations import Gradients, Result, add, part, reshape
from bn.recording.value import Flattened, Value
from bn.recording.waiting import Waiting, fused
from bn.types import Array, Gradient, Shape

if TYPE_CHECKING:
    from bn.module import Module


NEED_OPERANDS = ("multiply", "divide")  # the operations whose gradients need their operands


class Call:
    """One call of a layer, or one operation, in a record.

    Attributes
    ----------
    name : str
        The layer's class or the operation.
    layer : Module or None
        None for an operation.
    path : str
        The layer's dotted path in the model, at this call.
    inputs : tuple of int
        The numbers of the values that went in; of arrays and parameters there is none.
    parameters : list of Parameter
        Those that went in.
    output : int
        The number of the value that came out.
    others : tuple of int
        The numbers of the other ones, of a layer that returns several arrays.
    likes : list of (shape, dtype)
        Of all outputs, where there are others.
    joined : tuple of Call
        The calls before this one that are computed together with it.
    waiting : Waiting or None
        What computes the output of them all.
    """

    __slots__ = (
        "frame",
        "gradients",
        "inputs",
        "joined",
        "layer",
        "likes",
        "name",
        "operands",
        "others",
        "output",
        "owners",
        "parameters",
        "sums",
        "waiting",
    )

    def __init__(self, name: str, operands: tuple[Any, ...], output: int) -> None:
        self.name, self.output = name, output
        self.operands = operands  # for each gradient the number of the value, a parameter, or None
        self.inputs = tuple([operand for operand in operands if type(operand) is int])
        self.parameters = [o for o in operands if isinstance(o, Parameter)]
        self.layer: Module | None = None
        self.owners: tuple[Module, ...] = ()  # the modules inside which it happened, and the layer
        self.frame: Frame | None = None  # what the layers of the call kept
        self.gradients: Gradients | None = None  # of an operation
        self.waiting: Waiting | None = None
        self.joined: tuple[Call, ...] = ()
        self.others: tuple[int, ...] = ()
        self.likes: list[tuple[Shape, np.dtype[Any]]] = []
        self.sums: list[Sum] | None = None  # of what it keeps outside of a frame

    @property
    def path(self) -> str:
        return path_of(self.owners)

    def trains(self) -> bool:
        """Whether it has parameters that get gradients."""
        inside = [] if self.layer is None else self.layer.parameters()
        return any([parameter.trainable for parameter in (*self.parameters, *inside)])

    def with_others(self, dy: Array | None, gradients: dict[int, Array]) -> Any:
        """The gradients of all outputs, zeros for those not needed; None if none is needed."""
        dys = [dy, *(gradients.pop(number, None) for number in self.others)]
        if all(each is None for each in dys):
            return None
        return tuple(
            np.zeros(*like) if each is None else each
            for each, like in zip(dys, self.likes, strict=True)
        )

    def backward(self, dy: Any, wanted: bool) -> Sequence[Array | None]:
        """The gradients of the operands; without `wanted`, only parameters get theirs."""
        if self.sums is not None:
            check_unchanged(self.sums)
        if self.joined:
            assert self.waiting is not None
            _check.dy(self.name, dy, (self.waiting.shape, self.waiting.dtype, ()))
            return self.waiting.backward(dy, wanted)
        if self.layer is None:
            assert self.gradients is not None
            return self.gradients(dy)
        if not wanted and takes_input_grad(type(self.layer).backward):
            dx = self.layer.backward(dy, input_grad=False)
        else:
            dx = self.layer.backward(dy)
        return dx if isinstance(dx, tuple) else (dx,)


class Record:
    """What happened in one forward pass of a model: the calls, in their order.

    Parameters
    ----------
    model : Module
    options : mapping
        Arguments for all layers that take them, such as ``training`` or ``mask``.

    Attributes
    ----------
    calls : list of Call
        Of layers with a backward pass of their own, and operations.
    """

    def __init__(self, model: Module, options: Mapping[str, Any]) -> None:
        self.model, self.options = model, options
        self.keeps = now() is not NOWHERE
        self.fuses = fused.on()
        self.calls: list[Call] = []
        self.inputs: list[int] = []
        self.result = 0
        self.used: set[str] = set()  # the options that some layer took
        self._values = 0
        self._inside: list[Module] = []  # the modules whose forward runs
        self._failed: tuple[Module, ...] = ()  # the same, when an exception came
        self._input_likes: list[tuple[Shape, np.dtype[Any]]] = []
        self._outer: Any = None

    # ---- forward ----

    def run(self, *args: Any, **options: Any) -> Array:
        """The model's output, recorded; after an exception, statistics are what they were."""
        with core.Transaction(), _running(self):
            self._outer = current.get()[1]  # type: ignore[index]
            try:
                _check.model_input(self.model, args)
                values = [self._input(a) if isinstance(a, np.ndarray) else a for a in args]
                y = self.call(self.model, values, options)
                for name in self.options:
                    if name not in self.used:
                        raise _check.option_not_taken(type(self.model).__name__, name)
                array: Array = y.array
                if setting.get() is not None:
                    self._sum_what_waited()
            except Exception as error:
                _check.name_the_place(error, path_of(self._failed))
                raise
            self.result = y.index
        return array

    def _sum_what_waited(self) -> None:
        """Take the checksums of what layers that are computed together keep."""
        for call in self.calls:
            if call.joined and call.waiting is not None:
                call.sums = sums_of(call.joined[0].name, call.waiting.kept().items())

    def _input(self, array: Array) -> Value:
        value = self.new_value(array)
        self.inputs.append(value.index)
        self._input_likes.append((array.shape, array.dtype))
        return value

    def new_value(self, array: Array | None) -> Value:
        """A value that is not recorded yet."""
        self._values += 1
        return Value(self, self._values - 1, array)

    def call(self, module: Module, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Call a layer or a model on recorded values; a layer may give a tuple of values."""
        if self.options:
            options = {**self._options_for(module), **options}
        self._failed = ()  # an exception that came before was caught
        self._inside.append(module)
        try:
            y = (self._forward if module.records else self._layer)(module, args, options)
        except BaseException:
            if not self._failed:
                self._failed = tuple(self._inside)
            raise
        finally:
            self._inside.pop()
        if module.hooks and module is not self.model:  # the model tells its own when all is done
            result = tuple(v.array for v in y) if type(y) is tuple else y.array
            module.call_hooks(tuple(self.array_of(a) for a in args), result)
        return y

    def _forward(self, module: Module, args: Sequence[Any], options: dict[str, Any]) -> Value:
        """Run a model's own forward, whose calls are recorded."""
        values = [self.new_value(a) if isinstance(a, np.ndarray) else a for a in args]
        y: Value = (
            self._forward_with(module, values, options) if options else module.forward(*values)
        )
        _check.recorded_output(type(module).__name__, y, Value)
        return y

    def _forward_with(
        self, module: Module, values: Sequence[Any], options: dict[str, Any]
    ) -> Value:
        """Run a model's forward; options that it does not take itself are for all layers in it."""
        forward, outer, used = type(module).forward, self.options, self.used
        own = {name: value for name, value in options.items() if takes_option(forward, name)}
        others = {name: options[name] for name in options if name not in own}
        self.options, self.used = {**outer, **others}, set()
        try:
            y: Value = module.forward(*values, **own)
            for name in others:
                if name not in self.used:
                    raise _check.option_not_taken(type(module).__name__, name)
        finally:
            self.options, self.used = outer, used | self.used
        return y

    def _layer(self, layer: Module, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Run a layer, and record the call."""
        first = args[0] if args else None
        if layer.takes_unflattened and type(first) is Value and type(first.waiting) is Flattened:
            args, options = (first.waiting.unflattened, *args[1:]), {**options, "flatten": True}
        elif self.fuses and layer.fuses and type(first) is Value and len(args) == 1:
            y = self._waiting(layer, first, options)
            if y is not None:
                return y
        frame: Frame = {} if self.keeps else NOWHERE
        found = self._output(layer, args, options, frame)
        if type(found) is tuple:
            return self._several(layer, args, found, frame)
        y = self.new_value(found)
        self._note_layer(layer, args, y, frame)
        return y

    def _several(
        self, layer: Module, args: Sequence[Any], arrays: tuple[Array, ...], frame: Frame
    ) -> tuple[Value, ...]:
        """The values of a layer that returns several arrays."""
        values = tuple([self.new_value(array) for array in arrays])
        call = self._note_layer(layer, args, values[0], frame)
        if call is not None:
            call.others = tuple([value.index for value in values[1:]])
            call.likes = [(array.shape, array.dtype) for array in arrays]
        return values

    def _note_layer(
        self, layer: Module, args: Sequence[Any], y: Value, frame: Frame
    ) -> Call | None:
        if not self.keeps:
            return None
        call = Call(type(layer).__name__, tuple([_target(a) for a in args]), y.index)
        call.layer, call.frame, call.owners = layer, frame, tuple(self._inside)
        self.calls.append(call)
        return call

    def _note(self, call: Call) -> Call | None:
        """Record a call; None where nothing is kept."""
        if not self.keeps:
            return None
        call.owners = tuple(self._inside)
        self.calls.append(call)
        return call

    def _output(
        self, layer: Module, args: Sequence[Any], options: dict[str, Any], frame: Frame
    ) -> Any:
        """What a layer computes; what it keeps goes into the frame."""
        _check.by_position(options, (Value, Parameter))
        current.set((frame, self._outer))
        try:
            return layer.forward(*[self.array_of(a) for a in args], **options)
        finally:
            current.set((self, self._outer))

    # ---- layers that are computed together ----

    def _waiting(self, layer: Module, x: Value, options: dict[str, Any]) -> Value | None:
        """The output of a layer that waits, or joins what x waits for; None if it does neither."""
        own = vars(layer)
        if layer.hooks or "forward" in own or "backward" in own:
            return None
        if not options and self._joinable(x):
            assert x.waiting is not None
            joined = x.waiting.then(layer)
            if joined is not None:
                y = self.new_value(None)
                return self._join(x, y, self._note_layer(layer, (x,), y, {}), joined)
        _check.by_position(options, (Value, Parameter))
        frame: Frame = {} if self.keeps else NOWHERE
        array = self.array_of(x)
        current.set((frame, self._outer))
        try:
            waiting = layer.defer(array, **options)
        finally:
            current.set((self, self._outer))
        if waiting is None:
            return None
        y = self.new_value(None)
        call = self._note_layer(layer, (x,), y, frame)
        return y.wait(waiting, call)

    def add(self, a: Any, b: Any) -> Value:
        """The sum of two operands, computed together with one that waits if that is possible."""
        if self.fuses and type(a) is Value and type(b) is Value:
            for value, other in ((a, b), (b, a)):
                y = self._sum(value, other)
                if y is not None:
                    return y
        return self.operate("add", add, a, b)

    def _sum(self, value: Value, other: Value) -> Value | None:
        """The sum of a value that waits and another one; None if they are not computed together."""
        alike = value is not other and value.shape == other.shape and value.dtype == other.dtype
        if not alike or not self._joinable(value):
            return None
        array, waiting = self.array_of(other), value.waiting
        joined = None if waiting is None else waiting.plus(array)
        if joined is None:
            return None
        y = self.new_value(None)
        call = self._note(Call("add", (value.index, other.index), y.index))
        return self._join(value, y, call, joined, other.index)

    def _joinable(self, value: Value) -> bool:
        """Whether a value waits, and nothing else needs it, as far as earlier passes tell."""
        if (
            value.waiting is None
            or value.record is not self
            or value.index in self.model.needed_alone
        ):
            return False
        if value.joined:  # by another layer
            self.note_alone(value)
        return not value.joined

    def _join(
        self, value: Value, y: Value, call: Call | None, joined: Waiting, *others: int
    ) -> Value:
        """y, which is computed together with a value that waits; others have gradients too."""
        value.joined, before = True, value.maker
        if call is not None and before is not None:
            call.joined, call.operands = (*before.joined, before), (*before.operands, *others)
        return y.wait(joined, call)

    def note_alone(self, value: Value) -> None:
        """Note that a value is needed by others than the layer that joined it."""
        self.model.needed_alone |= {value.index}

    def operate(self, name: str, function: Callable[..., Result], *operands: Any) -> Value:
        """Apply an operation to values, arrays, numbers and parameters."""
        y = self.new_value(None)
        y._array = self._operate(name, function, operands, y.index)
        return y

    def part(self, operand: Any, index: Any) -> Value:
        """A part of a value or a parameter."""
        _check.basic_index(index)
        return self.operate("index", partial(part, index=index), operand)

    def note_look(self, value: Value) -> None:
        """Note that somebody looks at the numbers of a value, which leads to no gradient."""
        self._note(Call("data", (value.index,), self.new_value(None).index))

    def flatten(self, value: Value, shape: Shape, index: int) -> Array:
        """Make the array of a value that is another one flattened, and has this number."""
        return self._operate("reshape", partial(reshape, shape=shape), (value,), index)

    def _operate(
        self, name: str, function: Callable[..., Result], operands: Sequence[Any], index: int
    ) -> Array:
        own, *_ = [o for o in operands if isinstance(o, (Value, Parameter))]
        arrays = [_check.operand(name, self.array_of(o), own.dtype) for o in operands]
        array, gradients = function(*arrays)
        call = Call(name, tuple(_target(operand) for operand in operands), index)
        call.gradients = gradients
        if setting.get() is not None and name in NEED_OPERANDS:
            call.sums = sums_of(name, [("an operand", each) for each in arrays])
        self._note(call)
        return array

    def compute(self, waiting: Waiting) -> Array:
        """The array of a value that waited."""
        return waiting.array()

    def array_of(self, operand: Any) -> Any:
        """The array of a value or of a parameter; anything else as it is."""
        if type(operand) is Value:
            if operand.record is not self:
                raise _check.value_of_another_pass()
            return operand.array
        return operand.data if isinstance(operand, Parameter) else operand

    def _options_for(self, module: Module) -> dict[str, Any]:
        forward = type(module).forward
        taken = {n: v for n, v in self.options.items() if takes_option(forward, n)}
        self.used.update(taken)
        return taken

    # ---- backward ----

    def backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        """Add the gradients of all parameters; that of the input, or of each, if it is wanted."""
        gradients: dict[int, Array] = {self.result: dy}
        with frame_of(NOWHERE):
            self._go_back(gradients, self._needed(input_grad))
        if not input_grad:
            return None
        dxs = [
            gradients[number] if number in gradients else _no_gradient(shape, dtype)
            for number, (shape, dtype) in zip(self.inputs, self._input_likes, strict=True)
        ]
        return dxs[0] if len(dxs) == 1 else tuple(dxs)

    def _go_back(self, gradients: dict[int, Array], needed: set[int]) -> None:
        """Go through the calls, last first, and add to the gradients of values and parameters."""
        outer = current.get()[1]  # type: ignore[index]
        while self.calls:
            call = self.calls.pop()
            grad: Any = gradients.pop(call.output, None)
            if call.others:
                grad = call.with_others(grad, gradients)
            if grad is None or call.output not in needed:
                continue
            current.set((call.frame, outer))
            wanted = any([type(o) is not int or o in needed for o in call.operands])
            for operand, dx in zip(call.operands, call.backward(grad, wanted), strict=True):
                if operand is None or dx is None:
                    continue
                if type(operand) is not int:
                    operand.accumulate(dx)
                elif operand in gradients:
                    gradients[operand] = core.add(dx, gradients[operand])
                else:
                    gradients[operand] = dx

    def _needed(self, input_grad: bool) -> set[int]:
        """The values whose gradients lead to a parameter, or to the input if that is wanted."""
        needed = set(self.inputs) if input_grad else set()
        for call in self.calls:
            if not needed.isdisjoint(call.inputs) or call.trains():
                needed.add(call.output)
                needed.update(call.others)
        return needed


class _running(core.Setting):
    """Within it, layers are called for this record."""

    def __init__(self, record: Record) -> None:
        super().__init__(current)
        self.record = record

    def value(self) -> Record:
        return self.record


def path_of(owners: Sequence[Module]) -> str:
    """The dotted path of the last of these modules, each of which is inside the one before."""
    names = []
    for outer, inner in pairwise(owners):
        inside = (name for name, module in outer.named_modules() if module is inner)
        names.append(next(inside, type(inner).__name__))
    return ".".join(names)


@cache
def takes_option(forward: Callable[..., Any], name: str) -> bool:
    """Whether a forward takes this argument, after x."""
    given = list(signature(forward).parameters.values())[2:]
    if any(argument.kind is Argument.VAR_KEYWORD for argument in given):
        return True
    return any(argument.name == name for argument in given)


@cache
def takes_input_grad(backward: Callable[..., Any]) -> bool:
    """Whether a layer can leave out the gradient of its input."""
    return "input_grad" in signature(backward).parameters


def _no_gradient(shape: Shape, dtype: np.dtype[Any]) -> Gradient:
    """That of an input that the output does not depend on; integers have none."""
    return None if dtype.kind in "iu" else np.zeros(shape, dtype)


def _target(operand: Any) -> int | Parameter | None:
    """What gets the gradient of an operand."""
    if type(operand) is Value:
        return operand.index
    return operand if isinstance(operand, Parameter) else None
