"""Sums in float32 runs are as accurate as promised, for data that is chosen to do harm too.

tests/accuracy.py has the bounds.
"""

import ml_dtypes
import numpy as np
import pytest
import reference
from accuracy import (
    FLOATS,
    MANY,
    MEAN,
    VAR,
    assert_moments,
    assert_output,
    assert_same_moments,
    assert_sums,
    below,
)

import bn

BFLOAT16 = ml_dtypes.bfloat16

# ---- data: n values of each of some channels ----


def two_values(share, in_order=False):
    """Two values, the same two in no two channels; `share` of all values are the first one."""

    def columns(rng, n, channels):
        first, second = rng.standard_normal((2, channels))
        where = np.arange(n)[:, None] if in_order else rng.integers(0, n, (n, channels))
        return np.where(where < share * n, first, second)

    return columns


def outlier_first(rng, n, channels):
    x = 0.01 * rng.standard_normal((n, channels))
    x[0] = 1e4
    return x


def one_huge_among_small(rng, n, channels):
    x = 1e-3 * rng.standard_normal((n, channels))
    x[n // 3] = -1e4
    return x


def alternating(rng, n, channels):
    return rng.standard_normal(channels) * np.where(np.arange(n) % 2, 1, -1)[:, None]


def eight_equal_then_another(rng, n, channels):
    values = rng.standard_normal((-(-n // 8), channels)).repeat(8, axis=0)[:n]
    values[::9] *= -3
    return values


def ascending(rng, n, channels):
    return np.sort(rng.standard_normal((n, channels)), axis=0)


def half_constant(rng, n, channels):
    x = rng.standard_normal((n, channels))
    x[: n // 2] = rng.standard_normal(channels)
    return x


def half_zero(rng, n, channels):
    return np.maximum(rng.standard_normal((n, channels)), 0)


def of_many_sizes(rng, n, channels):
    return rng.standard_normal((n, channels)) * 10 ** rng.uniform(-4, 4, (n, channels))


def small_integers(rng, n, channels):
    return rng.integers(0, 256, (n, channels)) / 255


def far_from_zero(ratio):
    return lambda rng, n, channels: rng.standard_normal((n, channels)) * 0.01 + ratio * 0.01


def normal_times(size):
    return lambda rng, n, channels: rng.standard_normal((n, channels)) * size


def plus_and_minus(size):
    return lambda rng, n, channels: (
        size * np.where(np.arange(n) % 2, 1.0, -1.0)[:, None] * np.ones(channels)
    )


ORDINARY = {
    "two values, half of each": two_values(0.5),
    "two values, 75/25": two_values(0.75),
    "two values, 90/10": two_values(0.9),
    "two values, 98/2": two_values(0.98),
    "two values, one after the other": two_values(0.5, in_order=True),
    "two values, 90/10, one after the other": two_values(0.9, in_order=True),
    "an outlier first": outlier_first,
    "one huge among small": one_huge_among_small,
    "alternating": alternating,
    "eight equal, then another": eight_equal_then_another,
    "ascending": ascending,
    "half constant": half_constant,
    "half zero": half_zero,
    "of many sizes": of_many_sizes,
    "small integers": small_integers,
    "mean of 30 std": far_from_zero(30),
    "mean of 1e3 std": far_from_zero(-1e3),
    "mean of 1e6 std": far_from_zero(1e6),
    "normal": normal_times(1),
}
EXTREME = {  # sizes that float16 has not
    "1e30": normal_times(1e30),
    "1e-25": normal_times(1e-25),
    "1e-20, whose squares are denormal": normal_times(1e-20),
    "plus and minus 1e-25": plus_and_minus(1e-25),
    "subnormal": normal_times(1e-39),
}
LARGEST = {"plus and minus 3e38": plus_and_minus(3e38), "up to 3e38": normal_times(5e37)}
RANDOM = {
    "normal": normal_times(1),
    "mean of 3 std": lambda rng, n, channels: rng.standard_normal((n, channels)) + 3,
    "mean of 1e3 std": lambda rng, n, channels: rng.standard_normal((n, channels)) + 1e3,
    "uniform": lambda rng, n, channels: rng.random((n, channels)),
    "exponential": lambda rng, n, channels: rng.exponential(2, (n, channels)),
}
CASES = [(ORDINARY[name], name, dtype) for name in ORDINARY for dtype in FLOATS]
CASES += [
    (values, name, dtype)
    for name, values in (EXTREME | LARGEST).items()
    for dtype in (np.float32, BFLOAT16)
]
CASES = [
    pytest.param(values, dtype, id=f"{name}-{np.dtype(dtype).name}")
    for values, name, dtype in CASES
]
SIZES = [(2048, 3), (256, 150)]

# ---- shapes: the columns as tensors, and the axis of the channels ----


def channels_last(columns):
    return columns, 1


def channels_first(columns):
    return np.ascontiguousarray(columns.T), 0


def images(columns):
    """Eight images, or fewer."""
    return few_values_a_row(columns, len(columns) // 8 or 1)


def few_values_a_row(columns, inner=4):
    n, channels = columns.shape
    if n % inner:
        inner = 1
    x = columns.reshape(n // inner, inner, channels).transpose(0, 2, 1)
    return np.ascontiguousarray(x), 1


SHAPES = [channels_last, channels_first, images, few_values_a_row]


def tensors(values, dtype, rng, sizes=SIZES):
    """The data in each of the sizes and shapes."""
    for n, channels in sizes:
        with np.errstate(over="raise"):
            columns = values(rng, n, channels).astype(dtype)
        for shape in SHAPES:
            yield shape(columns)


# ---- statistics ----


@pytest.mark.parametrize(("values", "dtype"), CASES)
def test_any_data_has_the_promised_moments(values, dtype, rng, isa):
    for x, axis in tensors(values, dtype, rng):
        assert_moments(bn.stats(x, axis), x, axis)


@pytest.mark.parametrize("share", [0.02, 0.25])
def test_two_values_have_the_promised_moments_where_the_guess_is_poor(share, rng, isa):
    """The rare value is among the few from which the mean is guessed, or is all of them."""
    n, samples = (
        1024,
        [316, 949, 558, 167],
    )  # places of the samples, channels first
    rare = np.zeros(n, bool)
    rare[samples[:1] if share < 0.1 else samples] = True
    rare[: round(share * n) - rare.sum()] = True
    first, second = rng.standard_normal((2, 2000)).astype(np.float32)
    columns = np.where(rare[:, None], first, second)
    for shape in SHAPES:
        x, axis = shape(columns)
        assert_moments(bn.stats(x, axis), x, axis)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", RANDOM)
def test_random_data_has_moments_as_good_as_those_of_double_sums(name, dtype, rng, isa):
    """Halves take so few values that their roundings do not cancel."""
    data = "random" if dtype == np.float32 else "any"
    for x, axis in tensors(RANDOM[name], dtype, rng, [(MANY, 60), (4096, 3), (40000, 1)]):
        assert_moments(bn.stats(x, axis), x, axis, data)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "values", [normal_times(1), two_values(0.75), eight_equal_then_another, far_from_zero(1e6)]
)
def test_any_number_of_values_has_the_promised_moments(values, dtype, rng):
    sizes = [(n, channels) for n in range(1, 71) for channels in (1, 5)]
    for x, axis in tensors(values, dtype, rng, sizes):
        assert_moments(bn.stats(x, axis), x, axis)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_constant_channel_is_exactly_the_bias(dtype, rng, isa):
    constants = rng.standard_normal(70).astype(dtype).astype(np.float64)
    constants[:4] = 0, 1e4, -65504, 6e-8
    for x, axis in tensors(lambda rng, n, channels: constants[:channels] * np.ones((n, 1)), dtype,
                           rng, [(1, 70), (9, 70), (333, 7), (20000, 4)]):  # fmt: skip
        bias = rng.standard_normal(x.shape[axis]).astype(dtype).astype(np.float32)
        for eps in (1e-5, 0.0):
            y, s = bn.normalize_batch(x, None, bias, eps, axis=axis)
            assert not s.m2.any()
            assert (np.moveaxis(y, axis, -1) == bias.astype(dtype)).all()


def true_moments(x, axis):
    count, mean, m2 = reference.moments(x, axis)
    return np.full(len(mean), float(count)), mean, m2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ORDINARY)
def test_parts_that_are_merged_agree_with_the_whole(name, dtype, rng):
    columns = ORDINARY[name](rng, 700, 20).astype(dtype)
    for sizes in ([1, 699], [8, 9, 683], [350, 350]):
        parts = np.split(columns, np.cumsum(sizes)[:-1])
        for shape in (channels_last, channels_first):
            x, axis = shape(columns)
            merged = bn.merge([bn.stats(*shape(part)) for part in parts])
            assert_same_moments(merged, bn.stats(x, axis), x, axis)
            assert_same_moments(merged, bn.Stats(*true_moments(x, axis)), x, axis)


# ---- the normalized batch ----

# x - mean of the largest values, and 1 / std of subnormal ones, are beyond float32
OUTPUTS = [case for case in CASES if "3e38" not in case.id and "subnormal-" not in case.id]


@pytest.mark.parametrize(("values", "dtype"), OUTPUTS)
def test_any_batch_is_normalized_as_exactly_as_promised(values, dtype, rng, isa):
    for x, axis in tensors(values, dtype, rng, [(512, 5)]):
        weight, bias = np.linspace(-2, 2, 5), np.linspace(0, 1, 5)
        for eps in (1e-5, 0.0):
            with np.errstate(all="ignore"):
                y, _ = bn.normalize_batch(x, weight, bias, eps, axis=axis)
            assert_output(y, x, weight, bias, eps, axis)


# ---- the sums of the backward pass ----


@pytest.mark.parametrize(("values", "dtype"), CASES)
def test_any_data_has_the_promised_backward_sums(values, dtype, rng, isa):
    for x, axis in tensors(values, dtype, rng):
        mean = bn.stats(x, axis).mean
        for dy in (x, np.roll(x, 7), np.full_like(x, 0.1)):
            sums = bn.backward_reduce(dy, x, mean, axis=axis)
            assert_sums(sums, dy, x, mean, axis)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", RANDOM)
def test_random_gradients_have_sums_whose_roundings_cancel(name, dtype, rng, isa):
    for x, axis in tensors(RANDOM[name], dtype, rng, [(MANY, 60), (4096, 3), (40000, 1)]):
        dy = rng.standard_normal(x.shape).astype(dtype)
        mean = bn.stats(x, axis).mean
        assert_sums(bn.backward_reduce(dy, x, mean, axis=axis), dy, x, mean, axis, "random")


@pytest.mark.parametrize("size", [1e-25, 1, 1e30])
@pytest.mark.parametrize("size_dy", [1e-25, 1, 1e7])
def test_the_gradient_of_huge_and_of_tiny_values_is_right(size, size_dy, rng, isa):
    for x, axis in tensors(normal_times(size), np.float32, rng, [(300, 5)]):
        dy = (rng.standard_normal(x.shape) * size_dy).astype(np.float32)
        weight = np.linspace(0.5, 1, 5)
        _, s = bn.normalize_batch(x, weight, eps=0.0, axis=axis)
        dx, sums = bn.backward_batch(dy, x, s, weight, eps=0.0, axis=axis)
        expected, dweight, dbias = reference.backward(dy, x, weight, 0.0, axis)
        smallest = np.finfo(np.float32).smallest_subnormal
        below(dx - expected, 1e-6 * np.abs(expected).max() + smallest, "dx")
        below(sums.dweight(s.var, eps=0.0) - dweight, 1e-5 * size_dy, "dweight")
        below(sums.dbias - dbias, 1e-5 * size_dy, "dbias")


# ---- neighbours ----


@pytest.mark.parametrize(("shape", "axis"), [((40, 8), 1), ((700, 300), 1), ((6, 8, 90), 1)])
def test_a_channel_does_not_depend_on_what_its_neighbours_need(shape, axis, rng, isa):
    """Some channels are summed again in float64, or about their mean, and some are never finite."""
    usual = rng.standard_normal(shape).astype(np.float32)
    x, clean = usual.copy(), np.arange(shape[axis]) % 7 == 0
    x[:, 1::7] *= 1e30
    x[:, 2::7] *= 1e-25
    x[0, 3::7] = 1e6
    x[:, 4::7] = 0.1
    x[1, 5::7] = np.nan
    x[2, 6::7] = np.inf
    with np.errstate(all="ignore"):
        (y, s), (expected, expected_s) = (bn.normalize_batch(a, axis=axis) for a in (x, usual))
        dx, sums = bn.backward_batch(usual, x, s, axis=axis)
        expected_dx, expected_sums = bn.backward_batch(usual, usual, expected_s, axis=axis)
    for one, other in [(y, expected), (dx, expected_dx)]:
        np.testing.assert_array_equal(one[:, clean], other[:, clean])
    for one, other in [
        (s.mean, expected_s.mean),
        (s.m2, expected_s.m2),
        (sums.dy, expected_sums.dy),
        (sums.dy_xmu, expected_sums.dy_xmu),
    ]:
        np.testing.assert_array_equal(one[clean], other[clean])
    for first in range(5):
        own = np.ascontiguousarray(x[:, first::7])
        found = bn.Stats(*(a[first::7] for a in (s.count, s.mean, s.m2)))
        assert_moments(found, own, axis)


# ---- many values ----


def large(kind, n, rng):
    if kind == "two values":
        return np.where(rng.random(n, dtype=np.float32) < 0.9, np.float32(0.1), np.float32(0.7))
    x = rng.standard_normal(n, dtype=np.float32)
    return x + np.float32(1e6) if kind == "mean of 1e6 std" else x


def moments_of_one_channel(x):
    """(mean, var) without a copy of x in float64."""
    parts = np.array_split(x, 100)
    guess = float(x[0])
    mean = guess + sum((p.astype(np.float64) - guess).sum() for p in parts) / x.size
    return mean, sum(((p.astype(np.float64) - mean) ** 2).sum() for p in parts) / x.size


@pytest.mark.slow
@pytest.mark.parametrize("n", [10**7, 10**8])
@pytest.mark.parametrize("kind", ["normal", "two values", "mean of 1e6 std"])
def test_a_hundred_million_values_have_the_promised_moments(kind, n, rng):
    x = large(kind, n, rng)
    mean, var = moments_of_one_channel(x)
    ulp = np.spacing(np.abs(x).max()).astype(np.float64)
    data = "random" if kind == "normal" else "any"
    for shaped, axis in [(x[None], 0), (x[:, None], 1), (x.reshape(-1, 1, 1000), 1)]:
        s = bn.stats(shaped, axis)
        below(s.mean - mean, MEAN[data] * np.sqrt(var) + ulp, "mean")
        below(s.var - var, VAR[data] * var, "var")
    pairs = x.reshape(-1, 2)  # two channels, channels-last
    s = bn.stats(pairs)
    for c in range(2):
        mean, var = moments_of_one_channel(pairs[:, c])
        below(s.mean[c] - mean, MEAN[data] * np.sqrt(var) + ulp, "mean")
        below(s.var[c] - var, VAR[data] * var, "var")
