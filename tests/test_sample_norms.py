"""Layer, RMS, group and instance normalization beside their formulas, with gradients."""

import copy

import ml_dtypes
import numpy as np
import pytest
from gradcheck import gradcheck
from layouts import channels_last_memory, every_second, fortran, misaligned

import bn
from bn import nn

LIMIT = {np.float32: 3e-6, np.float64: 1e-12}
HALVES = {np.float16: 2**-10, ml_dtypes.bfloat16: 2**-7}


def normalized(x, axes, weight, bias, eps, about_zero=False):
    """Return the formula in float64, and its gradient with respect to x as a function of dy."""
    x = np.asarray(x, np.float64)
    mean = 0 if about_zero else x.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps)
    xhat = (x - mean) * rstd

    def gradient(dy):
        g = np.asarray(dy, np.float64) * weight
        own = 0 if about_zero else g.mean(axes, keepdims=True)
        return rstd * (g - own - xhat * (g * xhat).mean(axes, keepdims=True))

    return xhat * weight + bias, gradient, xhat


def in_groups(x, groups, weight, bias, eps):
    """Return the same for groups of channels on axis 1."""
    shape = x.shape
    channels = [1, shape[1], *[1] * (x.ndim - 2)]
    wide_weight = np.broadcast_to(weight.reshape(channels), shape).reshape(len(x), groups, -1)
    wide_bias = np.broadcast_to(bias.reshape(channels), shape).reshape(len(x), groups, -1)
    y, gradient, xhat = normalized(x.reshape(len(x), groups, -1), 2, wide_weight, wide_bias, eps)
    return (
        y.reshape(shape),
        lambda dy: gradient(dy.reshape(len(x), groups, -1)).reshape(shape),
        xhat.reshape(shape),
    )


def draw(shape, dtype=np.float64, seed=0, far=3.0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * 2 + far).astype(dtype)


def with_parameters(layer, seed=1):
    """Give a layer parameters that are not all alike."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    return layer


def assert_close(found, expected, dtype, size=1.0):
    if dtype in HALVES:
        np.testing.assert_allclose(
            np.asarray(found, float), expected, rtol=HALVES[dtype], atol=2e-2
        )
        return
    limit = LIMIT[dtype] * (np.abs(expected).max(initial=1) + size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


# ---- values and gradients ----

ROWS = [(5, 7), (3, 4, 6), (64, 768), (33, 1), (1, 20000), (40, 300), (7,)]
MAPS = [(2, 6, 5, 3), (3, 64, 4, 4), (2, 96, 1, 1), (1, 32, 50, 41), (4, 8, 9), (5, 12)]


@pytest.mark.parametrize("dtype", [*LIMIT, *HALVES])
@pytest.mark.parametrize("shape", ROWS)
def test_layer_norm_and_its_gradients_are_the_formula(shape, dtype):
    x, dy = draw(shape, dtype), draw(shape, dtype, 2, 0.0)
    layer = with_parameters(bn.LayerNorm(shape[-1]))
    weight, bias = (p.data.astype(float) for p in layer.parameters())
    y, gradient, xhat = normalized(x, -1, weight, bias, 1e-5)
    assert_close(layer(x), y, dtype)
    assert_close(layer.backward(dy), gradient(dy), dtype)
    rows = tuple(range(x.ndim - 1))
    dy = np.asarray(dy, float)
    size = np.abs(dy * xhat).sum(rows).max()
    np.testing.assert_allclose(layer.weight.grad, (dy * xhat).sum(rows), atol=2e-6 * size + 1e-7)
    np.testing.assert_allclose(layer.bias.grad, dy.sum(rows), atol=2e-6 * size + 1e-6)
    np.testing.assert_array_equal(
        bn.layer_norm(x, shape[-1], layer.weight.data, layer.bias.data), layer(x)
    )


@pytest.mark.parametrize("dtype", [*LIMIT, *HALVES])
@pytest.mark.parametrize("shape", ROWS)
def test_rms_norm_and_its_gradients_are_the_formula(shape, dtype):
    x, dy = draw(shape, dtype), draw(shape, dtype, 2, 0.0)
    layer = with_parameters(bn.RMSNorm(shape[-1], 1e-6))
    y, gradient, xhat = normalized(x, -1, layer.weight.data.astype(float), 0, 1e-6, True)
    assert_close(layer(x), y, dtype)
    assert_close(layer.backward(dy), gradient(dy), dtype)
    expected = (np.asarray(dy, float) * xhat).sum(tuple(range(x.ndim - 1)))
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(bn.rms_norm(x, shape[-1], layer.weight.data, 1e-6), layer(x))


@pytest.mark.parametrize("groups", [1, 2, "channels"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [*LIMIT, *HALVES])
@pytest.mark.parametrize("shape", MAPS)
def test_group_norm_and_its_gradients_are_the_formula(shape, dtype, last, groups):
    groups = shape[1] if groups == "channels" else groups
    if groups == shape[1] and len(shape) == 2:
        groups = 3
    x, dy = draw(shape, dtype), draw(shape, dtype, 2, 0.0)
    layer = with_parameters(bn.GroupNorm(groups, shape[1]))
    weight, bias = (p.data.astype(float) for p in layer.parameters())
    y, gradient, xhat = in_groups(x.astype(float), groups, weight, bias, 1e-5)
    if last:
        x, dy = channels_last_memory(x), channels_last_memory(dy)
    found = layer(x)
    assert_close(found, y, dtype)
    assert_close(layer.backward(dy), gradient(dy.astype(float)), dtype)
    others = tuple(i for i in range(x.ndim) if i != 1)
    terms = dy.astype(float) * xhat
    size = np.abs(terms).sum(others).max()
    np.testing.assert_allclose(layer.weight.grad, terms.sum(others), atol=2e-6 * size + 1e-7)
    np.testing.assert_allclose(
        layer.bias.grad, dy.astype(float).sum(others), atol=2e-6 * size + 1e-6
    )
    np.testing.assert_array_equal(
        bn.group_norm(x, groups, layer.weight.data, layer.bias.data), found
    )


@pytest.mark.parametrize("groups", [2, 3])
def test_channels_on_the_last_axis_are_the_same_layer(groups):
    x = draw((2, 6, 5, 3), np.float32)
    first, last = bn.GroupNorm(groups, 6), bn.GroupNorm(groups, 6, axis=-1)
    images = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(last(images), -1, 1), first(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (bn.LayerNorm(5, dtype=float), (4, 3, 5)),
        (bn.LayerNorm((3, 5), dtype=float), (4, 3, 5)),
        (bn.LayerNorm(5, bias=False, dtype=float), (4, 5)),
        (bn.LayerNorm(5, elementwise_affine=False, dtype=float), (4, 5)),
        (bn.RMSNorm((3, 5), dtype=float), (4, 3, 5)),
        (bn.RMSNorm(5, elementwise_affine=False, dtype=float), (4, 5)),
        (bn.GroupNorm(2, 6, dtype=float), (3, 6, 4)),
        (bn.GroupNorm(2, 6, affine=False, dtype=float), (3, 6, 4)),
        (bn.GroupNorm(3, 6, axis=-1, dtype=float), (3, 4, 6)),
        (bn.InstanceNorm1d(4, affine=True, dtype=float), (3, 4, 5)),
        (bn.InstanceNorm2d(4, dtype=float), (3, 4, 5, 2)),
        (bn.InstanceNorm3d(2, affine=True, axis=-1, dtype=float), (3, 4, 2, 3, 2)),
        (bn.LayerNormalization([1, 3], dtype=float), (3, 4, 2, 5)),
        (bn.LayerNormalization(1, dtype=float), (3, 4, 2)),
        (bn.GroupNormalization(2, dtype=float), (3, 4, 2, 6)),
        (bn.GroupNormalization(-1, axis=1, dtype=float), (3, 4, 5)),
    ],
    ids=str,
)
def test_gradients_are_those_of_the_output(layer, shape):
    layer(draw(shape))
    gradcheck(with_parameters(layer), draw(shape))


def test_in_eval_mode_running_statistics_are_constants():
    layer = with_parameters(
        bn.InstanceNorm1d(4, affine=True, track_running_stats=True, dtype=float)
    )
    layer(draw((3, 4, 5)))
    gradcheck(layer.eval(), draw((3, 4, 5)))


# ---- digits ----


@pytest.mark.parametrize("last", [False, True])
def test_a_mean_far_from_zero_costs_no_digits(last):
    x = (draw((4, 8, 30, 30), far=0.0) + 2e6).astype(np.float32)
    ones, zeros = np.ones(8), np.zeros(8)
    images = channels_last_memory(x) if last else x
    y, _, _ = in_groups(x.astype(float), 2, ones, zeros, 1e-5)
    np.testing.assert_allclose(bn.group_norm(images, 2), y, rtol=0, atol=2e-6)
    y, _, _ = normalized(x, -1, 1, 0, 1e-5)
    np.testing.assert_allclose(bn.layer_norm(x, 30), y, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_beyond_float32_are_summed_in_float64(size):
    x = (draw((3, 40), far=0.0) * size).astype(np.float32)
    for found, about_zero in ((bn.layer_norm(x, 40, eps=0.0), 0), (bn.rms_norm(x, 40, eps=0.0), 1)):
        y, _, _ = normalized(x, -1, 1, 0, 0.0, about_zero)
        np.testing.assert_allclose(found, y, rtol=0, atol=3e-6)


def test_equal_values_become_the_bias():
    bias = np.arange(6.0)
    x = np.full((2, 6), 0.1, np.float32)
    np.testing.assert_array_equal(bn.layer_norm(x, 6, None, bias), np.tile(bias, (2, 1)))
    x = np.full((2, 6, 7), 0.1, np.float32)
    expected = np.broadcast_to(bias[:, None], x.shape)
    np.testing.assert_array_equal(bn.group_norm(x, 3, None, bias, eps=0.0), expected)


def test_what_is_not_finite_stays_in_its_own_part():
    x = draw((3, 6, 4), np.float32)
    x[1, 2, 0] = np.nan
    y = bn.group_norm(x, 3)
    assert np.isnan(y[1, 2:4]).all() and np.isnan(y).sum() == 8
    assert np.isnan(bn.layer_norm(x, 4)).sum() == 4


# ---- bits ----


def calls(x):
    """Yield functions of x whose bits must not depend on anything but its values."""
    weight, bias = np.linspace(0.5, 2, x.shape[-1]), np.linspace(-1, 1, x.shape[-1])
    yield lambda x: bn.layer_norm(x, x.shape[-1], weight, bias)
    yield lambda x: bn.rms_norm(x, x.shape[-1], weight)
    yield bn.instance_norm
    yield lambda x: bn.group_norm(x, 4)


def gradients(layer, x, dy):
    layer.zero_grad()
    layer(x)
    dx = layer.backward(dy)
    return [dx, *(p.grad.copy() for p in layer.parameters())]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    x, dy = draw((70, 64, 33, 5), dtype), draw((70, 64, 33, 5), dtype, 3)
    layers = [bn.LayerNorm(5), bn.LayerNorm((64, 33, 5)), bn.GroupNorm(4, 64), bn.RMSNorm((33, 5))]
    images = channels_last_memory(x)
    for layer in layers:
        with bn.threads(1):
            one = [layer(x), layer(images), *gradients(layer, x, dy)]
        for number in (2, 3, 5):
            with bn.threads(number):
                more = [layer(x), layer(images), *gradients(layer, x, dy)]
            for a, b in zip(one, more, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("placed", [every_second, fortran, misaligned])
def test_where_an_array_lies_changes_no_bit(placed):
    x = draw((3, 8, 6, 5), np.float32)
    for call in calls(x):
        np.testing.assert_array_equal(call(placed(x)), call(x))
    dy = draw(x.shape, np.float32, 2)
    for layer in (bn.LayerNorm(5), bn.GroupNorm(2, 8), bn.InstanceNorm2d(8, affine=True)):
        for a, b in zip(
            gradients(layer, placed(x), dy), gradients(layer, x, placed(dy)), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_group_norm_keeps_the_order_of_axes_in_memory():
    x = channels_last_memory(draw((2, 8, 6, 5), np.float32))
    layer = bn.GroupNorm(2, 8)
    assert layer(x).strides == x.strides
    assert layer.backward(x).strides == x.strides


def test_instance_norm_is_batch_norm_of_each_sample():
    x = draw((3, 8, 6, 5), np.float32)
    y = bn.instance_norm(x)
    for i in range(len(x)):
        np.testing.assert_array_equal(y[i : i + 1], bn.normalize_batch(x[i : i + 1])[0])


# ---- fused ----


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.LeakyReLU])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: bn.LayerNorm(33, dtype=float), (9, 33)),
        (lambda: bn.RMSNorm(33, dtype=float), (9, 33)),
        (lambda: bn.GroupNorm(2, 6, dtype=float), (3, 6, 5, 7)),
        (lambda: bn.InstanceNorm2d(6, affine=True, dtype=float), (3, 6, 5, 7)),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_an_addition_and_an_activation_join(make, shape, adds, activation, last):
    class Block(nn.Module):
        def __init__(self):
            self.norm, self.after = with_parameters(make()), activation()

        def forward(self, x):
            y = self.norm(x)
            return self.after(y + x if adds else y)

    block, x, dy = Block(), draw(shape, far=0.0), draw(shape, seed=5)
    if last and len(shape) == 4:
        x, dy = channels_last_memory(x), channels_last_memory(dy)
    with nn.fused(False):
        apart = gradients(block, x, dy), block(x)
    for a, b in zip([*gradients(block, x, dy), block(x)], [*apart[0], apart[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    gradcheck(block, x)


def test_the_plan_shows_what_is_computed_together(capsys):
    nn.Sequential(bn.GroupNorm(2, 6), nn.ReLU()).plan((6, 4, 4))
    assert "0 + 1" in capsys.readouterr().out


# ---- running statistics of instance normalization ----


def test_running_statistics_are_the_means_over_samples():
    layer = bn.InstanceNorm1d(2, momentum=0.5, track_running_stats=True, dtype=float)
    x = draw((3, 2, 5))
    layer(x)
    np.testing.assert_allclose(layer.running_mean, 0.5 * x.mean((0, 2)))
    np.testing.assert_allclose(layer.running_var, 0.5 + 0.5 * x.var(2, ddof=1).mean(0))
    assert layer.num_batches_tracked == 1
    mean, var = np.zeros(2), np.ones(2)
    bn.instance_norm(x, mean, var, momentum=0.5)
    np.testing.assert_allclose(mean, layer.running_mean)
    np.testing.assert_allclose(var, layer.running_var)
    layer.eval()
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    np.testing.assert_allclose(layer(x), expected)
    np.testing.assert_allclose(bn.instance_norm(x, mean, var, use_input_stats=False), expected)


def test_without_running_statistics_eval_mode_is_training_mode():
    layer, x = bn.InstanceNorm1d(2), draw((3, 2, 5))
    np.testing.assert_array_equal(layer(x), layer.eval()(x))
    with bn.no_stat_update():
        tracked = bn.InstanceNorm1d(2, track_running_stats=True)
        tracked(x)
    assert tracked.num_batches_tracked == 0


# ---- Keras ----


def test_keras_layers_learn_their_sizes():
    layer = bn.LayerNormalization(axis=[1, -1])
    assert not layer.built
    layer.build((4, 3, 5))
    assert (
        layer.built
        and layer.gamma.shape == (4, 5)
        and list(layer.state_dict()) == ["gamma", "beta"]
    )
    groups = bn.GroupNormalization(
        groups=2, gamma_initializer=lambda shape, dtype: np.full(shape, 2)
    )
    groups(np.ones((2, 3, 3, 4), np.float32))
    assert groups.gamma.data.tolist() == [2, 2, 2, 2]
    with pytest.raises(ValueError, match="takes 4 channels on axis 3"):
        groups(np.ones((2, 3, 3, 6), np.float32))
    with pytest.raises(ValueError, match=r"lengths \(4, 5\) on axes \(1, 3\)"):
        layer(np.ones((2, 4, 3, 6), np.float32))


def test_keras_documented_numbers():
    """The example at keras.layers.LayerNormalization: rows become -1 and 1, to eps."""
    data = (np.arange(10).reshape(5, 2) * 10).astype(np.float32)
    y = bn.LayerNormalization(axis=1)(data)
    np.testing.assert_array_equal(y.round(4), np.tile([-1.0, 1.0], (5, 1)).astype(np.float32))


def test_the_axes_of_a_row_may_be_anywhere():
    x = draw((3, 4, 2, 5))
    layer = bn.LayerNormalization(axis=[1, 2], epsilon=0.0, dtype=float)
    y, _, _ = normalized(x, (1, 2), 1, 0, 0.0)
    np.testing.assert_allclose(layer(x), y)


# ---- standardized weights ----


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 3, 3, padding=1, rng=0, dtype=float), (2, 2, 5, 4)),
        (nn.Conv2d(4, 4, 3, groups=4, bias=False, rng=0, dtype=float), (2, 4, 5, 4)),
        (nn.Linear(6, 4, rng=0, dtype=float), (3, 6)),
    ],
    ids=str,
)
def test_a_standardized_weight_has_mean_0_and_variance_1_and_trains(layer, shape):
    standardized = nn.WeightStandardization(layer, eps=0.0)
    weight = standardized.standardized().weight.data.reshape(len(layer.weight.data), -1)
    np.testing.assert_allclose(weight.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(weight.var(1), 1)
    x = draw(shape)
    np.testing.assert_array_equal(standardized(x), standardized.standardized()(x))
    assert list(standardized.state_dict()) == [f"layer.{name}" for name in layer.state_dict()]
    gradcheck(nn.WeightStandardization(layer), x)
    gradcheck(nn.Sequential(nn.WeightStandardization(layer), nn.Tanh()), x)


def test_only_layers_with_a_weight_are_standardized():
    with pytest.raises(TypeError, match="layer must be"):
        nn.WeightStandardization(nn.ReLU())


# ---- edges and errors ----


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0)])
def test_an_empty_input_has_empty_outputs(shape):
    x = np.zeros(shape)
    for layer in (bn.LayerNorm(4), bn.RMSNorm(4)):
        empty = np.zeros((0, 4))
        assert layer(empty).shape == layer.backward(empty).shape == (0, 4)
        assert not layer.weight.grad.any()
    group = bn.GroupNorm(2, 4)
    assert group(x).shape == group.backward(x).shape == shape
    assert not group.weight.grad.any() and not group.bias.grad.any()


def test_copies_states_and_summaries_are_those_of_layers(capsys):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), bn.GroupNorm(2, 4), nn.ReLU())
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict())
    model.summary((3, 8, 8))
    assert "GroupNorm" in capsys.readouterr().out
    x = draw((2, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(model(x), twin(x))
    model.eval()
    np.testing.assert_array_equal(bn.compile(model, (3, 8, 8))(x), model(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: bn.layer_norm(x, 5), r"Given normalized_shape=\[5\], expected x with shape"),
        (lambda x: bn.layer_norm(x, 3, np.ones(4)), r"weight must have shape \(3,\), got \(4,\)"),
        (lambda x: bn.layer_norm(x, "3"), "normalized_shape must be an integer or a tuple"),
        (lambda x: bn.layer_norm(x, 0), "normalized_shape must be a positive integer, got 0"),
        (lambda x: bn.layer_norm(x, 3, eps=-1.0), "eps must be a number of at least 0"),
        (lambda x: bn.rms_norm(x.astype(int), 3), "x must be float16, bfloat16, float32 or"),
        (lambda x: bn.group_norm(x, 4), "num_channels must be divisible by num_groups, got 6"),
        (lambda x: bn.group_norm(x, 2, axis=0), "axis must not be 0"),
        (lambda x: bn.group_norm(x[:1, :, :1], 6), "Expected more than 1 value per channel"),
        (lambda x: bn.instance_norm(x[:, :, :1]), "Expected more than 1 spatial element"),
        (lambda x: bn.instance_norm(x, np.ones(6)), "running_mean and running_var must either"),
        (lambda x: bn.GroupNorm(4, 6), "num_channels must be divisible by num_groups"),
        (bn.GroupNorm(2, 8), r"GroupNorm takes 8 channels on axis 1, got shape"),
        (bn.InstanceNorm2d(6), r"expected 4D input \(got 3D input\)"),
        (lambda x: bn.InstanceNorm1d(6, affine=None), "affine must be True or False, got None"),
        (bn.LayerNorm((6, 4)), r"expected x with shape \[\*, 6, 4\]"),
        (bn.LayerNormalization(axis=0), "not 0, that of the samples"),
        (bn.LayerNormalization(axis=7), "axis must be between -3 and 2"),
        (bn.GroupNormalization(4, axis=1), "must be divisible by groups, got 6"),
        (lambda x: bn.GroupNormalization(0), "groups must be a positive integer, got 0"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(np.ones((2, 6, 3), np.float32))


@pytest.mark.parametrize("layer", [bn.LayerNorm(8), bn.GroupNorm(2, 8), bn.InstanceNorm1d(8)])
def test_a_mask_is_refused_by_the_name_of_the_layer(layer):
    x = np.ones((2, 8, 3), np.float32) if isinstance(layer, bn.InstanceNorm1d) else np.ones((2, 8))
    with pytest.raises(TypeError, match=f"^{type(layer).__name__} takes no argument 'mask'$"):
        layer(x, mask=np.ones(2, bool))
