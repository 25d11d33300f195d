"""These tests are of what enters the running statistics: shares, infinities, undoing, freezing."""

import warnings

import numpy as np
import pytest

import bn
from bn import nn
from bn.layers.convention import share_at

X = np.random.default_rng(5).standard_normal((40, 3)).astype(np.float32) + 2


def batches(n, rng):
    return [rng.standard_normal((30, 3)) + k for k in range(n)]


# ---- the first batches ----


@pytest.mark.parametrize("framework", ["torch", "flax"])
def test_a_debiased_start_gives_the_initial_values_no_share(framework, rng):
    layer = bn.preset(framework, 3, start="debiased", dtype="f8")
    share = layer.convention.share(layer.momentum)
    means = []
    for n, x in enumerate(batches(5, rng), 1):
        layer(x)
        means.append(x.mean(0))
        terms = share * (1 - share) ** np.arange(n)[::-1]
        expected = (terms[:, None] * np.array(means)).sum(0) / terms.sum()
        np.testing.assert_allclose(layer.running_mean, expected, rtol=1e-12)


def test_running_statistics_may_start_as_those_of_the_first_batch(rng):
    layer = bn.preset("keras", 3, start="first", dtype="f8")
    first, second, *_ = batches(2, rng)
    layer(first)
    np.testing.assert_allclose(layer.running_var, first.var(0), rtol=1e-12)
    layer(second)
    expected = 0.99 * first.var(0) + 0.01 * second.var(0)
    np.testing.assert_allclose(layer.running_var, expected, rtol=1e-12)


def test_a_cumulative_start_is_pytorchs_momentum_none(rng):
    ours, torchs = bn.preset("torch", 3, start="cumulative"), bn.BatchNorm1d(3, momentum=None)
    for x in batches(4, rng):
        ours(x)
        torchs(x)
    np.testing.assert_array_equal(ours.running_var, torchs.running_var)
    np.testing.assert_array_equal(ours.running_mean, torchs.running_mean)


def test_the_start_of_running_statistics_can_be_set_on_every_layer(rng):
    layer = bn.BatchNormalization(dtype="f8")
    layer.start = "first"
    x = batches(1, rng)[0]
    layer(x)
    np.testing.assert_allclose(layer.moving_mean, x.mean(0), rtol=1e-12)
    with pytest.raises(ValueError, match="start must be one of plain, debiased, first, cumulative"):
        layer.start = "warm"
    with pytest.raises(ValueError, match="start must be one of plain"):
        bn.preset("torch", 3, start="warm")


def test_a_debiased_share_of_0_or_1_is_no_division_by_0():
    assert share_at("debiased", 0.0, 3) == 0
    assert share_at("debiased", 1.0, 3) == 1


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("momentum", [0.5, None])
def test_a_count_of_batches_stays_at_its_largest_value(renorm, momentum):
    largest = np.iinfo(np.int64).max
    layer = bn.BatchNormalization(renorm=True) if renorm else bn.BatchNorm1d(3, momentum=momentum)
    layer(X)
    layer.num_batches_tracked[...] = largest - 1
    layer.nonfinite_batches[...] = largest
    layer.nonfinite = "propagate"
    poisoned = np.where(np.isinf(POISONED), np.nan, POISONED)
    for _ in range(2):
        layer(poisoned)
        assert layer.num_batches_tracked == largest
        assert (layer.nonfinite_batches == largest).all()


def test_a_state_with_the_largest_count_is_loaded_and_a_larger_one_refused():
    layer, largest = bn.BatchNorm1d(3), np.iinfo(np.int64).max
    state = {**layer.state_dict(), "num_batches_tracked": np.array(largest)}
    assert layer.load_state_dict(state).num_batches_tracked == largest
    for count in (np.array(2**63, np.uint64), np.array(2.0**63), np.array(np.inf, np.float16)):
        with pytest.raises(
            ValueError, match="num_batches_tracked must hold numbers that fit int64"
        ):
            layer.load_state_dict({**state, "num_batches_tracked": count})


# ---- infinities ----

POISONED = X.copy()
POISONED[3, 1] = np.inf


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("make", [lambda: bn.BatchNorm1d(3), bn.BatchNormalization])
def test_one_infinity_reaches_no_running_statistic(make, value):
    layer, clean = make(), make()
    x = X.copy()
    x[3, 1] = value
    clean(X)
    with pytest.warns(
        bn.NonFiniteWarning,
        match="inf or NaN in channel 1, or values too large for float32 statistics; the batch was",
    ):
        layer(x)
    assert np.isfinite(layer.running_mean).all() and np.isfinite(layer.running_var).all()
    assert (layer.running_mean[1], layer.running_var[1]) == (0, 1)
    for c in (0, 2):
        assert layer.running_var[c] == clean.running_var[c]
    np.testing.assert_array_equal(layer.nonfinite_batches, [0, 1, 0])


def test_a_layer_warns_of_infinities_once_and_counts_each_batch_that_has_them():
    layer = bn.BatchNorm1d(3)
    with pytest.warns(bn.NonFiniteWarning):
        layer(POISONED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(POISONED)
    np.testing.assert_array_equal(layer.nonfinite_batches, [0, 2, 0])


def test_a_warning_of_infinities_that_was_made_an_error_changes_nothing():
    layer = bn.BatchNorm1d(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(bn.NonFiniteWarning):
            layer(POISONED)
    assert (layer.running_mean == 0).all() and layer.num_batches_tracked == 0
    assert (layer.nonfinite_batches == 0).all()


def test_a_layer_that_raises_on_infinities_changes_nothing():
    layer = bn.BatchNorm1d(3)
    layer.nonfinite = "raise"
    with pytest.raises(ValueError, match="the batch must be finite, got inf or NaN in channel 1"):
        layer(POISONED)
    assert (layer.running_mean == 0).all() and layer.num_batches_tracked == 0


def test_a_layer_that_propagates_infinities_does_what_pytorch_does():
    layer = bn.BatchNorm1d(3)
    layer.nonfinite = "propagate"
    layer(POISONED)
    assert np.isnan(layer.running_var[1]) and layer.nonfinite_batches[1] == 1
    with pytest.raises(ValueError, match="nonfinite must be one of skip, raise, propagate, got"):
        layer.nonfinite = "pass"


def test_the_functional_forms_keep_infinities_out_of_the_running_statistics():
    mean, var = np.zeros(3), np.ones(3)
    bn.batch_norm(POISONED, mean, var, training=True)
    assert np.isfinite(mean).all() and mean[0] != 0 and mean[1] == 0
    assert bn.commit(bn.stats(POISONED), mean, var) == 1
    assert bn.commit(bn.stats(POISONED), mean, var, nonfinite="propagate") == 1
    assert not np.isfinite(mean[1])
    with pytest.raises(ValueError, match="the batch must be finite, got inf or NaN in channel 1"):
        bn.commit(bn.stats(POISONED), np.zeros(3), np.ones(3), nonfinite="raise")


HUGE = X.copy()
HUGE[3, 1] = 1e25  # it is finite, and its square is not


@pytest.mark.parametrize(
    "make",
    [
        lambda: bn.BatchNorm1d(3),
        bn.BatchNormalization,
        lambda: bn.BatchNormalization(renorm=True),
        lambda: bn.preset("darknet", 3, axis=1),
    ],
)
def test_a_variance_that_the_dtype_cannot_hold_counts_as_not_finite(make):
    layer = make()
    with pytest.warns(bn.NonFiniteWarning, match="channel 1, or values too large for float32"):
        layer(HUGE)
    arrays = dict(layer.named_state()).values()
    assert all(np.isfinite(array).all() for array in arrays)
    assert layer.running_mean[1] == 0 and layer.running_mean[0] != 0
    np.testing.assert_array_equal(layer.nonfinite_batches, [0, 1, 0])
    layer.nonfinite = "raise"
    before = layer.running_mean.copy()
    with pytest.raises(ValueError, match="channel 1, or values too large for float32 statistics"):
        layer(HUGE)
    np.testing.assert_array_equal(layer.running_mean, before)
    layer.nonfinite = "propagate"
    layer(HUGE)
    assert np.isinf(layer.running_var[1])


def test_wrapped_layers_keep_overflowing_variances_out_of_the_running_statistics():
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(3), 20)
    with pytest.warns(bn.NonFiniteWarning):
        ghost(HUGE)
    whole = bn.accumulate(layer := bn.BatchNorm1d(3))
    whole.add(HUGE)
    with pytest.warns(bn.NonFiniteWarning):
        whole.normalize(HUGE)
    for each in (ghost.layer, layer):
        assert np.isfinite(each.running_var).all() and each.nonfinite_batches[1] == 1


def test_float64_statistics_that_do_not_fit_float32_ones_are_kept_out():
    x = X.astype("f8")
    x[:, 0] += 1e300  # the mean does not fit
    x[0, 1] = 1e25  # the variance does not
    mean, var = np.zeros(3, "f4"), np.ones(3, "f4")
    assert bn.commit(bn.stats(x), mean, var) == 2
    assert bn.commit(bn.stats(x), mean, var, nonfinite="propagate") == 2
    assert np.isinf(mean[0]) and np.isinf(var[1])
    mean, var = np.zeros(3, "f4"), np.ones(3, "f4")
    bn.batch_norm(x, mean, var, training=True)
    assert (mean[0], mean[1], var[1]) == (0, 0, 1) and mean[2] != 0
    with pytest.raises(ValueError, match="channel 0, 1, or values too large for float32"):
        bn.commit(bn.stats(x), mean, var, nonfinite="raise")
    wide_mean, wide_var = np.zeros(3), np.ones(3)
    assert bn.commit(bn.stats(x), wide_mean, wide_var) == 0


def test_running_statistics_that_a_momentum_beyond_1_would_overflow_are_kept():
    mean, var = np.zeros(3, "f4"), np.ones(3, "f4")
    assert bn.commit(bn.stats(X * 1e18), mean, var, momentum=1e4) == 3
    assert (mean == 0).all() and (var == 1).all()


# ---- undoing, keeping out ----


@pytest.mark.parametrize(
    "make", [lambda: bn.BatchNorm1d(3), lambda: bn.BatchNormalization(renorm=True)]
)
def test_the_last_batch_is_rolled_back(make):
    layer = make()
    layer(X)
    before, tracked = layer.state_dict(), int(layer.num_batches_tracked)
    layer(X * 3)
    assert layer.rollback() is layer
    for name, array in layer.named_state():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert layer.num_batches_tracked == tracked
    layer.rollback()  # it works once only
    np.testing.assert_array_equal(
        layer.running_mean, before["running_mean" if "running_mean" in before else "moving_mean"]
    )


def test_no_stat_update_holds_inside_and_for_this_thread_only():
    from threading import Thread

    layer, other = bn.BatchNorm1d(3), bn.BatchNorm1d(3)
    with bn.no_stat_update():
        y = layer(X)
        thread = Thread(target=other, args=(X,))
        thread.start()
        thread.join()
    assert layer.num_batches_tracked == 0 and other.num_batches_tracked == 1
    np.testing.assert_array_equal(y, layer(X))
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize(
    "make", [lambda: bn.BatchNorm1d(3), lambda: bn.BatchNormalization(renorm=True)]
)
def test_a_layer_that_is_reset_has_the_statistics_and_parameters_of_a_new_one(make):
    layer, new = make(), make()
    new(X, training=False)
    layer(X)
    layer.weight.data[...] = 5
    assert layer.reset_running_stats() is layer and (layer.weight.data == 5).all()
    assert layer.reset_parameters() is layer
    for name, array in layer.named_state():
        np.testing.assert_array_equal(array, dict(new.named_state())[name], err_msg=name)
    assert layer.num_batches_tracked == 0
    assert bn.BatchNorm1d(None).reset_parameters().num_features is None


# ---- freezing ----


def model():
    return nn.Sequential(nn.Linear(3, 4, rng=0), bn.BatchNorm1d(4), nn.Residual(bn.BatchNorm1d(4)))


def test_a_frozen_model_stays_frozen_when_its_parent_trains():
    frozen = bn.freeze(model()).train()
    before = frozen.state_dict()
    y = frozen(X)
    frozen.backward(y)
    for name, array in frozen.named_state():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(y, model().eval()(X))
    assert frozen[0].weight.grad is not None
    assert frozen[1].weight.grad is None and frozen[2].body.bias.grad is None


def test_the_three_options_of_freeze_are_separate():
    layer = bn.freeze(bn.BatchNorm1d(3), train_affine=True, update_stats=True)
    y = layer(X)  # running statistics normalize, and follow the batches
    np.testing.assert_array_equal(y, bn.BatchNorm1d(3).eval()(X))
    trained = bn.BatchNorm1d(3)
    trained(X)
    np.testing.assert_array_equal(layer.running_var, trained.running_var)
    layer.backward(y)
    assert layer.weight.grad is not None
    layer = bn.freeze(bn.BatchNorm1d(3), use_batch_stats=True).eval()
    np.testing.assert_array_equal(layer(X), bn.BatchNorm1d(3)(X))
    assert layer.num_batches_tracked == 0


def test_a_batch_of_which_nothing_counts_enters_no_statistics_of_a_frozen_layer():
    layer = bn.freeze(bn.BatchNorm1d(3), update_stats=True)
    layer(X, mask=np.zeros(40, bool))
    layer(X[:0])
    assert layer.num_batches_tracked == 0


def test_a_layer_that_is_unfrozen_follows_its_mode_again():
    layer = bn.unfreeze(bn.freeze(bn.BatchNorm1d(3)))
    layer.backward(layer(X))
    assert layer.num_batches_tracked == 1 and layer.weight.grad is not None


# ---- small batches ----


def test_training_on_few_values_warns_once():
    layer = bn.BatchNorm1d(3)
    with pytest.warns(bn.SmallBatchWarning, match=r"BatchNorm1d\(3, .*trains on 4 values .*bn.acc"):
        layer(X[:4])
    for model in (bn.BatchNormalization(), nn.Sequential(nn.Sequential(bn.BatchNorm1d(3)))):
        with pytest.warns(bn.SmallBatchWarning) as caught:
            model(X[:4])
        assert caught[0].filename == __file__  # it points at the call
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(X[:4])
        bn.BatchNorm1d(3)(X[:16])
        bn.BatchNorm1d(3).eval()(X[:4])
        bn.BatchNorm2d(3)(X[:12].reshape(2, 3, 2, 3)[:, :, :, :].repeat(2, 3))


def test_a_refused_batch_leaves_the_one_before_to_be_rolled_back(rng):
    running = bn.RunningStats(2, nonfinite="raise")
    running.update(bn.stats(rng.standard_normal((20, 2))))
    with pytest.raises(ValueError, match="finite"):
        running.update(bn.stats(np.full((20, 2), np.inf)))
    assert running.rollback().mean.tolist() == [0, 0]
