"""Every layer takes input that lies in memory in any way, and says what does not fit, by name.

Of each layer, y, dx and the gradients of the parameters are compared with those for plain arrays.
"""

import re

import accuracy
import layouts
import numpy as np
import pytest
from arrays import normal, same_state, state

import bn
from bn import nn
from bn.nn import conv_direct

F32 = np.float32
IMAGES, SIGNALS, VECTORS = (4, 6, 7), (4, 9), (12,)  # one sample: (C, H, W); (C, L); features
SEQUENCES = (6, 7)  # steps, features
RETURNS = {"return_state": False, "batch_first": True, "rng": 0}


def conv(channels, *rest, **options):
    return lambda: nn.Conv2d(channels, *rest, rng=0, **options)


def network():
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, rng=0), bn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(
        nn.Residual(body), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3, rng=1), nn.Softmax()
    )


# For each layer what makes it, and the shape of one sample.
LAYERS = {
    "Conv2d": (conv(4, 6, 3, padding=1), IMAGES),
    "Conv2d of 17 channels": (conv(17, 16, (2, 3)), (17, 5, 6)),
    "Conv2d pointwise": (conv(4, 6, 1), IMAGES),
    "Conv2d in groups": (conv(4, 6, 3, 1, 1, groups=2), IMAGES),
    "Conv2d depthwise": (conv(4, 4, 3, 1, 1, groups=4), IMAGES),
    "Conv2d with a stride": (conv(4, 6, 3, 2, 1), IMAGES),
    "Conv2d with a dilation": (conv(4, 6, 2, dilation=2), IMAGES),
    "Conv2d, axis=-1": (conv(7, 5, 3, padding="same", axis=-1), IMAGES),
    "Conv2d depthwise, axis=-1": (conv(7, 7, 3, groups=7, axis=-1), IMAGES),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), IMAGES),
    "MaxPool2d overlapping": (lambda: nn.MaxPool2d(3, 1, 1), IMAGES),
    "MaxPool2d, axis=-1": (lambda: nn.MaxPool2d(3, 2, axis=-1), IMAGES),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), IMAGES),
    "AvgPool2d, axis=-1": (lambda: nn.AvgPool2d(3, 1, 1, axis=-1), IMAGES),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, IMAGES),
    "AdaptiveAvgPool2d, axis=-1": (lambda: nn.AdaptiveAvgPool2d(axis=-1), IMAGES),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, rng=0), IMAGES),
    "ConvTranspose2d, axis=-1": (lambda: nn.ConvTranspose2d(7, 5, 2, axis=-1, rng=0), IMAGES),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1, rng=0), SIGNALS),
    "Conv1d, axis=-1": (lambda: nn.Conv1d(9, 6, 3, axis=-1, rng=0), SIGNALS),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2, 1), SIGNALS),
    "MaxPool1d, axis=-1": (lambda: nn.MaxPool1d(2, axis=-1), SIGNALS),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), SIGNALS),
    "AdaptiveAvgPool2d of overlapping windows": (lambda: nn.AdaptiveAvgPool2d(4), IMAGES),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), IMAGES),
    "Upsample, bilinear": (lambda: nn.Upsample((9, 5), mode="bilinear"), IMAGES),
    "Upsample, axis=-1": (lambda: nn.Upsample(5, mode="bilinear", axis=-1), IMAGES),
    "ZeroPad2d": (lambda: nn.ZeroPad2d((1, 2, 0, 3)), IMAGES),
    "Dropout2d of everything": (lambda: nn.Dropout2d(1.0), IMAGES),
    "Dropout2d in eval mode": (lambda: nn.Dropout2d(0.5).eval(), IMAGES),
    "Linear": (lambda: nn.Linear(12, 5, rng=0), VECTORS),
    "Linear of many outputs": (lambda: nn.Linear(12, 70, rng=0), VECTORS),
    "Linear on the last of four axes": (lambda: nn.Linear(7, 5, rng=0), IMAGES),
    "LSTM": (lambda: nn.LSTM(7, 5, 2, bidirectional=True, **RETURNS), SEQUENCES),
    "GRU": (lambda: nn.GRU(7, 5, **RETURNS), SEQUENCES),
    "RNN": (lambda: nn.RNN(7, 5, return_sequences=False, **RETURNS), SEQUENCES),
    "Flatten": (nn.Flatten, IMAGES),
    "ReLU": (nn.ReLU, IMAGES),
    "ReLU6": (nn.ReLU6, IMAGES),
    "LeakyReLU": (nn.LeakyReLU, IMAGES),
    "Sigmoid": (nn.Sigmoid, IMAGES),
    "Tanh": (nn.Tanh, IMAGES),
    "GELU": (nn.GELU, IMAGES),
    "GELU by tanh": (lambda: nn.GELU("tanh"), IMAGES),
    "SiLU": (nn.SiLU, IMAGES),
    "ELU": (nn.ELU, IMAGES),
    "Softplus": (nn.Softplus, IMAGES),
    "Hardswish": (nn.Hardswish, IMAGES),
    "PReLU": (nn.PReLU, IMAGES),
    "PReLU of channels": (lambda: nn.PReLU(4), IMAGES),
    "LogSoftmax": (nn.LogSoftmax, IMAGES),
    "Softmax": (nn.Softmax, IMAGES),
    "Softmax over channels": (lambda: nn.Softmax(1), IMAGES),
    "Dropout of nothing": (lambda: nn.Dropout(0.0), IMAGES),
    "Dropout of everything": (lambda: nn.Dropout(1.0), IMAGES),
    "Dropout in eval mode": (lambda: nn.Dropout(0.5).eval(), IMAGES),
    "BatchNorm2d": (lambda: bn.BatchNorm2d(4), IMAGES),
    "BatchNorm2d in eval mode": (lambda: bn.BatchNorm2d(4).eval(), IMAGES),
    "Residual": (lambda: nn.Residual(nn.Tanh()), IMAGES),
    "Residual with a shortcut": (
        lambda: nn.Residual(nn.Conv2d(4, 6, 3, 2, 1, rng=0), nn.Conv2d(4, 6, 1, 2, rng=1)),
        IMAGES,
    ),
    "Sequential": (network, IMAGES),
    "Sequential of Flatten and Linear": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(168, 3, rng=0)),
        IMAGES,
    ),
}
# BLAS adds in an order that may follow the memory of x, as does a linear layer that flattens. So
# do batch normalization, which sums the gradient of a transposed convolution's bias too, and the
# gradient of PReLU's slopes, where the axes lie in another order. What the other kernels compute is
# the same to the last bit.
ROUNDED = ("Linear of many outputs", "Sequential", "LSTM", "GRU", "RNN", "PReLU", "ConvTranspose2d")
if not conv_direct.FAST:  # convolutions use BLAS too
    ROUNDED += ("Conv2d", "Conv1d", "Linear", "Residual with a shortcut")


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def transposed(x):
    return np.ascontiguousarray(x.T).T


def memory_map(x):
    """Return the array as `np.load(..., mmap_mode="r")` would: of a subclass, and read-only."""
    return read_only(x).view(np.memmap)


MEMORY = [*layouts.MEMORY[1:], transposed, read_only, memory_map]
OTHER_ORDERS = [layouts.fortran, layouts.channels_last_memory, transposed]


def make(name, *, samples=3, seed=0):
    """Return a layer, its x and a dy."""
    build, sample = LAYERS[name]
    layer = build()
    x = normal(samples, *sample, seed=seed, dtype=F32)
    return layer, x, normal(samples, *layer.output_shape(sample), seed=seed + 1, dtype=F32)


def passes(layer, x, dy):
    """Return y, dx and the gradients of the parameters, by name; x and dy must stay as they are."""
    before = x.tobytes(), dy.tobytes()
    layer.zero_grad()
    y = layer(x)
    assert x.tobytes() == before[0], "forward changed x"
    kept_y = y.copy()
    dx = layer.backward(dy)
    assert (x.tobytes(), dy.tobytes()) == before, "backward changed x or dy"
    assert np.array_equal(y, kept_y), "backward changed y"
    return {"y": y, "dx": dx, **{n: p.grad for n, p in layer.named_parameters()}}


def assert_equal(found, expected, name, rounded=ROUNDED):
    close = {"rtol": 2e-5, "atol": 5e-6} if name.startswith(rounded) else {"rtol": 0, "atol": 0}
    assert found.keys() == expected.keys()
    for part, values in found.items():
        assert values.dtype == expected[part].dtype
        np.testing.assert_allclose(values, expected[part], **close, err_msg=part)


@pytest.mark.parametrize("memory", MEMORY, ids=lambda function: function.__name__)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_arrays_that_lie_in_memory_in_any_way(name, memory):
    layer, x, dy = make(name)
    expected = passes(layer, x, dy)
    rounded = (*ROUNDED, "BatchNorm2d") if memory in OTHER_ORDERS else ROUNDED
    assert_equal(passes(make(name)[0], memory(x), dy), expected, name, rounded)
    assert_equal(passes(make(name)[0], x, memory(dy)), expected, name)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_a_sample_that_is_repeated_without_a_copy(name):
    layer, x, dy = make(name)
    same_x, same_dy = (np.broadcast_to(a[:1], a.shape) for a in (x, dy))
    expected = passes(layer, same_x.copy(), same_dy.copy())
    assert_equal(passes(make(name)[0], same_x, same_dy), expected, name)


@pytest.mark.parametrize("name", LAYERS)
def test_a_batch_of_no_images_gives_empty_arrays_and_gradients_of_zero(name):
    layer, x, dy = make(name)
    found = passes(layer, x[:0], dy[:0])
    assert found["y"].shape == (0, *dy.shape[1:]) and found["dx"].shape == (0, *x.shape[1:])
    assert {found["y"].dtype, found["dx"].dtype} == {np.dtype(F32)}
    for parameter in layer.named_parameters():
        assert found[parameter[0]].shape == parameter[1].shape and not found[parameter[0]].any()


PER_SAMPLE = [name for name in LAYERS if name not in ("BatchNorm2d", "Sequential")]


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_a_batch_of_one_image_gives_what_the_image_gives_among_others(name):
    layer, x, dy = make(name)
    all_of_them = passes(layer, x, dy)
    for i in range(len(x)):
        one = passes(make(name)[0], x[i : i + 1], dy[i : i + 1])
        close = {"rtol": 2e-5, "atol": 2e-6}
        np.testing.assert_allclose(one["y"][0], all_of_them["y"][i], **close)
        np.testing.assert_allclose(one["dx"][0], all_of_them["dx"][i], **close)


# ---- what does not fit ----


def names_of(layer):
    """Return a pattern for the class of the layer, or of a layer inside it."""
    return "|".join(sorted({type(module).__name__ for module in layer.modules()}))


@pytest.mark.parametrize(
    "dtype", [np.int32, np.complex64, bool, object, np.dtype(F32).newbyteorder()], ids=str
)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_refuses_values_that_are_no_floats_of_this_machine(name, dtype):
    layer, x, dy = make(name)
    names, dtype_name = names_of(layer), re.escape(str(np.dtype(dtype)))
    message = f"of ({names}) must be .*float32 or float64, got {dtype_name}"
    with pytest.raises(TypeError, match=f"x {message}"):
        layer(x.astype(dtype))
    layer(x)
    with pytest.raises(TypeError, match=f"dy {message}"):
        layer.backward(dy.astype(dtype))


@pytest.mark.parametrize(
    "x", [[[1.0, 2.0]], np.ma.ones((3, 4, 6, 7), F32), F32(1), None], ids=lambda x: type(x).__name__
)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_refuses_what_is_no_array(name, x):
    layer, right, _ = make(name)
    what = "have no mask, got a" if isinstance(x, np.ma.MaskedArray) else "be a numpy array, got"
    message = f"of ({names_of(layer)}) must {what} {type(x).__name__}"
    with pytest.raises(TypeError, match=f"x {message}"):
        layer(x)
    layer(right)
    with pytest.raises(TypeError, match=f"dy {message}"):
        layer.backward(x)


# For each layer the shapes of wrong inputs, and what the message says that it takes.
WRONG_IMAGES = [
    ((4, 6, 7), "{} takes images of shape (N, C, H, W), got shape (4, 6, 7)"),
    ((2, 4), "{} takes images of shape (N, C, H, W), got shape (2, 4)"),
    ((), "{} takes images of shape (N, C, H, W), got shape ()"),
    ((1, 2, 4, 6, 7), "{} takes images of shape (N, C, H, W), got shape (1, 2, 4, 6, 7)"),
]
WRONG_CHANNELS = [
    ((2, 5, 6, 7), "{} takes 4 channels on axis 1, got shape (2, 5, 6, 7)"),
    ((0, 1, 6, 7), "{} takes 4 channels on axis 1, got shape (0, 1, 6, 7)"),
    ((2, 0, 6, 7), "{} takes 4 channels on axis 1, got shape (2, 0, 6, 7)"),
    ((2, 6, 7, 4), "{} takes 4 channels on axis 1, got shape (2, 6, 7, 4)"),
]
LAST = ((4, 6, 7), "{} takes images of shape (N, H, W, C), got shape (4, 6, 7)")
WRONG_SEQUENCES = [
    ((3, 7), "{} takes sequences of shape (N, T, 7), got shape (3, 7)"),
    ((3, 6, 8), "{} takes sequences of shape (N, T, 7), got shape (3, 6, 8)"),
]
WRONG_SIGNALS = [
    ((4, 9), "{} takes signals of shape (N, C, L), got shape (4, 9)"),
    ((2, 4, 9, 1), "{} takes signals of shape (N, C, L), got shape (2, 4, 9, 1)"),
]
WRONG_SHAPES = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), WRONG_SEQUENCES),
    "Conv2d": [*WRONG_IMAGES, *WRONG_CHANNELS],
    "Conv2d in groups": [
        *WRONG_CHANNELS,
        ((2, 4, 0, 5), "{} takes images of at least (1, 1) pixels, got (0, 5)"),
    ],
    "Conv2d depthwise": WRONG_CHANNELS,
    "Conv2d with a stride": [
        ((2, 4, 5, 0), "{} takes images of at least (1, 1) pixels, got (5, 0)")
    ],
    "Conv2d with a dilation": [
        ((2, 4, 2, 7), "{} takes images of at least (3, 3) pixels, got (2, 7)")
    ],
    "Conv2d of 17 channels": [
        ((0, 17, 1, 7), "{} takes images of at least (2, 3) pixels, got (1, 7)"),
        ((2, 17, 7, 2), "{} takes images of at least (2, 3) pixels, got (7, 2)"),
    ],
    "Conv2d, axis=-1": [
        LAST,
        ((2, 7, 6, 4), "{} takes 7 channels on axis -1, got shape (2, 7, 6, 4)"),
    ],
    "MaxPool2d": [
        *WRONG_IMAGES,
        ((2, 4, 1, 7), "{} takes images of at least (2, 2) pixels, got (1, 7)"),
    ],
    "MaxPool2d, axis=-1": [
        LAST,
        ((2, 7, 2, 9), "{} takes images of at least (3, 3) pixels, got (7, 2)"),
    ],
    "AvgPool2d": [
        *WRONG_IMAGES,
        ((2, 4, 7, 1), "{} takes images of at least (2, 2) pixels, got (7, 1)"),
    ],
    "AvgPool2d, axis=-1": [
        LAST,
        ((0, 0, 9, 4), "{} takes images of at least (1, 1) pixels, got (0, 9)"),
    ],
    "AdaptiveAvgPool2d": [
        *WRONG_IMAGES,
        ((2, 4, 0, 7), "{} takes images of at least (1, 1) pixels, got (0, 7)"),
    ],
    "AdaptiveAvgPool2d, axis=-1": [LAST],
    "ConvTranspose2d": [*WRONG_IMAGES, *WRONG_CHANNELS],
    "ConvTranspose2d, axis=-1": [LAST],
    "Conv1d": [
        *WRONG_SIGNALS,
        ((2, 5, 9), "{} takes 4 channels on axis 1, got shape (2, 5, 9)"),
        ((2, 4, 0), "{} takes signals of at least 1 values, got 0"),
    ],
    "Conv1d, axis=-1": [((4, 9), "{} takes signals of shape (N, L, C), got shape (4, 9)")],
    "MaxPool1d": [*WRONG_SIGNALS, ((2, 4, 0), "{} takes signals of at least 1 values, got 0")],
    "MaxPool1d, axis=-1": [((2, 1, 4), "{} takes signals of at least 2 values, got 1")],
    "AvgPool1d": [*WRONG_SIGNALS, ((2, 4, 0), "{} takes signals of at least 1 values, got 0")],
    "Upsample": [
        *WRONG_IMAGES,
        ((2, 4, 6, 0), "{} takes images of at least (1, 1) pixels, got (6, 0)"),
    ],
    "Upsample, axis=-1": [LAST],
    "ZeroPad2d": WRONG_IMAGES,
    "Dropout2d in eval mode": WRONG_IMAGES,
    "Linear": [
        ((3, 11), "{} takes 12 features on the last axis, got shape (3, 11)"),
        ((12, 3), "{} takes 12 features on the last axis, got shape (12, 3)"),
        ((), "{} takes 12 features on the last axis, got shape ()"),
        ((0,), "{} takes 12 features on the last axis, got shape (0,)"),
    ],
    "Flatten": [
        ((3,), "x of {} must have at least 2 axes, got shape (3,)"),
        ((), "x of {} must have at least 2 axes, got shape ()"),
    ],
    "PReLU of channels": [
        ((2, 5, 6, 7), "{} takes 4 channels on axis 1, got shape (2, 5, 6, 7)"),
        ((4,), "{} takes inputs with an axis 1, got shape (4,)"),
    ],
    "LogSoftmax": [((), "{} takes inputs with an axis -1, got shape ()")],
    "Softmax": [((), "{} takes inputs with an axis -1, got shape ()")],
    "Softmax over channels": [((3,), "{} takes inputs with an axis 1, got shape (3,)")],
    "BatchNorm2d": [
        ((4, 6, 7), "{}: expected 4D input (got 3D input)"),
        ((2, 5, 6, 7), "{} takes 4 channels on axis 1, got shape (2, 5, 6, 7)"),
        ((2, 0, 6, 7), "{} takes 4 channels on axis 1, got shape (2, 0, 6, 7)"),
    ],
    "Residual with a shortcut": [
        (shape, message.format("Conv2d")) for shape, message in WRONG_CHANNELS
    ],
    "Sequential": [
        ((2, 3, 6, 7), "Conv2d takes 4 channels on axis 1, got shape (2, 3, 6, 7)"),
        ((2, 4, 8, 7), "Linear takes 36 features on the last axis, got shape (2, 48)"),
        ((2, 4, 6, 1), "MaxPool2d takes images of at least (2, 2) pixels, got (6, 1)"),
    ],
    "Sequential of Flatten and Linear": [
        ((3,), "x of Flatten must have at least 2 axes, got shape (3,)"),
        ((2, 4, 6, 6), "Linear takes 168 features on the last axis, got shape (2, 144)"),
    ],
}


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [(name, *wrong) for name, cases in WRONG_SHAPES.items() for wrong in cases],
)
def test_a_shape_that_does_not_fit_is_told_with_the_layer_and_what_it_takes(name, shape, message):
    layer, x, dy = make(name)
    layer(x)  # which backward can still follow after an error
    before = state(layer)
    with pytest.raises(ValueError, match=re.escape(message.format(type(layer).__name__))):
        layer(np.ones(shape, F32))
    assert same_state(state(layer), before)
    if not list(layer.children()):
        assert layer.backward(dy).shape == x.shape


def test_every_layer_that_does_not_take_all_shapes_is_asked_for_a_wrong_one():
    elementwise = {"ReLU", "ReLU6", "LeakyReLU", "Sigmoid", "Tanh", "Dropout"}
    elementwise |= {"GELU", "SiLU", "ELU", "Softplus", "Hardswish"}
    public = {kind for kind in vars(nn).values() if isinstance(kind, type)}
    layers = {kind.__name__ for kind in public if issubclass(kind, nn.Module)}
    layers -= {"Module", "ModuleList", "ModuleDict", "Identity"}  # which compute nothing
    layers -= {"Embedding", "WeightStandardization"}  # integers of any shape; its layer is asked
    walked = {type(build()).__name__ for build, _ in LAYERS.values()}
    assert walked == layers | {"BatchNorm2d"}
    asked = {type(LAYERS[name][0]()).__name__ for name in WRONG_SHAPES}
    assert asked == walked - elementwise


def test_residual_says_which_shapes_its_parts_gave():
    layer = nn.Residual(nn.Conv2d(4, 4, 3, rng=0), nn.MaxPool2d(2))
    sentence = "Residual takes a body and a shortcut of the same output shape, got"
    with pytest.raises(ValueError, match=re.escape(f"{sentence} (4, 4, 5) and (4, 3, 3)")):
        layer(normal(2, 4, 6, 7, dtype=F32))
    with pytest.raises(ValueError, match=re.escape(f"{sentence} (4, 4, 5) and (4, 3, 3)")):
        layer.output_shape((4, 6, 7))


@pytest.mark.parametrize("input_grad", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_wrong_dy_is_told_with_the_layer_and_changes_nothing(name, input_grad):
    layer, x, dy = make(name)
    expected = passes(layer, x, dy)
    layer.zero_grad()
    layer(x)
    before = state(layer)
    of = f"dy of {type(layer).__name__} must"
    knowing = isinstance(layer, nn.Sequential | nn.Residual | nn.Flatten | nn.Conv2d | nn.Linear)
    options = {"input_grad": input_grad} if knowing else {}
    for wrong in (dy[:2], dy[:0], dy[0], dy[..., None], np.ones((), F32)):
        sentence = f"{of} have shape {dy.shape}, got {wrong.shape}"
        with pytest.raises(ValueError, match=re.escape(sentence)):
            layer.backward(wrong, **options)
    with pytest.raises(TypeError, match=f"{of} be float32 as the output, got float64"):
        layer.backward(dy.astype(np.float64), **options)
    assert all(p.grad is None for p in layer.parameters())
    assert same_state(state(layer), before)
    np.testing.assert_array_equal(layer.backward(dy), expected["dx"])
    for part, parameter in layer.named_parameters():
        np.testing.assert_array_equal(parameter.grad, expected[part])


# ---- losses and optimizers ----

LOSSES = [
    (nn.CrossEntropyLoss, ((4, 3), np.zeros(5, int)), "target must have shape (4,), got (5,)"),
    (nn.CrossEntropyLoss, ((4, 3), np.int64(1)), "target must have shape (4,), got ()"),
    (nn.CrossEntropyLoss, ((4, 3, 2), np.zeros(4, int)), "target must have shape (4, 2), got (4,)"),
    (nn.CrossEntropyLoss, ((4, 3), np.ones((3, 4))), "target must have shape (4, 3), got (3, 4)"),
    (nn.CrossEntropyLoss, ((), np.int64(1)), "logits must have at least 2 axes, got shape ()"),
    (nn.CrossEntropyLoss, ((4, 0), np.ones((4, 0))), "logits must not be empty, got shape (4, 0)"),
    (nn.MSELoss, ((4, 3), np.ones((4, 1))), "target must have shape (4, 3), got (4, 1)"),
    (nn.MSELoss, ((4, 3), 1.0), "target must have shape (4, 3), got ()"),
    (nn.MSELoss, ((4, 3), ["a", "b"]), "target must have shape (4, 3), got (2,)"),
]


@pytest.mark.parametrize(("kind", "arguments", "message"), LOSSES)
def test_a_loss_says_which_shape_it_wanted_and_which_came(kind, arguments, message):
    shape, target = arguments
    criterion, y = kind(), normal(4, 3)
    criterion(y, y**2)
    with pytest.raises(ValueError, match=re.escape(message)):
        criterion(np.ones(shape), target)
    assert criterion.backward().shape == y.shape  # that of the last loss


@pytest.mark.parametrize("target", [["a"], [1j], [None], [np.datetime64("2020", "D")]])
def test_mean_squared_error_refuses_targets_that_are_no_numbers(target):
    with pytest.raises(TypeError, match="target must hold numbers, got dtype"):
        nn.MSELoss()(np.ones(1), target)


@pytest.mark.parametrize("memory", MEMORY, ids=lambda function: function.__name__)
@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(from_logits=False),
        nn.MSELoss(),
        nn.L1Loss(),
        nn.SmoothL1Loss(beta=0.5),
        nn.BCEWithLogitsLoss(pos_weight=2),
    ],
)
def test_a_loss_takes_arrays_that_lie_in_memory_in_any_way(criterion, memory):
    y, target = np.random.default_rng(0).random((2, 3, 5, 4, 2), F32)
    y /= y.sum(axis=1, keepdims=True)
    expected, gradient = criterion(y, target), criterion.backward()
    for arguments in ((memory(y), target), (y, memory(target)), (y, target.astype(">f4"))):
        before = [a.tobytes() for a in arguments]
        assert criterion(*arguments) == pytest.approx(expected, rel=1e-6)
        # Some are small differences of large terms, and old NumPy adds in the order of memory.
        size = np.abs(gradient).max(axis=1, keepdims=True)
        accuracy.below(criterion.backward() - gradient, 1e-6 * size + 1e-9, "gradient")
        assert [a.tobytes() for a in arguments] == before


@pytest.mark.parametrize("kind", [nn.SGD, nn.Adam, nn.AdamW, nn.RMSprop])
def test_an_optimizer_says_which_gradient_it_wanted_and_which_came(kind):
    params = [nn.Parameter(np.ones(2)), nn.Parameter(np.ones((2, 3), F32))]
    optimizer = kind(params, lr=0.1)
    for wrong, error, message in (
        (np.ones((3, 2), F32), ValueError, "must have shape (2, 3), got (3, 2)"),
        (np.ones((), F32), ValueError, "must have shape (2, 3), got ()"),
        (np.ones((2, 3)), TypeError, "must be float32, as the parameter, got float64"),
        (np.ones((2, 3), ">f4"), TypeError, "must be float32, as the parameter, got >f4"),
        ([[1.0] * 3] * 2, TypeError, "must be a numpy array, got list"),
    ):
        params[0].grad, params[1].grad = np.ones(2), wrong
        with pytest.raises(error, match=re.escape(f"the gradient of parameter 1 {message}")):
            optimizer.step()
        assert (params[0].data == 1).all() and not optimizer.state[0]
