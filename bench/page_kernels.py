"""The kernels' tables and numbers for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import report
from measurements import read
from report import OPS, PLAIN_OPS, Row, geometric_mean
from tables import Cells, percent, power, ratio

Measure: TypeAlias = Callable[[str], float | None]
Ops: TypeAlias = tuple[str, ...]

PYTORCH = "PyTorch eager"
MEANS = ("JAX", "TensorFlow", "ONNX Runtime", "NumPy")
SIZES = {"16 to 98 MB": (16, 99), "8 to 16 MB": (8, 16), "1 to 8 MB": (1, 8)}  # of 2**20 bytes
HEAD = ["", "forward, training", "backward", "eval", "fused forward", "fused backward"]
CLEAR = 0.95  # a peer's time over that of bn, below which it is called faster
FAR = 0.8  # below which the row is shown by itself
FAMILIES = {
    "resnet50": "ResNet-50",
    "resnet20": "ResNet-20",
    "mobilenet": "MobileNet",
    "few": "few channels",
    "batch1": "one image",
    "ncl": "series",
    "nc": "(N, C)",
    "ncdhw": "volumes",
    "equal": "equal sizes",
    "beyond": "largest",
}
FUSED = OPS[len(PLAIN_OPS) :]


def all_rows(dtype: str = "float32") -> list[Row]:
    """The rows of one dtype."""
    return [row for row in report.rows(read("kernels")) if row.dtype == dtype]


def copies(rows: list[Row], size: str, op: str) -> float | None:
    """The geometric mean of bn's time over that of a copy, of tensors of this size."""
    low, high = (report.MB * bound for bound in SIZES[size])
    return geometric_mean(r.to_memcpy() for r in rows if r.op == op and low <= r.nbytes < high)


def pytorch(rows: list[Row], op: str, column: str = "plain") -> float | None:
    """The geometric mean of PyTorch's time over that of bn."""
    return geometric_mean(report.better_pytorch(r, column) for r in rows if r.op == op)


def behind(rows: list[Row], op: str, bound: float = CLEAR) -> list[tuple[float, str, Row]]:
    """Rows in which a peer takes less than so much of bn's time, the worst first."""
    found = [(f[1], f[0], r) for r in rows if r.op == op and (f := r.fastest()) is not None]
    return sorted((each for each in found if each[0] < bound), key=lambda each: each[0])


def means() -> Cells:
    """One column for each pass."""
    rows, halves = all_rows(), all_rows("bfloat16")
    count = len([r for r in halves if r.op == OPS[0]])
    table = [
        [f"bn / copy, {size}", *(ratio(copies(rows, size, op)) for op in OPS)] for size in SIZES
    ]
    table.append([f"{PYTORCH} / bn", *(ratio(pytorch(rows, op)) for op in OPS)])
    prepared = f"{PYTORCH} / bn, outputs preallocated, huge pages"
    table.append([prepared, *(ratio(pytorch(rows, op, "tuned")) for op in OPS)])
    for name in MEANS:
        leads = (geometric_mean(r.lead(name) for r in rows if r.op == op) for op in OPS)
        table.append([f"{name} / bn", *map(ratio, leads)])
    table.append(["rows in which a peer is faster", *counts(rows, 1.0)])
    table.append(["by more than 5 %", *counts(rows, CLEAR)])
    few = f"{PYTORCH} / bn, bfloat16 ({count} rows)"
    table.append([few, *(ratio(pytorch(halves, op)) for op in OPS)])
    return [HEAD, *table]


def counts(rows: list[Row], bound: float) -> Iterable[str]:
    return (str(len(behind(rows, op, bound))) for op in OPS)


def lost() -> Cells:
    """The rows in which a peer is much faster."""
    table = [["", "tensor", "pass", "fastest peer", "its time / bn's"]]
    for op in OPS:
        for value, peer, row in behind(all_rows(), op, FAR):
            _, shape, _ = row.case.split()
            layout = ", channels-last" if row.layout == "last" else ""
            tensor = f"({shape.replace('x', ', ')}){layout}"
            table.append([FAMILIES[row.family], tensor, op, peer, f"{value:.2f}"])
    return table


def aims() -> Cells:
    """What was aimed at beside what was measured, and in which passes it was missed."""
    rows = all_rows()

    def of_equal_size(op: str) -> float | None:
        found = report.equal_bytes(report.rows(read("kernels")), op)
        return found and found[0]

    def two_threads(op: str) -> float | None:
        low, high = (report.MB * bound for bound in SIZES["1 to 8 MB"])
        some = (r for r in rows if r.op == op and low <= r.nbytes < high and r.one_thread)
        return geometric_mean(r.one_thread / r.ours["plain"] for r in some)

    def line(what: str, aim: tuple[float, ...], most: bool, value: Measure, ops: Ops) -> list[str]:
        measured = [value(op) for op in ops]
        pairs = zip(ops, measured, aim, strict=True)
        missed = [op for op, v, a in pairs if v is None or (v > a if most else v < a)]
        bound = f"at {'most' if most else 'least'} " + ", ".join(f"{a:g}" for a in aim)
        return [what, bound, ", ".join(map(ratio, measured)), ", ".join(missed) or "–"]

    copy = "times a copy, {}"
    small, large = "1 to 8 MB", "16 to 98 MB"
    equal = "slowest over fastest tensor of equal size"
    lines = [
        line(copy.format(small), (2, 3, 1.25), True, lambda op: copies(rows, small, op), PLAIN_OPS),
        line(
            copy.format(large), (1.4, 2.1, 0.9), True, lambda op: copies(rows, large, op), PLAIN_OPS
        ),
        line(
            "times as fast as PyTorch", (4, 2.5, 2), False, lambda op: pytorch(rows, op), PLAIN_OPS
        ),
        line("times as fast as PyTorch", (5, 2.5), False, lambda op: pytorch(rows, op), FUSED),
        line(equal, (1.5, 1.5, 1.5), True, of_equal_size, PLAIN_OPS),
        line(
            "one thread's time over that of two, 1 to 8 MB",
            (1.8,) * 3,
            False,
            two_threads,
            PLAIN_OPS,
        ),
    ]
    return [["", "aim", "measured", "missed in"], *lines]


def accuracy() -> Cells:
    """The largest error of each library, the least first."""
    found = report.accuracy(read("kernels"))
    found["PyTorch"] = max(found[name] for name in found if name.startswith(report.BOTH_FORMATS))
    names = [n for n in sorted(found, key=found.__getitem__) if n != report.ONE_THREAD]
    heads = [f"{n} (eval only)" if n == "ONNX Runtime" else n for n in names]
    return [heads, [power(found[name]) for name in names]]


def spread() -> str:
    """How far the quartiles of the rows of bn are from their medians."""
    times = [t for t in read("kernels")["times"] if t["contestant"] == report.OURS]
    far = [max(t["q75"] - t["median"], t["median"] - t["q25"]) / t["median"] for t in times]
    half, most = np.percentile(far, [50, 90])
    return f"{percent(half)} in half of the rows, and {percent(most)} in nine tenths"


def three(values: Iterable[float | None]) -> str:
    return ", ".join("–" if value is None else f"{value:.1f}" for value in values)


TABLES: dict[str, Callable[[], Cells]] = {
    "kernels.means": means,
    "kernels.lost": lost,
    "kernels.aims": aims,
    "kernels.accuracy": accuracy,
}
WORDS: dict[str, Callable[[], str]] = {
    "kernels.rows": lambda: str(sum(r.op == OPS[0] for r in all_rows())),
    "kernels.pytorch": lambda: three(pytorch(all_rows(), op) for op in PLAIN_OPS),
    "kernels.jax": lambda: three(
        geometric_mean(r.lead("JAX") for r in all_rows() if r.op == op) for op in PLAIN_OPS
    ),
    "kernels.copy": lambda: three(copies(all_rows(), "16 to 98 MB", op) for op in PLAIN_OPS),
    "kernels.spread": spread,
    "kernels.cache": lambda: f"{read('kernels')['machine']['last_level_cache'] / report.MB:.0f} MB",
    "kernels.behind backward": lambda: str(len(behind(all_rows(), "backward"))),
}
