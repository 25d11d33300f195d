"""The accuracy that `bn` promises of float32, float16 and bfloat16, all of it in this one place.

Such values are added in float32 for a few terms and then in float64. "Any" data may be chosen to do
harm: the roundings may all go the same way. "Random" data has many values that are drawn from a
continuous distribution, so that the roundings cancel. float64 is summed in float64.
"""

import ml_dtypes
import numpy as np
import reference

FLOATS = [np.float32, np.float16, ml_dtypes.bfloat16]
MANY = 1000  # values of a channel from which on random data has the tighter bounds
MEAN = {"any": 2e-7, "random": 2e-8}  # of the standard deviation
VAR = {"any": 5e-7, "random": 1e-7}  # of the variance
MERGED_MEAN, MERGED_VAR = 4e-7, 1e-6  # parts that are merged against the whole
SUMS = {"any": 5e-7, "random": 4e-7}  # of Σ|term|, and of √Σterm²
OUTPUT = 1e-6  # of |weight| + |y| + |bias|

FLOAT64_MEAN = 5e-15  # of |mean| + std
FLOAT64_VAR = 1e-12

DIGITS = {"float16": 11, "bfloat16": 8}  # bits of the significand
SMALLEST = {"float16": -24, "bfloat16": -133}  # exponent of the smallest subnormal number


def ulp_of_largest(x, axis=1):
    """The distance of float32 numbers at each channel's largest absolute value."""
    largest = np.abs(reference.columns(x, axis)).max(0)
    return np.spacing(largest.astype(np.float32)).astype(np.float64)


def below(errors, bounds, what):
    """Assert that no error is above its bound, and tell the worst one."""
    errors, bounds = np.broadcast_arrays(np.abs(errors), bounds)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(errors == 0, 0, errors / bounds)
    worst = np.argmax(ratio)  # NaN counts as the largest
    assert ratio.flat[worst] <= 1, (
        f"{what}: error {errors.flat[worst]:.3g} is {ratio.flat[worst]:.3g} times the bound, "
        f"at index {worst}; {np.sum(~(ratio <= 1))} of {ratio.size} are above it"
    )


def assert_moments(stats, x, axis=1, data="any"):
    """Assert that the mean and the variance are as near as promised."""
    count, mean, m2 = reference.moments(x, axis)
    std, var = np.sqrt(m2 / count), m2 / count
    assert stats.count.tolist() == [count] * x.shape[axis]
    if x.dtype == np.float64:
        below(stats.mean - mean, FLOAT64_MEAN * (np.abs(mean) + std), "mean")
        below(stats.m2 - m2, FLOAT64_VAR * m2, "m2")
        return
    assert data == "any" or count >= MANY
    below(stats.mean - mean, MEAN[data] * std + ulp_of_largest(x, axis), "mean")
    below(stats.var - var, VAR[data] * var, "var")


def assert_same_moments(found, expected, x, axis=1):
    """Assert that two results of the same values agree: of a batch, and of its merged parts."""
    count, _, m2 = reference.moments(x, axis)
    np.testing.assert_array_equal(found.count, expected.count)
    below(found.mean - expected.mean, MERGED_MEAN * np.sqrt(m2 / count), "mean")
    below(found.m2 - expected.m2, MERGED_VAR * m2, "m2")


def terms(dy, x, mean, axis=1):
    """Columns of g, and of g times the distance from the mean, as large as float32 may take it."""
    g, x = reference.columns(dy, axis), reference.columns(x, axis)
    lost = np.abs(mean - mean.astype(np.float32))
    return g, np.abs(g) * (np.abs(x - mean) + lost)


def assert_sums(sums, dy, x, mean, axis=1, data="any"):
    """Assert that Σg and Σg·(x - mean) are as near as promised, where no activation gates dy."""
    _, sum_g, sum_g_xm = reference.backward_sums(dy, x, mean, axis)
    g, g_xm = terms(dy, x, mean, axis)
    if x.dtype == np.float64:
        below(sums.dy - sum_g, FLOAT64_VAR * np.abs(g).sum(0), "sum of g")
        below(sums.dy_xmu - sum_g_xm, FLOAT64_VAR * g_xm.sum(0), "sum of g·xm")
        return
    size = (lambda t: np.abs(t).sum(0)) if data == "any" else (lambda t: np.sqrt((t * t).sum(0)))
    below(sums.dy - sum_g, SUMS[data] * size(g), "sum of g")
    # where both sums are exactly 0, products that float32 cannot hold are taken as 0
    lost = np.where((sums.dy == 0) & (sums.dy_xmu == 0), len(g) * 2.0**-149, 0)
    below(sums.dy_xmu - sum_g_xm, SUMS[data] * size(g_xm) + lost, "sum of g·xm")


def half_ulp(y, dtype):
    """What rounding y to a half changes at most; 0 for a dtype that is no half."""
    name = np.dtype(dtype).name
    if name not in DIGITS:
        return 0.0
    _, exponent = np.frexp(y)
    return np.ldexp(0.5, np.maximum(exponent - DIGITS[name], SMALLEST[name]))


def assert_output(y, x, weight, bias, eps=1e-5, axis=1):
    """Assert that the batch is normalized as exactly as promised."""
    expected = reference.forward(x, weight, bias, eps, axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    w, b = (np.abs(np.asarray(v, np.float64)).reshape(shape) for v in (weight, bias))
    bound = OUTPUT * (w + np.abs(expected) + b)
    bound = bound + half_ulp(np.abs(expected) + bound, x.dtype)
    assert y.dtype == x.dtype
    below(y.astype(np.float64) - expected, bound, "y")
