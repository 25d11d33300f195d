"""Blocks of PyTorch that change values in place, where something uses them afterwards or not."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.relu, self.relu6 = nn.ReLU(inplace=True), nn.ReLU6(inplace=True)
        self.flat, self.same = nn.Flatten(), nn.Identity()
        self.inner = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1))
        self.fc = nn.Linear(48, 48)


class Preactivated(Block):
    def forward(self, x):
        y = self.norm(x)
        return self.relu(y) + y


class OfInput(Block):
    def forward(self, x):
        return self.conv(self.relu(x)) + x


class AfterAddition(Block):
    def forward(self, x):
        y = self.norm(x)
        w = y + x
        return self.relu6(w) + w


class ByAddition(Block):
    def forward(self, x):
        y = z = self.norm(x)
        z += x
        return self.conv(z) + y


class OfFunction(Block):
    def forward(self, x):
        y = self.norm(x)
        return functional.relu(y, inplace=True) + y


class OfMethod(Block):
    def forward(self, x):
        y = self.norm(x)
        return y.relu_() - y


class OfView(Block):
    def forward(self, x):
        y = self.norm(x)
        return self.relu(torch.flatten(y, 1)) + self.flat(y)


class BehindView(Block):
    def forward(self, x):
        y = self.same(self.norm(x))
        flat = self.flat(y)
        return self.flat(self.relu(y)) + flat


class InsideSequential(Block):
    def forward(self, x):
        y = self.norm(x)
        return self.inner(y) + y


class Statement(Block):
    def forward(self, x):
        y = self.norm(x)
        self.relu(y)
        return y


class InsideBlock(nn.Module):
    """A block that changes its second argument, and no other."""

    def __init__(self):
        super().__init__()
        self.adding, self.norm = Adding(), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.norm(x)
        return self.adding(x, y) + y


class Adding(nn.Module):
    def forward(self, x, y):
        y += x
        return y * 2


USED_AGAIN = {
    Preactivated: "self.relu changes",
    OfInput: "self.relu changes",
    AfterAddition: "self.relu6 changes",
    ByAddition: r"\+= changes",
    OfFunction: "relu changes",
    OfMethod: "relu_ changes",
    OfView: "self.relu changes",
    BehindView: "self.relu changes",
    InsideSequential: "self.inner changes",
    Statement: "self.relu changes",
    InsideBlock: "self.adding changes",
}


class Chain(Block):
    """Each value is used once after the other."""

    def forward(self, x):
        y = self.relu(self.norm(x))
        y += x
        y = self.relu6(y)
        return self.fc(self.relu(torch.flatten(self.inner(y), 1)))


class FirstUsed(Block):
    """What uses the old value does so before it is changed."""

    def forward(self, x):
        y = self.norm(x)
        z = self.conv(y)
        return self.relu(y) + z


class OtherArgument(InsideBlock):
    def forward(self, x):
        return self.adding(x, self.norm(x)) + x


USED_ONCE = [Chain, FirstUsed, OtherArgument]
