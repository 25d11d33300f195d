"""Checks of the training loop: its data, its callbacks, and its files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from bn._check.base import (
    Array,
    any_array,
    array,
    is_array,
    is_integer,
    kind_of,
    printable,
    shape,
)
from bn._check.layers import function
from bn._check.masking import sample_weight
from bn._check.nn import instance, not_empty, rank_at_least, unusable_checkpoint


def one_output(y: object) -> None:
    if not isinstance(y, np.ndarray):
        raise TypeError(f"the model must return one array, got {type(y).__name__}")


def inputs(name: str, x: Any) -> Any:
    """Check what a model is called with: an array, or a tuple or mapping of arrays of samples."""
    if isinstance(x, Mapping):
        x = {key: array(f"{name}[{key!r}]", value) for key, value in x.items()}
        parts = {f"{name}[{key!r}]": value for key, value in x.items()}
    elif isinstance(x, list) and any(is_array(each) for each in x):
        raise TypeError(f"several arrays of {name} must be in a tuple or a dict, got a list")
    elif isinstance(x, tuple):
        x = tuple([any_array(f"{name}[{i}]", value) for i, value in enumerate(x)])
        parts = {f"{name}[{i}]": value for i, value in enumerate(x)}
    else:
        x = any_array(name, x)
        parts = {name: x}
    if not parts:
        raise ValueError(f"{name} must have arrays, got an empty {type(x).__name__}")
    first, *_ = parts
    for part, value in parts.items():
        rank_at_least(part, value, 1)
        if len(value) != len(parts[first]):
            raise ValueError(
                f"{part} must have as many rows as {first}, {len(parts[first])}, got {len(value)}"
            )
    return x


def named_inputs(model: str, given: Collection[str], required: Sequence[str]) -> None:
    """Check that inputs by name have those that the model's forward cannot do without."""
    missing = [name for name in required if name not in given]
    if missing:
        raise ValueError(
            f"x must have the arguments of {model}.forward, {', '.join(required)}, "
            f"got {', '.join(map(repr, given))}"
        )


def samples_and_targets(
    x: Any, y: Any, weight: Any = None, *, may_be_empty: bool = False
) -> tuple[Any, Array, Array | None]:
    """Check samples, their targets and their weights; return all as arrays."""
    x = inputs("x", x)
    first = _first_array(x)
    if not may_be_empty:
        not_empty("x", first)
    if isinstance(y, (tuple, list)) and any(is_array(each) and np.ndim(each) for each in y):
        raise TypeError(f"y must be one array, got a {type(y).__name__} of arrays")
    y = array("y", y)
    rank_at_least("y", y, 1)
    as_many_targets("y", first, y)
    if weight is not None:
        weight = sample_weight(weight)
        rank_at_least("sample_weight", weight, 1)
        as_many_targets("sample_weight", first, weight)
    return x, y, weight


def _first_array(x: Any) -> Array:
    parts = x.values() if isinstance(x, Mapping) else x if isinstance(x, tuple) else [x]
    first: Array = next(iter(parts))
    return first


def as_many_targets(name: str, x: Array, y: Array) -> None:
    if len(x) != len(y):
        raise ValueError(f"{name} must have as many rows as x, {len(x)}, got {len(y)}")


def is_samples(value: object) -> bool:
    """Whether a value is (x, y) or (x, y, sample_weight), right or wrong, and not batches."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        return False
    if is_array(value[0]):
        return True
    return isinstance(value, tuple) and not all(_is_batch(each) for each in value)


def _is_batch(value: object) -> bool:
    """Whether a value may be a batch of an iterable."""
    return (
        isinstance(value, (tuple, list))
        and len(value) in (2, 3)
        and (is_array(value[0]) or isinstance(value[0], (tuple, Mapping)))
    )


def training_data(name: str, value: object) -> None:
    """Check that training or validation data are samples and targets, or can be iterated."""
    if not is_samples(value) and (not isinstance(value, Iterable) or is_array(value)):
        raise TypeError(
            f"{name} must be a pair (x, y) of arrays or an iterable of such batches, "
            f"got {type(value).__name__}"
        )


def batch(value: object, may_be_empty: bool) -> tuple[Any, Array, Array | None]:
    """Check what an iterator of batches gave; return x, y and the weights of the samples."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        got = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(
            f"a batch must be (x, y) or (x, y, sample_weight), all of arrays, got {got}"
        )
    return samples_and_targets(*value, may_be_empty=may_be_empty)


def full_batch(batch_size: int, n: int, drop_last: bool) -> None:
    if drop_last and batch_size > n:
        raise ValueError(
            f"batch_size must be at most the number of samples, {n}, with drop_last, "
            f"got {batch_size}"
        )


def shard(value: Any) -> tuple[int, int]:
    """Check the rank and the number of ranks."""
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(map(is_integer, value)):
        raise TypeError(f"shard must be two integers, (rank, size), got {value!r}")
    rank, size = value
    if not 0 <= rank < size:
        raise ValueError(f"shard must have a rank from 0 to size - 1, got ({rank}, {size})")
    return int(rank), int(size)


def batches_came(name: str, epoch: int, got: int, expected: int | None) -> None:
    """Check that an iterator gave the batches that its length promised, and at least one."""
    if got == 0:
        raise ValueError(
            f"{name} must give batches in every epoch, got none in epoch {epoch}: an iterator can "
            "be used once, a list or a BatchLoader can be used again"
        )
    if expected is not None and got != expected:
        raise ValueError(
            f"{name} must give {expected} batches, as its len() says, got {got} in epoch {epoch}"
        )


def targets_counted(name: str, epoch: int, counted: float) -> None:
    """Check that a mean over all targets of an epoch is one of something."""
    if not counted:
        raise ValueError(
            f"{name} must have targets that criterion does not ignore, got none in epoch {epoch}"
        )


def resumable(name: str, value: object) -> None:
    """Check that an iterable can go on in the middle of an epoch."""
    stateful = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
    if not stateful and not isinstance(value, Sequence):
        raise TypeError(
            f"{name} must be able to go on where it was, for a checkpoint: a pair (x, y), a "
            "BatchLoader, a list, or an object with state_dict and load_state_dict, "
            f"got {type(value).__name__}"
        )


def classes_in_range(name: str, y: Array, classes: int, ignore_index: int) -> None:
    counted = y[y != ignore_index]
    if counted.size and not 0 <= int(counted.min()) <= int(counted.max()) < classes:
        raise ValueError(
            f"{name} must hold classes between 0 and {classes - 1}, as many as the model has "
            f"outputs, got {int(counted.min())} to {int(counted.max())}"
        )


def sample_shape(name: str, got: object, expected: object) -> None:
    if got != expected:
        raise ValueError(f"{name} must have samples of shape {expected}, as train, got {got}")


def shards_agree(rng: object, shuffle: bool, size: int) -> None:
    """Check that all shards of a loader have the same order."""
    if size > 1 and shuffle and rng is None:
        raise ValueError(
            "rng must be a seed where there are several shards, and the same one on every rank: "
            "their parts would overlap, got None"
        )


def no_loader_rng(rng: object) -> None:
    if rng is not None:
        raise ValueError(
            "rng must be None where train is an iterable, which has its own order, "
            f"got {type(rng).__name__}"
        )


def takes_weights(criterion: Any) -> None:
    names = signature(criterion).parameters
    if "sample_weight" not in names:
        raise TypeError(
            "criterion must take sample_weight where samples have weights, got one of "
            f"({', '.join(names)})"
        )


def several_classes(shape: tuple[int, ...]) -> None:
    """Check that a cross-entropy has classes to choose from: of one it would always be 0."""
    if len(shape) > 1 and shape[1] < 2:
        raise ValueError(
            f"the model must return at least 2 classes on axis 1 for CrossEntropyLoss, got shape "
            f"{shape}: for one output and two classes, see BCEWithLogitsLoss"
        )


def one_loss(loss: Any) -> float:
    if np.ndim(loss) != 0:
        raise ValueError(
            f"criterion must return one number, as with reduction='mean', got shape "
            f"{np.shape(loss)}"
        )
    return float(loss)


def augmented_batch(value: object) -> tuple[Any, Array]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"augment must return a pair (x, y), got {type(value).__name__}")
    x, y, _ = samples_and_targets(*value)
    return x, y


def metric(value: Any, known: Collection[str]) -> None:
    if callable(value):
        function("every one of metrics", value)
    elif value not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"metrics must be functions of (out, y) or one of {names}, got {value!r}")


def several_metrics(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"metrics must be a tuple of metrics, got {value!r}")


def monitored(owner: str, monitor: str, names: Iterable[str]) -> None:
    if monitor not in names:
        raise ValueError(
            f"monitor of {owner} must be a column of the history, one of {', '.join(names)}, "
            f"got {monitor!r}"
        )


def kept_best_weights(needed: bool, state: Mapping[str, Any]) -> None:
    """Check that a file has the weights of the best epoch, if they are to be restored."""
    if needed and state["best"] is not None and state["best_weights"] is None:
        raise ValueError(
            "restore_best_weights must be False to go on with a training that began without it, "
            "got True"
        )


def progress_in_file(path: object, value: Mapping[str, Any], names: Collection[str]) -> None:
    """Check what a file says about how far the training is."""
    counts = ("epoch", "batches", "step", "samples")
    fits = set(value) == set(names) and all(
        is_integer(value[name]) and value[name] >= 0 for name in counts
    )
    if not fits or not isinstance(value["fixed"], Mapping):
        raise unusable_checkpoint(path, "it has no progress of nn.fit")


def same_settings(path: object, saved: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that a training goes on with the settings that it began with."""
    for name, value in given.items():
        if saved.get(name) != value:
            raise ValueError(
                f"{name} must be as in {path}, {saved.get(name)!r}, to go on with the same "
                f"training, got {value!r}"
            )


def no_other_training(path: str | Path) -> None:
    if Path(path).exists():
        raise FileExistsError(
            f"checkpoint must be a new file without resume, got {path}, which has a training: "
            "go on with it by resume=True, or remove it"
        )


def folder_exists(name: str, path: str | os.PathLike[str]) -> None:
    """Check that a file can be written later, before anything is computed for it."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{name} must be in a folder that exists, got {path}")


def needs_checkpoint(name: str, checkpoint: object) -> None:
    if checkpoint is None:
        raise ValueError(f"checkpoint must be the path of a file for {name}, got None")


def accumulates(path: str, layer: object, reason: str) -> None:
    """Refuse a layer whose results for parts of a batch are not those of the batch."""
    raise ValueError(
        f"accumulate must be 1 for a model with {path} ({type(layer).__name__}), {reason}"
    )


def same_way(path: str) -> None:
    raise ValueError(
        f"accumulate needs all parts of a batch to go through the same batch normalizations, "
        f"got parts that differ at {path}"
    )


def loader_state(given: Mapping[str, Any], n: int, shuffle: bool) -> None:
    instance("state", given, Mapping)
    keys = {"rng", "order", "position", "begun", "seed", "samples"}
    if set(given) != keys:
        names = ", ".join(map(str, given))
        raise ValueError(f"the state must be that of a BatchLoader, got one with {names}")
    if given["samples"] != n:
        raise ValueError(
            f"the data must be those of the state, which has {given['samples']} samples, got {n}"
        )
    if not order_of(given, n, shuffle):
        raise ValueError(
            f"the state must be that of a BatchLoader with shuffle={shuffle}, got another order"
        )


def order_of(given: Mapping[str, Any], n: int, shuffle: bool) -> bool:
    """Whether the order and the position in a loader's state can be those of n samples."""
    order, position = given["order"], given["position"]
    if not is_integer(position) or not 0 <= position <= n:
        return False
    if order is None:
        return not (shuffle and given["begun"])
    fits = isinstance(order, np.ndarray) and order.shape == (n,) and order.dtype.kind == "i"
    return fits and shuffle and np.array_equal(np.sort(order), np.arange(n))


def history_file(path: str | Path) -> str:
    """Check the ending of a history's file; return it."""
    ending = Path(path).suffix
    if ending not in (".json", ".csv"):
        raise ValueError(f"path must end in .json or .csv, got {path}")
    return ending


def saveable(path: str, value: object) -> None:
    raise TypeError(
        f"{path} must be made of numbers, texts, lists, dicts and arrays to be saved, "
        f"got {type(value).__name__}"
    )


def present_in_file(path: object, name: str, kept: object) -> None:
    if kept is None:
        raise ValueError(f"{path} has no {name}: the saved training had none, so leave it out")


def same_kind(name: str, saved: object, value: object) -> None:
    if saved != type(value).__name__:
        got = type(value).__name__
        raise ValueError(f"{name} must be of type {saved}, as in the file, got {got}")


def of_other_objects(path: object, error: object) -> ValueError:
    """The error for a file of a training whose states the objects do not take."""
    reason = printable(str(error)) or type(error).__name__
    return ValueError(f"{path} does not fit the objects that are given: {reason}")


def whole_training(is_one: bool) -> None:
    if not is_one:
        raise ValueError("it is no file of save_training; nn.load reads the files of nn.save")


def model_alone(is_training: bool) -> None:
    if is_training:
        raise ValueError("it is a file of save_training, of which nn.load_training reads the model")


def has_state(name: str, value: object) -> None:
    if not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
        raise TypeError(
            f"{name} must have state_dict and load_state_dict, got {type(value).__name__}"
        )


def csv_file(path: str) -> None:
    if not path.endswith(".csv"):
        raise ValueError(f"path must end in .csv, got {path}")


def text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {type(value).__name__}")


def no_more_than_the_file(needed: int, size: int) -> None:
    if needed > size:
        raise ValueError(f"its arrays must fit into its {size} bytes, got {needed}")


def callbacks(value: object, kind: type) -> None:
    if not isinstance(value, Sequence):
        raise TypeError(f"callbacks must be a sequence of callbacks, got {type(value).__name__}")
    for each in value:
        instance("every one of callbacks", each, kind)


def optimizer_of(optimizer: Any, model: Any) -> None:
    """Check that an optimizer steps some of the model's parameters, if the model has any yet."""
    own = {id(parameter) for parameter in model.parameters()}
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if own and own.isdisjoint(stepped):
        raise ValueError("optimizer must have parameters of the model, got those of another one")


def cycle_of_epochs(total_steps: int, epochs: object) -> None:
    """Check that a cycle which steps after each epoch ends with the training."""
    if total_steps != epochs:
        raise ValueError(
            f"schedule of {total_steps} steps must have as many as there are epochs, got {epochs} "
            'epochs; with schedule_every="batch" it steps after each batch'
        )


def schedule_of(schedule: Any, optimizer: object) -> None:
    if isinstance(schedule, type) or not hasattr(schedule, "step"):
        raise TypeError(f"schedule must be an object with a step, got {kind_of(schedule)}")
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise ValueError("schedule must be of the optimizer that is given, got one of another")


def same_layout(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that arrays have the names, shapes and dtypes of others."""
    if own.keys() != given.keys():
        names = ", ".join(sorted(own.keys() ^ given.keys()))
        raise ValueError(f"running statistics do not fit those of the model, at {names}")
    for name, value in own.items():
        shape(name, given[name], value.shape)
        if given[name].dtype != value.dtype:
            raise ValueError(f"{name} must be {value.dtype}, got {given[name].dtype}")


def extra(value: object) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"extra must be a dict or None, got {type(value).__name__}")
