"""Layers of `bn.keras`: shapes, weights in Keras's layouts, and what is refused by name."""

import numpy as np
import pytest

from bn import keras, nn
from bn.keras import layers

IMAGES = np.random.default_rng(0).standard_normal((2, 9, 8, 6)).astype("f4")
SIGNALS = np.random.default_rng(1).standard_normal((2, 9, 6)).astype("f4")
ROWS = np.random.default_rng(2).standard_normal((2, 6)).astype("f4")
OF_IMAGES = [
    lambda: layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
    lambda: layers.Conv2D(4, (2, 3), dilation_rate=2, groups=2, use_bias=False),
    lambda: layers.DepthwiseConv2D(3, padding="same", strides=2, depth_multiplier=2),
    lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2),
    lambda: layers.Conv2DTranspose(2, 3, strides=2, padding="same"),
    lambda: layers.Conv2DTranspose(2, 2, strides=2),
    lambda: layers.MaxPooling2D(2, 1, padding="same"),
    lambda: layers.MaxPooling2D(3, 2, padding="same"),
    lambda: layers.AveragePooling2D(3, 2, padding="same"),
    lambda: layers.GlobalAveragePooling2D(keepdims=True),
    layers.GlobalMaxPooling2D,
    layers.BatchNormalization,
    lambda: layers.BatchNormalization(renorm=True),
    layers.LayerNormalization,
    lambda: layers.GroupNormalization(3),
    lambda: layers.SpatialDropout2D(0.5),
    lambda: layers.ZeroPadding2D(((1, 2), (0, 3))),
    lambda: layers.Cropping2D((1, 2)),
    lambda: layers.UpSampling2D((2, 3), interpolation="bilinear"),
    lambda: layers.PReLU(shared_axes=[1, 2]),
    lambda: layers.Dense(3),
    lambda: layers.Permute((3, 1, 2)),
    layers.Flatten,
]
OF_SIGNALS = [
    lambda: layers.Conv1D(4, 3, strides=2, padding="same"),
    lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
    lambda: layers.MaxPooling1D(2, padding="same"),
    lambda: layers.AveragePooling1D(2, 1, padding="same"),
    layers.GlobalAveragePooling1D,
    lambda: layers.GlobalMaxPooling1D(keepdims=True),
    lambda: layers.LSTM(4, return_sequences=True),
    lambda: layers.GRU(4),
    lambda: layers.SimpleRNN(4, activation="relu", use_bias=False),
    lambda: layers.Bidirectional(layers.LSTM(3)),
]
OF_ROWS = [
    lambda: layers.ReLU(6),
    lambda: layers.ReLU(negative_slope=0.1),
    lambda: layers.LeakyReLU(alpha=0.1),
    lambda: layers.Rescaling(2.0, 1.0),
    layers.ELU,
    layers.Softmax,
    lambda: layers.Activation("swish"),
    lambda: layers.Dropout(0.3),
    lambda: layers.RepeatVector(3),
    lambda: layers.Reshape((2, -1)),
    layers.Identity,
]
CASES = [
    *((make, IMAGES) for make in OF_IMAGES),
    *((make, SIGNALS) for make in OF_SIGNALS),
    *((make, ROWS) for make in OF_ROWS),
]


@pytest.mark.parametrize(("make", "x"), CASES)
def test_the_symbolic_output_has_the_shape_of_the_array(make, x):
    layer = make()
    y = layer(x)
    assert layer(keras.Input(x.shape[1:])).shape == (None, *y.shape[1:])
    assert y.dtype == np.float32


@pytest.mark.parametrize(("make", "x"), CASES)
def test_a_layer_made_from_its_config_and_weights_is_the_same(make, x):
    layer = make()
    y = layer(x)
    other = type(layer).from_config(layer.get_config())
    other.build(x.shape)
    other.set_weights(layer.get_weights())
    np.testing.assert_array_equal(other(x), y)
    for weight, array in zip(other.weights, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(weight.numpy(), array)
        assert weight.shape == array.shape


@pytest.mark.parametrize(("make", "x"), CASES)
def test_the_weights_hold_as_many_numbers_as_the_layer_foretells_at_least(make, x):
    layer = make()
    layer.build(x.shape)
    assert layer.count_params() <= layer.numbers(x.shape[1:])


def test_lengths_that_are_not_known_are_none():
    images = layers.Conv2D(4, 3, strides=2, padding="same")(keras.Input((None, None, 3)))
    assert images.shape == (None, None, None, 4)
    assert layers.GlobalAveragePooling2D()(images).shape == (None, 4)
    text = layers.Embedding(10, 4)(keras.Input((None,), dtype="int32"))
    assert text.shape == (None, None, 4)
    assert layers.LSTM(3)(text).shape == (None, 3)
    assert layers.Flatten()(text).shape == (None, None)
    with pytest.raises(ValueError, match=r"needs the lengths that its weights depend on"):
        layers.Dense(2)(layers.Flatten()(text))


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_padding_is_that_of_zeros_around_the_image(size, stride, kernel):
    from bn.keras.layers.padding import same_padding

    x = np.random.default_rng(3).standard_normal((1, size, size, 2)).astype("f4")
    layer = layers.Conv2D(3, kernel, strides=stride, padding="same")
    y = layer(x)
    assert y.shape[1:3] == (-(-size // stride),) * 2
    pads = same_padding(size, kernel, stride)
    padded = np.pad(x, ((0, 0), pads, pads, (0, 0)))
    other = layers.Conv2D(3, kernel, strides=stride)
    other.build(padded.shape)
    other.set_weights(layer.get_weights())
    np.testing.assert_allclose(y, other(padded), atol=1e-6)


def test_a_layer_has_the_gradients_of_finite_differences():
    layer = layers.Conv2D(4, 3, padding="same", strides=2, dtype="float64")
    layer.build(IMAGES.shape)
    nn.gradcheck(layer, IMAGES.astype("f8"))


@pytest.mark.parametrize("make", [layers.Maximum, layers.Minimum, layers.Average])
def test_merging_has_the_gradient_of_finite_differences(make):
    a, b = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([a, b], make()([a, b]))
    x, other = ROWS.astype("f8"), ROWS[::-1].astype("f8")
    y = model([x, other])
    dx, dother = model.backward(np.ones_like(y))
    step = np.float32(1e-2)
    assert np.allclose(model([x + step, other]) - y, dx * step, atol=1e-2)
    assert np.allclose(model([x, other + step]) - y, dother * step, atol=1e-2)


def test_the_recurrent_bias_of_bn_nn_stays_zero():
    layer = layers.LSTM(3)
    model = keras.Sequential([layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(SIGNALS, np.ones(2), epochs=2, verbose=0)
    assert not layer[0].bias_hh_l0.data.any()
    assert [w.trainable for w in layer.weights] == [True] * 3


def test_initializers_draw_what_they_say():
    keras.utils.set_random_seed(0)
    first = layers.Dense(50, kernel_initializer="he_normal")
    first.build((None, 200))
    kernel = first.get_weights()[0]
    assert abs(kernel.std() - 0.1) < 0.005
    keras.utils.set_random_seed(0)
    again = layers.Dense(50, kernel_initializer="he_normal")
    again.build((None, 200))
    np.testing.assert_array_equal(again.get_weights()[0], kernel)
    lstm = layers.LSTM(4)
    lstm.build((None, 5, 3))
    assert lstm.get_weights()[2].tolist() == [0] * 4 + [1] * 4 + [0] * 8


# ---- what is refused ----


def test_arguments_that_are_not_supported_are_taken_at_their_defaults():
    layers.LSTM(3, dropout=0, recurrent_dropout=0.0, stateful=False, return_state=False)
    layers.ReLU(threshold=0)
    layers.Conv2D(3, 3, kernel_constraint=None, activity_regularizer=None)
    with pytest.raises(ValueError, match=r"stateful of LSTM must be False in bn.keras, got 0"):
        layers.LSTM(3, stateful=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv2D(3, 3, kernel_constraint="max_norm"), "kernel_constraint of Conv2D"),
        (lambda: layers.Conv2D(3, 3, data_format="channels_first"), "data_format of Conv2D"),
        (lambda: layers.Conv2D(3, 3, padding="causal"), "padding of Conv2D must be one of"),
        (lambda: layers.Conv2D(3, (3, 3, 3)), "kernel_size must be a positive integer or 2"),
        (lambda: layers.Conv2D(0, 3), "filters must be a positive integer"),
        (lambda: layers.Embedding(4, 3, mask_zero=True), "mask_zero of Embedding must be False"),
        (lambda: layers.LSTM(3, return_state=True), "return_state of LSTM must be False"),
        (lambda: layers.GRU(3, reset_after=False), "reset_after of GRU must be True"),
        (lambda: layers.LSTM(3, activation="relu"), "activation must be one of 'tanh'"),
        (lambda: layers.Bidirectional(layers.LSTM(3), "sum"), "merge_mode must be one of"),
        (lambda: layers.ReLU(max_value=2), "max_value of ReLU must be None, or 6"),
        (lambda: layers.Dense(3, activation="mish"), "bn.keras has no activation 'mish'"),
        (lambda: layers.Dense(3, kernel_initializer="x"), "bn.keras has no initializer 'x'"),
        (lambda: layers.Dense(3, kernel_regularizer="x"), "bn.keras has no regularizer 'x'"),
        (lambda: layers.Dense(3, dtype="mixed_float16"), "dtype must be float32 or float64"),
        (lambda: layers.Reshape((0, 3)), "target_shape must be a tuple of positive integers"),
        (lambda: layers.Permute((0, 1)), "dims must be a permutation"),
        (lambda: layers.Dropout(2), "rate must be"),
        (lambda: layers.Conv2DTranspose(2, 2, strides=3), "strides of Conv2DTranspose"),
        (lambda: layers.BatchNormalization(epsilon=-1), "epsilon must be"),
        (lambda: layers.GRU(3, go_backwards=True), "go_backwards of GRU must be False"),
        (
            lambda: layers.Conv2DTranspose(2, 3, output_padding=1),
            "output_padding of Conv2DTranspose must be None",
        ),
        (lambda: keras.optimizers.Adam(amsgrad=True), "amsgrad of Adam must be False"),
        (lambda: keras.optimizers.SGD(use_ema=True), "use_ema of SGD must be False"),
        (
            lambda: keras.optimizers.schedules.CosineDecay(0.1, 9, warmup_target=1.0),
            "warmup_target of CosineDecay must be None in bn.keras, got 1.0",
        ),
        (
            lambda: keras.Sequential().compile(weighted_metrics=["mae"]),
            "weighted_metrics of compile must be None",
        ),
    ],
)
def test_what_is_not_supported_is_an_error_that_names_it(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Dense(3, unit=4), "Dense has no argument 'unit'"),
        (lambda: layers.Bidirectional(layers.Dense(3)), "layer must be a SimpleRNN"),
        (lambda: layers.Dense(3, activation=np.tanh), "an activation must be a name"),
        (lambda: keras.Input((3,)) + 1, "bn.keras.layers has Add"),
        (lambda: layers.Add()([keras.Input((3,)), ROWS]), "each input must be a symbolic tensor"),
        (lambda: layers.Dense(3)(ROWS, mask=1), "takes no argument 'mask' in a call"),
    ],
)
def test_a_wrong_kind_of_argument_is_an_error_that_names_it(make, message):
    with pytest.raises(TypeError, match=message):
        make()


class Twice:
    """What a program of Keras says of a layer of its own."""

    def call(self, x):
        return 2 * x


KERAS_METHODS = [
    (layers.Layer, "call"),
    (layers.Layer, "build"),
    (layers.Layer, "add_weight"),
    (layers.Dense, "call"),
    (layers.Activation, "call"),
    (layers.BatchNormalization, "call"),
    (keras.Model, "call"),
    (keras.Model, "train_step"),
    (keras.losses.MeanSquaredError, "call"),
    (keras.metrics.Metric, "update_state"),
    (keras.optimizers.SGD, "update_step"),
]


@pytest.mark.parametrize(("base", "method"), KERAS_METHODS)
def test_a_class_with_a_method_that_is_never_called_is_an_error_where_it_is_made(base, method):
    with pytest.raises(TypeError, match=f"Own must not define {method}, which bn.keras never"):
        type("Own", (base,), {method: lambda self, *given: None})


def test_a_class_that_gets_a_call_from_another_one_is_an_error_too():
    with pytest.raises(TypeError, match="Both must not define call"):
        type("Both", (Twice, layers.Dense), {})


def test_a_class_that_only_chooses_arguments_is_a_layer():
    class Rectified(layers.Dense):
        def __init__(self, units):
            super().__init__(units, activation="relu")

    assert Rectified(3)(ROWS).min() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.SpatialDropout3D, "bn.keras has no layer 'SpatialDropout3D'; it has: ELU"),
        (lambda: keras.losses.Dice, "bn.keras has no loss 'Dice'"),
        (lambda: keras.optimizers.Ftrl, "bn.keras has no optimizer 'Ftrl'"),
        (lambda: keras.metrics.AUC, "bn.keras has no metric 'AUC'"),
        (lambda: keras.callbacks.TensorBoard, "bn.keras has no callback 'TensorBoard'"),
        (lambda: keras.models.clone_model, "bn.keras.models has no function 'clone_model'; it has"),
        (lambda: keras.utils.plot_model, "bn.keras.utils has no function 'plot_model'; it has: cl"),
        (lambda: keras.Sequential().to_json, "Sequential has no attribute 'to_json'"),
        (lambda: keras.ops, "bn has no keras module 'ops'"),
        (lambda: keras.datasets, "bn.keras has no datasets: it needs the network"),
    ],
)
def test_an_unknown_name_is_an_error_that_says_what_there_is(make, message):
    with pytest.raises(AttributeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (lambda: layers.Conv2D(3, 3), SIGNALS, "takes inputs of 4 axes"),
        (lambda: layers.LSTM(3), ROWS, "takes inputs of 3 axes"),
        (lambda: layers.Reshape((4, 4)), ROWS, r"cannot make \(4, 4\) of samples of shape"),
        (lambda: layers.Embedding(3, 2), np.array([[3]]), "from 0 to below 3|must be"),
        (layers.PReLU, IMAGES, "shared_axes of PReLU must be all axes between"),
        (layers.Add, ROWS, "takes a list of at least 2 inputs"),
        (layers.Add, [ROWS, IMAGES], "must have one shape"),
        (layers.Subtract, [ROWS] * 3, "takes two inputs, got 3"),
        (lambda: layers.Concatenate(0), [ROWS, ROWS], "axis"),
    ],
)
def test_inputs_that_do_not_fit_are_an_error(make, x, message):
    with pytest.raises((ValueError, IndexError), match=message):
        make()(x)
