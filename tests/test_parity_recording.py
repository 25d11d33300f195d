"""Models with a forward alone have PyTorch's outputs, gradients and running statistics."""

import numpy as np
import pytest
from arrays import normal

import bn
from bn import nn

pytestmark = pytest.mark.parity

LIMIT = {"rtol": 1e-10, "atol": 1e-10}
F64 = {"dtype": np.float64}


# ---- the models, in bn ----


def twice_as_large(x):
    """Repeat each pixel twice in both directions."""
    n, c, h, w = x.shape
    wide = x.reshape(n, c, h, 1, w, 1) * np.ones((1, 1, 1, 2, 1, 2))
    return wide.reshape(n, c, 2 * h, 2 * w)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, **F64)
        self.norm, self.act = bn.BatchNorm2d(outputs, **F64), nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


class UNet(nn.Module):
    def __init__(self):
        self.pool = nn.MaxPool2d(2)
        self.first, self.second, self.third = Block(2, 4), Block(4, 6), Block(6, 8)
        self.up2, self.up1 = Block(14, 6), Block(10, 4)
        self.out = nn.Conv2d(4, 1, 1, **F64)

    def forward(self, x):
        a = self.first(x)
        b = self.second(self.pool(a))
        c = self.third(self.pool(b))
        b = self.up2(nn.concatenate([b, twice_as_large(c)], axis=1))
        a = self.up1(nn.concatenate([a, twice_as_large(b)], axis=1))
        return self.out(a)


class DenseNet(nn.Module):
    def __init__(self, growth=3, layers=3):
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for i in range(layers):
            self.norms.append(bn.BatchNorm2d(2 + growth * i, **F64))
            self.convs.append(nn.Conv2d(2 + growth * i, growth, 3, padding=1, **F64))
        self.act = nn.ReLU()
        self.squeeze = nn.Conv2d(2 + growth * layers, 5, 1, bias=False, **F64)
        self.pool, self.head = nn.AvgPool2d(2), nn.Linear(5, 3, **F64)

    def forward(self, x):
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = nn.concatenate([x, conv(self.act(norm(x)))], axis=1)
        return self.head(self.pool(self.squeeze(x)).mean((2, 3)))


class Shared(nn.Module):
    """One cell for all steps of a series."""

    def __init__(self):
        self.enter, self.cell = nn.Linear(3, 4, **F64), nn.Linear(4, 4, **F64)
        self.norm, self.act = bn.BatchNorm1d(4, **F64), nn.Tanh()
        self.gate = nn.Parameter(normal(4))

    def forward(self, x):
        state = self.act(self.enter(x[:, 0]))
        for step in range(1, x.shape[1]):
            new = self.act(self.norm(self.cell(state)) + self.enter(x[:, step]))
            state = state + self.gate * (new - state) / (step + 1)
        return state


class Branches(nn.Module):
    def __init__(self):
        self.heads = nn.ModuleDict({"up": nn.Linear(4, 2, **F64), "down": nn.Linear(4, 2, **F64)})
        self.act = nn.Sigmoid()

    def forward(self, x):
        way = "up" if x.data.mean() > 0 else "down"
        return self.act(self.heads[way](x)) * x[:, :2] - x.mean(1, keepdims=True)


# ---- the same in PyTorch ----


def torch_models(torch):
    F64 = {"dtype": torch.float64}

    class TorchBlock(torch.nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.conv = torch.nn.Conv2d(inputs, outputs, 3, padding=1, **F64)
            self.norm = torch.nn.BatchNorm2d(outputs, **F64)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)))

    class TorchUNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.large = torch.nn.MaxPool2d(2), torch.nn.Upsample(scale_factor=2)
            self.first, self.second, self.third = (
                TorchBlock(*sizes) for sizes in ((2, 4), (4, 6), (6, 8))
            )
            self.up2, self.up1 = TorchBlock(14, 6), TorchBlock(10, 4)
            self.out = torch.nn.Conv2d(4, 1, 1, **F64)

        def forward(self, x):
            a = self.first(x)
            b = self.second(self.pool(a))
            c = self.third(self.pool(b))
            b = self.up2(torch.cat([b, self.large(c)], dim=1))
            a = self.up1(torch.cat([a, self.large(b)], dim=1))
            return self.out(a)

    class TorchDenseNet(torch.nn.Module):
        def __init__(self, growth=3, layers=3):
            super().__init__()
            self.norms, self.convs = torch.nn.ModuleList(), torch.nn.ModuleList()
            for i in range(layers):
                self.norms.append(torch.nn.BatchNorm2d(2 + growth * i, **F64))
                self.convs.append(torch.nn.Conv2d(2 + growth * i, growth, 3, padding=1, **F64))
            self.squeeze = torch.nn.Conv2d(2 + growth * layers, 5, 1, bias=False, **F64)
            self.pool, self.head = torch.nn.AvgPool2d(2), torch.nn.Linear(5, 3, **F64)

        def forward(self, x):
            for norm, conv in zip(self.norms, self.convs, strict=True):
                x = torch.cat([x, conv(torch.relu(norm(x)))], dim=1)
            return self.head(self.pool(self.squeeze(x)).mean((2, 3)))

    class TorchShared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.cell = torch.nn.Linear(3, 4, **F64), torch.nn.Linear(4, 4, **F64)
            self.norm = torch.nn.BatchNorm1d(4, **F64)
            self.gate = torch.nn.Parameter(torch.from_numpy(normal(4)))

        def forward(self, x):
            state = torch.tanh(self.enter(x[:, 0]))
            for step in range(1, x.shape[1]):
                new = torch.tanh(self.norm(self.cell(state)) + self.enter(x[:, step]))
                state = state + self.gate * (new - state) / (step + 1)
            return state

    class TorchBranches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            heads = {"up": torch.nn.Linear(4, 2, **F64), "down": torch.nn.Linear(4, 2, **F64)}
            self.heads = torch.nn.ModuleDict(heads)

        def forward(self, x):
            way = "up" if x.mean() > 0 else "down"
            return torch.sigmoid(self.heads[way](x)) * x[:, :2] - x.mean(1, keepdim=True)

    return {
        UNet: TorchUNet,
        DenseNet: TorchDenseNet,
        Shared: TorchShared,
        Branches: TorchBranches,
    }


# ---- side by side ----


def pair(torch, model):
    """Make the same model in PyTorch and here, with the same state."""
    theirs, ours = torch_models(torch)[model](), model()
    state, rng = theirs.state_dict(), np.random.default_rng(3)
    for name, value in state.items():
        if "running" in name or ("norm" in name and value.ndim):
            value.copy_(torch.from_numpy(rng.random(value.shape) + 0.5))
    ours.load_state_dict(state)
    return theirs, ours


def assert_alike(torch, theirs, ours, x):
    """Compare a forward and a backward pass: the output, all gradients and the states."""
    tx = torch.tensor(x, requires_grad=True)
    ty, y = theirs(tx), ours(x)
    np.testing.assert_allclose(y, ty.detach().numpy(), **LIMIT)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    ty.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), **LIMIT)
    parameters = dict(theirs.named_parameters())
    assert {name for name, _ in ours.named_parameters()} == set(parameters)
    for name, parameter in ours.named_parameters():
        expected = parameters[name].grad
        assert (parameter.grad is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_allclose(parameter.grad, expected.numpy(), err_msg=name, **LIMIT)
    state = theirs.state_dict()
    for name, array in ours.named_state():
        np.testing.assert_allclose(array, state[name].numpy(), err_msg=name, **LIMIT)


MODELS = [(UNet, (3, 2, 8, 8)), (DenseNet, (4, 2, 6, 6)), (Shared, (5, 4, 3))]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_models_have_the_outputs_and_gradients_of_pytorchs(torch, model, shape, training):
    theirs, ours = pair(torch, model)
    theirs.train(training)
    ours.train(training)
    for seed in range(2):  # the gradients of both calls add up
        assert_alike(torch, theirs, ours, normal(*shape, seed=seed))


@pytest.mark.parametrize("model", [UNet, DenseNet])
def test_models_of_images_that_lie_channels_last_have_pytorchs_gradients(torch, model):
    theirs, ours = pair(torch, model)
    assert_alike(torch, theirs, ours, nn.channels_last(normal(3, 2, 8, 8)))


@pytest.mark.parametrize("training", [True, False])
def test_a_branch_that_depends_on_the_data_has_pytorchs_gradients(torch, training):
    theirs, ours = pair(torch, Branches)
    theirs.train(training)
    ours.train(training)
    x = abs(normal(5, 4))
    assert_alike(torch, theirs, ours, x)
    assert ours.heads["down"].weight.grad is None
    assert_alike(torch, theirs, ours, -x)
    assert ours.heads["down"].weight.grad is not None


def test_a_step_of_training_leads_to_pytorchs_parameters(torch):
    theirs, ours = pair(torch, UNet)
    optimizers = (
        torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9),
        nn.SGD(ours.parameters(), lr=0.05, momentum=0.9),
    )
    for seed in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        assert_alike(torch, theirs, ours, normal(3, 2, 8, 8, seed=seed))
        for optimizer in optimizers:
            optimizer.step()
