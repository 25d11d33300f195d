"""Every message of the pipeline's layers comes once, and nothing is half-done after one."""

import importlib
import pkgutil
import re

import ml_dtypes
import numpy as np
import pytest

import bn
from bn import _check, nn


def ones(*shape):
    return np.ones(shape, np.float32)


CONSTRUCTION = [
    (lambda: nn.Conv2d(0, 2, 3), "in_channels must be a positive integer, got 0"),
    (lambda: nn.Conv2d(2, 2.0, 3), "out_channels must be a positive integer, got 2.0"),
    (lambda: nn.Conv2d(2, 2, 0), "kernel_size must be an integer >= 1 or a pair of them, got 0"),
    (lambda: nn.Conv2d(2, 2, (1, 2, 3)), "kernel_size must be an integer >= 1 or a pair of"),
    (lambda: nn.Conv2d(2, 2, 3, stride=0), "stride must be an integer >= 1 or a pair of them"),
    (lambda: nn.Conv2d(2, 2, 3, padding=-1), "padding must be an integer >= 0 or a pair of"),
    (lambda: nn.Conv2d(2, 2, 3, dilation=True), "dilation must be an integer >= 1 or a pair"),
    (lambda: nn.Conv2d(2, 2, 3, padding="full"), "padding must be 'same', 'valid' or integers"),
    (
        lambda: nn.Conv2d(2, 2, 3, 2, "same"),
        "padding='same' needs stride 1, got stride=(2, 2)",
    ),
    (lambda: nn.Conv2d(4, 2, 3, groups=0), "groups must be a positive integer, got 0"),
    (
        lambda: nn.Conv2d(4, 2, 3, groups=4),
        "groups must divide in_channels 4 and out_channels 2, got 4",
    ),
    (lambda: nn.Conv2d(2, 2, 3, axis=2), "axis must be 1 (N, C, H, W) or -1 (N, H, W, C), got 2"),
    (
        lambda: nn.Conv2d(2, 2, 3, axis=np.array([1, -1])),
        "axis must be 1 (N, C, H, W) or -1 (N, H, W, C), got array",
    ),
    (lambda: nn.MaxPool2d(2, padding=2), "padding must be at most half of kernel_size (2, 2), got"),
    (
        lambda: nn.AdaptiveAvgPool2d(0),
        "output_size must be an integer >= 1, None or a pair of them",
    ),
    (
        lambda: nn.AdaptiveAvgPool2d(np.array([1, 1])),
        "output_size must be an integer >= 1, None or a pair of them, got array([1, 1])",
    ),
    (lambda: nn.Linear(0, 1), "in_features must be a positive integer, got 0"),
    (lambda: nn.Linear(1, True), "out_features must be a positive integer, got True"),
    (lambda: nn.Dropout(1.5), "p must be between 0 and 1, got 1.5"),
    (lambda: nn.LeakyReLU(np.nan), "negative_slope must be a finite number, got nan"),
]
WRONG_TYPES = [
    (lambda: nn.Linear(1, 1, dtype=np.int32), "dtype must be float32 or float64, got int32"),
    (lambda: nn.Linear(1, 1, rng="x"), "rng must be a seed >= 0, a numpy Generator or None, got"),
    (lambda: nn.Dropout(rng=-1), "rng must be a seed >= 0, a numpy Generator or None, got -1"),
    (lambda: nn.Softmax(axis=1.0), "axis must be an integer, got 1.0"),
    (lambda: nn.Sequential(np.tanh), "every layer must be of type Module, got ufunc"),
    (lambda: nn.Sequential().append(None), "every layer must be of type Module, got NoneType"),
    (lambda: nn.Residual(None), "body must be of type Module, got NoneType"),
    (lambda: nn.Residual(nn.ReLU(), 3), "shortcut must be of type Module, got int"),
]


@pytest.mark.parametrize(("make", "message"), CONSTRUCTION)
def test_layers_refuse_bad_options(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(("make", "message"), WRONG_TYPES)
def test_layers_refuse_options_of_the_wrong_type(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()


FORWARD = [
    (nn.Conv2d(3, 2, 3), ones(3, 8, 8), "Conv2d takes images of shape (N, C, H, W), got"),
    (nn.Conv2d(3, 2, 3), ones(1, 4, 8, 8), "Conv2d takes 3 channels on axis 1, got shape"),
    (
        nn.Conv2d(3, 2, 3, axis=-1),
        ones(1, 3, 8, 8),
        "Conv2d takes 3 channels on axis -1, got shape (1, 3, 8, 8)",
    ),
    (
        nn.Conv2d(3, 2, 5),
        ones(1, 3, 4, 8),
        "Conv2d takes images of at least (5, 5) pixels, got (4, 8)",
    ),
    (nn.MaxPool2d(3), ones(1, 1, 2, 2), "MaxPool2d takes images of at least (3, 3) pixels, got"),
    (nn.AvgPool2d(3), ones(1, 2, 2), "AvgPool2d takes images of shape (N, C, H, W), got"),
    (nn.AdaptiveAvgPool2d(), ones(1, 1, 0, 2), "AdaptiveAvgPool2d takes images of at least (1, 1)"),
    (nn.Linear(3, 2), ones(2, 4), "Linear takes 3 features on the last axis, got shape (2, 4)"),
    (nn.Linear(3, 2), ones(), "Linear takes 3 features on the last axis, got shape ()"),
    (nn.Flatten(), ones(3), "x of Flatten must have at least 2 axes, got shape (3,)"),
    (nn.Softmax(axis=2), ones(2, 3), "Softmax takes inputs with an axis 2, got shape (2, 3)"),
    (
        nn.Residual(nn.MaxPool2d(2)),
        ones(1, 1, 4, 4),
        "Residual takes a body and a shortcut of the same output shape, got (1, 2, 2) and",
    ),
]


@pytest.mark.parametrize(("layer", "x", "message"), FORWARD)
def test_layers_refuse_inputs_that_do_not_fit(layer, x, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        layer(x)


SHAPES = [
    (nn.Conv2d(3, 2, 3), (8, 8), "Conv2d takes inputs of shape (C, H, W), got (8, 8)"),
    (nn.Conv2d(3, 2, 3, axis=-1), (3, 8, 8), "Conv2d takes 3 channels in (H, W, C), got (3, 8, 8)"),
    (nn.MaxPool2d(2), (8, 8), "MaxPool2d takes inputs of shape (C, H, W), got (8, 8)"),
    (nn.AvgPool2d(2, axis=-1), (8,), "AvgPool2d takes inputs of shape (H, W, C), got (8,)"),
    (nn.Softmax(axis=3), (3,), "Softmax takes inputs with an axis 3, got shape (None, 3)"),
    (
        nn.Residual(nn.Linear(3, 4)),
        (3,),
        "Residual takes a body and a shortcut of the same output shape, got (4,) and (3,)",
    ),
]


@pytest.mark.parametrize(("layer", "shape", "message"), SHAPES)
def test_layers_refuse_shapes_that_do_not_fit(layer, shape, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        layer.output_shape(shape)


LAYERS = [
    (nn.Conv2d(2, 2, 1, rng=0), ones(1, 2, 4, 4)),
    (nn.MaxPool2d(2), ones(1, 2, 4, 4)),
    (nn.AvgPool2d(2), ones(1, 2, 4, 4)),
    (nn.AdaptiveAvgPool2d(1), ones(1, 2, 4, 4)),
    (nn.ConvTranspose2d(2, 2, 1, rng=0), ones(1, 2, 4, 4)),
    (nn.Conv1d(2, 2, 1, rng=0), ones(1, 2, 4)),
    (nn.MaxPool1d(2), ones(1, 2, 4)),
    (nn.AvgPool1d(2), ones(1, 2, 4)),
    (nn.Upsample(scale_factor=2), ones(1, 2, 4, 4)),
    (nn.ZeroPad2d(1), ones(1, 2, 4, 4)),
    (nn.Linear(2, 3, rng=0), ones(1, 2)),
    (nn.Flatten(), ones(1, 2, 2)),
    (nn.Dropout(0.5, rng=0), ones(1, 2)),
    (nn.Dropout2d(0.5, rng=0), ones(1, 2, 4, 4)),
    (nn.ReLU(), ones(1, 2)),
    (nn.ReLU6(), ones(1, 2)),
    (nn.LeakyReLU(), ones(1, 2)),
    (nn.Sigmoid(), ones(1, 2)),
    (nn.Tanh(), ones(1, 2)),
    (nn.Softmax(), ones(1, 2)),
]


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda v: type(v).__name__)
def test_backward_of_a_layer_follows_each_forward_once(layer, x):
    name = type(layer).__name__
    sentence = f"{name}.backward must follow {name}'s forward, once for each call"
    with pytest.raises(RuntimeError, match=sentence):
        layer.backward(x)
    y = layer(x)
    layer.backward(y)
    with pytest.raises(RuntimeError, match=sentence):
        layer.backward(y)


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda v: type(v).__name__)
def test_a_wrong_dy_is_refused_and_the_right_one_still_taken(layer, x):
    y = layer(x)
    layer.zero_grad()
    name = f"dy of {type(layer).__name__}"
    with pytest.raises(ValueError, match=re.escape(f"{name} must have shape {y.shape}, got (7,)")):
        layer.backward(ones(7))
    with pytest.raises(TypeError, match=f"{name} must be float32 as the output, got float64"):
        layer.backward(y.astype(np.float64))
    with pytest.raises(TypeError, match=f"{name} must be a numpy array, got list"):
        layer.backward([1.0])
    assert all(p.grad is None for p in layer.parameters())
    assert layer.backward(y).shape == x.shape


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=lambda v: type(v).__name__)
def test_layers_refuse_integers_and_objects(layer, x):
    name = f"x of {type(layer).__name__}"
    halves = () if isinstance(layer, nn.Flatten) else (np.float16,)  # it computes nothing
    for dtype in (np.int64, object, *halves):
        message = f"{name} must be float32 or float64, got {np.dtype(dtype)}"
        with pytest.raises(TypeError, match=message):
            layer(x.astype(dtype))
    with pytest.raises(TypeError, match=f"{name} must be a numpy array, got list"):
        layer(x.tolist())


def test_no_check_hides_another_of_the_same_name():
    files = [
        importlib.import_module(f"bn._check.{module.name}")
        for module in pkgutil.iter_modules(_check.__path__)
    ]
    assert len(files) > 3
    defined = [
        name
        for file in files
        for name, value in vars(file).items()
        if getattr(value, "__module__", None) == file.__name__
    ]
    assert len(defined) > 50
    assert sorted(set(defined)) == sorted(defined)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Linear(10**30, 2), ValueError, "in_features must be at most"),
        (lambda: nn.Conv2d(1, 1, 3, stride=2**63), ValueError, "stride must be at most"),
        (lambda: nn.MaxPool2d(2, (1, 10**400)), ValueError, "stride must be at most"),
        (lambda: nn.SGD(3, lr=0.1), TypeError, "params must be an iterable of values, got one int"),
        (lambda: nn.ModuleList(3), TypeError, "layers must be an iterable of values, got one int"),
        (lambda: nn.ModuleDict([1]), TypeError, "layers must be of type Mapping, got list"),
        (lambda: nn.concatenate(3), TypeError, "values must be an iterable of values, got one int"),
        (lambda: nn.Linear(2, 2).output_shape(2), ValueError, "takes 2 features .*, got shape 2"),
        (lambda: nn.Conv2d(2, 2, 1).output_shape(2), ValueError, r"shape \(C, H, W\), got 2"),
        (
            lambda: bn.fold(nn.Sequential(nn.ReLU()).eval(), "three"),
            TypeError,
            "input_shape must be a tuple of integers, got 'three'",
        ),
    ],
)
def test_sizes_collections_and_shapes_that_are_no_such_things_are_refused_by_name(
    call, error, message
):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (3, "state must be of type Mapping, got int"),
        (
            {"options": 3, "state": [{}]},
            "the options of the state must be of type Mapping, got int",
        ),
        ({"options": {}, "state": 3}, "the state of the parameters must be of type Collection"),
        (
            {"options": {}, "state": [3]},
            "the state of parameter 0 must be of type Mapping, got int",
        ),
    ],
)
def test_a_state_of_an_optimizer_of_another_kind_is_refused(state, message):
    optimizer = nn.SGD([nn.Parameter(np.ones(2))], lr=0.1)
    if isinstance(state, dict) and state["options"] == {}:
        state["options"] = {name: getattr(optimizer, name) for name in optimizer.option_names}
    with pytest.raises(TypeError, match=message):
        optimizer.load_state_dict(state)


def test_no_mask_is_lost_where_arrays_are_joined_or_added():
    x = np.ones((2, 3))
    masked = np.ma.masked_array(x, True)
    with pytest.raises(TypeError, match="each value must have no mask, got a MaskedArray"):
        nn.concatenate([x, masked])

    class Sum(nn.Module):
        def forward(self, x):
            return x + masked

    with pytest.raises(TypeError, match="takes recorded values, arrays and numbers, got Masked"):
        Sum()(x)


def test_a_name_that_is_in_bn_is_pointed_to():
    for name in ("LayerNorm", "BatchNorm2d", "GroupNorm"):
        with pytest.raises(
            AttributeError, match=f"'bn.nn' has no attribute '{name}': see bn.{name}$"
        ):
            getattr(nn, name)
    with pytest.raises(AttributeError, match=r"has no attribute .Transformer.$"):
        nn.Transformer  # noqa: B018


class Tensor:
    """Like one of PyTorch that requires a gradient, which NumPy cannot read."""

    def __array__(self, *args, **options):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return np.ones((2, 2))


def test_a_tensor_that_numpy_cannot_read_is_told_how_to_give():
    model = nn.Linear(2, 2, bias=False, rng=0)
    before = model.weight.data.copy()
    message = r"weight must be readable as a NumPy array, got Tensor .*: give tensor.detach\(\)"
    with pytest.raises(TypeError, match=message):
        model.load_state_dict({"weight": Tensor()})
    assert np.array_equal(model.weight.data, before)


def test_a_state_may_hold_bfloat16():
    weight = np.array([[0.5, -2.0]], ml_dtypes.bfloat16)
    model = nn.Linear(2, 1, bias=False).load_state_dict({"weight": weight})
    assert model.weight.data.tolist() == [[0.5, -2.0]] and model.weight.dtype == np.float32
