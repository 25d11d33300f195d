"""Convolutions of a random sample of shapes and options are those of PyTorch, forward and backward.

The sample is drawn with a fixed seed so that it has every value of every option.
"""

import itertools
from dataclasses import astuple, dataclass

import numpy as np
import pytest
from gradcheck import gradcheck
from test_nn_memory_order import ORDERS, in_order

from bn import nn

CHANNELS = [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70]
VALUES = {
    "groups": ["one", "several", "depthwise"],
    "inputs": CHANNELS,
    "outputs": CHANNELS,
    "kernel": [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 3), (3, 2), (5, 1), (2, 4)],
    "stride": [(1, 1), (2, 2), (3, 3), (1, 2), (3, 1)],
    "padding": [(0, 0), (1, 1), (2, 2), (0, 1), (2, 0)],
    "dilation": [(1, 1), (2, 2), (1, 2), (3, 1)],
    "bias": [True, True, True, False],
    "batch": [1, 2, 3],
    "beyond": [(0, 0), (3, 5), (8, 2), (11, 11)],  # the pixels beyond the smallest image
    "dtype": ["float32", "float64"],
    "order": ["channels-first", "channels-last"],
    "axis": [1, 1, -1],
}
COUNT = 150


@dataclass(frozen=True)
class Case:
    """One value of each option."""

    groups: str
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    bias: bool
    batch: int
    beyond: tuple[int, int]
    dtype: str
    order: str
    axis: int

    def options(self):
        """Return what Conv2d takes, in its order; the number of groups has to fit the channels."""
        inputs, outputs, groups = self.inputs, self.outputs, 1
        if self.groups == "depthwise":
            outputs, groups = inputs * (1 + outputs % 2), inputs
        elif self.groups == "several":
            groups = 2 + (inputs + outputs) % 3
            inputs, outputs = (-(-n // groups) * groups for n in (inputs, outputs))
        rest = (self.kernel, self.stride, self.padding, self.dilation, groups, self.bias)
        return inputs, outputs, *rest

    def size(self):
        """Return the height and width of the images."""
        reach = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        smallest = (max(1, n - 2 * p) for n, p in zip(reach, self.padding, strict=True))
        return tuple(n + m for n, m in zip(smallest, self.beyond, strict=True))

    def layer(self, dtype):
        return nn.Conv2d(*self.options(), axis=self.axis, dtype=dtype, rng=0)

    def images(self, channels, size, seed, dtype):
        """Return random images, (N, C, H, W), that lie in memory in the order of the case."""
        shape = (self.batch, channels, *size)
        images = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
        return in_order(images, ORDERS[self.order])

    def turned(self, images):
        """Return images of shape (N, C, H, W) as the layer takes them."""
        return images if self.axis == 1 else images.transpose(0, 2, 3, 1)

    def __str__(self):
        return "-".join(map(str, astuple(self)))


def sample():
    """Draw each option by itself: its values in turn, in a random order."""
    rng = np.random.default_rng(2026)
    columns = []
    for values in VALUES.values():
        indices = np.resize(np.arange(len(values)), COUNT)
        columns.append([values[i] for i in rng.permutation(indices)])
    return [Case(*row) for row in zip(*columns, strict=True)]


CASES = sample()


def test_the_sample_has_every_value_of_every_option():
    assert len(set(CASES)) == COUNT
    for name, values in VALUES.items():
        assert {getattr(case, name) for case in CASES} == set(values)
    for one in CHANNELS:  # with each number of channels, every kind of groups
        found = {case.groups for case in CASES if one in (case.inputs, case.outputs)}
        assert found == set(VALUES["groups"])
    kinds = set(itertools.product(VALUES["groups"], VALUES["dtype"], VALUES["order"]))
    assert {(case.groups, case.dtype, case.order) for case in CASES} == kinds


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_a_sample_of_convolutions_has_the_right_gradients(case):
    layer = case.layer(np.float64)
    x = case.images(layer.in_channels, case.size(), 1, np.float64)
    gradcheck(layer, case.turned(x), entries=12)


def assert_close(found, exact, squares, name):
    """Of K terms with root mean square r, |error| ≤ c √K r; `squares` is K r².

    In float64 PyTorch's own rounding is part of the error.
    """
    assert found.shape == exact.shape
    c = 2e-6 if found.dtype == np.float32 else 1e-14
    excess = np.abs(found - exact) - c * np.sqrt(squares)
    assert (excess <= 0).all(), f"{name}: {np.abs(found - exact).max()}"


@pytest.fixture
def one_thread(torch):
    """PyTorch's threads would wait for each other much longer than these small sums take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parity
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sample_of_convolutions_equals_pytorch(torch, case):
    """PyTorch computes in float64, also for the bounds: each product squared."""
    layer = case.layer(case.dtype)
    x = case.images(layer.in_channels, case.size(), 1, case.dtype)
    y = layer(case.turned(x))
    size = layer.output_shape(case.turned(x).shape[1:])
    size = size[1:] if case.axis == 1 else size[:2]
    dy = case.images(layer.out_channels, size, 2, case.dtype)
    dx = layer.backward(case.turned(dy))
    found = {"y": y, "dx": dx, **{n: p.grad for n, p in layer.named_parameters()}}
    assert {a.dtype for a in found.values()} == {np.dtype(case.dtype)}
    exact, squares = (in_pytorch(torch, case, layer, x, dy, power) for power in (1, 2))
    assert found.keys() == exact.keys()
    for name, values in found.items():
        turn = case.turned if name in ("y", "dx") else np.asarray
        assert_close(values, turn(exact[name]), turn(squares[name]), name)


def in_pytorch(torch, case, layer, x, dy, power):
    """Return PyTorch's results for all values to this power."""
    theirs = torch.nn.Conv2d(*case.options(), dtype=torch.float64)
    state = {n: a.astype(np.float64) ** power for n, a in layer.state_dict().items()}
    theirs.load_state_dict({n: torch.tensor(a) for n, a in state.items()})
    tx = torch.tensor(x.astype(np.float64) ** power, requires_grad=True)
    y = theirs(tx)
    y.backward(torch.tensor(dy.astype(np.float64) ** power))
    grads = {n: p.grad.numpy() for n, p in theirs.named_parameters()}
    return {"y": y.detach().numpy(), "dx": tx.grad.numpy(), **grads}
