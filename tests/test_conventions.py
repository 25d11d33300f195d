"""Presets, Keras's options, lazy layers and tuple axes keep each framework's words and numbers."""

import numpy as np
import pytest
import reference
from gradcheck import gradcheck

import bn
from bn.layers.convention import CONVENTIONS

X = np.random.default_rng(5).standard_normal((20, 3, 4)) + 2


# ---- presets ----

# framework: (weight of the new value, divisor of the variance less than M, eps)
KEPT = {
    "torch": (0.1, 1, 1e-5),
    "keras": (0.01, 0, 1e-3),
    "flax": (0.01, 0, 1e-5),
    "onnx": (0.1, 0, 1e-5),
    "mxnet": (0.1, 0, 1e-3),
    "darknet": (0.01, 1, 1e-6),
}


@pytest.mark.parametrize("framework", KEPT)
def test_a_preset_keeps_the_running_statistics_that_its_framework_keeps(framework):
    share, less, eps = KEPT[framework]
    layer = bn.preset(framework, 3, axis=1, dtype="f8")
    layer(X)
    m = 80
    first = 0.0 if framework == "darknet" else 1.0
    var = (1 - share) * first + share * X.var((0, 2)) * m / (m - less)
    np.testing.assert_allclose(layer.running_mean, share * X.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    assert layer.eps == eps


def test_every_convention_is_tested():
    assert set(KEPT) == set(CONVENTIONS)


@pytest.mark.parametrize("framework", [f for f in KEPT if f != "darknet"])
def test_all_frameworks_but_darknet_normalize_alike(framework):
    layer = bn.preset(framework, 3, axis=1, eps=1e-5, dtype="f8")
    np.testing.assert_allclose(layer(X), reference.forward(X, np.ones(3), np.zeros(3)), atol=1e-12)


def test_the_darknet_preset_divides_by_the_unbiased_deviation_plus_eps():
    layer = bn.preset("darknet", 3, eps=0.1, dtype="f8")
    mean, std = (f((0, 2), keepdims=True) for f in (X.mean, lambda *a, **k: X.std(*a, ddof=1, **k)))
    np.testing.assert_allclose(layer(X), (X - mean) / (std + 0.1), rtol=1e-12)
    running = (X - layer.running_mean[:, None]) / (np.sqrt(layer.running_var)[:, None] + 0.1)
    np.testing.assert_allclose(layer.eval()(X), running, rtol=1e-12)
    constant = bn.preset("darknet", 2)(np.full((20, 2), 7.0, np.float32))
    assert (constant == 0).all()


def test_the_repr_of_a_layer_says_what_momentum_and_variance_are():
    assert "momentum=0.1 (new), running_var=unbiased" in repr(bn.BatchNorm2d(3))
    assert "momentum=None (all batches alike)" in repr(bn.BatchNorm2d(3, momentum=None))
    assert "momentum=0.99 (old), running_var=biased" in repr(bn.BatchNormalization())
    assert "onnx: 3, eps=1e-05, momentum=0.9 (old), running_var=biased" in repr(
        bn.preset("onnx", 3)
    )
    assert "eps outside the root" in repr(bn.preset("darknet"))


def test_a_preset_of_an_unknown_framework_is_refused():
    with pytest.raises(ValueError, match=r"framework must be one of torch, keras, .*, got 'caffe'"):
        bn.preset("caffe", 3)
    with pytest.raises(ValueError, match="momentum must be between 0 and 1, got 2"):
        bn.preset("torch", 3, momentum=2)
    with pytest.raises(ValueError, match="eps must be a number of at least 0, got -1"):
        bn.preset("torch", 3, eps=-1)


# ---- channels learned from the first batch ----


@pytest.mark.parametrize(
    "layer", [bn.BatchNorm1d(None), bn.preset("torch")], ids=["layer", "preset"]
)
def test_channels_are_learned_from_the_first_batch(layer):
    with pytest.raises(RuntimeError, match="must be built before its parameters are asked for"):
        layer.parameters()
    assert layer(X.astype(np.float32)).shape == X.shape
    assert layer.num_features == 3 and layer.weight.shape == (3,)
    with pytest.raises(ValueError, match=r"takes 3 channels on axis 1, got shape \(5, 4, 2\)"):
        layer(np.ones((5, 4, 2)))


def test_channels_are_learned_from_build_and_options_hold():
    layer = bn.BatchNorm2d(None, affine=False, track_running_stats=False)
    layer.build((6, 4, 4))
    assert layer.num_features == 6 and list(layer.state_dict()) == []
    built = bn.BatchNorm2d(None, bias=False)
    built.build((6, 4, 4))
    assert list(built.state_dict()) == list(bn.BatchNorm2d(6, bias=False).state_dict())


def test_a_layer_that_has_seen_no_batch_evaluates_with_its_initial_statistics():
    x = X.astype(np.float32)
    np.testing.assert_array_equal(bn.BatchNorm1d(None).eval()(x), bn.BatchNorm1d(3).eval()(x))


# ---- several axes ----


@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (-1, 1), (3,)])
def test_axes_taken_together_have_statistics_for_each_combination(axes, rng):
    x = rng.standard_normal((20, 2, 3, 4))
    layer = bn.FeatureAxes(bn.preset("flax", dtype="f8"), axes)
    y = layer(x)
    others = tuple(i for i in range(4) if i not in [a % 4 for a in axes])
    mean, var = x.mean(others, keepdims=True), x.var(others, keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), atol=1e-12)
    order = np.transpose(mean, [*others, *[a % 4 for a in axes]]).ravel()
    np.testing.assert_allclose(layer.layer.running_mean, 0.01 * order, atol=1e-14)


def test_gradients_over_axes_taken_together_with_a_mask_are_exact(rng):
    class Masked(bn.Module):
        def __init__(self):
            self.inner = bn.FeatureAxes(bn.preset("flax", 6, dtype="f8"), (1, 3))
            self.mask = np.random.default_rng(1).random((5, 1, 4, 1)) < 0.7

        def forward(self, x):
            return self.inner(x, mask=self.mask)

        def backward(self, dy):
            return self.inner.backward(dy)

    gradcheck(Masked(), rng.standard_normal((5, 2, 4, 3)), tol=1e-5)


def test_feature_axes_that_do_not_fit_are_refused():
    for axes in ((1, 1), (), (0, 1, 2)):
        with pytest.raises(ValueError, match="axes must be some of 3 axes, each once, got"):
            bn.FeatureAxes(bn.preset("flax"), axes)(X)
    with pytest.raises(ValueError, match="FeatureAxes needs a layer with axis=-1, got axis=1"):
        bn.FeatureAxes(bn.BatchNorm1d(3), (1, 2))
    message = r"mask must be an array of 3 axes that broadcasts to \(20, 3, 4\), got shape \(20,\)"
    with pytest.raises(ValueError, match=message):
        bn.FeatureAxes(bn.preset("flax"), (1, 2))(X, mask=np.ones(20, bool))
    with pytest.raises(ValueError, match="axis must be between -3 and 2, got 5"):
        bn.FeatureAxes(bn.preset("flax"), (5,))(X)
    with pytest.raises(TypeError, match="every axis must be an integer, got 'C'"):
        bn.FeatureAxes(bn.preset("flax"), ("C",))


# ---- Keras's options ----


def test_a_keras_layer_that_is_not_trainable_infers_and_updates_nothing():
    layer = bn.BatchNormalization(axis=1, dtype="f8")
    layer.build((3, 4))
    layer.trainable = False
    assert not layer.trainable
    np.testing.assert_allclose(layer(X, training=True), X / np.sqrt(1 + 1e-3), rtol=1e-12)
    layer.backward(X)
    assert layer.gamma.grad is None and (layer.moving_mean == 0).all()
    layer.trainable = True
    layer.backward(layer(X, training=True))
    assert layer.gamma.grad is not None and (layer.moving_mean != 0).all()


def test_the_argument_training_of_a_keras_layer_holds_for_one_call():
    layer = bn.BatchNormalization(axis=1)
    layer(X, training=False)
    assert layer.training and (layer.moving_mean == 0).all()
    layer.eval()(X, training=True)
    assert not layer.training and (layer.moving_mean != 0).all()


def test_the_weights_of_a_keras_layer_are_listed_in_kerass_order():
    layer = bn.BatchNormalization(renorm=True)
    layer.build((3,))
    arrays = [np.full(3, float(i)) for i in range(7)]
    layer.set_weights(arrays)
    names = ["gamma", "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean"]
    assert list(layer.state_dict()) == [*names, "renorm_stddev"]
    for found, array in zip(layer.get_weights(), arrays, strict=True):
        np.testing.assert_array_equal(found, array)
    with pytest.raises(ValueError, match="weights must be the 7 arrays of get_weights, got 2"):
        layer.set_weights(arrays[:2])


def test_regularizers_are_in_the_gradient_and_their_loss_is_told():
    plain = bn.BatchNormalization(axis=1, dtype="f8")
    layer = bn.BatchNormalization(
        axis=1, gamma_regularizer="l2", beta_regularizer=bn.Regularizer(l1=0.5), dtype="f8"
    )
    for each in (plain, layer):
        each.build((3, 4))
        each.gamma.data[...], each.beta.data[...] = [1, -2, 3], [1, -1, 0]
        each(X)
        each.backward(X)
    np.testing.assert_allclose(layer.gamma.grad - plain.gamma.grad, [0.02, -0.04, 0.06], atol=1e-12)
    np.testing.assert_allclose(layer.beta.grad - plain.beta.grad, [0.5, -0.5, 0], atol=1e-12)
    assert layer.regularization_loss() == pytest.approx(0.01 * 14 + 0.5 * 2)
    assert plain.regularization_loss() == 0


def renorm(**clipping):
    layer = bn.BatchNormalization(axis=1, renorm=True, renorm_clipping=clipping, dtype="f8")
    layer.build((3, 4))
    layer.renorm_mean[...], layer.renorm_stddev[...] = [1.0, 2.0, 3.0], [0.5, 1.0, 2.0]
    return layer


def test_renorm_normalizes_with_the_running_statistics_as_far_as_the_clipping_allows():
    y = renorm()(X)  # without bounds it normalizes wholly with them
    expected = (X - np.array([[1.0], [2.0], [3.0]])) / np.array([[0.5], [1.0], [2.0]])
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    y = renorm(rmin=1, rmax=1, dmax=0)(X)  # at these it does not at all
    np.testing.assert_allclose(y, bn.BatchNormalization(axis=1, dtype="f8")(X), atol=1e-12)


def test_renorm_keeps_deviations_and_a_variance_made_of_them():
    layer = renorm()
    layer(X)
    std = np.sqrt(X.var((0, 2)) + 1e-3)
    np.testing.assert_allclose(layer.renorm_stddev, 0.99 * np.array([0.5, 1, 2]) + 0.01 * std)
    np.testing.assert_allclose(layer.moving_stddev, 0.99 + 0.01 * std)
    np.testing.assert_allclose(layer.moving_variance, layer.moving_stddev**2 - 1e-3)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("options", [{}, {"sample_weight": np.arange(6.0)}], ids=["", "weighted"])
def test_the_gradients_of_renorm_are_exact_where_its_correction_is_constant(options, affine, rng):
    class Clipped(bn.Module):
        """Its r and d are at their bounds, and stay there."""

        def __init__(self):
            self.layer = bn.BatchNormalization(
                axis=1, renorm=True, renorm_clipping={"rmin": 0.7, "rmax": 0.7, "dmax": 0.1},
                center=affine, scale=affine, dtype="f8",
            )  # fmt: skip
            self.layer.build((3, 4))
            self.layer.renorm_mean[...] = -9

        def forward(self, x):
            with bn.no_stat_update():
                return self.layer(x, **options)

        def backward(self, dy):
            return self.layer.backward(dy)

    gradcheck(Clipped(), rng.standard_normal((6, 3, 4)), tol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_the_gradients_of_renorm_in_eval_mode_are_those_of_the_running_statistics(affine, rng):
    layer = bn.BatchNormalization(axis=1, renorm=True, center=affine, scale=affine, dtype="f8")
    layer(X)
    gradcheck(layer.eval(), rng.standard_normal((6, 3, 4)), tol=1e-5)


def test_the_correction_of_renorm_is_a_constant_in_the_gradient(rng):
    dy = rng.standard_normal(X.shape)
    layer, plain = renorm(), bn.BatchNormalization(axis=1, dtype="f8")
    layer(X)
    plain.build((3, 4))
    r = np.sqrt(X.var((0, 2)) + 1e-3) / [0.5, 1, 2]
    plain.gamma.data[...] = r
    plain(X)
    np.testing.assert_allclose(layer.backward(dy), plain.backward(dy), atol=1e-12)


BAD = {
    "gamma_regularizer must be one of l1, L1, l2, L2, l1_l2, got 'l3'": {"gamma_regularizer": "l3"},
    "renorm_clipping must have keys of rmin, rmax, dmax, got 'max'": {
        "renorm": True,
        "renorm_clipping": {"max": 3},
    },
    "rmin must be at most rmax, got 3 > 1": {
        "renorm": True,
        "renorm_clipping": {"rmin": 3, "rmax": 1},
    },
    r"renorm_clipping\['dmax'\] must be a number of at least 0, got -1": {
        "renorm": True,
        "renorm_clipping": {"dmax": -1},
    },
    "renorm_momentum must be between 0 and 1, got 2": {"renorm": True, "renorm_momentum": 2},
}


@pytest.mark.parametrize("message", BAD)
def test_options_of_a_keras_layer_that_do_not_fit_are_refused(message):
    with pytest.raises(ValueError, match=message):
        bn.BatchNormalization(**BAD[message])
    with pytest.raises(ValueError, match="l1 must be a number of at least 0, got -1"):
        bn.Regularizer(l1=-1)
