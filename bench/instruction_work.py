"""What runs under valgrind for `instructions.py`: the calls, and the marks around each of them."""

from __future__ import annotations

import ctypes
import gc
import json
import platform
import re
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import calls
import convolutions
import numpy as np
from cases import Case, make
from instructions import PYTHONS_OWN
from peers.ours import Ours

import bn
import bncore
from bn import nn

ISA = "avx2"  # the best that valgrind knows
IMAGES, VECTORS = (32, 64, 28, 28), (4096, 256)
CONVOLUTION = (8, 32, 32, 16, 3, 1, 1)  # as in `convolutions.SHAPES`
PARAMETER = (1024, 1024)


class Counted(NamedTuple):
    """A call, and how often it is made: once it is warm, and then while it is counted."""

    name: str
    call: Callable[[], Any]
    warm: int = 3
    repeats: int = 1


def everything() -> Iterator[Counted]:
    """All calls; the arrays of one group are let go before those of the next are made."""
    for name, call in calls.our_calls().items():
        if name.startswith("layer"):
            yield Counted(f"{PYTHONS_OWN}{name}", call, warm=100, repeats=100)
    plain = ("forward", "backward", "eval")
    yield from _normalizations((*plain, "fused forward", "fused backward"), IMAGES)
    yield from _normalizations(plain, IMAGES, layout="last")
    yield from _normalizations(("forward", "backward"), VECTORS)
    yield from _normalizations(("eval",), IMAGES, "bfloat16")
    yield from _normalizations(("forward",), IMAGES, "float64")
    for name, call in convolutions.our_calls(CONVOLUTION, last=True, threads=1).items():
        yield Counted(f"convolution, {name}", call)
    yield from _other_layers()


def _normalizations(
    ops: tuple[str, ...], shape: tuple[int, ...], dtype: str = "float32", layout: str = "first"
) -> Iterator[Counted]:
    made = Ours(1, tuned=False).calls(make(Case("", shape, dtype, quick=False), layout))
    order = "" if len(shape) == 2 else f", channels {layout}"
    for op in ops:
        yield Counted(f"{op}, {'x'.join(map(str, shape))} {dtype}{order}", made[op])


def _other_layers() -> Iterator[Counted]:
    x = np.random.default_rng(0).standard_normal(IMAGES, dtype=np.float32)
    pool, relu = nn.MaxPool2d(2), nn.ReLU()
    yield Counted("max pooling, forward", lambda: pool(x))
    yield Counted("ReLU, forward", lambda: relu(x))
    p = nn.Parameter(np.ones(PARAMETER, np.float32))
    p.grad = np.ones_like(p.data)
    yield Counted("SGD, one step", nn.SGD([p], lr=1e-3, momentum=0.9, weight_decay=1e-4).step)


def made_with() -> dict[str, str]:
    """The software that the counts depend on."""
    return {
        "compiler": compiler(Path(bncore.__file__)),
        "compiler flags of Python": flags(sysconfig.get_config_var("CFLAGS") or ""),
        "Python": python(),
        "NumPy": ".".join(np.__version__.split(".")[:2]),
    }


def python() -> str:
    """The version of Python, and whether its build was optimized with a profile."""
    flag = "--enable-optimizations"
    built = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return f"{platform.python_version()}{f' {flag}' if flag in built else ''}"


def flags(command: str) -> str:
    """Those that change the code; an extension is compiled with Python's own flags and more."""
    return " ".join(sorted({flag for flag in command.split() if re.match("-[fmO]", flag)}))


def compiler(binary: Path) -> str:
    """The compilers that made a shared object, which they leave their names in."""
    found = re.findall(rb"(GCC): \([^)]*\) ([\d.]+)|(clang) version ([\d.]+)", binary.read_bytes())
    names = {b" ".join(part for part in match if part).decode() for match in found}
    return ", ".join(sorted(names)) or "unknown"


def count(marks: ctypes.CDLL, counted: Counted) -> None:
    """Make the calls so that valgrind writes a file about the counted ones alone."""
    for _ in range(counted.warm):
        counted.call()
    marks.begin()
    for _ in range(counted.repeats):
        counted.call()
    marks.end(f"{counted.name}|{counted.repeats}".encode())


def main() -> None:
    """Make every call; the current folder has ``marks.so``, and gets ``made_with.json``."""
    if not bncore.select_isa(ISA):
        sys.exit(f"instructions are counted in the {ISA} kernels, which this CPU cannot run")
    warnings.simplefilter("ignore", bn.SmallBatchWarning)
    bn.set_num_threads(1)
    gc.disable()  # a collection would count in the call that it happens in
    Path("made_with.json").write_text(json.dumps(made_with()))
    marks = ctypes.CDLL("./marks.so")
    for counted in everything():
        count(marks, counted)


if __name__ == "__main__":
    main()
