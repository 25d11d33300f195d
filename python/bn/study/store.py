"""`results.json`: all measurements, and what follows from them."""

from __future__ import annotations

import datetime
import json
import platform
import re
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import bn
from bn import _check
from bn.nn.replacing import replacing
from bn.study.plan import Study
from bn.study.results import Record, Results

FORMAT = 1
SAVE_SECONDS = 5.0
PACKAGES = ("numpy", "scipy", "scikit-learn", "mlxtend", "mnist1d")


class Store:
    """Measurements, and the file that they are kept in.

    Parameters
    ----------
    path : Path
    quick : bool
        Whether they are those of `--quick`.
    version : str
        Of the `bn` that measured.
    machine : dict
        What it ran on.
    """

    def __init__(self, path: Path, quick: bool, version: str, machine: dict[str, str]) -> None:
        self.path, self.quick, self.version, self.machine = path, quick, version, machine
        self.records: dict[str, list[Record]] = {}
        self._saved = time.monotonic()

    @classmethod
    def read(cls, path: Path) -> Store:
        """The measurements of a file.

        Raises
        ------
        ValueError
            The file is none of ours.
        OSError
            It cannot be read.
        """
        try:
            found = json.loads(path.read_text("utf-8"))
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']}")
            if not isinstance(found["quick"], bool):
                raise ValueError(f"quick {found['quick']}")
            store = cls(path, found["quick"], found["bn"], found["machine"])
            for name, study in found["studies"].items():
                store.records[name] = [Record(**record) for record in study["records"]]
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise _check.no_study_results(path) from error
        return store

    @classmethod
    def open(cls, path: Path, quick: bool) -> Store:
        """The measurements that a run goes on with: those of the file, or none if it is missing.

        Raises
        ------
        ValueError
            The file is of another version of `bn`, or of quick studies where full ones are asked
            for, or is none of ours.
        OSError
            It cannot be read.
        """
        if not path.exists():
            return cls(path, quick, bn.__version__, describe_machine())
        store = cls.read(path)
        _check.same_study(path, (store.version, store.quick), (bn.__version__, quick))
        return store

    def add(self, study: str, record: Record) -> None:
        """Keep a measurement, and write the file if that was not done for some seconds."""
        self.records.setdefault(study, []).append(record)
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def has(self, study: str, setting: dict[str, Any], seed: int) -> bool:
        """Whether this was measured."""
        return any(r.seed == seed and r.setting == setting for r in self.records.get(study, ()))

    def results(self, study: Study) -> Results:
        """What was measured of the study as it is planned, of the seeds that are complete."""
        planned = [_key(setting) for setting in study.settings(self.quick)]
        found = {(_key(r.setting), r.seed): r for r in self.records.get(study.name, ())}
        seeds = sorted({seed for _, seed in found})
        complete = [seed for seed in seeds if all((key, seed) in found for key in planned)]
        return Results(found[key, seed] for key in planned for seed in complete)

    def save(self, verdicts: dict[str, dict[str, str]] | None = None) -> None:
        """Write the file, one measurement in a line, with verdicts if there are some."""
        studies = [
            f"{json.dumps(name)}: {{{_entries((verdicts or {}).get(name, {}))}"
            f'"records": [\n{_lines(records)}\n]}}'
            for name, records in self.records.items()
        ]
        head = _entries(
            {"format": FORMAT, "bn": self.version, "quick": self.quick, "machine": self.machine}
        )
        with replacing(self.path) as file:
            file.write(f'{{{head}"studies": {{\n{",".join(studies)}\n}}}}\n'.encode())
        self._saved = time.monotonic()


def _key(setting: dict[str, Any]) -> str:
    """A setting as a text, which a dict can have as its key."""
    return json.dumps(setting, sort_keys=True)


def _entries(values: dict[str, Any]) -> str:
    return "".join(
        f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in values.items()
    )


def _lines(records: Iterable[Record]) -> str:
    return ",\n".join(json.dumps(vars(record)) for record in records)


def describe_machine() -> dict[str, str]:
    """What the measurements run on, and when."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return {
        "bn": bn.__version__,
        "cpu": _cpu(),
        "instruction set": str(bn.show_config()["isa"]),
        "Python": platform.python_version(),
        "packages": versions,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(unknown)"


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", path.read_text()) if path.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
