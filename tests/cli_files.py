"""These helpers write small data folders as CIFAR-10 and MNIST have them, and run the command."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer"]
CIFAR_CLASSES += ["dog", "frog", "horse", "ship", "truck"]


def run_bn(*args, cwd=None):
    """Run `python -m bn ...` in a process of its own."""
    return run_python("-m", "bn", *args, cwd=cwd)


def run_python(*args, cwd=None):
    """Run Python in a process of its own, and return the process with its output as text."""
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def environment():
    """Return the environment of the tests, with the folders on sys.path as absolute paths."""
    folders = [str(Path(folder).resolve()) for folder in sys.path if folder]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONIOENCODING": "utf-8"}


def write_cifar(folder, per_file=4, seed=0):
    """Write all seven files; the images of class k are bright in channel k % 3."""
    rng = np.random.default_rng(seed)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for name in names:
        labels = rng.integers(0, 10, per_file, dtype=np.uint8)
        pixels = rng.integers(0, 100, (per_file, 3, 1024), dtype=np.uint8)
        pixels[np.arange(per_file), labels % 3] += 100
        rows = np.hstack([labels[:, None], pixels.reshape(per_file, 3072)])
        (folder / name).write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_CLASSES) + "\n\n")
    return folder


def idx(array):
    """Return the bytes of an IDX file of unsigned bytes."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def mnist_arrays(n_train=20, n_test=10, size=(8, 8), seed=0):
    rng = np.random.default_rng(seed)
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (n_train, *size), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(n_train, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (n_test, *size), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(n_test, dtype=np.uint8) % 10,
    }


def write_mnist(folder, packed=False, **sizes):
    for name, array in mnist_arrays(**sizes).items():
        content = idx(array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder
