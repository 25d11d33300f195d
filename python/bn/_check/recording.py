"""Checks of recorded forwards: operands, indices, and what is not recorded."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from bn._check.base import (
    FLOATS,
    Array,
    axis_of,
    floating,
    is_half,
    is_integer,
    is_number,
    is_plain,
)

WAY_OUT = (
    "in a model's forward, values take + - * /, reshape, flatten, transpose, mean, indexing by "
    "slices and nn.concatenate; write anything else as a layer with forward and backward "
    "(x.data is the array, to look at)"
)


def not_recorded(operation: str) -> TypeError:
    return TypeError(f"{operation} is not recorded: {WAY_OUT}")


def no_attribute(name: str) -> AttributeError:
    return AttributeError(f"a recorded value has no {name}: {WAY_OUT}")


def operand(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """Check an operand of an operation; a number takes the dtype of the value beside it."""
    if is_plain(value):
        return value
    if is_number(value):
        return np.asarray(value, dtype)
    if is_integer(value) or isinstance(value, np.floating):
        raise ValueError(f"{name} takes numbers that a float holds, got {value!r}")
    raise TypeError(f"{name} takes recorded values, arrays and numbers, got {type(value).__name__}")


def model_input(model: Any, args: tuple[Any, ...]) -> None:
    """Check the first argument; it may hold integers if a layer in the model takes them."""
    name = type(model).__name__
    if not args:
        raise TypeError(f"{name} takes an array as its first argument, got none by position")
    x = args[0]
    if is_half(x) or (is_plain(x) and x.dtype in FLOATS):
        return
    integers = takes_integers(model)
    if not (integers and holds_integers(x)):
        floats = "float32 or float64"
        floating(f"x of {name}", x, f"integers, {floats}" if integers else floats)


def holds_integers(x: object) -> bool:
    return is_plain(x) and x.dtype.kind in "iu"


def takes_integers(model: Any) -> bool:
    """Whether a layer in the model takes them."""
    return any(module.takes_integers for module in model.modules())


def recorded_model(user: str, name: str, records: bool) -> None:
    if not records:
        raise TypeError(f"{user} takes a model, whose forward calls layers, got the layer {name}")


def recorded_output(model: str, y: object, kind: type) -> None:
    if not isinstance(y, kind):
        raise TypeError(
            f"{model}.forward must return one value that its layers or operations gave, "
            f"got {type(y).__name__}"
        )


def one_array_in_sequential(layer: object, y: object) -> None:
    if isinstance(y, tuple):
        hint = " (return_state=False leaves the state out)" * hasattr(layer, "return_state")
        raise TypeError(
            f"a layer in a Sequential must return one array, got {len(y)} values from "
            f"{type(layer).__name__}{hint}"
        )


def number_of_inputs(names: Sequence[str], given: int) -> None:
    if given != len(names):
        raise TypeError(f"a model of steps takes {len(names)} ({', '.join(names)}), got {given}")


def layer_takes(layer: object, name: str, taken: bool) -> None:
    if not taken:
        raise TypeError(f"{type(layer).__name__} takes no argument {name!r}")


def changed_in_place(name: str, owner: str) -> RuntimeError:
    return RuntimeError(f"{name} of {owner} was changed in place between forward and backward")


def value_of_another_pass() -> RuntimeError:
    return RuntimeError(
        "a value must be used in the forward pass that it comes from, got one of another pass "
        "(keep value.data if you need its numbers later)"
    )


def by_position(options: dict[str, Any], kinds: tuple[type, ...]) -> None:
    for name, value in options.items():
        if isinstance(value, kinds):
            raise TypeError(f"recorded values must be given by position, got {name}=...")


def option_not_taken(model: str, name: str) -> TypeError:
    return TypeError(f"no layer that {model} called takes the argument {name!r}")


def basic_index(index: object) -> None:
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if not (part is None or part is Ellipsis or isinstance(part, slice) or is_integer(part)):
            raise not_recorded(f"indexing by {type(part).__name__}")


def new_shape(given: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Check the argument of a reshape; return it with -1 replaced."""
    size = math.prod(shape)
    rest = math.prod(n for n in given if n != -1)
    whole = given
    if given.count(-1) == 1 and rest:
        whole = tuple(size // rest if n == -1 else n for n in given)
    if not all(is_integer(n) and n >= 0 for n in whole) or math.prod(whole) != size:
        raise ValueError(f"reshape must keep the {size} values of shape {shape}, got {given}")
    return tuple(int(n) for n in whole)


def distinct_axes(given: tuple[Any, ...], ndim: int) -> tuple[int, ...]:
    """Check axes; return them in order, counted from the front."""
    axes = sorted({axis_of(axis, ndim) for axis in given})
    if len(axes) != len(given):
        raise ValueError(f"each axis must be given once, got {given}")
    return tuple(axes)


def axis_order(given: tuple[Any, ...], ndim: int) -> tuple[int, ...]:
    """Check the argument of a transpose; return it with axes counted from the front."""
    if sorted(a % ndim if is_integer(a) and -ndim <= a < ndim else -1 for a in given) != list(
        range(ndim)
    ):
        raise ValueError(f"transpose must get each of {ndim} axes once, got {given}")
    return tuple(int(a) % ndim for a in given)


def joinable(shapes: Sequence[tuple[int, ...]], axis: int) -> int:
    """Check shapes that are to be joined; return the axis, counted from the front."""
    if not shapes:
        raise ValueError("concatenate takes at least one array, got none")
    at = axis_of(axis, len(shapes[0]))
    without = {(*shape[:at], *shape[at + 1 :]) for shape in shapes}
    if len(without) > 1 or len({len(shape) for shape in shapes}) > 1:
        raise ValueError(
            f"concatenate takes arrays whose shapes differ on axis {axis} only, got {[*shapes]}"
        )
    return at


def name_the_place(error: Exception, path: str) -> None:
    """Put the path of the layer that failed before an error's message."""
    plain = (TypeError, ValueError, RuntimeError, NotImplementedError, IndexError, AttributeError)
    if path and type(error) in plain and len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"in {path}: {error.args[0]}",)
    elif path and hasattr(error, "add_note"):  # from Python 3.11 on
        error.add_note(f"in {path}")


def layer_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a layer's name must be a string, got {name!r}")
    if not name or "." in name:
        raise ValueError(f"a layer's name must be a word without a dot, got {name!r}")


def eval_mode(user: str, modules: Iterable[tuple[str, Any]]) -> None:
    """Check that no (path, module) is in training mode."""
    training = [path for path, module in modules if module.training]
    if training:
        place = f"layer {training[0]!r}" if training[0] else "the model"
        raise ValueError(
            f"{user} needs a model in eval mode, but {place} is in training mode: call eval() first"
        )


def looks_at_numbers() -> TypeError:
    return TypeError(
        "compile needs a forward that goes the same way for all numbers, "
        "got one that looks at them: it reads .data of a value"
    )


def layer_names(names: Sequence[object], known: Collection[str]) -> None:
    """Check dotted paths of layers; the message shows what is similar."""
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names must be dotted paths of layers, got {name!r}")
        if name not in known:
            similar = difflib.get_close_matches(name, known) or [n for n in known if n][:5]
            more = ", ..." if len(similar) < len(known) - ("" in known) else ""
            hint = f" (it has {', '.join(map(repr, similar))}{more})" if similar else ""
            raise ValueError(f"names must be those of layers of the model, got {name!r}{hint}")


def layers_called(names: Sequence[str], called: Collection[str]) -> None:
    for name in names:
        if name not in called:
            raise ValueError(f"names must be those of layers that x goes through, got {name!r}")


def some_normalization(model: object, count: int, what: str) -> None:
    if count == 0:
        kind = type(model).__name__
        raise ValueError(f"model must have a {what} that x goes through, got {kind} without one")
