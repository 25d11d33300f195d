"""Checkpoints: what comes back, what survives a crash, what is refused."""

import os
import stat

import numpy as np
import pytest

from bn import nn


def model(seed=0, features=3):
    return nn.Sequential(
        nn.Conv2d(2, features, 3, rng=seed), nn.Flatten(), nn.Linear(features, 2, rng=seed)
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def names(folder):
    return [path.name for path in folder.iterdir()]


def same(a, b):
    return all((a[name] == b[name]).all() for name in a)


@pytest.mark.parametrize("name", ["model.npz", "model", "model.ckpt", "épreuve 1.npz"])
def test_a_model_comes_back_from_the_very_file_that_was_named(tmp_path, name):
    saved, loaded = model(0), model(1)
    nn.save(tmp_path / name, saved)
    assert names(tmp_path) == [name]
    assert nn.load(str(tmp_path / name), loaded) is loaded
    assert same(saved.state_dict(), loaded.state_dict())


def test_metadata_comes_back(path):
    fields = {"epochs": 3, "classes": ["a", "ü"], "mean": [0.5], "nested": {"x": None}}
    nn.save(path, model(), fields)
    assert nn.metadata(path) == fields
    nn.save(path, model())
    assert nn.metadata(path) == {}
    assert same(model(0).state_dict(), nn.load(path, model(1)).state_dict())


def test_a_file_of_savez_is_a_checkpoint(path):
    np.savez(path, **model(0).state_dict())
    assert same(model(0).state_dict(), nn.load(path, model(1)).state_dict())
    assert nn.metadata(path) == {}


def test_a_checkpoint_has_the_permissions_of_any_new_file(tmp_path, path):
    nn.save(path, model())
    (tmp_path / "other").touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.parametrize("broken", ["numpy.savez", "os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_checkpoint_whole_and_nothing_else(
    monkeypatch, tmp_path, path, broken, error
):
    nn.save(path, model(0))
    old = path.read_bytes()

    def fail(*args, **kwargs):
        if broken == "numpy.savez":
            args[0].write(b"half of it")
        raise error

    monkeypatch.setattr(broken, fail)
    with pytest.raises(type(error)):
        nn.save(path, model(1))
    assert path.read_bytes() == old
    assert names(tmp_path) == [path.name]


def test_the_file_is_on_the_disk_before_it_gets_its_name(monkeypatch, path):
    order = []
    fsync, replace = os.fsync, type(path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(type(path), "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    nn.save(path, model())
    assert order == ["fsync", "rename"]


def test_a_missing_file_is_not_found(path):
    with pytest.raises(FileNotFoundError):
        nn.load(path, model())
    with pytest.raises(FileNotFoundError):
        nn.metadata(path)


def test_a_missing_folder_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        nn.save(tmp_path / "none" / "model.npz", model())


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("this is not a checkpoint")


def npy(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def pickled(path):
    path.write_bytes(b"\x80\x04K\x01.")


def truncated(path):
    nn.save(path, model())
    path.write_bytes(path.read_bytes()[:-40])


def half(path):
    nn.save(path, model())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flipped(path):
    nn.save(path, model())
    data = bytearray(path.read_bytes())
    data[data.index(model().state_dict()["0.weight"].tobytes())] ^= 255
    path.write_bytes(data)


def objects(path):
    arrays = model().state_dict()
    np.savez(path, **{**arrays, "0.bias": np.array([{}, 1, 2], object)})


def not_arrays(path):
    import zipfile

    with zipfile.ZipFile(path, "w") as file:
        file.writestr("0.weight", "hello")
        file.writestr("__metadata__", "hello")


def folder(path):
    path.mkdir()


DAMAGED = [empty, text, npy, pickled, truncated, half, folder, not_arrays]


def missing(path):
    arrays = model().state_dict()
    del arrays["0.bias"]
    np.savez(path, **arrays)


def unknown(path):
    np.savez(path, **model().state_dict(), more=np.ones(1))


def other_shape(path):
    nn.save(path, model(features=4))


def words(path):
    np.savez(path, **{**model().state_dict(), "0.bias": np.array(["a", "b", "c"])})


UNFIT = [
    (missing, "missing 0.bias"),
    (unknown, "unknown more"),
    (other_shape, r"0.weight must have shape \(3, 2, 3, 3\), got \(4, 2, 3, 3\)"),
    (words, "0.bias must hold numbers, got dtype <U1"),
]


@pytest.mark.parametrize("damage", [*DAMAGED, flipped, objects])
def test_a_damaged_or_foreign_file_is_refused_by_name_and_changes_nothing(path, damage):
    damage(path)
    loaded = model(1)
    with pytest.raises(ValueError, match=r"model\.npz is not a usable checkpoint: ."):
        nn.load(path, loaded)
    assert same(loaded.state_dict(), model(1).state_dict())


@pytest.mark.parametrize("damage", DAMAGED)
def test_metadata_of_a_damaged_or_foreign_file_is_refused(path, damage):
    damage(path)
    with pytest.raises(ValueError, match=r"model\.npz is not a usable checkpoint: ."):
        nn.metadata(path)


@pytest.mark.parametrize(("make", "message"), UNFIT)
def test_the_state_of_another_model_is_refused_and_changes_nothing(path, make, message):
    make(path)
    loaded = model(1)
    with pytest.raises(ValueError, match=rf"model\.npz is not a usable checkpoint: .*{message}"):
        nn.load(path, loaded)
    assert same(loaded.state_dict(), model(1).state_dict())


@pytest.mark.parametrize("value", ["{", "[1]", "3"])
def test_metadata_that_is_no_json_dict_is_refused(path, value):
    np.savez(path, __metadata__=np.array(value))
    with pytest.raises(ValueError, match=r"model\.npz .* its metadata cannot be read: ."):
        nn.metadata(path)


def test_metadata_that_json_cannot_write_is_refused_before_anything_is_written(tmp_path, path):
    with pytest.raises(TypeError, match="metadata must be a dict or None, got list"):
        nn.save(path, model(), [1])
    with pytest.raises(TypeError, match="not JSON serializable"):
        nn.save(path, model(), {"x": np.ones(1)})
    assert names(tmp_path) == []
