"""What came out as wrong at the layers' edges, beside the frameworks, is tested here once each."""

import numpy as np
import pytest

import bn
from bn import nn

X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "ranks"),
    [(bn.BatchNorm1d, "2D or 3D"), (bn.BatchNorm2d, "4D"), (bn.BatchNorm3d, "5D")],
)
def test_pytorchs_sentence_for_a_wrong_rank_holds_below_two_axes(kind, ranks):
    for shape in ((), (3,)):
        with pytest.raises(ValueError, match=rf"expected {ranks} input \(got {len(shape)}D input"):
            kind(3)(np.ones(shape, np.float32))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropped", ["running_mean", "running_var"])
def test_half_of_the_running_statistics_is_refused(dropped, training):
    layer = bn.BatchNorm1d(3).train(training)
    setattr(layer, dropped, None)
    with pytest.raises(ValueError, match="must either both be None or neither be None"):
        layer(X)
    assert layer.num_batches_tracked == 0


def test_kerass_mask_lacks_the_last_axis_wherever_the_channels_are():
    x, mask = X[:12].reshape(3, 4, 3).astype("f8"), np.arange(12).reshape(3, 4) % 3 > 0
    for axis in (0, 1, 2):
        layer = bn.BatchNormalization(axis=axis, momentum=0, dtype="f8")
        layer(x, mask=mask)
        values = [np.moveaxis(x, axis, 0)[c][_of(mask, axis, c)] for c in range(x.shape[axis])]
        np.testing.assert_allclose(layer.moving_mean, [v.mean() for v in values], rtol=1e-12)
        np.testing.assert_allclose(layer.moving_variance, [v.var() for v in values], rtol=1e-12)
    with pytest.raises(ValueError, match=r"mask must be an array of 2 axes that broadcasts to"):
        bn.BatchNormalization(axis=1)(x, mask=np.ones((3, 3), bool))


def _of(mask, axis, channel):
    """Return the mask of a channel: without the channels' axis, if it has one."""
    return mask if axis == mask.ndim else np.take(mask, channel, axis)


def test_a_bound_of_renorm_that_is_none_is_no_bound():
    clipping = {"rmin": None, "rmax": 0.5, "dmax": None}
    ours, plain = (
        bn.BatchNormalization(renorm=True, renorm_clipping=c) for c in (clipping, {"rmax": 0.5})
    )
    np.testing.assert_array_equal(ours(X), plain(X))


def test_statistics_without_a_count_of_batches_are_updated():
    layer, counted = bn.BatchNorm1d(3), bn.BatchNorm1d(3)
    layer.num_batches_tracked = None
    layer(X)
    counted(X)
    np.testing.assert_array_equal(layer.running_var, counted.running_var)


# ---- what a newcomer ran into ----


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1 / 20])
def test_equal_weights_of_any_size_are_no_weights(scale):
    x = X.astype(np.float64)
    weights = bn.position_weights(x, sample_weight=np.full(20, scale))
    np.testing.assert_allclose(bn.stats(x, weights=weights).var, x.var(0), rtol=1e-12)
    for make in (lambda: bn.BatchNorm1d(3, dtype="f8"), lambda: bn.preset("flax", 3, dtype="f8")):
        y = make()(x, sample_weight=np.full(20, scale))
        np.testing.assert_allclose(y, make()(x), rtol=1e-9, atol=1e-12)


def test_the_unbiased_variance_of_little_weight_is_at_most_twice_the_biased_one():
    for total in (0.01, 1.0001, 2.0, 20.0):
        s = bn.stats(X, weights=bn.position_weights(X, sample_weight=np.full(20, total / 20)))
        factor = total / max(total - 1, total / 2)
        np.testing.assert_allclose(s.unbiased_var, s.var * factor, rtol=1e-6)
        var = np.zeros(3)
        bn.commit(s, np.zeros(3), var, momentum=1)
        np.testing.assert_allclose(var, s.unbiased_var, rtol=1e-12)


@pytest.mark.parametrize("start", ["first", "debiased", "cumulative"])
def test_loaded_statistics_are_not_thrown_away_by_the_next_batch(start):
    trained = bn.BatchNormalization()
    trained(X + 5)
    state = {**trained.state_dict(), "moving_mean": np.full(3, 5.0)}
    layer = bn.BatchNormalization()
    layer.build((3,))
    layer.start = start
    layer.load_state_dict(state)
    layer(X)
    np.testing.assert_allclose(layer.moving_mean, 0.99 * 5 + 0.01 * X.mean(0), rtol=1e-5)
    layer.reset_running_stats()
    layer(X)
    np.testing.assert_allclose(layer.moving_mean, X.mean(0), rtol=1e-4, atol=1e-6)


def test_recalibrated_statistics_are_not_thrown_away_by_the_next_batch():
    layer = bn.preset("torch", 3, start="first")
    bn.recalibrate(layer, [X + 5])
    layer(X)
    np.testing.assert_allclose(layer.running_mean, 0.9 * (X + 5).mean(0) + 0.1 * X.mean(0), 1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bn.BatchNorm1d(3, momentum=None),
        lambda: bn.preset("torch", 3, start="first"),
        lambda: bn.preset("torch", 3, start="debiased"),
    ],
)
def test_a_batch_that_was_kept_out_does_not_count_for_its_channel(make):
    poisoned = X.copy()
    poisoned[0, 0] = np.nan
    layer, clean = make(), make()
    with pytest.warns(bn.NonFiniteWarning):
        layer(poisoned)
    layer(X)
    clean(X)
    assert layer.running_mean[0] == clean.running_mean[0]
    np.testing.assert_allclose(layer.running_mean[0], X[:, 0].mean(), rtol=1e-5)


def test_a_rollback_does_not_undo_a_load():
    layer = bn.BatchNorm1d(3)
    layer(X)
    layer.load_state_dict({**layer.state_dict(), "running_mean": np.full(3, 7.0)})
    assert (layer.rollback().running_mean == 7).all()


def test_freeze_is_for_batch_normalization_only():
    linear = nn.Linear(3, 3, rng=0)
    for use in (bn.freeze, bn.unfreeze):
        with pytest.raises(
            ValueError, match=f"{use.__name__} must get a model with batch norm.* Lin"
        ):
            use(linear)


def test_every_batch_normalization_has_the_switch_trainable():
    for layer in (bn.BatchNorm1d(3), bn.preset("keras", 3)):
        layer.trainable = False
        layer.backward(layer(X))
        assert (layer.running_mean == 0).all() and layer.weight.grad is None
        assert not layer.trainable


def test_feature_axes_are_built_from_a_shape():
    model = bn.nn.Sequential(bn.FeatureAxes(bn.preset("flax"), (1, 2)), bn.nn.Flatten())
    model.summary((3, 4, 5))
    assert model[0].layer.num_features == 12
    assert bn.FeatureAxes(bn.preset("flax"), -1).axes == (-1,)
    with pytest.raises(ValueError, match="axis 0 is the batch axis, whose size input_shape lacks"):
        bn.FeatureAxes(bn.preset("flax"), (0, 1)).build((3, 4))
    with pytest.raises(ValueError, match=r"expected 4D input \(got 5D input\)"):
        bn.BatchNorm2d(None).build((8, 3, 4, 5))


@pytest.mark.parametrize(
    ("name", "value"),
    [("momentum", 5), ("update_stats", "no"), ("use_batch_stats", 1), ("train_affine", None)],
)
def test_attributes_of_a_layer_are_checked_when_they_are_set(name, value):
    layer = bn.BatchNorm1d(3)
    with pytest.raises((TypeError, ValueError), match=f"{name} must be .*got {value!r}"):
        setattr(layer, name, value)
    assert getattr(layer, name) == getattr(bn.BatchNorm1d(3), name)


def test_parameters_are_assigned_by_index_and_are_parameters():
    layer = bn.BatchNorm1d(3)
    layer.weight[...] = 2
    layer.weight[1] = 3
    assert layer.weight.data.tolist() == [2, 3, 2] and layer.weight[1] == 3
    layer.weight = np.ones(3, np.float32)
    with pytest.raises(TypeError, match="weight and bias must be of type Parameter, got ndarray"):
        layer(X)


def test_a_preset_takes_momentum_none():
    assert bn.preset("torch", 3, momentum=None).momentum is None
    assert bn.preset("torch", 3).momentum == 0.1


def test_small_ghost_batches_are_few_values_and_small_weights_are_not():
    with pytest.warns(bn.SmallBatchWarning, match="trains on 2 values"):
        bn.GhostBatchNorm(bn.BatchNorm1d(3), 2)(X)
    with pytest.warns(bn.SmallBatchWarning, match="trains on 2 values"):
        bn.BatchNorm1d(3)(X[:2], sample_weight=[1e6, 1e6])
    # These are 20 values, whatever they weigh.
    bn.BatchNorm1d(3)(X, sample_weight=np.full(20, 0.01))


def test_an_argument_that_is_no_model_sequence_or_dict_is_told():
    with pytest.raises(TypeError, match="model must be of type Module, got list"):
        bn.freeze([bn.BatchNorm1d(3)])
    with pytest.raises(TypeError, match="parts must be an iterable of values, got one Stats"):
        bn.merge(bn.stats(X))
    with pytest.raises(TypeError, match="renorm_clipping must be a dict, got 3"):
        bn.BatchNormalization(renorm=True, renorm_clipping=3)


def test_the_repr_of_a_layer_tells_what_was_chosen():
    layer = bn.freeze(bn.preset("flax", 3, start="first"))
    for words in ("update_stats=False", "train_affine=False", "start='first'"):
        assert words in repr(layer)
    assert "virtual_batch_size=4" in repr(bn.GhostBatchNorm(bn.BatchNorm1d(3), 4))
    assert "axes=(1, 2)" in repr(bn.FeatureAxes(bn.preset("flax"), (1, 2)))


def test_an_empty_batch_adds_nothing_to_the_gradients_where_the_running_variance_is_nan():
    layer = bn.BatchNorm1d(2).eval()
    layer.running_var[:] = np.nan
    layer.backward(layer(np.empty((0, 2), np.float32)))
    assert layer.weight.grad.tolist() == layer.bias.grad.tolist() == [0, 0]
