"""The two tutorial CNNs over-fit a batch, repeat themselves and equal PyTorch."""

import numpy as np
import pytest
from gradcheck import gradcheck

import bn
from bn import nn


class CNNWithBatchNorm(nn.Sequential):
    """It is the PyTorch tutorial's CNN, for small images."""

    def __init__(self, seed=None, size=8):
        rng = np.random.default_rng(seed)
        super().__init__(
            nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1, rng=rng),
            bn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
            nn.Flatten(),
            nn.Linear(16 * (size // 2) ** 2, 10, rng=rng),
        )


def keras_cnn(seed=None, size=8):
    """Make the Keras tutorial's CNN, channels-last, for small images."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding="same", axis=-1, rng=rng),
        bn.BatchNormalization(),
        nn.ReLU(),
        nn.MaxPool2d(2, axis=-1),
        nn.Flatten(),
        nn.Linear(16 * (size // 2) ** 2, 128, rng=rng),
        bn.BatchNormalization(),
        nn.ReLU(),
        nn.Linear(128, 10, rng=rng),
        nn.Softmax(),
    )


def batch(size=8, n=20):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3, size, size), dtype=np.float32), np.arange(n) % 10


def train(model, criterion, optimizer, x, y, steps):
    """Take steps on one batch, and return the loss before each of them."""
    losses = []
    for _ in range(steps):
        losses.append(criterion(model(x), y))
        optimizer.zero_grad()
        model.backward(criterion.backward())
        optimizer.step()
    return losses


def train_torch_like(steps, seed=0):
    model, criterion = CNNWithBatchNorm(seed), nn.CrossEntropyLoss()
    optimizer = nn.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = batch()
    return model, train(model, criterion, optimizer, x, y, steps)


def train_keras_like(steps, seed=0):
    model, criterion = keras_cnn(seed), nn.CrossEntropyLoss(from_logits=False)
    model.build((8, 8, 3))
    optimizer = nn.Adam(model.parameters())
    x, y = batch()
    x, y = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), np.eye(10, dtype=np.float32)[y]
    return model, train(model, criterion, optimizer, x, y, steps)


def test_the_pytorch_tutorials_cnn_overfits_a_batch():
    model, losses = train_torch_like(60)
    x, y = batch()
    assert losses[0] > 2
    assert losses[-1] < 0.05
    assert (model(x).argmax(axis=1) == y).all()
    assert (model.eval()(x).argmax(axis=1) == y).mean() > 0.9


def test_the_keras_tutorials_cnn_overfits_a_batch():
    model, losses = train_keras_like(60)
    x, y = batch()
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    assert losses[0] > 2
    assert losses[-1] < 0.05
    p = model(x)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert (p.argmax(axis=1) == y).all()


def test_a_training_loop_as_users_of_pytorch_write_it_works():
    model, criterion = CNNWithBatchNorm(size=32), nn.CrossEntropyLoss()
    opt = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = np.random.default_rng(0).standard_normal((64, 3, 32, 32), dtype=np.float32)
    y = np.arange(64) % 10
    for _ in range(3):
        loss = criterion(model(x), y)
        opt.zero_grad()
        model.backward(criterion.backward())
        opt.step()
    assert np.isfinite(loss)
    model.eval()
    assert "(1): BatchNorm2d(16, eps=1e-05, momentum=0.1" in repr(model)
    assert model(x).shape == (64, 10)


@pytest.mark.parametrize("train", [train_torch_like, train_keras_like])
def test_trainings_of_the_same_seed_are_the_same(train):
    first, losses = train(4)
    second, again = train(4)
    assert losses == again
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, second.state_dict()[name], err_msg=name)
    assert train(4, seed=1)[1] != losses


def test_the_summary_counts_running_statistics_as_non_trainable(capsys):
    keras_cnn(size=32).summary((32, 32, 3))
    text = capsys.readouterr().out
    assert "│ 1 (BatchNormalization) │ (None, 32, 32, 16) │      64 │" in text
    assert "│ 5 (Linear)             │ (None, 128)        │ 524,416 │" in text
    assert "Total params: 526,730\nTrainable params: 526,442\nNon-trainable params: 288" in text
    CNNWithBatchNorm(size=32).summary((3, 32, 32))
    assert "Trainable params: 41,450\nNon-trainable params: 32" in capsys.readouterr().out


def test_a_checkpoint_brings_back_the_running_statistics(tmp_path):
    model, _ = train_torch_like(2)
    nn.save(tmp_path / "model.npz", model)
    loaded = nn.load(tmp_path / "model.npz", CNNWithBatchNorm(5))
    x, _ = batch()
    np.testing.assert_array_equal(loaded.eval()(x), model.eval()(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
def test_a_residual_network_with_batch_norm_has_the_right_gradients(axis, training):
    more = {"axis": axis, "dtype": np.float64}
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, rng=0, **more),
        nn.Residual(
            nn.Sequential(
                nn.Conv2d(3, 4, 3, 2, 1, bias=False, rng=1, **more), bn.BatchNorm2d(4, **more)
            ),
            nn.Sequential(
                nn.Conv2d(3, 4, 1, 2, bias=False, rng=2, **more), bn.BatchNorm2d(4, **more)
            ),
        ),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1, axis=axis),
        nn.Flatten(),
    )
    x = np.random.default_rng(0).standard_normal((3, 2, 5, 4))
    x = x if axis == 1 else x.transpose(0, 2, 3, 1)
    gradcheck(model.train(training), x, entries=40, tol=1e-5)


@pytest.mark.parity
def test_training_equals_pytorch_step_by_step(torch):
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2, 2),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * 4 * 4, 10),
    )
    ours = CNNWithBatchNorm()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, y = batch()
    tx, ty = torch.tensor(x), torch.tensor(y)
    criterion, optimizer = nn.CrossEntropyLoss(), nn.SGD(ours.parameters(), 0.01, 0.9)
    other = torch.optim.SGD(theirs.parameters(), 0.01, 0.9)
    for _ in range(5):
        loss = criterion(ours(x), y)
        optimizer.zero_grad()
        ours.backward(criterion.backward())
        optimizer.step()
        their_loss = torch.nn.functional.cross_entropy(theirs(tx), ty)
        other.zero_grad()
        their_loss.backward()
        other.step()
        assert loss == pytest.approx(their_loss.item(), rel=1e-4)
    for name, array in ours.state_dict().items():
        expected = theirs.state_dict()[name].numpy()
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-5, err_msg=name)
