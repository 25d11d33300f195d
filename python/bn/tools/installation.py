"""`test`: whether `bn`, as it is installed here, keeps its promises."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bn import _check
from bn._core import core
from bn.config import show_config, threads
from bn.functional import merge, normalize, stats
from bn.fused import backward_batch, normalize_batch
from bn.types import Array

THREADS = (1, 2, 3)


def test(verbose: bool = True) -> bool:
    """Check whether `bn` computes here what it promises.

    Gradients are compared with differences; results with any number of threads and any instruction
    set of this CPU with each other, bit by bit; normalized data whose mean is 10⁶ times their
    standard deviation with float64; convolutions with long double; statistics of parts that are
    merged with those of the whole; a saved model with the loaded one. It takes some seconds.

    Parameters
    ----------
    verbose : bool, default True
        Print a line for each check. The last line, which is always printed, tells the versions, the
        machine and the result: it belongs into a report of a bug.

    Returns
    -------
    bool
        Whether all checks passed.

    Raises
    ------
    TypeError
        `verbose` is not a bool.

    Notes
    -----
    The number of threads and the instruction set are changed while it runs, and put back.

    Examples
    --------
    >>> import bn
    >>> bn.test(verbose=False)  # doctest: +ELLIPSIS
    bn ...: 7 of 7 checks passed in ... s
    True
    """
    _check.flag("verbose", verbose)
    begin, passed = time.perf_counter(), 0
    for name, check in CHECKS.items():
        problem = _problem(check)
        passed += problem is None
        if verbose:
            print(f"{name}: {problem or 'ok'}")
    seconds = time.perf_counter() - begin
    print(f"{_machine()}: {passed} of {len(CHECKS)} checks passed in {seconds:.1f} s")
    return passed == len(CHECKS)


def _problem(check: Callable[[], None]) -> str | None:
    """What a check found, in one line."""
    try:
        check()
    except Exception as error:  # whatever goes wrong is what is looked for
        return f"FAILED, {type(error).__name__}: {' '.join(str(error).split())}"
    return None


def _machine() -> str:
    config = show_config()
    openmp = "OpenMP" if config["openmp"] else "no OpenMP"
    return (
        f"bn {config['version']} ({config['isa']}, {openmp}, threads: {config['threads']}), "
        f"NumPy {np.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )


# ---- the checks ----


def _within(what: str, found: Array, expected: Array, error: float) -> None:
    """Raise unless the largest difference is at most `error`."""
    largest = float(np.max(np.abs(found - expected)))
    if not largest <= error:  # NaN is no pass
        raise AssertionError(f"{what} differ by {largest:.3g}, more than {error:.3g}")


def _normal(*shape: int, dtype: type = np.float32) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _gradients() -> None:
    from bn import nn
    from bn.layers import BatchNorm2d

    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, dtype=np.float64, rng=0), BatchNorm2d(3, dtype=np.float64),
        nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2, dtype=np.float64, rng=1),
    )  # fmt: skip
    nn.gradcheck(model, _normal(3, 2, 4, 4, dtype=np.float64))


def _everything() -> list[bytes]:
    """The bits of what the kernels compute of one input in both layouts."""
    from bn import nn

    found = []
    x, dy = _normal(4, 33, 30, 31), _normal(4, 33, 30, 31)[::-1].copy()
    for axis, shape in ((1, (4, 33, 30, 31)), (3, (4, 30, 31, 33))):
        a, g = x.reshape(shape), dy.reshape(shape)
        y, batch = normalize_batch(a, axis=axis, activation="relu")
        dx, sums = backward_batch(g, a, batch, axis=axis, activation="relu")
        found += [y, batch.mean, batch.m2, dx, sums.dy, sums.dy_xmu]
    conv = nn.Conv2d(33, 16, 3, rng=0)
    found += [conv(x), conv.backward(conv(x))]
    return [array.tobytes() for array in found]


@contextmanager
def _instruction_set(name: str) -> Iterator[None]:
    before = core.selected_isa()
    core.select_isa(name)
    try:
        yield
    finally:
        core.select_isa(before)


def _threads() -> None:
    with threads(1):
        expected = _everything()
    for number in THREADS[1:]:
        with threads(number):
            if _everything() != expected:
                raise AssertionError(f"{number} threads give other bits than one")


def _instruction_sets() -> None:
    x = _normal(4, 33, 30, 31)
    found = {}
    for name in core.available_isas():
        with _instruction_set(name):
            y, batch = normalize_batch(x)
            dx, _ = backward_batch(x, x, batch)
            found[name] = [array.tobytes() for array in (y, batch.mean, batch.m2, dx)]
    for name, bits in found.items():
        if bits != found["baseline"]:
            raise AssertionError(f"{name} gives other bits than baseline")


def _far_from_zero() -> None:
    x = (_normal(64, 8, 20, 20, dtype=np.float64) + 1e6).astype(np.float32)
    exact = x.astype(np.float64)
    mean, var = exact.mean((0, 2, 3)), exact.var((0, 2, 3))
    expected = (exact - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
    _within("normalized values", normalize_batch(x)[0], expected, 1e-6)


def _convolution() -> None:
    from bn import nn

    x, conv = _normal(2, 16, 9, 8), nn.Conv2d(16, 16, 3, padding=1, bias=False, rng=0)
    padded = np.pad(x.astype(np.longdouble), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    expected = np.einsum("ncijhw,ochw->noij", windows, conv.weight.data.astype(np.longdouble))
    _within("values", conv(x), expected, 1e-5)


def _merged() -> None:
    x = _normal(100, 5, dtype=np.float64)
    whole, parts = stats(x), merge([stats(x[:37]), stats(x[37:])])
    for name in ("count", "mean", "var"):
        _within(f"the {name} of parts and whole", getattr(parts, name), getattr(whole, name), 1e-12)
    y = normalize(x, parts.mean, parts.var)
    _within("normalized values", y, normalize(x, whole.mean, whole.var), 1e-11)


def _saved() -> None:
    from bn import nn
    from bn.layers import BatchNorm1d

    model, other = (nn.Sequential(nn.Linear(4, 3, rng=i), BatchNorm1d(3)) for i in range(2))
    model(_normal(20, 4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.npz")
        nn.save(path, model)
        nn.load(path, other)
    x = _normal(5, 4)
    _within("predictions", other.eval()(x), model.eval()(x), 0)


CHECKS = {
    "gradients are those of differences": _gradients,
    "any number of threads gives the same bits": _threads,
    "any instruction set gives the same bits": _instruction_sets,
    "float32 keeps its digits where mean/std is 1e6": _far_from_zero,
    "convolutions agree with long double": _convolution,
    "statistics of parts merge to those of the whole": _merged,
    "a saved model comes back": _saved,
}
