"""Adjoining layers are computed in one pass, with the results of each by itself."""

import numpy as np
import pytest
from arrays import normal
from recorded import f64, forward_of

import bn
from bn import nn

F32, F64 = 2e-6, 1e-12


def conv(channels, out, **options):
    return nn.Conv2d(channels, out, 3, padding=1, rng=channels, **options)


def outcome(make, x, fused, training=True, steps=1):
    """Return y, dx, gradients and running statistics after some steps with or without fusion."""
    with nn.fused(fused):
        model = make().train(training)
        for _ in range(steps):
            y = model(x)
            dy = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
            dx = model.backward(dy)
    grads = [p.grad for p in model.parameters()]
    return model, [y, dx, *grads], [buffer for _, buffer in model.named_state()]


def joined(model):
    """Return the names of the calls of each pass of the last forward that joins several."""
    calls = model.last_record.calls
    inner = {id(before) for call in calls for before in call.joined}
    last = (call for call in calls if call.joined and id(call) not in inner)
    return [" ".join(c.name for c in (*call.joined, call)) for call in last]


def assert_fusion(make, x, expected, training=True, steps=1):
    """Check which calls are joined, and that results agree with those of each layer by itself."""
    model = make().train(training)
    for _ in range(steps):
        model(x)
    assert joined(model) == expected
    _, ours, state = outcome(make, x, fused=True, training=training, steps=steps)
    _, theirs, other_state = outcome(make, x, fused=False, training=training, steps=steps)
    tolerance = F64 if x.dtype == np.float64 else F32
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))
    for a, b in zip(state, other_state, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- batch normalization ----

NORM_RELU = "BatchNorm2d ReLU"
ACTIVATIONS = [nn.ReLU, nn.ReLU6, nn.LeakyReLU, lambda: nn.LeakyReLU(0.3)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 7), (4, 5, 3, 6)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_normalization_takes_the_activation_behind_it(training, activation, shape, dtype):
    def make():
        return nn.Sequential(bn.BatchNormalization(axis=1, dtype=dtype), activation())

    name = type(activation()).__name__
    x = normal(*shape, dtype=dtype, seed=1)
    assert_fusion(make, x, [f"BatchNormalization {name}"], training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [2, 3, (1, 2), (4, 3)])
@pytest.mark.parametrize("channels", [2, 7, 16, 24, 70])
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_a_normalization_takes_the_pooling_behind_it(training, pool, channels, size):
    def make():
        norm = bn.BatchNorm2d(channels, dtype=np.float64)
        norm.weight[...], norm.bias[...] = normal(channels, seed=3), normal(channels, seed=4)
        return nn.Sequential(norm, nn.ReLU(), nn.MaxPool2d(pool))

    x = nn.channels_last(normal(3, channels, *size, dtype=np.float64, seed=1))
    assert_fusion(make, x, ["BatchNorm2d ReLU MaxPool2d"], training)


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan])
def test_a_pooling_sees_weights_that_are_zero_negative_or_no_number(weight):
    def make():
        norm = bn.BatchNorm2d(3)
        norm.weight[1] = weight
        return nn.Sequential(norm, nn.LeakyReLU(), nn.MaxPool2d(2))

    x = nn.channels_last(normal(3, 3, 6, 6, dtype=np.float32, seed=1))
    assert_fusion(make, x, ["BatchNorm2d LeakyReLU MaxPool2d"])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{"stride": 2, "padding": 1}, {"stride": 1}, {"stride": 4}])
def test_windows_that_overlap_or_leave_gaps_are_taken_too(training, options):
    def make():
        norm = bn.BatchNorm2d(9, dtype=np.float64)
        norm.weight[...] = normal(9, seed=3)
        return nn.Sequential(norm, nn.ReLU(), nn.MaxPool2d(3, **options))

    x = nn.channels_last(normal(2, 9, 11, 8, dtype=np.float64, seed=1))
    assert_fusion(make, x, ["BatchNorm2d ReLU MaxPool2d"], training)


def test_a_pooling_without_an_activation_and_channels_last_arrays():
    def make():
        return nn.Sequential(bn.BatchNormalization(), nn.MaxPool2d(2, axis=-1))

    x = normal(3, 8, 6, 5, dtype=np.float32, seed=1)
    assert_fusion(make, x, ["BatchNormalization MaxPool2d"])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Identity])
def test_a_normalization_takes_the_addition_behind_it(training, activation):
    def make():
        body = nn.Sequential(conv(8, 8, bias=False), bn.BatchNorm2d(8))
        return nn.Sequential(conv(3, 8), nn.ReLU(), nn.Residual(body), activation())

    last = "" if activation is nn.Identity else f" {activation.__name__}"
    x = normal(2, 3, 6, 6, dtype=np.float32, seed=1)
    assert_fusion(make, x, ["Conv2d ReLU", f"BatchNorm2d add{last}"], training)


def test_of_two_normalizations_that_are_added_one_takes_the_other():
    def make():
        body = nn.Sequential(conv(3, 8, bias=False), bn.BatchNorm2d(8))
        shortcut = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False, rng=1), bn.BatchNorm2d(8))
        return nn.Sequential(nn.Residual(body, shortcut), nn.ReLU())

    x = normal(2, 3, 6, 6, dtype=np.float32, seed=1)
    assert_fusion(make, x, ["BatchNorm2d add ReLU"])


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.LeakyReLU])
def test_halves_are_refused_by_activations_in_a_model_too(activation):
    model = nn.Sequential(bn.BatchNorm2d(4), activation())
    x = normal(2, 4, 3, 3, dtype=np.float32, seed=1).astype(np.float16)
    with pytest.raises(TypeError, match=r"in 1: x of .*ReLU6? must be float32 or float64"):
        model(x)


def test_several_steps_leave_the_same_running_statistics():
    def make():
        return nn.Sequential(conv(3, 8, bias=False), bn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))

    x = normal(4, 3, 8, 8, dtype=np.float32, seed=1)
    assert_fusion(make, x, ["BatchNorm2d ReLU MaxPool2d"], steps=3)


def test_an_empty_batch_passes():
    model = nn.Sequential(bn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
    y = model(np.ones((0, 3, 4, 4), np.float32))
    assert y.shape == (0, 3, 2, 2)
    assert model.backward(y).shape == (0, 3, 4, 4)


# ---- convolutions ----


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("channels", [3, 16, 20, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_convolution_takes_the_activation_behind_it(activation, channels, dtype):
    def make():
        return nn.Sequential(conv(3, channels, dtype=dtype), activation())

    name = type(activation()).__name__
    assert_fusion(make, normal(2, 3, 9, 7, dtype=dtype, seed=1), [f"Conv2d {name}"])


@pytest.mark.parametrize("channels", [3, 16, 40])
@pytest.mark.parametrize("pool", [2, 3, (1, 2), (2, 5)])
@pytest.mark.parametrize("axis", [1, -1])
def test_a_convolution_takes_the_pooling_behind_it(channels, pool, axis):
    def make():
        return nn.Sequential(conv(3, channels, axis=axis), nn.ReLU(), nn.MaxPool2d(pool, axis=axis))

    shape = (3, 3, 33, 14) if axis == 1 else (3, 33, 14, 3)
    assert_fusion(make, normal(*shape, dtype=np.float32, seed=1), ["Conv2d ReLU MaxPool2d"])


@pytest.mark.parametrize("channels", [3, 16, 24])
def test_a_convolution_takes_the_addition_and_the_rest_behind_it(channels):
    def make():
        return nn.Sequential(nn.Residual(conv(channels, channels)), nn.ReLU(), nn.MaxPool2d(2))

    x = normal(3, channels, 12, 9, dtype=np.float32, seed=1)
    assert_fusion(make, x, ["Conv2d add ReLU MaxPool2d"])


@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2}, {"groups": 6}])
def test_other_convolutions_take_an_activation(options):
    def make():
        return nn.Sequential(nn.Conv2d(6, 6, 3, padding=2, rng=0, **options), nn.ReLU())

    assert_fusion(make, normal(2, 6, 9, 9, dtype=np.float32, seed=1), ["Conv2d ReLU"])


def test_groups_of_several_channels_are_computed_by_themselves():
    def make():
        return nn.Sequential(conv(6, 6, groups=2), nn.ReLU())

    assert_fusion(make, normal(2, 6, 5, 5, dtype=np.float32, seed=1), [])


def test_images_are_told_no_gradient_where_they_need_none():
    model = nn.Sequential(conv(3, 8), nn.ReLU())
    y = model(normal(2, 3, 5, 5, dtype=np.float32))
    assert model.backward(np.ones_like(y), input_grad=False) is None
    assert model[0].weight.grad is not None


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(threads):
    def make():
        return nn.Sequential(
            conv(3, 24), bn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2), conv(24, 8), nn.ReLU()
        )

    x = normal(8, 3, 33, 31, dtype=np.float32, seed=1)
    _, expected, _ = outcome(make, x, fused=True)
    with bn.threads(threads):
        _, ours, _ = outcome(make, x, fused=True)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- what is left alone ----


def norm_relu(**options):
    return nn.Sequential(bn.BatchNorm2d(4, **options), nn.ReLU())


IMAGES = normal(3, 4, 5, 5, dtype=np.float32, seed=1)


def test_layers_with_hooks_are_left_alone():
    seen = []
    for i in range(2):
        model = norm_relu()
        model[i].register_forward_hook(lambda layer, inputs, y: seen.append(y.min()))
        y = model(IMAGES)
        assert joined(model) == []
        np.testing.assert_array_equal(y, norm_relu()(IMAGES))
    assert seen[0] < 0 <= seen[1]


def test_watched_layers_are_left_alone():
    model, seen = norm_relu(), []
    with bn.watching(model, lambda path, layer, x, y, batch: seen.append(y.min())):
        model(IMAGES)
    assert len(seen) == 1 and seen[0] < 0
    assert joined(model) == []


def test_masks_weights_and_combine_are_left_alone():
    model = norm_relu()
    model(IMAGES, mask=np.ones((3, 5, 5), bool))
    assert joined(model) == []
    model[0].combine = lambda part: part
    model(IMAGES)
    assert joined(model) == []


def test_frozen_layers_are_left_alone():
    model = bn.freeze(norm_relu())
    model(IMAGES)
    assert joined(model) == []


@pytest.mark.parametrize("convention", ["darknet"])
def test_conventions_with_a_correction_are_left_alone(convention):
    model = nn.Sequential(bn.preset(convention, 4, axis=1), nn.ReLU())
    model(IMAGES)
    assert joined(model) == []


class LoudReLU(nn.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


class Shifted(bn.BatchNorm2d):
    def forward(self, x, **options):
        return super().forward(x + 1, **options)


def test_subclasses_are_left_alone():
    model = nn.Sequential(bn.BatchNorm2d(4), LoudReLU())
    plain = norm_relu()
    np.testing.assert_array_equal(model(IMAGES), 2 * plain(IMAGES))
    assert joined(model) == []
    model = nn.Sequential(Shifted(4), nn.ReLU())
    model(IMAGES)
    assert joined(model) == []
    np.testing.assert_allclose(model[0].running_mean, plain[0].running_mean + 0.1, atol=1e-6)


def test_a_layer_whose_forward_was_replaced_is_left_alone():
    model = norm_relu()
    model[1].forward = np.zeros_like
    assert not model(IMAGES).any()


def test_fused_false_computes_each_layer_by_itself():
    with nn.fused(False):
        model = norm_relu()
        model(IMAGES)
        assert joined(model) == []
        with nn.fused(True):
            model(IMAGES)
            assert joined(model) == [NORM_RELU]
    with pytest.raises(TypeError, match="mode must be True or False, got 'no'"):
        nn.fused("no")


# ---- values that are needed elsewhere too ----


def branches(x, norm, act, pool):
    """Return what needs the normalized values, and the activated ones, twice."""
    normalized = norm(x)
    activated = act(normalized)
    return pool(activated).mean((2, 3)) + activated.mean((2, 3)) + normalized.mean((2, 3))


@pytest.mark.parametrize("training", [True, False])
def test_a_value_that_is_needed_elsewhere_is_right_in_the_first_pass_and_alone_in_the_next(
    training,
):
    def make():
        norm = bn.BatchNorm2d(4, dtype=np.float64)
        return forward_of(branches, norm, nn.ReLU(), nn.MaxPool2d(2))

    x = nn.channels_last(normal(3, 4, 6, 6, dtype=np.float64, seed=1))
    model = make().train(training)
    model(x)
    assert joined(model) == ["BatchNorm2d ReLU MaxPool2d"]
    model(x)
    assert joined(model) == []
    for steps in (1, 2):
        _, ours, state = outcome(make, x, fused=True, training=training, steps=steps)
        _, theirs, other = outcome(make, x, fused=False, training=training, steps=steps)
        for a, b in zip((*ours, *state), (*theirs, *other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def twice(x, norm, act, other):
    normalized = norm(x)
    return act(normalized) + other(normalized) + normalized * 2


def test_two_activations_of_one_normalization():
    def make():
        norm = bn.BatchNorm2d(4, dtype=np.float64)
        return forward_of(twice, norm, nn.ReLU(), nn.LeakyReLU())

    x = normal(3, 4, 6, 6, dtype=np.float64, seed=1)
    for steps in (1, 2):
        _, ours, _ = outcome(make, x, fused=True, steps=steps)
        _, theirs, _ = outcome(make, x, fused=False, steps=steps)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def doubled(x, norm, act):
    normalized = norm(x)
    return act(normalized + normalized)


def test_a_normalization_added_to_itself():
    def make():
        return forward_of(doubled, bn.BatchNorm2d(4, dtype=np.float64), nn.ReLU())

    x = normal(3, 4, 6, 6, dtype=np.float64, seed=1)
    assert_fusion(make, x, [])


def test_a_layer_that_is_used_twice():
    def forward(x, first, act, norm):
        return act(norm(act(norm(first(x)))))

    def make():
        layers = conv(3, 4, dtype=np.float64), nn.ReLU(), bn.BatchNorm2d(4, dtype=np.float64)
        return forward_of(forward, *layers)

    x = normal(3, 3, 6, 6, dtype=np.float64, seed=1)
    assert_fusion(make, x, [NORM_RELU, NORM_RELU])


def test_what_nobody_needs_enters_the_running_statistics_nevertheless():
    def forward(x, norm, act):
        act(norm(x))
        return act(x)

    norm, alone = bn.BatchNorm2d(4), bn.BatchNorm2d(4)
    model = forward_of(forward, norm, nn.ReLU())
    y = model(IMAGES)
    alone(IMAGES)
    np.testing.assert_array_equal(norm.running_mean, alone.running_mean)
    np.testing.assert_array_equal(model.backward(np.ones_like(y)), (IMAGES > 0).astype("f4"))


def test_an_error_after_a_waiting_normalization_takes_its_batch_back():
    model = nn.Sequential(bn.BatchNorm2d(4), nn.ReLU(), nn.Linear(7, 2))
    with pytest.raises(ValueError, match=r"^in 2: "):
        model(IMAGES)
    assert model[0].num_batches_tracked == 0
    assert not model[0].running_mean.any()


def test_errors_name_the_layer_that_has_them():
    model = nn.Sequential(conv(4, 4), bn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(9))
    with pytest.raises(ValueError, match=r"^in 3: .*MaxPool2d"):
        model(IMAGES)
    with pytest.raises(ValueError, match=r"^in 1: "):
        nn.Sequential(nn.ReLU(), bn.BatchNorm2d(3))(IMAGES)


def test_a_gradient_of_another_shape_is_refused():
    class Wrong(nn.Module):
        def forward(self, x):
            self.keep(x, None)
            return x

        def backward(self, dy):
            self.take(dy)
            return dy[:1]

    model = nn.Sequential(bn.BatchNorm2d(4), nn.ReLU(), Wrong())
    y = model(IMAGES)
    with pytest.raises(ValueError, match=r"dy of ReLU.*must have shape"):
        model.backward(np.ones_like(y))


def test_no_grad_keeps_nothing():
    model = nn.Sequential(conv(4, 4), bn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).eval()
    with nn.no_grad():
        y = model(IMAGES)
    assert model.last_record is None
    np.testing.assert_array_equal(y, model(IMAGES))


def test_gradients_agree_with_finite_differences():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False, **f64()),
        bn.BatchNorm2d(4, dtype=np.float64),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.Residual(nn.Sequential(conv(4, 4, dtype=np.float64), bn.BatchNorm2d(4, dtype="f8"))),
        nn.ReLU(),
    )
    nn.gradcheck(model, normal(2, 2, 4, 4, dtype=np.float64, seed=2))


# ---- plans ----


def test_a_plan_tells_what_is_computed_together(capsys):
    model = nn.Sequential(
        conv(3, 16, bias=False), bn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )  # fmt: skip
    before = model.state_dict()
    model.plan((3, 8, 8), batch_size=4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Model: Sequential, training, batches of 4"
    passes = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert passes == ["Computed in one pass", "0", "1 + 2 + 3", "5"]
    x, y, pooled = 4 * 3 * 64, 4 * 16 * 64, 4 * 16 * 16
    first = 4 * (x + y + 3 * 16 * 9)
    second = 4 * (2 * y + 3 * pooled + 2 * 16) + pooled  # the values taken are written and read
    assert f"{first:,}" in lines[4]
    assert f"{second:,}" in lines[5]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_plan_follows_the_mode_and_the_switch(capsys):
    model = norm_relu()
    model.eval().plan((4, 5, 5))
    assert "running statistics" in capsys.readouterr().out
    with nn.fused(False):
        model.plan((4, 5, 5))
        assert "0 + 1" not in capsys.readouterr().out
    with pytest.raises(TypeError, match=r"plan takes a model, .* got the layer ReLU"):
        nn.ReLU().plan((4,))


def test_a_plan_of_layers_by_themselves_counts_what_is_read_for_the_statistics(capsys):
    model, x = nn.Sequential(bn.BatchNorm2d(4), nn.ReLU()), 4 * (2 * 4 * 5 * 5)
    for training, passes in ((True, 2 + 1 + 2), (False, 1 + 1 + 2)):
        model.train(training)
        with nn.fused(False):
            model.plan((4, 5, 5), batch_size=2)
        assert f"Bytes: {passes * x + 4 * 2 * 4:,}\n" in capsys.readouterr().out


def test_a_plan_names_the_operations_of_models_inside(capsys):
    block = nn.Residual(nn.Sequential(conv(4, 4), bn.BatchNorm2d(4)))
    nn.Sequential(block, nn.ReLU()).plan((4, 5, 5))
    assert "0.body.1 + 0 (add) + 1" in capsys.readouterr().out


# ---- what changes between a call and the moment its output is computed ----


def test_parameters_that_are_replaced_after_a_call_do_not_matter_for_its_output():
    class Quantized(nn.Module):
        def __init__(self):
            self.conv, self.norm, self.act = conv(3, 4), bn.BatchNorm2d(4), nn.ReLU()

        def forward(self, x):
            kept = self.conv.weight.data
            self.conv.weight.data = np.round(kept * 8) / 8
            x = self.conv(x)
            self.conv.weight.data = kept
            self.norm.weight[...] = 2
            x = self.norm(x)
            self.norm.weight[...] = 1
            return self.act(x)

    x = normal(2, 3, 6, 6, dtype=np.float32)
    with nn.fused(False):
        expected = Quantized()(x)
    np.testing.assert_array_equal(Quantized()(x), expected)


def test_winograd_is_as_it_was_at_the_call():
    def forward(x, layer):
        with nn.winograd(False):
            return layer(x)

    layer, x = conv(16, 16), normal(2, 16, 8, 8, dtype=np.float32)
    with nn.winograd(False):
        expected = layer(x)
    np.testing.assert_array_equal(forward_of(forward, layer)(x), expected)
    assert not np.array_equal(layer(x), expected)


def test_a_step_between_forward_and_backward_does_not_change_where_the_activation_was_open():
    x = normal(4, 3, 8, 8, seed=1)
    grads = []
    for fused in (True, False):
        model = nn.Sequential(bn.BatchNorm2d(3, dtype=np.float64), nn.ReLU())
        with nn.fused(fused):
            y = model(x)
            model[0].bias[...] += 1
            model.backward(np.ones_like(y))
        grads.append(model[0].bias.grad)
    np.testing.assert_array_equal(*grads)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_the_gradient_passes_a_relu_where_y_is_no_number(name, pool):
    def make():
        norm = bn.BatchNorm2d(3, dtype=np.float64)
        getattr(norm, name)[1] = np.nan
        return nn.Sequential(norm, nn.ReLU(), *[nn.MaxPool2d(2)] * pool)

    x = nn.channels_last(normal(2, 3, 4, 4, dtype=np.float64, seed=1))
    _, ours, _ = outcome(make, x, fused=True)
    _, theirs, _ = outcome(make, x, fused=False)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
