"""Optimizers give PyTorch's numbers over many steps, keep their state, and refuse bad options."""

import re

import numpy as np
import pytest

from bn import nn

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "alpha": 0.9}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.1}),
]


def parameters(dtype=np.float64):
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.standard_normal(s).astype(dtype)) for s in [(3, 4), (2,), ()]]


def steps(params, optimizer, count=4, seed=1):
    """Make steps with random gradients; now and then a parameter has none."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        optimizer.zero_grad()
        for k, p in enumerate(params):
            if (i + k) % 3 or k == 0:
                p.grad = rng.standard_normal(p.shape).astype(p.dtype)
        optimizer.step()


def textbook(kind, p, gradients, options):
    """Compute with the formulas of the papers, as they are written."""
    lr, decay = options["lr"], options.get("weight_decay", 0.01 if kind == "AdamW" else 0)
    momentum, dampening = options.get("momentum", 0), options.get("dampening", 0)
    (beta1, beta2), eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
    alpha = options.get("alpha", 0.99)
    b = m = v = 0
    for t, g in enumerate(gradients, 1):
        if kind == "AdamW":
            p = p - lr * decay * p
        else:
            g = g + decay * p  # noqa: PLW2901
        if kind == "SGD":
            b = g if t == 1 else momentum * b + (1 - dampening) * g
            p = p - lr * (g + momentum * b if options.get("nesterov") else b)
        elif kind == "RMSprop":
            m, v = alpha * m + (1 - alpha) * g, alpha * v + (1 - alpha) * g**2
            b = momentum * b + g / (np.sqrt(v - m**2 * options.get("centered", False)) + eps)
            p = p - lr * b
        else:
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            p = p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return p


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_optimizers_follow_their_formulas(kind, options):
    options = {"lr": 0.1, **options}
    p = nn.Parameter(np.random.default_rng(0).standard_normal((3, 4)))
    gradients = np.random.default_rng(1).standard_normal((5, 3, 4))
    expected = textbook(kind, p.data.copy(), gradients, options)
    optimizer = getattr(nn, kind)([p], **options)
    for gradient in gradients:
        p.grad = gradient
        optimizer.step()
    np.testing.assert_allclose(p.data, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_optimizers_update_in_place_and_keep_the_dtype(kind, options, dtype):
    params = parameters(dtype)
    arrays = [p.data for p in params]
    before = [a.copy() for a in arrays]
    optimizer = getattr(nn, kind)(params, **{"lr": 0.1, **options})
    steps(params, optimizer)
    for p, array, old in zip(params, arrays, before, strict=True):
        assert p.data is array and array.dtype == dtype
        assert (array != old).all()
    for state in optimizer.state:
        assert all(np.asarray(v).dtype == dtype for k, v in state.items() if k != "step")


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_step_leaves_gradients_alone_and_skips_parameters_without_one(kind, options):
    params = parameters()
    optimizer = getattr(nn, kind)(params, **{"lr": 0.1, **options})
    kept = params[1].data.copy()
    params[0].grad = gradient = np.ones((3, 4))
    optimizer.step()
    optimizer.step()
    np.testing.assert_array_equal(gradient, np.ones((3, 4)))
    np.testing.assert_array_equal(params[1].data, kept)
    assert not optimizer.state[1]


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (np.ones(3), ValueError, "the gradient of parameter 1 must have shape (2,), got (3,)"),
        (np.ones(()), ValueError, "the gradient of parameter 1 must have shape (2,), got ()"),
        (np.ones(2, np.float32), TypeError, "must be float64, as the parameter, got float32"),
        ([1.0, 1.0], TypeError, "the gradient of parameter 1 must be a numpy array, got list"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_before_any_step(
    kind, options, gradient, error, message
):
    params = parameters()
    before = [p.data.copy() for p in params]
    optimizer = getattr(nn, kind)(params, **{"lr": 0.1, **options})
    params[0].grad, params[1].grad = np.ones((3, 4)), gradient
    with pytest.raises(error, match=re.escape(message)):
        optimizer.step()
    for p, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.data, old)
    assert not any(optimizer.state)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_parameter_that_is_no_float_is_refused_before_any_step(kind, options):
    params = [nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2, int))]
    for p in params:
        p.grad = np.ones_like(p.data)
    with pytest.raises(TypeError, match="parameter 1 must be float32 or float64, got int64"):
        getattr(nn, kind)(params, **{"lr": 0.1, **options}).step()
    assert (params[0].data == 1).all()


def test_zero_grad_forgets_all_gradients():
    params = parameters()
    params[0].grad = np.ones((3, 4))
    nn.SGD(params, lr=0.1).zero_grad()
    assert all(p.grad is None for p in params)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_an_optimizer_with_a_loaded_state_goes_on_as_if_nothing_had_happened(kind, options):
    options = {"lr": 0.1, **options}
    params = parameters()
    optimizer = getattr(nn, kind)(params, **options)
    steps(params, optimizer)
    state = optimizer.state_dict()
    copies = [nn.Parameter(p.data.copy()) for p in params]
    other = getattr(nn, kind)(copies, lr=7.0)
    other.load_state_dict(state)
    steps(params, optimizer, seed=2)
    steps(copies, other, seed=2)
    for p, copy in zip(params, copies, strict=True):
        np.testing.assert_array_equal(p.data, copy.data)


def test_the_state_of_an_optimizer_is_a_copy():
    params = parameters()
    optimizer = nn.SGD(params, lr=0.1, momentum=0.9)
    steps(params, optimizer)
    state = optimizer.state_dict()
    kept = state["state"][0]["momentum_buffer"].copy()
    steps(params, optimizer)
    np.testing.assert_array_equal(state["state"][0]["momentum_buffer"], kept)


def test_an_optimizer_refuses_a_state_that_does_not_fit_and_changes_nothing():
    params = parameters()
    optimizer = nn.Adam(params, lr=0.5)
    steps(params, optimizer)
    before = optimizer.state_dict()
    sgd = nn.SGD(parameters(), lr=0.1, momentum=0.9)
    fewer = nn.Adam(parameters()[:2])
    bad = nn.Adam(params).state_dict()
    bad["state"][0] = {"step": 1, "exp_avg": np.zeros((3, 4)), "exp_avg_sq": np.zeros(3)}
    odd = nn.Adam(params).state_dict()
    odd["state"][0] = {"step": 1}

    def with_option(**option):
        state = nn.Adam(params).state_dict()
        return {**state, "param_groups": [{**state["param_groups"][0], **option}]}

    def with_memory(**memory):
        state = nn.Adam(params, lr=0.25).state_dict()
        zeros = np.zeros((3, 4))
        state["state"][0] = {"step": 1, "exp_avg": zeros, "exp_avg_sq": zeros, **memory}
        return state

    for state, message in [
        (sgd.state_dict(), "the state must have the options lr, betas, eps, weight_decay"),
        (fewer.state_dict(), "the state must be of 3 parameters, got 2"),
        (bad, r"exp_avg_sq of parameter 0 must have shape (3, 4), got (3,)"),
        (odd, "the state of parameter 0 must have step, exp_avg, exp_avg_sq, got step"),
        (with_option(lr="a"), "lr must be a number of at least 0, got 'a'"),
        (with_option(betas=3), "betas must be two numbers, at least 0 and less than 1, got 3"),
        (with_memory(step="x"), "step of parameter 0 must be a whole number of at least 0, got"),
        (with_memory(step=-1), "step of parameter 0 must be a whole number of at least 0, got -1"),
        (
            with_memory(exp_avg=np.full((3, 4), "a")),
            "exp_avg of parameter 0 must hold numbers, got dtype <U1",
        ),
    ]:
        with pytest.raises((ValueError, TypeError), match=re.escape(message)):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for a, b in zip(after["state"], before["state"], strict=True):
        assert all((a[k] == b[k]).all() for k in b)


class Heavy(nn.Optimizer):
    """A user's optimizer: momentum without dampening, and a count of the steps."""

    option_names = ("lr", "momentum")
    state_names = ("step", "velocity")

    def __init__(self, params, lr, momentum=0.5):
        super().__init__(params, lr)
        self.momentum = momentum

    def update(self, p, grad, state, scratch):
        if not state:
            state.update(step=0, velocity=np.zeros_like(p))
        state["step"] += 1
        state["velocity"] *= self.momentum
        state["velocity"] += grad
        p -= np.multiply(state["velocity"], self.lr, out=scratch)


def test_an_optimizer_of_ones_own_steps_and_is_saved_and_loaded():
    ours, theirs = parameters(), parameters()
    optimizer = Heavy(ours, lr=0.1)
    steps(ours, optimizer)
    steps(theirs, nn.SGD(theirs, lr=0.1, momentum=0.5))
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12)
    state = optimizer.state_dict()
    assert state["param_groups"] == [{"params": [0, 1, 2], "lr": 0.1, "momentum": 0.5}]
    assert list(state["state"][0]) == ["step", "velocity"]
    copies = [nn.Parameter(p.data.copy()) for p in ours]
    other = Heavy(copies, lr=7.0, momentum=0.25)
    other.load_state_dict(state)
    steps(ours, optimizer, seed=2)
    steps(copies, other, seed=2)
    assert other.state[0]["step"] == 8
    for p, copy in zip(ours, copies, strict=True):
        np.testing.assert_array_equal(p.data, copy.data)


def test_an_optimizer_without_update_says_what_is_missing():
    class Lazy(nn.Optimizer):
        pass

    p = nn.Parameter(np.ones(2))
    p.grad = np.ones(2)
    with pytest.raises(NotImplementedError, match=r"Lazy\.update"):
        Lazy([p], lr=0.1).step()


one = nn.Parameter(np.ones(1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.SGD([], lr=0.1), ValueError, "an optimizer needs at least one parameter"),
        (lambda: nn.SGD([np.ones(1)], lr=0.1), TypeError, "must be of type Parameter, got ndarray"),
        (lambda: nn.SGD([one, one], lr=0.1), ValueError, "every parameter must be given once"),
        (lambda: nn.SGD([one], lr=-1), ValueError, "lr must be a number of at least 0, got -1"),
        (lambda: nn.SGD([one], lr=np.nan), ValueError, "lr must be a number of at least 0"),
        (lambda: nn.SGD([one], 0.1, momentum=-1), ValueError, "momentum must be a number of at"),
        (lambda: nn.SGD([one], 0.1, weight_decay=-1), ValueError, "weight_decay must be a number"),
        (lambda: nn.SGD([one], 0.1, 0.9, np.inf), ValueError, "dampening must be a finite number"),
        (
            lambda: nn.SGD([one], 0.1, nesterov=True),
            ValueError,
            "nesterov needs a momentum > 0 and no dampening, got momentum=0.0, dampening=0.0",
        ),
        (lambda: nn.Adam([one], betas=(1.0, 0.9)), ValueError, "betas must be two numbers"),
        (lambda: nn.Adam([one], betas=0.9), ValueError, "betas must be two numbers"),
        (lambda: nn.Adam([one], betas=("a", 0.1)), ValueError, "betas must be two numbers"),
        (lambda: nn.Adam([one], eps=-1), ValueError, "eps must be a number of at least 0"),
        (lambda: nn.RMSprop([one], alpha=1.5), ValueError, "alpha must be between 0 and 1"),
        (lambda: nn.RMSprop([one], momentum=-1), ValueError, "momentum must be a number of at"),
        (lambda: nn.RMSprop([one], eps=-1), ValueError, "eps must be a number of at least 0"),
    ],
)
def test_bad_options_of_an_optimizer_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_optimizers_equal_pytorch(torch, kind, options, dtype):
    params = parameters(dtype)
    theirs = [torch.tensor(p.data.copy(), requires_grad=True) for p in params]
    ours = getattr(nn, kind)(params, **{"lr": 0.1, **options})
    other = getattr(torch.optim, kind)(theirs, **{"lr": 0.1, **options})
    rng = np.random.default_rng(1)
    for i in range(50):
        for k, (p, t) in enumerate(zip(params, theirs, strict=True)):
            p.grad = t.grad = None
            if (i + k) % 3:
                p.grad = np.asarray(rng.standard_normal(p.shape), dtype)
                t.grad = torch.tensor(p.grad)
        ours.step()
        other.step()
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for p, t in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_a_model_in_place_of_its_parameters_is_refused():
    for model in (nn.Linear(2, 2, rng=0), nn.Sequential(nn.Linear(2, 2, rng=0))):
        with pytest.raises(
            TypeError, match=r"params must be parameters, got a .* model\.parameters"
        ):
            nn.SGD(model, lr=0.1)


def test_the_state_of_an_optimizer_from_before_there_were_groups_is_loaded():
    params = parameters()
    optimizer = nn.SGD(params, lr=0.1, momentum=0.9)
    steps(params, optimizer)
    new = optimizer.state_dict()
    options = {k: v for k, v in new["param_groups"][0].items() if k != "params"}
    other = nn.SGD(parameters(), lr=7.0)
    other.load_state_dict({"options": options, "state": new["state"]})
    found = other.state_dict()
    assert found["param_groups"] == new["param_groups"]
    for a, b in zip(found["state"], new["state"], strict=True):
        np.testing.assert_array_equal(a["momentum_buffer"], b["momentum_buffer"])


def test_parameters_that_share_memory_step_one_after_the_other():
    memory = np.random.default_rng(0).standard_normal((300, 400))
    grads = np.random.default_rng(1).standard_normal((2, 300, 400))
    expected = memory - 0.1 * grads[0] - 0.1 * grads[1]
    params = [nn.Parameter(memory), nn.Parameter(memory.T)]
    params[0].grad, params[1].grad = grads[0], grads[1].T
    nn.SGD(params, lr=0.1).step()
    np.testing.assert_allclose(memory, expected, rtol=1e-12, atol=1e-14)


def test_a_class_below_a_compiled_optimizer_may_update_in_another_way():
    class Clipped(nn.SGD):
        def update(self, p, grad, state, scratch):
            super().update(p, np.clip(grad, -1, 1, out=scratch), state, scratch)

    p = nn.Parameter(np.zeros(2))
    p.grad = np.array([0.5, 100.0])
    Clipped([p], lr=1.0, momentum=0.9).step()
    np.testing.assert_array_equal(p.data, [-0.5, -1.0])


def test_a_centered_rmsprop_stays_finite_where_all_gradients_are_equal():
    p = nn.Parameter(np.zeros(1000, np.float32))
    optimizer = nn.RMSprop([p], lr=1e-3, alpha=0.5, centered=True)
    for _ in range(200):
        p.grad = np.linspace(1, 2, 1000, dtype=np.float32)
        optimizer.step()
    assert np.isfinite(p.data).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.SGD([one], lr=0.1),
            "SGD(1 parameter, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, "
            "nesterov=False)",
        ),
        (
            lambda: nn.RMSprop([{"params": [one]}, {"params": parameters(), "lr": 0.5}]),
            "RMSprop(\n"
            "  (0): 1 parameter, lr=0.01, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0, "
            "centered=False\n"
            "  (1): 3 parameters, lr=0.5, alpha=0.99, eps=1e-08, weight_decay=0.0, momentum=0.0, "
            "centered=False\n"
            ")",
        ),
    ],
)
def test_the_repr_of_an_optimizer_shows_its_options(make, text):
    assert repr(make()) == text
