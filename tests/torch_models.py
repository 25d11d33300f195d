"""Models of PyTorch as users write them."""

import torch
from torch import nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """The residual block of torchvision's ResNets: in-place additions, one ReLU called twice."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        out = self.relu(out)
        return out


class ResNet(nn.Module):
    """A ResNet of two blocks, whose forward pass is in a second method."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.layers = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def _forward_impl(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.avgpool(self.layers(x))
        return self.fc(torch.flatten(x, 1))

    def forward(self, x):
        return self._forward_impl(x)


class TutorialCNN(nn.Module):
    """Functions in the place of layers without parameters."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2)
        return self.fc(torch.flatten(x, 1))


def sequential():
    """As the blocks of VGG and MobileNet."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
    )


class Block(nn.Module):
    """The base of blocks with a convolution, a normalization and a ReLU."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
        self.scale, self.drop = 2.0, False


class Branching(Block):
    def forward(self, x):
        if self.drop:
            return x
        return self.relu(self.norm(x))


class Looping(Block):
    def forward(self, x):
        for _ in range(2):
            x = self.conv(x)
        return self.relu(self.norm(x))


class Scaling(Block):
    def forward(self, x):
        return self.relu(self.norm(x)) * self.scale


class Remembering(Block):
    def forward(self, x):
        self.last = self.relu(self.norm(x))
        return self.last


class Drawing(Block):
    def forward(self, x):
        return self.relu(self.norm(x)) * torch.rand(1).item()


class TwoUsers(Block):
    def forward(self, x):
        y = self.norm(x)
        return self.relu(y) + y


class Changing(Block):
    """x is changed between the normalization and the ReLU."""

    def forward(self, x):
        y = self.norm(x)
        x += 1
        return self.relu(y) + x


class IntoResidual(Block):
    """The addition changes the residual, which is used once more."""

    def forward(self, x):
        y = before = self.conv(x)
        y += self.norm(self.conv(x))
        return self.relu(y) + before


REFUSED = [
    (Branching, "more than calls"),
    (Looping, "more than calls"),
    (Scaling, "self.scale"),
    (Remembering, "changes something"),
    (Drawing, "random"),
    (TwoUsers, "no ReLU follows it"),
    (Changing, "no ReLU follows it"),
    (IntoResidual, "no ReLU follows it"),
]
