"""Groups of parameters have options of their own, in steps, states and schedules."""

import copy
import re

import numpy as np
import pytest

import bn
from bn import nn

KINDS = [nn.SGD, nn.Adam, nn.AdamW, nn.RMSprop]


def parameters(count=3):
    return [nn.Parameter(np.full(4, float(i + 1))) for i in range(count)]


def steps(params, *optimizers, count=3, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for p in params:
            p.grad = rng.standard_normal(p.shape)
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_each_group_steps_with_its_own_options_and_the_others_of_the_constructor(kind):
    params, copies = parameters(), parameters()
    grouped = kind(
        [{"params": params[:1], "lr": 0.5}, {"params": iter(params[1:]), "weight_decay": 0.25}],
        lr=0.1,
    )
    steps(params, grouped)
    options = [{"lr": 0.5}, {"lr": 0.1, "weight_decay": 0.25}]
    parts = [copies[:1], copies[1:]]
    alone = [kind(part, **own) for part, own in zip(parts, options, strict=True)]
    steps(copies, *alone)
    for p, other in zip(params, copies, strict=True):
        np.testing.assert_array_equal(p.data, other.data)


def test_a_group_may_hold_one_parameter_or_none():
    p, q = parameters(2)
    optimizer = nn.SGD([{"params": p}, {"params": []}, {"params": [q]}], lr=0.1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 0, 1]
    steps([p, q], optimizer)
    assert (p.data != 1).all() and (q.data != 2).all()


def test_an_option_that_is_set_is_that_of_all_groups_and_a_group_may_be_changed():
    p, q = parameters(2)
    optimizer = nn.SGD([{"params": p, "lr": 0.5}, {"params": q}], lr=0.1)
    assert optimizer.lr == 0.5 and optimizer.defaults["lr"] == 0.1
    optimizer.lr = 0.2
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2]
    optimizer.param_groups[1]["lr"] = 0.0
    p.grad = q.grad = np.ones(4)
    optimizer.step()
    np.testing.assert_allclose(p.data, 0.8)
    np.testing.assert_array_equal(q.data, 2)


class Signs(nn.Optimizer):
    """An optimizer of a user, which reads its options as attributes."""

    option_names = ("lr", "power")

    def __init__(self, params, lr, power=1.0):
        super().__init__(params, lr)
        self.power = power

    def update(self, p, grad, state, scratch):
        p -= self.lr * np.sign(grad) * np.abs(grad) ** self.power


def test_an_optimizer_of_ones_own_has_groups():
    p, q = parameters(2)
    optimizer = Signs([{"params": p, "power": 2.0}, {"params": q, "lr": 1.0}], lr=0.5)
    p.grad = q.grad = np.full(4, 3.0)
    optimizer.step()
    np.testing.assert_array_equal(p.data, 1 - 0.5 * 9)
    np.testing.assert_array_equal(q.data, 2 - 1.0 * 3)
    assert optimizer.power == 2.0  # between steps that of the first group


def test_an_error_in_a_step_leaves_the_first_group_as_the_one_that_is_asked():
    class Fails(Signs):
        def update(self, p, grad, state, scratch):
            if self.lr == 1.0:
                raise ArithmeticError

    p, q = parameters(2)
    optimizer = Fails([{"params": p}, {"params": q, "lr": 1.0}], lr=0.5)
    p.grad = q.grad = np.ones(4)
    with pytest.raises(ArithmeticError):
        optimizer.step()
    assert optimizer.lr == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_all_groups_is_saved_and_loaded(kind):
    def grouped(params):
        return kind([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}], lr=0.1)

    params = parameters()
    optimizer = grouped(params)
    steps(params, optimizer)
    optimizer.param_groups[1]["lr"] = 0.03
    copies = [nn.Parameter(p.data.copy()) for p in params]
    other = grouped(copies)
    other.load_state_dict(optimizer.state_dict())
    steps(params, optimizer, seed=1)
    steps(copies, other, seed=1)
    for p, each in zip(params, copies, strict=True):
        np.testing.assert_array_equal(p.data, each.data)
    assert [g["params"] for g in optimizer.state_dict()["param_groups"]] == [[0], [1, 2]]


def test_a_state_of_other_groups_changes_nothing():
    params = parameters()
    optimizer = nn.SGD([{"params": params[:1]}, {"params": params[1:]}], lr=0.1)
    before = optimizer.state_dict()
    three = nn.SGD([{"params": p} for p in parameters()], lr=0.1).state_dict()
    one = nn.SGD(parameters(), lr=0.1).state_dict()
    strange = copy.deepcopy(before)
    strange["param_groups"][1]["lr"] = -1
    for state, message in [
        (three, "the state must be of 1 + 2 parameters, got 1 + 1 + 1"),
        (one, "the state must be of 1 + 2 parameters, got 3"),
        (strange, "lr must be a number of at least 0, got -1"),
        ({"state": []}, "the state must have param_groups and state, got state"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            optimizer.load_state_dict(state)
    assert optimizer.state_dict() == before


def test_a_deep_copy_has_groups_of_its_own():
    params = parameters()
    optimizer = nn.Adam([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}])
    other = copy.deepcopy(optimizer)
    other.lr = 3.0
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1e-3]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([{"params": parameters(1), "lr": -1}], ValueError, "lr must be a number of at least 0"),
        ([{"params": parameters(1), "momentum": -1}], ValueError, "momentum must be a number of"),
        ([{"params": parameters(1), "nesterov": True}], ValueError, "nesterov needs a momentum"),
        (
            [{"params": parameters(1), "weight_dekay": 0.1}],
            ValueError,
            "group 0 of params must have options of SGD (lr, weight_decay, momentum, dampening, "
            "nesterov), got 'weight_dekay'",
        ),
        ([{"lr": 0.1}], ValueError, "group 0 of params must have params, got lr"),
        (
            [{"params": parameters(1)}, *parameters(1)],
            TypeError,
            "group 1 of params must be a dict, as other groups are, got Parameter",
        ),
        ([{"params": nn.Linear(2, 2, rng=0)}], TypeError, "params must be parameters, got a Lin"),
        ([{"params": [np.ones(2)]}], TypeError, "every parameter must be of type Parameter"),
        ([{"params": []}], ValueError, "an optimizer needs at least one parameter, got none"),
    ],
)
def test_a_group_that_does_not_fit_is_refused(groups, error, message):
    with pytest.raises(error, match=re.escape(message)):
        nn.SGD(groups, lr=0.1)


def test_a_parameter_in_two_groups_is_refused():
    (p,) = parameters(1)
    with pytest.raises(ValueError, match="every parameter must be given once"):
        nn.SGD([{"params": p}, {"params": [p]}], lr=0.1)


# ---- no_decay ----


def names_of(model, group):
    members = {id(p) for p in group["params"]}
    return [name for name, p in model.named_parameters() if id(p) in members]


def test_normalizations_and_biases_have_no_decay():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, rng=0),
        bn.BatchNorm2d(4),
        bn.GroupNorm(2, 4),
        bn.InstanceNorm2d(4, affine=True),
        bn.GhostBatchNorm(bn.BatchNorm2d(4), 2),
        nn.PReLU(4),
        nn.Flatten(),
        bn.LayerNorm(4),
        bn.RMSNorm(4),
        nn.Linear(4, 2, rng=0),
    )
    decayed, rest = nn.no_decay(model, 0.05)
    assert decayed["weight_decay"] == 0.05 and rest["weight_decay"] == 0
    assert names_of(model, decayed) == ["0.weight", "9.weight"]
    assert len(decayed["params"]) + len(rest["params"]) == len(model.parameters())


def test_the_biases_of_recurrent_layers_have_no_decay():
    model = nn.LSTM(3, 4, rng=0)
    decayed, rest = nn.no_decay(model)
    assert "weight_decay" not in decayed
    assert names_of(model, decayed) == ["weight_ih_l0", "weight_hh_l0"]
    assert names_of(model, rest) == ["bias_ih_l0", "bias_hh_l0"]


def test_no_decay_leaves_norms_alone_in_a_step_without_gradients():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), bn.BatchNorm1d(4))
    optimizer = nn.AdamW(nn.no_decay(model), lr=0.1, weight_decay=0.5)
    before = model.state_dict()
    for p in model.parameters():
        p.grad = np.zeros_like(p.data)
    optimizer.step()
    after = model.state_dict()
    np.testing.assert_allclose(after["0.weight"], before["0.weight"] * 0.95, rtol=1e-6)
    for name in ("0.bias", "1.weight", "1.bias"):
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, "model must be of type Module, got int"),
        ((nn.Linear(2, 2, rng=0), -1), ValueError, "weight_decay must be a number of at least 0"),
    ],
)
def test_no_decay_refuses_what_is_no_model_and_no_decay(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.no_decay(*arguments)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_groups_and_a_schedule_equal_pytorch(torch, kind):
    params = parameters()
    theirs = [torch.tensor(p.data.copy(), requires_grad=True) for p in params]

    def grouped(optim, some):
        groups = [
            {"params": some[:1], "lr": 0.05, "weight_decay": 0.2},
            {"params": some[1:], "weight_decay": 0.0},
        ]
        return getattr(optim, kind)(groups, lr=0.01)

    ours, other = grouped(nn, params), grouped(torch.optim, theirs)
    schedule = nn.CosineAnnealingLR(ours, 20, 1e-3)
    their_schedule = torch.optim.lr_scheduler.CosineAnnealingLR(other, 20, 1e-3)
    rng = np.random.default_rng(0)
    for _ in range(50):
        for p, t in zip(params, theirs, strict=True):
            p.grad = rng.standard_normal(p.shape)
            t.grad = torch.tensor(p.grad)
        for each in (ours, other, schedule, their_schedule):
            each.step()
        assert schedule.get_last_lr() == pytest.approx(their_schedule.get_last_lr(), rel=1e-9)
    for p, t in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach().numpy(), rtol=1e-10)
