"""Models of PyTorch that `bn.torch.to_bn` takes, and others that it refuses."""

import torch
from torch import nn
from torch.nn import functional


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)


class JoinedTuple(Branches):
    def forward(self, x):
        return torch.cat((self.a(x), self.b(x)), dim=1)


class JoinedList(Branches):
    def forward(self, x):
        return torch.concat([self.a(x), self.b(x)], axis=1)


class Indexed(nn.Module):
    """Layers in a list, and in a Sequential, that are called by their numbers."""

    def __init__(self):
        super().__init__()
        self.listed = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ReLU()])
        self.chain = nn.Sequential(nn.Tanh(), nn.Conv2d(3, 2, 1))

    def forward(self, x):
        return self.chain[1](self.listed[1](self.listed[0](x)))


class NamedAsFunction(nn.Module):
    """A layer has the name that torch.fx gives to a call of a function."""

    def __init__(self):
        super().__init__()
        self.relu = nn.Tanh()

    def forward(self, x):
        return self.relu(functional.relu(x) - 0.5)


class AllFlat(nn.Module):
    def forward(self, x):
        return torch.flatten(x) + x.flatten()


class Optional(nn.Module):
    """An argument that may be left out, and that nothing uses."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 2, 1)

    def forward(self, x, mask=None):
        return self.a(x)


class Shortcut(nn.Module):
    """The spelling of a shortcut as an expression, with another name for `self`."""

    def __init__(self, down=None):
        super().__init__()
        self.norm, self.relu, self.down = nn.BatchNorm2d(3), nn.ReLU(), down

    def forward(s, x):
        identity = x if s.down is None else s.down(x)
        return s.relu(s.norm(x) + identity)


class Conditional(Shortcut):
    def forward(self, x):
        identity = x
        if self.down:
            identity = self.down(x)
        y = self.norm(x) + identity
        if not self.down:
            y = self.relu(y)
        return y


class SometimesTrue(nn.Identity):
    """A layer that may count as false, as one of a container may that is empty."""

    def __len__(self):
        return 0


def repeated():
    """One layer is used several times, so that its values are shared."""
    conv, relu = nn.Conv2d(3, 3, 1), nn.ReLU()
    return nn.Sequential(conv, relu, conv, nn.Tanh(), nn.Conv2d(3, 2, 1), relu)


def one_by_one(*layers):
    return [nn.Sequential(layer) for layer in layers]


TAKEN = [
    JoinedTuple(),
    JoinedList(),
    Indexed(),
    NamedAsFunction(),
    AllFlat(),
    Optional(),
    Shortcut(),
    Shortcut(nn.Conv2d(3, 3, 1)),
    Conditional(),
    Conditional(nn.Conv2d(3, 3, 1)),
    repeated(),
    *one_by_one(
        nn.Softmax(1),
        nn.LogSoftmax(dim=-1),
        nn.Upsample(scale_factor=2),
        nn.Upsample(size=(5, 7), mode="bilinear", align_corners=True),
        nn.ZeroPad2d((1, 2, 3, 0)),
    ),
]
OF_SIGNALS = one_by_one(nn.MaxPool1d(2, padding=1), nn.AvgPool1d(3, 2, count_include_pad=False))


class Weighted(Branches):
    def forward(self, x):
        return torch.add(self.a(x), self.a(x), alpha=2)


class Scaled(Branches):
    def forward(self, x, scale=None):
        return self.a(x) * scale


class Both(Branches):
    def forward(self, x):
        y = self.a(x)
        return y, torch.relu(y)


class Unused(Branches):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.a(x)


class ByName(Branches):
    def forward(self, x):
        return self.a(input=x)


class Output(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(3, 2)

    def forward(self, x):
        return self.output(x)


REFUSED = [
    (Weighted(), "a call of add at the top: bn has no argument alpha for it"),
    (Scaled(), "its argument scale has a default value"),
    (Both(), "it must return one value of its layers"),
    (Unused(), "unused is a tensor of its own, not of a layer"),
    (ByName(), "it calls a with names"),
    (Output(), "output is the name of something else in bn"),
    (nn.Linear(3, 2, device="meta"), "must hold values, got weight on the device meta"),
    (nn.Linear(3, 2).bfloat16(), "float32 or float64, got weight in torch.bfloat16"),
    (nn.Sequential(nn.LazyLinear(2)), "got 0.weight of a lazy layer: run the model once first"),
    (nn.Sequential(nn.Softmax()), "got Softmax at 0: axis must be an integer"),
    (nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic")), "got Upsample at 0: mode must be"),
]
