"""Masks, lengths and sample weights decide which values the statistics are of."""

import re
import warnings

import ml_dtypes
import numpy as np
import pytest
import reference
from gradcheck import gradcheck

import bn

LAYOUTS = [((4, 3, 5), 1), ((4, 5, 3), 2), ((3, 4, 2, 3), 1), ((3, 2, 3, 4), 3), ((9, 2), 1)]


class Weighted(bn.Module):
    """Calls of the layer in it get options."""

    def __init__(self, layer, **options):
        self.layer, self.options = layer, options

    def forward(self, x):
        return self.layer(x, **self.options)

    def backward(self, dy):
        return self.layer.backward(dy)


def without_channels(shape, axis):
    return shape[:axis] + shape[axis + 1 :]


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_masked_statistics_are_those_of_the_values_that_count(shape, axis, rng):
    x = rng.standard_normal(shape) + 5
    mask = rng.random(without_channels(shape, axis)) < 0.6
    s = bn.stats(x, axis, weights=bn.position_weights(x, axis, mask=mask))
    left = np.moveaxis(x, axis, -1)[mask]
    count, mean, m2 = reference.moments(left)
    np.testing.assert_array_equal(s.count, count)
    np.testing.assert_allclose(s.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(s.m2, m2, rtol=1e-13)


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_whole_weights_count_like_repeated_samples(shape, axis, rng):
    x = rng.standard_normal(shape)
    times = rng.integers(0, 4, shape[0])
    s = bn.stats(x, axis, weights=bn.position_weights(x, axis, sample_weight=times))
    repeated = bn.stats(np.repeat(x, times, axis=0), axis)
    for name in ("count", "mean", "m2"):
        np.testing.assert_allclose(getattr(s, name), getattr(repeated, name), rtol=1e-12)


def test_lengths_are_a_mask_along_the_sequence(rng):
    lengths = [5, 0, 2, 3]
    for shape, axis, places in (((4, 3, 5), 1, (4, 5)), ((4, 5, 3), -1, (4, 5))):
        x = rng.standard_normal(shape)
        mask = np.arange(5) < np.array(lengths)[:, None]
        by_length = bn.position_weights(x, axis, lengths=lengths)
        by_mask = bn.position_weights(x, axis, mask=mask.reshape(places))
        np.testing.assert_array_equal(by_length, by_mask)


def test_weighted_statistics_of_float32_far_from_zero_keep_their_digits(rng):
    x = (rng.standard_normal((50, 3, 7)) + 1e5).astype(np.float32)
    weights = bn.position_weights(x, sample_weight=rng.random(50))
    s = bn.stats(x, weights=weights)
    exact = bn.stats(x.astype(np.float64), weights=weights)
    np.testing.assert_allclose(s.mean, exact.mean, rtol=1e-13)
    np.testing.assert_allclose(s.m2, exact.m2, rtol=1e-13)
    np.testing.assert_array_equal(s.count, exact.count)


def test_statistics_with_weights_merge(rng):
    x, w = rng.standard_normal((30, 3)), rng.random(30)
    parts = [
        bn.stats(x[a:b], weights=bn.position_weights(x[a:b], sample_weight=w[a:b]))
        for a, b in ((0, 7), (7, 8), (8, 30))
    ]
    whole = bn.stats(x, weights=bn.position_weights(x, sample_weight=w))
    np.testing.assert_allclose(bn.merge(parts).m2, whole.m2, rtol=1e-12)


OPTIONS = {
    "mask": lambda shape, axis, rng: {"mask": rng.random(without_channels(shape, axis)) < 0.7},
    "mask of each value": lambda shape, axis, rng: {"mask": rng.random(shape) < 0.7},
    "sample_weight": lambda shape, axis, rng: {"sample_weight": rng.random(shape[0])},
    "both": lambda shape, axis, rng: {
        "mask": rng.random(without_channels(shape, axis)) < 0.7,
        "sample_weight": rng.random(shape[0]),
    },
    "lengths": lambda shape, axis, rng: {
        "lengths": rng.integers(0, shape[1 if axis != 1 else 2] + 1, shape[0])
    },
}


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_gradients_with_masks_lengths_and_weights_are_exact(
    shape, axis, affine, training, kind, rng
):
    if kind == "lengths" and len(shape) < 3:
        pytest.skip("no sequence axis")
    layer = bn.preset("flax", shape[axis], axis=axis, scale=affine, center=affine, dtype="f8")
    options = OPTIONS[kind](shape, axis, rng)
    gradcheck(Weighted(layer.train(training), **options), rng.standard_normal(shape), tol=1e-5)


@pytest.mark.parametrize("framework", ["torch", "darknet"])
def test_gradients_with_weights_are_exact_for_other_conventions(framework, rng):
    layer = bn.preset(framework, 3, dtype="f8")
    gradcheck(
        Weighted(layer, sample_weight=rng.random(6)), rng.standard_normal((6, 3, 4)), tol=1e-5
    )
    gradcheck(layer, rng.standard_normal((6, 3, 4)), tol=1e-5)
    gradcheck(layer.eval(), rng.standard_normal((6, 3, 4)), tol=1e-5)


def test_nan_where_nothing_counts_reaches_no_statistic_no_output_and_no_gradient(rng):
    x, dy = rng.standard_normal((2, 4, 3, 5))
    lengths = np.array([5, 2, 4, 0])
    padding = ~(np.arange(5) < lengths[:, None])[:, None] & np.ones((1, 3, 1), bool)
    dirty = np.where(padding, np.nan, x)
    dy[padding] = 0
    layer, other = bn.BatchNorm1d(3, dtype="f8"), bn.BatchNorm1d(3, dtype="f8")
    y, expected = layer(dirty, lengths=lengths), other(np.where(padding, 0, x), lengths=lengths)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(layer.backward(dy), other.backward(dy))
    np.testing.assert_array_equal(layer.weight.grad, other.weight.grad)
    assert np.isfinite(layer.running_var).all()
    np.testing.assert_array_equal(layer.running_var, other.running_var)
    assert np.isfinite(layer.eval()(dirty, lengths=lengths)).all()


def test_a_batch_of_which_nothing_counts_leaves_the_statistics_alone(rng):
    layer = bn.BatchNorm1d(3)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    y = layer(x, mask=np.zeros(4, bool))
    dx = layer.backward(np.ones_like(x))
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    assert (layer.running_var == 1).all() and layer.num_batches_tracked == 0


def test_training_on_a_channel_of_which_nothing_counts_warns_once(rng):
    x = rng.standard_normal((40, 2, 3))
    one_channel = np.ones((40, 2, 1), bool)
    one_channel[:, 1] = False
    for mask in (np.zeros((40, 3), bool), one_channel):
        layer = bn.BatchNorm1d(2)
        with pytest.warns(bn.SmallBatchWarning, match="no value of a channel counts, by its mask"):
            layer(x, mask=mask)
        assert layer.running_mean[1] == 0 and layer.running_var[1] == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(x, mask=mask)
            bn.BatchNorm1d(2).eval()(x, mask=mask)
            bn.BatchNorm1d(2)(x[:0], mask=mask[:0])


def test_a_mask_that_keeps_everything_changes_nothing(rng):
    x = rng.standard_normal((6, 3, 4)).astype(np.float32)
    plain, masked = bn.BatchNorm1d(3), bn.BatchNorm1d(3)
    np.testing.assert_allclose(masked(x, mask=np.ones((6, 4), bool)), plain(x), atol=1e-6)
    np.testing.assert_allclose(masked.backward(x), plain.backward(x), atol=1e-6)
    np.testing.assert_allclose(masked.running_var, plain.running_var, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bit_values_are_weighted_in_float32(dtype, rng):
    x = rng.standard_normal((20, 3)).astype(dtype)
    weights = bn.position_weights(x, sample_weight=rng.random(20))
    found, expected = (bn.stats(a, weights=weights) for a in (x, x.astype(np.float32)))
    np.testing.assert_array_equal(found.m2, expected.m2)
    layer = bn.BatchNorm1d(3)
    y = layer(x, sample_weight=rng.random(20))
    assert y.dtype == layer.backward(y).dtype == dtype


X = np.zeros((4, 3, 5))
BAD = [
    ("mask must be boolean, got int64", {"mask": np.ones((4, 5), int)}),
    (
        r"mask must have shape \(4, 5\), or 3 axes that broadcast to .*, got \(4, 3\)",
        {"mask": np.ones((4, 3), bool)},
    ),
    (r"mask must have shape \(4, 5\), .* got \(4,\)", {"mask": np.ones(4, bool)}),
    ("lengths must be integers, got float64", {"lengths": [1.0, 2, 3, 4]}),
    (r"lengths must have shape \(4,\), got \(3,\)", {"lengths": [1, 2, 3]}),
    ("lengths must be between 0 and 5, got 1 to 6", {"lengths": [1, 2, 3, 6]}),
    ("lengths must be between 0 and 5, got -1 to 3", {"lengths": [1, 2, 3, -1]}),
    (r"sample_weight must have shape \(4,\), got \(3,\)", {"sample_weight": [1.0, 2.0, 3.0]}),
    (
        "sample_weight must be finite and at least 0, got less, inf or NaN",
        {"sample_weight": [1.0, 2.0, 3.0, -1.0]},
    ),
    (
        "sample_weight must be finite and at least 0, got less, inf or NaN",
        {"sample_weight": [1.0, 2.0, 3.0, np.nan]},
    ),
    ("sample_weight must hold numbers, got <U1", {"sample_weight": list("abcd")}),
]


@pytest.mark.parametrize(("message", "options"), BAD, ids=[message for message, _ in BAD])
def test_masks_lengths_and_weights_that_do_not_fit_are_refused(message, options):
    layer = bn.BatchNorm1d(3)
    for call in (lambda: bn.position_weights(X, **options), lambda: layer(X, **options)):
        with pytest.raises((TypeError, ValueError), match=message):
            call()
    assert layer.num_batches_tracked == 0


def test_weights_of_another_shape_and_lengths_without_a_sequence_are_refused():
    for shape in ((4, 2, 5), (4, 5)):
        message = (
            f"weights must be an array of 3 axes that broadcasts to (4, 3, 5), got shape {shape}"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            bn.stats(X, weights=np.ones(shape))
    with pytest.raises(ValueError, match="lengths need x to have a sequence axis, got 2 axes"):
        bn.position_weights(X[..., 0], lengths=[1, 2, 3, 4])


def test_a_keras_layer_has_kerass_rule_for_masks():
    sentence = r"The mask provided should be one dimension less than the inputs\. Received: mask"
    with pytest.raises(ValueError, match=sentence):
        bn.BatchNormalization()(X, mask=np.ones((4, 3, 5), bool))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.full((4, 1), 1j), TypeError, "weights must hold numbers, got dtype complex128"),
        (np.full((4, 1), "a"), TypeError, "weights must hold numbers, got dtype <U1"),
        (np.ones((4, 1), "M8[s]"), TypeError, r"weights must hold numbers, got dtype datetime64"),
        (np.full((4, 1), np.nan), ValueError, "weights must be finite and at least 0"),
        (np.full((4, 1), -1.0), ValueError, "weights must be finite and at least 0"),
    ],
)
def test_weights_that_are_no_counts_are_refused(weights, error, message):
    x, ones = np.ones((4, 3)), np.ones(3)
    sums = bn.backward_reduce(x, x, ones)
    with pytest.raises(error, match=message):
        bn.stats(x, weights=weights)
    with pytest.raises(error, match=message):
        bn.backward_apply(x, x, ones, ones, sums=sums, weights=weights)


@pytest.mark.parametrize(
    "layer", [bn.BatchNormalization(), bn.FeatureAxes(bn.BatchNormalization(), 1)]
)
def test_x_that_is_no_array_is_refused_by_name_beside_a_mask(layer):
    with pytest.raises(TypeError, match=r"x of .* must be .*, got list"):
        layer([[1.0, 2.0]], mask=np.ones(1, bool))
