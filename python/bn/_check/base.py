"""Checks of arrays, numbers and states that several parts of `bn` use."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bn._check.arrays import from_elsewhere, is_foreign
from bn._core import core

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
NUMBERS = (int, float, np.integer, np.floating)
# Arrays that would lose their mask, and arrays that always have two axes.
OTHER_RULES = (np.ma.MaskedArray, np.matrix)
MOST_THREADS = core.MOST_THREADS
MOST_VALUES = 2**53  # of a channel: to a larger count, 1 cannot be added in float64


def is_integer(value: object) -> TypeGuard[int | np.integer[Any]]:
    """Whether value is an integer; a bool is not, although Python makes it an int."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float | np.integer[Any] | np.floating[Any]]:
    """Whether value is an integer or a float, and a Python float holds it; a bool is not.

    A Python integer and a longdouble may be larger than any float.
    """
    if type(value) is float:
        return True
    if not isinstance(value, NUMBERS) or isinstance(value, bool):
        return False
    try:
        held = float(value)
    except OverflowError:
        return False
    return not math.isinf(held) or bool(held == value)


def printable(text: str) -> str:
    r"""The text with escapes, as in a repr, for what could command a terminal.

    Examples
    --------
    >>> print(printable("caf\u00e9 \x1b[31m"))
    café \x1b[31m
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def kind_of(value: object) -> str:
    """What a message calls a value of the wrong type."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def saved(layer: str, value: object) -> None:
    """Check that a forward pass has kept values for backward, and that none has used them yet."""
    if value is None:
        raise RuntimeError(f"{layer}.backward must follow {layer}'s forward, once for each call")


def dy(layer: str, value: Array, kept: Any) -> None:
    """Check dy against what forward kept, whose first items are the shape and the dtype of y."""
    saved(layer, kept)
    name = f"dy of {layer}"
    if not is_half(value):
        floating(name, value)
    shape(name, value, kept[0])
    if value.dtype != kept[1]:
        raise TypeError(f"{name} must be {kept[1]} as the output, got {value.dtype}")


def not_recorded_model(model: str) -> RuntimeError:
    return RuntimeError(
        f"{model}.backward must follow {model}'s forward, once for each call; "
        "model(x) is recorded, but not within nn.no_grad(), and model.forward(x) is not"
    )


def built(layer: str, is_built: bool) -> None:
    if not is_built:
        raise RuntimeError(
            f"{layer} must be built before its parameters are asked for: run one batch through "
            "the model, or call model.build(input_shape)"
        )


def mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to arrays, got {type(value).__name__}")


def state(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check names, shapes, dtypes and values of a state."""
    state_layout(own, given)
    for name, value in given.items():
        dtype = own[name].dtype
        if dtype.kind == "i" and (value < 0).any():
            raise ValueError(f"{name} must not be negative, got {value}")
        if dtype.kind == "f" and value.dtype.kind == "f":
            _fits_dtype(name, value, dtype)
        if dtype.kind == "i":
            _fits_counter(name, value, dtype)


def _fits_counter(name: str, value: Array, dtype: np.dtype[Any]) -> None:
    largest = np.iinfo(dtype).max  # which rounds up to the next float, and that does not fit
    fits = value < np.float64(largest) if value.dtype.kind == "f" else value <= largest
    if not fits.all():  # NaN compares as False
        raise ValueError(f"{name} must hold numbers that fit {dtype}, got {value}")


def state_layout(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check names, shapes and dtypes of a state; its values may have nothing else."""
    missing = [n for n in own if n not in given and n.rpartition(".")[2] != "num_batches_tracked"]
    unknown = [n for n in given if n not in own]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] * bool(missing)
        parts += [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"the state does not fit the model: {'; '.join(parts)}")
    for name, value in given.items():
        shape(name, value, own[name].shape)
        if value.dtype.kind not in "fiu" and not is_half(value):
            raise TypeError(f"{name} must hold numbers, got dtype {value.dtype}")


def weight_count(given: int, own: int) -> None:
    if given != own:
        raise ValueError(f"weights must be the {own} arrays of get_weights, got {given}")


def _fits_dtype(name: str, value: Array, dtype: np.dtype[Any]) -> None:
    """Check that no finite number becomes infinite in this dtype."""
    large = np.isfinite(value) & (abs(value) > np.finfo(dtype).max)
    if large.any():
        raise ValueError(f"{name} must hold numbers that fit {dtype}, got {value[large][0]}")


def array(name: str, value: ArrayLike) -> Array:
    """Convert value to an array; a masked array is refused, since it would lose its mask."""
    no_mask(name, value)
    return from_elsewhere(name, value) if is_foreign(value) else np.asarray(value)


def state_array(name: str, value: ArrayLike) -> Array:
    """Convert a value of a state to an array; a list may have none."""
    try:
        return array(name, value)
    except ValueError as error:
        got = type(value).__name__
        raise TypeError(f"{name} must be readable as a NumPy array, got {got} ({error})") from error


def any_array(name: str, x: object) -> Array:
    """Check an array of NumPy's, or of another library, whose values are taken."""
    return from_elsewhere(name, x) if is_foreign(x) else plain_array(name, x)


def is_array(x: object) -> bool:
    """Whether x is an array that can be taken for its values, of NumPy or of another library."""
    return is_plain(x) or is_foreign(x)


def no_mask(name: str, value: object) -> None:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must have no mask, got a MaskedArray (see its `filled`)")


def is_plain(x: object) -> TypeGuard[Array]:
    """Whether x is an array that can be taken for its values alone."""
    return isinstance(x, np.ndarray) and not isinstance(x, OTHER_RULES)


def plain_array(name: str, x: object) -> Array:
    if not is_plain(x):
        no_mask(name, x)
        kind = type(x).__name__
        recorded = "call the layer, not its forward, in the forward and thread that the value is of"
        hint = recorded if kind == "Value" else "see np.asarray"
        raise TypeError(f"{name} must be a numpy array, got {kind} ({hint})")
    return x


def is_half(x: object) -> TypeGuard[Array]:
    """Whether x is an array of float16 or ml_dtypes.bfloat16, which the core takes."""
    if not is_plain(x):
        return False
    if x.dtype.itemsize != 2 or not x.dtype.isnative:
        return False
    return bool(x.dtype == np.float16 or x.dtype.name == "bfloat16")


def floating(name: str, x: object, expected: str = "float32 or float64") -> Array:
    x = plain_array(name, x)
    if x.dtype not in FLOATS:
        swapped = "" if x.dtype.isnative else f", {x.dtype.name} in swapped byte order"
        raise TypeError(f"{name} must be {expected}, got {x.dtype}{swapped}")
    return x


def data(x: object, axis: object, name: str = "x") -> int:
    """Check a tensor that is to be normalized; return its channel axis, counted from the front."""
    if not is_half(x):
        x = floating(name, x, "float16, bfloat16, float32 or float64")
    if x.ndim < 2:
        raise ValueError(f"{name} must have at least 2 axes, got shape {x.shape}")
    return axis_of(axis, x.ndim)


def integer(name: str, value: object) -> int:
    if not is_integer(value):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return int(value)


def axis_of(axis: object, ndim: int) -> int:
    """Check an axis of an array of `ndim` axes; return it, counted from the front."""
    axis = integer("axis", axis)
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must be between {-ndim} and {ndim - 1}, got {axis}")
    return axis % ndim


def call(x: Array, axis: int, needed: dict[str, Any], optional: dict[str, Any]) -> int:
    """Check a tensor and its per-channel values; return the channel axis from the front."""
    front = core.fits(x, axis, tuple(needed.values()), tuple(optional.values()))
    if front >= 0:
        return front
    axis = data(x, axis)
    for name, values in needed.items():
        per_channel(name, values, x.shape[axis])
    for name, values in optional.items():
        optional_per_channel(name, values, x.shape[axis])
    return axis


def torch_call(x: Array, axis: int, vectors: dict[str, Any]) -> int:
    """As `call` with optional values only; a wrong length has PyTorch's message."""
    front = core.fits(x, axis, (), tuple(vectors.values()))
    if front >= 0:
        return front
    axis = data(x, axis)
    channels = x.shape[axis]
    for name, values in vectors.items():
        if isinstance(values, np.ndarray) and values.ndim == 1 and values.size != channels:
            raise ValueError(f"{name} should contain {channels} elements not {values.size}")
    return call(x, axis, {}, vectors)


def channel_vectors(owner: str, vectors: Mapping[str, object]) -> dict[str, Array]:
    """Check the arrays of a Stats or BackwardSums, which the kernels use without checks.

    Returns them as the kernels take them: without gaps between the values.
    """
    found: dict[str, Array] = {}
    for name, given in vectors.items():
        no_mask(f"{owner}.{name}", given)
        values = from_elsewhere(f"{owner}.{name}", given) if is_foreign(given) else given
        if not is_plain(values) or values.dtype != np.float64 or values.ndim != 1:
            got = type(values).__name__
            if is_plain(values):
                got = f"{values.dtype} of shape {values.shape}"
            raise TypeError(f"{owner}.{name} must be a float64 array of shape (C,), got {got}")
        dense = values.flags.c_contiguous and values.flags.aligned
        found[name] = values if dense else values.copy()
    if len({values.size for values in found.values()}) > 1:
        sizes = ", ".join(f"{n} {v.size}" for n, v in found.items())
        raise ValueError(f"the arrays of {owner} must have one length, got {sizes}")
    return found


def counts(owner: str, count: Array) -> None:
    """Check numbers of values; from 2**53 on, float64 does not tell a number from the next one."""
    if count.size and not 0 <= count.min() <= count.max() < MOST_VALUES:  # NaN compares as False
        wrong = count[~((count >= 0) & (count < MOST_VALUES))][0]
        raise ValueError(f"{owner}.count must be at least 0 and less than 2**53, got {wrong:.17g}")


def squares(owner: str, m2: Array) -> None:
    if (m2 < 0).any():  # NaN compares as False
        raise ValueError(
            f"{owner}.m2 must be at least 0, or NaN for values that are not finite, "
            f"got {m2[m2 < 0][0]}"
        )


def like(name: str, a: object, x: Array, x_name: str = "x") -> Array:
    a = plain_array(name, a)
    shape(name, a, x.shape)
    if a.dtype != x.dtype:
        raise TypeError(f"{name} must be {x.dtype}, as {x_name}, got {a.dtype}")
    return a


def optional_like(name: str, a: object, x: Array) -> None:
    if a is not None:
        like(name, a, x)


def out(a: object, x: Array, name: str = "out") -> None:
    if a is not None:
        writeable(name, like(name, a, x))


def writeable(name: str, a: Array) -> None:
    if not a.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def per_channel(name: str, values: object, channels: int) -> Array:
    array = floating(name, values)
    shape(name, array, (channels,))
    return array


def optional_per_channel(name: str, values: object, channels: int) -> None:
    if values is not None:
        per_channel(name, values, channels)


def running_pair(mean: object, var: object, *, needed: bool) -> None:
    if (mean is None) != (var is None):
        raise ValueError(
            "running_mean and running_var must either both be None or neither be None, "
            f"got {type(mean).__name__} and {type(var).__name__}"
        )
    if mean is None and needed:
        raise ValueError("running_mean must be defined in evaluation mode, got None")


def running(mean: object, var: object, channels: int) -> None:
    """Check running statistics that will be updated."""
    running_pair(mean, var, needed=True)
    writeable("running_mean", per_channel("running_mean", mean, channels))
    writeable("running_var", per_channel("running_var", var, channels))


def shape_tuple(name: str, value: object) -> tuple[int, ...]:
    sizes = value if isinstance(value, (tuple, list)) else ()
    if not isinstance(value, (tuple, list)) or not all(map(is_integer, sizes)):
        raise TypeError(f"{name} must be a tuple of integers, got {value!r}")
    if any(n < 0 for n in sizes):
        raise ValueError(f"{name} must have no negative size, got {value!r}")
    return tuple(int(n) for n in sizes)


def unbatched_channels(input_shape: object, axis: int, expected: int | None = None) -> int:
    """Check a shape without the batch axis; return its number of channels."""
    whole = (None, *shape_tuple("input_shape", input_shape))
    if not -len(whole) <= axis < len(whole):
        raise ValueError(f"input_shape must have a channel axis {axis}, got {input_shape}")
    channels = whole[axis]
    if channels is None:
        raise ValueError(f"axis {axis} is the batch axis of input_shape {input_shape}")
    if expected is not None and channels != expected:
        raise ValueError(
            f"input_shape must have {expected} channels on axis {axis}, got {input_shape}"
        )
    return int(channels)


def enough_values(x: Array, axis: int) -> None:
    if x.size == x.shape[axis] > 0:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {x.shape}"
        )


def eps(value: object, name: str = "eps") -> None:
    if type(value) is not float or not 0 <= value < np.inf:  # what follows takes longer
        at_least(name, value, 0)


def named_eps(name: str, value: object) -> None:
    """As `eps`, with the arguments of the checks of attributes."""
    eps(value, name)


def activation(value: object, known: Collection[object]) -> None:
    if not (value is None or isinstance(value, str)) or value not in known:
        names = ", ".join(repr(name) for name in known)
        raise ValueError(f"activation must be one of {names}, got {value!r}")


def slope(value: object) -> None:
    """Check the slope of a leaky ReLU: only above 0 is the sign of its output that of its input."""
    finite("negative_slope", value)
    if not cast("float", value) > 0:
        raise ValueError(f"negative_slope must be above 0, got {value!r}")


def threads(n: object) -> None:
    positive_int("n", n)
    if cast("int", n) > MOST_THREADS:
        raise ValueError(f"n must be at most {MOST_THREADS} threads, got {n}")


def isa(name: str, available: Sequence[str]) -> None:
    if name not in available:
        raise ValueError(f"BN_ISA must be one of {', '.join(available)} here, got {name!r}")


def byte_count(name: str, value: object) -> int:
    if not is_integer(value) or not 0 <= value <= sys.maxsize:
        raise ValueError(f"{name} must be a whole number of bytes, 0 or more, got {value!r}")
    return int(value)


def finite(name: str, value: object) -> None:
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")


def above(name: str, value: object, low: float) -> None:
    if not is_number(value) or not low < value < math.inf:
        raise ValueError(f"{name} must be a finite number above {low}, got {value!r}")


def one_of(name: str, value: object, known: Collection[str]) -> None:
    if not isinstance(value, str) or value not in known:
        names = ", ".join(repr(word) for word in known)
        raise ValueError(f"{name} must be one of {names}, got {value!r}")


def several(name: str, value: object) -> None:
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of values, got one {type(value).__name__}")


def same_type(name: str, values: Sequence[object], types: tuple[type, ...]) -> type:
    kinds = {type(v) for v in values}
    names = " or ".join(t.__name__ for t in types)
    if len(kinds) != 1 or not kinds <= set(types):
        got = ", ".join(sorted(t.__name__ for t in kinds)) or "nothing"
        raise TypeError(f"{name} must be one or more {names}, all of one kind, got {got}")
    return kinds.pop()


def floating_dtype(dtype: object) -> np.dtype[Any]:
    found = np.dtype(np.float32 if dtype is None else dtype)  # type: ignore[call-overload]
    if found not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {found}")
    return cast("np.dtype[Any]", found)


def batch_rank(layer: str, ndim: int, ranks: tuple[int, ...]) -> None:
    """Check the number of axes of a batch; an empty tuple allows any number.

    The message is PyTorch's sentence, after the name of the layer.
    """
    if ranks and ndim not in ranks:
        expected = " or ".join(f"{n}D" for n in ranks)
        raise ValueError(f"{layer}: expected {expected} input (got {ndim}D input)")


def initializer(name: str, value: object, known: Collection[str]) -> None:
    if not callable(value) and not (isinstance(value, str) and value in known):
        raise ValueError(f"{name} must be callable or one of {', '.join(known)}, got {value!r}")


def own_output_shape(layer: object, forward: object) -> None:
    """Check that a layer does not override `forward` without overriding `output_shape`."""
    kind = type(layer)
    if kind.forward is not forward:  # type: ignore[attr-defined]
        raise NotImplementedError(
            f"{kind.__name__} must define output_shape(input_shape): it has a forward of its own, "
            "which alone knows what shape it gives"
        )


def no_layers_in(owner: object, name: str, value: Any, kind: type) -> None:
    """Check that a collection does not begin with a layer, which would not be found in it.

    Only the first member is looked at, because the check runs whenever parameters are asked for.
    """
    members = value.values() if isinstance(value, dict) else value
    first = next(iter(members), None)
    if isinstance(first, (list, tuple)):
        first = next(iter(first), None)
    if isinstance(first, kind):
        raise TypeError(
            f"{type(owner).__name__}.{name} must not hold layers in a {type(value).__name__}, "
            f"where they are not found, got {type(first).__name__}: use nn.ModuleList, "
            "nn.ModuleDict or nn.Sequential"
        )


def channel_count(layer: str, x: Array, axis: int, expected: int) -> None:
    if x.shape[axis] != expected:
        raise ValueError(f"{layer} takes {expected} channels on axis {axis}, got shape {x.shape}")


def shape(name: str, x: Array, expected: tuple[int, ...]) -> None:
    if x.shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {x.shape}")


def interval(name: str, value: object, low: float, high: float) -> None:
    if not is_number(value) or not low <= value <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value!r}")


def at_least(name: str, value: object, low: float) -> None:
    if not is_number(value) or not low <= value < np.inf:
        raise ValueError(f"{name} must be a number of at least {low:g}, got {value!r}")


def no_larger(name: str, value: int | np.integer[Any]) -> None:
    """Check that an integer can be a size of an array."""
    if value > sys.maxsize:
        raise ValueError(f"{name} must be at most {sys.maxsize}, got {value}")


def positive_int(name: str, value: object) -> None:
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    no_larger(name, value)


def optional_positive_int(name: str, value: object) -> None:
    if value is not None:
        positive_int(name, value)
