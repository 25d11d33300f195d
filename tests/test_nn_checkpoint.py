"""These tests are of what comes back from a checkpoint, survives a crash, or is refused."""

import errno
import os
import pathlib
import shutil
import stat
import sys
import tempfile

import numpy as np
import pytest
from arrays import same_state
from nn_files import DAMAGED, UNFIT, Touches, flipped, model, objects

from bn import nn


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("name", ["model.npz", "model", "model.ckpt", "épreuve 1.npz"])
def test_a_model_comes_back_from_the_very_file_that_was_named(tmp_path, name):
    saved, loaded = model(0), model(1)
    nn.save(tmp_path / name, saved)
    assert names(tmp_path) == [name]
    assert nn.load(str(tmp_path / name), loaded) is loaded
    assert same_state(saved.state_dict(), loaded.state_dict())


def test_the_metadata_of_a_checkpoint_comes_back(path):
    fields = {"epochs": 3, "classes": ["a", "ü"], "mean": [0.5], "nested": {"x": None}}
    nn.save(path, model(), fields)
    assert nn.metadata(path) == fields
    nn.save(path, model())
    assert nn.metadata(path) == {}
    np.savez(path, __metadata__=np.array("null"))
    assert nn.metadata(path) == {}
    nn.save(path, model())
    assert same_state(model(0).state_dict(), nn.load(path, model(1)).state_dict())


def test_a_file_of_numpys_savez_is_a_checkpoint(path):
    np.savez(path, **model(0).state_dict())
    assert same_state(model(0).state_dict(), nn.load(path, model(1)).state_dict())
    assert nn.metadata(path) == {}


def test_a_checkpoint_has_the_permissions_of_any_new_file(tmp_path, path):
    nn.save(path, model())
    (tmp_path / "other").touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.parametrize(
    "broken", ["numpy.lib.format.write_array", "os.fsync", "pathlib.Path.replace"]
)
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_checkpoint_whole_and_nothing_else(
    monkeypatch, tmp_path, path, broken, error
):
    nn.save(path, model(0))
    old = path.read_bytes()

    def fail(*args, **kwargs):
        if broken == "numpy.lib.format.write_array":
            args[0].write(b"half of it")
        raise error

    monkeypatch.setattr(broken, fail)
    with pytest.raises(type(error)):
        nn.save(path, model(1))
    assert path.read_bytes() == old
    assert names(tmp_path) == [path.name]


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(monkeypatch, path):
    order = []
    fsync, replace = os.fsync, type(path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), fsync(fd)))
    monkeypatch.setattr(type(path), "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    nn.save(path, model())
    assert order == ["fsync", "rename"]


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "kwds"])
def test_a_parameter_of_any_name_is_saved(path, name):
    def module(value):
        layer = nn.Module()
        setattr(layer, name, nn.Parameter(np.full(2, value)))
        return layer

    nn.save(path, module(1.0))
    loaded = nn.load(path, module(0.0))
    np.testing.assert_array_equal(getattr(loaded, name), [1, 1])


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_saving_to_a_link_writes_the_file_behind_it(tmp_path, path):
    behind = tmp_path / "runs" / "17.npz"
    behind.parent.mkdir()
    path.symlink_to(behind)
    for seed in (0, 1):  # the file is made, then replaced
        nn.save(path, model(seed))
        assert path.is_symlink() and names(behind.parent) == ["17.npz"]
        assert same_state(model(seed).state_dict(), nn.load(behind, model(2)).state_dict())


def test_a_failed_save_names_the_file_that_was_asked_for(path):
    path.mkdir()
    with pytest.raises(OSError) as error:
        nn.save(path, model())
    assert error.value.filename == str(path) and error.value.filename2 is None
    path = path / "none" / "model.npz"
    with pytest.raises(FileNotFoundError) as error:
        nn.save(path, model())
    assert error.value.filename == str(path)


@pytest.mark.parametrize("call", [nn.save, nn.load])
def test_only_modules_are_saved_and_loaded(tmp_path, path, call):
    with pytest.raises(TypeError, match="model must be of type Module, got NoneType"):
        call(path, None)
    assert names(tmp_path) == []


def test_loading_a_missing_checkpoint_says_that_it_is_not_found(path):
    with pytest.raises(FileNotFoundError):
        nn.load(path, model())
    with pytest.raises(FileNotFoundError):
        nn.metadata(path)


def test_saving_into_a_missing_folder_says_that_it_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        nn.save(tmp_path / "none" / "model.npz", model())


@pytest.mark.parametrize("damage", [*DAMAGED, flipped, objects])
def test_a_damaged_or_foreign_checkpoint_is_refused_by_name_and_changes_nothing(path, damage):
    damage(path)
    loaded = model(1)
    with pytest.raises(ValueError, match=r"model\.npz is not a usable checkpoint: ."):
        nn.load(path, loaded)
    assert same_state(loaded.state_dict(), model(1).state_dict())


@pytest.mark.parametrize("damage", DAMAGED)
def test_metadata_of_a_damaged_or_foreign_file_is_refused(path, damage):
    damage(path)
    with pytest.raises(ValueError, match=r"model\.npz is not a usable checkpoint: ."):
        nn.metadata(path)


def test_no_pickle_in_a_checkpoint_is_ever_run(tmp_path, path):
    touched = tmp_path / "touched"
    pickles = np.array([Touches(touched)])
    np.savez(path, **{**model().state_dict(), "0.bias": pickles, "__metadata__": pickles})
    for read in (nn.metadata, lambda path: nn.load(path, model())):
        with pytest.raises(ValueError, match="is not a usable checkpoint"):
            read(path)
    assert not touched.exists()


@pytest.mark.parametrize(("make", "message"), UNFIT)
def test_the_state_of_another_model_is_refused_and_changes_nothing(path, make, message):
    make(path)
    loaded = model(1)
    with pytest.raises(ValueError, match=rf"model\.npz is not a usable checkpoint: .*{message}"):
        nn.load(path, loaded)
    assert same_state(loaded.state_dict(), model(1).state_dict())


def test_the_file_of_a_training_is_pointed_to_load_training(path):
    nn.save_training(path, model(0))
    with pytest.raises(ValueError, match=r"a file of save_training, of which nn.load_training re"):
        nn.load(path, model(1))


@pytest.mark.parametrize("value", ["{", "[1]", "3", "[]", "[" * 100_000])
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe in a folder")
def test_saving_replaces_nothing_that_is_no_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="pipe must be a file, got a device, a pipe or a socket"):
        nn.save(pipe, nn.ReLU())
    assert pipe.is_fifo()


def test_a_file_of_mode_0600_keeps_its_mode(path):
    path.touch()
    for mode in (0o600, 0o444):
        path.chmod(mode)
        nn.save(path, model())
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_file_behind_a_link_keeps_its_mode(tmp_path, path):
    behind = tmp_path / "behind.npz"
    behind.touch(0o600)
    path.symlink_to(behind)
    nn.save(path, model())
    assert stat.S_IMODE(behind.stat().st_mode) == 0o600


def test_nobody_else_can_open_a_private_checkpoint_while_it_is_written(monkeypatch, tmp_path, path):
    path.touch(0o600)
    modes = []

    def look(*args, **kwargs):
        (temporary,) = tmp_path.glob(".bn-*.tmp")
        modes.append(stat.S_IMODE(temporary.stat().st_mode))

    monkeypatch.setattr(type(path), "chmod", look)  # before the mode is set
    monkeypatch.setattr(np.lib.format, "write_array", look)
    nn.save(path, nn.ReLU())
    assert modes == [0o600, 0o600]


@pytest.mark.parametrize("name", ["x" * 240, "x" * 236 + ".npz"])
def test_a_name_of_240_bytes_can_be_saved(tmp_path, name):
    nn.save(tmp_path / name, model())
    assert names(tmp_path) == [name]


def test_a_name_that_is_too_long_is_named_in_the_error(tmp_path):
    path = tmp_path / ("x" * 300)
    with pytest.raises(OSError) as error:
        nn.save(path, model())
    assert error.value.filename == str(path) and error.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("broken", ["numpy.lib.format.write_array", "os.fsync"])
def test_a_full_disk_is_an_error_of_the_file_that_was_asked_for(
    monkeypatch, tmp_path, path, broken
):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(broken, full)
    with pytest.raises(OSError, match="No space left on device: ") as error:
        nn.save(path, model())
    assert error.value.filename == str(path) and error.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_a_file_that_may_not_grow_is_an_error_of_the_file_that_was_asked_for(tmp_path, path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = nn.Linear(500, 500)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError) as error:
            nn.save(path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(path) and error.value.errno == errno.EFBIG
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_that_leads_to_itself_is_an_os_error(tmp_path, path):
    path.symlink_to("other.npz")
    (tmp_path / "other.npz").symlink_to(path.name)
    for call in (nn.save, nn.load):
        with pytest.raises(OSError) as error:
            call(path, model())
        assert error.value.errno == errno.ELOOP and error.value.filename == str(path)
    assert path.is_symlink() and len(names(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="has other users")
def test_a_folder_that_cannot_be_written_is_an_error_of_the_file_that_was_asked_for():
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder).chmod(0o555)
        path, user = f"{folder}/model.npz", os.geteuid()
        if user == 0:  # who may write everywhere
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError) as error:
                nn.save(path, model())
        finally:
            os.seteuid(user)
        assert error.value.filename == path
        assert names(pathlib.Path(folder)) == []


def test_a_folder_that_is_removed_during_a_save_is_an_error_of_the_file(monkeypatch, path):
    path = path / "model.npz"
    path.parent.mkdir()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), shutil.rmtree(path.parent)))
    with pytest.raises(FileNotFoundError) as error:
        nn.save(path, model())
    assert error.value.filename == str(path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a working folder that is gone")
def test_a_working_folder_that_is_gone_is_an_error_of_the_file(monkeypatch, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(FileNotFoundError) as error:
        nn.save("model.npz", model())
    assert error.value.filename == "model.npz"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe in a folder")
@pytest.mark.parametrize("read", [nn.metadata, lambda path: nn.load(path, model())])
def test_reading_waits_for_no_pipe(tmp_path, soon, read):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="pipe must be a file, got a device, a pipe or a socket"):
        read(pipe)
