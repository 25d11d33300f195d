"""A model with a forward alone trains: its calls are recorded for the backward pass."""

import copy
import pickle
import threading

import numpy as np
import pytest
from arrays import normal, same_state, state
from gradcheck import gradcheck

import bn
from bn import nn


def f64(**more):
    return {"dtype": np.float64, "rng": 0, **more}


def forward_of(function, *layers):
    """A model whose forward is function(x, *layers)."""

    class Model(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return function(x, *self.layers)

    return Model()


# ---- operations ----

ROW, IMAGE = normal(1, 4), normal(3, 2, 1, 1)

OPERATIONS = {
    "x + x": lambda x: x + x,
    "x + array": lambda x: x + IMAGE,
    "array + x": lambda x: IMAGE + x,
    "x + number": lambda x: 1 + x + 2.0,
    "x - array": lambda x: x - IMAGE,
    "array - x": lambda x: IMAGE - x,
    "x - x": lambda x: x - x * 3,
    "-x": lambda x: -x,
    "x * x": lambda x: x * x,
    "x * array": lambda x: x * IMAGE,
    "array * x": lambda x: IMAGE * x,
    "x * number": lambda x: x * 3,
    "x * its mean": lambda x: x * x.mean((2, 3), keepdims=True),
    "x / number": lambda x: x / 3,
    "x / x": lambda x: x / (x * x + 1),
    "number / x": lambda x: 2 / (x * x + 1),
    "reshape": lambda x: x.reshape(2, 3, -1) * x.reshape((2, 3, 8)),
    "reshape of samples": lambda x: x.reshape(len(x), -1) * x.reshape(3, 16),
    "flatten": lambda x: x.flatten(),
    "flatten samples": lambda x: x.flatten(1) * 2,
    "flatten pixels": lambda x: x.flatten(2, 3) * 2,
    "transpose": lambda x: x.transpose(0, 2, 3, 1) * normal(3, 4, 2, 2),
    "transpose all": lambda x: x.transpose() * normal(2, 4, 2, 3),
    "mean": lambda x: x.mean() + x,
    "mean of an axis": lambda x: x.mean(1) * normal(3, 4, 2),
    "mean of pixels": lambda x: x.mean((2, 3)) * normal(3, 2),
    "mean of the last axes": lambda x: x.mean((-1, 1)) * normal(3, 4),
    "slices": lambda x: x[:, :1] * x[:, 1:],
    "strides": lambda x: x[:, :, ::2, ::-1] * 2,
    "an index": lambda x: x[1] * x[0] + x[-1, ..., None, 0],
    "concatenate": lambda x: nn.concatenate([x, x * 2, IMAGE * x], axis=1),
    "concatenate samples": lambda x: nn.concatenate([x, x * x]),
}


@pytest.mark.parametrize("order", ["C", "channels-last"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_gives_numpys_numbers_and_the_right_gradients(name, order):
    x = normal(3, 2, 4, 2)
    if order == "channels-last":
        x = nn.channels_last(x)
    model = forward_of(OPERATIONS[name])
    y = model(x)
    if name not in ("flatten samples", "flatten pixels", "concatenate", "concatenate samples"):
        np.testing.assert_allclose(y, OPERATIONS[name](x), rtol=1e-14)
    gradcheck(model, x)


def test_operations_that_numpy_has_not():
    x = normal(3, 2, 4, 2)
    np.testing.assert_array_equal(forward_of(lambda x: x.flatten(1))(x), x.reshape(3, 16))
    np.testing.assert_array_equal(forward_of(lambda x: x.flatten(2))(x), x.reshape(3, 2, 8))
    joined = forward_of(lambda x: nn.concatenate([x, -x], axis=-1))(x)
    np.testing.assert_array_equal(joined, np.concatenate([x, -x], axis=-1))
    np.testing.assert_array_equal(nn.concatenate([x, -x], axis=-1), joined)


def test_a_parameter_in_an_operation_gets_its_gradient():
    class Scaled(nn.Module):
        def __init__(self):
            self.scale, self.shift = nn.Parameter(normal(4)), nn.Parameter(normal(3, 1))

        def forward(self, x):
            return self.scale * x + self.shift * x - self.shift

    gradcheck(Scaled(), normal(3, 4))


def test_an_operation_keeps_the_dtype_of_its_value():
    x = normal(2, 3, dtype=np.float32)
    model = forward_of(lambda x: (x * 2.0 + 1 - np.float64(3)) / 2 + x.mean())
    assert model(x).dtype == model.backward(x).dtype == np.float32


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


# ---- what is not recorded ----

REFUSED = {
    r"numpy\.exp": np.exp,
    r"numpy\.maximum": lambda x: np.maximum(x, 0),
    r"numpy\.concatenate": lambda x: np.concatenate([x, x]),
    r"numpy\.mean": np.mean,
    "making an array": np.asarray,
    r"\+=": lambda x: x.__iadd__(1),
    r"\*=": lambda x: x.__imul__(1),
    "assigning to parts": lambda x: x.__setitem__(0, 1),
    "whether it is true": bool,
    "iterating": list,
    r"\*\*": lambda x: x**2,
    "@": lambda x: x @ x,
    ">": lambda x: x > 0,
    "==": lambda x: x == 0,
    "float": float,
    "indexing by ndarray": lambda x: x[np.array([0])],
    "indexing by list": lambda x: x[[0]],
}


@pytest.mark.parametrize("operation", REFUSED)
def test_anything_else_is_an_error_that_names_it_and_the_way_out(operation):
    model = forward_of(REFUSED[operation])
    with pytest.raises(
        TypeError, match=f"{operation}.* not recorded: .* with forward and backward"
    ):
        model(normal(2, 2))


def test_an_attribute_of_arrays_that_values_lack_is_named():
    with pytest.raises(
        AttributeError, match=r"a recorded value has no sum: .* forward and backward"
    ):
        forward_of(lambda x: x.sum())(normal(2, 2))


@pytest.mark.parametrize("output", [None, np.ones(2), [1]])
def test_a_forward_must_return_what_its_layers_gave(output):
    with pytest.raises(TypeError, match=r"Model\.forward must return one value that its layers"):
        forward_of(lambda x: output)(normal(2, 2))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda x: x.reshape(5, -1), r"reshape must keep the 12 values of shape \(3, 4\), got"),
        (lambda x: x.reshape(-1, -1), r"reshape must keep the 12 values"),
        (lambda x: x.transpose(0, 0), r"transpose must get each of 2 axes once, got \(0, 0\)"),
        (lambda x: x.mean((0, 0)), "each axis must be given once"),
        (lambda x: x.mean(2), "axis"),
        (lambda x: nn.concatenate([x, x[:, :2]]), "shapes differ on axis 0 only"),
        (lambda x: nn.concatenate([]), "at least one array"),
        (lambda x: x + normal(3, 3), "broadcast"),
    ],
)
def test_operations_say_what_does_not_fit(operation, message):
    with pytest.raises(ValueError, match=message):
        forward_of(operation)(normal(3, 4))


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


# ---- containers ----


def test_lists_and_dicts_of_layers_are_part_of_a_model():
    class Net(nn.Module):
        def __init__(self):
            self.blocks = nn.ModuleList([nn.Linear(2, 2, rng=0)])
            self.heads = nn.ModuleDict({"a": nn.Linear(2, 1, rng=0)})

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.heads["a"](x)

    net = Net()
    names = ["blocks.0.weight", "blocks.0.bias", "heads.a.weight", "heads.a.bias"]
    assert list(net.state_dict()) == names
    assert net(np.ones((3, 2), np.float32)).shape == (3, 1)


def test_a_list_of_layers_behaves_as_a_list():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    layers = nn.ModuleList([a]).append(b).insert(0, c)
    assert list(layers) == [c, a, b] and len(layers) == 3 and layers[-1] is b
    assert list(layers[1:]) == [a, b] and isinstance(layers[1:], nn.ModuleList)
    layers[0] = b
    assert list(layers.extend([a])) == [b, a, b, a]
    assert list(nn.Sequential(a, b).insert(1, c)) == [a, c, b]
    for use in (layers.append, lambda x: layers.insert(0, x), nn.Sequential().append):
        with pytest.raises(TypeError, match="every layer must be of type Module, got int"):
            use(3)
    with pytest.raises(NotImplementedError, match=r"ModuleList\.forward"):
        layers(normal(2, 2))


def test_a_dict_of_layers_behaves_as_a_dict():
    a, b = nn.ReLU(), nn.Tanh()
    layers = nn.ModuleDict({"a": a})
    layers["b"] = b
    assert list(layers) == list(layers.keys()) == ["a", "b"] and "a" in layers
    assert list(layers.values()) == [a, b] and next(iter(layers.items())) == ("a", a)
    del layers["a"]
    assert len(layers.update({"c": a})) == 2
    with pytest.raises(ValueError, match=r"name must be a word without a dot, got 'a\.b'"):
        layers["a.b"] = a
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        layers[3] = a
    with pytest.raises(TypeError, match="every layer must be of type Module"):
        layers["d"] = np.tanh


# ---- layers that learn the number of their inputs ----


def test_layers_learn_the_number_of_their_inputs_from_the_first_batch_or_from_build():
    def lazy():
        return nn.Sequential(
            nn.Conv2d(None, 4, 3, groups=2, rng=0), bn.BatchNormalization(axis=1), nn.Flatten(),
            nn.Linear(None, 5, rng=1),
        )  # fmt: skip

    known = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, rng=0), bn.BatchNormalization(axis=1), nn.Flatten(),
        nn.Linear(16, 5, rng=1),
    )  # fmt: skip
    x = normal(6, 2, 4, 4, dtype=np.float32)
    called, built = lazy(), lazy()
    with pytest.raises(RuntimeError, match="Conv2d must be built before its parameters are asked"):
        called.parameters()
    assert "Conv2d(None, 4" in repr(called)
    built.build((2, 4, 4))
    for model in (called, built):
        np.testing.assert_array_equal(model(x), known(x))
        assert model[0].in_channels == 2 and model[3].in_features == 16
    assert list(called.state_dict()) == list(known.state_dict())


def test_a_layer_that_learned_its_inputs_takes_no_others():
    conv, linear = nn.Conv2d(None, 4, 3, groups=2), nn.Linear(None, 3)
    assert conv.output_shape((5, 4, 4)) == (4, 2, 2) and linear.output_shape((7,)) == (3,)
    with pytest.raises(ValueError, match="groups must divide in_channels 3"):
        conv(normal(1, 3, 4, 4, dtype=np.float32))
    assert not conv.built
    conv.build((2, 4, 4)), linear.build((7,))
    with pytest.raises(ValueError, match="Conv2d takes 2 channels"):
        conv(normal(1, 3, 4, 4, dtype=np.float32))
    with pytest.raises(ValueError, match="Linear takes 7 features"):
        linear.build((8,))
    with pytest.raises(ValueError, match="in_features must be a positive integer, got 0"):
        nn.Linear(0, 1)


def test_harmless_arguments_of_pytorch_are_taken():
    layers = (nn.ReLU(inplace=True), nn.LeakyReLU(0.1, inplace=True), nn.Dropout(0.5, True))
    model = nn.Sequential(*layers, nn.Flatten(1), nn.Identity(54, unused=0.1))
    assert model.eval()(normal(2, 3, 4)).shape == (2, 12)
    model.zero_grad(set_to_none=True)


def test_training_for_one_call_reaches_dropout():
    model, x = nn.Sequential(nn.Dropout(0.5, rng=0)), np.ones((20, 20))
    assert (model(x) == 0).any()
    np.testing.assert_array_equal(model(x, training=False), x)


def test_a_value_of_another_pass_is_refused():
    class Remembers(nn.Module):
        last = None

        def forward(self, x):
            y = x if self.last is None else x + self.last
            self.last = x
            return y

    model, x = Remembers(), normal(2, 2)
    model(x)
    with pytest.raises(RuntimeError, match="in the forward pass that it comes from"):
        model(x)


def test_the_forward_of_a_model_by_itself_is_not_recorded_and_backward_says_so():
    model, x = nn.Sequential(nn.Tanh()), normal(2, 2)
    model.forward(x)
    with pytest.raises(RuntimeError, match=r"model\(x\), is recorded, model\.forward\(x\) is not"):
        model.backward(x)


def test_a_flattened_value_counts_as_a_use_of_what_it_was():
    class Fork(nn.Module):
        def __init__(self):
            self.conv, self.norm = nn.Conv2d(2, 3, 1, rng=0), bn.BatchNorm2d(3)
            self.head = nn.Linear(12, 2, rng=1)

        def forward(self, x):
            y = self.conv(x)
            return self.head(y.flatten(1)) + self.norm(y).mean((1, 2, 3)).reshape(-1, 1)

    model = Fork().eval()
    x = normal(4, 2, 2, 2, dtype=np.float32)
    for shape in (None, (2, 2, 2)):
        model(x)
        assert "used elsewhere" in bn.fold(model, shape).kept["norm"]


def test_the_forward_of_a_layer_called_by_itself_in_a_model_is_an_error_with_a_hint():
    model = forward_of(lambda x, layer: layer.forward(x), nn.Tanh())
    with pytest.raises(TypeError, match=r"got Value \(call the layer, not its forward"):
        model(normal(2, 2))


def test_parts_of_parameters_and_layers_of_parameters_get_gradients():
    class Positions(nn.Module):
        def __init__(self):
            self.table = nn.Parameter(normal(1, 6, 3))
            self.query, self.layer = nn.Parameter(normal(1, 3)), nn.Linear(3, 3, **f64())

        def forward(self, x):
            return (x + self.table[:, : x.shape[1]]) * self.layer(self.query)

    gradcheck(Positions(), normal(2, 4, 3))
    outside = nn.Parameter(normal(3))
    np.testing.assert_array_equal(outside[1:], outside.data[1:])
    with pytest.raises(TypeError, match="making an array of a parameter is not recorded"):
        forward_of(lambda x: x * np.exp(outside))(normal(2, 3))


def test_values_given_to_a_layer_by_name_are_refused():
    with pytest.raises(
        TypeError, match=r"^in layers\.0: recorded values must be given by position"
    ):
        forward_of(lambda x, layer: layer(x=x), nn.Tanh())(normal(2, 2))
    with pytest.raises(TypeError, match="takes an array as its first argument"):
        nn.Sequential(nn.Tanh())(x=normal(2, 2))


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


def test_looking_at_numbers_counts_as_a_use_when_a_model_is_folded():
    class Looks(nn.Module):
        def __init__(self):
            self.layer, self.norm = nn.Linear(3, 3, rng=0), bn.BatchNorm1d(3)

        def forward(self, x):
            y = self.layer(x)
            return self.norm(y) * float(y.data.mean())

    assert "used elsewhere" in bn.fold(Looks().eval(), (3,)).kept["norm"]
