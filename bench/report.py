"""From the medians to rows, geometric means and what is behind; the tables are in `tables`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PLAIN_OPS = ("forward", "backward", "eval")
OPS = (*PLAIN_OPS, "fused forward", "fused backward")
COLUMNS = ("plain", "tuned")
MB = 1 << 20
OURS, ONE_THREAD, MEMCPY = "bn", "bn, 1 thread", "memcpy"
BOTH_FORMATS = "PyTorch"  # shown apart in its two formats
PEER_ORDER = (
    "NumPy", "PyTorch", "PyTorch cl", "oneDNN", "torch.compile", "JAX", "TensorFlow",
    "ONNX Runtime",
)  # fmt: skip
GROUPS = ("small", "in cache", "middle", "beyond")


@dataclass
class Row:
    """One tensor, layout and operation: `bn` and everybody else, in ms.

    The peers are in the layout that suits them best, whatever `bn`'s is.
    """

    case: str
    family: str
    dtype: str
    layout: str
    op: str
    nbytes: int
    group: str
    ours: dict[str, float]  # by column: plain, tuned
    one_thread: float | None
    memcpy: float
    memcpy_by: str
    peers: dict[str, dict[str, float]] = field(default_factory=dict)  # by name, by column

    @property
    def name(self) -> str:
        return f"{self.case}, {self.layout}, {self.op}"

    def to_memcpy(self, column: str = "plain") -> float:
        return self.ours[column] / self.memcpy

    def lead(self, peer: str, column: str = "plain") -> float | None:
        """How many times `bn`'s time a peer takes, both in the same column."""
        time = self.peers.get(peer, {}).get(column)
        return time / self.ours[column] if time is not None and column in self.ours else None

    def fastest(self, column: str = "plain") -> tuple[str, float] | None:
        """The fastest peer, and its time over `bn`'s: below 1, `bn` is behind."""
        leads = [(lead, p) for p in self.peers if (lead := self.lead(p, column)) is not None]
        return (min(leads)[1], min(leads)[0]) if leads else None


def size_group(nbytes: int, last_level_cache: int) -> str:
    """One of GROUPS: < 1 MB, 1 to 8 MB, more, or x and y together exceed the last-level cache."""
    if nbytes < MB:
        return "small"
    if nbytes <= 8 * MB:
        return "in cache"
    return "beyond" if 2 * nbytes > last_level_cache else "middle"


def rows(result: dict[str, Any]) -> list[Row]:
    """A row for each case, layout and operation that `bn` was measured in."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for record in result["times"]:
        by_case.setdefault(record["case"], []).append(record)
    made = []
    for case in result["cases"]:
        records = by_case.get(case["name"], [])
        copies = [(r["median"], r["op"]) for r in records if r["contestant"] == MEMCPY]
        for op in OPS:
            same_op = [r for r in records if r["op"] == op]
            for layout in ("first", "last"):
                mine = {
                    r["column"]: r["median"]
                    for r in same_op
                    if (r["contestant"], r["layout"]) == (OURS, layout)
                }
                if mine and copies:
                    made.append(_row(case, layout, op, result, mine, min(copies), same_op))
    return made


def _row(
    case: dict[str, Any],
    layout: str,
    op: str,
    result: dict[str, Any],
    mine: dict[str, float],
    memcpy: tuple[float, str],
    records: list[dict[str, Any]],
) -> Row:
    group = size_group(case["nbytes"], result["machine"]["last_level_cache"])
    alone = [r["median"] for r in records if (r["contestant"], r["layout"]) == (ONE_THREAD, layout)]
    row = Row(
        case["name"], case["family"], case["dtype"], layout, op, case["nbytes"], group, mine,
        alone[0] if alone else None, memcpy[0], memcpy[1].removeprefix("copy, "),
    )  # fmt: skip
    for r in records:
        name = r["contestant"]
        if name in (OURS, ONE_THREAD, MEMCPY):
            continue
        if name == BOTH_FORMATS and r["layout"] == "last":
            name += " cl"
        times = row.peers.setdefault(name, {})
        times[r["column"]] = min(r["median"], times.get(r["column"], np.inf))
    return row


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of those that are not None; None without any."""
    known = [v for v in values if v is not None]
    return float(np.exp(np.mean(np.log(known)))) if known else None


def better_pytorch(row: Row, column: str = "plain") -> float | None:
    """PyTorch eager over `bn`, in the better of its two formats."""
    leads = [row.lead(name, column) for name in (BOTH_FORMATS, BOTH_FORMATS + " cl")]
    return min((lead for lead in leads if lead is not None), default=None)


def behind(all_rows: list[Row], column: str = "plain") -> list[tuple[float, str, str]]:
    """(peer / bn, the peer, the row's name) where a peer is faster, the worst first."""
    found = [(row.fastest(column), row.name) for row in all_rows]
    return sorted((f[1], f[0], name) for f, name in found if f is not None and f[1] < 1)


def extreme(
    all_rows: list[Row], value: Callable[[Row], float | None], largest: bool
) -> tuple[float, str] | None:
    """The largest or smallest value and its row's name."""
    known = [(v, row.name) for row in all_rows if (v := value(row)) is not None]
    return (max if largest else min)(known, default=None)


def fused_over_plain(all_rows: list[Row], op: str) -> list[tuple[float, str]]:
    """The time of ``fused op`` over that of `op` in the same rows."""
    plain = {(r.case, r.layout): r.ours["plain"] for r in all_rows if r.op == op}
    return [
        (r.ours["plain"] / plain[r.case, r.layout], r.name)
        for r in all_rows
        if r.op == f"fused {op}" and (r.case, r.layout) in plain
    ]


def accuracy(result: dict[str, Any], dtype: str = "float32") -> dict[str, float]:
    """How far each contestant's worst result is off."""
    names = {case["name"] for case in result["cases"] if case["dtype"] == dtype}
    worst: dict[str, float] = {}
    for r in result["times"]:
        if r["case"] in names and r["contestant"] != MEMCPY:
            worst[r["contestant"]] = max(r["off"], worst.get(r["contestant"], 0.0))
    return worst


def equal_bytes(all_rows: list[Row], op: str) -> tuple[float, str, str] | None:
    """Slowest over fastest of the family in which every tensor has the same size."""
    times = [
        (r.ours["plain"] / r.nbytes, r.name) for r in all_rows if (r.family, r.op) == ("equal", op)
    ]
    if len(times) < 2:
        return None
    return max(times)[0] / min(times)[0], max(times)[1], min(times)[1]
