"""Convolutions alone, of `bn` and PyTorch in turns, each in a process of its own.

``python bench/convolutions.py``: milliseconds of the forward pass, of the gradient of the images
(dx) and of the gradient of the weight (dW); images are channels-last in memory for `bn`, and in the
better of its two memory formats for PyTorch. "direct" is `bn` without Winograd's algorithm.
"""

from __future__ import annotations

from typing import Any

import contest
import numpy as np
import results
from contest import Calls
from tables import Cells, number, ratio

Shape = tuple[int, ...]

SHAPES: list[Shape] = [  # images, in, out, size, kernel, stride, groups
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
LAST = ", channels-last"


def title(shape: Shape) -> str:
    """Images, channels and size; what is not usual in words."""
    n, inputs, outputs, size, kernel, stride, groups = shape
    unusual = [f"{kernel} × {kernel}"] if kernel != 3 else []
    unusual += [f"stride {stride}"] if stride != 1 else []
    unusual += ["depthwise"] if groups == inputs else [f"{groups} groups"] if groups > 1 else []
    return ", ".join([f"{n} × {inputs} → {outputs} × {size}²", *unusual])


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


def ours(shape: Shape, threads: int) -> Calls:
    return our_calls(shape, last=True, threads=threads)


def direct(shape: Shape, threads: int) -> Calls:
    """`bn` without Winograd's algorithm."""
    from bn import nn

    def without(call: Any) -> Any:
        def each() -> Any:
            with nn.winograd(False):
                return call()

        return each

    return {name: without(call) for name, call in ours(shape, threads).items()}


def pytorch(shape: Shape, threads: int) -> Calls:
    """Both memory formats."""
    return {
        name + suffix: call
        for last, suffix in ((False, ""), (True, LAST))
        for name, call in peer_calls(shape, last, threads).items()
    }


LIBRARIES = {"bn": ours, "bn, direct": direct, "PyTorch": pytorch}


def pytorch_over_bn(case: dict[str, Any], name: str) -> float | None:
    """The time of PyTorch's better memory format over that of `bn`."""
    mine = contest.median(case, "bn", name)
    theirs = [contest.median(case, "PyTorch", name + suffix) for suffix in ("", LAST)]
    known = [time for time in theirs if time is not None]
    return min(known) / mine if mine and known else None


def rows(result: dict[str, Any]) -> Cells:
    """PyTorch's time over that of `bn`, and in brackets the latter in ms."""
    table = [["images × in → out × size", *PASSES]]
    for case in result["cases"]:
        cells = [
            f"{ratio(pytorch_over_bn(case, p))} ({number(contest.median(case, 'bn', p))})"
            for p in PASSES
        ]
        table.append([case["title"], *cells])
    return table


def without_winograd(result: dict[str, Any]) -> Cells:
    """The time without Winograd's algorithm over that with it."""
    table = [["images × in → out × size", *PASSES]]
    for case in result["cases"]:
        table.append(
            [case["title"], *(ratio(contest.ratio(case, "bn, direct", p)) for p in PASSES)]
        )
    return table


def main() -> None:
    """Run, print, and write the file."""
    parser = results.parser(__doc__, repeat=5)
    parser.add_argument(
        "--shapes", nargs="*", default=SHAPES, type=lambda s: tuple(map(int, s.split(","))),
        help="others: images,in,out,size,kernel,stride,groups",
    )  # fmt: skip
    options = parser.parse_args()
    result = contest.contest(LIBRARIES, {title(s): s for s in options.shapes}, options)
    titled = {
        "PyTorch / bn (bn in ms)": rows(result),
        "without Winograd / with": without_winograd(result),
    }
    results.finish(result, titled, options.json)


if __name__ == "__main__":
    main()
