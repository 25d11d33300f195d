"""Models for the tests of ONNX's files, each with the shape of its input."""

import numpy as np

import bn
from bn import nn


class Branches(nn.Module):
    """Operations of all kinds, a parameter and an array of its own, and a layer called twice."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 8, 3, padding=1, rng=0)
        self.norm, self.act = bn.BatchNorm2d(8), nn.ReLU()
        self.scale = nn.Parameter(np.full((8, 1, 1), 0.5, np.float32))
        self.shift = np.arange(8, dtype=np.float32).reshape(8, 1, 1)
        self.mix = nn.Linear(6, 6, rng=1)
        self.fc = nn.Linear(8, 2, rng=2)

    def forward(self, x):
        y = self.act(self.norm(self.conv(x)))
        z = nn.concatenate([y[:, :4] * 2, -y[:, 4:]], axis=1)
        y = (y + z * self.scale - self.shift) / 3
        y = self.mix(self.mix(y))
        turned = y.transpose(0, 1, 3, 2)[:, :, 1:, ::2]
        y = y[:, :, ::2, 1:] + turned.transpose(0, 1, 3, 2).mean((2, 3), keepdims=True)
        y = y[:, :, ::-1, -2:] + y[:, :, 0, None, :2]
        return self.fc(y.reshape(len(x), 8, -1).mean(2))


class States(nn.Module):
    """Final states of one layer that are the initial ones of another."""

    def __init__(self):
        self.one = nn.LSTM(3, 4, batch_first=True, num_layers=2, rng=0)
        self.two = nn.LSTM(4, 4, batch_first=True, num_layers=2, rng=1)
        self.fc = nn.Linear(4, 2, rng=2)

    def forward(self, x):
        y, state = self.one(x)
        y, (h, c) = self.two(y, state)
        return self.fc(h[-1] + c[0] + y[:, -1])


class TwoInputs(nn.Module):
    """Two inputs with names."""

    def __init__(self):
        self.one, self.two = nn.Linear(3, 2, rng=0), nn.Linear(4, 2, rng=1)

    def forward(self, left, right):
        return self.one(left) + self.two(right)


IMAGES, LAST, SIGNALS = (4, 6, 5), (6, 5, 4), (4, 9)
LAYERS = {
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, (2, 1), (1, 0), groups=2, rng=0), IMAGES),
    "Conv2d dilated": (lambda: nn.Conv2d(4, 6, 2, dilation=2, bias=False, rng=0), IMAGES),
    "Conv2d same": (lambda: nn.Conv2d(4, 6, 2, padding="same", rng=0), IMAGES),
    "Conv2d last": (lambda: nn.Conv2d(4, 6, 3, axis=-1, rng=0), LAST),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 1, rng=0), SIGNALS),
    "Conv1d last": (lambda: nn.Conv1d(9, 6, 3, axis=-1, rng=0), (4, 9)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, rng=0), IMAGES),
    "ConvTranspose2d dilated": (lambda: nn.ConvTranspose2d(4, 6, 2, dilation=2, rng=0), IMAGES),
    "WeightStandardization": (
        lambda: nn.WeightStandardization(nn.Conv2d(4, 6, 3, rng=0), eps=1e-3), IMAGES,
    ),
    "Linear": (lambda: nn.Linear(5, 3, rng=0), (5,)),
    "Linear of steps": (lambda: nn.Linear(5, 3, rng=0), (4, 5)),
    "Linear without bias": (lambda: nn.Linear(5, 3, bias=False, rng=0), (4, 5)),
    "BatchNorm1d": (lambda: bn.BatchNorm1d(4), (4,)),
    "BatchNorm1d of steps": (lambda: bn.BatchNorm1d(4), SIGNALS),
    "BatchNorm2d": (lambda: bn.BatchNorm2d(4, affine=False), IMAGES),
    "BatchNorm3d": (lambda: bn.BatchNorm3d(4, bias=False), (4, 2, 3, 2)),
    "BatchNormalization": (lambda: bn.BatchNormalization(scale=False), LAST),
    "darknet": (lambda: bn.preset("darknet", 4, axis=1), IMAGES),
    "GhostBatchNorm": (lambda: bn.GhostBatchNorm(bn.BatchNorm2d(4), 2), IMAGES),
    "LayerNorm": (lambda: bn.LayerNorm((6, 5)), IMAGES),
    "LayerNorm without bias": (lambda: bn.LayerNorm(5, bias=False), IMAGES),
    "LayerNorm without weight": (lambda: bn.LayerNorm(5, elementwise_affine=False), IMAGES),
    "LayerNormalization": (lambda: bn.LayerNormalization(axis=(2, 3)), IMAGES),
    "GroupNorm": (lambda: bn.GroupNorm(2, 4), IMAGES),
    "GroupNormalization": (lambda: bn.GroupNormalization(2), LAST),
    "GroupNormalization of channels": (lambda: bn.GroupNormalization(-1), LAST),
    "InstanceNorm2d": (lambda: bn.InstanceNorm2d(4), IMAGES),
    "InstanceNorm1d": (lambda: bn.InstanceNorm1d(4, affine=True), SIGNALS),
    "InstanceNorm2d tracked": (lambda: bn.InstanceNorm2d(4, track_running_stats=True), IMAGES),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1), IMAGES),
    "MaxPool2d ceil": (lambda: nn.MaxPool2d(2, ceil_mode=True), IMAGES),
    "MaxPool2d last": (lambda: nn.MaxPool2d(2, axis=-1), LAST),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1), IMAGES),
    "AvgPool2d ceil": (lambda: nn.AvgPool2d(3, 2, 1, True), IMAGES),
    "AvgPool2d without pad": (lambda: nn.AvgPool2d(3, 2, 1, True, False), IMAGES),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), SIGNALS),
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), SIGNALS),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(1), IMAGES),
    "AdaptiveAvgPool2d windows": (lambda: nn.AdaptiveAvgPool2d((3, 1)), IMAGES),
    "AdaptiveAvgPool2d larger": (lambda: nn.AdaptiveAvgPool2d((12, 5)), IMAGES),
    "ZeroPad2d": (lambda: nn.ZeroPad2d((1, 2, 3, -1)), IMAGES),
    "ZeroPad2d last": (lambda: nn.ZeroPad2d((1, 2, 3, -1), axis=-1), LAST),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), IMAGES),
    "Upsample 1.5": (lambda: nn.Upsample(scale_factor=1.5), IMAGES),
    "Upsample size": (lambda: nn.Upsample(size=(7, 9)), IMAGES),
    "Upsample bilinear": (lambda: nn.Upsample(None, (2, 1.5), "bilinear"), IMAGES),
    "Upsample bilinear size": (lambda: nn.Upsample((3, 9), None, "bilinear"), IMAGES),
    "Upsample corners": (lambda: nn.Upsample((7, 9), None, "bilinear", True), IMAGES),
    "Upsample last": (lambda: nn.Upsample(None, 2, "bilinear", axis=-1), LAST),
    "ReLU": (nn.ReLU, IMAGES),
    "ReLU6": (nn.ReLU6, IMAGES),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), IMAGES),
    "ELU": (lambda: nn.ELU(0.5), IMAGES),
    "GELU": (nn.GELU, IMAGES),
    "GELU tanh": (lambda: nn.GELU("tanh"), IMAGES),
    "SiLU": (nn.SiLU, IMAGES),
    "Softplus": (nn.Softplus, IMAGES),
    "Softplus sharp": (lambda: nn.Softplus(2.0), IMAGES),
    "Hardswish": (nn.Hardswish, IMAGES),
    "PReLU": (nn.PReLU, IMAGES),
    "PReLU of channels": (lambda: nn.PReLU(4), IMAGES),
    "PReLU last": (lambda: nn.PReLU(4, axis=-1), LAST),
    "Sigmoid": (nn.Sigmoid, IMAGES),
    "Tanh": (nn.Tanh, IMAGES),
    "Softmax": (nn.Softmax, IMAGES),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), IMAGES),
    "Dropout": (nn.Dropout, IMAGES),
    "Dropout2d": (nn.Dropout2d, IMAGES),
    "Identity": (nn.Identity, IMAGES),
    "Flatten": (nn.Flatten, IMAGES),
    "Flatten some": (lambda: nn.Flatten(2), IMAGES),
    "RNN": (lambda: nn.RNN(5, 4, return_state=False, rng=0), (3, 5)),
    "RNN relu": (
        lambda: nn.RNN(5, 4, nonlinearity="relu", batch_first=True, return_state=False, rng=0),
        (3, 5),
    ),
    "LSTM": (lambda: nn.LSTM(5, 4, batch_first=True, return_state=False, rng=0), (3, 5)),
    "LSTM deep": (
        lambda: nn.LSTM(
            5, 4, 2, batch_first=True, bidirectional=True, return_state=False, bias=False, rng=0
        ),
        (3, 5),
    ),
    "GRU": (
        lambda: nn.GRU(
            5, 4, batch_first=True, bidirectional=True, return_sequences=False,
            return_state=False, rng=0,
        ),
        (3, 5),
    ),
}  # fmt: skip
MODELS = {
    "Branches": (Branches, (3, 6, 6)),
    "States": (States, (5, 3)),
    "resnet20": (lambda: nn.models.resnet20(rng=0), (3, 16, 16)),
    "mobilenet_v2": (lambda: nn.models.mobilenet_v2(rng=0), (3, 32, 32)),
}


def settled(model, shape):
    """Build a model, give it running statistics, and put it into eval mode."""
    model.build(shape)
    rng = np.random.default_rng(0)
    for name, array in model.named_state():
        if name.endswith(("mean", "variance", "var")):
            array[...] = rng.random(array.shape) + 0.5
    return model.eval()


def samples(shape, count=3):
    return np.random.default_rng(1).standard_normal((count, *shape)).astype(np.float32)
