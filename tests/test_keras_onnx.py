"""Models of `bn.keras` as files of ONNX, which onnx's own evaluator computes."""

import numpy as np
import pytest

import bn.onnx
from bn import keras
from bn.keras import layers

onnx = pytest.importorskip("onnx")

IMAGES, SIGNALS = (7, 8, 3), (9, 3)
LAYERS = [
    (lambda: layers.Conv2D(4, 3, padding="same"), IMAGES),
    (lambda: layers.Conv2D(4, (2, 3), strides=(1, 2), padding="same", activation="relu"), IMAGES),
    (lambda: layers.Conv2D(4, 2, dilation_rate=3, padding="same"), IMAGES),
    (lambda: layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), IMAGES),
    (lambda: layers.SeparableConv2D(4, 4, padding="same"), IMAGES),
    (lambda: layers.Conv1D(4, 4, strides=2, padding="same"), SIGNALS),
    (lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2), SIGNALS),
    (lambda: layers.MaxPooling2D(3, 2, padding="same"), IMAGES),
    (lambda: layers.AveragePooling2D(2, (1, 2), padding="same"), IMAGES),
    (lambda: layers.MaxPooling1D(4, 2, padding="same"), SIGNALS),
    (lambda: layers.AveragePooling1D(2, 1, padding="same"), SIGNALS),
    (lambda: layers.MaxPooling2D(2), IMAGES),
    (layers.GlobalAveragePooling2D, IMAGES),
    (lambda: layers.GlobalMaxPooling2D(keepdims=True), IMAGES),
    (layers.GlobalAveragePooling1D, SIGNALS),
    (layers.GlobalMaxPooling1D, SIGNALS),
]


def evaluated(path, model, shape):
    """The outputs of a model and of the file that it is written to, for five samples."""
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(0).standard_normal((5, *shape)).astype("f4")
    y = model.predict(x)
    bn.onnx.export(model, path, shape)
    evaluator = ReferenceEvaluator(str(path))
    (found,) = evaluator.run(None, {evaluator.input_names[0]: x})
    return y, found


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_a_file_computes_what_the_layer_does(make, shape, tmp_path):
    y, found = evaluated(tmp_path / "layer.onnx", keras.Sequential([make()]), shape)
    np.testing.assert_allclose(found, y, atol=1e-5)


def test_the_tutorial_of_the_documentation_is_written(tmp_path):
    model = keras.Sequential([layers.Conv2D(16, (3, 3), padding="same", input_shape=(16, 16, 3))])
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(10, activation="softmax"))
    y, found = evaluated(tmp_path / "tutorial.onnx", model, (16, 16, 3))
    np.testing.assert_allclose(found, y, atol=1e-5)


def test_a_file_is_read_as_the_model_that_was_written(tmp_path):
    x = np.random.default_rng(1).standard_normal((2, *IMAGES)).astype("f4")
    model = keras.Sequential([layers.Conv2D(4, 2, padding="same"), layers.ReLU()])
    y = model.predict(x)
    bn.onnx.export(model, tmp_path / "model.onnx", IMAGES)
    np.testing.assert_allclose(bn.onnx.load(tmp_path / "model.onnx")(x), y, atol=1e-6)


def test_a_layer_of_ones_own_is_not_taken_for_its_base(tmp_path):
    class Own(bn.nn.Conv2d):
        def window_on(self, size):
            return super().window_on(size)._replace(before=(1, 1))

    with pytest.raises(TypeError, match="a class of your own has no operator"):
        bn.onnx.export(Own(3, 4, 3), tmp_path / "own.onnx", (3, 8, 8))


def test_from_bn_says_that_it_takes_no_model_of_bn_keras():
    pytest.importorskip("torch")
    model = keras.Sequential([layers.Dense(3, input_shape=(4,))])
    with pytest.raises(TypeError, match=r"model must not be of bn.keras, got Sequential"):
        bn.torch.from_bn(model)
