"""A model with a forward alone trains: its calls are recorded for the backward pass."""

import copy
import pickle
import threading

import numpy as np
import pytest
from arrays import normal, same_state, state
from gradcheck import gradcheck
from recorded import f64, forward_of

import bn
from bn import nn

# ---- models ----


class Unet(nn.Module):
    def __init__(self):
        self.down, self.low = nn.Conv2d(2, 3, 3, padding=1, **f64()), nn.Conv2d(3, 3, 1, **f64())
        self.pool, self.act = nn.AvgPool2d(2), nn.Tanh()
        self.out = nn.Conv2d(6, 1, 3, padding=1, **f64())

    def forward(self, x):
        a = self.act(self.down(x))
        low = self.act(self.low(self.pool(a)))  # the same activation again
        n, c, h, w = low.shape
        wide = low.reshape(n, c, h, 1, w, 1) * np.ones((1, 1, 1, 2, 1, 2))
        return self.out(nn.concatenate([a, wide.reshape(n, c, 2 * h, 2 * w)], axis=1))


class Dense(nn.Module):
    def __init__(self, layers=3):
        self.convs = nn.ModuleList(
            nn.Conv2d(2 + i, 1, 3, padding=1, **f64()) for i in range(layers)
        )
        self.norms = nn.ModuleList(bn.BatchNorm2d(2 + i, dtype=np.float64) for i in range(layers))
        self.act = nn.ReLU()

    def forward(self, x):
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = nn.concatenate([x, conv(self.act(norm(x)))], axis=1)
        return x.mean((2, 3))


class Shared(nn.Module):
    def __init__(self):
        self.layer, self.head = nn.Linear(4, 4, **f64()), nn.Linear(4, 2, **f64())
        self.norm, self.act = bn.BatchNorm1d(4, dtype=np.float64), nn.Tanh()

    def forward(self, x):
        for _ in range(3):
            x = x + self.act(self.norm(self.layer(x)))
        return self.head(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("model", "shape"), [(Unet, (2, 2, 4, 4)), (Dense, (3, 2, 3, 3)), (Shared, (5, 4))]
)
def test_a_model_has_the_right_gradients(model, shape, training):
    gradcheck(model().train(training), normal(*shape), entries=40)


def test_a_model_trains_as_the_same_layers_in_a_sequential():
    def layers():
        return [nn.Conv2d(2, 3, 3, rng=0), bn.BatchNorm2d(3), nn.ReLU(), nn.Linear(12, 2, rng=1)]

    conv, norm, relu, linear = layers()
    model = forward_of(
        lambda x, c, n, r, f: f(r(n(c(x))).reshape(len(x), -1)), conv, norm, relu, linear
    )
    sequence = nn.Sequential(*layers()[:3], nn.Flatten(), layers()[3])
    x = normal(6, 2, 4, 4, dtype=np.float32)
    for _ in range(2):
        y = model(x)
        np.testing.assert_array_equal(y, sequence(x))
        np.testing.assert_array_equal(model.backward(y), sequence.backward(y))
    for mine, other in zip(model.parameters(), sequence.parameters(), strict=True):
        np.testing.assert_array_equal(mine.grad, other.grad)
    np.testing.assert_array_equal(norm.running_var, sequence[1].running_var)


def test_a_layer_used_several_times_gets_the_sum_of_its_gradients():
    linear, relu = nn.Linear(3, 3, **f64()), nn.ReLU()
    for model in (
        nn.Sequential(relu, linear, relu, linear),
        nn.Sequential(relu, nn.Residual(nn.Sequential(relu, linear))),
        nn.Residual(nn.Sequential(linear, relu), linear),
    ):
        gradcheck(model, normal(4, 3))


def test_branches_that_are_not_used_get_no_gradients():
    used, dead = nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)

    def forward(x, used, dead):
        dead(x)
        return used(x)

    model, x = forward_of(forward, used, dead), normal(2, 3, dtype=np.float32)
    model.backward(model(x))
    assert used.weight.grad is not None and dead.weight.grad is None


def test_an_input_that_is_not_used_has_the_gradient_zero():
    model = forward_of(lambda x, layer: layer(np.ones((2, 3), np.float32)), nn.Linear(3, 1, rng=0))
    x = normal(4, 5, dtype=np.float32)
    y = model(x)
    np.testing.assert_array_equal(model.backward(y), np.zeros((4, 5), np.float32))
    assert model.layers[0].weight.grad is not None


def test_the_way_may_depend_on_the_data():
    up, down = nn.Linear(3, 3, **f64()), nn.Linear(3, 3, **f64(rng=1))
    model = forward_of(lambda x, up, down: up(x) if x.data.mean() > 0 else down(x), up, down)
    for x, used in ((np.ones((2, 3)), up), (-np.ones((2, 3)), down)):
        model.zero_grad()
        model.backward(model(x))
        assert [p.grad is not None for p in (up.bias, down.bias)] == [used is up, used is down]
    assert not isinstance(model(x), nn.Value)


def test_several_inputs_have_a_gradient_each():
    class Product(nn.Module):
        def forward(self, a, b):
            return a * b

    a, b = normal(2, 3), normal(2, 3)
    model = Product()
    dy = model(a, b)
    da, db = model.backward(dy)
    np.testing.assert_allclose(da, dy * b)
    np.testing.assert_allclose(db, dy * a)


def test_without_the_gradient_of_the_input_what_needs_only_that_is_left_out():
    calls = []

    class Watched(nn.Tanh):
        def backward(self, dy):
            calls.append(self.name)
            return super().backward(dy)

    before, after = Watched(), Watched()
    before.name, after.name = "before", "after"
    model = nn.Sequential(before, nn.Linear(3, 3, rng=0), after)
    x = normal(2, 3, dtype=np.float32)
    assert model.backward(model(x), input_grad=False) is None
    assert calls == ["after"] and model[1].weight.grad is not None


def test_frozen_layers_get_no_gradients_and_the_backward_pass_ends_before_them():
    model = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Tanh(), nn.Linear(3, 2, rng=1))
    x = normal(4, 3, dtype=np.float32)
    model[0].trainable = False
    assert not model.trainable and not model[0].trainable and model[2].trainable
    dx = model.backward(model(x))
    assert dx.shape == x.shape and model[0].weight.grad is None
    assert model[2].weight.grad is not None
    before = model[0].weight.data.copy()
    nn.SGD(model.parameters(), lr=0.1).step()
    np.testing.assert_array_equal(model[0].weight.data, before)
    model.trainable = True
    model.backward(model(x))
    assert model[0].weight.grad is not None


def test_trainable_of_a_model_holds_for_all_layers_inside():
    model = nn.Sequential(nn.Linear(3, 3, rng=0), bn.BatchNorm1d(3))
    model.trainable = False
    x = normal(4, 3, dtype=np.float32)
    before = model.state_dict()
    model.backward(model(x))
    assert all(p.grad is None for p in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# ---- errors, modes, threads ----


def deep():
    def block():
        return forward_of(lambda x, c, n: n(c(x)), nn.Linear(3, 3, rng=0), bn.BatchNorm1d(3))

    return nn.Sequential(bn.BatchNorm1d(3), nn.Sequential(nn.ReLU(), block()))


def test_an_error_names_the_layer_and_takes_the_statistics_back():
    model = deep()
    model(normal(8, 3, dtype=np.float32))
    before = state(model)
    model[1].append(bn.BatchNorm2d(3))
    with pytest.raises(ValueError, match=r"^in 1\.2: BatchNorm2d: expected 4D input \(got 2D"):
        model(normal(8, 3, dtype=np.float32))
    assert same_state({k: v for k, v in state(model).items() if k in before}, before)
    wrong = deep()
    wrong[1][1].layers[0] = nn.Linear(4, 3, rng=0)
    with pytest.raises(ValueError, match=r"^in 1\.1\.layers\.0: Linear takes 4 features"):
        wrong(normal(8, 3, dtype=np.float32))


def test_after_an_error_inside_a_forward_that_catches_it_the_record_goes_on():
    def forward(x, wrong, right):
        try:
            return wrong(x)
        except ValueError:
            return right(x)

    wrong, right = nn.Linear(5, 2, **f64()), nn.Linear(3, 2, **f64())
    model, alone, x = forward_of(forward, wrong, right), copy.deepcopy(right), normal(4, 3)
    y = model(x)
    np.testing.assert_array_equal(y, alone(x))
    np.testing.assert_array_equal(model.backward(y), alone.backward(y))
    np.testing.assert_array_equal(right.weight.grad, alone.weight.grad)


def test_a_second_forward_replaces_the_record_and_backward_works_once():
    model, x = nn.Sequential(nn.Tanh()), normal(2, 3)
    model(x)
    y = model(2 * x)
    np.testing.assert_allclose(model.backward(np.ones_like(x)), 1 - y**2)
    with pytest.raises(RuntimeError, match="must follow Sequential's forward"):
        model.backward(x)


def test_a_model_in_eval_mode_has_gradients():
    model = nn.Sequential(nn.Linear(3, 3, **f64()), bn.BatchNorm1d(3, dtype=np.float64)).eval()
    gradcheck(model, normal(2, 3))


def test_nothing_is_kept_without_gradients():
    model, x = Dense(), normal(3, 2, 3, 3)
    expected = model.eval()(x)
    model.forget()
    before = [dict(vars(m)) for m in model.modules()]
    with nn.no_grad():
        np.testing.assert_array_equal(model(x), expected)
        with pytest.raises(RuntimeError, match="must follow"):
            model.backward(expected)
    assert [dict(vars(m)) for m in model.modules()] == before
    model.backward(model(x))


def test_many_threads_may_call_one_model_without_gradients():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, rng=0), bn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(4 * 9, 3, rng=0),
    ).eval()  # fmt: skip
    inputs = [normal(2, 2, 8, 8, dtype=np.float32) * (i + 1) for i in range(8)]
    expected = [model(x) for x in inputs]
    wrong = []

    def work(i):
        with nn.no_grad():
            for _ in range(30):
                if not np.array_equal(model(inputs[i]), expected[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_layer_with_models_inside_may_have_a_backward_of_its_own():
    class Halves(nn.Module):
        def __init__(self):
            self.net = nn.Sequential(nn.Linear(3, 3, **f64()), nn.Tanh())

        def forward(self, x):
            y = self.net(x) / 2
            self.keep(y)
            return y

        def backward(self, dy):
            self.take(dy)
            return self.net.backward(dy / 2)

    halves = Halves()
    gradcheck(halves, normal(2, 3))
    gradcheck(forward_of(lambda x, layer: layer(layer(x)) + x, halves), normal(2, 3))


def test_wrappers_of_batch_normalization_work_inside_a_model():
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(4, dtype=np.float64), 3)
    axes = bn.FeatureAxes(bn.preset("flax", dtype=np.float64), axes=(1,))
    gradcheck(forward_of(lambda x, a, b: b(a(x)) + a(x * x), ghost, axes), normal(6, 4))


def test_training_and_masks_given_to_a_model_reach_the_layers_that_take_them():
    model = nn.Sequential(bn.BatchNorm1d(3), nn.Tanh(), nn.Sequential(bn.BatchNorm1d(3)))
    x = normal(4, 3, 5, dtype=np.float32)
    mask = np.arange(5) < np.array([5, 3, 2, 4])[:, None, None]
    model(x, mask=mask)
    counted = np.moveaxis(x, 1, 0)[:, np.broadcast_to(mask[:, 0], (4, 5))]
    np.testing.assert_allclose(model[0].running_mean, 0.1 * counted.mean(1), rtol=1e-4, atol=1e-6)
    before = state(model)
    model(x, training=False)
    assert same_state(state(model), before)
    with pytest.raises(
        TypeError, match="no layer that Sequential called takes the argument 'masks'"
    ):
        model(x, masks=mask)


def test_a_mask_that_does_not_fit_behind_a_pooling_is_told():
    model = nn.Sequential(bn.BatchNorm2d(2), nn.MaxPool2d(2), bn.BatchNorm2d(2))
    x = normal(4, 2, 4, 4, dtype=np.float32)
    with pytest.raises(ValueError, match=r"^in 2: mask"):
        model(x, mask=np.ones((4, 1, 4, 4), bool))


def test_hooks_see_each_call_until_they_are_removed():
    model, seen = nn.Sequential(nn.Flatten(), nn.ReLU()), []
    removes = [
        module.register_forward_hook(
            lambda m, inputs, y: seen.append((type(m), inputs[0].shape, y.shape))
        )
        for module in (model, *model)
    ]
    x = normal(2, 3, 4)
    model(x)
    inside = [(nn.Flatten, (2, 3, 4), (2, 12)), (nn.ReLU, (2, 12), (2, 12))]
    assert seen == [*inside, (nn.Sequential, (2, 3, 4), (2, 12))]
    for remove in removes:
        remove()
    model(x)
    assert len(seen) == 3
    with pytest.raises(TypeError, match="hook"):
        model.register_forward_hook(3)


def test_copies_of_a_model_have_no_record():
    model, x = nn.Sequential(nn.Linear(3, 2, **f64())), normal(2, 3)
    y = model(x)
    for twin in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):
        with pytest.raises(RuntimeError, match="must follow"):
            twin.backward(y)
    model.backward(y)


def test_training_for_one_call_reaches_dropout():
    model, x = nn.Sequential(nn.Dropout(0.5, rng=0)), np.ones((20, 20))
    assert (model(x) == 0).any()
    np.testing.assert_array_equal(model(x, training=False), x)


def test_the_forward_of_a_model_by_itself_is_not_recorded_and_backward_says_so():
    model, x = nn.Sequential(nn.Tanh()), normal(2, 2)
    model.forward(x)
    with pytest.raises(RuntimeError, match=r"no_grad\(\), and model\.forward\(x\) is not"):
        model.backward(x)


def test_a_class_with_a_backward_is_told_that_it_is_not_recorded():
    class Clipped(nn.Module):
        def forward(self, x):
            return x

        def backward(self, dy):
            return super().backward(np.clip(dy, -1, 1))

    model = Clipped()
    with pytest.raises(
        NotImplementedError, match=r"Clipped\.backward: a class that defines backward"
    ):
        model.backward(model(normal(2, 2)))


def test_options_reach_the_layers_of_a_model_inside_a_forward():
    class Outer(nn.Module):
        def __init__(self):
            self.inner = nn.Sequential(bn.BatchNorm1d(3, dtype=float), nn.Tanh())

        def forward(self, x):
            return self.inner(x, training=False)

    model, x = Outer(), np.random.default_rng(0).standard_normal((20, 3))
    y = model(x)
    np.testing.assert_allclose(y, np.tanh(x / np.sqrt(1 + 1e-5)))
    assert model.inner[0].num_batches_tracked == 0
    model.backward(np.ones_like(y))


def test_an_option_that_no_layer_of_an_inner_model_takes_is_an_error():
    class Outer(nn.Module):
        def __init__(self):
            self.inner, self.norm = nn.Sequential(nn.Tanh()), bn.BatchNorm1d(3)

        def forward(self, x):
            return self.inner(self.norm(x, training=False), training=False)

    with pytest.raises(TypeError, match=r"no layer that Sequential called takes .*'training'"):
        Outer()(np.ones((20, 3), np.float32))
