"""Convolutions: the strategies of `bn.nn` in turns, and PyTorch in a process of its own.

``python bench/convolutions.py`` prints milliseconds of the forward pass, and of the backward pass,
which is dx and the weight's gradient, as medians. ``--peer`` prints PyTorch's. ``--shapes`` takes
other shapes: images,in,out,size,kernel,stride.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from bn.nn import conv_direct, conv_im2col, conv_im2row, conv_pointwise
from bn.nn.window import Window

SHAPES = [
    (256, 3, 16, 32, 3, 1),
    (64, 3, 32, 32, 3, 1),
    (64, 32, 64, 16, 3, 1),
    (64, 64, 128, 8, 3, 1),
    (128, 16, 16, 32, 3, 1),
    (128, 64, 64, 8, 3, 1),
    (32, 64, 64, 56, 3, 1),
]
Calls = dict[str, Callable[[], Any]]
REST = 0.1  # s, after which the threads of the call before have stopped spinning


def milliseconds(calls: Calls, turns: int) -> dict[str, float]:
    """All calls take turns, so that what else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            time.sleep(REST)
            call()  # wakes the threads, and brings the arrays to the caches
            begin = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(each) for name, each in times.items()}


def arrays(shape: tuple[int, ...], axis: int) -> list[np.ndarray]:
    """x, weight and dy, as (N, C, H, W)."""
    n, inputs, outputs, size, kernel, stride = shape
    rng = np.random.default_rng(0)
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    x = rng.standard_normal((n, inputs, size, size), np.float32)
    weight = rng.standard_normal((outputs, inputs, kernel, kernel), np.float32)
    dy = rng.standard_normal((n, outputs, out, out), np.float32)
    if axis == -1:
        x, dy = (
            np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy)
        )
    return [x, weight, dy]


def our_calls(shape: tuple[int, ...], axis: int) -> Calls:
    """Each strategy that can serve this layout."""
    x, weight, dy = arrays(shape, axis)
    y, dx = np.empty_like(dy), np.empty_like(x)
    kernel, stride = shape[4:]
    window = Window((kernel,) * 2, (stride,) * 2, (kernel // 2,) * 2, (kernel // 2,) * 2)
    ways: list[ModuleType] = [conv_direct, conv_im2col]
    if axis == -1:
        ways.append(conv_im2row)
    elif window.pointwise:
        ways.append(conv_pointwise)
    calls: Calls = {}
    for way in ways:
        name = way.__name__.rpartition("_")[2]
        calls[f"{name} forward"] = lambda way=way: way.convolve(x, weight, None, window, y)
        calls[f"{name} backward"] = lambda way=way: way.convolve_backward(x, weight, window, dy, dx)
    return calls


def peer_calls(shape: tuple[int, ...], axis: int) -> Calls:
    """PyTorch, which is fastest with its channels last."""
    import torch

    x, weight, dy = (torch.from_numpy(a) for a in arrays(shape, axis))
    weight = weight.to(memory_format=torch.channels_last) if axis == -1 else weight
    kernel, stride = shape[4:]
    steps = ([stride] * 2, [kernel // 2] * 2, [1, 1])

    def backward() -> None:
        options = (False, [0, 0], 1, (True, True, False))
        torch.ops.aten.convolution_backward(dy, x, weight, None, *steps, *options)

    return {
        "PyTorch forward": lambda: torch.nn.functional.conv2d(x, weight, None, *steps),
        "PyTorch backward": backward,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--shapes", nargs="*", type=lambda s: tuple(map(int, s.split(","))))
    options = parser.parse_args()
    for shape in options.shapes or SHAPES:
        for axis in (1, -1):
            calls = (peer_calls if options.peer else our_calls)(shape, axis)
            times = milliseconds(calls, options.turns)
            print(*shape, f"axis={axis}", *(f"{k} {v:.2f}" for k, v in times.items()), sep="  ")


if __name__ == "__main__":
    main()
