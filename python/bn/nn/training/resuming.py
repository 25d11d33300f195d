"""`save_training` and `load_training`: all that a training needs to go on, in one file.

The file is an archive like that of `nn.save`. The state of the model has the names of its state
dict behind ``model:``. What is no array is JSON, as UTF-8 in an array of bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn import _check
from bn.module import Module, copy_all
from bn.nn.archive import DAMAGE, TRAINING, Header, reading, write
from bn.nn.replacing import replacing
from bn.nn.training.tree import put_together, taken_apart
from bn.types import Array

MODEL, FURTHER = "model:", "further:"
Parts = dict[str, Any]


def save_training(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Any = None,
    schedule: Any = None,
    *,
    loader: Any = None,
    callbacks: Sequence[Any] = (),
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write all that a training needs to go on with the same bits, into one file.

    Beside what the objects' `state_dict` return, these are the states of the generators of all
    layers, such as those of dropout, and what a state dict lacks of running statistics.

    As with `save`, after a crash at any moment `path` is either the complete old file or the
    complete new one, and a checksum tells `load_training` of any damage. Nothing is pickled.

    Parameters
    ----------
    path : path-like
    model : Module
    optimizer, schedule, loader : object, optional
        Objects with `state_dict` and `load_state_dict`, such as a `BatchLoader`.
    callbacks : sequence
        More such objects.
    extra : dict, optional
        Numbers, texts, lists, dicts and arrays; `load_training` returns them.

    Raises
    ------
    TypeError
        `model` is not a Module, an object has no `state_dict`, or a state has something else.
    ValueError
        `path` is a device, a pipe or a socket.
    OSError
        The file cannot be written; what was there before stays. The error names `path`.

    See Also
    --------
    bn.nn.fit : Calls it, with `checkpoint`.
    bn.nn.save : The state of a model alone.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Dropout(rng=0))
    >>> optimizer = nn.Adam(model.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_training(folder + "/run.npz", model, optimizer, extra={"epoch": 3})
    ...     load_training(folder + "/run.npz", model, optimizer)
    {'epoch': 3}
    """
    _check.instance("model", model, Module)
    _check.extra(extra)
    _check.regular_file(path)
    parts = _parts(optimizer, schedule, loader, callbacks)
    arrays: dict[str, Array] = {}
    kept = {name: _kept(name, part, arrays) for name, part in parts.items()}
    told = {
        "parts": kept,
        "generators": taken_apart(_generator_states(model), "generators", arrays),
        "extra": taken_apart(dict(extra or {}), "extra", arrays),
    }
    arrays.update({MODEL + name: array for name, array in model.named_state()})
    arrays.update({FURTHER + name: array for name, array in _further(model)})
    arrays[TRAINING] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    with replacing(path) as file:
        write(file, arrays)


def load_training(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Any = None,
    schedule: Any = None,
    *,
    loader: Any = None,
    callbacks: Sequence[Any] = (),
    check: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Let a training go on from a file that `save_training` wrote, or raise and change nothing.

    Parameters
    ----------
    path : path-like
    model : Module
        Of the same structure as the saved one, with all layers built.
    optimizer, schedule, loader, callbacks : optional
        Objects like those that were saved. Those that are not given are left out.
    check : callable, optional
        Gets what is returned before anything is changed, and may raise.

    Returns
    -------
    dict
        The `extra` of `save_training`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be read.
    ValueError
        The file is damaged, is no file of a training, or belongs to other objects.
    TypeError
        `model` is not a Module, or an object has no `load_state_dict`.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> one, other = (nn.Sequential(nn.Dropout(0.5, rng=seed)) for seed in (1, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_training(folder + "/run.npz", one)
    ...     extra = load_training(folder + "/run.npz", other)
    >>> bool((one(np.ones(50)) == other(np.ones(50))).all())
    True
    """
    _check.instance("model", model, Module)
    parts = _parts(optimizer, schedule, loader, callbacks)
    told, arrays = _read(path, model)
    for name, part in parts.items():
        _check.present_in_file(path, name, told["parts"].get(name))
        _check.same_kind(name, told["parts"][name]["class"], part)
    extra: dict[str, Any] = told["extra"]
    if check is not None:
        check(extra)
    states = {name: told["parts"][name]["state"] for name in parts}
    before = _Before(model, parts)
    try:
        _load(model, parts, states, told["generators"], arrays)
    except (*DAMAGE, AttributeError, OverflowError) as error:
        before.restore()
        raise _check.of_other_objects(path, error) from error
    except BaseException:
        before.restore()
        raise
    return extra


class _Before:
    """What all objects were before a file was loaded, in case that fails halfway."""

    def __init__(self, model: Module, parts: Parts) -> None:
        self.model, self.parts = model, parts
        self.states = {name: part.state_dict() for name, part in parts.items()}
        self.generators = _generator_states(model)
        self.arrays = {MODEL + name: array.copy() for name, array in model.named_state()}
        self.arrays.update({FURTHER + name: array.copy() for name, array in _further(model)})

    def restore(self) -> None:
        _load(self.model, self.parts, self.states, self.generators, self.arrays)


def _load(
    model: Module,
    parts: Parts,
    states: Mapping[str, Any],
    generators: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> None:
    for name, part in parts.items():
        part.load_state_dict(states[name])
    for name, generator in generators_of(model):
        generator.bit_generator.state = generators[name]
    own = {MODEL + name: array for name, array in model.named_state()}
    model.load_state_dict({name.removeprefix(MODEL): arrays[name] for name in own})
    copy_all((array, arrays[FURTHER + name]) for name, array in _further(model))


def _parts(optimizer: Any, schedule: Any, loader: Any, callbacks: Sequence[Any]) -> Parts:
    named = {"optimizer": optimizer, "schedule": schedule, "loader": loader}
    named.update({f"callback {i}": callback for i, callback in enumerate(callbacks)})
    parts = {name: part for name, part in named.items() if part is not None}
    for name, part in parts.items():
        _check.has_state(name, part)
    return parts


def _kept(name: str, part: Any, arrays: dict[str, Array]) -> dict[str, Any]:
    state = taken_apart(part.state_dict(), name, arrays)
    return {"class": type(part).__name__, "state": state}


def generators_of(model: Module) -> Iterator[tuple[str, np.random.Generator]]:
    """(dotted name, generator) of all layers, such as those of dropout."""
    for path, layer in model.named_modules():
        for name, value in vars(layer).items():
            if isinstance(value, np.random.Generator):
                yield f"{path}.{name}", value


def _generator_states(model: Module) -> dict[str, Any]:
    return {name: generator.bit_generator.state for name, generator in generators_of(model)}


def _further(model: Module) -> Iterator[tuple[str, Array]]:
    """(dotted name, array) of what the state dict of a model lacks."""
    for path, layer in model.named_modules():
        for name, array in layer.further_state().items():
            yield f"{path}.{name}", array


# ---- reading ----


def _read(path: str | os.PathLike[str], model: Module) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file tells, and its arrays; no more is read than the file has bytes."""
    with reading(path) as archive:
        _check.whole_training(TRAINING in archive.names)
        headers = {name: archive.header(name) for name in archive.names}
        needed = sum(h.dtype.itemsize * int(np.prod(h.shape)) for h in headers.values())
        _check.no_more_than_the_file(needed, Path(path).stat().st_size)
        _check.state_layout(dict(model.named_state()), _behind(MODEL, headers))
        _check.same_layout(dict(_further(model)), _behind(FURTHER, headers))
        arrays = {name: archive.array(name) for name in archive.names}
        return _told(arrays), arrays


def _behind(prefix: str, headers: Mapping[str, Header]) -> dict[str, Header]:
    """The headers whose names have this prefix, without it."""
    found = {name: header for name, header in headers.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): header for name, header in found.items()}


def _told(arrays: dict[str, Array]) -> dict[str, Any]:
    """What is no array, with the arrays that belong into it."""
    text = arrays.pop(TRAINING)
    if text.dtype != np.uint8:
        raise ValueError(f"its text must be bytes, got {text.dtype}")
    told = put_together(json.loads(text.tobytes().decode()), arrays)
    expected = {"parts", "generators", "extra"}
    if not isinstance(told, dict) or set(told) != expected:
        raise ValueError("its text is not of save_training")
    if not all(isinstance(told[name], dict) for name in expected):
        raise ValueError("its text is not of save_training")
    for part in told["parts"].values():
        if not isinstance(part, dict) or set(part) != {"class", "state"}:
            raise ValueError("its text is not of save_training")
    return told
