"""The cost of one small call, and of sharing a machine with NumPy's threads.

``python bench/calls.py``: (1) microseconds of a call on (1, 16, 4, 4) beside PyTorch's;
(2) a matrix product followed by a `bn` call, over the sum of the two measured apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import machine
import numpy as np
import results

import bn

SHAPE = (1, 16, 4, 4)
ONE, TURNS = "one Python thread", "two Python threads in turn"
BOTH = "forward in one, backward in the other"
SIZES = ((256, (32, 16, 32, 32)), (512, (32, 64, 56, 56)))  # of the product, of the tensor

Call = Callable[[], Any]


def our_calls() -> dict[str, Call]:
    """`bn` as users call it."""
    x = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    mean, var, weight, bias = (np.ones(SHAPE[1], np.float32) for _ in range(4))
    training, evaluating = bn.BatchNorm2d(SHAPE[1]), bn.BatchNorm2d(SHAPE[1]).eval()
    return {
        "function, eval": lambda: bn.batch_norm(x, mean, var, weight, bias),
        "function, training": lambda: bn.batch_norm(x, mean, var, weight, bias, True),
        "layer, eval": lambda: evaluating(x),
        "layer, training": lambda: training(x),
    }


def pytorch_calls(threads: int) -> dict[str, Call]:
    """The same in PyTorch; none where it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    function = torch.nn.functional.batch_norm
    x = torch.randn(SHAPE)
    mean, var, weight, bias = (torch.ones(SHAPE[1]) for _ in range(4))
    training, evaluating = torch.nn.BatchNorm2d(SHAPE[1]), torch.nn.BatchNorm2d(SHAPE[1]).eval()
    evaluating.requires_grad_(False)  # as under no_grad, which would cost time itself
    return {
        "function, eval": lambda: function(x, mean, var, weight, bias),
        "function, training": lambda: function(x, mean, var, weight, bias, True),
        "layer, eval": lambda: evaluating(x),
        "layer, training": lambda: training(x),  # records for autograd, as training does
    }


def cost_of_calls(threads: int, repeat: int) -> list[dict[str, Any]]:
    """Microseconds a call, `bn` and PyTorch in turns of 200 calls."""
    everybody = {"bn": our_calls(), "PyTorch": pytorch_calls(threads)}
    contests = [
        (who, what, call) for who, calls in everybody.items() for what, call in calls.items()
    ]
    times: dict[tuple[str, str], list[float]] = {(who, what): [] for who, what, _ in contests}
    for _ in range(repeat):
        for who, what, call in contests:
            times[who, what].append(1e6 * _mean_of(call, 200))
    return [{"who": who, "what": what, **quartiles(t)} for (who, what), t in times.items()]


def quartiles(times: list[float]) -> dict[str, float]:
    """The fastest, the median and the quartiles."""
    q25, median, q75 = np.percentile(times, [25, 50, 75]).tolist()
    return {"min": min(times), "q25": q25, "median": median, "q75": q75}


def _mean_of(call: Call, count: int) -> float:
    call()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def cliff(size: int, shape: tuple[int, ...], repeat: int) -> dict[str, Any]:
    """Milliseconds of product and `bn` apart and in turn, in one and in two Python threads."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((size, size), dtype=np.float32)
    x = rng.standard_normal(shape, dtype=np.float32)
    batch = bn.stats(x)

    def product() -> None:
        a @ a

    def forward() -> None:
        bn.normalize_batch(x)

    def backward() -> None:
        bn.backward_batch(x, x, batch)

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        alone = {
            call.__name__: _median(_ms(call) for _ in range(repeat))
            for call in (product, forward, backward)
        }
        pair, gradient = alone["product"] + alone["forward"], alone["product"] + alone["backward"]
        apart = {ONE: pair, TURNS: pair, BOTH: pair + gradient}
        together = {
            ONE: _median(_ms(product, forward) for _ in range(repeat)),
            TURNS: _median(
                (one, two)[i % 2].submit(_ms, product, forward).result() for i in range(repeat)
            ),
            BOTH: _median(
                one.submit(_ms, product, forward).result()
                + two.submit(_ms, product, backward).result()
                for _ in range(repeat)
            ),
        }
    shapes = f"{size} × {size} product, {shape} tensor"
    return {"what": shapes, "alone": alone, "apart": apart, "together": together}


def _ms(*calls: Call) -> float:
    start = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - start) * 1e3


def _median(values: Iterable[float]) -> float:
    known = list(values)
    return statistics.median(known[len(known) // 5 :])  # without the warm-up


def show(calls: list[dict[str, Any]], cliffs: list[dict[str, Any]]) -> None:
    """Print both tables."""
    print(f"\none call on {SHAPE}, µs{'min':>20}{'median':>10}")
    for row in sorted(calls, key=lambda row: row["what"]):
        print(f"  {row['what']:<20}{row['who']:<12}{row['min']:>12.2f}{row['median']:>10.2f}")
    for row in cliffs:
        print(f"\n{row['what']}, ms{'apart':>12}{'together':>12}{'ratio':>8}")
        for pattern, together in row["together"].items():
            apart = row["apart"][pattern]
            print(f"  {pattern:<28}{apart:>18.3f}{together:>12.3f}{together / apart:>8.2f}")


def main() -> None:
    """Measure, print, and write the file."""
    options = results.parser(__doc__, repeat=200).parse_args()
    bn.set_num_threads(options.threads)
    usage = machine.Usage()
    # the products first: PyTorch, once imported, brings a thread pool of its own
    cliffs = [cliff(size, shape, options.repeat) for size, shape in SIZES]
    calls = cost_of_calls(options.threads, options.repeat)
    show(calls, cliffs)
    if options.json:
        about = machine.describe(options.threads, ["bn", "torch"]) | usage.so_far()
        results.write({"machine": about, "calls, µs": calls, "cliffs, ms": cliffs}, options.json)


if __name__ == "__main__":
    main()
