"""These helpers write checkpoints of a small model, and files that are damaged or foreign."""

import io
import pathlib
import zipfile

import numpy as np

from bn import nn


def model(seed=0, features=3):
    return nn.Sequential(
        nn.Conv2d(2, features, 3, rng=seed), nn.Flatten(), nn.Linear(features, 2, rng=seed)
    )


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


def header(path, text):
    """Write a checkpoint whose arrays start with a header that is made up."""
    member = io.BytesIO()
    np.lib.format.write_array(member, np.zeros(1))
    magic = member.getvalue()[:8]
    body = magic + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(path, "w") as file:
        for name in ("0.weight.npy", "__metadata__.npy"):
            file.writestr(name, body)


def huge(path):
    header(path, "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}\n")


def overflowing(path):
    header(path, "{'descr': '<f8', 'fortran_order': False, 'shape': (10**30,)}\n")


def brackets(path):
    header(path, "[[[[\n")


def not_arrays(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("0.weight", "hello")
        file.writestr("__metadata__", "hello")


def folder(path):
    path.mkdir()


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


DAMAGED = [empty, text, npy, pickled, truncated, half, folder, not_arrays]
DAMAGED += [huge, overflowing, brackets]


UNFIT = [
    (missing, "missing 0.bias"),
    (unknown, "unknown more"),
    (other_shape, r"0.weight must have shape \(3, 2, 3, 3\), got \(4, 2, 3, 3\)"),
    (words, "0.bias must hold numbers, got dtype <U1"),
]


class Touches:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)
