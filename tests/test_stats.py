"""These tests are of `bn.stats`, `bn.merge` and `bn.commit`."""

import tracemalloc

import numpy as np
import pytest
import reference
from accuracy import assert_moments, assert_same_moments
from arrays import split
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import MEMORY, SHAPES, same_order

import bn
import bncore

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_stats_equal_the_float64_reference(shape, axis, dtype, rng, isa):
    x = (3 * rng.standard_normal(shape) + 2).astype(dtype)
    s = bn.stats(x, axis)
    assert_moments(s, x, axis)
    np.testing.assert_array_equal(s.var, s.m2 / s.count)
    assert s.mean.dtype == s.m2.dtype == s.count.dtype == s.var.dtype == np.float64


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 8), (3, 4, 5, 6), (2, 32, 3, 3)])
def test_stats_do_not_depend_on_how_the_array_lies_in_memory(shape, memory, rng):
    """The order of the axes may change the last digits; gaps, signs and alignment change no bit."""
    x = rng.standard_normal(shape).astype(np.float32)
    other = memory(x)
    found, expected = bn.stats(other), bn.stats(same_order(other))
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.m2, expected.m2)
    assert_moments(found, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97])
def test_stats_of_lengths_around_powers_of_two_equal_the_reference(length, dtype, rng, isa):
    for shape, axis in [
        ((2, 3, length), 1),
        ((2, length), 1),
        ((length, 3), 1),
        ((length, 2, 3), 2),
    ]:
        x = rng.standard_normal(shape).astype(dtype)
        assert_moments(bn.stats(x, axis), x, axis)


@pytest.mark.parametrize("ratio", [0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize(("shape", "axis"), [((16, 4, 30, 30), 1), ((16, 30, 30, 4), 3)])
def test_a_mean_far_from_zero_costs_no_digits_of_the_variance(shape, axis, ratio, rng, isa):
    x = (rng.standard_normal(shape) + ratio).astype(np.float32)
    s = bn.stats(x, axis)
    assert_moments(s, x, axis, "random")
    x = rng.standard_normal(shape) + ratio
    _, mean, m2 = reference.moments(x, axis)
    s = bn.stats(x, axis)
    np.testing.assert_allclose(s.mean, mean, rtol=1e-15, atol=1e-14)
    np.testing.assert_allclose(s.m2, m2, rtol=1e-11)


def test_one_far_value_at_the_start_costs_no_digits_of_the_variance(rng):
    x = (rng.standard_normal((4, 2, 100, 100)) + 1000).astype(np.float32)
    x[0, :, 0, :50] = 0
    x[0, 1, 0, 0] = 1e9
    assert_moments(bn.stats(x), x)
    assert_moments(bn.stats(x.astype(np.float64)), x.astype(np.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, -1e30, 1e-30, 3e7, 16777217.0, 1e200])
@pytest.mark.parametrize(("shape", "axis"), [((9, 3, 11, 200), 1), ((9, 11, 200, 3), 3)])
def test_a_constant_channel_has_its_value_as_mean_and_no_variance(shape, axis, value, dtype, isa):
    if abs(value) > float(np.finfo(dtype).max):
        pytest.skip("beyond this dtype")
    x = np.full(shape, value, dtype)
    empty = bn.Stats(*np.zeros((3, shape[axis])))
    for s in (bn.stats(x, axis), bn.merge([empty, bn.stats(x, axis)])):
        assert (s.mean == x.flat[0]).all()
        assert (s.m2 == 0).all()


def test_the_statistics_of_huge_values_stay_finite(rng, isa):
    x = (rng.standard_normal((4, 3, 50)) * 1e30).astype(np.float32)
    _, mean, m2 = reference.moments(x)
    s = bn.stats(x)
    np.testing.assert_allclose(s.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(s.m2, m2, rtol=1e-12)


def test_nan_and_infinity_stay_in_the_statistics_of_their_channel(rng):
    x = rng.standard_normal((4, 3, 50)).astype(np.float32)
    x[0, 0, 0], x[1, 2, 3] = np.nan, np.inf
    s = bn.stats(x)
    assert np.isnan(s.m2[[0, 2]]).all()
    np.testing.assert_allclose(s.m2[1], reference.moments(x[:, 1:2])[2][0])


def test_an_empty_batch_has_count_zero():
    s = bn.stats(np.empty((0, 3, 4), np.float32))
    assert s.count.tolist() == s.mean.tolist() == s.m2.tolist() == s.var.tolist() == [0, 0, 0]


def test_more_than_two_to_the_31_values_of_a_channel_are_counted():
    row = np.array([1.0, 2.0, 5.0] * 1024, np.float32)
    x = np.broadcast_to(row, (2**31 // row.size + 2, row.size))
    assert x.size > 2**31
    s = bn.stats(x)
    assert s.count[0] == x.shape[0]
    np.testing.assert_array_equal(s.mean, row)
    assert not s.m2.any()
    planar = np.broadcast_to(row.reshape(3, 1024), (2**31 // row.size + 2, 3, 1024))
    assert bn.stats(planar).count[0] == planar.size / 3 > 2**31 / 3


def test_a_batch_that_repeats_one_sample_in_memory_gives_the_same_bits(rng):
    sample = rng.standard_normal((1, 3, 50)).astype(np.float32)
    repeated = np.broadcast_to(sample, (40, 3, 50))
    found, expected = bn.stats(repeated), bn.stats(repeated.copy())
    np.testing.assert_array_equal(found.m2, expected.m2)
    np.testing.assert_array_equal(found.mean, expected.mean)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    channels=st.integers(1, 40),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    seed=st.integers(0, 2**16),
)
def test_merging_any_split_equals_the_whole(sizes, channels, offset, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((sum(sizes), channels, 3)) + offset).astype(np.float32)
    parts = split(x, *sizes)
    whole, merged = bn.stats(x), bn.merge([bn.stats(p) for p in parts])
    if len(x):
        assert_same_moments(merged, whole, x)
    x = x.astype(np.float64)
    whole, merged = bn.stats(x), bn.merge([bn.stats(p.astype(np.float64)) for p in parts])
    np.testing.assert_array_equal(merged.count, whole.count)
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14, atol=1e-14)
    # a float64 mean of 1e6 is known to 1e-10, and so is the distance of two of them
    np.testing.assert_allclose(merged.m2, whole.m2, rtol=1e-9, atol=1e-12)


def test_merge_takes_parts_from_a_generator(rng):
    x = rng.standard_normal((6, 3))
    merged = bn.merge(bn.stats(part) for part in np.split(x, 3))
    np.testing.assert_allclose(merged.mean, x.mean(0))


def test_merge_leaves_its_parts_alone(rng):
    a, b = bn.stats(rng.standard_normal((5, 2))), bn.stats(rng.standard_normal((3, 2)))
    before = a.mean.copy(), a.m2.copy(), a.count.copy()
    bn.merge([a, b])
    for now, then in zip((a.mean, a.m2, a.count), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    "vector",
    [
        lambda v: np.broadcast_to(v[:1], 3),
        lambda v: np.repeat(v, 2)[::2],
        lambda v: v[::-1],
        lambda v: np.frombuffer(b"." + v.tobytes(), np.uint8)[1:].view(np.float64),
    ],
    ids=["broadcast", "every second value", "reversed", "misaligned"],
)
@pytest.mark.parametrize("kind", [bn.Stats, bn.BackwardSums])
def test_vectors_merge_however_they_lie_in_memory(kind, vector):
    arrays = [vector(np.array(v)) for v in ([2.0, 2.0, 4.0], [1.0, 5.0, 2.0], [3.0, 0.0, 1.0])]
    found = bn.merge([kind(*arrays), kind(*arrays)])
    dense = [a.copy() for a in arrays]
    expected = bn.merge([kind(*dense), kind(*dense)])
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)


def test_statistics_of_values_that_are_not_finite_are_taken():
    parts = [bn.Stats(np.ones(2), np.array([np.nan, np.inf]), np.array([np.nan, np.inf]))] * 2
    assert bn.merge(parts).count.tolist() == [2, 2]


def test_counts_are_exact_up_to_two_to_the_53_and_more_are_refused():
    def part(count):
        return bn.Stats(np.array([count]), np.zeros(1), np.zeros(1))

    most = 2.0**53 - 1
    assert bn.merge([part(most - 1), part(1.0)]).count[0] == most
    for parts in ([part(most), part(1.0)], [part(most - 1), part(1.0), part(1.0), part(1.0)]):
        with pytest.raises(ValueError, match=r"merged Stats.count must be .* less than 2\*\*53"):
            bn.merge(parts)
    sums = bn.BackwardSums(np.array([most]), np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match=r"merged BackwardSums.count must be .* than 2\*\*53"):
        bn.merge([sums, sums])


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_commit_is_the_moving_average(unbiased, dtype, rng):
    x = rng.standard_normal((6, 3)).astype(np.float32)
    mean, var = rng.random(3).astype(dtype), rng.random(3).astype(dtype)
    batch_var = x.astype(np.float64).var(0, ddof=int(unbiased))
    expected = 0.7 * mean + 0.3 * x.mean(0), 0.7 * var + 0.3 * batch_var
    bn.commit(bn.stats(x), mean, var, 0.3, unbiased=unbiased)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6)
    np.testing.assert_allclose(var, expected[1], rtol=1e-6)


def test_commit_works_on_a_slice_of_a_larger_array(rng):
    table = np.zeros((4, 6))
    bn.commit(bn.stats(np.ones((5, 3))), table[0, ::2], table[1, ::2], 1.0)
    np.testing.assert_array_equal(table[0], [1, 0, 1, 0, 1, 0])
    assert not table[2:].any()


def test_commit_of_an_empty_batch_changes_nothing():
    mean, var = np.array([3.0]), np.array([4.0])
    bn.commit(bn.stats(np.empty((0, 1))), mean, var)
    assert (mean[0], var[0]) == (3, 4)


def test_commit_leaves_a_channel_without_values_alone():
    batch = bn.Stats(np.array([2.0, 0.0]), np.array([1.0, 9.0]), np.array([4.0, 9.0]))
    mean, var = np.zeros(2), np.ones(2)
    bn.commit(batch, mean, var, 0.5)
    assert mean.tolist() == [0.5, 0]
    assert var.tolist() == [2.5, 1]


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((4, 3, 50, 50)),
        np.zeros((4, 50, 50, 3)).transpose(0, 3, 1, 2),  # NCHW lies in channels-last memory
        np.zeros((8, 3, 50, 50))[::2],
    ],
    ids=["NCHW", "channels-last memory", "every second image"],
)
def test_memory_layouts_that_the_kernels_know_are_not_copied(x):
    tracemalloc.start()
    bn.stats(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 10


@pytest.mark.parametrize("channels", [1, 3])
def test_few_channels_are_work_for_many_threads(channels):
    for shape, axis in [((4, channels, 300, 300), 1), ((4, 300, 300, channels), 3)]:
        assert bncore.chunks(np.zeros(shape, np.float32), axis) >= 6


@pytest.mark.parametrize("step", [2, -1])
def test_statistics_whose_vectors_have_steps_merge(step):
    part = bn.Stats(np.arange(6.0)[::step], np.ones(6)[::step], np.ones(6)[::step])
    both, expected = bn.merge([part, part]), 2 * np.arange(6.0)[::step]
    np.testing.assert_array_equal(both.count, expected)
    np.testing.assert_array_equal(both.mean, 1)
