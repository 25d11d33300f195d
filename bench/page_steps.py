"""Tables and numbers of training steps and predictions for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch_step
from layer_times import Row, by_kind
from measurements import read
from step_tables import PYTORCH, pytorch_over_bn
from tables import Cells, aimed, number, percent, ratio

KERAS = {"Keras TF": "Keras on TensorFlow", "Keras JAX": "Keras on JAX"}
AIMS = {  # times PyTorch's speed, with all threads
    "conv 16, batch 64": 2,
    "conv 16, batch 256": 2.5,
    "Keras tutorial, batch 64": 2,
    "32-64-128, batch 64": 1.15,
    "conv 24-48, batch 96": 1.5,
    "ResNet-14, batch 64": 1.2,
    "ResNet-20, batch 64": 1.2,
    "depthwise separable, batch 64": 1.5,
}
WAYS = {
    "bn, each layer by itself": "each layer by itself",
    "bn, without Winograd": "without Winograd",
}
PROFILED = ("32-64-128, batch 64", "ResNet-14, batch 64")

Times = dict[str, dict[str, Any]]


def steps(name: str, where: str = "quiet") -> dict[str, Times]:
    """The times of all contestants, by the network's title."""
    return {
        net["title"]: {t["contestant"]: t for t in net["times"] if t["where"] == where}
        for net in read(name)["networks"]
    }


def over_bn(found: Times, name: str) -> float | None:
    """A contestant's time over that of bn."""
    return found[name]["median"] / found["bn"]["median"] if name in found else None


def pytorch_time(found: Times) -> float:
    """That of the better memory format."""
    return min(found[name]["median"] for name in PYTORCH if name in found)


def times() -> Cells:
    table = [
        ["network", "bn", "PyTorch", "PyTorch / bn", "aim", *(f"{n} / bn" for n in KERAS.values())]
    ]
    for title, found in steps("steps").items():
        both = number(found["bn"]["median"]), number(pytorch_time(found))
        others = (ratio(over_bn(found, name)) for name in KERAS)
        faster = pytorch_over_bn(found)
        table.append([title, *both, ratio(faster), aimed(AIMS[title], faster), *others])
    return table


def one_thread() -> Cells:
    table = [["network", "bn", "PyTorch", "PyTorch / bn"]]
    for title, found in steps("steps-one-thread").items():
        both = number(found["bn"]["median"]), number(pytorch_time(found))
        table.append([title, *both, ratio(pytorch_over_bn(found))])
    return table


def peaks() -> dict[str, tuple[float, float]]:
    """The most memory of bn and of PyTorch's better format in MB, by the network's title."""
    found = {}
    for net in read("steps")["networks"]:
        most = {check["contestant"]: check["peak"] / 1e6 for check in net["checks"]}
        found[net["title"]] = (most["bn"], min(most[name] for name in PYTORCH))
    return found


def memory() -> Cells:
    table = [["network", "bn", "PyTorch's better format", "bn / PyTorch"]]
    for title, (ours, theirs) in peaks().items():
        table.append([title, number(ours), number(theirs), f"{ours / theirs:.2f}"])
    return table


def ways() -> Cells:
    """The time without a device of bn over that with it."""
    table = [["network", *WAYS.values()]]
    for title, found in steps("steps-apart").items():
        table.append([title, *(ratio(over_bn(found, name)) for name in WAYS)])
    return table


def shares() -> Cells:
    """The parts of a step by the kind of layer."""
    profiles = {
        net["title"]: by_kind([Row(**row) for row in net["profile"]])
        for net in read("steps-apart")["networks"]
        if net["title"] in PROFILED
    }
    parts = {
        title: {r.kind: r.total / rows[-1].total for r in rows} for title, rows in profiles.items()
    }
    kinds = dict.fromkeys(kind for rows in parts.values() for kind in rows if kind != "step")
    table = [["", *parts]]
    for kind in kinds:
        cells = (percent(rows[kind]) if kind in rows else "–" for rows in parts.values())
        table.append([f"`{kind}`" if kind[0].isupper() else kind, *cells])
    return table


def beside() -> Cells:
    """What a process that keeps one of the cores busy makes of a step."""
    table = [["network", "bn", "PyTorch", "bn, two threads / one"]]
    quiet = steps("steps-beside")
    for title, found in steps("steps-beside", "beside").items():
        slower = (found["bn"]["median"] / quiet[title]["bn"]["median"],
                  pytorch_time(found) / pytorch_time(quiet[title]))  # fmt: skip
        one = found["bn"]["median"] / found["bn, 1 thread"]["median"]
        table.append([title, *map(ratio, slower), ratio(one)])
    return table


def predictions() -> Cells:
    """Compiled, folded and as trained, and peers over the compiled one."""
    table = [
        ["network", "bn, compiled", "folded", "as trained", "PyTorch / bn", "ONNX Runtime / bn"]
    ]
    for net in read("predictions")["networks"]:
        found = net["times"]
        ours = (number(found[name]["median"]) for name in ("bn", "bn folded", "bn as trained"))
        table.append([net["title"], *ours, *map(ratio, peers(found))])
    return table


def peers(found: Times) -> tuple[float, float | None]:
    """PyTorch's better format and ONNX Runtime over bn."""
    return pytorch_time(found) / found["bn"]["median"], over_bn(found, "ONNX Runtime")


def first() -> Cells:
    """From the start of a process to its first prediction."""
    times = read("predictions")["first"]
    return [list(times), [number(value) for value in times.values()]]


def between(values: Iterable[float | None]) -> str:
    """The least and the largest."""
    known = [value for value in values if value is not None]
    digits = 1 if min(known) >= 1 and max(known) > 2 else 2
    return f"{min(known):.{digits}f} to {max(known):.{digits}f}"


def each(values: Iterable[float | None]) -> str:
    return " and ".join(map(ratio, values))


def single() -> list[tuple[float, float | None]]:
    """The peers of predictions of one image."""
    nets = read("predictions")["networks"]
    return [peers(net["times"]) for net in nets if net["title"].endswith("batch 1")]


SMALL = ("conv 16, batch 64", "conv 16, batch 256")
DEEP = "ResNet-20, batch 64"
TABLES: dict[str, Callable[[], Cells]] = {
    "steps.times": times,
    "steps.one thread": one_thread,
    "steps.memory": memory,
    "steps.ways": ways,
    "steps.shares": shares,
    "steps.beside": beside,
    "predictions.times": predictions,
    "predictions.first": first,
}
WORDS: dict[str, Callable[[], str]] = {
    "steps.pytorch": lambda: between(pytorch_over_bn(f) for f in steps("steps").values()),
    "steps.memory range": lambda: between(theirs / ours for ours, theirs in peaks().values()),
    "steps.small": lambda: each(pytorch_over_bn(steps("steps")[title]) for title in SMALL),
    "steps.small keras": lambda: each(over_bn(steps("steps")[t], "Keras TF") for t in SMALL),
    "steps.deep": lambda: ratio(pytorch_over_bn(steps("steps")[DEEP])),
    "steps.deep keras": lambda: ratio(over_bn(steps("steps")[DEEP], "Keras TF")),
    "predictions.pytorch": lambda: between(pair[0] for pair in single()),
    "predictions.onnx": lambda: between(pair[1] for pair in single()),
    "torch.range": lambda: between(
        torch_step.speed_up(case["times"])
        for case in read("torch")["cases"]
        if "convolutions" in case
    ),
    "torch.convolutions range": lambda: torch_step.convolutions(read("torch")["cases"]),
    "keras.bn.keras": lambda: keras_time("bn.keras"),
    "keras.bn.nn": lambda: keras_time("bn.nn"),
}


def keras_time(name: str) -> str:
    """Milliseconds of a step."""
    from keras_step import BATCHES

    return number(read("keras")["calls"][name]["clock"]["median"] / BATCHES)
