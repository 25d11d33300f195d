"""Which layer of a model comes before which, and taking layers out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from bn import _check
from bn.module import Module
from bn.nn.containers import Sequential
from bn.nn.identity import Identity
from bn.recording.record import Record
from bn.recording.trace import Trace, zeros
from bn.types import Shape


class Step(NamedTuple):
    """One call of a layer, or an operation, in a model's forward pass.

    Attributes
    ----------
    path : str
        The layer's dotted path in the model.
    layer : Module or None
        None for an operation.
    inputs : tuple
        Names of the values that go in.
    output : hashable
        Name of the value that comes out.
    """

    path: str
    layer: Module | None
    inputs: tuple[object, ...]
    output: object


def record_of(model: Module, input_shape: Shape | None) -> Record | None:
    """The record of a forward pass.

    Parameters
    ----------
    model : Module
    input_shape : tuple of int or None
        The shape of one input, without the batch axis, for a forward pass on shapes alone. None
        takes the record of the last forward pass, if no backward pass has used it.

    Examples
    --------
    >>> from bn import nn
    >>> [call.name for call in record_of(nn.Sequential(nn.ReLU(), nn.Tanh()), (3,)).calls]
    ['ReLU', 'Tanh']
    """
    if input_shape is None or not model.records:
        return model.last_record
    record = Trace(model)
    record.run(zeros(_check.shape_tuple("input_shape", input_shape)))
    return record


def steps(model: Module, record: Record | None) -> list[Step]:
    """What happens in a model's forward pass, as far as it is known; at last, the output is taken.

    Parameters
    ----------
    model : Module
    record : Record or None
        Of a forward pass. Without one, only the order of the layers in each `Sequential` is known.

    Examples
    --------
    >>> from bn import nn
    >>> model = nn.Sequential(nn.ReLU(), nn.Tanh())
    >>> [step.path for step in steps(model, record_of(model, (3,)))]
    ['0', '1', '']
    """
    if record is None:
        return list(_in_sequentials(model))
    result = Step("", None, (record.result,), "the output")
    return [*(Step(c.path, c.layer, c.inputs, c.output) for c in record.calls), result]


def _in_sequentials(model: Module) -> Iterator[Step]:
    """The layers of each `Sequential` that runs them in order."""
    for path, module in model.named_modules():
        if isinstance(module, Sequential) and type(module).forward is Sequential.forward:
            for i, layer in enumerate(module):
                place = f"{path}.{i}" if path else f"{i}"
                yield Step(place, layer, ((path, i),), (path, i + 1))


def used_once(model: Module, order: list[Step]) -> set[int]:
    """The ids of the layers that have one place in a model and are called at most once."""
    places = Counter(id(layer) for _, layer in model.named_modules(remove_duplicate=False))
    calls = Counter(id(step.layer) for step in order)
    return {layer for layer, count in places.items() if count == 1 and calls[layer] <= 1}


def take_out(model: Module, paths: set[str]) -> None:
    """Take layers out of a model.

    A `Sequential` that runs its layers in order loses them, and the layers behind move up.
    Elsewhere an `Identity` stands in their place.

    Examples
    --------
    >>> from bn import nn
    >>> model = nn.Residual(nn.Sequential(nn.ReLU(), nn.Flatten()), nn.ReLU())
    >>> take_out(model, {"body.0", "shortcut"})
    >>> model
    Residual(
      (body): Sequential(
        (0): Flatten(start_dim=1, end_dim=-1)
      )
      (shortcut): Identity()
    )
    """
    for path, module in list(model.named_modules()):
        inside = f"{path}." if path else ""
        leaving = [name for name, _ in module.children() if inside + name in paths]
        if isinstance(module, Sequential) and type(module).forward is Sequential.forward:
            numbered = [layer for i, layer in enumerate(module) if f"{i}" not in leaving]
            leaving = [name for name in leaving if not name.isdigit()]
            module[:] = numbered
        for name in leaving:
            module.replace_child(name, Identity().train(module.training))
