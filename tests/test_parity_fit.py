"""A training by `nn.fit` beside PyTorch's usual loop."""

import numpy as np
import pytest

import bn
from bn import nn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

LR, MOMENTUM, EPOCHS, SIZE = 0.05, 0.9, 3, 12


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 2, 6, 6))
    return x, rng.integers(0, 3, 30)


def ours():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, rng=0, dtype=np.float64), bn.BatchNorm2d(4, dtype=np.float64),
        nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, rng=1, dtype=np.float64),
    )  # fmt: skip


def theirs(model):
    """Return PyTorch's layers with the same weights."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(64, 3),
    ).double()  # fmt: skip
    layers.load_state_dict({k: torch.from_numpy(v) for k, v in model.state_dict().items()})
    return layers


def torch_loop(model, clip):
    """Train as PyTorch's tutorials do; return the mean losses of the epochs."""
    x, y = map(torch.from_numpy, data())
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    criterion, means = torch.nn.CrossEntropyLoss(), []
    for _ in range(EPOCHS):
        total = 0.0
        for begin in range(0, len(x), SIZE):
            part = slice(begin, begin + SIZE)
            optimizer.zero_grad()
            loss = criterion(model(x[part]), y[part])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total += loss.item() * len(x[part])
        schedule.step()
        means.append(total / len(x))
    return means


@pytest.mark.parametrize("parts", [1, 3])
def test_a_training_is_pytorchs_also_if_its_batches_come_in_parts(parts):
    model = ours()
    other = theirs(model)
    optimizer = nn.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    history = nn.fit(
        model, nn.BatchLoader(*data(), SIZE // parts, shuffle=False), epochs=EPOCHS,
        optimizer=optimizer, schedule=nn.CosineAnnealingLR(optimizer, T_max=EPOCHS),
        accumulate=parts, clip=1.0, progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(history["loss"], torch_loop(other, 1.0), rtol=1e-9)
    for name, array in other.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], array.numpy(), rtol=1e-7, atol=1e-9)
