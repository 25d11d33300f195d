"""Time PyTorch's models as they are and accelerated: ``python bench/torch_step.py``.

A step is forward, cross-entropy loss, backward and SGD with momentum; of layers by themselves it is
forward and backward. Each configuration has processes of its own, and they take turns. All have the
same weights and batches; who has not PyTorch's losses in the first steps is not timed.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import machine
import results
import tables
from rounds import summary, turns
from worker import Contestant, one_line, rest

CHECKED, TOLERANCE = 20, 1e-2  # steps whose losses are compared; relative difference
LR = 1e-4  # small, so that rounding differences do not grow within the compared steps
WARM, TIMED, FEWEST = 2, 0.3, 3  # steps before timing; s and steps of timing
PLAIN = ("PyTorch", "PyTorch cl")
OURS = ("bn.torch", "bn.torch cl")
NAMES = (*PLAIN, *OURS)


@dataclass(frozen=True)
class Start:
    """The losses of the first steps, or why there are none."""

    losses: tuple[float, ...] = ()
    problem: str | None = None


class Work:
    """One configuration; its methods are the commands of a worker."""

    def __init__(self, name: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.name = torch, name

    def start(self, number: int, steps: int) -> Start:
        """Make a case, and take the first steps."""
        from torch_cases import CASES

        torch, case = self.torch, CASES[number]
        form = torch.channels_last if self.name.endswith("cl") else torch.contiguous_format
        try:
            torch.manual_seed(0)
            self.model = case.make().to(memory_format=form)
            if self.name in OURS:
                import bn.torch

                bn.torch.accelerate(self.model)
            self.x = torch.randn(case.shape).contiguous(memory_format=form)
            self.step = self.train if case.trains else self.call
            if case.trains:
                self.labels = torch.randint(10, case.shape[:1])
                self.criterion = torch.nn.CrossEntropyLoss()
                self.optimizer = torch.optim.SGD(self.model.parameters(), LR, 0.9)
            else:
                self.x.requires_grad_()
                self.dy = torch.randn_like(self.x)
            return Start(tuple(self.step() for _ in range(steps)))
        except Exception as error:  # a framework may raise anything
            return Start(problem=one_line(error))
        finally:
            rest()

    def train(self) -> float:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def call(self) -> float:
        y = self.model(self.x)
        y.backward(self.dy)
        self.x.grad = None
        return float(y[0, 0, 0, 0].detach())

    def convolutions(self) -> float:
        """The part of the steps' time that convolutions take, by PyTorch's profiler."""
        with self.torch.profiler.profile() as profiler:
            for _ in range(FEWEST):
                self.step()
        spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
        return sum(time for key, time in spent.items() if "conv" in key) / sum(spent.values())

    def measure(self) -> float:
        """The median time of a few steps in ms."""
        for _ in range(WARM):
            self.step()
        times: list[float] = []
        end = time.perf_counter() + TIMED
        while len(times) < FEWEST or time.perf_counter() < end:
            begin = time.perf_counter()
            self.step()
            times.append((time.perf_counter() - begin) * 1e3)
        rest()
        return statistics.median(times)


def run(number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Check and time one case, again and again in new processes."""
    from torch_cases import CASES

    case = CASES[number]
    told: dict[str, Any] = {"title": case.title, "aim": case.aim, "problems": {}}
    times: dict[str, list[float]] = {}
    for process in range(options.processes):
        found = once(number, options, steps=FEWEST if process else CHECKED)
        told["problems"] |= found["problems"]
        for name, values in found["times"].items():
            times.setdefault(name, []).extend(values)
        if "convolutions" in found:
            told["convolutions"] = found["convolutions"]
    return told | {"times": {name: summary(values) for name, values in times.items()}}


def once(number: int, options: argparse.Namespace, steps: int) -> dict[str, Any]:
    """Check and time one case in new processes: the times of all turns, and what is wrong."""
    from torch_cases import CASES

    everybody = [
        Contestant(name, name, partial(Work, name, options.threads), options.threads)
        for name in NAMES
    ]
    try:
        for contestant in everybody:
            contestant.receive()
        starts = {
            c.name: c.ask("start", number, steps) or Start(problem=c.missing) for c in everybody
        }
        problems = {name: what for name, s in starts.items() if (what := wrong(s, starts))}
        sound = [c for c in everybody if c.name not in problems and c.missing is None]
        told = {"times": turns(sound, options.repeat, float("inf")), "problems": problems}
        trains = CASES[number].trains
        peer = next((c for c in sound if trains and c.name == PLAIN[-1]), None)
        return told | ({"convolutions": peer.ask("convolutions")} if peer else {})
    finally:
        for contestant in everybody:
            contestant.stop()


def wrong(start: Start, starts: dict[str, Start]) -> str | None:
    """What is wrong with the first steps, of which PyTorch's are right."""
    expected = starts[PLAIN[0]].losses
    if start.problem or not expected:
        return start.problem
    off = max(abs(a - b) / max(1, abs(b)) for a, b in zip(start.losses, expected, strict=True))
    return f"losses differ by {off:.1e}" if off > TOLERANCE else None


def speed_up(times: dict[str, Any]) -> float | None:
    """The time of PyTorch's better memory format over that of the better accelerated one."""
    plain, ours = ([times[n]["median"] for n in names if n in times] for names in (PLAIN, OURS))
    return min(plain) / min(ours) if plain and ours else None


def rows(cases: list[dict[str, Any]]) -> tables.Cells:
    """A line for each case."""
    table = [["", *NAMES, "PyTorch / bn", "aim"]]
    for case in cases:
        cells = [tables.number(case["times"].get(n, {}).get("median")) for n in NAMES]
        faster = speed_up(case["times"])
        told = "–" if faster is None else f"{faster:.2f}"
        table.append([case["title"], *cells, told, tables.aimed(case["aim"], faster)])
    return table


def convolution_rows(cases: list[dict[str, Any]]) -> tables.Cells:
    """The part of PyTorch's channels-last steps that convolutions take."""
    table = [["", "convolutions"]]
    for case in cases:
        if (share := case.get("convolutions")) is not None:
            table.append([case["title"], tables.percent(share)])
    return table


def convolutions(cases: list[dict[str, Any]]) -> str:
    """The smallest and the largest of these parts."""
    shares = [share for case in cases if (share := case.get("convolutions")) is not None]
    return f"{100 * min(shares):.0f} to {tables.percent(max(shares))}"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=machine.cores(), help="for everybody")
    parser.add_argument("--repeat", type=int, default=3, help="turns of each process")
    parser.add_argument(
        "--processes", type=int, default=3, help="of each configuration, whose times differ"
    )
    parser.add_argument("--cases", default="", metavar="REGEX", help="those whose title matches")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run, print, and write the file."""
    from torch_cases import CASES

    options, usage = arguments(argv), machine.Usage()
    about = machine.describe(options.threads, ["torch"])
    cases = []
    for number, case in enumerate(CASES):
        if re.search(options.cases, case.title):
            print(case.title, file=sys.stderr)
            cases.append(run(number, options))
    result = {"machine": about | usage.so_far()}
    print(tables.header(result["machine"]))
    print("\n" + tables.plain("forward and backward, of networks whole steps: ms", rows(cases)))
    for case in cases:
        for name, problem in case["problems"].items():
            print(f"{case['title']}, {name}: {problem}")
    if options.json:
        results.write(result | {"cases": cases}, options.json)


if __name__ == "__main__":
    main()
