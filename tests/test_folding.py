"""Folding makes of a layer and the batch normalization behind it one layer that does the same."""

import copy
import re

import numpy as np
import pytest
from arrays import normal

import bn
from bn import nn
from bn.layers import BatchNorm1d, BatchNorm2d, BatchNormalization
from bn.layers.batch_norm import BatchNorm
from bn.layers.preset import preset
from bn.nn import models
from bn.tools.folding import fold, fold_arrays

CONV = (4, 6, 3)


def used(model):
    """Put a model into eval mode, its batch normalizations as after a training."""
    rng = np.random.default_rng(5)
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            for _, array in layer.named_state():
                if array.dtype.kind == "f":
                    array[...] = rng.random(array.shape) + 0.5
    return model.eval()


def assert_same(model, folded, x, dtype=np.float32):
    y = model(x)
    limit = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(folded(x), y, rtol=limit, atol=limit * max(1, abs(y).max()))


def why_kept(model, name="1"):
    """Return the reason for which a batch normalization was kept, in a model left as it was."""
    result = fold(model)
    assert not result.folded and result.error == 0
    assert repr(result.model) == repr(model)
    return result.kept[name]


# ---- what folds ----


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"bias": False}, {"eps": 0.1}], ids=str)
@pytest.mark.parametrize(
    "conv",
    [
        {},
        {"bias": False},
        {"groups": 2},
        {"stride": 2, "padding": 1, "dilation": 2},
        {"padding": "same"},
        {"padding": 3},
        {"axis": -1},
        {"axis": -1, "groups": 2, "bias": False, "padding": (1, 2)},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_convolution_takes_over_a_batch_normalization(conv, options, dtype):
    axis = conv.get("axis", 1)
    model = used(
        nn.Sequential(
            nn.Conv2d(*CONV, **conv, dtype=dtype, rng=0),
            BatchNorm2d(6, axis=axis, **options, dtype=dtype),
        )
    )
    result = fold(model)
    assert result.folded == (("0", "1"),) and not result.kept
    assert 0 <= result.error < 1e-12
    (layer,) = result.model
    assert [p.dtype for p in layer.parameters()] == [dtype, dtype]
    x = normal(2, 4, 8, 9, dtype=dtype)
    assert_same(model, result.model, x if axis == 1 else x.transpose(0, 2, 3, 1).copy(), dtype)


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (BatchNorm1d(5), (7, 4)),
        (BatchNorm1d(5, axis=-1), (7, 3, 4)),
        (BatchNorm1d(5, axis=2), (7, 3, 4)),
        (BatchNorm2d(5, axis=3), (2, 3, 2, 4)),
        (BatchNorm2d(5, axis=-1), (2, 3, 2, 4)),
        (BatchNormalization(), (7, 4)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_takes_over_a_batch_normalization(norm, shape, bias):
    model = nn.Sequential(nn.Linear(4, 5, bias=bias, rng=0), norm)
    model.build(shape[1:])
    result = fold(used(model))
    assert result.folded == (("0", "1"),)
    assert_same(model, result.model, normal(*shape, dtype=np.float32))


def test_eps_outside_the_root_is_folded_where_it_stands():
    model = used(conv_and(preset("darknet", 6, eps=0.1)))
    assert_same(model, fold(model).model, normal(2, 4, 5, 5, dtype=np.float32))


def block(c_in, c_out, stride=1):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False, rng=0),
        BatchNorm2d(c_out),
        nn.ReLU(),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False, rng=1),
        BatchNorm2d(c_out),
    )


class Net(nn.Sequential):
    """It is as a user writes a model: a subclass, with residual blocks and a head."""

    def __init__(self):
        super().__init__(
            *block(3, 4),
            nn.Residual(block(4, 4)),
            nn.ReLU(),
            nn.Residual(
                block(4, 6, 2), nn.Sequential(nn.Conv2d(4, 6, 1, 2, rng=2), BatchNorm2d(6))
            ),
            nn.AdaptiveAvgPool2d(),
            nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 5, rng=3), BatchNorm1d(5))),
        )


def test_a_whole_network_is_folded():
    model = used(Net())
    result = fold(model)
    assert type(result.model) is Net
    assert result.folded == (
        ("0", "1"),
        ("3", "4"),
        ("5.body.0", "5.body.1"),
        ("5.body.3", "5.body.4"),
        ("7.body.0", "7.body.1"),
        ("7.body.3", "7.body.4"),
        ("7.shortcut.0", "7.shortcut.1"),
        ("9.1.0", "9.1.1"),
    )
    assert not result.kept
    assert not any(isinstance(layer, BatchNorm) for layer in result.model.modules())
    assert_same(model, result.model, normal(2, 3, 8, 8, dtype=np.float32))


def test_the_names_in_the_result_of_a_fold_are_those_of_the_original_model():
    model = used(Net())
    names = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    assert names.issuperset(name for pair in fold(model).folded for name in pair)


def test_batch_normalizations_in_a_row_fold_one_after_the_other():
    model = used(nn.Sequential(nn.Conv2d(*CONV, rng=0), BatchNorm2d(6), BatchNorm2d(6)))
    result = fold(model)
    assert result.folded == (("0", "1"), ("0", "2"))
    assert_same(model, result.model, normal(2, 4, 5, 5, dtype=np.float32))


def test_a_block_that_is_used_twice_is_folded_once():
    conv, relu = nn.Conv2d(4, 4, 3, padding=1, rng=0), nn.ReLU()
    shared = nn.Sequential(conv, BatchNorm2d(4), relu, BatchNorm2d(4))
    model = used(nn.Sequential(shared, shared))
    result = fold(model)
    assert result.folded == (("0.0", "0.1"),) and list(result.kept) == ["0.3"]
    assert result.model[0] is result.model[1]
    assert_same(model, result.model, normal(2, 4, 5, 5, dtype=np.float32))


def test_folding_leaves_a_shared_parameter_as_it_is_in_the_other_layer():
    first, second = nn.Linear(4, 4, rng=0), nn.Linear(4, 4, rng=1)
    second.weight = first.weight
    model = used(nn.Sequential(first, BatchNorm1d(4), nn.Tanh(), second))
    assert_same(model, fold(model).model, normal(3, 4, dtype=np.float32))


def test_folding_does_not_change_the_original():
    model = used(Net())
    model(normal(2, 3, 8, 8, dtype=np.float32))
    before, text = model.state_dict(), repr(model)
    layers, modes = list(model.modules()), [m.training for m in model.modules()]
    result = fold(model)
    assert repr(model) == text and list(model.modules()) == layers
    assert [m.training for m in model.modules()] == modes
    for name, array in model.named_state():
        np.testing.assert_array_equal(array, before[name])
    theirs = [array for _, array in result.model.named_state()]
    for array in before.values():
        assert not any(np.shares_memory(array, other) for other in theirs)
    model.backward(np.ones((2, 5), np.float32))  # the forward pass left what this needs


def test_the_folded_model_keeps_nothing_of_the_originals_forward():
    model = used(Net())
    model(normal(2, 3, 8, 8, dtype=np.float32))
    assert all(layer._kept is None for layer in fold(model).model.modules())


def test_the_folded_model_has_the_gradients_of_the_original():
    model = used(nn.Sequential(nn.Conv2d(*CONV, dtype=np.float64, rng=0), BatchNorm2d(6)))
    folded = fold(model).model
    x = normal(2, 4, 5, 5, dtype=np.float64)
    dy = np.cos(model(x))
    folded(x)
    np.testing.assert_allclose(folded.backward(dy), model.backward(dy), rtol=1e-6, atol=1e-7)


def test_a_frozen_layer_folds_in_training_mode():
    model = used(nn.Sequential(nn.Conv2d(*CONV, rng=0), BatchNorm2d(6))).train()
    model[1].use_batch_stats = model[1].update_stats = False
    result = fold(model)
    assert result.folded == (("0", "1"),)
    assert_same(model, result.model, normal(2, 4, 5, 5, dtype=np.float32))


@pytest.mark.parametrize(
    ("layer", "norm", "sample"),
    [
        (nn.Conv1d(4, 6, 3, 2, 1, groups=2, rng=0), BatchNorm1d(6), (4, 9)),
        (nn.Conv1d(4, 6, 3, axis=-1, rng=0), BatchNorm1d(6, axis=-1), (9, 4)),
        (nn.ConvTranspose2d(4, 6, 3, 2, 2, 1, rng=0), BatchNorm2d(6), (4, 5, 5)),
        (
            nn.ConvTranspose2d(4, 6, 2, bias=False, axis=-1, rng=0),
            BatchNorm2d(6, axis=-1),
            (5, 5, 4),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_convolutions_of_signals_and_transposed_ones_take_over_normalizations(layer, norm, sample):
    model = nn.Sequential(layer, norm, nn.ReLU())
    x = normal(8, *sample, dtype=np.float32)
    model(x)
    result = fold(model.eval())
    assert result.folded == (("0", "1"),) and len(result.model) == 2
    assert_same(model, result.model, x)


def test_the_result_of_a_fold_reads_well():
    model = used(nn.Sequential(nn.Conv2d(*CONV, rng=0), BatchNorm2d(6), nn.ReLU(), BatchNorm2d(6)))
    lines = str(fold(model)).splitlines()
    assert lines[0].startswith("1 folded, largest difference ")
    assert lines[1:] == [
        "  1 into 0",
        "1 kept",
        "  3: no convolution or linear layer directly before it",
    ]


# ---- what is kept, and why ----


def conv_and(norm, **conv):
    return nn.Sequential(nn.Conv2d(*CONV, rng=0, **conv), norm)


class Steps(nn.Sequential):
    """It is a container with a forward pass of its own."""

    def forward(self, x):
        return super().forward(x) + self[0](x)


class Unlike(BatchNorm2d):
    """It is a batch normalization that does something else than others."""

    def forward(self, x):
        return super().forward(x) + 1e-6


REASONS = {
    "no convolution or linear layer directly before it": lambda: nn.Sequential(
        nn.ReLU(), BatchNorm2d(6)
    ),
    "is not that of the layer before it, or not for every input": lambda: conv_and(
        BatchNorm2d(6, axis=-1)
    ),
    "the transposed convolution before it has groups": lambda: nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, groups=2, rng=0), BatchNorm2d(6)
    ),
    "not as many channels as the layer before it": lambda: conv_and(BatchNorm2d(5)),
    "it has no running statistics": lambda: conv_and(BatchNorm2d(6, track_running_stats=False)),
    r"it is not built: .* call model.build\(input_shape\)": lambda: conv_and(
        BatchNormalization(), axis=-1
    ),
    "what comes before it is not known: give input_shape": lambda: Steps(
        nn.Conv2d(4, 4, 3, rng=0), BatchNorm2d(4)
    ),
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.filterwarnings("ignore:.*kept by bn.fold")
def test_the_reason_is_given_for_a_batch_normalization_that_is_kept(reason):
    assert re.search(reason, why_kept(REASONS[reason]().eval()))


@pytest.mark.parametrize(
    "norm", [BatchNorm1d(5, axis=0), BatchNorm2d(5), BatchNormalization(axis=1)], ids=repr
)
def test_a_batch_normalization_on_another_axis_than_a_linear_layers_last_is_kept(norm):
    model = nn.Sequential(nn.Linear(4, 5, rng=0), norm)
    if norm.num_features is None:
        norm.build((5,))
    assert "channel axis" in why_kept(model.eval())


def test_a_batch_normalization_in_training_mode_is_not_folded():
    model = used(conv_and(BatchNorm2d(6)))
    with pytest.warns(UserWarning, match="in training mode: call eval"):
        assert why_kept(model.train()) == "it is in training mode: call eval() first"
    model.eval()[1].use_batch_stats = True
    assert why_kept(model).endswith("use_batch_stats is True")


def test_a_batch_normalization_is_kept_across_the_border_of_a_nested_sequential():
    model = nn.Sequential(nn.Conv2d(*CONV, rng=0), nn.Sequential(BatchNorm2d(6)))
    assert why_kept(model.eval(), "1.0").startswith("no convolution")
    model = nn.Sequential(nn.Sequential(nn.Conv2d(*CONV, rng=0)), BatchNorm2d(6))
    assert why_kept(model.eval()).startswith("no convolution")


@pytest.mark.filterwarnings("ignore:.*kept by bn.fold")
def test_a_batch_normalization_with_nothing_before_it_is_kept():
    assert why_kept(BatchNorm2d(6).eval(), "").startswith("no convolution")
    assert why_kept(nn.Residual(BatchNorm2d(6)).eval(), "body").startswith("what comes before it")
    result = fold(nn.Residual(BatchNorm2d(6)).eval(), (6, 4, 4))
    assert result.kept["body"].startswith("no convolution")
    assert "the model: no convolution" in str(fold(BatchNorm2d(6)))
    assert repr(result) == str(result)


class Block(nn.Module):
    """A block of a residual network as PyTorch's tutorials write it."""

    def __init__(self, n, m):
        self.conv1, self.bn1 = nn.Conv2d(n, m, 3, padding=1, bias=False, rng=0), BatchNorm2d(m)
        self.conv2, self.bn2 = nn.Conv2d(m, m, 3, padding=1, bias=False, rng=1), BatchNorm2d(m)
        self.relu, self.downsample = nn.ReLU(), None
        if n != m:
            self.downsample = nn.Sequential(nn.Conv2d(n, m, 1, rng=2), BatchNorm2d(m))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class Residuals(nn.Module):
    def __init__(self):
        self.conv, self.bn = nn.Conv2d(3, 4, 3, rng=3), BatchNorm2d(4)
        self.blocks = nn.ModuleList([Block(4, 4), Block(4, 6)])
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 16, 5, rng=4), BatchNorm1d(5))

    def forward(self, x):
        x = self.bn(self.conv(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@pytest.mark.parametrize("told", ["input_shape", "a forward pass"])
def test_a_class_with_a_forward_is_folded_by_the_order_of_its_calls(told):
    model = Residuals()
    x = normal(8, 3, 6, 6, dtype=np.float32)
    for _ in range(3):
        model(x)
    before = model.eval().state_dict()
    expected = model(x)
    if told == "input_shape":
        model.forget()
    result = fold(model, (3, 6, 6) if told == "input_shape" else None)
    assert len(result.folded) == 7 and not result.kept
    assert ("blocks.1.downsample.0", "blocks.1.downsample.1") in result.folded
    assert not any(isinstance(layer, BatchNorm) for layer in result.model.modules())
    assert type(result.model.blocks[0].bn1) is nn.Identity
    assert {name for name in result.model.state_dict() if "weight" in name} == {
        name for name in before if name.endswith("weight") and before[name].ndim > 1
    }
    np.testing.assert_allclose(result.model(x), expected, rtol=1e-4, atol=1e-4)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_convolution_whose_output_goes_elsewhere_too_is_kept():
    class Fork(nn.Module):
        def __init__(self):
            self.conv, self.bn = nn.Conv2d(3, 4, 1, rng=0), BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(y) + y

    result = fold(Fork().eval(), (3, 4, 4))
    assert not result.folded and "used elsewhere" in result.kept["bn"]


def test_a_layer_that_is_called_twice_is_kept():
    class Twice(nn.Module):
        def __init__(self):
            self.conv, self.bn = nn.Conv2d(3, 3, 1, rng=0), BatchNorm2d(3)

        def forward(self, x):
            return self.bn(self.conv(self.bn(self.conv(x))))

    result = fold(Twice().eval(), (3, 4, 4))
    assert not result.folded and "used elsewhere" in result.kept["bn"]


def test_a_normalization_that_no_forward_calls_is_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 1, rng=0), BatchNorm2d(4))
    model.unused = BatchNorm2d(4)
    result = fold(model.eval(), (3, 4, 4))
    assert len(result.folded) == 1 and result.kept == {"unused": "no forward of a model calls it"}


def test_a_warning_says_how_many_were_kept_because_of_a_forward_and_why():
    class Net(nn.Module):
        def __init__(self):
            self.conv, self.norm, self.last = nn.Conv2d(4, 4, 1), BatchNorm2d(4), BatchNorm2d(4)
            self.head = conv_and(BatchNorm2d(6))

        def forward(self, x):
            return self.head(self.last(self.norm(self.conv(x))))

    message = (
        "^2 batch normalizations were kept by bn.fold: what comes before it is not known: give"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        result = fold(Net().eval())
    assert caught[0].filename == __file__
    assert len(result.folded) == 1
    message = "^2 batch normalizations were kept by bn.compile: what comes before it is not known:"
    with pytest.warns(UserWarning, match=message) as caught:
        bn.compile(Net().eval())
    assert caught[0].filename == __file__


@pytest.mark.parametrize("shared", ["convolution", "normalization"])
def test_a_layer_with_more_than_one_use_is_kept(shared):
    conv, norm = nn.Conv2d(4, 4, 3, padding=1, rng=0), BatchNorm2d(4)
    other = copy.deepcopy(conv), copy.deepcopy(norm)
    again = (conv, other[1]) if shared == "convolution" else (other[0], norm)
    result = fold(used(nn.Sequential(conv, norm, nn.ReLU(), *again)))
    assert not result.folded
    assert set(result.kept) == {"1", "4"}
    assert set(result.kept.values()) == {"it, or the layer before it, is used elsewhere too"}


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_a_batch_normalization_whose_fold_would_not_be_finite_is_kept(value):
    model = used(conv_and(BatchNorm2d(6)))
    model[1].weight.data[2] = value
    model[1].running_var[2] = 1e-12
    assert why_kept(model) == "the folded weight and bias would not be finite"


def test_a_fold_that_gives_other_outputs_is_an_error():
    message = r"block.0 and block.1 folded into one must give what the two gave to 1e-09, got a"
    model = nn.Residual(conv_and(Unlike(6)))
    model.block, model.body = model.body, nn.Sequential()
    with pytest.raises(RuntimeError, match=message):
        fold(model.eval())


def test_only_a_module_is_folded():
    with pytest.raises(TypeError, match="model must be of type Module, got list"):
        fold([nn.ReLU()])


# ---- arrays ----


def direct(weight, bias, mean, var, bn_weight, bn_bias, eps, axis):
    new = np.empty(weight.shape)
    for c in range(weight.shape[axis]):
        at = (slice(None),) * axis + (c,)
        new[at] = weight[at] * bn_weight[c] / np.sqrt(var[c] + eps)
    return new, (bias - mean) * bn_weight / np.sqrt(var + eps) + bn_bias


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 4, 3, 3), 0), ((6, 4), 0), ((4, 6, 3, 2), 1), ((4, 3, 6), -1)]
)
def test_fold_arrays_scales_and_shifts_each_channel(shape, axis, dtype):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(shape).astype(dtype)
    bias, mean, var, bn_weight, bn_bias = (rng.random(6).astype(dtype) + 0.5 for _ in range(5))
    expected = direct(
        *(a.astype(np.float64) for a in (weight, bias, mean, var, bn_weight, bn_bias)),
        1e-3,
        axis % len(shape),
    )
    new = fold_arrays(weight, bias, mean, var, bn_weight, bn_bias, 1e-3, axis=axis)
    for array, value in zip(new, expected, strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, value, rtol=np.finfo(dtype).eps, atol=1e-15)


def test_fold_arrays_takes_none_for_zeros_or_ones():
    weight, mean, var = (
        normal(3, 2, dtype=np.float32),
        normal(3, dtype=np.float32),
        abs(normal(3, dtype=np.float32)),
    )
    zeros, ones = np.zeros(3), np.ones(3)
    for given, full in (
        ((None, mean, var), (zeros, mean, var, ones, zeros)),
        ((mean, mean, var, None, mean), (mean, mean, var, ones, mean)),
        ((mean, mean, var, mean), (mean, mean, var, mean, zeros)),
    ):
        for a, b in zip(fold_arrays(weight, *given), fold_arrays(weight, *full), strict=True):
            np.testing.assert_array_equal(a, b)


def test_folding_a_constant_channel_without_eps_gives_the_bias():
    var, bn_bias = np.array([0.0, 4.0]), np.array([7.0, 8.0])
    weight, bias = fold_arrays(np.ones((2, 3)), None, np.ones(2), var, None, bn_bias, 0.0)
    np.testing.assert_array_equal(weight, [[0, 0, 0], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(bias, [7, 7.5])
    model = used(conv_and(BatchNorm2d(6, eps=0)))
    model[1].running_var[1] = 0
    assert_same(model, fold(model).model, normal(2, 4, 5, 5, dtype=np.float32))


def test_fold_arrays_computes_in_float64():
    weight, bias = np.ones((1, 1), np.float32), np.full(1, 1e8, np.float32)
    mean = np.array([1e8 - 1])  # the difference, 1, is less than the rounding of float32
    _, new = fold_arrays(weight, bias, mean, np.ones(1), eps=0.0)
    assert new == 1


W, V = np.ones((3, 2), np.float32), np.ones(3, np.float32)
BAD = {
    "weight must be a numpy array, got list": lambda: fold_arrays([[1.0]], None, V, V),
    "weight must be float32 or float64, got int64": lambda: fold_arrays(
        np.ones((3, 2), int), None, V, V
    ),
    "weight must have at least 2 axes": lambda: fold_arrays(V, None, V, V),
    "axis must be between -2 and 1, got 2": lambda: fold_arrays(W, None, V, V, axis=2),
    r"running_mean must have shape \(2,\), got \(3,\)": lambda: fold_arrays(W, None, V, V, axis=1),
    r"running_var must have shape \(3,\), got \(2,\)": lambda: fold_arrays(W, None, V, V[:2]),
    r"bias must have shape \(3,\)": lambda: fold_arrays(W, V[:1], V, V),
    "bn_weight must be float32 or float64": lambda: fold_arrays(W, V, V, V, np.ones(3, int)),
    r"bn_bias must have shape \(3,\)": lambda: fold_arrays(W, V, V, V, V, V[:2]),
    "eps must be a number of at least 0, got -1": lambda: fold_arrays(W, V, V, V, eps=-1),
    r"folded weight must hold finite numbers that fit float32, got 1e\+39": lambda: fold_arrays(
        W, V, V, V, np.full(3, 1e39), eps=0.0
    ),
    "folded bias must hold finite numbers that fit float32, got inf": lambda: fold_arrays(
        W, V, V, V, None, V * np.inf
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_fold_arrays_refuses_arrays_that_do_not_fit(message):
    with pytest.raises((TypeError, ValueError), match=message):
        BAD[message]()


@pytest.mark.parametrize(
    ("make", "count"),
    [(lambda: models.ResNet(models.BasicBlock, (2, 2, 2, 2), 3, width=4, rng=0), 20),
     (lambda: models.mobilenet_v2(num_classes=3, rng=0), 52)],
    ids=["resnet18", "mobilenet_v2"],
)  # fmt: skip
def test_the_models_are_folded_as_a_whole_and_keep_their_names(make, count):
    model = make()
    x = normal(2, 3, 64, 64, dtype=np.float32)
    model(x)
    names = {name for name, array in model.named_state() if array.ndim > 1}
    result = fold(model.eval(), x.shape[1:])
    assert len(result.folded) == count and not result.kept
    assert {name for name, array in result.model.named_state() if array.ndim > 1} >= names
    np.testing.assert_allclose(result.model(x), model(x), rtol=1e-3, atol=1e-3)


def test_a_flattened_value_counts_as_a_use_of_what_it_was():
    class Fork(nn.Module):
        def __init__(self):
            self.conv, self.norm = nn.Conv2d(2, 3, 1, rng=0), BatchNorm2d(3)
            self.head = nn.Linear(12, 2, rng=1)

        def forward(self, x):
            y = self.conv(x)
            return self.head(y.flatten(1)) + self.norm(y).mean((1, 2, 3)).reshape(-1, 1)

    model = Fork().eval()
    x = normal(4, 2, 2, 2, dtype=np.float32)
    for shape in (None, (2, 2, 2)):
        model(x)
        assert "used elsewhere" in fold(model, shape).kept["norm"]


def test_looking_at_numbers_counts_as_a_use_when_a_model_is_folded():
    class Looks(nn.Module):
        def __init__(self):
            self.layer, self.norm = nn.Linear(3, 3, rng=0), BatchNorm1d(3)

        def forward(self, x):
            y = self.layer(x)
            return self.norm(y) * float(y.data.mean())

    assert "used elsewhere" in fold(Looks().eval(), (3,)).kept["norm"]


# ---- standardized weights ----


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(3, 6, 3, groups=3, rng=0), bn.BatchNorm2d(6), (2, 3, 7, 8)),
        (nn.Conv2d(3, 6, 3, bias=False, axis=-1, rng=0), bn.BatchNorm2d(6, axis=-1), (2, 7, 8, 3)),
        (nn.Conv1d(3, 6, 3, rng=0), bn.BatchNorm1d(6), (2, 3, 9)),
        (nn.Linear(3, 6, rng=0), bn.BatchNorm1d(6), (4, 3)),
    ],
    ids=["groups", "channels last", "signals", "linear"],
)
def test_a_layer_with_a_standardized_weight_takes_over_a_batch_normalization(layer, norm, shape):
    model = used(nn.Sequential(nn.Residual(nn.ReLU()), nn.WeightStandardization(layer), norm))
    weight = layer.weight.data.copy()
    result = fold(model, shape[1:])
    assert result.folded == (("1", "2"),) and not result.kept and 0 <= result.error < 1e-9
    assert type(result.model[1]) is type(layer) and len(result.model) == 2
    assert_same(model, result.model, normal(*shape, dtype=np.float32))
    assert type(model[1]) is nn.WeightStandardization and np.array_equal(layer.weight.data, weight)


def test_two_batch_normalizations_behind_a_standardized_weight_are_folded():
    layer = nn.WeightStandardization(nn.Conv2d(3, 6, 3, rng=0))
    model = used(nn.Sequential(layer, bn.BatchNorm2d(6), bn.BatchNorm2d(6)))
    result = fold(model)
    assert result.folded == (("0", "1"), ("0", "2")) and len(result.model) == 1
    assert_same(model, result.model, normal(2, 3, 7, 8, dtype=np.float32))


def test_a_standardized_weight_stays_where_nothing_is_folded_into_it():
    layer = nn.WeightStandardization(nn.Conv2d(3, 6, 3, rng=0))
    model = used(nn.Sequential(layer, bn.BatchNorm2d(6, track_running_stats=False)))
    assert why_kept(model) == "it has no running statistics"
    unbuilt = nn.Sequential(nn.WeightStandardization(nn.Linear(None, 6)), bn.BatchNorm1d(6))
    assert why_kept(unbuilt.eval()).startswith("it is not built")
