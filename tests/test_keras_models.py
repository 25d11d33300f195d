"""Models of `bn.keras`: graphs and chains, training, data, callbacks."""

import copy
import json
import operator
import pickle
import subprocess
import sys

import numpy as np
import pytest

import bn
import bn.keras
from bn import keras
from bn.keras import layers

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)).astype("f4")
Y = (X[:, 0] > X[:, 1]).astype(int)


@pytest.fixture(autouse=True)
def same_beginning():
    """Begin names and random numbers."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)


def classifier(**options):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(16, activation="relu"), layers.Dense(2, "softmax")]
    )
    options = {"optimizer": "adam", "metrics": ["accuracy"], **options}
    model.compile(loss="sparse_categorical_crossentropy", **options)
    return model


# ---- models ----


def test_a_chain_without_an_input_is_made_by_the_first_batch_or_by_build():
    model = keras.Sequential([layers.Dense(3), layers.ReLU()])
    assert not model.built and model.weights == []
    with pytest.raises(ValueError, match=r"sequential has no weights yet"):
        model.set_weights([])
    assert model(X).shape == (60, 3) and model.count_params() == 15
    other = keras.Sequential([layers.Dense(3)])
    other.build((None, 4))
    assert other.count_params() == 15


def test_a_model_is_made_again_from_its_config():
    chain, inputs = classifier(), keras.Input((4,))
    outputs = layers.Add()([layers.Dense(3)(inputs), layers.Dense(3)(inputs)])
    graph = keras.Model(inputs, chain(layers.Dense(4)(outputs)), name="whole")
    for model in (chain, graph):
        other = type(model).from_config(json.loads(json.dumps(model.get_config())))
        assert [each.name for each in other.layers] == [each.name for each in model.layers]
        other.set_weights(model.get_weights())
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        other.set_weights([w + 1 for w in model.get_weights()])
        assert (other.predict(X) != model.predict(X)).any()
    assert not keras.Sequential.from_config(keras.Sequential([layers.Dense(2)]).get_config()).built
    with pytest.raises(TypeError, match=r"config must be a mapping"):
        keras.Model.from_config(3)


def test_layers_can_be_added_and_taken_away():
    model = keras.Sequential()
    model.add(layers.Dense(3, input_shape=(4,)))
    model.add(layers.Dense(2))
    assert model.predict(X).shape == (60, 2)
    assert model.pop().name == "dense_1" and model.predict(X).shape == (60, 3)
    assert [layer.name for layer in model.layers] == ["dense"]


def test_a_layer_in_two_places_has_its_weights_once():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(3)
    model = keras.Model([a, b], layers.Concatenate()([shared(a), shared(b)]))
    assert model.count_params() == 15 and len(model.parameters()) == 2
    y = model([X, 2 * X])
    np.testing.assert_array_equal(model({"b": 2 * X, "a": X}), y)
    model.compile("sgd", "mse")
    model.fit({"a": X, "b": X}, np.zeros((60, 6)), verbose=0)
    assert model.predict([X, X]).shape == (60, 6)


def test_a_model_inside_of_a_model_keeps_the_mode_it_was_called_in():
    base = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(momentum=0.0)])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs, training=False)))
    model.compile("sgd", "mse")
    before = base.get_weights()
    model.fit(X, X[:, :1], verbose=0)
    assert (base.get_weights()[2] == before[2]).all()  # the moving mean
    assert (base.get_weights()[0] != before[0]).any()  # gamma


def test_layers_that_are_not_trainable_stay():
    model = classifier()
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    assert (after[0] == before[0]).all() and (after[2] != before[2]).any()
    assert len(model.trainable_weights) == len(model.non_trainable_weights) == 2


def test_the_shape_of_the_output_is_a_tuple_and_a_method():
    model = classifier()
    assert model.output_shape == (None, 2) and model.output_shape[-1] == 2
    assert model.output_shape((4,)) == (2,)
    images = keras.Sequential([layers.Conv2D(3, 1)])
    images.build((None, 8, 8, 2))
    assert images.output_shape == (None, 8, 8, 3)
    outer = bn.nn.Sequential(images, bn.nn.Flatten())
    assert outer.output_shape((8, 8, 2)) == (192,)


def test_weights_are_attributes_and_variables():
    model = classifier()
    dense = model.layers[0]
    assert dense.kernel is dense.weights[0] and dense.bias.shape == (16,)
    dense.kernel.assign(np.ones((4, 16)))
    assert (model.get_weights()[0] == 1).all()
    norm = layers.BatchNormalization()
    norm.build((None, 3))
    assert norm.moving_variance.numpy().tolist() == [1, 1, 1]
    assert model.trainable_variables == model.trainable_weights
    assert norm.non_trainable_variables == [norm.moving_mean, norm.moving_variance]
    with pytest.raises(AttributeError, match=r"Dense has no attribute 'gamma'"):
        operator.attrgetter("gamma")(dense)


def test_a_learning_rate_can_be_assigned():
    model = classifier(optimizer=keras.optimizers.SGD(0.5))
    model.optimizer.learning_rate.assign(0.0)
    before = model.get_weights()[0]
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] == before).all()
    assert model.optimizer.learning_rate.numpy() == 0
    with pytest.raises(ValueError, match=r"learning_rate must be a number of at least 0"):
        model.optimizer.learning_rate.assign(-1)


def test_calls_outside_of_fit_predict():
    model = keras.Sequential([layers.Dropout(0.9), layers.BatchNormalization()])
    y = model(X)
    np.testing.assert_allclose(y, X / np.sqrt(1 + 1e-3), rtol=1e-5)
    assert (model(X, training=True) != y).any()


def test_calls_after_a_training_predict_too():
    model = keras.Sequential([layers.Dropout(0.5), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], verbose=0)
    np.testing.assert_array_equal(model(X), model.predict(X))
    model.train_on_batch(X, X[:, :1])
    np.testing.assert_array_equal(model(X), model.predict(X))


def test_inputs_become_the_dtype_of_the_model():
    model = classifier()
    y = model(X)
    np.testing.assert_array_equal(model(X.astype("f8")), y)
    assert model((255 * abs(X)).astype(np.uint8)).dtype == np.float32
    text = keras.Sequential([layers.Embedding(5, 2, input_length=3), layers.Flatten()])
    assert text.predict(np.ones((2, 3))).shape == (2, 6)


def test_a_layer_in_a_model_and_in_one_inside_of_it_counts_once(tmp_path):
    pytest.importorskip("h5py")
    shared, inputs = layers.Dense(4), keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), shared])
    model = keras.Model(inputs, layers.Add()([inner(inputs), shared(inputs)]))
    assert model.count_params() == 20 and len(model.get_weights()) == 2
    y = model.predict(X)
    model.save_weights(tmp_path / "shared.weights.h5")
    model.set_weights([w + 1 for w in model.get_weights()])
    model.load_weights(tmp_path / "shared.weights.h5")
    np.testing.assert_array_equal(model.predict(X), y)


def test_a_chain_of_float64_computes_in_float64():
    for known in ({"input_shape": (4,)}, {}):
        model = keras.Sequential([layers.Dense(3, dtype="float64", **known)])
        assert model.predict(X.astype("f8")).dtype == np.float64


def test_each_layer_computes_in_its_own_dtype():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="float64"), layers.ReLU()])
    assert model.predict(X).dtype == np.float32
    model.pop()
    assert model.predict(X).dtype == model.layers[0].kernel.dtype == np.float64
    model.add(layers.Dense(1))
    other = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(1)])
    other.set_weights(model.get_weights())
    for each in (model, other):
        each.compile("sgd", "mse")
        each.fit(X, X[:, :1], epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.predict(X), other.predict(X), atol=1e-5)
    assert model.layers[0].kernel.dtype == np.float64
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (keras.Model, TypeError, "Model must have inputs and one output"),
        (lambda: keras.Sequential([3]), TypeError, "each layer must be a layer of bn.keras"),
        (
            lambda: keras.Model(keras.Input((4,)), layers.Dense(2)(keras.Input((4,)))),
            ValueError,
            "the output needs input_layer_1",
        ),
        (
            lambda: keras.Sequential([layers.ReLU(name="a"), layers.ReLU(name="a")]),
            ValueError,
            "got 'a' twice",
        ),
        (lambda: classifier()(X[:, :3]), ValueError, r"takes inputs of shape \(None, 4\)"),
        (lambda: classifier().get_layer("x"), ValueError, "has no layer 'x'; it has: dense"),
        (lambda: classifier().get_layer(index=7), ValueError, "has no layer 7"),
        (lambda: classifier().set_weights([X]), ValueError, "must have the shapes"),
        (lambda: keras.Sequential().fit(X, Y), RuntimeError, "compile must be called before fit"),
        (lambda: classifier(optimizer="ftrl"), ValueError, "bn.keras has no optimizer 'ftrl'"),
        (lambda: classifier(metrics=["auc"]), ValueError, "bn.keras has no metric 'auc'"),
        (lambda: classifier(loss_weights=[1]), ValueError, "loss_weights of compile must be None"),
        (lambda: classifier(metrics="accuracy"), TypeError, "metrics must be a list"),
    ],
)
def test_what_does_not_fit_a_model_is_an_error(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- fit, evaluate, predict ----


def test_fit_learns_and_its_history_has_keras_names():
    model = classifier(optimizer=keras.optimizers.Adam(0.05))
    history = model.fit(X, Y, batch_size=16, epochs=12, validation_split=0.2, verbose=0)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == list(range(12)) and model.history is history
    assert history.history["val_accuracy"][-1] > 0.8
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    found = model.predict(X, batch_size=7).argmax(axis=1)
    assert (found == Y).mean() == pytest.approx(accuracy)


def test_the_held_out_samples_are_the_last_ones():
    model = classifier(optimizer="sgd")
    marked = np.concatenate([Y[:45], np.zeros(15, int)])
    held_out = model.fit(X, marked, validation_split=0.25, verbose=0).history["val_loss"][0]
    assert held_out == pytest.approx(model.evaluate(X[45:], marked[45:], verbose=0)[0])


def test_batches_of_an_iterable_are_trained_like_arrays():
    one, other = classifier(), classifier()
    other.set_weights(one.get_weights())
    batches = [(X[i : i + 20], Y[i : i + 20]) for i in (0, 20, 40)]
    expected = one.fit(X, Y, batch_size=20, epochs=2, shuffle=False, verbose=0).history
    got = other.fit(batches, epochs=2, validation_data=batches, verbose=0).history
    assert got["loss"] == expected["loss"]
    assert got["val_loss"][-1] == pytest.approx(one.evaluate(X, Y, verbose=0)[0])

    def endless():
        while True:
            yield from batches

    third = classifier()
    third.set_weights(one.get_weights())
    steps = third.fit(endless(), epochs=2, steps_per_epoch=3, verbose=0).history["loss"]
    assert len(steps) == 2
    with pytest.raises(ValueError, match=r"class_weight cannot be given where x is an iterable"):
        third.fit(batches, class_weight={0: 2.0}, verbose=0)


def test_penalties_are_part_of_the_loss_and_pull_weights():
    model = keras.Sequential([layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5))])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = np.zeros((8, 3)), np.zeros((8, 1))
    model.build((None, 3))
    kernel = model.get_weights()[0]
    penalty = 0.5 * float((kernel**2).sum())
    assert model.evaluate(x, y, verbose=0) == pytest.approx(penalty)
    assert model.fit(x, y, verbose=0).history["loss"] == pytest.approx([penalty])
    np.testing.assert_allclose(model.get_weights()[0], kernel * (1 - 0.1), rtol=1e-5)


def test_a_step_on_one_batch_is_that_of_fit():
    one, other = classifier(), classifier()
    other.set_weights(one.get_weights())
    loss = one.fit(X, Y, batch_size=60, shuffle=False, verbose=0).history["loss"][0]
    assert other.train_on_batch(X, Y, return_dict=True)["loss"] == loss
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert other.test_on_batch(X, Y) == one.evaluate(X, Y, batch_size=60, verbose=0)
    np.testing.assert_array_equal(other.predict_on_batch(X), one.predict(X, 60))


def test_a_function_is_a_metric():
    def wrong(y_true, y_pred):
        return y_pred.argmax(axis=-1) != y_true

    model = classifier(metrics=["accuracy", wrong])
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(found) == ["loss", "accuracy", "wrong"]
    assert found["wrong"] == pytest.approx(1 - found["accuracy"])


def test_verbose_prints_a_line_for_each_epoch(capsys):
    model = classifier()
    model.fit(X, Y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Epoch 1/2" and lines[2] == "Epoch 2/2" and len(lines) == 4
    assert lines[1].startswith("2/2 - ") and " - accuracy: " in lines[1]
    model.evaluate(X, Y)
    assert " - loss: " in capsys.readouterr().out
    model.fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_split": 1.0}, "validation_split must be from 0 to below 1"),
        ({"validation_split": 0.999}, "leaves one part of 60 samples empty"),
        ({"validation_data": X}, "validation_data must be"),
        ({"validation_freq": 2}, "validation_freq must be 1"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"class_weight": {0: -1}}, "class_weight must be a dict"),
        ({"y": Y[:-1]}, "y must have as many rows as x, 60, got 59"),
        ({"y": None}, "a batch must be|y must be given"),
        ({"y": Y + 0.5}, "y must hold the numbers of classes, got a fraction"),
        ({"y": Y + 2}, "class|target"),
    ],
)
def test_data_that_do_not_fit_are_an_error(options, message):
    model = classifier()
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(**{"x": X, "y": Y, "verbose": 0, **options})


def test_logits_where_probabilities_are_expected_are_an_error():
    model = keras.Sequential([layers.Dense(3)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"from_logits"):
        model.fit(10 * X, Y, verbose=0)


def test_validation_data_are_a_tuple_a_list_or_a_list_of_batches():
    weights = classifier().get_weights()

    def val_loss(validation_data):
        model = classifier(optimizer="sgd")
        model.set_weights(weights)
        history = model.fit(X, Y, shuffle=False, validation_data=validation_data, verbose=0)
        return history.history["val_loss"][0]

    expected = val_loss((X, Y))
    assert val_loss([X, Y]) == expected
    assert val_loss([X, Y, np.ones(60)]) == pytest.approx(expected)
    assert val_loss([(X[:30], Y[:30]), (X[30:], Y[30:])]) == pytest.approx(expected)


def test_a_class_stands_for_its_defaults():
    kernel = keras.initializers.Ones
    model = keras.Sequential(
        [layers.Dense(2, kernel_initializer=kernel, kernel_regularizer=keras.regularizers.L2)]
    )
    model.compile("sgd", keras.losses.MeanSquaredError, metrics=[keras.metrics.MeanAbsoluteError])
    found = model.evaluate(np.ones((3, 4)), np.full((3, 2), 3.0), verbose=0, return_dict=True)
    assert found == pytest.approx({"loss": 1 + 0.01 * 8, "mean_absolute_error": 1})


# ---- callbacks ----


class Moments(keras.callbacks.Callback):
    """Notes what is called."""

    def __init__(self):
        self.seen = []

    def on_train_begin(self, logs=None):
        self.seen.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(f"batch {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(round(logs["loss"], 6))
        self.accuracy = logs["accuracy"]

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(sorted(logs))
        self.last, self.last_accuracy = logs["loss"], logs["accuracy"]

    def on_train_end(self, logs=None):
        self.seen.append("end")


def test_callbacks_are_called_in_keras_order():
    moments = Moments()
    model = classifier()
    model.fit(X, Y, batch_size=30, epochs=4, initial_epoch=3, callbacks=[moments], verbose=0)
    first, second = moments.seen[3], moments.seen[5]
    assert moments.seen == [
        "begin", "epoch 3", "batch 0", first, "batch 1", second, ["accuracy", "loss"], "end",
    ]  # fmt: skip
    assert second == pytest.approx(moments.last, abs=1e-6)
    assert moments.accuracy == moments.last_accuracy
    assert moments.params == {"epochs": 4, "steps": 2, "verbose": 0} and moments.model is model


class TestMoments(keras.callbacks.Callback):
    """Notes what is called where nothing trains."""

    __test__ = False

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append("trained")

    def on_test_begin(self, logs=None):
        self.seen.append("begin")

    def on_test_batch_begin(self, batch, logs=None):
        self.seen.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(sorted(logs))

    def on_test_end(self, logs=None):
        self.seen.append("end")
        self.loss = logs["loss"]

    def on_predict_batch_end(self, batch, logs=None):
        self.seen.append(logs["outputs"].shape)

    def on_predict_end(self, logs=None):
        self.seen.append("predicted")


def test_callbacks_are_called_during_validation_evaluate_and_predict():
    model, moments, names = classifier(), TestMoments(), ["accuracy", "loss"]
    tested = ["begin", 0, names, 1, names, "end"]
    options = {"validation_data": (X[:40], Y[:40]), "validation_batch_size": 32, "verbose": 0}
    history = model.fit(X, Y, batch_size=60, epochs=2, callbacks=moments, **options).history
    assert moments.seen == ["trained", *tested] * 2
    assert moments.loss == history["val_loss"][-1]
    moments.seen.clear()
    loss, _ = model.evaluate(X, Y, verbose=0, callbacks=[moments])
    assert moments.seen == tested and moments.loss == loss
    moments.seen.clear()
    y = model.predict(X, 40, callbacks=[moments])
    assert moments.seen == [(40, 2), (20, 2), "predicted"]
    np.testing.assert_array_equal(y, model.predict(X, 40))


def test_an_error_in_a_validation_says_where_it_is():
    with pytest.raises(ValueError, match=r"validation, epoch 1"):
        classifier().fit(X, Y, validation_data=(X[:, :3], Y), verbose=0)


def test_a_callback_can_end_the_training():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    history = classifier().fit(X, Y, epochs=9, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0, 1]


def test_early_stopping_gives_the_best_weights_back():
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    stop = keras.callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True)
    before = model.get_weights()
    assert len(model.fit(X, Y, epochs=9, callbacks=[stop], verbose=0).epoch) == 3
    assert stop.stopped_epoch == 2
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_callback_needs_no_list():
    stop = keras.callbacks.EarlyStopping("loss", min_delta=100)
    assert classifier().fit(X, Y, epochs=9, callbacks=stop, verbose=0).epoch == [0, 1]
    with pytest.raises(TypeError, match=r"each callback must be a callback of bn.keras, got int"):
        classifier().fit(X, Y, callbacks=[3], verbose=0)
    with pytest.raises(TypeError, match=r"callbacks must be a callback of bn.keras or a list"):
        classifier().fit(X, Y, callbacks=3, verbose=0)


def test_the_rate_is_scheduled_and_reduced():
    callbacks = keras.callbacks
    model = classifier(optimizer=keras.optimizers.SGD(1.0))
    halve = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = model.fit(X, Y, epochs=3, callbacks=[halve], verbose=0).history
    assert history["learning_rate"] == [0.5, 0.25, 0.125]
    model.optimizer.learning_rate = 1.0
    plateau = callbacks.ReduceLROnPlateau(
        "loss", factor=0.1, patience=1, min_delta=100, min_lr=0.01
    )
    history = model.fit(X, Y, epochs=5, callbacks=[plateau], verbose=0).history
    assert history["learning_rate"] == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_epochs_are_logged_to_a_file_and_functions_are_called(tmp_path):
    seen = []
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    call = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    classifier().fit(X, Y, epochs=2, callbacks=[log, call], verbose=0)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,accuracy,loss" and [line[0] for line in lines[1:]] == ["0", "1"]
    assert seen == [0, 1]


def test_a_callback_of_a_missing_column_is_an_error():
    with pytest.raises(ValueError, match=r"val_loss"):
        classifier().fit(X, Y, callbacks=[keras.callbacks.EarlyStopping()], verbose=0)


# ---- names, utilities ----


def test_names_are_counted_by_class():
    names = [layers.Conv2D(1, 1).name, layers.Conv2D(1, 1).name, layers.LeakyReLU().name]
    assert names == ["conv2d", "conv2d_1", "leaky_re_lu"]
    assert keras.Sequential().name == "sequential" and keras.Sequential().name == "sequential_1"


def test_classes_become_rows():
    np.testing.assert_array_equal(keras.utils.to_categorical([[1], [0]]), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"x must hold numbers from 0 to below 2"):
        keras.utils.to_categorical([2], 2)


def test_sequences_become_rows():
    pad, three = keras.utils.pad_sequences, [[1], [2, 3, 4], []]
    assert pad(three).tolist() == [[0, 0, 1], [2, 3, 4], [0, 0, 0]]
    assert pad(three, 2, padding="post", truncating="post", value=9).tolist() == [
        [1, 9],
        [2, 3],
        [9, 9],
    ]


def test_a_model_is_copied_pickled_and_compiled_as_one_of_bn_nn():
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", strides=2, input_shape=(8, 8, 3)),
            layers.BatchNormalization(),
            layers.PReLU(shared_axes=[1, 2]),
            layers.Flatten(),
            layers.Dense(2, "softmax"),
        ]
    )
    x = RNG.standard_normal((5, 8, 8, 3)).astype("f4")
    y = model.predict(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(x), y)
        other.set_weights([w + 1 for w in model.get_weights()])
        np.testing.assert_array_equal(model.predict(x), y)
    np.testing.assert_allclose(bn.compile(model, (8, 8, 3))(x), y, atol=1e-6)


def test_the_package_is_imported_when_it_is_used():
    code = "import sys, bn; assert 'bn.keras' not in sys.modules; bn.keras.layers; "
    code += "assert not {'keras', 'torch', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert bn.keras.layers is layers
