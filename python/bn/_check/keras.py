"""Checks of `bn.keras`: what Keras programs ask for, and what there is of it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bn._check.base import Array, is_integer, is_number, kind_of, printable
from bn._check.packages import missing_package


def no_name_in_keras(where: str, kind: str, name: str, known: Iterable[str]) -> AttributeError:
    return AttributeError(f"{where} has no {kind} {name!r}; it has: {', '.join(known)}")


def keras_name(kind: str, name: object, known: Collection[str]) -> None:
    if name not in known:
        shown = printable(repr(name))
        raise ValueError(f"bn.keras has no {kind} {shown}; it has: {', '.join(known)}")


def keras_kind(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {expected}, got {kind_of(value)}")


def keras_arguments(owner: str, given: Mapping[str, Any], refused: Mapping[str, Any]) -> None:
    """Check arguments that `bn.keras` only takes at Keras's defaults."""
    for name, value in given.items():
        if name not in refused:
            raise TypeError(f"{owner} has no argument {printable(name)!r}")
        default = refused[name]
        if not _is_default(value, default):
            raise ValueError(
                f"{name} of {owner} must be {default!r} in bn.keras, got {printable(repr(value))}"
            )


def _is_default(value: object, default: object) -> bool:
    """Whether a value is the default; 0 is 0.0, and not False."""
    simple = value is None or isinstance(value, (bool, int, float, str))
    return simple and isinstance(value, bool) == isinstance(default, bool) and value == default


def keras_methods(kind: type, never_called: Collection[str]) -> None:
    """Check that a class of one's own does not define what would silently not be computed."""
    for each in kind.__mro__:
        for name in never_called:
            if name in vars(each) and not each.__module__.startswith("bn."):
                raise TypeError(
                    f"{kind.__name__} must not define {name}, which bn.keras never calls: "
                    "write the class for bn.nn, with its gradient"
                )


def keras_dtype(value: object) -> str:
    """Check a dtype of a layer, or the policy that Keras writes into files; return its name."""
    if isinstance(value, Mapping):
        config = value.get("config")
        value = config.get("name") if isinstance(config, Mapping) else value
    name = "float32" if value is None else getattr(value, "__name__", value)
    name = name if isinstance(name, str) else str(name)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64 in bn.keras, got {printable(name)}")
    return name


def keras_padding(layer: str, value: object, known: Collection[str]) -> str:
    word = value.lower() if isinstance(value, str) else value
    if word not in known:
        raise ValueError(f"padding of {layer} must be one of {', '.join(known)}, got {value!r}")
    return str(word)


def channels_last_only(layer: str, value: object) -> None:
    if value not in (None, "channels_last"):
        raise ValueError(f"data_format of {layer} must be 'channels_last', got {value!r}")


def keras_sizes(name: str, value: object, axes: int) -> tuple[int, ...]:
    """Check a positive integer, or one for each axis; return one for each axis."""
    several: Any = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(several) != axes or not all(is_integer(n) and n > 0 for n in several):
        raise ValueError(
            f"{name} must be a positive integer or {axes} of them, got {printable(repr(value))}"
        )
    return tuple(int(n) for n in several)


def keras_sides(name: str, value: object) -> tuple[tuple[int, int], tuple[int, int]]:
    """Check pixels at the sides of an image; return ((top, bottom), (left, right))."""
    pair: Any = value if isinstance(value, (tuple, list)) else (value, value)
    sides: Any = [tuple(each) if isinstance(each, (tuple, list)) else (each, each) for each in pair]
    if len(sides) != 2 or not all(
        len(each) == 2 and all(is_integer(n) and n >= 0 for n in each) for each in sides
    ):
        raise ValueError(
            f"{name} must be an integer of at least 0, a pair, or a pair of pairs, got {value!r}"
        )
    (top, bottom), (left, right) = [[int(n) for n in each] for each in sides]
    return (top, bottom), (left, right)


def keras_shape(name: str, value: object) -> tuple[int | None, ...]:
    """Check a shape in which None stands for any length."""
    lengths = (value,) if is_integer(value) else value
    if not isinstance(lengths, (tuple, list)) or not all(
        n is None or (is_integer(n) and n > 0) for n in lengths
    ):
        raise ValueError(
            f"{name} must be a tuple of positive integers and None, got {printable(repr(value))}"
        )
    return tuple(None if n is None else int(n) for n in lengths)


def keras_input_rank(layer: str, shape: Sequence[object], ranks: Collection[int]) -> None:
    if len(shape) + 1 not in ranks:
        words = " or ".join(str(rank) for rank in ranks)
        raise ValueError(f"{layer} takes inputs of {words} axes, got shape {(None, *shape)}")


def keras_known_lengths(layer: str, lengths: Sequence[int | None]) -> None:
    """Check that what the weights depend on is known."""
    if None in lengths:
        raise ValueError(
            f"{layer} needs the lengths that its weights depend on, got shape {(None, *lengths)}"
        )


def keras_inputs(layer: str, count: int, least: int) -> None:
    if count < least:
        raise ValueError(f"{layer} takes a list of at least {least} inputs, got {count}")


def one_input(layer: str, count: int) -> None:
    if count != 1:
        raise ValueError(f"{layer} takes one input, got {count}")


def merged_alike(layer: str, shapes: Sequence[tuple[Any, ...]]) -> None:
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"the inputs of {layer} must have one shape, got {list(shapes)}")


def keras_compiled(compiled: bool, method: str) -> None:
    if not compiled:
        raise RuntimeError(f"compile must be called before {method}")


def keras_built(name: str, built: bool) -> None:
    if not built:
        raise ValueError(
            f"{name} has no weights yet: give the first layer an Input, or call build(input_shape)"
        )


def keras_weights(layer: str, shapes: Sequence[tuple[int, ...]], given: Sequence[Any]) -> None:
    got = [getattr(each, "shape", None) for each in given]
    if got != list(shapes):
        raise ValueError(f"the weights of {layer} must have the shapes {list(shapes)}, got {got}")


def keras_unit_interval(name: str, value: Any) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")


def keras_ending(path: str, ending: str) -> None:
    if not path.endswith(ending):
        raise ValueError(f"the path must end in {ending}, got {path!r}")


def no_such_layer(model: str, asked: object, names: Sequence[str]) -> ValueError:
    return ValueError(f"{model} has no layer {asked!r}; it has: {', '.join(names)}")


def h5py_package() -> None:
    if importlib.util.find_spec("h5py") is None:
        extra = "'.[keras]' in a checkout of bn"
        raise ImportError(missing_package("a file of Keras", "h5py", extra))


def unusable_keras_file(path: object, reason: object) -> ValueError:
    return ValueError(f"{path} cannot be read: {printable(str(reason))}")


def no_symbolic_arithmetic() -> TypeError:
    return TypeError(
        "a KerasTensor only goes into layers: bn.keras.layers has Add, Subtract, Multiply, "
        "Average, Maximum and Concatenate in the place of arithmetic"
    )


def keras_connected(name: str, connected: bool) -> None:
    if not connected:
        raise AttributeError(
            f"{name} was not called on a symbolic tensor, so it has no input or output"
        )


def keras_axis(layer: str, axis: int, ndim: int) -> int:
    """Check an axis that is not that of the batch; return it, counted from the front."""
    found = axis + ndim if axis < 0 else axis
    if not 0 < found < ndim:
        raise ValueError(f"axis of {layer} must be one of {ndim} axes but the first, got {axis}")
    return found


def keras_pair(layer: str, count: int) -> None:
    if count != 2:
        raise ValueError(f"{layer} takes two inputs, got {count}")


def keras_strides_cover(strides: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    if any(s > k for s, k in zip(strides, kernel, strict=True)):
        raise ValueError(
            f"strides of Conv2DTranspose must be at most kernel_size {kernel}, got {strides}"
        )


def keras_relu(max_value: object, negative_slope: object) -> None:
    if max_value is not None and (max_value != 6 or negative_slope):
        raise ValueError(
            "max_value of ReLU must be None, or 6 without a negative_slope, in bn.keras, "
            f"got {max_value!r} and {negative_slope!r}"
        )


def keras_shared_axes(given: Sequence[int], between: Sequence[int]) -> None:
    if sorted(given) != list(between):
        raise ValueError(
            "shared_axes of PReLU must be all axes between the batch and the channels, "
            f"{list(between)}, in bn.keras, got {list(given)}"
        )


def keras_target_shape(value: object) -> None:
    if (
        not isinstance(value, (tuple, list))
        or not all(is_integer(n) and (n > 0 or n == -1) for n in value)
        or list(value).count(-1) > 1
    ):
        raise ValueError(
            "target_shape must be a tuple of positive integers, one of which may be -1, "
            f"got {printable(repr(value))}"
        )


def keras_as_many(layer: str, shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    if math.prod(shape) != math.prod(target):
        raise ValueError(f"{layer} cannot make {target} of samples of shape {tuple(shape)}")


def keras_dims(value: object) -> None:
    if not isinstance(value, (tuple, list)) or sorted(value) != list(range(1, len(value) + 1)):
        raise ValueError(f"dims must be a permutation of 1, 2, ..., got {printable(repr(value))}")


def keras_call_options(layer: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name != "training":
            raise TypeError(f"{layer} takes no argument {printable(name)!r} in a call")
        if not isinstance(value, bool):
            raise TypeError(f"training must be True or False, got {type(value).__name__}")


def keras_backward_layer(forward: Any, backward: Any) -> None:
    """Check what a file says of the two directions of a layer: one must mirror the other."""
    for each in (forward, backward):
        if each is not None and not (
            isinstance(each, Mapping) and isinstance(each.get("config"), Mapping)
        ):
            raise ValueError(f"a direction must be a layer, got {type(each).__name__}")
    if forward is None:
        raise ValueError("Bidirectional must have a layer, got None")
    if backward is None:
        return
    names = ("units", "activation", "recurrent_activation", "use_bias", "return_sequences")
    one, other = ([each["config"].get(name) for name in names] for each in (forward, backward))
    if forward.get("class_name") != backward.get("class_name") or one != other:
        raise ValueError("both directions of Bidirectional must have the same arguments")


def keras_graph(given: object, kind: type) -> None:
    if given is None or not isinstance(given, kind):
        raise TypeError(
            "Model must have inputs and one output, made of bn.keras.Input and calls of layers, "
            f"got {kind_of(given)}; a subclass with a call of its own is a bn.nn.Module instead"
        )


def keras_reachable(name: str, reachable: bool) -> None:
    if not reachable:
        raise ValueError(f"the output needs {name}, which is none of the inputs of the model")


def keras_unique_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"every layer of a model needs a name of its own, got {name!r} twice")
        seen.add(name)


def keras_input_fits(model: str, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    fits = len(shape) == len(expected) + 1 and all(
        n in (None, m) for n, m in zip(expected, shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(f"{model} takes inputs of shape {(None, *expected)}, got {shape}")


def keras_input_names(given: Mapping[str, Any], names: Sequence[str]) -> None:
    if set(given) != set(names):
        raise ValueError(f"the inputs must be {', '.join(names)}, got {', '.join(map(str, given))}")


def keras_first(is_late: bool) -> None:
    if is_late:
        raise ValueError("an Input must be the first layer of a Sequential, and the only one")


def last_axis(axis: object) -> None:
    if axis != -1:
        raise ValueError(f"axis of a loss must be -1 in bn.keras, got {axis!r}")


def whole_numbers(name: str, x: Array) -> None:
    if x.dtype.kind == "f" and not (x == np.floor(x)).all():
        raise ValueError(f"{name} must hold the numbers of classes, got a fraction")


def class_weight(value: object) -> None:
    if not isinstance(value, Mapping) or not all(
        is_integer(number) and is_number(weight) and weight >= 0 for number, weight in value.items()
    ):
        raise ValueError(
            "class_weight must be a dict of the numbers of classes to weights of at least 0, "
            f"got {printable(repr(value))}"
        )


def keras_metrics(value: object) -> None:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"metrics must be a list, got {kind_of(value)}")


def no_metric_of(name: object, loss: str) -> ValueError:
    return ValueError(f"{name} of a regression is not known: the loss is {loss}")


def keras_schedule(value: object) -> None:
    if not is_number(value):
        raise ValueError(f"a schedule must return a number, got {kind_of(value)}")


def keras_split(value: object, count: int) -> int:
    """Check the share of samples for validation; return how many are for training."""
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(f"validation_split must be from 0 to below 1, got {value!r}")
    kept = int(count * (1 - value))
    if value and not 0 < kept < count:
        raise ValueError(f"validation_split of {value} leaves one part of {count} samples empty")
    return kept


def keras_y(y: object) -> None:
    if y is None:
        raise ValueError("y must be given with x; or x must be an iterable of batches (x, y)")


def keras_no_y(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None and value != 0:
            raise ValueError(f"{name} cannot be given where x is an iterable of batches")


def keras_every_epoch(value: object) -> None:
    if value != 1:
        raise ValueError(f"validation_freq must be 1 in bn.keras, got {value!r}")


def keras_pair_of(name: str, value: object) -> None:
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(f"{name} must be (x, y) or (x, y, sample_weight), got {kind_of(value)}")


def one_more_value(boundaries: Sequence[Any], values: Sequence[Any]) -> None:
    ordered = all(a < b for a, b in pairwise(boundaries))
    if len(values) != len(boundaries) + 1 or not ordered:
        raise ValueError(
            "values must be one more than boundaries, which must increase, "
            f"got {len(values)} for {list(boundaries)}"
        )


def optimizer_bound(bound: bool) -> None:
    if not bound:
        raise RuntimeError("the optimizer has no weights yet: it gets them when a model is trained")


def one_clipping(given: Mapping[str, Any]) -> None:
    used = [name for name, value in given.items() if value is not None]
    if len(used) > 1:
        raise ValueError(f"only one of {', '.join(given)} can be given, got {', '.join(used)}")


def keras_widths(widths: Sequence[int]) -> None:
    if min(widths) < 4:
        raise ValueError(f"line_length is too short: columns would have {list(widths)} characters")


def needs_the_network(name: str) -> AttributeError:
    return AttributeError(
        f"bn.keras has no {name}: it needs the network, which bn never uses; "
        "give it arrays, or weights in a file"
    )


def classes_below(name: str, numbers: Array, count: object) -> None:
    if not is_integer(count) or count < 0:
        raise ValueError(f"num_classes must be an integer of at least 0, got {count!r}")
    if ((numbers < 0) | (numbers >= count)).any():
        raise ValueError(f"{name} must hold numbers from 0 to below {count}, got {numbers}")


def keras_weights_in_file(layer: str, numbers: int, left: int) -> None:
    if numbers > left:
        raise ValueError(
            f"{layer} would have {numbers} weights, but the file has at most {left} for it"
        )


def keras_may_write(path: Any, overwrite: bool) -> None:
    if not overwrite and Path(path).exists():
        raise FileExistsError(f"{path} exists, and overwrite is False")


def keras_keys(path: object, own: Sequence[str], given: Sequence[str]) -> None:
    """Check that a file has the weights of a model and no others."""
    missing = sorted(set(own) - set(given))
    unknown = sorted(set(given) - set(own))
    if missing or unknown:
        parts = [f"missing {', '.join(missing[:5])}"] * bool(missing)
        parts += [f"unknown {printable(', '.join(unknown[:5]))}"] * bool(unknown)
        raise ValueError(f"{path} does not fit the model: {'; '.join(parts)}")


# ---- what files say ----


def no_config(value: object) -> TypeError:
    return TypeError(
        f"a file holds names, numbers and objects of bn.keras alone, got {kind_of(value)}"
    )


def config_bytes(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"config.json must have at most {most} bytes, got {size}")


def keras_config(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not isinstance(value.get("config"), Mapping):
        raise ValueError(f"{name} must be a dict with a config, got {kind_of(value)}")


def stored_as_it_is(name: str, stored: bool) -> None:
    if not stored:
        raise ValueError(f"{name} must be stored in it without compression")


def is_model(name: str, found: bool) -> None:
    if not found:
        raise ValueError(f"it must hold a model, got {name}")


def module_of_keras(name: object, module: object) -> None:
    if not isinstance(module, str) or module.partition(".")[0] != "keras":
        raise ValueError(f"{name} must be Keras's, got one of {printable(repr(module))}")


def keras_list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {kind_of(value)}")
    return value


def call_is_there(place: object, is_there: bool) -> None:
    if not is_there:
        raise ValueError(f"a layer takes the output of {printable(repr(place))}, which is no call")


def no_circle(is_open: bool) -> None:
    if not is_open:
        raise ValueError("its layers need each other's outputs in a circle")


def one_output_layer(value: Any) -> list[Any]:
    """Check where the output of a model comes from, alone or in a list of one; return it."""
    place = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(place, list) or not place or not isinstance(place[0], str):
        raise ValueError("a model must have one output in bn.keras")
    return place


def keras_call(call: Any) -> None:
    if (
        not isinstance(call, Mapping)
        or not isinstance(call.get("args"), list)
        or not isinstance(call.get("kwargs"), Mapping)
        or not call["args"]
    ):
        raise ValueError("a call of a layer must have args and kwargs")


def keras_history(tensor: Any) -> Any:
    """Check what stands for a tensor; return where it comes from."""
    if not isinstance(tensor, Mapping) or tensor.get("class_name") != "__keras_tensor__":
        raise ValueError(f"an input of a layer must be a tensor, got {kind_of(tensor)}")
    keras_config("a tensor", tensor)
    return tensor["config"].get("keras_history")


def keras_place(history: Any) -> None:
    if (
        not isinstance(history, list)
        or len(history) != 3
        or not isinstance(history[0], str)
        or not is_integer(history[1])
        or history[2] != 0
    ):
        raise ValueError(f"a tensor must come from a layer, got {printable(repr(history))}")


def one_kind_of_weights(sample_weight: object) -> None:
    if sample_weight is not None:
        raise ValueError("only one of class_weight and sample_weight can be given, got both")


def optimizer_arrays(given: Sequence[str], expected: Sequence[str]) -> None:
    if set(given) != set(expected):
        raise ValueError(
            f"the state of the optimizer must have {len(expected)} arrays, got {len(given)}"
        )
