"""Time predictions of small networks: ``python bench/inference.py``.

Everybody has the same network with the same weights, ready to predict: `bn` has compiled it. Whose
outputs are not those of the others is not timed; then all take turns. At last, the time from the
start of a process to its first prediction from a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import machine
import networks
import numpy as np
import predictors
import results
import tables
from inference_work import Answer, Work
from networks import Network
from rounds import summary, turns
from worker import Contestant

QUICK = 40  # s after which --quick begins nothing new
FRESH = ("bn", "torch", "onnxruntime")
TOLERANCE = 1e-4  # of the largest output


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few networks, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="for everybody")
    parser.add_argument("--repeat", type=int, help="turns of each contestant (11; quick: 3)")
    parser.add_argument("--networks", default="", metavar="REGEX", help="those whose title matches")
    options = parser.parse_args(argv)
    options.repeat = options.repeat or (3 if options.quick else 11)
    options.chosen = networks.chosen(options.networks, options.quick, networks.SERVED)
    if not options.chosen:
        titles = "; ".join(network.title for network in networks.SERVED)
        parser.error(f"--networks must match one of: {titles}; got {options.networks!r}")
    return options


def one(network: Network, options: argparse.Namespace, end: float) -> dict[str, Any]:
    """Check and time one network in new processes; what is in the file about it."""
    everybody = []
    for key in predictors.PREDICTORS:
        cls = predictors.load(key)
        make = partial(Work, key, options.threads)
        everybody.append(Contestant(cls.name, key, make, options.threads, cls.environment))
    for contestant in everybody:
        contestant.receive()
    try:
        problems = {c.name: c.missing for c in everybody if c.missing}
        present = [c for c in everybody if not c.missing]
        outputs = {}
        for contestant in present:
            answer = contestant.ask("start", network) or Answer(problem=contestant.missing)
            if answer.outputs is None:
                problems[contestant.name] = answer.problem
            else:
                outputs[contestant.name] = answer.outputs
        problems |= disagreeing(outputs)
        sound = [c for c in present if c.name not in problems]
        times = {name: summary(v) for name, v in turns(sound, options.repeat, end).items()}
        return {"title": network.title, "times": times, "problems": problems}
    finally:
        for contestant in everybody:
            contestant.stop()


def disagreeing(outputs: dict[str, np.ndarray]) -> dict[str, str]:
    """What is to be said about each whose outputs are not those of most others."""
    middle = np.nanmedian(list(outputs.values()), axis=0)
    off = {name: np.abs(a - middle).max() / np.abs(middle).max() for name, a in outputs.items()}
    return {
        name: f"its outputs disagree with the median of all by {value:.1e} of the largest"
        for name, value in off.items()
        if not value <= TOLERANCE
    }


def first_predictions(repeat: int) -> dict[str, float]:
    """The median times in ms from the start of a process to its first prediction, in turns."""
    # Modules that are compiled once, as of an installed package.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        times: dict[str, list[float]] = {}
        for key in FRESH:
            command = [sys.executable, str(Path(__file__).with_name("first_prediction.py"))]
            saved = subprocess.run([*command, key, folder, "--save"], check=False, env=environment)
            if saved.returncode == 0:
                times[key] = []
        for _ in range(repeat):
            for key, values in times.items():
                begin = time.perf_counter()
                subprocess.run(
                    [*command, key, folder], check=True, capture_output=True, env=environment
                )
                values.append((time.perf_counter() - begin) * 1e3)
    return {predictors.load(key).name: statistics.median(v) for key, v in times.items()}


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    print(tables.header(result["machine"]))
    names = [predictors.load(key).name for key in predictors.PREDICTORS]
    table = [["network", *names, "PyTorch*/bn", "ONNX Runtime/bn"]]
    for net in result["networks"]:
        found = {name: t["median"] for name, t in net["times"].items()}
        ours = found.get("bn")
        torch = [found[name] for name in ("PyTorch", "PyTorch cl") if name in found]
        ratios = [min(torch) / ours if torch and ours else None]
        ratios.append(found["ONNX Runtime"] / ours if ours and "ONNX Runtime" in found else None)
        cells = [tables.number(found.get(name)) for name in names]
        table.append([net["title"], *cells, *map(tables.number, ratios)])
    print("\n" + tables.plain("a prediction: ms, median", table))
    if result["first"]:
        table = [["", *result["first"]], ["conv 16", *map(tables.number, result["first"].values())]]
        print("\n" + tables.plain("from the start of a process to its first prediction: ms", table))
    print("\n* the better of PyTorch's two memory formats; cl: its channels_last")
    for net in result["networks"]:
        for name, why in net["problems"].items():
            print(f"not timed: {net['title']}: {name}: {why}")
    for title in result["left"]:
        print(f"not timed: {title}: no time left")


def main(argv: list[str] | None = None) -> None:
    """Run, print, and write the file."""
    options = arguments(argv)
    usage, begin = machine.Usage(), time.perf_counter()
    names = [predictors.load(key).name for key in predictors.PREDICTORS]
    result: dict[str, Any] = {
        "machine": machine.describe(options.threads, names),
        "unit": "ms",
        "networks": [],
        "left": [],
    }
    end = begin + (QUICK if options.quick else float("inf"))
    for network in options.chosen:
        elapsed = time.perf_counter() - begin
        if begin + elapsed > end:
            result["left"].append(network.title)
            continue
        print(f"{elapsed:5.0f} s  {network.title}", file=sys.stderr)
        result["networks"].append(one(network, options, end))
    result["first"] = first_predictions(3 if options.quick else options.repeat)
    result["machine"] |= usage.so_far()
    show(result)
    if options.json:
        results.write(result, options.json)


if __name__ == "__main__":
    main()
