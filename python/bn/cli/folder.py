"""The folder of a training: its results, which appear together, and what it needs to go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bn import _check
from bn.cli.failure import expected
from bn.cli.training import Run
from bn.nn.replacing import replacing

RESULTS = ("model.npz", "metrics.json", "curves.png")


class Folder:
    """The folder of the results of one training.

    Until they are published, they are in the folder `unfinished` inside it, with the state of the
    training. So the results of an earlier training stay until new ones take their place, and
    nobody sees files of two trainings beside each other.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path, self.unfinished = path, path / "unfinished"

    def open(self, options: Mapping[str, Any], *, force: bool, resume: bool) -> None:
        """Make the folders, or refuse what would be lost or mixed with another training."""
        with expected(ValueError, OSError):
            _check.force_or_resume(force, resume)
            known = self.unfinished / "options.json"
            if resume:
                _check.unfinished_training(self.path, known.is_file())
                _check.same_options(self.path, json.loads(known.read_text("utf-8")), dict(options))
                return
            self.path.mkdir(parents=True, exist_ok=True)
            if force:
                _check.replaceable_results([self.path / name for name in RESULTS])
                shutil.rmtree(self.unfinished, ignore_errors=True)
            results = [name for name in RESULTS if (self.path / name).exists()]
            if not force:
                _check.no_results(self.path, results, self.unfinished.exists())
            self.unfinished.mkdir(exist_ok=True)
            write_json(known, options)

    def new(self, name: str) -> Path:
        """The path of a result before it is published."""
        return self.unfinished / name

    def state(self, number: int) -> Path:
        """The file with the state of a network's training."""
        return self.unfinished / f"training-{number}.npz"

    def save_run(self, number: int, run: Run) -> None:
        """Keep what is known of a network whose training has ended; its state can go."""
        write_json(self.unfinished / f"network-{number}.json", asdict(run))
        self.state(number).unlink(missing_ok=True)

    def load_run(self, number: int, run: Run) -> bool:
        """Restore a network whose training has ended; whether there is one."""
        path = self.unfinished / f"network-{number}.json"
        if not path.is_file():
            return False
        with expected(ValueError, OSError):
            run.restore(json.loads(path.read_text("utf-8")))
        return True

    def publish(self, *, complete: bool, model: bool) -> None:
        """Move the results to their place, where nothing stays of an earlier training.

        Parameters
        ----------
        complete : bool
            Whether the training needs not go on; otherwise its state stays.
        model : bool
            Whether this training has a network to show, perhaps published already.
        """
        for name in RESULTS:
            new = self.unfinished / name
            if new.exists():
                new.replace(self.path / name)
            elif name != "model.npz" or not model:
                (self.path / name).unlink(missing_ok=True)
        if complete:
            shutil.rmtree(self.unfinished)

    def discard(self) -> None:
        """Remove a training that did not begin, and the folder if that leaves it empty."""
        shutil.rmtree(self.unfinished)
        with suppress(OSError):  # it holds something else
            self.path.rmdir()


def write_json(path: Path, value: object) -> None:
    """Write a file that is whole at any moment."""
    with replacing(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())
