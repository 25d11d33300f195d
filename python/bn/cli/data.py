"""Data sets: scikit-learn's digits, CIFAR-10's binary version and MNIST's IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np

import bn
from bn import _check
from bn.types import Array, Shape

CIFAR_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CIFAR_TEST = "test_batch.bin"
CIFAR_NAMES = "batches.meta.txt"
CIFAR_SHAPE = (3, 32, 32)
# The magic numbers of unsigned bytes with 3 axes and with 1.
IDX_KINDS = {"images-idx3": 0x00000803, "labels-idx1": 0x00000801}
CLASSES = 10  # in each of the three data sets
MOST_INFLATION = 1032  # bytes out of one byte of a gzip file, a limit of its format
PIECE = 2**20  # bytes
# Of white, by which an image may differ from all training images: enlarging an image and making it
# small again takes 0.03 of the contrast of a digit.
TOLERANCE = 0.05
LEAST = 2  # images, since batch normalization cannot train on one


@dataclass(frozen=True)
class Dataset:
    """Training and test images with their labels.

    Attributes
    ----------
    name : str
    classes : tuple of str
    peak : int
        The value of a white pixel: 16 for the digits, 255 for the others.
    x_train, x_test : ndarray of uint8, shape (N, C, H, W)
    y_train, y_test : ndarray of int64, shape (N,)
    """

    name: str
    classes: tuple[str, ...]
    peak: int
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array

    @property
    def shape(self) -> Shape:
        """(C, H, W) of one image."""
        return self.x_train.shape[1:]


@dataclass(frozen=True)
class Pixels:
    """How pixels become a network's input: with the mean and deviation of each channel.

    Attributes
    ----------
    mean, std : tuple of float, length C
        As fractions of a white pixel's value, so that they do not depend on the bits per pixel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: Dataset, chunk: int = 4096) -> Pixels:
        """Measure the training images in chunks, so that no float copy of all is in memory."""
        chunks = (data.x_train[i : i + chunk] for i in range(0, len(data.x_train), chunk))
        stats = bn.merge([bn.stats(x.astype(np.float32)) for x in chunks])
        mean, std = stats.mean / data.peak, np.sqrt(stats.var) / data.peak
        std[std == 0] = 1.0  # a constant channel becomes zero
        return cls(tuple(mean.tolist()), tuple(std.tolist()))

    def to_input(self, x: Array, peak: int, axis: int) -> Array:
        """Convert (N, C, H, W) pixels from 0 to `peak` to float32 with channels on `axis`."""
        mean = np.array(self.mean, np.float32)[:, None, None]
        std = np.array(self.std, np.float32)[:, None, None]
        out: Array = (x.astype(np.float32) / np.float32(peak) - mean) / std
        return out if axis == 1 else np.ascontiguousarray(np.moveaxis(out, 1, -1))


@dataclass(frozen=True)
class Light:
    """The darkest and the lightest training image, and those of the least and most contrast.

    Attributes
    ----------
    brightness, contrast : (float, float)
        Least and largest mean, and least and largest standard deviation, of an image's pixels, as
        fractions of a white pixel's value.
    """

    brightness: tuple[float, float]
    contrast: tuple[float, float]

    @classmethod
    def of(cls, data: Dataset, chunk: int = 4096) -> Light:
        """Measure the training images, in chunks for the same reason as `Pixels.of`."""
        parts = [data.x_train[i : i + chunk] for i in range(0, len(data.x_train), chunk)]
        means, stds = (
            np.concatenate([getattr(x, name)(axis=(1, 2, 3)) for x in parts]) / data.peak
            for name in ("mean", "std")
        )
        return cls((float(means.min()), float(means.max())), (float(stds.min()), float(stds.max())))

    def unlike(self, image: Array) -> list[str]:
        """In which ways an image, (C, H, W) from 0 to 255, is beyond all training images."""
        mean, std = float(image.mean()) / 255, float(image.std()) / 255
        (dark, bright), (flat, sharp) = self.brightness, self.contrast
        comparisons = {
            "darker": mean < dark - TOLERANCE,
            "lighter": mean > bright + TOLERANCE,
            "of less contrast": std < flat - TOLERANCE,
            "of more contrast": std > sharp + TOLERANCE,
        }
        return [words for words, true in comparisons.items() if true]


def load_digits() -> Dataset:
    """Load scikit-learn's 1,797 handwritten digits; every fourth of each class is a test image."""
    from sklearn import datasets

    digits = datasets.load_digits()
    x = digits.images.astype(np.uint8)[:, None]  # (N, 1, 8, 8), 0..16
    y = digits.target.astype(np.int64)
    test = np.zeros(len(y), bool)
    test[np.argsort(y, kind="stable")[::4]] = True
    names = tuple(str(name) for name in digits.target_names)
    return Dataset("digits", names, 16, x[~test], y[~test], x[test], y[test])


def load_folder(path: Path) -> Dataset:
    """Load CIFAR-10's binary version or MNIST's IDX files, whichever the folder has.

    Raises
    ------
    ValueError
        A file is missing, or does not have the format that its name tells. The message names the
        file, what was expected and what was found.
    OSError
        A file cannot be read.
    """
    _check.existing_folder(path)
    found = {entry.name.removesuffix(".gz") for entry in path.iterdir()}
    cifar = {*CIFAR_TRAIN, CIFAR_TEST, CIFAR_NAMES}
    mnist = {f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in IDX_KINDS}
    _check.known_files(path, found & (cifar | mnist))
    if found & cifar:
        _check.no_file_missing(path, {name for name in cifar if not (path / name).is_file()})
        return load_cifar(path)
    _check.no_file_missing(path, mnist - found)
    return load_mnist(path)


def load_cifar(path: Path) -> Dataset:
    """Load CIFAR-10's binary version: records of one label byte and 3 x 32 x 32 pixel bytes."""
    text = (path / CIFAR_NAMES).read_text(encoding="utf-8", errors="replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    _check.class_count(path / CIFAR_NAMES, len(names), CLASSES)
    batches = [read_cifar(path / name) for name in CIFAR_TRAIN]
    x_train = np.concatenate([x for x, _ in batches])
    y_train = np.concatenate([y for _, y in batches])
    x_test, y_test = read_cifar(path / CIFAR_TEST)
    _check.image_count(path / CIFAR_TEST, len(x_test), LEAST)
    return Dataset("CIFAR-10", names, 255, x_train, y_train, x_test, y_test)


def read_cifar(path: Path) -> tuple[Array, Array]:
    """Read the images, (N, 3, 32, 32), and the labels, (N,), of one file."""
    record = 1 + int(np.prod(CIFAR_SHAPE))
    raw = np.fromfile(path, np.uint8)
    _check.whole_records(path, raw.size, record)
    rows = raw.reshape(-1, record)
    _check.label_range(path, rows[:, 0], CLASSES)
    return rows[:, 1:].reshape(-1, *CIFAR_SHAPE), rows[:, 0].astype(np.int64)


def load_mnist(path: Path) -> Dataset:
    """Load MNIST's or Fashion-MNIST's four IDX files, plain or gzipped."""
    train, test = read_mnist(path, "train"), read_mnist(path, "t10k")
    image_size = train[0].shape[2:]
    _check.image_size(idx_path(path, "t10k-images-idx3-ubyte"), test[0].shape[2:], image_size)
    return Dataset("MNIST", tuple(map(str, range(CLASSES))), 255, *train, *test)


def read_mnist(path: Path, part: str) -> tuple[Array, Array]:
    """Read the images, (N, 1, H, W), and the labels, (N,), of one of the two parts."""
    images_path = idx_path(path, f"{part}-images-idx3-ubyte")
    labels_path = idx_path(path, f"{part}-labels-idx1-ubyte")
    images = read_idx(images_path, IDX_KINDS["images-idx3"])
    labels = read_idx(labels_path, IDX_KINDS["labels-idx1"])
    _check.same_count(images_path, len(images), labels_path, len(labels))
    _check.image_count(images_path, len(images), LEAST)
    _check.label_range(labels_path, labels, CLASSES)
    return images[:, None], labels.astype(np.int64)


def idx_path(path: Path, name: str) -> Path:
    """The path of the plain file if there is one, else that of the gzipped file."""
    plain = path / name
    return plain if plain.exists() else path / f"{name}.gz"


def read_idx(path: Path, magic: int) -> Array:
    """Read an IDX file: magic number, a big-endian uint32 for each axis, unsigned bytes."""
    _check.regular_file(path)
    axes = magic & 0xFF
    header = 4 + 4 * axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(header)
            _check.idx_magic(path, head[:4], magic)
            _check.idx_header(path, len(head), header)
            sizes = tuple(int(n) for n in np.frombuffer(head, ">u4", axes, offset=4))
            _check.idx_sizes(path, sizes)
            check_idx_size(path, sizes, header)
            body = np.empty(math.prod(sizes), np.uint8)
            got = fill(body, file)
            _check.idx_body(path, sizes, "more" if file.read(1) else got)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _check.incomplete_gzip(path, error) from error
    return body.reshape(sizes)


def check_idx_size(path: Path, sizes: Shape, header: int) -> None:
    """Check, before memory is taken, that an IDX file can hold what its header says."""
    size = path.stat().st_size
    if path.suffix != ".gz":
        _check.idx_body(path, sizes, size - header)
    elif math.prod(sizes) > size * MOST_INFLATION:
        _check.idx_body(path, sizes, f"a gzip file of {size} bytes")


def fill(body: Array, file: BufferedIOBase) -> int:
    """Read bytes into an array, in pieces that take little memory; return how many there were."""
    got = 0
    while piece := file.read(min(PIECE, body.size - got)):
        body[got : got + len(piece)] = np.frombuffer(piece, np.uint8)
        got += len(piece)
    return got
