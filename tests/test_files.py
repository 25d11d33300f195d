"""`bn.load_state` and `bn.save_state` keep arrays as they are, and name other kinds of files."""

import io
import json
import pickle
import stat
import tracemalloc
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
from arrays import same_state

import bn
from bn import nn

SUFFIXES = [".safetensors", ".npz", ".weights.h5"]


def model():
    return nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), bn.BatchNorm2d(3), nn.Flatten())


def arrays(suffix):
    """Return arrays of all dtypes that a format has, of all layouts."""
    found = {
        "table": np.arange(6.0).reshape(2, 3),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "part": np.arange(8)[::2],
        "none": np.zeros((0, 3), np.float32),
        "one": np.array(7, np.int64),
        "half": np.array([1.5, -2], np.float16),
        "flags": np.array([True, False]),
        "bytes": np.array([[255]], np.uint8),
        "big": np.array([1, 2], ">f4"),
        "numbers": [1.0, 2.0],
    }
    if suffix == ".safetensors":
        found["brain"] = np.array([0.5, 3], ml_dtypes.bfloat16)
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_come_back_with_names_shapes_dtypes_and_values(tmp_path, suffix):
    path, given = tmp_path / f"a{suffix}", arrays(suffix)
    bn.save_state(path, given)
    found = bn.load_state(path)
    assert found.keys() == given.keys()
    for name, array in found.items():
        expected = np.asarray(given[name])
        assert array.dtype == expected.dtype.newbyteorder("=") or array.dtype == expected.dtype
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, expected)
        assert type(array) is np.ndarray
        assert array.flags.writeable


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_state_goes_through_a_file_into_a_model(tmp_path, suffix):
    path, one, other = tmp_path / f"a{suffix}", model(), model()
    one[0].weight.data += 1
    bn.save_state(path, one.state_dict())
    other.load_state_dict(bn.load_state(path))
    assert same_state(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_the_order_of_names_stays(tmp_path, suffix):
    given = {"z": np.ones(1, np.float16), "a": np.ones(2), "m": np.ones(1, np.float32)}
    bn.save_state(tmp_path / f"a{suffix}", given)
    assert list(bn.load_state(tmp_path / f"a{suffix}")) == ["z", "a", "m"]


def test_metadata_of_a_safetensors_file_come_back(tmp_path):
    bn.save_state(tmp_path / "a.safetensors", {"w": np.ones(1)}, {"größe": "3"})
    assert bn.load_state(tmp_path / "a.safetensors").metadata == {"größe": "3"}


def test_arrays_in_a_safetensors_file_lie_at_multiples_of_their_width(tmp_path):
    given = {"a": np.ones(3, np.uint8), "b": np.ones(3), "c": np.ones(1, np.float16)}
    bn.save_state(tmp_path / "a.safetensors", given)
    content = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    for name, array in given.items():
        assert header[name]["data_offsets"][0] % array.dtype.itemsize == 0


def test_an_npz_file_is_read_by_numpy_and_by_load(tmp_path):
    one, other = model(), model()
    bn.save_state(tmp_path / "a.npz", one.state_dict())
    with np.load(tmp_path / "a.npz") as found:
        assert set(found) == set(one.state_dict())
    nn.load(tmp_path / "a.npz", other)
    nn.save(tmp_path / "b.npz", one, {"epochs": 3})
    assert bn.load_state(tmp_path / "b.npz").keys() == one.state_dict().keys()


def test_a_compressed_npz_file_is_read(tmp_path):
    values = np.random.default_rng(0).standard_normal(100)
    np.savez_compressed(tmp_path / "a.npz", w=values)
    np.testing.assert_array_equal(bn.load_state(tmp_path / "a.npz")["w"], values)


def test_names_in_a_keras_file_are_in_the_order_of_their_numbers(tmp_path):
    names = [f"layers/dense{n}/vars/{i}" for n in ("", "_1", "_2", "_10") for i in (0, 1)]
    bn.save_state(tmp_path / "a.weights.h5", dict.fromkeys(reversed(names), np.ones(1)))
    state = bn.load_state(tmp_path / "a.weights.h5")
    assert list(state) == names
    assert not state.in_order


def legacy(path, layers):
    """Write a file of Keras 2: layers in the model's order, and weights in each layer's."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{w}".encode() for w in weights]
            for weight, array in weights.items():
                group[f"{name}/{weight}"] = array


def test_a_file_of_keras_2_tells_the_models_order(tmp_path):
    layers = {
        "stem": {"kernel:0": np.ones((2, 2)), "bias:0": np.ones(2)},
        "body": {"kernel:0": np.zeros((2, 2)), "bias:0": np.zeros(2)},
    }
    legacy(tmp_path / "a.h5", layers)
    state = bn.load_state(tmp_path / "a.h5")
    assert state.in_order
    assert list(state) == [f"{n}/{n}/{w}" for n in layers for w in ("kernel:0", "bias:0")]


def test_a_file_is_replaced_in_one_step_and_keeps_its_mode(tmp_path):
    path = tmp_path / "a.safetensors"
    bn.save_state(path, {"w": np.ones(3)})
    path.chmod(0o640)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="v must hold numbers"):
        bn.save_state(path, {"w": np.ones(3), "v": np.array(["text"])})
    assert path.read_bytes() == before
    bn.save_state(path, {"w": np.zeros(3)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    bn.save_state(path, {"a": np.ones(3)})
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError, OSError)):
        bn.save_state(path, {"a": np.ones(3), "a/b": np.ones(3)})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.weights.h5"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reading_and_writing_make_no_second_copy(tmp_path, suffix):
    path, given = tmp_path / f"a{suffix}", {n: np.ones(2**19) for n in "abcd"}
    size = sum(array.nbytes for array in given.values())
    tracemalloc.start()
    try:
        bn.save_state(path, given)
        assert tracemalloc.get_traced_memory()[1] < size / 2
        tracemalloc.reset_peak()
        found = bn.load_state(path)
        assert size < tracemalloc.get_traced_memory()[1] < 1.2 * size
    finally:
        tracemalloc.stop()
    assert found.keys() == given.keys()


# ---- other kinds ----


def torch_zip():
    """Return the bytes of a file as torch.save writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    return file.getvalue()


def keras_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    return file.getvalue()


FOREIGN = {
    "m.pt": (torch_zip(), r"torch\.save.*any code.*weights_only=True.*m\.safetensors"),
    "m.pth": (pickle.dumps({}), "weights_only=True"),
    "m.bin": (b"", "weights_only=True"),
    "m.ckpt": (torch_zip(), "weights_only=True"),
    "m.keras": (
        keras_zip(),
        r"whole model of Keras.*bn\.keras\.models\.load_model.*save_weights\('.*m\.weights\.h5'\)",
    ),
    "m.onnx": (b"", r"a model of ONNX.*bn\.onnx\.load"),
    "m.gguf": (b"GGUF", "a GGUF file.*GGUFReader"),
    "m.tflite": (b"\0\0\0\0TFL3", "TensorFlow Lite.*save_weights"),
    "m.msgpack": (b"\x80", "msgpack file of Flax.*msgpack_restore"),
    "m.txt": (b"", "must be a .safetensors, .npz or .weights.h5 file, got .*m.txt$"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_kind_of_file_is_named_with_the_line_that_converts_it(tmp_path, name):
    content, words = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        bn.load_state(tmp_path / name)
    with pytest.raises(
        ValueError, match=r"path must be a \.safetensors, .npz or .weights.h5 file"
    ) as error:
        bn.save_state(tmp_path / name, {})
    assert "convert" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m.pt", r"got m\.pt, a file of torch\.save$"),
        ("m.onnx", r"got m\.onnx, a model of ONNX, which bn\.onnx\.export of a model writes$"),
        ("m.keras", r"got m\.keras, .*, which the save of a model of bn\.keras writes$"),
    ],
)
def test_what_is_to_be_written_is_told_what_writes_it(name, words):
    with pytest.raises(ValueError, match=words):
        bn.save_state(name, {})


def test_the_line_that_converts_a_file_does_not_write_over_it(tmp_path):
    path = tmp_path / "fake.safetensors"
    path.write_bytes(torch_zip())
    with pytest.raises(ValueError, match=r"fake-converted\.safetensors'\)$"):
        bn.load_state(path)


def test_an_array_of_objects_is_told_to_hold_no_numbers(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, w=np.array([1, "a"], object))
    for read in (bn.load_state, lambda path: nn.load(path, nn.ReLU())):
        with pytest.raises(ValueError, match="w must hold numbers, got dtype object"):
            read(path)


@pytest.mark.parametrize(
    ("name", "content"), [("a.pt", torch_zip()), ("a.safetensors", b""), ("a.weights.h5", b"")]
)
def test_a_file_that_is_no_checkpoint_is_sent_to_load_state(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"not a usable checkpoint: .*see bn\.load_state\)$"):
        nn.load(tmp_path / name, nn.ReLU())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch_zip(), "a file of torch.save"),
        (keras_zip(), "a whole model of Keras"),
        (pickle.dumps({}), "a pickle"),
        (b"GGUF" + bytes(20), "a GGUF file"),
        (bytes(4) + b"TFL3" + bytes(20), "a model of TensorFlow Lite"),
    ],
)
def test_a_foreign_file_under_a_name_of_ours_is_found_out(tmp_path, suffix, content, words):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        bn.load_state(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("there", SUFFIXES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_ours_under_the_name_of_another_format_is_found_out(tmp_path, suffix, there):
    if suffix == there:
        return
    bn.save_state(tmp_path / f"a{there}", {"w": np.ones(1)})
    (tmp_path / f"a{there}").rename(tmp_path / f"b{suffix}")
    words = rf"must be a {suffix} file.*, as its name says, got a {there} file"
    with pytest.raises(ValueError, match=words):
        bn.load_state(tmp_path / f"b{suffix}")


def test_a_whole_model_of_keras_2_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    with pytest.raises(ValueError, match="it is a whole model: save its weights by"):
        bn.load_state(tmp_path / "a.h5")


# ---- arguments ----


def test_what_cannot_be_saved_is_refused_by_name(tmp_path):
    path, one = tmp_path / "a.safetensors", {"w": np.ones(1)}
    for error, words, given in (
        (TypeError, "state must be a mapping", ([1],)),
        (TypeError, "every name in state must be a str, got 3", ({3: np.ones(1)},)),
        (TypeError, "w must hold numbers, got dtype object", ({"w": np.array([None])},)),
        (TypeError, "w must hold numbers, got dtype complex64", ({"w": np.ones(1, "c8")},)),
        (ValueError, "must not have the name __metadata__", ({"__metadata__": np.ones(1)},)),
        (TypeError, "metadata must be a mapping of str to str, got list", (one, [1])),
        (TypeError, "metadata must be a mapping of str to str, got 'a': 1", (one, {"a": 1})),
    ):
        with pytest.raises(error, match=words):
            bn.save_state(path, *given)
    assert not path.exists()


@pytest.mark.parametrize("suffix", [".npz", ".weights.h5"])
def test_what_a_format_cannot_hold_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(TypeError, match=f"w must not be bfloat16 in a {suffix} file"):
        bn.save_state(path, {"w": np.ones(1, ml_dtypes.bfloat16)})
    with pytest.raises(ValueError, match=f"metadata must be None for a {suffix} file"):
        bn.save_state(path, {"w": np.ones(1)}, {"a": "b"})
    assert not path.exists()


@pytest.mark.parametrize("name", ["a//b", "/a", "a/../b", "a/."])
def test_a_name_that_is_no_path_is_refused_for_keras(tmp_path, name):
    with pytest.raises(ValueError, match="must be a path of names between slashes"):
        bn.save_state(tmp_path / "a.weights.h5", {name: np.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_folder_are_errors_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        bn.load_state(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(OSError, match=r"b\.safetensors"):
        bn.load_state(tmp_path / "b.safetensors")


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.weights.h5"
    bn.save_state(path, {"w": np.ones(1)})
    bn.save_state(tmp_path / "a.safetensors", {"w": np.ones(1, ml_dtypes.bfloat16)})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    install = r", which is not installed: pip install '\.\[files\]' in a checkout of bn$"
    with pytest.raises(ImportError, match="h5 file needs h5py" + install):
        bn.load_state(path)
    with pytest.raises(ImportError, match="h5 file needs h5py" + install):
        bn.save_state(path, {"w": np.ones(1)})
    with pytest.raises(ImportError, match="bfloat16 needs ml_dtypes" + install):
        bn.load_state(tmp_path / "a.safetensors")
