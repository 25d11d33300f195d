"""What the numbers were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import re
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ["numpy", "torch", "jax", "tensorflow-cpu", "tensorflow", "onnxruntime", "keras"]
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
DEFAULT_LLC = 32 << 20  # where the machine does not tell


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_level_cache() -> int:
    """Bytes of the largest cache that a core sees."""
    texts = [p.read_text().strip() for p in CACHES.glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20}
    return max((int(t[:-1]) * units[t[-1]] for t in texts if t[-1] in units), default=DEFAULT_LLC)


def free_memory() -> int:
    """Bytes that can still be had."""
    return _meminfo("MemAvailable") or 1 << 62


def busy_seconds() -> float | None:
    """CPU time that all processes have used since the machine started, what was stolen included."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _idle, _wait, *rest = map(int, path.read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


class Usage:
    """How long a run takes, and how much of the CPU time others use meanwhile."""

    def __init__(self) -> None:
        self._begin, self._busy, self._own = time.perf_counter(), busy_seconds(), own_seconds()

    def so_far(self) -> dict[str, float]:
        """Seconds since the start, and the part of the CPU time that was used by others."""
        elapsed = time.perf_counter() - self._begin
        told: dict[str, float] = {"seconds": round(elapsed)}
        if (busy := busy_seconds()) is not None and self._busy is not None:
            others = (busy - self._busy) - (own_seconds() - self._own)
            told["others"] = max(0.0, others / (elapsed * cores()))
        return told


class Memory:
    """The most memory that this process has held since the start, above what it held then."""

    def __init__(self) -> None:
        with suppress(OSError):  # where it cannot be reset, an earlier peak may hide this one
            Path("/proc/self/clear_refs").write_text("5")
        self._begin = _status("VmRSS")

    def peak(self) -> int | None:
        """Bytes; None where the system does not tell."""
        most = _status("VmHWM")
        return None if most is None or self._begin is None else max(0, most - self._begin)


def describe(threads: int, contestants: list[str]) -> dict[str, Any]:
    """Machine, versions and date."""
    import bn

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": cores(),
        "threads": threads,
        "last_level_cache": last_level_cache(),
        "memory": _meminfo("MemTotal"),
        "system": platform.platform(),
        "load": load,
        "python": platform.python_version(),
        "bn": dict(bn.show_config()),
        "versions": _versions(),
        "contestants": contestants,
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.*)", path.read_text()) if path.exists() else None
    return match[1] if match else platform.processor() or platform.machine()


def _meminfo(key: str) -> int | None:
    return _bytes(Path("/proc/meminfo"), key)


def _status(key: str) -> int | None:
    return _bytes(Path("/proc/self/status"), key)


def _bytes(path: Path, key: str) -> int | None:
    match = re.search(rf"{key}:\s*(\d+) kB", path.read_text()) if path.exists() else None
    return int(match[1]) * 1024 if match else None
