"""Time whole training steps of small networks: ``python bench/train_step.py``.

A step is forward, cross-entropy loss, backward and SGD with momentum. Everybody trains the same
network from the same weights on the same batches. Who does not get the losses of the others in the
first ten steps is not timed; then all take turns.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import agreement
import machine
import networks
import results
import step_picture
import step_tables
import trainers
from neighbour import neighbour
from networks import Network
from rounds import summary, turns
from step_work import Start, Work
from worker import Contestant

QUICK = 40  # s after which --quick begins nothing new
PROFILED = 9  # steps for --profile
USUAL = ("bn", "torch", "torch-last", "keras-tensorflow", "keras-jax")
QUIET, BESIDE = "quiet", "beside"  # without and with a neighbour


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few networks, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the times (matplotlib)")
    parser.add_argument(
        "--neighbour", action="store_true", help="also beside a process that keeps a core busy"
    )
    parser.add_argument("--profile", action="store_true", help="also bn's time in each layer")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="for everybody")
    parser.add_argument("--repeat", type=int, help="turns of each contestant (11; quick: 3)")
    parser.add_argument(
        "--contestants",
        metavar="A,B",
        default=",".join(USUAL),
        help=f"some of {', '.join(trainers.TRAINERS)}",
    )
    parser.add_argument("--networks", default="", metavar="REGEX", help="those whose title matches")
    options = parser.parse_args(argv)
    options.repeat = options.repeat or (3 if options.quick else 11)
    try:
        options.chosen = networks.chosen(options.networks, options.quick)
    except re.error as error:
        parser.error(f"--networks must be a regular expression, got {options.networks!r}: {error}")
    if not options.chosen:
        titles = "; ".join(network.title for network in networks.NETWORKS)
        parser.error(f"--networks must match one of: {titles}; got {options.networks!r}")
    options.contestants = options.contestants.split(",")
    if unknown := set(options.contestants) - set(trainers.TRAINERS):
        known = ", ".join(trainers.TRAINERS)
        parser.error(f"--contestants must be some of {known}, got {', '.join(sorted(unknown))}")
    if min(options.threads, options.repeat) < 1:
        parser.error("--threads and --repeat must be at least 1")
    return options


def start(keys: list[str], threads: int) -> list[Contestant]:
    """Everybody, each in a new process; who is not installed is still in the list."""
    everybody = []
    for key in keys:
        cls = trainers.load(key)
        make = partial(Work, key, threads)
        everybody.append(Contestant(cls.name, key, make, threads, cls.environment))
    for contestant in everybody:
        contestant.receive()
    return everybody


def check(contestants: list[Contestant], network: Network) -> tuple[list[dict[str, Any]], dict]:
    """Let each train for ten steps: a record of each, and what is wrong with whom."""
    starts, problems = {}, {}
    for contestant in contestants:
        answer = contestant.ask("start", network) or Start(problem=contestant.missing)
        if answer.problem:
            problems[contestant.name] = answer.problem
        else:
            starts[contestant.name] = answer
    off = agreement.deviations({name: answer.losses for name, answer in starts.items()})
    problems |= agreement.complaints(off)
    records = [
        {"contestant": name, "losses": s.losses, "off": off[name], "peak": s.peak}
        for name, s in starts.items()
    ]
    return records, problems


def run(network: Network, everybody: list[Contestant], options: argparse.Namespace, end: float):
    """Check and time one network; what is in the file about it."""
    present = [contestant for contestant in everybody if contestant.missing is None]
    records, problems = check(present, network)
    sound = [contestant for contestant in present if contestant.name not in problems]
    result: dict[str, Any] = {"title": network.title, "checks": records, "times": []}
    for where in (QUIET, BESIDE) if options.neighbour else (QUIET,):
        with neighbour() if where == BESIDE else nullcontext():
            measured = turns(sound, options.repeat, end) if sound else {}
        result["times"] += [
            {"contestant": name, "where": where, **summary(values)}
            for name, values in measured.items()
        ]
    ours = next((c for c in sound if c.column == "bn" and c.missing is None), None)
    if options.profile and ours:
        result["profile"] = [row._asdict() for row in ours.ask("profile", PROFILED) or ()]
    died = {c.name: c.missing for c in present if c.missing}
    return result | {"problems": problems | died}


def one(
    network: Network,
    keys: list[str],
    options: argparse.Namespace,
    end: float,
    missing: dict[str, str],
) -> dict[str, Any]:
    """Run one network in new processes, which hold no memory of the last one.

    Who turns out to be missing is added to `missing`, and is not started again.
    """
    names = {key: trainers.load(key).name for key in keys}
    everybody = start([key for key in keys if names[key] not in missing], options.threads)
    missing |= {c.name: c.missing for c in everybody if c.missing}
    try:
        return run(network, everybody, options, end)
    finally:
        for contestant in everybody:
            contestant.stop()


def main(argv: list[str] | None = None) -> None:
    """Run, print, and write the file."""
    options = arguments(argv)
    usage, begin = machine.Usage(), time.perf_counter()
    keys = [*options.contestants, *(["bn1"] if options.neighbour else [])]
    names = [trainers.load(key).name for key in keys]
    result: dict[str, Any] = {
        "machine": machine.describe(options.threads, names),
        "unit": "ms; bytes",
        "networks": [],
        "missing": {},
        "left": [],
    }
    end = begin + (QUICK if options.quick else float("inf"))
    for network in options.chosen:
        elapsed = time.perf_counter() - begin
        if begin + elapsed > end:
            result["left"].append(network.title)
            continue
        print(f"{elapsed:5.0f} s  {network.title}", file=sys.stderr)
        try:
            result["networks"].append(one(network, keys, options, end, result["missing"]))
        except KeyboardInterrupt:  # what was measured before it is still told
            end = begin
            result["left"].append(network.title)
    result["machine"] |= usage.so_far()
    step_tables.show(result)
    if options.picture:
        step_picture.draw(result, options.picture)
        print(f"\nwrote {options.picture}")
    if options.json:
        results.write(result, options.json)


if __name__ == "__main__":
    main()
