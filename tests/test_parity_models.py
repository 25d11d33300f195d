"""The models have PyTorch's outputs and gradients, and states go from one to the other and back."""

from functools import partial

import numpy as np
import pytest
from arrays import normal

from bn.nn import models

pytestmark = pytest.mark.parity


VGG_STAGES = ((4,), (8,), (8, 8), (16, 16), (16, 16))  # narrow


def networks(torch):
    """Return the same networks in PyTorch by name; they are written from the papers."""
    nn = torch.nn

    def conv(before, after, kernel, stride=1, **more):
        return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False, **more)

    class Block(nn.Module):
        """A residual block of convolutions, given as (channels, kernel, stride)."""

        def __init__(self, before, *convolutions):
            super().__init__()
            channels, stride = before, 1
            for i, (after, kernel, step) in enumerate(convolutions, 1):
                self.add_module(f"conv{i}", conv(channels, after, kernel, step))
                self.add_module(f"bn{i}", nn.BatchNorm2d(after))
                channels, stride = after, stride * step
            self.depth, self.downsample = len(convolutions), None
            if (channels, stride) != (before, 1):
                shortcut = conv(before, channels, 1, stride)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

        def forward(self, x):
            y = x
            for i in range(1, self.depth + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                y = torch.relu(y) if i < self.depth else y
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    def basic(before, channels, stride):
        return Block(before, (channels, 3, stride), (channels, 3, 1)), channels

    def bottleneck(before, channels, stride):
        steps = (channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)
        return Block(before, *steps), 4 * channels

    class ResNet(nn.Module):
        def __init__(self, block, stages, width, *, small=False):
            super().__init__()
            self.small, channels = small, width
            self.conv1 = conv(3, channels, 3) if small else conv(3, channels, 7, 2)
            self.bn1 = nn.BatchNorm2d(channels)
            for i, blocks in enumerate(stages):
                stage = []
                for k in range(blocks):
                    one, channels = block(channels, width * 2**i, 2 if i > 0 and k == 0 else 1)
                    stage.append(one)
                self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
            self.stages = len(stages)
            self.fc = nn.Linear(channels, 10)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            if not self.small:
                x = nn.functional.max_pool2d(x, 3, 2, 1)
            for i in range(self.stages):
                x = getattr(self, f"layer{i + 1}")(x)
            return self.fc(x.mean((2, 3)))

    class Vgg(nn.Module):
        def __init__(self, hidden):
            super().__init__()
            layers, channels = [], 3
            for stage in VGG_STAGES:
                for after in stage:
                    layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after)]
                    layers.append(nn.ReLU())
                    channels = after
                layers.append(nn.MaxPool2d(2))
            self.features = nn.Sequential(*layers)
            self.classifier = nn.Sequential(
                *(nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Identity()),
                *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Identity()),
                nn.Linear(hidden, 10),
            )

        def forward(self, x):
            x = nn.functional.adaptive_avg_pool2d(self.features(x), (7, 7))
            return self.classifier(x.flatten(1))

    def conv6(before, after, kernel, stride=1, groups=1):
        layer = conv(before, after, kernel, stride, groups=groups)
        return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU6())

    class Inverted(nn.Module):
        def __init__(self, before, after, stride, expansion):
            super().__init__()
            wide = before * expansion
            layers = [conv6(before, wide, 1)] if expansion > 1 else []
            layers += [conv6(wide, wide, 3, stride, wide), conv(wide, after, 1)]
            self.conv = nn.Sequential(*layers, nn.BatchNorm2d(after))
            self.adds = (before, stride) == (after, 1)

        def forward(self, x):
            return x + self.conv(x) if self.adds else self.conv(x)

    class MobileNet(nn.Module):
        def __init__(self):
            super().__init__()
            layers, channels = [conv6(3, 32, 3, 2)], 32
            for expansion, after, blocks, first in (
                *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
                *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
            ):
                for i in range(blocks):
                    layers.append(Inverted(channels, after, 1 if i else first, expansion))
                    channels = after
            self.features = nn.Sequential(*layers, conv6(channels, 1280, 1))
            self.classifier = nn.Sequential(nn.Identity(), nn.Linear(1280, 10))

        def forward(self, x):
            return self.classifier(self.features(x).mean((2, 3)))

    class Tutorial(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, stride=1, padding=1)
            self.bn1 = nn.BatchNorm2d(16)
            self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2, 2)
            self.fc1 = nn.Linear(16 * 16 * 16, 10)

        def forward(self, x):
            x = self.pool(self.relu(self.bn1(self.conv1(x))))
            return self.fc1(x.reshape(len(x), -1))

    class DeepTutorial(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32)
            self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
            self.conv3, self.bn3 = nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128)
            self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2, 2)
            self.fc1 = nn.Linear(128 * 4 * 4, 10)

        def forward(self, x):
            x = self.pool(self.relu(self.bn1(self.conv1(x))))
            x = self.pool(self.relu(self.bn2(self.conv2(x))))
            x = self.pool(self.relu(self.bn3(self.conv3(x))))
            return self.fc1(x.reshape(len(x), -1))

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
            self.fc1, self.fc2, self.fc3 = (
                nn.Linear(400, 120),
                nn.Linear(120, 84),
                nn.Linear(84, 10),
            )

        def forward(self, x):
            for conv in (self.conv1, self.conv2):
                x = nn.functional.max_pool2d(torch.relu(conv(x)), 2)
            x = torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1)))))
            return self.fc3(x)

    class DoubleConv(nn.Module):
        def __init__(self, before, after):
            super().__init__()
            self.conv1, self.bn1 = conv(before, after, 3), nn.BatchNorm2d(after)
            self.conv2, self.bn2 = conv(after, after, 3), nn.BatchNorm2d(after)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(x)))

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.ModuleList([DoubleConv(3, 4), DoubleConv(4, 6), DoubleConv(6, 8)])
            ups = [nn.ConvTranspose2d(8, 6, 2, 2), nn.ConvTranspose2d(6, 4, 2, 2)]
            self.up = nn.ModuleList(ups)
            self.join = nn.ModuleList([DoubleConv(12, 6), DoubleConv(8, 4)])
            self.head = nn.Conv2d(4, 10, 1)

        def forward(self, x):
            whole = self.down[0](x)
            half = self.down[1](nn.functional.max_pool2d(whole, 2))
            quarter = self.down[2](nn.functional.max_pool2d(half, 2))
            half = self.join[0](torch.cat([half, self.up[0](quarter)], 1))
            return self.head(self.join[1](torch.cat([whole, self.up[1](half)], 1)))

    return {
        "lenet": LeNet,
        "narrow unet": UNet,
        "resnet20": lambda: ResNet(basic, (3, 3, 3), 16, small=True),
        "narrow resnet18": lambda: ResNet(basic, (2, 2, 2, 2), 8),
        "narrow resnet34": lambda: ResNet(basic, (3, 4, 6, 3), 8),
        "narrow resnet50": lambda: ResNet(bottleneck, (3, 4, 6, 3), 8),
        "narrow vgg11": lambda: Vgg(16),
        "mobilenet_v2": MobileNet,
        "CNNWithBatchNorm": Tutorial,
        "DeepCNNWithBatchNorm": DeepTutorial,
    }


def resnet(block, *blocks):
    """Return a function that makes a ResNet of few channels."""
    return partial(models.ResNet, block, blocks, width=8)


# For each what makes it, and the shape of its images.
CASES = {
    "lenet": (models.lenet, (4, 1, 28, 28)),
    "narrow unet": (partial(models.unet, widths=(4, 6, 8)), (2, 3, 12, 16)),
    "resnet20": (models.resnet20, (2, 3, 32, 32)),
    "narrow resnet18": (resnet(models.BasicBlock, 2, 2, 2, 2), (2, 3, 64, 64)),
    "narrow resnet34": (resnet(models.BasicBlock, 3, 4, 6, 3), (2, 3, 64, 64)),
    "narrow resnet50": (resnet(models.Bottleneck, 3, 4, 6, 3), (2, 3, 64, 64)),
    "narrow vgg11": (
        partial(models.VGG, VGG_STAGES, hidden_features=16, dropout=0),
        (2, 3, 64, 96),
    ),
    "mobilenet_v2": (partial(models.mobilenet_v2, dropout=0), (2, 3, 64, 64)),
    "CNNWithBatchNorm": (models.CNNWithBatchNorm, (4, 3, 32, 32)),
    "DeepCNNWithBatchNorm": (models.DeepCNNWithBatchNorm, (4, 3, 32, 32)),
}


@pytest.fixture
def one_thread(torch):
    """PyTorch's threads spend more time waiting for each other than on these small images."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_close(ours, theirs, name, largest=0.0):
    """Compare within 1e-9 of the largest value, and 1e-12 of another large one."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    atol = 1e-9 * abs(theirs).max() + 1e-12 * largest
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_a_model_trains_and_evaluates_as_in_pytorch(torch, name, one_thread):
    make, shape = CASES[name]
    ours = make(num_classes=10, dtype=np.float64, rng=0)
    theirs = networks(torch)[name]().double()
    state = ours.state_dict()
    assert list(theirs.state_dict()) == list(state)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim == 1:  # biases, and the weights of batch normalizations
                parameter.add_(torch.from_numpy(0.1 * normal(*parameter.shape)))
    ours.load_state_dict(theirs.state_dict())

    x = normal(*shape, seed=1)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = normal(*ty.shape, seed=2)
    ty.backward(torch.from_numpy(dy))
    assert_close(ours(x), ty, "output")
    assert_close(ours.backward(dy), tx.grad, "gradient of x")
    gradients = {path: parameter.grad for path, parameter in theirs.named_parameters()}
    assert [path for path, _ in ours.named_parameters()] == list(gradients)
    # A bias in front of batch normalization has the gradient 0, but for rounding.
    largest = max(abs(gradient).max().item() for gradient in gradients.values())
    for path, parameter in ours.named_parameters():
        assert_close(parameter.grad, gradients[path], path, largest)
    for path, array in ours.named_state():
        assert_close(array, theirs.state_dict()[path], path)
    assert_close(ours.eval()(x), theirs.eval()(torch.from_numpy(x)), "output in eval mode")
