"""Files that are damaged or made to harm: an error with the file's name, in little memory."""

import io
import json
import re
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

import bn

MEBIBYTE = 2**20
WHERE = r"(is not a usable|must be) "


def refused(path):
    """Read a file that must be refused; return why it is, after a check that it took little."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"{path.name} {WHERE}") as error:
            bn.load_state(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()
    return str(error.value)


def damaged(content, rng):
    """Return a file with a few random bytes, or cut, or with bytes put in."""
    place = int(rng.integers(len(content)))
    kind = rng.integers(3)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + rng.bytes(4) + content[place:]
    changed = bytearray(content)
    for i in rng.integers(0, len(content), 3):
        changed[i] = rng.integers(256)
    return bytes(changed)


FEW, MANY = 150, 6000
with_suffix = pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".weights.h5"])


def attack(path, rng, cases):
    """Read files with random damage, and assert that they are refused or hold few bytes."""
    bn.save_state(path, {"layers/dense/vars/0": np.ones((3, 2)), "n": np.arange(3)})
    if path.suffix == ".npz":  # without a checksum, so that more of the damage is read
        np.savez(path, w=np.ones((3, 2)), n=np.arange(3))
    content, refusals = path.read_bytes(), 0
    for _ in range(cases):
        path.write_bytes(damaged(content, rng))
        try:
            found = bn.load_state(path)
        except ValueError:
            refusals += 1
        else:
            assert sum(array.nbytes for array in found.values()) <= 16 * len(content)
    assert refusals > cases // 10


@with_suffix
def test_random_damage_is_an_error_or_leaves_arrays(tmp_path, suffix, rng):
    attack(tmp_path / f"a{suffix}", rng, FEW)


@pytest.mark.fuzz
@with_suffix
def test_much_random_damage_is_an_error_or_leaves_arrays(tmp_path, suffix):
    attack(tmp_path / f"a{suffix}", np.random.default_rng(1), MANY)


# ---- safetensors ----


def entry(shape=(1,), begin=0, end=4, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def tensors(path, header, data=bytes(4)):
    """Write a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


HEADERS = {
    "no object": (b"{1}", "Expecting property name"),
    "no text": (b"{\xff}", "utf-8"),
    "more than the file": ({"w": entry((2**40,), 0, 2**42)}, "must have 4 bytes, as there are"),
    "offsets that do not fit": ({"w": entry((2,), 0, 4)}, "w must have 8 bytes, as its shape says"),
    "a size that overflows": ({"w": entry((2**62, 2**62))}, "w must have"),
    "negative offsets": ({"w": entry(begin=-4, end=0)}, "of integers from 0 on"),
    "offsets that are no integers": ({"w": entry(end=4.0)}, "of integers from 0 on"),
    "a shape of flags": ({"w": entry(shape=(True,))}, "of integers from 0 on"),
    "too many axes": ({"w": entry((1,) * 33)}, "up to 32 axes"),
    "three offsets": ({"w": {**entry(), "data_offsets": [0, 4, 4]}}, "two data_offsets"),
    "an unknown dtype": ({"w": entry(dtype="F8_E4M3")}, "one of the dtypes BOOL.*got 'F8_E4M3'"),
    "a dtype that is no text": ({"w": entry(dtype=["F32"])}, "one of the dtypes"),
    "no dtype": ({"w": {"shape": [1], "data_offsets": [0, 4]}}, "w must have a dtype"),
    "an entry that is no object": ({"w": 1}, "w must have a dtype, a shape and data_offsets"),
    "overlapping arrays": ({"v": entry(), "w": entry()}, "w must begin at byte 4, got 0"),
    "a hole": ({"w": entry((0,), 4, 4)}, "w must begin at byte 0, got 4"),
    "a name twice": (b'{"w":1,"w":2}', "has a name twice"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, "__metadata__ must be a mapping of str"),
    "deep nesting": (b'{"w":' + b"[" * 200_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_a_safetensors_file_that_lies_is_refused(tmp_path, name):
    header, words = HEADERS[name]
    assert re.search(words, refused(tensors(tmp_path / "a.safetensors", header)))


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    for length in (2**63, 2**24 + 1, 100):
        path.write_bytes(length.to_bytes(8, "little") + b"{}")
        assert "its header must" in refused(path)


def test_a_header_of_more_than_16_mebibytes_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write((2**24 + 1).to_bytes(8, "little") + b"{")
        file.truncate(2**25)  # a sparse file
    assert "at most 16777216 bytes" in refused(path)


def test_flags_that_are_neither_0_nor_1_are_refused(tmp_path):
    path = tensors(
        tmp_path / "a.safetensors", {"w": entry((4,), dtype="BOOL")}, bytes([0, 1, 2, 0])
    )
    assert "must hold bytes of 0 and 1" in refused(path)


# ---- .npz ----


def npy(shape, dtype="<f8", data=b""):
    """Return an array in NumPy's format whose header may say anything."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def archive(path, *members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def test_an_archive_that_asks_for_much_memory_is_refused(tmp_path):
    zeros = npy((2**24,), data=bytes(2**27))
    path = archive(tmp_path / "a.npz", ("w.npy", zeros), compression=zipfile.ZIP_DEFLATED)
    assert "its arrays must take at most" in refused(path)
    assert "as its header says" in refused(archive(path, ("w.npy", npy((2**40,)))))


def test_objects_and_texts_in_an_archive_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, w=np.array([{}], object))
    assert "w must hold numbers, got dtype object" in refused(path)
    np.savez(path, w=np.array(["text"]))
    assert "w must hold numbers, got dtype <U4" in refused(path)


def test_a_name_twice_in_an_archive_is_refused(tmp_path):
    one = io.BytesIO()
    np.save(one, np.ones(1))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "a.npz", *[("w.npy", one.getvalue())] * 2)
    assert "has a name twice" in refused(path)


def test_names_in_an_archive_are_no_paths(tmp_path):
    """What is called ``../w`` is an array of that name; nothing is written anywhere."""
    np.savez(tmp_path / "a.npz", **{"../w": np.ones(1)})
    assert list(bn.load_state(tmp_path / "a.npz")) == ["../w"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz"]


def test_an_archive_of_a_future_version_is_refused(tmp_path):
    """Python's zipfile has a NotImplementedError for it."""
    np.savez(tmp_path / "a.npz", w=np.ones(1))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 251  # the version that is needed to read it
    (tmp_path / "a.npz").write_bytes(content)
    assert "zip file version" in refused(tmp_path / "a.npz")


# ---- HDF5 ----


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.weights.h5"


def test_links_in_a_keras_file_are_refused(path, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    for make in (
        lambda file: file.__setitem__("w", h5py.SoftLink("/v")),
        lambda file: file.__setitem__("w", h5py.ExternalLink(str(tmp_path / "b.h5"), "/v")),
    ):
        with h5py.File(path, "w") as file:
            make(file)
        assert "w must be an array or a group, got a link" in refused(path)


def test_a_second_name_of_a_group_or_an_array_is_refused(path):
    with h5py.File(path, "w") as file:
        file["v"] = np.ones(3)
        file["w"] = file["v"]
    assert "w must be in one place, got a second name" in refused(path)
    with h5py.File(path, "w") as file:
        file.create_group("inner")["again"] = file["/"]
    assert "inner/again must be in one place" in refused(path)


def test_arrays_that_do_not_lie_in_a_keras_file_are_refused(path, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    with h5py.File(path, "w") as file:
        external = [(str(tmp_path / "secret.bin"), 0, 8)]
        file.create_dataset("w", (1,), "f8", external=external)
    assert "w must lie in the file itself" in refused(path)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((1,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "v", shape=(1,))
        file.create_virtual_dataset("w", layout)
    assert "w must lie in the file itself" in refused(path)


def test_filters_in_a_keras_file_are_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.zeros(1000), compression="gzip")
    assert "w must be stored without filters" in refused(path)


def test_an_array_of_which_nothing_is_stored_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (2**40,), "f8")
    assert f"w must have {2**43} bytes in the file, got 0" in refused(path)


def test_deep_groups_in_a_keras_file_are_refused(path):
    with h5py.File(path, "w") as file:
        file.create_group("/".join(["g"] * 70))
    assert "nested up to 64 deep" in refused(path)


def test_what_holds_no_numbers_in_a_keras_file_is_refused(path):
    for value in ("text", np.array([b"ab"]), h5py.Empty("f4")):
        with h5py.File(path, "w") as file:
            file["w"] = value
        assert "w must" in refused(path)
    with h5py.File(path, "w") as file:
        file["w"] = np.dtype("f4")  # a named type
    assert "w must be an array or a group" in refused(path)


def test_names_of_a_keras_2_file_that_are_not_there_are_refused(path):
    with h5py.File(path, "w") as file:
        file.create_group("dense").attrs["weight_names"] = [b"../../w"]
        file.attrs["layer_names"] = [b"dense"]
    assert "must name its arrays" in refused(path)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
    assert "dense" in refused(path)
