"""Convolutions alone, `bn` and PyTorch in turns, each in a process of its own.

``python bench/convolutions.py`` prints milliseconds of the forward pass, of the gradient of the
images (dx) and of the gradient of the weight (dW), and how much longer PyTorch takes, in the better
of its two memory formats. ``--shapes`` takes other shapes: images,in,out,size,kernel,stride,groups.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Calls = dict[str, Callable[[], Any]]

SHAPES: list[Shape] = [
    (256, 3, 16, 32, 3, 1, 1),
    (64, 3, 32, 32, 3, 1, 1),
    (64, 32, 64, 16, 3, 1, 1),
    (64, 64, 128, 8, 3, 1, 1),
    (128, 16, 16, 32, 3, 1, 1),
    (128, 64, 64, 8, 3, 1, 1),
    (32, 64, 64, 56, 3, 1, 1),
    (64, 64, 64, 32, 3, 1, 64),
    (64, 128, 128, 8, 1, 1, 1),
]
PASSES = ("forward", "dx", "dW")
REPEATS = 9  # of a call in a turn, after two that wake the threads and fill the caches


def arrays(shape: Shape, last: bool) -> list[np.ndarray]:
    """x, weight and dy; the images are (N, C, H, W), with the channels last in memory or not."""
    n, inputs, outputs, size, kernel, stride, groups = shape
    rng = np.random.default_rng(0)
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    x = rng.standard_normal((n, inputs, size, size), np.float32)
    weight = rng.standard_normal((outputs, inputs // groups, kernel, kernel), np.float32)
    dy = rng.standard_normal((n, outputs, out, out), np.float32)
    if last:
        x, dy = (
            np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy)
        )
    return [x, weight, dy]


def our_calls(shape: Shape, last: bool, threads: int) -> Calls:
    """The kernels; y lies channels-last, as `nn.Conv2d` asks for it."""
    import bn
    from bn.nn import conv_direct
    from bn.nn.window import Window

    bn.set_num_threads(threads)
    x, weight, _ = arrays(shape, last)
    dy = arrays(shape, last=True)[2]
    y, dx = np.empty_like(dy), np.empty_like(x)
    kernel, stride = shape[4:6]
    window = Window((kernel,) * 2, (stride,) * 2, (kernel // 2,) * 2, (kernel // 2,) * 2)
    return {
        "forward": lambda: conv_direct.convolve(x, weight, None, window, y),
        "dx": lambda: conv_direct.convolve_dx(weight, window, dy, dx),
        "dW": lambda: conv_direct.convolve_dweight(x, weight.shape, window, dy, None),
    }


def peer_calls(shape: Shape, last: bool, threads: int) -> Calls:
    """PyTorch, with all arrays in the same memory format."""
    import torch

    torch.set_num_threads(threads)
    x, weight, dy = (torch.from_numpy(a) for a in arrays(shape, last))
    weight = weight.to(memory_format=torch.channels_last) if last else weight
    kernel, stride, groups = shape[4:]
    steps = ([stride] * 2, [kernel // 2] * 2, [1, 1])

    def backward(*wanted: bool) -> None:
        options = (False, [0, 0], groups, (*wanted, False))
        torch.ops.aten.convolution_backward(dy, x, weight, None, *steps, *options)

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, None, *steps, groups),
        "dx": lambda: backward(True, False),
        "dW": lambda: backward(False, True),
    }


def milliseconds(call: Callable[[], Any]) -> float:
    """The median of some calls."""
    times = []
    for _ in range(2 + REPEATS):
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[2:])


def serve(who: str, shape: Shape, threads: int) -> None:
    """In a process of its own: for each line of input, measure and print."""
    make = our_calls if who == "bn" else peer_calls
    formats = {last: make(shape, last, threads) for last in (False, True)}
    for _ in sys.stdin:
        for calls in formats.values():
            for name in PASSES:
                print(milliseconds(calls[name]), flush=True)
                time.sleep(0.02)


def measure(shape: Shape, threads: int, turns: int) -> dict[str, list[float]]:
    """Medians over all turns: for each contestant six numbers, channels-first and then -last."""
    command = [sys.executable, __file__, "--threads", str(threads), "--shapes"]
    command.append(",".join(map(str, shape)))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = {
        who: subprocess.Popen([*command, "--serve", who], **pipes) for who in ("bn", "PyTorch")
    }
    found: dict[str, list[list[float]]] = {who: [] for who in workers}
    for _ in range(turns):
        for who, worker in workers.items():
            print(file=worker.stdin, flush=True)
            found[who].append([float(worker.stdout.readline()) for _ in range(2 * len(PASSES))])
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {
        who: [statistics.median(each) for each in zip(*rows, strict=True)]
        for who, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shapes", nargs="*", type=lambda s: tuple(map(int, s.split(","))))
    parser.add_argument("--serve", choices=["bn", "PyTorch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.shapes[0], options.threads)
        return
    print("images, in, out, size, kernel, stride, groups; PyTorch's time / bn's, bn's time in ms")
    for shape in options.shapes or SHAPES:
        times = measure(shape, options.threads, options.turns)
        peer = [min(pair) for pair in zip(times["PyTorch"][:3], times["PyTorch"][3:], strict=True)]
        for i, order in enumerate(("channels-first", "channels-last")):
            ours = times["bn"][3 * i : 3 * i + 3]
            row = [
                f"{name} {theirs / mine:.2f} ({mine:.2f})"
                for name, mine, theirs in zip(PASSES, ours, peer, strict=True)
            ]
            print(*shape, order, *row, sep="  ")


if __name__ == "__main__":
    main()
