"""The summary is a table of layers, output shapes and parameter counts."""

import numpy as np
import pytest

import bn
from bn import nn
from bn.summary import summary


class Scale(nn.Module):
    """It has a buffer and a counter, which are made when its input's shape is known."""

    buffer_names = ("mean", "num_batches_tracked")
    mean = num_batches_tracked = None

    def build(self, input_shape):
        self.scale = nn.Parameter(np.ones(input_shape[0]))
        self.mean = np.zeros(input_shape[0])
        self.num_batches_tracked = np.array(0)


class Halved(nn.Module):
    """It has a forward pass that changes the shape."""

    def forward(self, x):
        return x[:, ::2]


@pytest.mark.parametrize("base", [nn.Module, nn.Sequential, nn.Residual])
def test_the_forward_of_a_model_tells_its_output_shape(base):
    class Net(base):
        forward = Halved.forward

    net = Net(nn.ReLU()) if base is nn.Residual else Net()
    assert net.output_shape((4,)) == (2,)
    assert "(None, 2)" in summary(net, (4,))
    assert "(None, 2)" in summary(nn.Sequential(net), (4,))


def test_a_layer_with_a_backward_of_its_own_needs_an_output_shape_of_its_own():
    class Net(Halved):
        def backward(self, dy):
            return np.repeat(dy, 2, axis=1)

    net = Net()
    for use in (net.summary, net.output_shape, nn.Sequential(nn.ReLU(), net).build):
        with pytest.raises(
            NotImplementedError, match=r"Net must define output_shape\(input_shape\)"
        ):
            use((4,))
    Net.output_shape = lambda self, input_shape: (input_shape[0] // 2,)
    assert "(None, 2)" in summary(nn.Sequential(net), (4,))


def model():
    return nn.Sequential(
        nn.Conv2d(3, 1000, 1, rng=0),
        Scale(),
        nn.Residual(nn.Sequential(nn.ReLU()), nn.Conv2d(1000, 1000, 1, groups=1000, rng=0)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1000, 2, rng=0),
    )


TABLE = """\
Model: Sequential
┌───────────────────────┬──────────────────────┬─────────┐
│ Layer (type)          │ Output Shape         │ Param # │
├───────────────────────┼──────────────────────┼─────────┤
│ 0 (Conv2d)            │ (None, 1000, 8, 8)   │   4,000 │
│ 1 (Scale)             │ (None, 1000, 8, 8)   │   2,000 │
│ 2 (Residual)          │ (None, 1000, 8, 8)   │   2,000 │
│   body (Sequential)   │ (None, 1000, 8, 8)   │       0 │
│     0 (ReLU)          │ (None, 1000, 8, 8)   │       0 │
│   shortcut (Conv2d)   │ (None, 1000, 8, 8)   │   2,000 │
│ 3 (AdaptiveAvgPool2d) │ (None, 1000, 1, 1)   │       0 │
│ 4 (Flatten)           │ (None, 1000)         │       0 │
│ 5 (Linear)            │ (None, 2)            │   2,002 │
└───────────────────────┴──────────────────────┴─────────┘
Total params: 10,002
Trainable params: 9,002
Non-trainable params: 1,000
"""


def test_summary_builds_the_model_and_prints_the_table(capsys):
    assert model().summary((3, 8, 8)) is None
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines() if "─" not in line] == [
        line.split() for line in TABLE.splitlines() if "─" not in line
    ]
    assert len({len(line) for line in printed.splitlines() if line[0] in "┌│├└"}) == 1


def test_summary_tells_the_costs_of_one_sample_if_it_is_asked(capsys):
    net = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 7)
    )
    net.summary((4, 5, 5), costs=True)
    lines = capsys.readouterr().out.splitlines()
    conv, linear = 25 * 6 * 2 * 9, 150 * 7
    cells = [[cell.strip() for cell in line.split("│")[4:6]] for line in lines[4:8]]
    assert cells == [[f"{conv:,}", "600"], ["", "600"], ["", ""], [f"{linear:,}", "28"]]
    assert lines[-2:] == [f"Multiply-adds: {conv + linear:,}", "Output bytes: 1,228"]


def test_summary_of_one_layer_has_one_line(capsys):
    nn.Linear(4, 3).summary([4])
    lines = capsys.readouterr().out.splitlines()
    assert "│ Linear       │ (None, 3)    │      15 │" in lines
    assert lines[-3:] == ["Total params: 15", "Trainable params: 15", "Non-trainable params: 0"]


def test_frozen_parameters_do_not_count_as_trainable(capsys):
    model = nn.Sequential(nn.Linear(4, 3), bn.freeze(bn.BatchNorm1d(3)))
    model.summary((4,))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == ["Total params: 27", "Trainable params: 15", "Non-trainable params: 12"]


@pytest.mark.parametrize("shape", [3, "ab", (1.5,), None])
def test_summary_takes_a_shape_only(shape):
    with pytest.raises(TypeError, match="input_shape must be a tuple of integers, got "):
        nn.ReLU().summary(shape)


def test_summary_of_a_subclass_bears_its_name(capsys):
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.ReLU())

    Net().summary((2,))
    assert capsys.readouterr().out.startswith("Model: Net\n")


def test_summary_says_which_layer_does_not_fit_and_builds_nothing():
    net = nn.Sequential(Scale(), nn.Conv2d(4, 2, 3))
    with pytest.raises(ValueError, match=r"Conv2d takes 4 channels in \(C, H, W\), got \(3, 8, 8"):
        net.summary((3, 8, 8))
    assert net[0].mean is None
