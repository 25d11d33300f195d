"""`nn.RNN`, `LSTM`, `GRU` and `Embedding` have PyTorch's outputs, states and gradients."""

import numpy as np
import pytest
from arrays import normal

from bn import nn

pytestmark = pytest.mark.parity

F64 = {"dtype": np.float64}
LIMIT = {"rtol": 1e-9, "atol": 1e-11}
KINDS = ["RNN", "LSTM", "GRU"]


def pair(torch, kind, *sizes, **options):
    """Return PyTorch's layer, and ours with its state."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(*sizes, **options, dtype=torch.float64)
    ours = getattr(nn, kind)(*sizes, **options, **F64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return theirs, ours


def flat(found):
    """Return (output, h) and (output, (h, c)) as a list."""
    output, state = found
    return [output, *(state if isinstance(state, tuple) else [state])]


def assert_same_gradients(theirs, ours):
    for (name, p), (own_name, own) in zip(
        theirs.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert name == own_name
        np.testing.assert_allclose(own.grad, p.grad.numpy(), **LIMIT, err_msg=name)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "bias": False},
        {"num_layers": 2, "bidirectional": True},
        {"num_layers": 3, "batch_first": True, "bidirectional": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [*KINDS, "relu"])
def test_recurrent_layers_equal_pytorchs(torch, kind, options, with_state, with_lengths):
    if kind == "relu":
        kind, options = "RNN", {"nonlinearity": "relu", **options}
    theirs, ours = pair(torch, kind, 3, 5, **options)
    batch_first, lengths = options.get("batch_first", False), [6, 2, 1, 4]
    x = normal(4, 6, 3) if batch_first else normal(6, 4, 3)
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    states = [normal(rows, 4, 5, seed=i + 1) for i in range(2 if kind == "LSTM" else 1)]
    tx = torch.tensor(x, requires_grad=True)
    tstates = [torch.tensor(s, requires_grad=True) for s in states]
    hx, thx = (tuple(s) if kind == "LSTM" else s[0] for s in (states, tstates))
    if not with_state:
        hx = thx = None
    given = tx
    if with_lengths:
        rnn = torch.nn.utils.rnn
        given = rnn.pack_padded_sequence(tx, lengths, batch_first, enforce_sorted=False)
    expected = flat(theirs(given, thx))
    if with_lengths:
        expected[0], _ = rnn.pad_packed_sequence(expected[0], batch_first)
    found = flat(ours(x, hx, lengths=lengths if with_lengths else None))
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other.detach().numpy(), **LIMIT)

    dys = [normal(*y.shape, seed=i + 7) for i, y in enumerate(found)]
    sum((torch.tensor(dy) * y).sum() for dy, y in zip(dys, expected, strict=True)).backward()
    dx = ours.backward((dys[0], tuple(dys[1:])))
    if with_state:
        dx, *dstates = dx
        for own, other in zip(dstates, tstates, strict=True):
            np.testing.assert_allclose(own, other.grad.numpy(), **LIMIT)
    np.testing.assert_allclose(dx, tx.grad.numpy(), **LIMIT)
    assert_same_gradients(theirs, ours)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_layers_in_float32_equal_pytorchs(torch, kind):
    theirs = getattr(torch.nn, kind)(33, 70)
    ours = getattr(nn, kind)(33, 70)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = normal(12, 65, 33, dtype=np.float32)
    tx = torch.tensor(x, requires_grad=True)
    ty, _ = theirs(tx)
    ty.sum().backward()
    y, _ = ours(x)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-4, atol=1e-6)
    dx = ours.backward(np.ones_like(y))
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-4, atol=1e-5)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(own.grad, other.grad.numpy(), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_layers_read_as_pytorchs(torch, kind):
    for options in ({}, {"num_layers": 2, "bias": False}, {"dropout": 0.5, "num_layers": 2}):
        ours, theirs = getattr(nn, kind)(3, 4, **options), getattr(torch.nn, kind)(3, 4, **options)
        assert repr(ours) == repr(theirs)
    theirs, ours = pair(torch, kind, 3, 4, batch_first=True, bidirectional=True)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_new_recurrent_weights_are_distributed_as_pytorchs(torch, kind):
    torch.manual_seed(0)
    theirs, ours = getattr(torch.nn, kind)(40, 50), getattr(nn, kind)(40, 50, rng=0)
    for name, values in ours.state_dict().items():
        expected = theirs.state_dict()[name].numpy()
        assert values.dtype == expected.dtype and values.shape == expected.shape
        assert abs(values.std() / expected.std() - 1) < 0.2
        assert abs(values).max() <= 50**-0.5


@pytest.mark.parametrize("padding_idx", [None, 0, -2])
def test_embedding_equals_pytorchs(torch, padding_idx):
    theirs = torch.nn.Embedding(7, 3, padding_idx, dtype=torch.float64)
    ours = nn.Embedding(7, 3, padding_idx, **F64)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({"weight": theirs.weight.detach().numpy()})
    x = np.random.default_rng(0).integers(0, 7, (4, 6))
    ty = theirs(torch.tensor(x))
    y = ours(x)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    dy = normal(*y.shape)
    ty.backward(torch.tensor(dy))
    assert ours.backward(dy) is None
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), **LIMIT)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's get_weights causes it
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_last_output_equals_keras(keras, bidirectional):
    x = normal(3, 6, 4, dtype=np.float32)
    theirs = keras.layers.LSTM(5)
    if bidirectional:
        theirs = keras.layers.Bidirectional(theirs)
    theirs.build(x.shape)
    weights = [np.asarray(w) for w in theirs.get_weights()]
    ours = nn.LSTM(
        4, 5, batch_first=True, bidirectional=bidirectional, return_sequences=False,
        return_state=False,
    )  # fmt: skip
    own = []
    for kernel, recurrent, bias in zip(*[iter(weights)] * 3, strict=True):
        own += [kernel.T, recurrent.T, bias, np.zeros_like(bias)]
    ours.set_weights(own)
    expected = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(ours(x), expected, rtol=1e-4, atol=1e-6)
