"""`explain_difference`, and the `Explanation` that it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bn import _check
from bn.explaining.hypotheses import Hypothesis
from bn.explaining.results import Results, distances, relative
from bn.explaining.search import Found, Search
from bn.explaining.seen import Run, Seen
from bn.explaining.sides import run
from bn.explaining.words import sentence, shapes, shown
from bn.table import aligned
from bn.types import Array

ROUNDINGS = 16  # of the dtype's, for float32 and float64
FEWER_ROUNDINGS = 2  # for dtypes of two bytes, where the last one is larger than all others
LAYERS_BETWEEN = 50  # roundings that convolutions and the like add to the input of a normalization
INPUT_TO_OUTPUT = 4  # how much larger rounding of an input may be in the output
SMALLEST = 1e-12  # for float64, in which sums are taken in different orders


@dataclass(frozen=True)
class Cause:
    """One thing in which two layers differ, and how much of the difference it makes.

    Attributes
    ----------
    name : str
        "epsilon", "place of epsilon", "gamma", "beta", "axis", "mode", "running statistics",
        "variance that normalizes", "momentum" or "kind of running variance".
    a, b : str
        What it is on either side.
    before : float
        The difference with all other causes taken away, as a part of the largest value.
    after : float
        The difference with this one taken away, too.

    Examples
    --------
    >>> import bn
    >>> x = np.random.default_rng(0).standard_normal((50, 3))
    >>> a, b = bn.BatchNorm1d(3, dtype="f8"), bn.BatchNorm1d(3, eps=1e-3, dtype="f8")
    >>> (cause,) = bn.explain_difference(a, b, x).causes
    >>> cause.name, cause.a, cause.b, cause.after < 1e-12 < cause.before
    ('epsilon', '1e-05', '0.001', True)
    """

    name: str
    a: str
    b: str
    before: float
    after: float


@dataclass(frozen=True)
class Explanation:
    """Why two layers or models give different results. `explain_difference` returns it.

    Attributes
    ----------
    place : str
        Which layers part first.
    differences : mapping of str to float
        Of outputs, and of running statistics after the call, as parts of the largest value;
        infinite where shapes differ, or where one side alone has NaN.
    causes : tuple of Cause
        A smallest set that explains them, or what explains most of them.
    remaining : float
        The difference that is left when all causes are taken away.
    tolerance : float
        Up to which a difference is rounding.
    conclusion : str
        A sentence.

    Examples
    --------
    >>> import bn
    >>> x = np.random.default_rng(0).standard_normal((50, 3))
    >>> layer = bn.BatchNorm1d(3, dtype="f8")
    >>> bn.explain_difference(layer, layer, x, tolerance=1e-10)
    BatchNorm1d of a and BatchNorm1d of b: output 0, running mean 0, running variance 0.
    There is no difference beyond rounding (1e-10).
    """

    place: str
    differences: Mapping[str, float]
    causes: tuple[Cause, ...]
    remaining: float
    tolerance: float
    conclusion: str

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.2g}" for name, value in self.differences.items())
        lines = [f"{self.place}: {numbers}." if numbers else f"{self.place}."]
        if self.causes:
            rows = [(c.name, c.a, c.b, f"{c.before:.2g}", f"{c.after:.2g}") for c in self.causes]
            lines.append(aligned([("cause", "a", "b", "with it", "without it"), *rows]))
        return "\n".join([*lines, self.conclusion])


def explain_difference(
    a: Any,
    b: Any,
    x: Array,
    *,
    x_b: Array | None = None,
    training: bool | None = None,
    tolerance: float | None = None,
) -> Explanation:
    """Why two layers or models, of any two frameworks, give different results for the same input.

    The settings of both are read, and replaced one by one in `bn`'s own functions, until the
    results of a are those of b. Of models, the first batch normalization is explained whose
    results differ although its input does not.

    Parameters
    ----------
    a, b : layer, model, function or array
        A layer or model of `bn`, PyTorch, Keras or Flax (of linen the pair (module, variables));
        or a function of an array, or an array of outputs, of which only the results are known: then
        usual causes are tried. Neither is changed, but a layer of Keras that is not built is built.
    x : ndarray
        What both are called with.
    x_b : ndarray, optional
        What b is called with, where it has its channels on another axis.
    training : bool, optional
        The mode of both. None leaves each its own, which is inference in Keras, and in Flax
        without ``use_running_average``.
    tolerance : float, optional
        Up to which a difference, as a part of the largest value, is rounding. By default it follows
        from the dtypes, and from how far x is from 0.

    Returns
    -------
    Explanation
        Its `causes` are records, and its repr is a table and a sentence.

    Raises
    ------
    TypeError, ValueError
        A side is none of these, or x does not fit it.

    See Also
    --------
    bn.convert : Single layers between frameworks.

    Notes
    -----
    Causes are looked for in batch normalizations: epsilon and its place, gamma (a different one, or
    one that is fixed to 1), beta, the channel axis, the mode, running statistics that are not the
    same (stale ones), momentum, and Bessel's correction of the variance that is kept or that
    normalizes. Momentum and the kind of running variance show in the running statistics after a
    call in training mode. Several causes are found together. Differences from elsewhere are not
    explained, and that is said.

    References
    ----------
    What frameworks do differently: docs/semantics.md.

    Examples
    --------
    >>> import bn
    >>> x = np.random.default_rng(0).standard_normal((50, 3), dtype=np.float32)
    >>> keras = bn.BatchNormalization()
    >>> [c.name for c in explain_difference(bn.BatchNorm1d(3), keras, x, training=True).causes]
    ['epsilon', 'momentum', 'kind of running variance']
    """
    x = _check.any_array("x", x).copy("K")  # which may be read-only
    given = x if x_b is None else _check.any_array("x_b", x_b).copy("K")
    _check.optional_flag("training", training)
    if tolerance is not None:
        _check.at_least("tolerance", tolerance, 0)
    one, other = run("a", a, x, training), run("b", b, given, training)
    limit = rounding(x, one.y, other.y) if tolerance is None else float(tolerance)
    return compared(one, other, x_b is not None, limit)


def compared(a: Run, b: Run, moved: bool, tolerance: float) -> Explanation:
    """The explanation of two forward passes, at the first place where they part."""
    if not a.seen or not b.seen:
        return _with_unknown(a, b, tolerance)
    for own, its in zip(a.seen, b.seen, strict=False):
        other = its.with_axis_of(own) if moved else its
        place = f"{own.path} of a and {other.path} of b"
        apart = relative(own.x, other.x)
        if own.x.shape != other.x.shape:
            words = (
                f"What goes into {place} has {shapes(own.x, other.x)}: the cause is before them."
            )
            return _found_nothing(f"before {place}", {"input": apart}, tolerance, words)
        if apart > LAYERS_BETWEEN * tolerance:
            words = f"What goes into {place} differs by {apart:.2g}: the cause is before them."
            return _found_nothing(f"before {place}", {"input": apart}, tolerance, words)
        differences = distances(own.results, other.results)
        limit = max(tolerance, INPUT_TO_OUTPUT * apart)
        if max(differences.values()) > limit:
            return _explained(place, differences, own, other, limit)
    differences = {} if moved else distances(Results(a.y), Results(b.y))
    alone = a.is_one_layer() and b.is_one_layer()
    if max(differences.values(), default=0.0) <= tolerance * (1 if alone else LAYERS_BETWEEN):
        return _no_difference(place, distances(own.results, other.results), tolerance)
    words = (
        f"The batch normalizations of a ({len(a.seen)} calls) and b ({len(b.seen)} calls) agree: "
        "the cause is behind them."
    )
    return _found_nothing(f"behind {place}", differences, tolerance, words)


def _with_unknown(a: Run, b: Run, tolerance: float) -> Explanation:
    """Where one side, or both, show nothing but their results."""
    differences = distances(Results(a.y), Results(b.y))
    place = "the outputs of a and b"
    if differences["output"] <= tolerance:
        return _no_difference(place, differences, tolerance)
    if a.y.shape != b.y.shape:
        words = f"The outputs have {shapes(a.y, b.y)}, so nothing was tried."
        return _found_nothing(place, differences, tolerance, words)
    known = next((side for side in (a, b) if side.is_one_layer()), None)
    if known is None:
        words = "Neither a nor b shows a single batch normalization, so nothing was tried."
        return _found_nothing(place, differences, tolerance, words)
    (seen,) = known.seen
    own = seen._replace(results=Results(seen.results.y))
    unknown = Seen("", None, seen.x, Results((b if known is a else a).y))
    pair = (own, unknown) if known is a else (unknown, own)
    return _explained(place, differences, *pair, tolerance)


def _no_difference(place: str, differences: dict[str, float], tolerance: float) -> Explanation:
    words = f"There is no difference beyond rounding ({tolerance:.2g})."
    return _found_nothing(place, differences, tolerance, words)


def _found_nothing(
    place: str, differences: dict[str, float], tolerance: float, words: str
) -> Explanation:
    remaining = max(differences.values(), default=0.0)
    return Explanation(place, differences, (), remaining, tolerance, words)


def _explained(
    place: str, differences: dict[str, float], a: Seen, b: Seen, tolerance: float
) -> Explanation:
    """The causes of a difference between two calls."""
    readable = [each for each in (a, b) if each.setting is not None]
    if not readable:
        words = "Neither layer says what it computes, so nothing was tried."
        return _found_nothing(place, differences, tolerance, words)
    # a, unless it does not compute what its setting says, and b does
    changed = min(readable, key=lambda side: max(side.surprise(), tolerance))
    target = b if changed is a else a
    assert changed.setting is not None
    search = Search(changed.setting, target.setting, changed.x, target.results, tolerance)
    found = search.found()
    causes = tuple(_cause(each, found, search, changed is a) for each in found)
    before, remaining = max(differences.values()), search.distance(found)
    names = tuple(cause.name for cause in causes)
    words = sentence(names, before, remaining, tolerance)
    return Explanation(place, differences, causes, remaining, tolerance, words)


def _cause(each: Hypothesis, found: Found, search: Search, changed_a: bool) -> Cause:
    own = {field: getattr(search.own, field) for field in each.fields}
    a, b = (own, each.fields) if changed_a else (each.fields, own)
    others = [other for other in found if other is not each]
    return Cause(each.name, shown(a), shown(b), search.distance(others), search.distance(found))


def rounding(*arrays: Array) -> float:
    """The difference that rounding makes in the least precise of some arrays, x being the first."""
    x = arrays[0].astype(np.float64)
    spread = float(x.std())
    far = abs(float(x.mean())) / spread if spread > 0 and np.isfinite(spread) else 0.0
    return max(SMALLEST, *(_unit(each) for each in arrays)) * (1 + far)


def _unit(array: Array) -> float:
    if _check.is_half(array):
        return FEWER_ROUNDINGS * (2.0**-10 if array.dtype == np.float16 else 2.0**-7)
    return ROUNDINGS * float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
