"""Cases of `bn.keras`: layers, losses, optimizers and `to_categorical`."""

import numpy as np
from fuzz_law import Case, close, entries, wide

from bn import keras
from bn.keras import layers

TABLE = {}
fuzzed = entries(TABLE)

BAD_SIZE = [0, -1, 2.5, "text", None, (0, 1), [2, 2, 2, 2], np.nan]
BAD_COUNT = [0, -1, 2.5, "text", None, np.nan]
BAD_WORD = ["text", None, 3, b"same"]
BAD_NAME = ["text", 3, {"class_name": "eval"}, {}, np.tanh, b"relu"]
BAD_INITIALIZER = ["text", 3, {"class_name": "eval"}, {}, b"zeros"]
ACTIVATIONS = ["linear", "relu", "tanh", "sigmoid", "silu", "elu"]
IMAGES, SIGNALS, ROWS = (9, 8, 4), (9, 4), (4,)


def image_window(draw):
    """Draw a window on images; the bad ones are named like the arguments."""
    good = {
        "kernel_size": draw.pick([1, 2, 3, (1, 3), [2, 1]]), "strides": draw.pick([1, 2, (1, 2)]),
        "padding": draw.pick(["same", "valid", "SAME"]), "activation": draw.pick(ACTIVATIONS),
    }  # fmt: skip
    bad = {"kernel_size": BAD_SIZE, "strides": BAD_SIZE, "padding": BAD_WORD}
    return good, {**bad, "activation": BAD_NAME}


def pool_window(draw):
    good = {"pool_size": draw.pick([1, 2, 3]), "strides": draw.pick([None, 1, 2])}
    good["padding"] = draw.pick(["same", "valid"])
    bad_strides = [bad for bad in BAD_SIZE if bad is not None]
    return good, {"pool_size": BAD_SIZE, "strides": bad_strides, "padding": BAD_WORD}


def with_count(name, window):
    """Return a function that draws a number of outputs beside what a window draws."""

    def make(draw):
        good, bad = window(draw)
        return {name: draw.pick([2, 4, 6]), **good}, {name: BAD_COUNT, **bad}

    return make


def signal_window(draw):
    good = {"kernel_size": draw.pick([1, 2, 3]), "strides": draw.pick([1, 2])}
    good["padding"] = draw.pick(["same", "valid", "causal"])
    return good, {"kernel_size": BAD_SIZE, "strides": BAD_SIZE, "padding": BAD_WORD}


def transposed(draw):
    good = {"filters": draw.pick([2, 3]), "kernel_size": draw.pick([2, 3])}
    good["strides"], good["padding"] = draw.pick([1, 2]), draw.pick(["same", "valid"])
    return good, {"filters": BAD_COUNT, "kernel_size": BAD_SIZE, "strides": [*BAD_SIZE, 4]}


def recurrent(draw):
    good = {"units": draw.pick([1, 3]), "return_sequences": draw.pick([True, False])}
    bad = {"units": BAD_COUNT, "return_sequences": ["text", 3, None], "dropout": [0.5, "text"]}
    return good, {**bad, "activation": ["elu", 3, None], "stateful": [True, 1]}


def normalization(draw):
    good = {"epsilon": draw.pick([1e-3, 0.1]), "scale": draw.pick([True, False])}
    return good, {"epsilon": [-1, np.nan, "text", None], "scale": ["text", 3, None]}


def grouped(draw):
    good, bad = normalization(draw)
    return {"groups": draw.pick([1, 2, 4]), **good}, {"groups": [0, 2.5, "text", None], **bad}


def sides(name):
    def make(draw):
        bad = [-1, 2.5, "text", None, (1, 2, 3), ((1, 2), (3,))]
        return {name: draw.pick([1, (1, 2), ((1, 0), (2, 1))])}, {name: bad}

    return make


def options(**choices):
    """Return a function that draws each argument from a list; the lists of bad ones follow."""

    def make(draw):
        good = {name: draw.pick(right) for name, (right, _) in choices.items()}
        return good, {name: wrong for name, (_, wrong) in choices.items()}

    return make


SLOPES = [0.1, 0.5], [-1, np.nan, "text", None]
KINDS = {  # how the arguments are drawn, and of what shape a sample is
    "Conv2D": (with_count("filters", image_window), IMAGES),
    "Conv1D": (with_count("filters", signal_window), SIGNALS),
    "Conv2DTranspose": (transposed, IMAGES),
    "DepthwiseConv2D": (with_count("depth_multiplier", image_window), IMAGES),
    "SeparableConv2D": (with_count("filters", image_window), IMAGES),
    "Dense": (options(units=([1, 5], BAD_COUNT), activation=(ACTIVATIONS, BAD_NAME)), SIGNALS),
    "Activation": (options(activation=(ACTIVATIONS, BAD_NAME)), ROWS),
    "MaxPooling2D": (pool_window, IMAGES),
    "AveragePooling2D": (pool_window, IMAGES),
    "MaxPooling1D": (pool_window, SIGNALS),
    "AveragePooling1D": (pool_window, SIGNALS),
    "GlobalAveragePooling2D": (options(keepdims=([True, False], ["text", 3])), IMAGES),
    "GlobalMaxPooling2D": (options(keepdims=([True, False], ["text", 3])), IMAGES),
    "GlobalAveragePooling1D": (options(keepdims=([True, False], ["text", 3])), SIGNALS),
    "GlobalMaxPooling1D": (options(keepdims=([True, False], ["text", 3])), SIGNALS),
    "BatchNormalization": (normalization, IMAGES),
    "LayerNormalization": (normalization, SIGNALS),
    "GroupNormalization": (grouped, IMAGES),
    "SimpleRNN": (recurrent, SIGNALS),
    "LSTM": (recurrent, SIGNALS),
    "GRU": (recurrent, SIGNALS),
    "Dropout": (options(rate=([0, 0.5], [-1, 2, np.nan, "text", None])), ROWS),
    "SpatialDropout2D": (options(rate=([0, 0.5], [-1, 2, np.nan, "text", None])), IMAGES),
    "ReLU": (options(max_value=([None, 6], [2, "text", -1, np.nan])), ROWS),
    "LeakyReLU": (options(negative_slope=SLOPES), ROWS),
    "ELU": (options(alpha=([0.5, 1], [np.nan, "text", None])), ROWS),
    "Softmax": (options(axis=([-1, 1], [2.5, "text", None])), ROWS),
    "PReLU": (options(alpha_initializer=(["zeros", "ones"], BAD_INITIALIZER)), ROWS),
    "Flatten": (options(data_format=([None, "channels_last"], ["channels_first", 3])), IMAGES),
    "Reshape": (options(target_shape=([(2, 2), (-1,), (4, -1)], [(0, 4), "text", None, 3])), ROWS),
    "Permute": (options(dims=([(2, 1)], [(0, 1), (1, 1), "text", None])), SIGNALS),
    "RepeatVector": (options(n=([1, 3], BAD_COUNT)), ROWS),
    "Rescaling": (options(scale=([0.5, 2], [np.nan, "text", None])), ROWS),
    "ZeroPadding2D": (sides("padding"), IMAGES),
    "Cropping2D": (sides("cropping"), IMAGES),
    "UpSampling2D": (options(size=([1, 2, (2, 3)], BAD_SIZE)), IMAGES),
    "Identity": (options(trainable=([True, False], ["text", 3, None])), ROWS),
}
BAD_X = [
    "text", None, 3.0, [None], lambda x: x * 1j, lambda x: np.ma.masked_array(x, True),
    lambda x: x.astype(str),
]  # fmt: skip
BAD_RANK = [lambda x: x[..., None, None], lambda x: x[0, 0]]
ANY_RANK = {"Activation", "Dropout", "ReLU", "LeakyReLU", "ELU", "Softmax", "Flatten", "Identity"}
ANY_RANK |= {"PReLU", "Dense", "BatchNormalization", "LayerNormalization", "Reshape"}
ANY_RANK |= {"GroupNormalization", "Rescaling"}


@fuzzed(*(f"keras.layers.{name}" for name in KINDS))
def keras_layers_of_one_input(draw):
    name = draw.pick(sorted(KINDS))
    make, shape = KINDS[name]
    good, bad = make(draw)
    x = draw.rng.standard_normal((3, *shape)).astype(draw.pick(["f4", "f8"]))

    def call(x, **arguments):
        layer = getattr(layers, name)(**arguments)
        return layer, layer(x)

    def check(found):
        layer, y = found
        other = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
        other.build(x.shape)
        other.set_weights(layer.get_weights())
        expected = other(wide(x.astype("f4")))
        close(y, expected, 10 * (1 + np.abs(expected).max(initial=0)), name, 10)

    wrong = BAD_X if name in ANY_RANK else [*BAD_X, *BAD_RANK]
    case = Case(call, {"x": x, **good}, check).spoil(draw, x=wrong, **bad)
    said = ("inputs", "samples", "shape") if case.bad == "x" else ("activation", "initializer")
    case.said = (*said, "max_value", "seed")
    return case


@fuzzed("keras.layers.Embedding")
def keras_embedding(draw):
    x = draw.rng.integers(0, 5, (3, 4)).astype(draw.pick(["i8", "i1", "f4"]))

    def check(found):
        layer, y = found
        np.testing.assert_array_equal(y, layer.get_weights()[0][x.astype(int)])

    def call(x, input_dim, output_dim):
        layer = layers.Embedding(input_dim, output_dim)
        return layer, layer(x)

    case = Case(call, {"x": x, "input_dim": 5, "output_dim": 3}, check)
    bad_x = ["text", np.full((2, 3), 5), np.full((2, 3), -1), np.ones((2, 3), complex)]
    return case.spoil(draw, x=bad_x, input_dim=BAD_COUNT, output_dim=BAD_COUNT)


MERGED = {
    "Add": sum, "Multiply": np.prod, "Average": np.mean, "Maximum": np.max, "Minimum": np.min,
    "Subtract": lambda both, axis: both[0] - both[1], "Concatenate": np.concatenate,
}  # fmt: skip


@fuzzed(*(f"keras.layers.{each}" for name in MERGED for each in (name, name.lower())))
def keras_layers_of_several_inputs(draw):
    name = draw.pick(sorted(MERGED))
    both = [draw.rng.standard_normal((2, 3)).astype("f4") for _ in range(2)]

    def call(inputs):
        if draw.often():
            return getattr(layers, name)()(inputs)
        return getattr(layers, name.lower())(inputs)

    def check(y):
        axis = -1 if name == "Concatenate" else 0
        arrays = [wide(x) for x in both]
        expected = sum(arrays) if name == "Add" else MERGED[name](arrays, axis=axis)
        close(y, expected, 10, name)

    bad = [both[:1], both[0], [both[0], np.ones((5, 7), "f4")], [both[0], None], "text"]
    case = Case(call, {"inputs": both}, check).spoil(draw, inputs=bad)
    case.said = ("x", "arrays")
    return case


LOSSES = {
    "MeanSquaredError": lambda p, y: (p - y) ** 2,
    "MeanAbsoluteError": lambda p, y: abs(p - y),
    "Huber": lambda p, y: np.where(abs(p - y) < 1, (p - y) ** 2 / 2, abs(p - y) - 0.5),
    "BinaryCrossentropy": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)),
    "CategoricalCrossentropy": lambda p, y: -(y * np.log(p)) * p.shape[-1],
    "SparseCategoricalCrossentropy": lambda p, y: -(y * np.log(p)) * p.shape[-1],
}


@fuzzed(*(f"keras.losses.{name}" for name in LOSSES))
def keras_losses(draw):
    name, shape = draw.pick(sorted(LOSSES)), draw.pick([(4, 3), (4, 2, 3)])
    p = draw.rng.random(shape) + 0.2
    p = (p / p.sum(axis=-1, keepdims=True)).astype(draw.pick(["f4", "f8"]))
    labels = np.eye(3)[draw.rng.integers(0, 3, shape[:-1])]
    sparse = name.startswith("Sparse")
    y_true = labels.argmax(axis=-1) if sparse else labels
    weights = draw.pick([None, draw.rng.random(4)])

    def call(y_true, y_pred, sample_weight):
        return getattr(keras.losses, name)()(y_true, y_pred, sample_weight)

    def check(loss):
        each = LOSSES[name](wide(p), labels)
        w = np.ones(4) if weights is None else weights
        expected = (w.reshape(-1, *[1] * (len(shape) - 1)) * each).mean()
        close(np.asarray(loss, p.dtype), expected, 20, "loss", 4)

    bad_y = [lambda y: y[:-1], "text", None, lambda y: y.astype(complex), lambda y: y[None]]
    bad_y += [lambda y: y + 0.5 if sparse else y * np.nan]
    bad_p = [lambda p: p.astype(int), "text", None, lambda p: p.astype(complex)]
    bad_w = [-1.0, np.ones(3), np.full(4, np.nan), "text"]
    case = Case(call, {"y_true": y_true, "y_pred": p, "sample_weight": weights}, check)
    case.spoil(draw, y_true=bad_y, y_pred=bad_p, sample_weight=bad_w)
    case.said = ("y", "target", "class indices", "output")
    return case


@fuzzed(*(f"keras.optimizers.{each.__name__}" for each in keras.optimizers.CLASSES))
def keras_optimizers(draw):
    kind = draw.pick(list(keras.optimizers.CLASSES))
    good = {"learning_rate": draw.pick([0.0, 0.1]), "weight_decay": draw.pick([None, 0.01])}
    good["clipnorm"] = draw.pick([None, 1.0])

    def check(optimizer):
        again = type(optimizer).from_config(optimizer.get_config())
        assert again.get_config() == optimizer.get_config()

    bad = [-1, np.nan, "text", [1.0]]
    case = Case(kind, good, check)
    case.spoil(
        draw, learning_rate=bad, weight_decay=bad, clipnorm=bad, use_ema=[True], amsgrad=[True, 1]
    )
    case.said = ("schedule",)
    return case


@fuzzed("keras.utils.to_categorical")
def keras_to_categorical(draw):
    x = draw.rng.integers(0, 4, draw.pick([(5,), (2, 3), (4, 1)])).astype(draw.pick(["i8", "f4"]))

    def check(rows):
        flat = x[..., 0] if x.ndim > 1 and x.shape[-1] == 1 else x
        np.testing.assert_array_equal(rows, np.eye(4)[flat.astype(int)])

    case = Case(keras.utils.to_categorical, {"x": x, "num_classes": 4}, check)
    bad_x = [x - 4, x + 4, x + 0.5, "text", None, x.astype(complex)]
    return case.spoil(draw, x=bad_x, num_classes=[-1, 2.5, "text", np.nan])
