"""Prints the result of `train_step.py`."""

from __future__ import annotations

from typing import Any

import tables
from layer_times import Row, by_kind

Cells = list[list[str]]
PYTORCH = ("PyTorch", "PyTorch cl")
RATIO = "PyTorch*/bn"
TITLES = {
    "quiet": "a training step: ms, median (quartiles)",
    "beside": "beside a process that keeps one core busy: ms, median (quartiles)",
}


def show(result: dict[str, Any]) -> None:
    """Times, memory, the layers of bn, and what was not measured."""
    print(tables.header(result["machine"]))
    for where, title in TITLES.items():
        if any(time["where"] == where for net in result["networks"] for time in net["times"]):
            print("\n" + tables.plain(title, times(result, where)))
    if result["networks"]:
        title = "most memory in the first steps, above that of weights and batches: MB"
        print("\n" + tables.plain(title, memory(result)))
    for net in result["networks"]:
        if net.get("profile"):
            rows = [Row(**row) for row in net["profile"]]
            for part in (rows, by_kind(rows)):
                print(
                    "\n"
                    + tables.plain(f"bn, {net['title']}, each layer by itself: ms", layers(part))
                )
    print()
    for line in notes(result):
        print(line)


def times(result: dict[str, Any], where: str) -> Cells:
    """One line for each network."""
    names = columns(result, where)
    table = [["network", *names, RATIO, *(["bn / quiet"] if where == "beside" else [])]]
    for net in result["networks"]:
        found = {t["contestant"]: t for t in net["times"] if t["where"] == where}
        cells = [
            _time(found[name]) if name in found else _why_not(name, result, net) for name in names
        ]
        row = [net["title"], *cells, tables.number(pytorch_over_bn(found))]
        if where == "beside":
            quiet = [t for t in net["times"] if (t["contestant"], t["where"]) == ("bn", "quiet")]
            both = quiet and "bn" in found
            row.append(tables.number(found["bn"]["median"] / quiet[0]["median"] if both else None))
        table.append(row)
    return table


def pytorch_over_bn(found: dict[str, dict[str, Any]]) -> float | None:
    """The time of PyTorch's better format over bn's; below 1, PyTorch is faster."""
    peers = [found[name]["median"] for name in PYTORCH if name in found]
    return min(peers) / found["bn"]["median"] if peers and "bn" in found else None


def memory(result: dict[str, Any]) -> Cells:
    """One line for each network."""
    names = columns(result, "quiet")
    table = [["network", *names]]
    for net in result["networks"]:
        peaks = {c["contestant"]: c["peak"] for c in net["checks"] if c["peak"] is not None}
        cells = [
            tables.number(peaks[name] / 1e6) if name in peaks else _why_not(name, result, net)
            for name in names
        ]
        table.append([net["title"], *cells])
    return table


def columns(result: dict[str, Any], where: str) -> list[str]:
    """All contestants, the missing ones too; bn with one thread where it has a purpose."""
    everybody = result["machine"]["contestants"]
    return [name for name in everybody if where == "beside" or name != "bn, 1 thread"]


def layers(profile: list[Row]) -> Cells:
    """Forward, backward and share of the step; the last row is the step."""
    table = [["layer", "forward", "backward", "both", "share"]]
    for row in profile:
        name = " ".join(filter(None, (row.path, row.kind, row.weight)))
        times = ["" if t is None else tables.number(t) for t in (row.forward, row.backward)]
        share = f"{row.total / profile[-1].total:.0%}"
        table.append([name, *times, tables.number(row.total), share])
    return table


def notes(result: dict[str, Any]) -> list[str]:
    """How far the losses were apart, who is not there, and what was not timed."""
    lines = ["* the better of PyTorch's two memory formats; cl: its channels_last"]
    off = [(c["off"], c["contestant"], n["title"]) for n in result["networks"] for c in n["checks"]]
    if off:
        value, name, title = max(off)
        lines.append(
            f"losses of ten steps: farthest from the median of all is {name} ({value:.0e}, {title})"
        )
    lines += [f"{name}: {why}" for name, why in result["missing"].items()]
    for net in result["networks"]:
        lines += [
            f"not timed: {net['title']}: {who}: {why}" for who, why in net["problems"].items()
        ]
    return lines + [f"not timed: {title}: no time left" for title in result["left"]]


def _why_not(name: str, result: dict[str, Any], net: dict[str, Any]) -> str:
    if name in result["missing"]:
        return "not installed"
    return "failed" if name in net["problems"] else "–"


def _time(found: dict[str, Any]) -> str:
    median, q25, q75 = (tables.number(found[key]) for key in ("median", "q25", "q75"))
    return f"{median} ({q25}–{q75})"
