"""`Compiled`: a model that only predicts, and knows what it computes for inputs of each shape."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from bn import _check
from bn.arrays import takes_arrays
from bn.recording.kept import Frame, no_grad
from bn.recording.record import Record
from bn.recording.value import Value
from bn.recording.waiting import Joinable, Waiting
from bn.types import Array

if TYPE_CHECKING:
    from bn.module import Module

LAYOUTS = 16  # of inputs, whose steps are kept


class Compiled:
    """A model that only predicts. `bn.compile` makes it.

    The first call for inputs of some shape, dtype and order in memory runs the model's forward, and
    writes down what is computed: the steps. Later calls run these steps alone, with weights that
    lie in memory as the kernels read them.

    Parameters
    ----------
    model : Module
        In eval mode. It is copied: what happens to it later is not seen.

    Attributes
    ----------
    model : Module
        The copy, to look at. Changes of it are seen by some calls and not by others.

    Raises
    ------
    ValueError
        A layer is in training mode.

    Notes
    -----
    Several threads may call it at the same time. The steps of 16 layouts are kept, each with
    arranged weights of its own; a layout is the shape, the dtype and the order in memory of all
    inputs.

    The Python code of the model's forward, and its forward hooks, run in the first call for each
    layout only. So the forward may depend on shapes, not on numbers, and what Python itself does in
    it (random numbers, counters, values of globals) is then fixed; so are switches such as
    `nn.winograd`.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> predict = Compiled(nn.Sequential(nn.Linear(4, 2, rng=0), nn.ReLU()).eval())
    >>> predict(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    def __init__(self, model: Module) -> None:
        _check.eval_mode("compile", model.named_modules())
        self.model = copy.deepcopy(model)
        self._programs: dict[Any, Program] = {}

    @takes_arrays
    def __call__(self, *inputs: Array) -> Array:
        """The model's output.

        Parameters
        ----------
        *inputs : ndarray
            The model's arrays, by position; other arguments of its forward keep their defaults.

        Returns
        -------
        ndarray
        """
        for x in inputs:
            _check.plain_array("x of a compiled model", x)
        key = tuple([(x.shape, x.strides, x.dtype, x.flags.aligned) for x in inputs])
        with no_grad():
            program = self._programs.get(key)
            if program is None:
                program = program_of(self.model, inputs)
                if len(self._programs) >= LAYOUTS:
                    oldest, *_ = self._programs
                    self._programs.pop(oldest, None)  # another thread may have done so
                self._programs[key] = program
            return program(inputs)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: the steps are found again."""
        return {"model": self.model, "_programs": {}}

    def __repr__(self) -> str:
        return f"Compiled({self.model!r})"


class Step(NamedTuple):
    """One computation: ``values[output] = function(*values[inputs])``.

    Attributes
    ----------
    function : callable
    inputs : tuple of int
    output : int
    done : tuple of int
        The values that no later step needs.
    """

    function: Callable[..., Array]
    inputs: tuple[int, ...]
    output: int
    done: tuple[int, ...]


class Program:
    """The steps from a model's inputs to its output.

    Parameters
    ----------
    values : list
        The constants in their places, None in all others. The inputs have the first places.
    steps : sequence of Step
    result : int
    """

    def __init__(self, values: list[Any], steps: Sequence[Step], result: int) -> None:
        self._values, self._steps, self._result = values, steps, result

    def __call__(self, inputs: Sequence[Array]) -> Array:
        """Compute the output for these inputs."""
        values = self._values.copy()
        values[: len(inputs)] = inputs
        for function, numbers, output, done in self._steps:
            values[output] = function(*[values[i] for i in numbers])
            for i in done:
                values[i] = None
        y: Array = values[self._result]
        return y


class Tape(Record):
    """A record that writes down every computation, in the order in which they happen."""

    def __init__(self, model: Module) -> None:
        super().__init__(model, {})
        self.keeps = False
        self._known: list[Any] = []  # what is known by its number; it stays alive for its id
        self._numbers: dict[int, int] = {}  # by id
        self._steps: list[tuple[Callable[..., Array], tuple[int, ...], int]] = []

    def program(self, inputs: Sequence[Array]) -> Program:
        """Run the model, and return what was computed."""
        result = self._number(self.run(*inputs))
        needed, steps = {result}, []
        constants = set(range(len(inputs), len(self._known)))
        for function, numbers, output in reversed(self._steps):
            constants.discard(output)
            if output not in needed:
                continue
            done = tuple(set(numbers) - needed)
            needed.update(numbers)
            steps.append(Step(function, numbers, output, done))
        values = [v if i in constants else None for i, v in enumerate(self._known)]
        return Program(values, steps[::-1], result)

    def note_look(self, value: Value) -> None:
        raise _check.looks_at_numbers()

    def compute(self, waiting: Waiting) -> Array:
        y = super().compute(waiting)
        if isinstance(waiting, Joinable):
            self._step(waiting.prepared(), waiting.inputs(), y)
        return y

    def _input(self, array: Array) -> Value:
        self._new(array)
        return super()._input(array)

    def _output(
        self, layer: Module, args: Sequence[Any], options: dict[str, Any], frame: Frame
    ) -> Any:
        y = super()._output(layer, args, options, frame)
        arrays = [self.array_of(a) for a in args]
        self._step(layer.prepared(*arrays, **options), arrays, y)
        if type(y) is tuple:
            for i, part in enumerate(y):
                self._step(itemgetter(i), [y], part)
        return y

    def _operate(
        self, name: str, function: Callable[..., Any], operands: Sequence[Any], index: int
    ) -> Array:
        y = super()._operate(name, function, operands, index)
        arrays = [self.array_of(o) for o in operands]
        arrays = [_check.operand(name, a, y.dtype) for a in arrays]
        self._step(lambda *given: function(*given)[0], arrays, y)
        return y

    def _step(self, function: Callable[..., Array], inputs: Sequence[Any], y: Any) -> None:
        self._steps.append((function, tuple([self._number(a) for a in inputs]), self._new(y)))

    def _new(self, value: Any) -> int:
        self._known.append(value)
        self._numbers[id(value)] = len(self._known) - 1
        return len(self._known) - 1

    def _number(self, value: Any) -> int:
        """The number of a value; one that no step gave is a constant."""
        number = self._numbers.get(id(value))
        return self._new(value) if number is None else number


def program_of(model: Module, inputs: Sequence[Array]) -> Program:
    """What a model computes from inputs that are laid out like these.

    Parameters
    ----------
    model : Module
        Within `bn.nn.no_grad`.
    inputs : sequence of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> x = np.array([-1.0, 1.0])
    >>> program_of(nn.Sequential(nn.ReLU()), [x])([-x])
    array([1., 0.])
    """
    inputs = [x.view() for x in inputs]  # known by their ids, which nothing else has
    Record(model, {}).run(*inputs)  # finds out which values several layers need
    return Tape(model).program(inputs)
