"""`bn train`: train a network with batch normalization and the same one without, by `nn.fit`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from textwrap import indent
from typing import Any

import bn
from bn import _check
from bn.cli import checkpoint, models, results
from bn.cli.arguments import integer, positive
from bn.cli.data import Dataset, Pixels, load_digits, load_folder
from bn.cli.display import NAME_WIDTH, Silent, open_display, wrapped
from bn.cli.failure import Failure, expected, require
from bn.cli.folder import Folder
from bn.cli.norms import NORMS
from bn.cli.process import Stop, command_name, forget_output, limit_threads, stop_on_interrupt
from bn.cli.ranks import next_network, ranks_of, threads_of
from bn.cli.training import Options, Run, Trainer, Watcher
from bn.distributed.team import Team
from bn.table import aligned

SUMMARY = "train a network with and one without batch normalization"
DESCRIPTION = """\
Train a convolutional network with batch normalization, and then the same
network without it, on the same images and with the same seed, initial weights
and learning rates. Without --data the networks learn scikit-learn's handwritten
digits; nothing is downloaded. The results are the files curves.png,
metrics.json and model.npz, which is the first network for `bn predict`. With
--norm, --lr and --batch-size there may be more networks: one for each
combination, all in one table and one picture. The results appear together at
the end. Ctrl-C stops early and saves what was trained; --resume goes on, also
after a crash.
"""
BATCH_SIZE = 64


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
    add(
        "--norm",
        choices=tuple(NORMS),
        nargs="+",
        default=["batch", "none"],
        help="the normalizations, of which each makes a network; default batch none",
    )
    add("--epochs", type=integer(1), default=12, metavar="N", help="default 12")
    add(
        "--batch-size",
        type=integer(2),
        nargs="+",
        metavar="N",
        help="images in a step, at least 2; default 64, or all if there are fewer; several values "
        "train a network with each",
    )
    add(
        "--lr",
        type=positive,
        nargs="+",
        default=[0.05],
        metavar="RATE",
        help="learning rate of the first step, from which it falls to 0 along a cosine; "
        "default 0.05; several values train a network with each. With 0.3 on the digits the "
        "network without batch normalization learns late or not at all",
    )
    add(
        "--augment",
        action="store_true",
        help="shift the training images by up to an eighth of their size, and mirror colour images",
    )
    add(
        "--early-stop",
        type=integer(1),
        metavar="N",
        help="end a training when the loss of the test images was no better for N epochs",
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
    add(
        "--resume",
        action="store_true",
        help="go on with the stopped training in the folder, with the same options: it ends with "
        "the same bits as one that was never stopped",
    )
    add("--force", action="store_true", help="replace an earlier training in the folder")
    add(
        "--distributed",
        action="store_true",
        help="train together with the other processes of `mpiexec -n N`, each on its part of every "
        "batch; each takes its share of the cores, unless --threads says otherwise",
    )
    add("--quiet", action="store_true", help="print nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Train the networks, save the first, and write and print the results."""
    require("train", "matplotlib", "matplotlib")
    with ranks_of(args.distributed) as team:
        job = prepared(args, team)
        if team is not None and not team.first:
            return follow(job)
        return lead(job)


def prepared(args: argparse.Namespace, team: Team | None) -> Job:
    """Load the images, and settle the options that depend on them."""
    data = load(args.data)
    settle_batch_sizes(args, len(data.y_train))
    args.threads = threads_of(team, args.threads)
    return Job(args, data, Pixels.of(data), Folder(args.out or Path("runs", args.model)), team)


def follow(job: Job) -> int:
    """Train all networks together with rank 0, which alone writes files and shows what happens."""
    with limit_threads(job.args.threads), stop_on_interrupt() as stop:
        for number, run in enumerate(planned(job.args)):
            done, stopped = next_network(job.team, False, stop.requested)
            if stopped:
                break
            if not done:
                with stop.left_to_fit(), expected_in_training():
                    state = job.folder.state(number)
                    trainer_of(job, run).fit(run, Silent(), stop, state)
                    stop.requested |= run.status == "interrupted"
    return 130 if stop.requested else 0


def lead(job: Job) -> int:
    """Train the networks, save the first, and write and print the results."""
    args, folder = job.args, job.folder
    folder.open(options(args), force=args.force, resume=args.resume)
    runs, left = planned(args), False
    with limit_threads(args.threads), stop_on_interrupt() as stop:
        try:
            announce(job)
            try:
                train_all(job, runs, stop)
            except BrokenPipeError:  # the results do not need the reader
                left = True
                forget_output()
            finish(job, [run for run in runs if run.seconds > 0], stop.requested or left)
            print(end="", flush=True)  # raises here if the reader has closed the pipe
        except BrokenPipeError:
            left = True
            forget_output()
        except (Failure, KeyboardInterrupt):
            if not any(run.seconds for run in runs) and not args.resume:
                folder.discard()  # there is nothing to go on with
            raise
    return 130 if stop.requested else int(left)


@dataclass(frozen=True)
class Job:
    """What the trainings of all networks share."""

    args: argparse.Namespace
    data: Dataset
    pixels: Pixels
    folder: Folder
    team: Team | None


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The options that decide what is trained; a single value stands for a list of one."""
    folder = None if args.data is None else str(args.data)
    names = ("model", "epochs", "batch_size", "lr", "seed", "norm", "augment", "early_stop")
    values = {name: getattr(args, name) for name in names}
    single = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in values.items()}
    return {"data": folder} | single


def settle_batch_sizes(args: argparse.Namespace, images: int) -> None:
    """Choose the batch size if none was given, and refuse one that no batch can have."""
    if args.batch_size is None:
        args.batch_size = [min(BATCH_SIZE, images)]
    with expected(ValueError):
        for size in args.batch_size:
            _check.batch_size(size, images)


def load(folder: Path | None) -> Dataset:
    """Load the data set of a folder, or the digits if there is none."""
    if folder is None:
        require("train", "sklearn", "scikit-learn")
        return load_digits()
    with expected(ValueError, OSError, MemoryError):
        return load_folder(folder)


def planned(args: argparse.Namespace) -> list[Run]:
    """The networks in the order of their training, each with the options that it does not share."""
    norms, sizes, rates = (dict.fromkeys(x) for x in (args.norm, args.batch_size, args.lr))
    runs = []
    for norm, size, lr in product(norms, sizes, rates):
        name = NORMS[norm]
        name += f", lr {lr:g}" if len(rates) > 1 else ""
        name += f", batch {size}" if len(sizes) > 1 else ""
        runs.append(Run(name, norm, lr, size))
    return runs


def announce(job: Job) -> None:
    """Print what is trained on what."""
    args, data = job.args, job.data
    if args.quiet:
        return
    epochs = "1 epoch" if args.epochs == 1 else f"{args.epochs} epochs"
    sizes, rates = ", ".join(map(str, args.batch_size)), ", ".join(f"{lr:g}" for lr in args.lr)
    rate = "learning rate" if len(args.lr) == 1 else "learning rates"
    how = (
        f"{args.model}: {epochs} in batches of {sizes}, {rate} {rates}, seed {args.seed}, "
        f"threads {bn.get_num_threads()}"
    )
    if job.team is not None:
        how += f" on each of {job.team.size} ranks"
    print(wrapped(describe(data)), wrapped(how), "", sep="\n")


def describe(data: Dataset) -> str:
    """Describe the data set in one line."""
    c, h, w = data.shape
    color = {1: "grey", 3: "colour"}[c]
    return (
        f"{data.name}: {len(data.y_train):,} training and {len(data.y_test):,} test images, "
        f"{h} x {w} {color} pixels, {len(data.classes)} classes"
    )


def train_all(job: Job, runs: list[Run], stop: Stop) -> None:
    """Train the networks one after the other, but for those that have been before a resumption."""
    width = max(NAME_WIDTH, *(len(run.network) for run in runs))
    with open_display(width, silent=job.args.quiet) as watcher:
        for number, run in enumerate(runs):
            trained = job.folder.load_run(number, run)
            trained, stopped = next_network(job.team, trained, stop.requested)
            if stopped:
                return
            if not trained:
                train_one(job, number, run, watcher, stop)


def train_one(job: Job, number: int, run: Run, watcher: Watcher, stop: Stop) -> None:
    """Train a network, save it if it is the first, and measure it."""
    args, data = job.args, job.data
    trainer = trainer_of(job, run)
    try:
        with stop.left_to_fit(), expected_in_training():
            trainer.fit(run, watcher, stop, job.folder.state(number))
            if run.status == "interrupted":
                stop.requested = True
    finally:  # also if the reader of the output has closed the pipe
        if number == 0 and run.seconds > 0 and run.status != "diverged":
            with expected(OSError):
                path = job.folder.new("model.npz")
                checkpoint.save(path, trainer.model, args.model, data, job.pixels, run.norm)
    if run.seconds > 0:
        trainer.measure_both(run)
    if run.status != "interrupted":
        with expected(OSError):
            job.folder.save_run(number, run)


def trainer_of(job: Job, run: Run) -> Trainer:
    """The network of a run, and how it is trained."""
    args, data = job.args, job.data
    with expected(ValueError):
        model = models.build(
            args.model, data.shape, len(data.classes), norm=run.norm, seed=args.seed
        )
    comm = None if job.team is None else job.team.comm
    settings = Options(
        args.epochs, run.batch_size, run.lr, args.seed, args.augment, args.early_stop, comm
    )
    return Trainer(model, models.RECIPES[args.model], data, job.pixels, settings)


@contextmanager
def expected_in_training() -> Iterator[None]:
    """Turn errors of the data, the options and the files into a `Failure`, but none of stdout."""
    try:
        with expected(ValueError):
            yield
    except OSError as error:
        if error.filename is None:
            raise
        with expected(OSError):
            raise


def finish(job: Job, runs: list[Run], stopped: bool) -> None:
    """Write the curves and the numbers, and print the table and where the results are."""
    folder, args = job.folder, job.args
    if not runs:
        folder.discard()
        say(args, "stopped before the first step: nothing was trained, and nothing saved")
        return
    settings = options(args)
    with expected(OSError):
        threads = {"threads": bn.get_num_threads()}
        results.write_metrics(folder.new("metrics.json"), settings | threads, job.data, runs)
        if any(run.epochs for run in runs):
            results.draw_curves(folder.new("curves.png"), title(job), runs)
        diverged = runs[0].status == "diverged"
        folder.publish(complete=not stopped, model=not diverged)
    if args.quiet:
        return
    results.print_table(runs)
    if stopped:
        text = f"stopped; what was trained so far is in {folder.path}; --resume goes on with it"
        print(wrapped(text))
    else:
        print("results in", folder.path)
    if diverged:
        text = f"the network {runs[0].network} diverged and cannot classify: try a smaller --lr"
        print(wrapped(text))
    else:
        model = folder.path / "model.npz"
        print(f"classify images with: {command_name()} predict {model} image.png")


def say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text)


def title(job: Job) -> str:
    """The title of the picture, with the options that all networks share."""
    args = job.args
    words = [f"{job.data.name}: {args.model} network"]
    words += [f"learning rate {args.lr[0]:g}"] if len(args.lr) == 1 else []
    return ", ".join([*words, f"seed {args.seed}"])
