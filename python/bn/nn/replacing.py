"""Files that are written beside the file that they then replace, and what is left of such files."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":  # which has no such locks
    import fcntl

TEMPORARY = re.compile(r"\.bn-[0-9a-f]{16}\.tmp")
# A temporary file is made before it is locked; within this time nobody takes it for a remain.
MOST_SECONDS_UNLOCKED = 60.0


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open an empty file that takes the place of `path`, and its mode, if the block succeeds.

    It is a temporary file in the same folder, which is flushed to the disk and then renamed. What
    processes that were killed have left there is removed. An OSError names `path`.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
        _remove_remains(target.parent)
        temporary = target.parent / f".bn-{secrets.token_hex(8)}.tmp"
        try:
            # Who opened it before its mode is set could read what is written later.
            temporary.touch(0o666 if mode is None else 0o600, exist_ok=False)
            with _locked(temporary):
                with temporary.open("r+b") as file:
                    if mode is not None:
                        temporary.chmod(mode)
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:  # not of the operating system
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _mode(target: Path) -> int | None:
    """The permissions of a file, or None if there is none."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a file, where there are locks, until the block ends or the process dies.

    The lock has a descriptor of its own, since it outlasts the writing: until the file is renamed.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_remains(folder: Path) -> None:
    """Remove the temporary files that nobody writes any more, as far as locks tell that."""
    with suppress(OSError):  # a folder that cannot be listed may still be written
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name):
                with suppress(OSError):  # it is locked, or another save removed it first
                    _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    if sys.platform == "win32":
        return
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or time.time() - about.st_mtime < MOST_SECONDS_UNLOCKED:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)
