"""The fuzz's table of the training loop, each entry with its answer in float64."""

import tempfile
from pathlib import Path

import numpy as np
from fuzz_arrays import BAD_NUMBERS, IN_PLACE, WIDE, normal
from fuzz_law import Case, close, entries, wide
from fuzz_nn import BAD_COUNT, BAD_INPUT

import bn
from bn import nn

TABLE = {}
fuzzed = entries(TABLE)

BAD_CLASSES = [
    None,
    lambda y: y[:-1],
    lambda y: y + 100,
    lambda y: y.astype(str),
    lambda y: y[:, None, None],
    lambda y: np.ma.masked_array(y, np.ones(y.shape, bool)),
]
BAD_FLAGS = [3, "yes", None, 1.0]


def classes_of(draw, n):
    return draw.rng.integers(0, 3, n)


def linear(features, dtype):
    return nn.Sequential(nn.Linear(features, 3, rng=0, dtype=dtype))


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def descend(weight, bias, x, y, lr):
    """Take one step of gradient descent on the mean cross-entropy."""
    d = (softmax(x @ weight.T + bias) - np.eye(3)[y]) / len(x)
    return weight - lr * d.T @ x, bias - lr * d.sum(0)


@fuzzed("fit", "BatchLoader")
def fit(draw):
    n, features, dtype = draw.pick([1, 2, 5, 9]), draw.pick([1, 3]), draw.pick(WIDE)
    x, y = draw.array((n, features), dtype, [normal], IN_PLACE), classes_of(draw, n)
    size, parts, lr = draw.pick([1, 2, 4, 20]), draw.pick([1, 2, 3]), 0.25

    def check(model):
        (weight, bias), rng = (wide(p.data) for p in linear(features, dtype).parameters()), None
        rng = np.random.default_rng(5)
        for _ in range(2):
            order = rng.permutation(n)
            for begin in range(0, n, size * parts):
                rows = order[begin : begin + size * parts]
                weight, bias = descend(weight, bias, wide(x)[rows], y[rows], lr)
        for found, expected in zip(model.parameters(), (weight, bias), strict=True):
            close(found.data, expected, 1 + np.abs(expected), "parameters", factor=100)

    def call(x, y, epochs, batch_size, accumulate, progress):
        model = linear(features, dtype)
        optimizer = nn.SGD(model.parameters(), lr=lr)
        nn.fit(
            model, (x, y), epochs=epochs, batch_size=batch_size, accumulate=accumulate, rng=5,
            optimizer=optimizer, progress=progress,
        )  # fmt: skip
        return model

    given = {"x": x, "y": y, "epochs": 2, "batch_size": size, "accumulate": parts}
    case = Case(call, {**given, "progress": False}, check, said=("target", "targets", "class"))
    return case.spoil(
        draw, x=BAD_INPUT, y=BAD_CLASSES, epochs=BAD_COUNT, batch_size=BAD_COUNT,
        accumulate=BAD_COUNT, progress=BAD_FLAGS,
    )  # fmt: skip


@fuzzed("evaluate")
def evaluate(draw):
    n, dtype = draw.pick([1, 2, 5, 9]), draw.pick(WIDE)
    x, y = draw.array((n, 4), dtype, [normal], IN_PLACE), classes_of(draw, n)
    model = linear(4, dtype).eval()
    z = wide(x) @ wide(model[0].weight.data).T + wide(model[0].bias.data)
    loss = -np.mean(np.log(softmax(z)[np.arange(n), y]))

    def check(found):
        assert set(found) == {"loss", "accuracy"}
        close(found["loss"], loss, 1 + np.abs(z).max(), "loss", factor=1e5)
        top = np.sort(z, 1)
        if (top[:, -1] - top[:, -2]).min() > 1e-4:
            assert np.isclose(found["accuracy"], np.mean(z.argmax(1) == y), rtol=1e-12)

    def call(x, y, batch_size, metrics):
        return nn.evaluate(model, x, y, batch_size=batch_size, metrics=metrics)

    given = {"x": x, "y": y, "batch_size": draw.pick([1, 2, 20]), "metrics": ("accuracy",)}
    case = Case(call, given, check, said=("target", "targets", "class"))
    bad = ["accuracy", ("f1",), 3, (3,)]
    return case.spoil(draw, x=BAD_INPUT, y=BAD_CLASSES, batch_size=BAD_COUNT, metrics=bad)


@fuzzed("save_training", "load_training")
def training_file(draw):
    """A file brings back a model, an optimizer, a loader and whatever is put beside them."""
    dtype = draw.pick(WIDE)
    extra = draw.pick([{}, {"a": [1, (2.5, None)], "b": {"c": True}}, {"d": np.float32(0.1)}])

    def make(seed):
        norm = bn.BatchNorm1d(3, dtype=dtype)
        model = nn.Sequential(nn.Linear(2, 3, rng=seed, dtype=dtype), norm, nn.Dropout(rng=seed))
        x = np.random.default_rng(seed).standard_normal((20, 2)).astype(dtype)
        loader = nn.BatchLoader(x, np.arange(20) % 3, 7, rng=seed)
        return model, nn.Adam(model.parameters()), loader

    def state(model, optimizer, loader):
        return repr([model.state_dict(), optimizer.state_dict(), loader.state_dict()])

    one, other = make(1), make(2)
    nn.fit(one[0], one[2], optimizer=one[1], epochs=2, progress=False)

    def call(model, extra):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.npz"
            nn.save_training(path, model, one[1], loader=one[2], extra=extra)
            return nn.load_training(path, other[0], other[1], loader=other[2])

    def check(found):
        assert found == extra and state(*other) == state(*one)

    case = Case(call, {"model": one[0], "extra": extra}, check)
    bad = [3, "a", {"a": {1}}, {1: 2}, {"a": 1j}, {"a": np.array([{}])}, {"$array": "a"}]
    return case.spoil(draw, model=[None, 3, *BAD_NUMBERS[:3]], extra=bad)
