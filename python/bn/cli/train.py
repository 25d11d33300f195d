"""`python -m bn train`: train a network with batch normalization and the same one without."""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import indent
from typing import Any

import bn
from bn import _check
from bn.cli import checkpoint, models, results
from bn.cli.arguments import integer, positive
from bn.cli.data import Dataset, Pixels, load_digits, load_folder
from bn.cli.display import open_display, wrapped
from bn.cli.failure import expected, require
from bn.cli.process import Stop, command_name, forget_output, limit_threads, stop_on_interrupt
from bn.cli.training import Options, Run, Trainer
from bn.table import aligned

SUMMARY = "train a network with and one without batch normalization"
DESCRIPTION = """\
Train a convolutional network with batch normalization, and then the same
network without it, on the same images and with the same seed, initial weights
and learning rates. Without --data the networks learn scikit-learn's handwritten
digits; nothing is downloaded. The results are the files curves.png,
metrics.json and model.npz, which is the network with batch normalization for
`python -m bn predict`. Ctrl-C stops early and saves what was trained.
"""
BATCH_SIZE = 64
NETWORKS = {True: "with batch norm", False: "without batch norm"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    recipes = aligned([(name, recipe.summary) for name, recipe in models.RECIPES.items()], left=2)
    parser.epilog = "models, fitted to the size and classes of the images:\n" + indent(
        recipes, "  "
    )
    add = parser.add_argument
    add("--model", choices=tuple(models.RECIPES), default="digits", help="which network (below)")
    add(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="CIFAR-10's binary version (data_batch_1.bin, ...) or MNIST's IDX files "
        "(train-images-idx3-ubyte, ..., plain or .gz) instead of the digits",
    )
    add("--epochs", type=integer(1), default=12, metavar="N", help="default 12")
    add(
        "--batch-size",
        type=integer(2),
        metavar="N",
        help="images in a step, at least 2; default 64, or all if there are fewer",
    )
    add(
        "--lr",
        type=positive,
        default=0.05,
        metavar="RATE",
        help="learning rate of the first step, from which it falls to 0 along a cosine; "
        "default 0.05. With 0.3 on the digits the network without batch normalization learns late "
        "or not at all",
    )
    add(
        "--threads",
        type=integer(1, _check.MOST_THREADS),
        metavar="N",
        help="threads of batch normalization and of matrix products; by default each of the two "
        "chooses its own number",
    )
    add("--seed", type=integer(0), default=0, metavar="N", help="default 0")
    add("--out", type=Path, metavar="FOLDER", help="for the results; default runs/MODEL")


def run(args: argparse.Namespace) -> int:
    """Train both networks, save the first, and write and print the results."""
    require("train", "matplotlib", "matplotlib")
    data = load(args.data)
    images = len(data.y_train)
    if args.batch_size is None:
        args.batch_size = min(BATCH_SIZE, images)
    with expected(ValueError):
        _check.batch_size(args.batch_size, images)
    out: Path = args.out or Path("runs", args.model)
    with expected(OSError):
        out.mkdir(parents=True, exist_ok=True)
    with limit_threads(args.threads), stop_on_interrupt() as stop:
        try:
            runs = train_both(args, data, out / "model.npz", stop)
            settings = options(args) | {"threads": bn.get_num_threads()}
            finish(out, settings, data, runs, stop.requested)
            print(end="", flush=True)  # raises here if the reader has closed the pipe
        except BrokenPipeError:
            if not stop.requested:
                raise
            forget_output()  # Ctrl-C has ended the reader, too
    return 130 if stop.requested else 0


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the training that metrics.json records."""
    names = ("model", "epochs", "batch_size", "lr", "seed")
    folder = None if args.data is None else str(args.data)
    return {"data": folder} | {name: getattr(args, name) for name in names}


def load(folder: Path | None) -> Dataset:
    """Load the data set of a folder, or the digits if there is none."""
    if folder is None:
        require("train", "sklearn", "scikit-learn")
        return load_digits()
    with expected(ValueError, OSError, MemoryError):
        return load_folder(folder)


def train_both(args: argparse.Namespace, data: Dataset, path: Path, stop: Stop) -> list[Run]:
    """Train the network with batch normalization, save it, and train the one without."""
    recipe, pixels = models.RECIPES[args.model], Pixels.of(data)
    settings = Options(args.epochs, args.batch_size, args.lr, args.seed)
    print(wrapped(describe(data)))
    epochs = "1 epoch" if args.epochs == 1 else f"{args.epochs} epochs"
    how = (
        f"{args.model}: {epochs} in batches of {args.batch_size}, "
        f"learning rate {args.lr:g}, seed {args.seed}, threads {bn.get_num_threads()}"
    )
    print(wrapped(how) + "\n")
    runs: list[Run] = []
    with open_display() as watcher:
        for batch_norm, network in NETWORKS.items():
            with expected(ValueError):
                model = models.build(
                    args.model,
                    data.shape,
                    len(data.classes),
                    norm="batch" if batch_norm else "none",
                    seed=args.seed,
                )
            run = Run(network, batch_norm)
            runs.append(run)
            trainer = Trainer(model, recipe, data, pixels, settings)
            try:
                trainer.fit(run, watcher, stop)
            finally:  # also if the reader of the output has closed the pipe
                if batch_norm and run.seconds > 0:
                    with expected(OSError):
                        checkpoint.save(path, model, args.model, data, pixels)
            trainer.measure_both(run)
            if stop.requested:
                break
    return runs


def describe(data: Dataset) -> str:
    """Describe the data set in one line."""
    c, h, w = data.shape
    color = {1: "grey", 3: "colour"}[c]
    return (
        f"{data.name}: {len(data.y_train):,} training and {len(data.y_test):,} test images, "
        f"{h} x {w} {color} pixels, {len(data.classes)} classes"
    )


def finish(
    out: Path, settings: dict[str, Any], data: Dataset, runs: list[Run], stopped: bool
) -> None:
    """Write the curves and the numbers, and print the table and where the results are."""
    if not any(run.seconds for run in runs):
        print("stopped before the first step: nothing was trained, and nothing saved")
        return
    curves = out / "curves.png"
    with expected(OSError):
        results.write_metrics(out / "metrics.json", settings, data, runs)
    results.print_table(runs)
    with expected(OSError):
        if any(run.epochs for run in runs):
            title = "{model} network, learning rate {lr:g}, seed {seed}".format(**settings)
            results.draw_curves(curves, f"{data.name}: {title}", runs)
        else:
            curves.unlink(missing_ok=True)  # it may be of an earlier training
    print("stopped; what was trained so far is in" if stopped else "results in", out)
    if runs[0].status == "diverged":
        print(f"the network {runs[0].network} diverged and cannot classify: try a smaller --lr")
    else:
        print(f"classify images with: {command_name()} predict {out / 'model.npz'} image.png")
