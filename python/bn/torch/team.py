"""The threads of the passes: PyTorch's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import threadpoolctl
import torch

from bn._core import core

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def find_team() -> bool:
    """Find the OpenMP team of PyTorch, for `on_team`; without it, passes have threads of `bn`.

    PyTorch may have brought its OpenMP runtime, or use one that was there before.
    """
    found = [i["filepath"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "openmp"]
    home = Path(torch.__file__).parent
    own = [path for path in found if home in Path(path).parents]
    return any(core.find_host_team(path) for path in (own or found)[:1])


def on_team(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function's loops be done by PyTorch's threads.

    These spin on their cores for a while after each operation of PyTorch, so that others would have
    to wait for the cores.
    """

    @functools.wraps(function)
    def within(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        with TEAM:
            return function(*args, **options)

    return within


TEAM = core.HostTeam()
find_team()
