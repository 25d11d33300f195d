"""Prints a benchmark's result: with rich where it is installed, else plainly."""

from __future__ import annotations

from typing import Any

import report
from report import COLUMNS, GROUPS, OPS, Row

Cells = list[list[str]]
QUIET = 0.05  # of the machine's CPU time may go to others


def show(result: dict[str, Any]) -> None:
    """Everything: the medians, the geometric means, the worst rows, and who is behind."""
    rows = report.rows(result)
    print(header(result["machine"]))
    for op in OPS:
        of_op = [row for row in rows if row.op == op]
        if of_op:
            _print(f"{op}: ms, and times over bn's (plain / preallocated)", medians(of_op))
    _print("geometric means (plain / preallocated)", means(rows))
    _print("worst rows", worst(rows))
    for line in verdict(rows) + notes(result):
        print(line)


def header(machine: dict[str, Any]) -> str:
    """The machine in a few lines."""
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"last-level cache {machine['last_level_cache'] / report.MB:.0f} MB",
        f"bn {machine['bn']['version']} ({machine['bn']['isa']}), {versions}",
        machine["date"],
    ]
    if (others := machine.get("others")) is not None:
        verdict = "" if others < QUIET else ": DO NOT TRUST THIS RUN"
        lines.append(f"other processes used {others:.0%} of the CPU time{verdict}")
    return "\n".join(lines)


def medians(rows: list[Row]) -> Cells:
    """One line for each row; a peer's cell is its time over bn's, above 1 where bn is ahead."""
    names = _peers(rows)
    table = [
        ["case", "layout", "MB", "memcpy", "bn", "out=", "/memcpy", "1 thread", *names, "fastest"]
    ]
    for row in rows:
        one = row.one_thread / row.ours["plain"] if row.one_thread is not None else None
        table.append(
            [
                row.case.removesuffix(" float32"),
                row.layout,
                number(row.nbytes / report.MB),
                number(row.memcpy),
                number(row.ours.get("plain")),
                number(row.ours.get("tuned")),
                _pair([row.to_memcpy(c) for c in COLUMNS if c in row.ours]),
                number(one),
                *(_pair([row.lead(name, c) for c in COLUMNS]) for name in names),
                _standing(row),
            ]
        )
    return table


def means(rows: list[Row]) -> Cells:
    """By operation, group of sizes and layout: over memcpy, and every peer's time over bn's."""
    names = _peers(rows)
    table = [["op", "group", "layout", "rows", "bn/memcpy", "threads gain", "PyTorch*", *names]]
    for op in OPS:
        for group in (*GROUPS, "all"):
            layouts = sorted({r.layout for r in rows if r.op == op and group in (r.group, "all")})
            for layout in [*layouts, "both"] if len(layouts) > 1 else layouts:
                some = [
                    r
                    for r in rows
                    if r.op == op and group in (r.group, "all") and layout in (r.layout, "both")
                ]
                if some:
                    table.append([op, group, layout, str(len(some)), *_means_of(some, names)])
    return table


def _means_of(rows: list[Row], names: list[str]) -> list[str]:
    mean = report.geometric_mean
    gain = mean(r.one_thread / r.ours["plain"] for r in rows if r.one_thread is not None)
    return [
        _pair([mean(r.to_memcpy(c) for r in rows if c in r.ours) for c in COLUMNS]),
        number(gain),
        _pair([mean(report.better_pytorch(r, c) for r in rows) for c in COLUMNS]),
        *(_pair([mean(r.lead(name, c) for r in rows) for c in COLUMNS]) for name in names),
    ]


def worst(rows: list[Row]) -> Cells:
    """By operation: farthest above memcpy in each group, least ahead of PyTorch and the fastest."""
    table = [["op", "what", "value", "row"]]
    for op in OPS:
        of_op = [row for row in rows if row.op == op]
        found = {
            f"bn/memcpy, {group}": report.extreme(
                [row for row in of_op if row.group == group], Row.to_memcpy, largest=True
            )
            for group in GROUPS
        }
        found["PyTorch*/bn"] = report.extreme(of_op, report.better_pytorch, largest=False)
        found["fastest/bn"] = report.extreme(
            of_op, lambda row: f[1] if (f := row.fastest()) else None, largest=False
        )
        table += [[op, what, number(v[0]), v[1]] for what, v in found.items() if v is not None]
        if (spread := report.equal_bytes(rows, op)) is not None:
            what, ratio = "equal bytes: slowest/fastest", number(spread[0])
            table.append([op, what, ratio, f"{spread[1]}  /  {spread[2]}"])
        if fused := report.fused_over_plain(rows, op):
            mean = report.geometric_mean(ratio for ratio, _ in fused)
            table.append([op, "fused with add and ReLU / plain", number(mean), "geometric mean"])
            table.append([op, "", number(max(fused)[0]), max(fused)[1]])
    return table


def verdict(rows: list[Row]) -> list[str]:
    """Where bn is ahead of the fastest peer, and every row where it is not."""
    lines = ["", "* the better of PyTorch's two formats in each row; cl: its channels_last"]
    for column, what in zip(COLUMNS, ("plain", "preallocated"), strict=True):
        met = sum(row.fastest(column) is not None for row in rows)
        lost = report.behind(rows, column)
        lines.append(
            f"{what}: ahead of the fastest peer in {met - len(lost)} of {met} rows"
            + (", behind in" if lost else "")
        )
        lines += [f"  {name}: {peer} takes {ratio:.2f} of bn's time" for ratio, peer, name in lost]
    by = [row.memcpy_by for row in rows]
    counts = ", ".join(f"{name} ({by.count(name)} rows)" for name in sorted(set(by)))
    return [*lines, f"memcpy is the fastest of its kinds in each row: {counts}"]


def notes(result: dict[str, Any]) -> list[str]:
    """Who is not there, and what failed or came out wrong (that was not timed)."""
    off = ", ".join(f"{name} {value:.0e}" for name, value in report.accuracy(result).items())
    lines = [f"float32 results are off, relative to max(1, |y|), by at most: {off}"]
    lines += [f"{name}: {why}" for name, why in result["missing"].items()]
    for case, problems in result["problems"].items():
        for text in dict.fromkeys(problems.values()):
            who = [name for name, its in problems.items() if its == text]
            more = f" and {len(who) - 1} more" if len(who) > 1 else ""
            lines.append(f"not timed: {case}: {who[0]}{more}: {text}")
    return lines


def _peers(rows: list[Row]) -> list[str]:
    present = {name for row in rows for name in row.peers}
    return [name for name in report.PEER_ORDER if name in present]


def _standing(row: Row) -> str:
    best = row.fastest()
    return "" if best is None else f"{best[0]} {'ahead' if best[1] >= 1 else 'BEHIND'}"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits, and no fewer than those before the point."""
    if value is None:
        return "–"
    many = value >= 10 ** (digits - 1)
    return f"{value:.0f}" if many else f"{value:#.{digits}g}".rstrip(".")


def ratio(value: float | None) -> str:
    """One time over another; more digits near 1, where they tell who is faster."""
    return "–" if value is None else f"{value:.2f}" if value < 1.495 else f"{value:.1f}"


def aimed(aim: float, value: float | None, most: bool = False) -> str:
    """An aim, and whether it is missed; `most` if smaller values are better."""
    missed = value is not None and (value > aim if most else value < aim)
    return f"{aim:g}{', missed' if missed else ''}"


def percent(part: float) -> str:
    """A part in percent."""
    return f"{100 * part:.0f} %"


def power(value: float) -> str:
    """An error in powers of ten, as 6e-7."""
    digits, _, exponent = f"{value:.0e}".partition("e")
    return f"{digits}e{int(exponent)}" if value else "0"


def _pair(values: list[float | None]) -> str:
    return " ".join(map(number, values)) if any(v is not None for v in values) else "–"


def _print(title: str, cells: Cells) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print("\n" + plain(title, cells))
        return
    needed = sum(max(map(len, column)) + 2 for column in zip(*cells, strict=True))
    console = Console(width=max(needed, len(title)), highlight=False)  # no cell is cut
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(cells[0]):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*row, style="red" if row[-1].endswith("BEHIND") else None)
    console.print()
    console.print(table)


def plain(title: str, cells: Cells) -> str:
    """A table in plain text."""
    from bn.table import aligned

    return f"{title}\n{aligned(cells)}"
