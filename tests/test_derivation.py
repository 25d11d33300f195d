"""docs/derivation.md runs, shows the oracle's source, and is what `bn` computes."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import reference
from gradcheck import central_differences

import bn

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "derivation.md").read_text()
CODE = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
LAYOUTS = [((40, 3), 1), ((6, 3, 5), 1), ((4, 5, 2, 3), -1)]
EPS = 0.1  # large enough to be seen where it is put in the wrong place


def functions(source):
    """(name, source without layout) of the functions, in their order."""
    return [
        (f.name, ast.unparse(f)) for f in ast.parse(source).body if isinstance(f, ast.FunctionDef)
    ]


class Page:
    """What the page's blocks define, run in one namespace."""

    def __init__(self):
        names = {}
        exec(CODE, names)
        vars(self).update(names)


page = Page()


def close(actual, expected, tol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tol, atol=tol)


def case(shape, axis, rng, dtype=np.float64, offset=2.0):
    """Random x, dy, weight and bias."""
    x, dy = ((rng.standard_normal(shape) + shift).astype(dtype) for shift in (offset, 0))
    weight, bias = rng.random(shape[axis]) + 0.5, rng.standard_normal(shape[axis])
    return x, dy, weight, bias


def some_weights(shape, axis, rng):
    """A mask times sample weights."""
    places = [n if i != axis % len(shape) else 1 for i, n in enumerate(shape)]
    samples = rng.random((shape[0],) + (1,) * (len(shape) - 1)) + 0.1
    return (rng.random(places) < 0.7) * samples


def is_gradient_of(gradients, f, arrays, dy):
    """The gradients of Σ f()·dy beside central differences."""
    for array, gradient in zip(arrays, gradients, strict=True):
        expected = central_differences(lambda: float(np.sum(f() * dy)), array)
        np.testing.assert_allclose(np.ravel(gradient), expected, rtol=1e-6, atol=1e-7)


# ---- the page ----


def test_the_page_shows_the_source_of_the_oracle():
    oracle = Path(reference.__file__).read_text()
    assert functions(CODE) == functions(oracle)


def test_what_the_page_names_is_in_the_code():
    folders = {"bncore": ("*.c", "*.h", "*.pyx"), "python": ("*.py",), "tests": ("*.py",)}
    files = [
        f for folder, kinds in folders.items() for k in kinds for f in (ROOT / folder).rglob(k)
    ]
    code = "\n".join(f.read_text() for f in files)
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    for term in set(re.findall(r"`([^`]+)`", prose)):
        if term.endswith((".h", ".py")):
            assert any(f.as_posix().endswith("/" + term) for f in files), term
        elif re.fullmatch(r"[A-Za-z_]\w*", term):
            assert re.search(rf"\b{term}\b", code), term
    for name in set(re.findall(r"\bbn\.([a-z]\w*)", prose)):
        assert hasattr(bn, name), name


def test_the_links_within_the_page_lead_to_its_headings():
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
    assert re.findall(r"\]\(#(.*?)\)", PAGE) == anchors


# ---- statistics ----


@pytest.mark.parametrize("offset", [0, 3, 1e4, 1e8])
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_moments_are_those_of_bn(shape, axis, offset, rng):
    x, *_ = case(shape, axis, rng, offset=offset)
    batch = bn.stats(x, axis)
    for count, mean, m2 in (page.moments(x, axis), page.shifted_moments(x, axis)):
        np.testing.assert_array_equal(batch.count, count)
        np.testing.assert_allclose(batch.mean, mean, rtol=1e-15, atol=1e-13)
        np.testing.assert_allclose(batch.m2, m2, rtol=1e-12)


def test_a_shift_saves_the_digits_that_cancellation_costs(rng):
    x = rng.standard_normal((10000, 1)) + 1e6
    naive = (x * x).sum(0) - x.sum(0) ** 2 / len(x)
    _, _, m2 = page.moments(x)
    _, _, shifted = page.shifted_moments(x)
    assert abs(naive / m2 - 1) > 1e-6
    assert abs(shifted / m2 - 1) < 1e-13


def test_the_guess_is_the_mean_of_values_that_are_spread_over_the_channel():
    x = np.arange(1000.0)[:, None]
    for samples, places in [
        (4, [309, 927, 545, 163]),
        (8, [309, 927, 545, 163, 781, 399, 17, 635]),
    ]:
        assert page.guess_shift(x, samples) == np.mean(places)
    in_step = np.where(np.arange(4096) % 64, 0.0, 1.0)[:, None]  # a place in 64 differs
    assert page.guess_shift(in_step, 16) < 0.2


def test_a_poor_guess_is_found_out_and_summed_again(rng):
    x = 1e6 + rng.standard_normal((100000, 1))
    x[30901] = 1.6e6  # the first sample
    shift = page.guess_shift(x)
    assert shift > 1.07e6
    _, mean, m2 = page.moments(x)
    assert ((x - shift) ** 2).sum() > 3 * m2
    for found in (page.shifted_moments(x)[1:], (bn.stats(x).mean, bn.stats(x).m2)):
        np.testing.assert_allclose(found, (mean, m2), rtol=1e-13)


# ---- normalization ----


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_forward_is_that_of_bn(shape, axis, rng):
    x, _, weight, bias = case(shape, axis, rng)
    y, batch = bn.normalize_batch(x, weight, bias, EPS, axis=axis)
    close(y, page.forward(x, weight, bias, EPS, axis))
    given = batch.mean + 0.3, batch.var * 2
    close(
        bn.normalize(x, *given, weight, bias, EPS, axis=axis),
        page.forward(x, weight, bias, EPS, axis, *given),
    )


def test_a_constant_channel_without_eps_becomes_the_bias():
    x = np.full((5, 1), 0.1)
    bias = np.array([3.0])
    assert (page.forward(x, np.ones(1), bias, eps=0) == bias).all()
    assert (bn.normalize_batch(x, None, bias, eps=0.0)[0] == bias).all()


@pytest.mark.parametrize("offset", [0, 3, 1e4, 1e6])
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_float32_has_the_kernels_bits(shape, axis, offset, rng, isa):
    x, dy, weight, bias = case(shape, axis, rng, np.float32, offset)
    batch = bn.stats(x, axis)
    y = bn.normalize(x, batch.mean, batch.var, weight, bias, EPS, axis=axis)
    ours = page.normalize_float32(x, batch.mean, batch.var, weight, bias, EPS, axis)
    np.testing.assert_array_equal(y, ours)
    np.testing.assert_allclose(y, page.forward(x, weight, bias, EPS, axis), rtol=1e-6, atol=1e-6)

    sums = bn.backward_reduce(dy, x, batch.mean, axis=axis)
    dx = bn.backward_apply(dy, x, batch.mean, batch.var, weight, EPS, sums, axis=axis)
    of_sums = sums.count, sums.dy, sums.dy_xmu
    ours = page.gradient_float32(dy, x, batch.mean, batch.var, weight, of_sums, EPS, axis)
    np.testing.assert_array_equal(dx, ours)


# ---- running statistics ----


@pytest.mark.parametrize("unbiased", [True, False])
def test_commit_is_that_of_bn(unbiased, rng):
    x = rng.standard_normal((9, 3)) + 1
    mean, var = rng.standard_normal(3), rng.random(3)
    expected = page.commit(page.moments(x), mean, var, 0.2, unbiased)
    bn.commit(bn.stats(x), mean, var, 0.2, unbiased=unbiased)
    close((mean, var), expected, 1e-14)


def test_the_unbiased_variance_is_that_of_bn():
    count, m2 = np.array([0.5, 1.0, 1.5, 2.0, 9.0]), np.ones(5)
    close(bn.Stats(count, m2, m2).unbiased_var, page.unbiased_var(count, m2), 1e-15)


@pytest.mark.parametrize(("framework", "of_new"), [("torch", True), ("keras", False)])
@pytest.mark.parametrize("start", ["plain", "debiased", "first", "cumulative"])
def test_the_first_batches_count_as_in_a_layer(framework, of_new, start, rng):
    momentum = 0.3 if of_new else 0.7
    layer = bn.preset(framework, 2, momentum=momentum, axis=1, start=start, dtype="f8")
    mean, var = np.zeros(2), np.ones(2)
    for n in range(1, 6):
        x = rng.standard_normal((20, 2)) + n
        layer(x)
        share = page.share_at(start, 0.3, n)
        mean, var = page.commit(page.moments(x), mean, var, share, unbiased=of_new)
        close((layer.running_mean, layer.running_var), (mean, var), 1e-14)


def test_debiased_is_the_sum_over_the_batches_without_the_guess(rng):
    values, running = rng.standard_normal(7), 100.0
    for n, value in enumerate(values, 1):
        share = page.share_at("debiased", 0.2, n)
        running = (1 - share) * running + share * value
    terms = 0.2 * 0.8 ** np.arange(7)[::-1]
    close(running, np.sum(terms * values) / (1 - 0.8**7))


# ---- backward ----


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_backward_is_that_of_bn_and_the_gradient(shape, axis, rng):
    x, dy, weight, bias = case(shape, axis, rng)
    expected = dx, dweight, dbias = page.backward(dy, x, weight, EPS, axis)
    found, sums = bn.backward_batch(dy, x, bn.stats(x, axis), weight, EPS, axis=axis)
    close(found, dx)
    close(sums.dweight(bn.stats(x, axis).var, EPS), dweight)
    close(sums.dbias, dbias)
    is_gradient_of(
        expected, lambda: page.forward(x, weight, bias, EPS, axis), (x, weight, bias), dy
    )


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_the_gradient_in_eval_mode(shape, axis, rng):
    x, dy, weight, bias = case(shape, axis, rng)
    mean, var = rng.standard_normal(3), rng.random(3) + 0.5
    expected = dx, dweight, dbias = page.backward(dy, x, weight, EPS, axis, mean, var)
    close(bn.backward_apply(dy, x, mean, var, weight, EPS, axis=axis), dx)
    sums = bn.backward_reduce(dy, x, mean, axis=axis)
    close((sums.dweight(var, EPS), sums.dbias), (dweight, dbias))
    is_gradient_of(
        expected,
        lambda: page.forward(x, weight, bias, EPS, axis, mean, var),
        (x, weight, bias),
        dy,
    )


def test_without_eps_the_gradient_has_no_part_along_shifts_and_scalings(rng):
    x, dy, weight, _ = case((40, 3), 1, rng)
    dx, _, _ = page.backward(dy, x, weight, 0.0)
    close(dx.sum(0), 0)
    close((dx * (x - x.mean(0))).sum(0), 0)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("with_residual", [False, True])
def test_the_gradient_through_activation_and_residual(slope, with_residual, rng):
    x, dy, weight, bias = case((6, 3, 5), 1, rng)
    residual = rng.standard_normal(x.shape) if with_residual else np.zeros(x.shape)
    options = {"activation": "leaky_relu", "negative_slope": slope} if slope else {}
    options = options or {"activation": "relu"}

    def forward():
        return page.activate(page.forward(x, weight, bias, EPS) + residual, slope)

    y, batch = bn.normalize_batch(x, weight, bias, EPS, residual=residual, **options)
    close(y, forward())
    g = page.gate(dy, y, slope)
    expected = page.backward(g, x, weight, EPS)
    dresidual = np.empty_like(x)
    dx, sums = bn.backward_batch(
        dy, x, batch, weight, EPS, bias=bias, y=y if with_residual else None,
        dresidual=dresidual, **options,
    )  # fmt: skip
    for found, wanted in zip(
        (dx, sums.dweight(batch.var, EPS), sums.dbias, dresidual), (*expected, g), strict=True
    ):
        close(found, wanted)
    is_gradient_of((*expected, g), forward, (x, weight, bias, residual), dy)


# ---- parts of a batch ----


def test_parts_merge_to_the_whole(rng):
    x, dy, *_ = case((30, 3), 1, rng)
    parts = [(x[a:b], dy[a:b]) for a, b in ((0, 7), (7, 8), (8, 30))]
    a, b, c = (page.moments(part) for part, _ in parts)
    merged = page.merge(page.merge(a, b), c)
    close(np.array(merged[1:]), np.array(page.moments(x)[1:]))
    ours = bn.merge([bn.stats(part) for part, _ in parts])
    np.testing.assert_array_equal(ours.count, merged[0])
    close((ours.mean, ours.m2), merged[1:], 1e-14)

    mean = merged[1]
    a, b, c = (page.backward_sums(part_dy, part, mean) for part, part_dy in parts)
    sums = page.merge_sums(page.merge_sums(a, b), c)
    close(np.array(sums[1:]), np.array(page.backward_sums(dy, x, mean)[1:]))
    ours = bn.merge([bn.backward_reduce(part_dy, part, mean) for part, part_dy in parts])
    close((ours.dy, ours.dy_xmu), sums[1:], 1e-13)


# ---- masks and weights ----


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_weighted_statistics_and_gradients(shape, axis, rng):
    x, dy, weight, bias = case(shape, axis, rng)
    w = some_weights(shape, axis, rng)
    count, mean, m2 = page.weighted_moments(x, w, axis)
    with_nan = np.where(w > 0, x, np.nan)
    close(np.array(page.weighted_moments(with_nan, w, axis)), np.array((count, mean, m2)), 0)
    batch = bn.stats(x, axis, weights=w)
    close((batch.count, batch.mean, batch.m2), (count, mean, m2))

    expected = dx, dweight, dbias = page.weighted_backward(dy, x, weight, w, EPS, axis)
    sums = bn.backward_reduce(dy, x, mean, axis=axis)
    close((sums.dweight(batch.var, EPS), sums.dbias), (dweight, dbias))
    sums = bn.BackwardSums(batch.count, sums.dy, sums.dy_xmu)
    found = bn.backward_apply(dy, x, mean, batch.var, weight, EPS, sums, axis=axis, weights=w)
    close(found, dx)

    def forward():
        count, mean, m2 = page.weighted_moments(x, w, axis)
        return page.forward(x, weight, bias, EPS, axis, mean, m2 / count)

    is_gradient_of(expected, forward, (x, weight, bias), dy)


def test_statistics_of_the_same_weight_everywhere_are_the_plain_ones(rng):
    x, dy, weight, _ = case((6, 3, 5), 1, rng)
    w = np.ones((6, 1, 1))
    close(np.array(page.weighted_moments(x, w)[1:]), np.array(page.moments(x)[1:]))
    for found, wanted in zip(
        page.weighted_backward(dy, x, weight, w, EPS),
        page.backward(dy, x, weight, EPS),
        strict=True,
    ):
        close(found, wanted)


# ---- corrections ----


@pytest.mark.parametrize("clipping", [{}, {"rmin": 0.8, "rmax": 1.2, "dmax": 0.1}])
def test_batch_renormalization(clipping, rng):
    x, dy, weight, bias = case((40, 3), 1, rng)
    layer = bn.BatchNormalization(
        axis=1, epsilon=EPS, renorm=True, renorm_clipping=clipping, dtype="f8"
    )
    layer.build((3,))
    layer.gamma.data[...], layer.beta.data[...] = weight, bias
    layer.renorm_mean[...], layer.renorm_stddev[...] = [1.9, 2.0, 2.5], [0.5, 1.0, 2.0]
    count, mean, m2 = page.moments(x)
    var = m2 / count
    running = layer.renorm_mean.copy(), layer.renorm_stddev.copy()
    correction = page.renorm_correction(mean, var, *running, EPS, **clipping)
    close(layer(x), page.corrected_forward(x, weight, bias, mean, var, correction, EPS))
    expected = page.corrected_backward(dy, x, weight, mean, var, correction, EPS)
    for found, wanted in zip(
        (layer.backward(dy), layer.gamma.grad, layer.beta.grad), expected, strict=True
    ):
        close(found, wanted)

    def with_the_correction_held_fixed():
        count, mean, m2 = page.moments(x)
        return page.corrected_forward(x, weight, bias, mean, m2 / count, correction, EPS)

    is_gradient_of(expected, with_the_correction_held_fixed, (x, weight, bias), dy)
    if not clipping:
        close(
            page.corrected_forward(x, np.ones(3), np.zeros(3), mean, var, correction, EPS),
            (x - running[0]) / running[1],
        )


def test_darknet(rng):
    x, dy, weight, bias = case((12, 3), 1, rng)
    layer = bn.preset("darknet", 3, eps=EPS, dtype="f8")
    layer.weight.data[...], layer.bias.data[...] = weight, bias

    def forward():
        count, mean, m2 = page.moments(x)
        correction = page.darknet_correction(count, m2, EPS)
        return page.corrected_forward(x, weight, bias, mean, m2 / count, correction, 0.0)

    count, mean, m2 = page.moments(x)
    close(forward(), (x - x.mean(0)) / (x.std(0, ddof=1) + EPS) * weight + bias)
    correction = page.darknet_correction(count, m2, EPS)
    expected = page.corrected_backward(dy, x, weight, mean, m2 / count, correction, 0.0)
    close(layer(x), forward())
    for found, wanted in zip(
        (layer.backward(dy), layer.weight.grad, layer.bias.grad), expected, strict=True
    ):
        close(found, wanted)
    is_gradient_of(expected, forward, (x, weight, bias), dy)


# ---- second order ----


def test_ddy_is_the_backward_pass_of_ddx(rng):
    x, dy, weight, _ = case((20, 3), 1, rng)
    ddx = rng.standard_normal(x.shape)
    batch = bn.stats(x)
    ddy, _, _ = bn.batch_norm_double_backward(
        ddx, None, None, dy, x, batch.mean, batch.var, weight, EPS
    )
    close(ddy, page.backward(ddx, x, weight, EPS)[0])
