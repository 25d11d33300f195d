"""`bn` beside PyTorch: outputs, gradients, running statistics, states, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bn

pytestmark = pytest.mark.parity

LAYERS = {"BatchNorm1d": [(6, 3), (4, 3, 7)], "BatchNorm2d": [(4, 3, 5, 6)]}
LAYERS["BatchNorm3d"] = [(3, 3, 2, 4, 5)]
CASES = [(name, shape) for name, shapes in LAYERS.items() for shape in shapes]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def pair(torch, name, dtype, **options):
    """The same layer in PyTorch and here, with the same random state."""
    theirs = getattr(torch.nn, name)(3, dtype=getattr(torch, np.dtype(dtype).name), **options)
    ours = getattr(bn, name)(3, dtype=dtype, **options)
    rng = np.random.default_rng(3)
    for value in theirs.state_dict().values():
        if value.ndim:
            value.copy_(torch.from_numpy(rng.random(3) + 0.5))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def assert_same_state(theirs, ours, **tolerance):
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, array in ours.named_state():
        np.testing.assert_allclose(array, state[name].numpy(), err_msg=name, **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"affine": False},
        {"bias": False},
        {"track_running_stats": False},
        {"momentum": None},
        {"momentum": 0.7, "eps": 1e-2},
    ],
    ids=str,
)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_layers_train_and_evaluate_alike(torch, name, shape, options, dtype):
    theirs, ours = pair(torch, name, dtype, **options)
    rng = np.random.default_rng(0)
    limit = {"rtol": 2e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-9}
    for training in (True, True, False, True, False):
        theirs.train(training)
        ours.train(training)
        x, dy = ((2 * rng.standard_normal(shape) + 1).astype(dtype) for _ in range(2))
        tx = torch.tensor(x, requires_grad=True)
        ty = theirs(tx)
        ty.backward(torch.from_numpy(dy))
        np.testing.assert_allclose(ours(x), ty.detach().numpy(), **limit)
        np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), **limit)
        assert_same_state(theirs, ours, **limit)
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            np.testing.assert_allclose(q.grad, p.grad.numpy(), rtol=1e-4, atol=1e-4)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    training=st.booleans(),
    tracked=st.booleans(),
    affine=st.booleans(),
    momentum=st.sampled_from([0.1, 0.0, 1.0, -1.2]),
    eps=st.sampled_from([1e-5, 1e-3, 0.5]),
    seed=st.integers(0, 99),
)
def test_the_functional_form_is_pytorchs(shape, training, tracked, affine, momentum, eps, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    channels = shape[1]
    x = rng.standard_normal(shape)
    vectors = [rng.random(channels) + 0.5 for _ in range(4)]
    running, parameters = vectors[:2], vectors[2:]
    if not tracked:
        running = [None, None]
    if not affine:
        parameters = [None, None]

    def in_torch(a):
        return None if a is None else torch.from_numpy(a.copy())

    theirs = [in_torch(a) for a in (x, *running, *parameters)]
    try:
        expected = torch.nn.functional.batch_norm(*theirs, training, momentum, eps).numpy()
    except (RuntimeError, ValueError) as error:
        sentence = str(error).split(", got input size")[0]
        with pytest.raises(ValueError, match=sentence):
            bn.batch_norm(x, *running, *parameters, training, momentum, eps)
        return
    y = bn.batch_norm(x, *running, *parameters, training, momentum, eps)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9)
    if tracked:
        for ours, other in zip(running, theirs[1:3], strict=True):
            np.testing.assert_allclose(ours, other.numpy(), rtol=1e-10, atol=1e-12)


def test_states_load_in_both_directions(torch):
    theirs, ours = pair(torch, "BatchNorm2d", np.float32)
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32)
    ours(x)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    assert_same_state(theirs, ours, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_reprs_are_alike(torch, name, shape):
    for options in ({}, {"momentum": None}, {"affine": False, "track_running_stats": False}):
        assert repr(getattr(bn, name)(3, **options)) == repr(getattr(torch.nn, name)(3, **options))


def test_channels_last_memory_gives_channels_last_memory(torch):
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 3)).transpose(0, 3, 1, 2)
    theirs, ours = pair(torch, "BatchNorm2d", np.float64)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    y = ours(x)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    assert y.strides == expected.strides


def test_float32_is_closer_to_the_truth_than_pytorch(torch):
    rng = np.random.default_rng(0)
    for mean in (1e2, 1e4):
        x = (rng.standard_normal((16, 8, 30, 30)) + mean).astype(np.float32)
        truth = bn.batch_norm(x.astype(np.float64), None, None, training=True)
        ours = bn.batch_norm(x, None, None, training=True)
        theirs = torch.nn.functional.batch_norm(
            torch.from_numpy(x), None, None, training=True
        ).numpy()
        assert np.abs(ours - truth).max() < 1e-6
        assert np.abs(ours - truth).max() < np.abs(theirs - truth).max() / 5
