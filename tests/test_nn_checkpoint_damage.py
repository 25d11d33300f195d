"""No bit of a checkpoint changes unnoticed, and no file takes more memory than its model has."""

import io
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from arrays import same_state
from nn_files import model

from bn import nn

MEBIBYTE = 2**20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def refused(path, read=nn.metadata):
    """Read a checkpoint that must be refused; return why it is."""
    with pytest.raises(ValueError, match=r"model\.npz is not a usable checkpoint: .") as error:
        read(path)
    return str(error.value).partition(" is not a usable checkpoint: ")[2]


def measured(path, read):
    """Return what a function returns, after a check that it took little memory."""
    tracemalloc.start()
    try:
        out = read(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()
    return out


def load(path):
    return nn.load(path, model())


def refused_by_load(path):
    return measured(path, lambda path: refused(path, load))


def refused_by_both(path):
    """Read model and metadata of a checkpoint that must be refused; return why each is."""
    return measured(path, refused), refused_by_load(path)


def sealed(data):
    """Return the bytes of a checkpoint with the checksum that they should have."""
    return data[:-8] + b"%08x" % zlib.crc32(data[:-8])


# ---- the checksum ----


@pytest.mark.parametrize("read", [nn.metadata, lambda path: nn.load(path, nn.ReLU())])
def test_a_flip_of_any_bit_is_noticed(path, read):
    nn.save(path, nn.ReLU(), {"a": 1})
    read(path)
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(path.read_bytes()):
            for bit in range(8):
                file.seek(place)
                file.write(bytes([byte ^ 1 << bit]))
                refused(path, read)
            file.seek(place)
            file.write(bytes([byte]))
    read(path)


def test_a_checkpoint_that_is_cut_anywhere_is_refused(path):
    nn.save(path, nn.ReLU())
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        refused(path)


@pytest.mark.parametrize("name", ["0.weight", "2.bias"])
def test_the_message_names_the_array_that_is_damaged(path, name):
    nn.save(path, model())
    data = bytearray(path.read_bytes())
    data[data.index(model().state_dict()[name].tobytes()) + 1] ^= 4
    path.write_bytes(data)
    assert set(refused_by_both(path)) == {f"its checksum is wrong: it is damaged in {name}"}


def test_the_message_says_that_the_damage_is_in_no_array(path):
    nn.save(path, model())
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x05\x06") + 20] ^= 1  # the length of the zip's comment
    path.write_bytes(data)
    reason = "its checksum is wrong: it is damaged outside of its arrays"
    assert set(refused_by_both(path)) == {reason}


def test_a_zip_with_another_comment_is_refused(path):
    np.savez(path, **model().state_dict())
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"hello"
    assert set(refused_by_both(path)) == {"it is damaged, cut short, or not a .npz file"}


def test_numpy_reads_a_checkpoint(path):
    nn.save(path, model(), {"a": 1})
    with np.load(path) as arrays:
        found = {name: arrays[name] for name in arrays.files if name != "__metadata__"}
    assert same_state(found, model().state_dict())


# ---- files that are made to take memory, or at random ----


def write_deflated(path, arrays):
    """Write a zip without a checksum, as np.savez_compressed does, from bytes of its members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in arrays.items():
            file.writestr(f"{name}.npy", content)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def header(text, version=1):
    """Return the first bytes of a .npy file, with a header that is made up."""
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def state(**changed):
    """Return the members of a checkpoint, some of them replaced."""
    members = {name: npy(array) for name, array in model().state_dict().items()}
    return {**members, **changed}


def test_an_array_that_the_model_has_not_is_not_read(path):
    write_deflated(path, state(more=npy(np.zeros(2**21))))
    assert measured(path, nn.metadata) == {}
    assert "unknown more" in refused_by_load(path)


def test_the_name_of_an_array_in_a_message_does_not_command_the_terminal(path):
    write_deflated(path, state(**{"\x1b[31mé": npy(np.zeros(1))}))
    assert refused_by_load(path).endswith(r"unknown \x1b[31mé")


def test_an_array_of_another_shape_is_not_read(path):
    write_deflated(path, state(**{"0.bias": npy(np.zeros(2**21))}))
    assert "0.bias must have shape (3,), got (2097152,)" in refused_by_load(path)


def test_a_member_that_is_longer_than_its_array_is_not_read(path):
    write_deflated(path, state(**{"0.bias": npy(np.zeros(3)) + bytes(2**24)}))
    assert "0.bias must have 152 bytes, as its header says, got 16777368" in refused_by_load(path)


def test_a_member_that_is_shorter_than_its_array_is_not_read(path):
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n"
    write_deflated(path, state(**{"0.bias": header(text)}))
    assert "0.bias must have 92 bytes, as its header says, got 68" in refused_by_load(path)


def test_a_header_of_gigabytes_is_not_read(path):
    write_deflated(path, state(**{"0.bias": header(b" " * 2**24, version=2)}))
    assert "reading array header" in refused_by_load(path)


WITHOUT_FIELDS = b"{'descr': (), 'fortran_order': False, 'shape': ()}"


@pytest.mark.parametrize(
    "text",
    [b"-" * 4000 + b"1", b"[" * 4000, b"a:\n  b\n c", b"{[]: 1}", b"'''", b"\xff", WITHOUT_FIELDS],
)
def test_a_header_that_python_cannot_read_is_refused(path, text):
    write_deflated(path, state(**{"0.bias": header(text), "__metadata__": header(text)}))
    refused_by_both(path)


def test_metadata_of_gigabytes_are_not_read(path):
    text = b"{'descr': '<U8388608', 'fortran_order': False, 'shape': (), }\n"
    write_deflated(path, {"__metadata__": header(text) + bytes(2**25)})
    most = 2**24
    assert f"metadata must have at most {most} bytes, got {2**25}" in measured(path, refused)


def test_metadata_that_are_no_text_are_refused(path):
    np.savez(path, __metadata__=np.zeros(3))
    assert refused(path) == "metadata must be one text, got shape (3,) and dtype float64"


def test_metadata_that_could_not_be_read_are_not_written(tmp_path, path):
    with pytest.raises(ValueError, match="metadata must have at most 16777216 bytes, got 33554480"):
        nn.save(path, nn.ReLU(), {"long": "x" * 2**23})
    assert list(tmp_path.iterdir()) == []


def test_metadata_are_read_without_the_arrays(path):
    write_deflated(path, state(more=npy(np.zeros(2**21)), __metadata__=npy(np.array('{"a": 1}'))))
    assert measured(path, nn.metadata) == {"a": 1}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_than_numpys_are_refused(path, method):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("__metadata__.npy", npy(np.array("{}")))
    assert f"__metadata__ must be stored or deflated, got type {method}" == refused(path)


@pytest.mark.parametrize("offset", [10**6, 2**62, 2**63])
def test_a_member_that_lies_outside_of_the_file_is_refused(path, offset):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("__metadata__.npy", npy(np.array("{}")))
        file.filelist[0].header_offset = offset
    refused(path)


def test_a_deflated_member_that_is_damaged_is_refused(path):
    write_deflated(path, {"__metadata__": npy(np.array("{}"))})
    data = bytearray(path.read_bytes())
    data[data.index(b".npy") + 4] = 255  # the first byte of what is deflated
    path.write_bytes(data)
    assert refused(path) == "Error -3 while decompressing data: invalid block type"


def damaged_at_random(data, seed):
    """Return bytes with a few of them changed, or without their end."""
    rng = np.random.default_rng(seed)
    if seed % 4 == 0:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    for place in rng.integers(len(data) - 17, size=rng.integers(1, 9)):
        changed[place] ^= rng.integers(1, 256)
    return bytes(changed)


def test_damage_at_random_is_refused_in_little_memory(path):
    nn.save(path, model(), {"a": 1})
    data = path.read_bytes()
    for seed in range(200):
        path.write_bytes(damaged_at_random(data, seed))
        refused_by_both(path)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@pytest.mark.parametrize("checksum", [False, True], ids=["without checksum", "checksum fits"])
def test_damage_that_no_checksum_tells_is_refused_or_changes_nothing(path, checksum):
    nn.save(path, model())
    data = path.read_bytes()
    if not checksum:
        np.savez(path, **model().state_dict())
        data = path.read_bytes()
    for seed in range(200):
        damaged = damaged_at_random(data, seed)
        path.write_bytes(sealed(damaged) if checksum else damaged)
        loaded = model(1)
        try:
            expected = measured(path, lambda path, into=loaded: nn.load(path, into)) and model(0)
        except ValueError as error:
            assert "is not a usable checkpoint: " in str(error)
            expected = model(1)
        assert same_state(loaded.state_dict(), expected.state_dict())


@pytest.mark.parametrize("read", [nn.metadata, load])
@pytest.mark.parametrize(
    "error", [TimeoutError("late"), MemoryError(), PermissionError(1, "no"), KeyboardInterrupt()]
)
def test_an_error_that_no_damage_causes_is_not_taken_for_damage(monkeypatch, path, read, error):
    nn.save(path, model())

    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(np.lib.format, "read_array", fails)
    with pytest.raises(type(error)) as raised:
        read(path)
    assert raised.value is error
