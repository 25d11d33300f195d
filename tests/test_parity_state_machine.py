"""`bn` and PyTorch stay the same side by side, whatever happens to both."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import bn

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:Lazy modules")]

RANKS = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,)}
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-10}  # relative to the largest number so far
MOMENTA = st.sampled_from([0.1, 0.0, 1.0, 0.7, None])
SEEDS = st.integers(0, 999)
ODD = st.sampled_from(["single", "empty", "rank", "channels", "integers"])


def spread(shape, rng, dtype):
    """Return random values with a variance that is far from 0 in every channel."""
    x = np.moveaxis(rng.uniform(-0.4, 0.4, shape), 1, 0).copy()
    x.reshape(shape[1], -1)[:, ::2] += 2
    return np.ascontiguousarray(np.moveaxis(x, 0, 1) + rng.integers(-2, 3)).astype(dtype)


def outcome(layer, x):
    """Return what a layer returns, and what it raises."""
    try:
        return layer(x), None
    except (TypeError, ValueError, RuntimeError) as error:
        return None, error


class SideBySide(RuleBasedStateMachine):
    """It makes the same calls for a layer of `bn` (ours) and for PyTorch's (theirs)."""

    @initialize(
        name=st.sampled_from(list(RANKS)),
        channels=st.integers(1, 4),
        dtype=st.sampled_from([np.float32, np.float64]),
        momentum=MOMENTA,
        eps=st.sampled_from([1e-5, 1e-3, 0.5]),
        affine=st.booleans(),
        bias=st.booleans(),
        tracked=st.sampled_from([True, True, True, False]),
        lazy=st.booleans(),
        poison=st.sampled_from([False, False, False, True]),
        seed=SEEDS,
    )
    def make(self, name, channels, dtype, lazy, poison, seed, tracked, **options):
        import torch

        self.torch = torch
        self.ranks, self.channels, self.dtype = RANKS[name], channels, dtype
        self.poison, self.pending, self.frozen, self.largest = poison, None, False, 1.0
        options["track_running_stats"] = tracked
        self.ours = getattr(bn, name)(None if lazy else channels, dtype=dtype, **options)
        self.ours.nonfinite = "propagate"
        options["dtype"] = getattr(torch, np.dtype(dtype).name)
        if lazy:
            self.theirs = getattr(torch.nn, f"Lazy{name}")(**options)
            self.forward("usual", seed)
        else:
            self.theirs = getattr(torch.nn, name)(channels, **options)
        self.same_state()

    # ---- comparing ----

    def same(self, ours, theirs, what):
        assert (ours is None) == (theirs is None), what
        if ours is None:
            return
        ours, theirs = np.asarray(ours), theirs.detach().numpy()
        assert ours.dtype == theirs.dtype, what
        finite = np.abs(theirs[np.isfinite(theirs)])
        self.largest = max([self.largest, *finite.ravel()])
        limit = TOLERANCE[self.dtype]
        np.testing.assert_allclose(
            ours, theirs, rtol=limit, atol=limit * self.largest, err_msg=what
        )

    def same_state(self):
        state = self.theirs.state_dict()
        ours = dict(self.ours.named_state())
        assert list(ours) == list(state)
        for name, value in state.items():
            self.same(ours[name], value, name)
        pairs = zip(self.ours.parameters(), self.theirs.parameters(), strict=True)
        for mine, other in pairs:
            self.same(mine.grad, other.grad, "gradient of a parameter")

    def same_refusal(self, ours, theirs):
        """Compare with PyTorch's sentence, after the name of the layer, where `bn` uses it.

        Elsewhere PyTorch must refuse as well.
        """
        assert isinstance(ours, (TypeError, ValueError))
        if isinstance(theirs, ValueError):
            sentence = str(theirs).replace("torch.Size([", "(").replace("])", ")")
            own = str(ours).removeprefix(f"{type(self.ours).__name__}: ")
            assert (type(ours), own) == (ValueError, sentence)

    # ---- forward and backward ----

    def batch(self, kind, rng):
        rank = int(rng.choice(self.ranks))
        shape = [*rng.integers(2, 5, 1), self.channels, *rng.integers(1, 4, rank - 2)]
        if kind == "single":
            shape = [1, self.channels, *[1] * (rank - 2)]
        if kind == "empty":
            shape[int(rng.choice([0, *range(2, rank)]))] = 0
        if kind == "rank":
            shape = shape[:-1] if rank == min(self.ranks) else [*shape, 2]
        if kind == "channels":
            shape[1] += 1
        if len(shape) < 2:
            return rng.standard_normal(shape).astype(self.dtype)
        x = spread(shape, rng, self.dtype)
        if kind == "integers":
            return x.astype(np.int64)
        if self.poison and x.size and rng.random() < 0.2:
            x[tuple(rng.integers(0, shape))] = rng.choice([np.inf, -np.inf, np.nan])
        if rng.random() < 0.3:  # channels last in memory
            x = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
        return x

    @rule(seed=SEEDS, steps=st.integers(1, 3))
    def training_steps(self, seed, steps):
        for k in range(steps):
            self.zero_grad()
            self.forward("usual", seed + k)
            self.backward(seed)
            if self.ours.parameters():
                self.sgd_step()

    @rule(seed=SEEDS, backward=st.booleans())
    def usual_batch(self, seed, backward):
        self.forward("usual", seed)
        if backward:
            self.backward(seed)

    @rule(kind=ODD, seed=SEEDS)
    def odd_batch(self, kind, seed):
        self.forward(kind, seed)

    def forward(self, kind, seed):
        x = self.batch(kind, np.random.default_rng(seed))
        tx = self.torch.tensor(x, requires_grad=kind != "integers")
        before = self.ours.state_dict() if self.ours.num_features else {}
        y, refused = outcome(self.ours, x)
        ty, theirs_refused = outcome(self.theirs, tx)
        self.pending = None
        if refused is None:
            assert theirs_refused is None
            self.same(y, ty, "y")
            self.pending = tx, ty
        elif theirs_refused is None:
            assert kind == "channels"  # PyTorch looks at vectors that it uses, `bn` at all
        else:
            self.same_refusal(refused, theirs_refused)
        if (refused or x.size == 0) and before:  # PyTorch counts these batches
            for name, array in self.ours.named_state():
                np.testing.assert_array_equal(array, before[name])
            self.count_as_ours()
        self.same_state()

    def count_as_ours(self):
        if self.ours.num_batches_tracked is not None:
            self.theirs.num_batches_tracked.fill_(int(self.ours.num_batches_tracked))

    @precondition(lambda self: self.pending)
    @rule(seed=SEEDS)
    def backward(self, seed):
        tx, ty = self.pending
        self.pending = None
        dy = np.random.default_rng(seed).standard_normal(tx.shape).astype(self.dtype)
        ty.backward(self.torch.tensor(dy))
        self.same(self.ours.backward(dy), tx.grad, "dx")
        self.same_state()

    # ---- training ----

    @rule()
    def zero_grad(self):
        self.ours.zero_grad()
        self.theirs.zero_grad()
        self.same_state()

    @precondition(lambda self: self.ours.parameters())
    @rule()
    def sgd_step(self):
        gradients = [p.grad for p in self.ours.parameters() if p.grad is not None]
        if any(np.isinf(g).any() for g in gradients):
            return  # an infinite weight makes NaN here, and in PyTorch sometimes infinities
        self.pending = None  # PyTorch refuses a backward pass over parameters that have changed
        bn.nn.SGD(self.ours.parameters(), lr=0.05).step()
        self.torch.optim.SGD(self.theirs.parameters(), lr=0.05).step()
        self.same_state()

    @rule(mode=st.booleans())
    def train(self, mode):
        self.ours.train(mode)
        self.theirs.train(mode and not self.frozen)

    @rule(frozen=st.booleans())
    def freeze(self, frozen):
        """PyTorch has only eval() and requires_grad for it, again after each train()."""
        self.pending = None
        self.frozen = frozen
        (bn.freeze if frozen else bn.unfreeze)(self.ours)
        self.theirs.train(self.ours.training and not frozen)
        self.theirs.requires_grad_(not frozen)

    @precondition(lambda self: not self.frozen)
    @rule(trained=st.booleans())
    def requires_grad(self, trained):
        self.pending = None
        bn.freeze(self.ours, use_batch_stats=None, update_stats=None, train_affine=trained)
        self.theirs.requires_grad_(trained)

    @rule(momentum=MOMENTA)
    def change_momentum(self, momentum):
        self.ours.momentum = self.theirs.momentum = momentum

    @precondition(lambda self: self.ours.running_mean is not None)
    @rule(tracked=st.booleans())
    def track(self, tracked):
        self.ours.track_running_stats = self.theirs.track_running_stats = tracked

    # ---- states ----

    @rule(seed=SEEDS, old=st.booleans(), dtype=st.sampled_from([np.float32, np.float64]))
    def load(self, seed, old, dtype):
        """Load a checkpoint, or one of before PyTorch counted batches."""
        rng = np.random.default_rng(seed)
        state = {
            name: rng.integers(0, 5) if array.ndim == 0 else rng.uniform(0.5, 2, array.shape)
            for name, array in self.ours.named_state()
        }
        state = {name: np.array(v, None if np.ndim(v) == 0 else dtype) for name, v in state.items()}
        if old and self.theirs.track_running_stats:
            state.pop("num_batches_tracked", None)
        self.pending = None
        self.ours.load_state_dict(state)
        self.theirs.load_state_dict({k: self.torch.from_numpy(v) for k, v in state.items()})
        self.same_state()

    @rule(to_ours=st.booleans())
    def hand_over(self, to_ours):
        self.pending = None
        if to_ours:
            self.ours.load_state_dict(self.theirs.state_dict())
        else:
            state = {k: self.torch.from_numpy(v) for k, v in self.ours.state_dict().items()}
            self.theirs.load_state_dict(state)
        for name, array in self.ours.named_state():
            np.testing.assert_array_equal(array, self.theirs.state_dict()[name].numpy())

    @precondition(lambda self: self.ours.state_dict())
    @rule(seed=SEEDS, how=st.sampled_from(["missing", "unknown", "shape"]))
    def load_what_does_not_fit(self, seed, how):
        self.pending = None
        before = self.ours.state_dict()
        state = {k: v + 1 for k, v in before.items()}
        name = next(iter(state))
        if how == "missing":
            del state[name]
        else:
            state["scale" if how == "unknown" else name] = np.ones(self.channels + 1)
        with pytest.raises(ValueError, match=r"does not fit the model|must have shape"):
            self.ours.load_state_dict(state)
        with pytest.raises(RuntimeError, match=r"Error.* in loading state_dict"):
            self.theirs.load_state_dict({k: self.torch.tensor(v) for k, v in state.items()})
        for name, array in self.ours.named_state():
            np.testing.assert_array_equal(array, before[name])
        self.hand_over(to_ours=False)  # PyTorch has taken what fitted

    @precondition(lambda self: self.ours.running_mean is not None)
    @rule()
    def reset_running_stats(self):
        self.pending = None
        self.theirs.reset_running_stats()
        if self.ours.track_running_stats:  # PyTorch resets nothing where this was switched off
            self.ours.reset_running_stats()
        self.same_state()


def test_no_sequence_of_calls_tells_bn_from_pytorch(torch):
    run_state_machine_as_test(
        SideBySide,
        settings=settings(
            max_examples=150,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_each_row_of_the_truth_table_of_modes_is_that_of_pytorch(
    torch, training, tracked, kept, affine
):
    """The table says which statistics normalize, and whether they change."""
    rng = np.random.default_rng(0)
    pair = (
        bn.BatchNorm1d(3, affine=affine, dtype="f8"),
        torch.nn.BatchNorm1d(3, affine=affine, dtype=torch.float64),
    )
    x, dy = spread((6, 3, 4), rng, np.float64), rng.standard_normal((6, 3, 4))
    for layer in pair:
        layer.train(training)
        layer.track_running_stats = tracked
        if not kept:
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    ours, theirs = pair
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), atol=1e-12)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, array in ours.named_state():
        np.testing.assert_allclose(array, state[name].numpy(), atol=1e-12, err_msg=name)
