"""The readers of files, attacked by atheris, a fuzzer that is guided by coverage.

    pip install atheris
    python tests/fuzz_readers.py checkpoint -max_total_time=600 -rss_limit_mb=2048

The first argument chooses a reader, the others are libFuzzer's. It begins with small files that are
good. A reader may raise what it documents; anything else, or too much memory, ends the run.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["bn", "zipfile", "gzip", "json"]):
    import bn
    from bn import keras, nn
    from bn.cli import data, predict
    from bn.cli.failure import Failure

DOCUMENTED = (ValueError, OSError, Failure)
FOLDER = Path(tempfile.mkdtemp())


def model():
    return nn.Sequential(nn.Linear(3, 2, rng=0), nn.ReLU())


def arrays():
    return np.ones((3, 2)), np.arange(3), np.zeros(2, np.float16)


def checkpoint(path):
    """Read metadata, then the state of a small model."""
    nn.metadata(path)
    nn.load(path, model())


def training(path):
    """Read what a small model, its optimizer and its data need to go on."""
    net = model()
    loader = nn.BatchLoader(np.zeros((4, 3), np.float32), np.zeros(4, int), 2, rng=0)
    nn.load_training(path, net, nn.Adam(net.parameters()), loader=loader)


def keras_model():
    layers = keras.layers
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Add()([inputs, layers.Dense(3)(inputs)]))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def keras_file(path):
    """Read a model of Keras, whatever its layers are."""
    keras.models.load_model(path)


def weights(path):
    """Read all arrays, and the weights of a small model."""
    bn.load_state(path)
    keras_model().load_weights(path)


def idx(path):
    data.read_idx(path, data.IDX_KINDS["images-idx3"])


def image(path):
    predict.read_image(path, (1, 8, 8))


def onnx(path):
    """Make a model of a file of ONNX."""
    bn.onnx.load(path)


# Of each reader, the ending of its files, and some that are good.
READERS = {
    "checkpoint": (checkpoint, ".npz"),
    "training": (training, ".npz"),
    "keras": (keras_file, ".keras"),
    "idx": (idx, "-ubyte"),
    "idx.gz": (idx, "-ubyte.gz"),
    "cifar": (data.read_cifar, ".bin"),
    "image": (image, ".png"),
    "safetensors": (bn.load_state, ".safetensors"),
    "npz": (bn.load_state, ".npz"),
    "weights.h5": (weights, ".weights.h5"),
    "onnx": (onnx, ".onnx"),
}


def seeds(name):
    """Write good files of a reader to a folder, and return it."""
    folder = FOLDER / "seeds"
    folder.mkdir()
    path = folder / f"seed{READERS[name][1]}"
    if name == "checkpoint":
        nn.save(path, model(), {"epochs": 3})
        np.savez(folder / "unsigned.npz", **model().state_dict())  # no checksum stops the fuzzer
    elif name == "training":
        net = model()
        loader = nn.BatchLoader(np.zeros((4, 3), np.float32), np.zeros(4, int), 2, rng=0)
        nn.save_training(path, net, nn.Adam(net.parameters()), loader=loader)
        with np.load(path) as found:
            np.savez(folder / "unsigned.npz", **found)
    elif name == "keras":
        keras_model().save(path)
    elif name == "cifar":
        path.write_bytes(bytes([3]) + bytes(3072))
    elif name in ("safetensors", "npz", "weights.h5"):
        bn.save_state(path, {f"layers/dense/vars/{i}": a for i, a in enumerate(arrays())})
        if name == "npz":
            np.savez(folder / "unsigned.npz", *arrays())
        if name == "weights.h5":
            keras_model().save_weights(folder / "model.weights.h5")
    elif name == "onnx":
        net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten())
        bn.onnx.export(net, path, (1, 4, 4))
        bn.onnx.export(nn.LSTM(3, 2, return_state=False, rng=0), folder / "lstm.onnx", (2, 3))
    elif name == "image":
        from PIL import Image

        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    else:
        import gzip

        body = np.array([0x803, 2, 2, 2], ">u4").tobytes() + bytes(8)
        path.write_bytes(gzip.compress(body) if name == "idx.gz" else body)
    return folder


def main():
    """Attack one reader."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"which reader? one of {', '.join(READERS)}")
    name = sys.argv.pop(1)
    reader, ending = READERS[name]
    path = FOLDER / f"attacked{ending}"

    def attack(content):
        path.write_bytes(content)
        with suppress(DOCUMENTED):
            reader(path)

    atheris.Setup([*sys.argv, str(seeds(name))], attack)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
