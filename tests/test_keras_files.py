"""Files of Keras: written, read, and read when they are damaged or malicious."""

import contextlib
import io
import json
import zipfile

import numpy as np
import pytest

from bn import keras
from bn.keras import layers, models, weights_files

h5py = pytest.importorskip("h5py")

X = np.random.default_rng(0).standard_normal((5, 4)).astype("f4")


def small():
    inputs = keras.Input((4,))
    x = layers.Dense(3, activation="relu", kernel_regularizer="l2")(inputs)
    x = layers.BatchNormalization()(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Add()([x, layers.Dense(3)(inputs)])))
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(keras.optimizers.SGD(rate, momentum=0.5), "mse", metrics=["mae"])
    return model


@pytest.fixture
def file(tmp_path):
    small().save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.fixture
def weights(tmp_path):
    small().save_weights(tmp_path / "model.weights.h5")
    return tmp_path / "model.weights.h5"


def refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        models.load_model(path)
    assert "cannot be read" in str(caught.value)


def rewritten(path, config=None, weights=None, compress=zipfile.ZIP_STORED):
    """Change a .keras file: `config` is a function of its text, weights are bytes."""
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    if config is not None:
        value = json.loads(texts["config.json"])
        texts["config.json"] = json.dumps(config(value) or value).encode()
    texts["model.weights.h5"] = texts["model.weights.h5"] if weights is None else weights
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)


# ---- written and read ----


def test_a_model_is_read_as_it_was_written(file):
    model = models.load_model(file)
    again = models.load_model(file)
    np.testing.assert_array_equal(model.predict(X), again.predict(X))
    assert [layer.name for layer in model.layers] == [layer.name for layer in again.layers]
    assert model.optimizer.momentum == 0.5
    assert model.optimizer.learning_rate == 0.1 and callable(model.optimizer._rate)
    assert model.metrics_names == ["loss", "mae"] and model.layers[1].kernel_regularizer.l2 == 0.01
    assert not models.load_model(file, compile=False).compiled


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop"])
def test_a_training_goes_on_from_a_file_as_if_it_had_not_stopped(tmp_path, kind):
    inputs = keras.Input((6, 4))
    x = layers.Bidirectional(layers.GRU(3))(layers.Conv1D(4, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(1)(x))
    options = {"momentum": 0.9} if kind != "Adam" else {}
    model.compile(getattr(keras.optimizers, kind)(0.01, **options), "mse")
    x, y = np.random.default_rng(1).standard_normal((20, 6, 4)), np.ones((20, 1))
    model.fit(x, y, shuffle=False, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    other = models.load_model(tmp_path / "model.keras")
    for each in (model, other):
        each.fit(x, y, shuffle=False, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7)
    assert other.optimizer.iterations == model.optimizer.iterations == 4


def test_weights_are_read_as_they_were_written(weights):
    one, other = small(), small()
    one.load_weights(weights)
    other.load_weights(weights)
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def test_the_checkpoint_of_the_best_epoch_is_saved(tmp_path):
    model = small()
    save = keras.callbacks.ModelCheckpoint(
        tmp_path / "at{epoch}.weights.h5", "loss", save_weights_only=True, save_best_only=True
    )
    losses = model.fit(X, X[:, :3], epochs=3, callbacks=[save], verbose=0).history["loss"]
    better = [i + 1 for i in range(3) if losses[i] < min(losses[:i], default=np.inf)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"at{i}.weights.h5" for i in better]


def test_files_are_not_replaced_against_the_will(file, weights):
    with pytest.raises(FileExistsError):
        small().save(file, overwrite=False)
    with pytest.raises(FileExistsError):
        small().save_weights(weights, overwrite=False)
    with pytest.raises(ValueError, match=r"the path must end in .keras"):
        small().save("model.h5")
    with pytest.raises(ValueError, match=r"the path must end in .weights.h5"):
        small().load_weights("model.h5")


def test_what_a_file_cannot_hold_is_an_error_and_leaves_no_file(tmp_path):
    model = keras.Sequential([layers.Dense(2, kernel_initializer=lambda s, d: np.ones(s))])
    model.build((None, 4))
    with pytest.raises(TypeError, match=r"a file holds names, numbers and objects of bn.keras"):
        model.save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_model_are_an_error_and_change_nothing(weights, tmp_path):
    other = keras.Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(1)])
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"does not fit the model: missing|unknown"):
        other.load_weights(weights)
    wide = keras.Sequential([layers.Dense(5, input_shape=(4,)), layers.Dense(1)])
    wide.save_weights(tmp_path / "wide.weights.h5")
    with pytest.raises(ValueError, match=r"must have shape \(4, 3\), got \(4, 5\)"):
        other.load_weights(tmp_path / "wide.weights.h5")
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- damage ----


@pytest.mark.parametrize("kept", [0, 10, 100, 0.5, 0.9, 0.999])
def test_files_that_are_cut_short_are_an_error(file, weights, kept):
    for path, load in ((file, models.load_model), (weights, small().load_weights)):
        content = path.read_bytes()
        path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
        with pytest.raises((ValueError, OSError), match=r"."):
            load(path)


def test_flipped_bytes_never_raise_anything_else(weights):
    content, rng, model = bytearray(weights.read_bytes()), np.random.default_rng(0), small()
    for place in rng.integers(0, len(content), 150):
        damaged = content.copy()
        damaged[place] ^= 1 << rng.integers(8)
        weights.write_bytes(damaged)
        with contextlib.suppress(ValueError, OSError):
            model.load_weights(weights)


def test_a_file_that_needs_more_than_itself_is_refused(tmp_path):
    # test_files_hostile tries all that such files may have
    path = tmp_path / "link.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink(tmp_path / "secret.h5", "a")
    message = r"link\.weights\.h5 cannot be read: layers must be .*, got a link"
    with pytest.raises(ValueError, match=message):
        small().load_weights(path)


# ---- what a .keras file may say ----


def in_layer(place, changes):
    """Change the config of one layer."""

    def change(config):
        for layer in config["config"]["layers"]:
            if layer["name"] == place:
                layer["config"].update(changes)

    return change


def test_layers_that_are_code_or_unknown_are_refused(tmp_path):
    for i, kind in enumerate(["Lambda", "TFOpLambda", "os.system", 3, None, "Layer"]):
        path = tmp_path / f"{i}.keras"
        small().save(path)

        def change(config, kind=kind):
            config["config"]["layers"][1]["class_name"] = kind

        rewritten(path, change)
        refused(path, "bn.keras has no layer")


def test_classes_of_other_modules_are_refused(file):
    def change(config):
        config["config"]["layers"][1]["module"] = "builtins"

    rewritten(file, change)
    refused(file, "Dense must be Keras's")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 10**9}, "would have"),
        ({"units": "many"}, "units must be a positive integer"),
        ({"units": [3]}, "units must be a positive integer"),
        ({"activation": {"class_name": "function", "config": "exec"}}, "has no activation"),
        ({"kernel_initializer": {"class_name": "eval", "config": {}}}, "has no initializer"),
        ({"surprise": 1}, "has no argument 'surprise'"),
        ({"kernel_constraint": {"class_name": "MaxNorm"}}, "kernel_constraint of Dense must be"),
        ({"name": 7}, "name must be a str"),
        ({"dtype": {"config": {"name": "mixed_bfloat16"}}}, "dtype must be float32 or float64"),
        ({"units": 4}, "shape"),
    ],
)
def test_arguments_of_strangers_are_checked_before_memory_is_used(file, changes, message):
    name = models.load_model(file).layers[1].name
    rewritten(file, in_layer(name, changes))
    refused(file, message)


def test_shapes_that_are_large_use_no_memory(tmp_path):
    """A sample of 10¹² values is flattened, repeated and normalized."""
    for i, further in enumerate([layers.Flatten(), layers.BatchNormalization()]):
        model = keras.Sequential([keras.Input((2, 3)), further])
        model.save(path := tmp_path / f"{i}.keras")

        def change(config):
            shape = [None, 10**6, 10**6]
            config["config"]["layers"][0]["config"]["batch_shape"] = shape
            config["config"]["build_input_shape"] = shape

        rewritten(path, change)
        try:
            models.load_model(path)
        except ValueError as error:
            assert "would have 7000000 weights" in str(error)


def test_graphs_that_cannot_be_are_refused(file):
    def circle(config):
        layers = config["config"]["layers"]
        last = layers[-1]["name"]
        layers[1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = [last, 0, 0]

    rewritten(file, circle)
    refused(file, "in a circle")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: [1, 2], "config.json must be a dict"),
        (lambda config: config["config"].update(layers=3), "layers must be a list"),
        (lambda config: config["config"].update(output_layers=[]), "one output"),
        (lambda config: config["config"].update(input_layers=["x", 0, 0]), "."),
        (lambda config: config["config"]["layers"][1].update(inbound_nodes=[{}]), "args"),
        (lambda config: config.update(class_name="Dense"), "."),
        (lambda config: config["compile_config"].update(optimizer="x"), "has no optimizer 'x'"),
        (lambda config: config["compile_config"].update(loss={"class_name": 1}), "has no loss"),
    ],
)
def test_texts_that_are_no_model_are_refused(file, change, message):
    def keep(config):
        found = change(config)
        return found if isinstance(found, list) else None

    rewritten(file, keep)
    refused(file, message)


def test_deep_and_large_texts_are_refused(file):
    for text, message in ((b"[" * 10**5, "."), (b" " * (2**24 + 1), "at most 16777216 bytes")):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", text)
            archive.writestr("model.weights.h5", b"")
        refused(file, message)


def test_nested_models_without_end_are_refused(file):
    begin = '{"class_name": "Sequential", "module": "keras", "config": {"layers": ['
    with zipfile.ZipFile(file) as archive:
        content = archive.read("model.weights.h5")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", begin * 900 + "]}}" * 900)
        archive.writestr("model.weights.h5", content)
    refused(file, "recursion")


def test_compressed_weights_and_missing_members_are_refused(file, tmp_path):
    rewritten(file, compress=zipfile.ZIP_DEFLATED)
    refused(file, "stored in it without compression")
    empty = tmp_path / "empty.keras"
    with zipfile.ZipFile(empty, "w"):
        pass
    refused(empty, "config.json")
    rewritten(file, weights=b"not hdf5")
    refused(file, "model.weights.h5")


def test_the_reader_takes_open_files():
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("a/b", data=np.arange(3))
    assert weights_files.read_arrays(content)["a/b"].tolist() == [0, 1, 2]
