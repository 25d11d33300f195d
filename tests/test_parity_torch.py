"""`bn` and PyTorch have the same outputs, gradients, running statistics, states and errors."""

import contextlib
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bn

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:Lazy modules")]

LAYERS = {"BatchNorm1d": [(6, 3), (4, 3, 7)], "BatchNorm2d": [(4, 3, 5, 6)]}
LAYERS["BatchNorm3d"] = [(3, 3, 2, 4, 5)]
CASES = [(name, shape) for name, shapes in LAYERS.items() for shape in shapes]


def pair(torch, name, dtype, **options):
    """Make the same layer in PyTorch and here, with the same random state."""
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
def test_layers_train_and_evaluate_as_in_pytorch(torch, name, shape, options, dtype):
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
def test_the_functional_form_equals_pytorch(
    torch, shape, training, tracked, affine, momentum, eps, seed
):
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


def test_states_load_from_pytorch_and_into_it(torch):
    theirs, ours = pair(torch, "BatchNorm2d", np.float32)
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32)
    ours(x)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    assert_same_state(theirs, ours, rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_reprs_are_pytorchs_and_say_what_momentum_and_variance_are(torch, name):
    for options in ({}, {"momentum": None}, {"affine": False, "track_running_stats": False}):
        found = repr(getattr(bn, name)(3, **options))
        of = "all batches alike" if "momentum" in options else "new"
        expected = repr(getattr(torch.nn, name)(3, **options))
        assert found.replace(f" ({of}), running_var=unbiased,", ",") == expected


def test_channels_last_memory_gives_channels_last_memory_as_in_pytorch(torch):
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


def random_state(layer, rng):
    return {
        name: np.array(7) if array.ndim == 0 else rng.random(array.shape) + 0.5
        for name, array in layer.named_state()
    }


@pytest.mark.parametrize("version", [None, 1, 2])
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
def test_checkpoints_of_before_batches_were_counted_load_as_in_pytorch(torch, options, version):
    """PyTorch takes version 2 to hold the count; `bn` has no versions, and never insists."""
    theirs, ours = pair(torch, "BatchNorm1d", np.float64, **options)
    for layer, x in ((theirs, torch.ones(5, 3).double()), (ours, np.ones((5, 3)))):
        layer(x)
    old = random_state(ours, np.random.default_rng(0))
    old.pop("num_batches_tracked", None)
    state = OrderedDict((name, torch.from_numpy(array)) for name, array in old.items())
    if version is not None:
        state._metadata = {"": {"version": version}}
    ours.load_state_dict(old)
    if version == 2 and "running_mean" in old:
        with pytest.raises(RuntimeError, match=r'Missing key.*"num_batches_tracked"'):
            theirs.load_state_dict(state)
    else:
        theirs.load_state_dict(state)
    assert_same_state(theirs, ours, rtol=0)  # both keep the count that they had


def test_states_of_other_dtypes_are_cast_as_in_pytorch(torch):
    for dtype in (np.float16, np.float64, np.int32):
        theirs, ours = pair(torch, "BatchNorm1d", np.float32)
        state = {n: (3 * a).astype(dtype if a.ndim else a.dtype) for n, a in ours.named_state()}
        ours.load_state_dict(state)
        theirs.load_state_dict({n: torch.from_numpy(np.asarray(a)) for n, a in state.items()})
        assert_same_state(theirs, ours, rtol=0)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_lazy_layers_are_built_by_their_first_batch_as_in_pytorch(torch, name, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    for training in (True, False):
        theirs = getattr(torch.nn, f"Lazy{name}")(dtype=torch.float64, bias=False).train(training)
        ours = getattr(bn, name)(None, dtype="f8", bias=False).train(training)
        expected = theirs(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(ours(x), expected, atol=1e-12)
        assert_same_state(theirs, ours, atol=1e-14)
        assert ours.num_features == theirs.num_features == 3
        assert type(ours).__name__ == type(theirs).__name__


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize("training", [True, False])
def test_layers_are_reset_as_in_pytorch(torch, training, eps):
    theirs, ours = pair(torch, "BatchNorm2d", np.float64, eps=eps)
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 6))
    for reset in ("reset_running_stats", "reset_parameters"):
        for layer, batch in ((theirs, torch.from_numpy(x)), (ours, x)):
            layer.train(training)(batch)
            getattr(layer, reset)()
        assert_same_state(theirs, ours, rtol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_through_layers_of_float32_equal_pytorch(torch, kind, training):
    theirs, ours = pair(torch, "BatchNorm2d", np.float32)
    rng = np.random.default_rng(0)
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), kind, kind))
    x, dy = (rng.standard_normal((4, 3, 5, 6)).astype(dtype) for _ in range(2))
    tx, tdy = (torch.tensor(a.astype("f4")).to(getattr(torch, kind)) for a in (x, dy))
    tx.requires_grad_(True)
    ty = theirs.train(training)(tx)
    ty.backward(tdy)
    y = ours.train(training)(x)
    dx = ours.backward(dy)
    assert y.dtype == dx.dtype == dtype
    limit = {"rtol": 2 * float(torch.finfo(tx.dtype).eps), "atol": 2e-3}
    np.testing.assert_allclose(y.astype("f4"), ty.detach().float().numpy(), **limit)
    np.testing.assert_allclose(dx.astype("f4"), tx.grad.float().numpy(), **limit)
    assert_same_state(theirs, ours, rtol=1e-5, atol=1e-5)


# ---- differences on purpose ----


def test_a_batch_that_is_refused_or_empty_is_counted_in_pytorch_and_not_in_bn(torch):
    for shape in ((1, 3), (6, 4), (0, 3)):
        theirs, ours = pair(torch, "BatchNorm1d", np.float32)
        for layer, x in ((theirs, torch.ones(shape)), (ours, np.ones(shape, np.float32))):
            with contextlib.suppress(ValueError, RuntimeError):
                layer(x)
        assert (theirs.num_batches_tracked, ours.num_batches_tracked) == (1, 0)


def test_the_number_of_channels_is_checked_always_in_bn_and_sometimes_in_pytorch(torch):
    """PyTorch looks at its vectors, if it has any, and if the batch is not empty."""
    off = {"affine": False, "track_running_stats": False}
    for options, shape in ((off, (6, 4)), ({}, (0, 4))):
        theirs, ours = pair(torch, "BatchNorm1d", np.float32, **options)
        assert theirs(torch.ones(shape)).shape == shape
        with pytest.raises(ValueError, match="BatchNorm1d takes 3 channels on axis 1"):
            ours(np.ones(shape, np.float32))


def test_eps_of_0_and_float64_through_a_layer_of_float32_are_errors_in_pytorch_alone(torch):
    x = np.random.default_rng(0).standard_normal((6, 3))
    for options, batch, message in (
        ({"eps": 0.0}, x.astype("f4"), "eps must be positive during training"),
        ({}, x, "mixed dtype"),
    ):
        theirs, ours = pair(torch, "BatchNorm1d", np.float32, **options)
        with pytest.raises((ValueError, RuntimeError), match=message):
            theirs(torch.from_numpy(batch))
        assert np.isfinite(ours(batch)).all()


@pytest.mark.parametrize("options", [{"eps": -1}, {"momentum": 1.5}, {"momentum": -0.1}], ids=str)
def test_options_out_of_range_are_refused_at_once_in_bn_and_not_in_pytorch(torch, options):
    torch.nn.BatchNorm1d(3, **options)
    with pytest.raises(ValueError, match=next(iter(options))):
        bn.BatchNorm1d(3, **options)


def test_half_of_the_running_statistics_is_refused_by_bn_and_pytorch(torch):
    for dropped in ("running_mean", "running_var"):
        for training in (True, False):
            theirs, ours = pair(torch, "BatchNorm1d", np.float32)
            for layer, x in ((theirs, torch.ones(5, 3)), (ours, np.ones((5, 3), np.float32))):
                setattr(layer.train(training), dropped, None)
                with pytest.raises((ValueError, RuntimeError), match=r"running_mean|running_var"):
                    layer(x)
