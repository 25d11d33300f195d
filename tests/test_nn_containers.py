"""Sequential and Residual have names, order, gradients, and PyTorch's state dicts."""

import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck
from recorded import f64

import bn
from bn import nn
from bn.summary import counts


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, **f64()),
        nn.Sigmoid(),
        nn.Residual(
            nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1, **f64()), nn.Tanh()),
            nn.Conv2d(4, 4, 1, 2, **f64()),
        ),
        nn.Residual(nn.Conv2d(4, 4, 3, padding="same", **f64())),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 3, **f64()),
    )


@pytest.mark.parametrize("training", [True, False])
def test_a_whole_network_has_the_right_gradients(training):
    gradcheck(small_cnn().train(training), normal(2, 2, 4, 4), entries=40)


def test_residual_adds_the_identity_or_the_shortcut():
    x = normal(2, 3)
    np.testing.assert_array_equal(nn.Residual(nn.ReLU())(x), np.maximum(x, 0) + x)
    layer = nn.Residual(nn.ReLU(), nn.Tanh())
    np.testing.assert_array_equal(layer(x), np.maximum(x, 0) + np.tanh(x))
    gradcheck(nn.Residual(nn.Tanh()), x)
    gradcheck(layer, x)


def test_residual_changes_neither_x_nor_what_its_parts_gave():
    x = normal(2, 3)
    kept = x.copy()
    layer = nn.Residual(nn.Sequential(), nn.Sequential())
    np.testing.assert_array_equal(layer(x), 2 * kept)
    np.testing.assert_array_equal(layer.backward(x), 2 * kept)
    np.testing.assert_array_equal(x, kept)


def test_parameters_are_named_by_their_place_in_the_model():
    assert list(small_cnn().state_dict()) == [
        "0.weight",
        "0.bias",
        "2.body.0.weight",
        "2.body.0.bias",
        "2.shortcut.weight",
        "2.shortcut.bias",
        "3.body.weight",
        "3.body.bias",
        "6.weight",
        "6.bias",
    ]


def test_a_parameter_that_layers_share_is_trained_once():
    first, second = nn.Linear(3, 3, **f64()), nn.Linear(3, 3, **f64(rng=1))
    second.weight = first.weight
    model = nn.Sequential(first, nn.Tanh(), second)
    assert model.parameters() == [first.weight, first.bias, second.bias]
    assert counts(model) == (15, 0)
    assert "2.weight" in model.state_dict()
    gradcheck(model, normal(2, 3))
    nn.SGD(model.parameters(), lr=0.1).step()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_count_that_is_no_number_is_refused_and_nothing_is_changed(value):
    model = nn.Sequential(bn.BatchNorm1d(2))
    before = model.state_dict()
    state = {**before, "0.weight": np.zeros(2), "0.num_batches_tracked": np.array(value)}
    with pytest.raises(ValueError, match=r"num_batches_tracked must hold numbers that fit int64"):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_sequential_is_indexed_sliced_counted_iterated_and_appended_to():
    layers = [nn.Linear(2, 3, rng=0), nn.ReLU(), nn.Linear(3, 1, rng=0)]
    model = nn.Sequential(*layers[:2]).append(layers[2])
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    head = model[:2]
    assert isinstance(head, nn.Sequential) and list(head) == layers[:2]
    assert len(nn.Sequential()) == 0
    assert nn.Sequential()(x := normal(1, 2)) is x


def test_the_layers_of_a_sequential_can_be_replaced():
    relu, tanh, sigmoid = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    model = nn.Sequential(relu, tanh, relu)
    model[1] = sigmoid
    assert list(model) == [relu, sigmoid, relu]
    model[-1] = tanh
    assert list(model) == [relu, sigmoid, tanh]
    model[1:] = (layer for layer in [relu])
    assert list(model) == [relu, relu]
    model[:] = []
    assert len(model) == 0 and list(model.children()) == []


@pytest.mark.parametrize(
    ("index", "value"), [(0, None), (slice(None), [nn.Tanh(), np.tanh]), (slice(0, 1), [3])]
)
def test_only_layers_replace_the_layers_of_a_sequential(index, value):
    relu = nn.ReLU()
    model = nn.Sequential(relu)
    with pytest.raises(TypeError, match="every layer must be of type Module, got"):
        model[index] = value
    assert list(model) == [relu]


def test_containers_tell_the_output_shape_of_their_layers():
    assert small_cnn().output_shape((2, 4, 4)) == (3,)
    assert small_cnn()[:3].output_shape((2, 5, 7)) == (4, 3, 4)


def test_build_gives_each_layer_the_shape_it_will_see():
    seen = []

    class Lazy(nn.Module):
        def build(self, input_shape):
            seen.append(input_shape)

        def output_shape(self, input_shape):
            return input_shape

        def forward(self, x):
            return x

    residual = nn.Residual(nn.Sequential(Lazy(), nn.ReLU()), Lazy())
    nn.Sequential(nn.Conv2d(2, 4, 3), Lazy(), residual, nn.Flatten(), Lazy()).build((2, 5, 5))
    assert seen == [(4, 3, 3), (4, 3, 3), (4, 3, 3), (36,)]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(bn.BatchNormalization(), nn.Linear(7, 2)),
        nn.Residual(bn.BatchNormalization(), nn.Linear(7, 5)),
    ],
    ids=["sequential", "residual"],
)
def test_building_a_model_builds_all_layers_or_none(model):
    with pytest.raises(ValueError, match="Linear takes 7 features"):
        model.build((5,))
    assert next(m for m in model.modules() if hasattr(m, "gamma")).num_features is None


def test_train_and_eval_reach_the_layers_inside_containers():
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Dropout(0.5))))
    assert not model.eval()[0].body[0].training
    assert model.train()[0].body[0].training


def test_the_repr_of_containers_is_nested():
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.ReLU())))
    assert repr(model) == (
        "Sequential(\n  (0): Residual(\n    (body): Sequential(\n      (0): ReLU()\n    )\n  )\n)"
    )


@pytest.mark.parity
def test_a_pytorch_sequential_loads_and_agrees(torch):
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, 2, 1, groups=2), torch.nn.LeakyReLU()),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, 5),
    ).eval()
    ours = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=2), nn.LeakyReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 5),
    ).eval()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert repr(ours) == repr(theirs)
    x = normal(4, 3, 12, 12).astype(np.float32)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.sum().backward()
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=1e-5, atol=1e-6)
    dx = ours.backward(np.ones(ty.shape, np.float32))
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-4, atol=1e-6)
    for (name, own), theirs_p in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        expected = theirs_p.grad.numpy()
        np.testing.assert_allclose(own.grad, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def batch_norm_and(*layers):
    return nn.Sequential(bn.BatchNorm1d(3), *layers)


@pytest.mark.parametrize(
    "model",
    [
        batch_norm_and(nn.Linear(4, 2)),
        batch_norm_and(batch_norm_and(), nn.Linear(4, 2)),
        batch_norm_and(nn.Residual(batch_norm_and(nn.Linear(3, 2)))),
        nn.Residual(batch_norm_and(nn.Linear(3, 2)), batch_norm_and()),
        nn.Residual(batch_norm_and(), nn.Linear(4, 2)),
        nn.Sequential(bn.BatchNormalization(), nn.Linear(4, 2)),
    ],
    ids=["linear", "nested", "in residual", "shapes differ", "shortcut", "keras"],
)
def test_an_error_in_a_later_layer_leaves_the_running_statistics_alone(model):
    x = np.random.default_rng(0).standard_normal((8, 3))
    if not isinstance(model, nn.Residual):
        model[0](x)  # what happened before stays
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"Linear takes|shape"):
        model(x)
    assert {name: array.tolist() for name, array in model.state_dict().items()} == {
        name: array.tolist() for name, array in before.items()
    }


def test_layers_in_a_list_are_no_part_of_a_model_and_say_so():
    class Net(nn.Module):
        def __init__(self, blocks):
            self.blocks = blocks

    layers = [nn.Linear(2, 2, rng=0), nn.ReLU()]
    for blocks in (layers, tuple(layers), {"a": layers[0]}, [layers]):
        kind = type(blocks).__name__
        with pytest.raises(TypeError, match=f"Net.blocks must not hold layers in a (list|{kind})"):
            Net(blocks).parameters()
        with pytest.raises(TypeError, match=r"use nn\.ModuleList"):
            Net(blocks).state_dict()
    assert len(Net(nn.Sequential(*layers)).parameters()) == 2
    assert Net([1, "two", (3,)]).parameters() == []


def gradients(model, x, input_grad):
    """Return what backward returns, and the gradients of all parameters."""
    model.zero_grad()
    dy = np.ones_like(model(x))
    return model.backward(dy, input_grad=input_grad), [p.grad for p in model.parameters()]


@pytest.mark.parametrize(
    "model",
    [
        small_cnn(),
        nn.Sequential(nn.ReLU(), nn.Residual(nn.Conv2d(2, 2, 1, **f64())), nn.Flatten()),
        nn.Sequential(bn.BatchNorm2d(2, dtype=np.float64), nn.Conv2d(2, 4, 3, **f64())),
        nn.Residual(nn.Conv2d(2, 3, 1, **f64()), nn.Conv2d(2, 3, 1, **f64())),
        nn.Conv2d(2, 3, 3, groups=1, **f64()),
        nn.Linear(4, 3, **f64()),
        nn.Sequential(nn.Flatten(), nn.ReLU()),
        nn.Sequential(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_without_input_grad_backward_returns_none_and_the_same_gradients(model):
    x = normal(2, 2, 4, 4)
    dx, expected = gradients(model, x, True)
    assert dx.shape == x.shape
    nothing, found = gradients(model, x, False)
    assert nothing is None
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_input_grad_layers_without_parameters_before_the_first_are_left_out():
    class Counted(nn.ReLU):
        backwards = 0

        def backward(self, dy):
            self.backwards += 1
            return super().backward(dy)

    first, second = Counted(), Counted()
    model = nn.Sequential(first, nn.Linear(3, 2, rng=0), second)
    gradients(model, normal(4, 3), False)
    assert (first.backwards, second.backwards) == (0, 1)
    with pytest.raises(RuntimeError, match="forward"):  # what forward kept is gone
        first.backward(normal(4, 3))


def test_the_first_layer_with_parameters_need_not_know_input_grad():
    class Scale(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.array([2.0]))

        def forward(self, x):
            self.keep(x, x)
            return x * self.weight.data

        def backward(self, dy):
            (x,) = self.take(dy)
            self.weight.accumulate(np.array([np.sum(dy * x)]))
            return dy * self.weight.data

    x = normal(2, 3)
    _, grads = gradients(nn.Sequential(Scale()), x, False)
    np.testing.assert_array_equal(grads[0], [x.sum()])


# ---- lists and dicts of layers ----


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
