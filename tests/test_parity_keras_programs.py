"""Programs of Keras and the same programs of `bn.keras`: losses, outputs, tables, files."""

import json

import numpy as np
import pytest

import bn.keras

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras's get_weights causes it
    pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`"),
    pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer"),
]

LOSSES = 1e-4  # over two epochs


@pytest.fixture(autouse=True)
def same_names(keras, torch):
    """Begin the names of layers in both; PyTorch's threads take longer than these small models."""
    keras.utils.clear_session()
    bn.keras.utils.clear_session()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(n=48, size=16, classes=10):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, size, size, 3)).astype("f4")
    return x, rng.integers(0, classes, n)


def rows(n=64, features=8):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, features)).astype("f4")
    return x, (x[:, :1] * x[:, 1:2] + 0.1).astype("f4")


def texts(n=24, length=5):
    rng = np.random.default_rng(2)
    x = rng.integers(0, 20, (n, length))
    return x, (x[:, 0] > 9).astype("f4")


# ---- the programs, of which `k` is Keras or bn.keras ----


def tutorial(k):
    layers = k.layers
    model = k.models.Sequential()
    model.add(layers.Conv2D(16, (3, 3), padding="same", input_shape=(16, 16, 3)))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(32))
    model.add(layers.BatchNormalization())
    model.add(layers.Activation("relu"))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, *images()


def resnet(k):
    layers = k.layers
    inputs = k.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for filters, strides in ((8, 1), (16, 2)):
        y = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        y = layers.BatchNormalization()(y)
        y = layers.Activation("relu")(y)
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
        y = layers.BatchNormalization()(y)
        if strides > 1:
            x = layers.Conv2D(filters, 1, strides=strides)(x)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    model = k.Model(inputs, layers.Dense(10)(x))
    loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(k.optimizers.SGD(0.02, momentum=0.9, nesterov=True), loss, metrics=["accuracy"])
    return model, *images()


def text(k):
    layers = k.layers
    model = k.Sequential(
        [
            k.Input((None,), dtype="int32"),
            layers.Embedding(20, 8),
            layers.Bidirectional(layers.GRU(6, return_sequences=True)),
            layers.LSTM(8),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    return model, *texts()


def perceptron(k):
    layers = k.layers
    penalty = k.regularizers.L1L2(l1=1e-3, l2=1e-2)
    model = k.Sequential(
        [
            layers.Dense(16, activation="tanh", kernel_regularizer="l2", input_shape=(8,)),
            layers.Dropout(0.0),
            layers.LayerNormalization(gamma_regularizer=k.regularizers.L2(0.1)),
            layers.Dense(8, activation="gelu", kernel_regularizer=penalty, bias_regularizer="l1"),
            layers.LeakyReLU(),
            layers.Dense(1),
        ]
    )
    optimizer = k.optimizers.AdamW(k.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9))
    model.compile(optimizer, "mse", metrics=["mae"])
    return model, *rows()


def small_layers(k):
    layers = k.layers
    inputs = k.Input((16, 16, 3))
    x = layers.SeparableConv2D(6, 3, padding="same", activation="silu")(inputs)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(x)
    x = layers.GroupNormalization(3)(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Cropping2D(((1, 2), (3, 4)))(layers.ZeroPadding2D((2, 1))(x))
    a = layers.Maximum()([x, layers.ELU()(x)])
    x = layers.Average()([a, layers.Multiply()([x, x]), layers.Subtract()([x, a])])
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((-1, 8))(layers.Conv2D(4, 2, strides=2, dilation_rate=1)(x))
    x = layers.Conv1D(5, 3, padding="causal", dilation_rate=2)(x)
    x = layers.MaxPooling1D(2, strides=1, padding="same")(x)
    x = layers.SimpleRNN(4, return_sequences=True)(layers.AveragePooling1D(4)(x))
    x = layers.GlobalAveragePooling1D()(x)
    model = k.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))
    optimizer = k.optimizers.RMSprop(1e-3, momentum=0.5, centered=True, clipnorm=0.5)
    model.compile(optimizer, "categorical_crossentropy", metrics=["categorical_accuracy"])
    x, y = images(24)
    return model, x, np.eye(10)[y]


PROGRAMS = [tutorial, resnet, text, perceptron, small_layers]
with_program = pytest.mark.parametrize("program", PROGRAMS)


def pair(keras, program):
    """Make the same model in both, with the same weights; the data, too."""
    theirs, x, y = program(keras)
    ours, _, _ = program(bn.keras)
    rng = np.random.default_rng(3)
    weights = [w + 0.05 * rng.random(w.shape).astype("f4") - 0.02 for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return theirs, ours, x, y


# ---- the same ----


@with_program
def test_two_epochs_have_the_same_losses_and_end_with_the_same_outputs(keras, program):
    theirs, ours, x, y = pair(keras, program)
    options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    options["validation_split"] = 0.25
    expected, got = (model.fit(x, y, **options).history for model in (theirs, ours))
    assert list(got) == list(expected)
    for name, values in expected.items():
        # The gradient of a bias in front of a batch normalization is rounding alone, and Adam makes
        # steps of lr of it. In validation it matters, because running means follow slowly.
        bound = 10 * LOSSES if name.startswith("val_") else LOSSES
        assert got[name] == pytest.approx(values, abs=bound, rel=bound), name
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=2e-3)
    np.testing.assert_allclose(
        ours.evaluate(x, y, verbose=0), theirs.evaluate(x, y, verbose=0), atol=1e-3
    )


@with_program
def test_outputs_tables_and_weights_are_the_same_before_training(keras, program):
    theirs, ours, x, _ = pair(keras, program)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=2e-5)
    for line_length in (None, 60):
        tables = []
        for model in (theirs, ours):
            model.summary(print_fn=tables.append, line_length=line_length)
        assert tables[1] == tables[0]
    for attribute in ("weights", "trainable_weights", "non_trainable_weights"):
        expected = [
            (w.name, tuple(w.shape)) for w in getattr(theirs, attribute) if "seed" not in w.name
        ]
        assert [(w.name, w.shape) for w in getattr(ours, attribute)] == expected
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]


def test_the_table_counts_the_optimizer_after_training(keras):
    theirs, ours, x, y = pair(keras, perceptron)
    tables = []
    for model in (theirs, ours):
        model.fit(x, y, verbose=0)
        model.summary(print_fn=tables.append, show_trainable=True)
    assert tables[1] == tables[0]


def test_the_table_shows_the_layers_of_models_inside(keras):
    tables = []
    for k in (keras, bn.keras):
        inner = k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.ReLU()], name="inner")
        inputs = k.Input((4,))
        outer = k.Model(inputs, k.layers.Add()([inner(inputs), inner(inputs)]), name="outer")
        for model in (k.Sequential([k.Input((4,)), inner]), outer, k.Sequential([outer])):
            model.summary(print_fn=tables.append, expand_nested=True)
    assert tables[3:] == tables[:3]


def test_each_layer_has_its_own_dtype(keras):
    for last in ("float64", "float32"):
        found = []
        for k in (keras, bn.keras):
            inner = [k.layers.Dense(3, dtype="float64"), k.layers.ReLU(dtype=last)]
            model = k.Sequential([k.Input((4,)), *inner])
            found.append(model.predict(np.ones((2, 4), "f4"), verbose=0).dtype)
        assert found == [np.dtype(last)] * 2


@with_program
def test_a_model_is_made_from_the_config_of_the_other(keras, program):
    theirs, ours, x, _ = pair(keras, program)
    read = type(ours).from_config(json.loads(json.dumps(theirs.get_config())))
    read.set_weights(theirs.get_weights())
    np.testing.assert_allclose(read.predict(x), ours.predict(x), atol=1e-6)


# ---- files ----


@with_program
def test_files_of_weights_and_of_models_are_read_by_both(keras, program, tmp_path):
    theirs, ours, x, y = pair(keras, program)
    outputs, losses = theirs.predict(x, verbose=0), theirs.evaluate(x, y, verbose=0)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.save(tmp_path / "theirs.keras")
    ours.save(tmp_path / "ours.keras")
    other_weights = [w + 1 for w in theirs.get_weights()]
    for model, path in ((ours, "theirs.weights.h5"), (theirs, "ours.weights.h5")):
        model.set_weights(other_weights)
        model.load_weights(tmp_path / path)
    theirs_read = keras.models.load_model(tmp_path / "ours.keras")
    ours_read = bn.keras.models.load_model(tmp_path / "theirs.keras")
    for model in (theirs, ours, theirs_read, ours_read):
        np.testing.assert_allclose(model.predict(x, verbose=0), outputs, atol=2e-5)
    for model in (theirs_read, ours_read):
        assert model.evaluate(x, y, verbose=0) == pytest.approx(losses, abs=LOSSES)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
def test_a_training_goes_on_in_the_other_from_a_file(keras, optimizer, tmp_path):
    def chosen(k):
        kinds = k.optimizers
        return {
            "sgd": kinds.SGD(0.05),
            "momentum": kinds.SGD(0.05, momentum=0.9),
            "adam": kinds.Adam(0.01),
            "rmsprop": kinds.RMSprop(0.01, momentum=0.5, centered=True),
        }[optimizer]

    theirs, ours, x, y = pair(keras, perceptron)
    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    for k, model in ((keras, theirs), (bn.keras, ours)):
        model.compile(chosen(k), "mse")
        model.fit(x, y, **options)
        model.save(tmp_path / f"{k.__name__}.keras")
    expected = theirs.fit(x, y, **options).history["loss"]
    read = [
        bn.keras.models.load_model(tmp_path / "keras.keras"),
        keras.models.load_model(tmp_path / "bn.keras.keras"),
        bn.keras.models.load_model(tmp_path / "bn.keras.keras"),
    ]
    for model in read:
        assert model.fit(x, y, **options).history["loss"] == pytest.approx(expected, rel=LOSSES)


def test_nested_models_are_saved_and_loaded(keras, tmp_path):
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()])
    a = keras.Input((4,))
    graph = keras.Model(a, keras.layers.Dense(4)(a))
    b = keras.Input((4,))
    theirs = keras.Model(b, inner(graph(graph(b))))
    theirs.save(tmp_path / "nested.keras")
    ours = bn.keras.models.load_model(tmp_path / "nested.keras")
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("f4")
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=1e-5)
    ours.save(tmp_path / "ours.keras")
    again = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), ours.predict(x), atol=1e-5)


# ---- losses, weights of samples, steps ----


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MeanSquaredError", {}),
        ("MeanAbsoluteError", {}),
        ("Huber", {"delta": 0.3}),
        ("BinaryCrossentropy", {"label_smoothing": 0.1}),
        ("BinaryCrossentropy", {"from_logits": True}),
        ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
        ("CategoricalCrossentropy", {"from_logits": True}),
        ("SparseCategoricalCrossentropy", {}),
    ],
)
def test_losses_and_their_gradients_are_the_same(keras, name, options, weighted, reduction):
    import torch

    rng = np.random.default_rng(4)
    p = rng.random((3, 5, 4)).astype("f4") + 0.1
    p /= p.sum(axis=-1, keepdims=True)
    y = np.eye(4, dtype="f4")[rng.integers(0, 4, (3, 5))]
    y = y.argmax(axis=-1) if name.startswith("Sparse") else y
    weights = rng.random((3, 5)).astype("f4") if weighted else None
    theirs, ours = (
        getattr(k.losses, name)(reduction=reduction, **options) for k in (keras, bn.keras)
    )
    tp = torch.tensor(p, requires_grad=True)
    loss = theirs(torch.from_numpy(y), tp, sample_weight=weights)
    loss.backward()
    assert ours(y, p, sample_weight=weights) == pytest.approx(loss.item(), rel=1e-5)
    gradient, expected = ours.backward(), tp.grad.numpy()
    if name in ("CategoricalCrossentropy", "SparseCategoricalCrossentropy"):
        # Where probabilities are divided by their sum, both take that into account.
        gradient = gradient - gradient.mean(axis=-1, keepdims=True)
        expected = expected - expected.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_weights_of_classes_and_samples_count_the_same(keras):
    theirs, ours, x, y = pair(keras, tutorial)
    weights = np.random.default_rng(5).random(len(x)).astype("f4")
    for given in ({"class_weight": {0: 2.0, 3: 0.5}}, {"sample_weight": weights}):
        losses = [
            model.fit(x, y, batch_size=20, verbose=0, shuffle=False, **given).history["loss"]
            for model in (theirs, ours)
        ]
        assert losses[1] == pytest.approx(losses[0], rel=LOSSES)


def test_steps_on_single_batches_return_the_same(keras):
    theirs, ours, x, y = pair(keras, tutorial)
    for part in (slice(0, 16), slice(16, 48)):
        expected = theirs.train_on_batch(x[part], y[part])
        assert ours.train_on_batch(x[part], y[part]) == pytest.approx(expected, abs=LOSSES)
    assert ours.test_on_batch(x, y) == pytest.approx(theirs.test_on_batch(x, y), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"learning_rate": 0.1, "weight_decay": 0.1}),
        ("SGD", {"momentum": 0.9, "global_clipnorm": 0.5}),
        ("SGD", {"momentum": 0.9, "nesterov": True, "clipvalue": 0.2}),
        ("Adam", {"learning_rate": 0.01, "epsilon": 0.1}),
        ("AdamW", {"learning_rate": 0.01}),
        ("RMSprop", {"epsilon": 0.1}),
        ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ],
)
def test_optimizers_step_the_same_with_rates_that_change(keras, name, options):
    import torch

    rng = np.random.default_rng(6)
    begin = rng.standard_normal((4, 3)).astype("f4")
    theirs, ours = (getattr(k.optimizers, name)(**options) for k in (keras, bn.keras))
    variable, parameter = keras.Variable(begin), bn.Parameter(begin.copy())
    for step in range(5):
        grad = rng.standard_normal((4, 3)).astype("f4")
        parameter.grad = grad.copy()
        if step == 3:
            theirs.learning_rate = ours.learning_rate = 0.05
        theirs.apply([torch.from_numpy(grad)], [variable])
        ours.bound_to([parameter]).step()
    np.testing.assert_allclose(parameter.data, variable.numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialDecay", (0.1, 4, 0.5, True)),
        ("ExponentialDecay", (0.1, 4, 0.5)),
        ("PiecewiseConstantDecay", ([3, 6], [0.1, 0.01, 0.001])),
        ("CosineDecay", (0.1, 7, 0.2)),
    ],
)
def test_schedules_give_the_same_rates(keras, name, arguments):
    theirs, ours = (getattr(k.optimizers.schedules, name)(*arguments) for k in (keras, bn.keras))
    assert [ours(i) for i in range(10)] == pytest.approx(
        [float(theirs(i)) for i in range(10)], rel=1e-5
    )


def callbacks_of(k, folder):
    return [
        k.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
        k.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10),
        k.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10, restore_best_weights=True),
        k.callbacks.CSVLogger(str(folder / f"{k.__name__}.csv")),
    ]


def test_callbacks_do_the_same(keras, tmp_path):
    theirs, ours, x, y = pair(keras, perceptron)
    histories = []
    for k, model in ((keras, theirs), (bn.keras, ours)):
        model.compile("sgd", "mse", metrics=["mae"])
        history = model.fit(
            x, y, epochs=6, verbose=0, shuffle=False, validation_split=0.25,
            callbacks=callbacks_of(k, tmp_path),
        )  # fmt: skip
        histories.append(history)
    expected, got = histories
    assert got.epoch == expected.epoch and len(got.epoch) < 6
    assert set(got.history) == set(expected.history)
    for name, values in expected.history.items():
        assert got.history[name] == pytest.approx(values, rel=LOSSES), name
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=1e-4)
    heads = [
        (tmp_path / f"{k.__name__}.csv").read_text().split("\n")[0].strip()
        for k in (keras, bn.keras)
    ]
    assert heads[1] == heads[0]


MOMENTS = [name for name in dir(bn.keras.callbacks.Callback) if name.startswith("on_")]


def noting(k, notes):
    """A callback that notes each moment: its name, the number of the epoch or batch, the logs."""

    def method(name):
        def note(self, *given, logs=None):
            *number, last = given if logs is None else (*given, logs)
            notes.append((name, number, {n: np.mean(v) for n, v in (last or {}).items()}))

        return note

    called = [name for name in MOMENTS if name not in ("on_batch_begin", "on_batch_end")]
    return type("Noting", (k.callbacks.Callback,), {name: method(name) for name in called})()


def test_callbacks_are_called_at_the_same_moments_with_the_same_logs(keras):
    theirs, ours, x, y = pair(keras, tutorial)
    expected, got = [], []
    for k, model, notes in ((keras, theirs, expected), (bn.keras, ours, got)):
        options = {"callbacks": [noting(k, notes)], "batch_size": 20, "verbose": 0}
        model.fit(x, y, epochs=2, shuffle=False, validation_data=[x[:30], y[:30]], **options)
        model.evaluate(x, y, **options)
        model.predict(x, **options)
    assert [note[:2] for note in got] == [note[:2] for note in expected]
    for (name, _, ours_logs), (_, _, theirs_logs) in zip(got, expected, strict=True):
        if name != "on_train_end":
            assert ours_logs == pytest.approx(theirs_logs, abs=1e-3), name


METRICS = ["BinaryAccuracy", "Precision", "Recall", "MeanSquaredError", "CategoricalAccuracy"]


@pytest.mark.parametrize("name", [*METRICS, "TopKCategoricalAccuracy"])
def test_metrics_are_the_same(keras, name):
    rng = np.random.default_rng(7)
    p, y = rng.random((40, 8)).astype("f4"), np.eye(8)[rng.integers(0, 8, 40)]
    theirs, ours = (getattr(k.metrics, name)() for k in (keras, bn.keras))
    for part in (slice(0, 30), slice(30, 40)):
        theirs.update_state(y[part], p[part])
        ours.update_state(y[part], p[part])
    assert ours.result() == pytest.approx(float(theirs.result()), rel=1e-5)
    assert ours.name == theirs.name
