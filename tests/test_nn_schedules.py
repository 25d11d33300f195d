"""Schedules give PyTorch's rates, keep their state, and refuse bad options."""

import json
import re
import warnings

import numpy as np
import pytest

from bn import nn

one = nn.Parameter(np.ones(1))


class Plain(nn.Optimizer):
    """An optimizer without momentum."""

    option_names = ("lr",)


def sequential(choose):
    """Make a sequence of what `choose` picks from two schedules."""
    optimizer = nn.SGD([one], lr=1.0)
    schedules, milestones = choose(nn.LinearLR(optimizer), nn.StepLR(optimizer, 2))
    return nn.SequentialLR(optimizer, schedules, milestones)


def warm_up_and_cosine(optimizer, lr_scheduler=nn):
    return lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=4),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=0.01),
            lr_scheduler.StepLR(optimizer, 3),
        ],
        milestones=[4, 11],
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.StepLR([one], 1), TypeError, "optimizer must be of type Optimizer, got list"),
        (lambda: nn.StepLR(nn.SGD([one], 1), 0), ValueError, "step_size must be a positive"),
        (lambda: nn.StepLR(nn.SGD([one], 1), 1, -1), ValueError, "gamma must be a number of at"),
        (lambda: nn.CosineAnnealingLR(nn.SGD([one], 1), 0), ValueError, "T_max must be a posi"),
        (lambda: nn.CosineAnnealingLR(nn.SGD([one], 1), 1, -1), ValueError, "eta_min must be"),
        (lambda: nn.LinearLR(nn.SGD([one], 1), 0), ValueError, "start_factor must be above 0 and"),
        (lambda: nn.LinearLR(nn.SGD([one], 1), 1, 2), ValueError, "end_factor must be between 0"),
        (lambda: nn.LinearLR(nn.SGD([one], 1), total_iters=0), ValueError, "total_iters must be"),
        (lambda: nn.OneCycleLR(nn.SGD([one], 1), -1, 5), ValueError, "max_lr must be a number of"),
        (
            lambda: nn.OneCycleLR(nn.SGD([one], 1), [1, 2], 5),
            ValueError,
            r"max_lr must be one number or 1 of them, got \[1, 2\]",
        ),
        (
            lambda: nn.OneCycleLR(nn.SGD([one], 1), 1, epochs=3),
            ValueError,
            "total_steps, or epochs and steps_per_epoch, must be positive integers, got None, 3",
        ),
        (lambda: nn.OneCycleLR(nn.SGD([one], 1), 1, 0), ValueError, "total_steps must be a posi"),
        (lambda: nn.OneCycleLR(nn.SGD([one], 1), 1, 5, pct_start=2), ValueError, "pct_start must"),
        (
            lambda: nn.OneCycleLR(nn.SGD([one], 1), 1, 5, anneal_strategy="sin"),
            ValueError,
            "anneal_strategy must be one of 'cos', 'linear', got 'sin'",
        ),
        (
            lambda: nn.OneCycleLR(nn.SGD([one], 1), 1, 5, base_momentum=2),
            ValueError,
            "base_momentum must be between 0 and 1, got 2",
        ),
        (lambda: nn.OneCycleLR(nn.SGD([one], 1), 1, 5, div_factor=0), ValueError, "div_factor mus"),
        (
            lambda: nn.OneCycleLR(Plain([one], 1), 1, 5),
            ValueError,
            "cycle_momentum needs an optimizer with momentum or betas, got one with lr, weight_dec",
        ),
        (lambda: nn.ReduceLROnPlateau(nn.SGD([one], 1), "low"), ValueError, "mode must be one of"),
        (
            lambda: nn.ReduceLROnPlateau(nn.SGD([one], 1), factor=1),
            ValueError,
            "factor must be at least 0 and less than 1, got 1",
        ),
        (
            lambda: nn.ReduceLROnPlateau(nn.SGD([one], 1), patience=-1),
            ValueError,
            "patience must be a whole number of at least 0, got -1",
        ),
        (
            lambda: nn.ReduceLROnPlateau(nn.SGD([one], 1)).step("low"),
            ValueError,
            "metrics must be a number, got 'low'",
        ),
        (
            lambda: sequential(lambda a, b: ([], [])),
            ValueError,
            "schedulers must be at least one schedule, got none",
        ),
        (
            lambda: sequential(lambda a, b: ([a, nn.StepLR(nn.SGD([one], 1), 1)], [2])),
            ValueError,
            "schedulers must all have the same optimizer, got another one",
        ),
        (
            lambda: sequential(lambda a, b: ([a, nn.ReduceLROnPlateau(a.optimizer)], [2])),
            TypeError,
            "each of schedulers must be of type Schedule, got ReduceLROnPlateau",
        ),
        (
            lambda: sequential(lambda a, b: ([a, b, a], [3, 3])),
            ValueError,
            "milestones must be 2 positive integers that rise",
        ),
        (lambda: sequential(lambda a, b: ([a, b], [0])), ValueError, "milestones must be 1 pos"),
        (lambda: sequential(lambda a, b: ([a, b], [])), ValueError, "milestones must be 1 pos"),
    ],
)
def test_bad_options_of_a_schedule_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "expected", "tolerance"),
    [
        (lambda opt: nn.StepLR(opt, step_size=2, gamma=0.5), [1, 1, 0.5, 0.5, 0.25], 0),
        (lambda opt: nn.CosineAnnealingLR(opt, T_max=2, eta_min=0.5), [1, 0.75, 0.5], 1e-6),
        (lambda opt: nn.LinearLR(opt, 0.5, 1.0, 2), [0.5, 0.75, 1, 1], 1e-12),
        (
            lambda opt: nn.OneCycleLR(opt, 1.0, 5, pct_start=0.4, anneal_strategy="linear"),
            [0.04, 1.0, 2 / 3, 1 / 3, 4e-6],
            1e-4,
        ),
        (
            lambda opt: nn.SequentialLR(
                opt, [nn.LinearLR(opt, 0.25, 1.0, 3), nn.StepLR(opt, 1, 0.5)], [3]
            ),
            [0.25, 0.5, 0.75, 1.0, 0.5, 0.25],
            1e-12,
        ),
    ],
    ids=["StepLR", "CosineAnnealingLR", "LinearLR", "OneCycleLR", "SequentialLR"],
)
def test_schedules_set_the_rate_epoch_by_epoch(make, expected, tolerance):
    optimizer = nn.SGD([one], lr=1.0)
    schedule = make(optimizer)
    rates = []
    for _ in expected:
        rates.append(optimizer.lr)
        schedule.step()
    np.testing.assert_allclose(rates, expected, rtol=tolerance)


RESUMED = {
    "StepLR": lambda opt: nn.StepLR(opt, 2, 0.5),
    "CosineAnnealingLR": lambda opt: nn.CosineAnnealingLR(opt, 9, 0.1),
    "LinearLR": lambda opt: nn.LinearLR(opt, 0.1, 1.0, 9),
    "OneCycleLR": lambda opt: nn.OneCycleLR(opt, 2.0, 9),
    "SequentialLR": warm_up_and_cosine,
}


def two_groups(lr):
    p, q = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    return nn.SGD([{"params": p}, {"params": q, "lr": lr / 4}], lr=lr, momentum=0.5)


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("done", [0, 3, 6])
def test_a_schedule_with_a_loaded_state_goes_on_where_the_other_was(name, done):
    first, second = two_groups(1.0), two_groups(7.0)
    schedule, other = RESUMED[name](first), RESUMED[name](second)
    for _ in range(done):
        schedule.step()
    state = json.loads(json.dumps(schedule.state_dict()))
    other.load_state_dict(state)
    for _ in range(3):
        assert other.get_last_lr() == schedule.get_last_lr()
        assert second.momentum == first.momentum and other.last_epoch == schedule.last_epoch
        schedule.step()
        other.step()


def test_a_plateau_with_a_loaded_state_goes_on_where_the_other_was():
    first, second = two_groups(1.0), two_groups(7.0)
    options = {"factor": 0.5, "patience": 1, "cooldown": 1}
    schedule = nn.ReduceLROnPlateau(first, **options)
    other = nn.ReduceLROnPlateau(second, **options)
    rng = np.random.default_rng(0)
    for loss in rng.random(7):
        schedule.step(loss)
    other.load_state_dict(schedule.state_dict())
    for loss in rng.random(20):
        assert other.get_last_lr() == schedule.get_last_lr()
        schedule.step(loss)
        other.step(loss)
    assert 0 < schedule.get_last_lr()[1] < 0.25 / 4


def test_the_state_of_a_schedule_from_before_there_were_groups_is_loaded():
    optimizer = nn.SGD([one], lr=7.0)
    schedule = nn.StepLR(optimizer, 2, 0.5)
    schedule.load_state_dict({"base_lr": 1.0, "last_epoch": 4})
    assert optimizer.lr == 0.25 and schedule.base_lr == 1.0


@pytest.mark.parametrize("name", RESUMED)
def test_a_schedule_sets_the_rate_of_each_group_as_if_it_were_alone(name):
    together = RESUMED[name](two_groups(1.0))
    alone = [RESUMED[name](nn.SGD([nn.Parameter(np.ones(1))], lr=lr)) for lr in (1.0, 0.25)]
    for _ in range(9):
        assert together.get_last_lr() == [schedule.get_last_lr()[0] for schedule in alone]
        for schedule in (together, *alone):
            schedule.step()


def test_one_cycle_has_a_highest_rate_for_each_group_and_moves_the_momentum():
    optimizer = two_groups(1.0)
    schedule = nn.OneCycleLR(optimizer, [1.0, 0.5], 10)
    rates, momenta = [], []
    for _ in range(10):
        rates.append(schedule.get_last_lr())
        momenta.append(optimizer.param_groups[1]["momentum"])
        schedule.step()
    np.testing.assert_allclose(np.max(rates, axis=0), [1.0, 0.5])
    np.testing.assert_allclose(momenta[0::9], 0.95)
    assert min(momenta) == pytest.approx(0.85)


def test_one_cycle_gives_an_sgd_without_momentum_one_as_pytorch_does():
    optimizer = nn.SGD([one], lr=1.0)
    nn.OneCycleLR(optimizer, 1.0, 10, max_momentum=0.9)
    assert optimizer.momentum == 0.9


def test_one_cycle_can_leave_the_momentum_alone_and_ends():
    optimizer = nn.SGD([one], lr=1.0, momentum=0.5)
    schedule = nn.OneCycleLR(optimizer, 1.0, epochs=2, steps_per_epoch=3, cycle_momentum=False)
    for _ in range(6):
        schedule.step()
    assert optimizer.momentum == 0.5
    before = optimizer.lr
    with pytest.raises(ValueError, match="OneCycleLR must have at most 6 steps, its total_steps"):
        schedule.step()
    assert optimizer.lr == before and schedule.last_epoch == 6


@pytest.mark.parametrize(
    ("options", "measures", "expected"),
    [
        ({"patience": 1}, [3, 3, 3, 3], [1, 1, 0.5, 0.5]),
        ({"patience": 0, "mode": "max"}, [3, 4, 4, 5], [1, 1, 0.5, 0.5]),
        ({"patience": 0, "cooldown": 2}, [3, 3, 3, 3, 3], [1, 0.5, 0.5, 0.5, 0.25]),
        ({"patience": 0, "min_lr": 0.4}, [3, 3, 3], [1, 0.5, 0.4]),
        ({"patience": 0, "threshold": 0.5}, [4, 3, 1], [1, 0.5, 0.5]),
        ({"patience": 0, "threshold": 2, "threshold_mode": "abs"}, [4, 3, 1], [1, 0.5, 0.5]),
        ({"patience": 0, "eps": 0.5}, [3, 3, 3], [1, 1, 1]),
        ({"patience": 0}, [3, np.nan, 2], [1, 0.5, 0.5]),
    ],
)
def test_the_rate_falls_when_a_measure_no_longer_improves(options, measures, expected):
    optimizer = nn.SGD([one], lr=1.0)
    schedule = nn.ReduceLROnPlateau(optimizer, factor=0.5, **options)
    rates = []
    for measure in measures:
        schedule.step(measure)
        rates.append(optimizer.lr)
    assert rates == expected


def test_a_schedule_refuses_an_optimizer_whose_groups_became_more():
    optimizer = nn.SGD([one], lr=1.0)
    schedule = nn.StepLR(optimizer, 1)
    optimizer.param_groups.append({"params": [], "lr": 1.0})
    with pytest.raises(ValueError, match="must be made when its optimizer has all groups: it bega"):
        schedule.step()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda opt: nn.StepLR(opt, 2), "StepLR(step_size=2, gamma=0.1, last_epoch=0, lr=1, 0.25)"),
        (
            lambda opt: nn.ReduceLROnPlateau(opt, "max"),
            "ReduceLROnPlateau(mode='max', factor=0.1, patience=10, threshold=0.0001, "
            "threshold_mode='rel', cooldown=0, last_epoch=0, lr=1, 0.25)",
        ),
    ],
)
def test_the_repr_of_a_schedule_shows_its_options_and_the_rates(make, text):
    assert repr(make(two_groups(1.0))) == text


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state must have base_lrs and last_epoch, got nothing"),
        ({"base_lr": 1.0, "step": 3}, "the state must have base_lrs and last_epoch, got base_lr, "),
        ({"base_lr": -1, "last_epoch": 3}, "base_lr must be a number of at least 0, got -1"),
        ({"base_lrs": [1], "last_epoch": 1.5}, "last_epoch must be a whole number of at least 0"),
        ({"base_lrs": [1, 2], "last_epoch": 1}, "base_lrs must be a list of 1 learning rates, got"),
    ],
)
def test_the_state_of_something_else_does_not_change_a_schedule(state, message):
    optimizer = nn.SGD([one], lr=1.0)
    schedule = nn.StepLR(optimizer, 1)
    with pytest.raises(ValueError, match=re.escape(message)):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == {"base_lrs": [1.0], "last_epoch": 0} and optimizer.lr == 1.0


def test_the_state_of_something_else_does_not_change_a_sequence_or_a_plateau():
    optimizer = nn.SGD([one], lr=1.0)
    schedule, plateau = warm_up_and_cosine(optimizer), nn.ReduceLROnPlateau(optimizer)
    before, other = schedule.state_dict(), plateau.state_dict()
    inner = before["schedulers"]
    for own, state, message in [
        (
            schedule,
            other,
            "the state must have schedulers, 3 states, got lrs, best, num_bad",
        ),
        (schedule, {**before, "schedulers": inner[:2]}, "the state must have schedulers, 3 states"),
        (
            schedule,
            {**before, "last_epoch": 5, "schedulers": [*inner[:2], {**inner[2], "last_epoch": -1}]},
            "last_epoch must be a whole number of at least 0, got -1",
        ),
        (
            plateau,
            before,
            "the state must have lrs, best, num_bad_epochs, cooldown_counter, las",
        ),
        (plateau, {**other, "best": "low"}, "best must be a number, got 'low'"),
        (plateau, {**other, "lrs": [0.5], "last_epoch": -1}, "last_epoch must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            own.load_state_dict(state)
    assert schedule.state_dict() == before and plateau.state_dict() == other


SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 2, "gamma": 0.7}),
    ("CosineAnnealingLR", {"T_max": 5}),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.5, "total_iters": 30}),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 50}),
    ("OneCycleLR", {"max_lr": [2.0, 0.5], "epochs": 5, "steps_per_epoch": 10}),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 60, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 50, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 50, "pct_start": 0.6, "div_factor": 3.0}),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 50, "final_div_factor": 7.0}),
    (
        "OneCycleLR",
        {"max_lr": 2.0, "total_steps": 50, "base_momentum": 0.3, "max_momentum": 0.6},
    ),
    ("OneCycleLR", {"max_lr": 2.0, "total_steps": 50, "cycle_momentum": False}),
]


def grouped(optim, params, kind):
    groups = [{"params": params[0]}, {"params": params[1], "lr": 0.1}]
    return getattr(optim, kind)(groups, lr=0.3)


def pairs(torch, kind="SGD"):
    ours = grouped(nn, [nn.Parameter(np.ones(1)) for _ in range(2)], kind)
    theirs = [torch.ones(1, requires_grad=True) for _ in range(2)]
    return ours, grouped(torch.optim, theirs, kind)


def assert_alike(ours, theirs):
    for group, other in zip(ours.param_groups, theirs.param_groups, strict=True):
        for name in ("lr", "momentum"):
            if name in group:
                assert group[name] == pytest.approx(other[name], rel=1e-9, abs=1e-13)
        if "betas" in group:
            assert tuple(group["betas"]) == pytest.approx(other["betas"], rel=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize(("kind", "options"), SCHEDULES)
def test_schedules_equal_pytorch(torch, kind, options, optimizer):
    ours, theirs = pairs(torch, optimizer)
    schedule = getattr(nn, kind)(ours, **options)
    other = getattr(torch.optim.lr_scheduler, kind)(theirs, **options)
    for _ in range(50):
        assert_alike(ours, theirs)
        assert schedule.get_last_lr() == pytest.approx(other.get_last_lr(), rel=1e-9, abs=1e-13)
        theirs.step()
        other.step()
        schedule.step()
    assert_alike(ours, theirs)


@pytest.mark.parity
def test_a_sequence_of_schedules_equals_pytorch(torch):
    ours, theirs = pairs(torch)
    schedule = warm_up_and_cosine(ours)
    other = warm_up_and_cosine(theirs, torch.optim.lr_scheduler)
    with warnings.catch_warnings():  # PyTorch's sequences step with a number, which it deprecates
        warnings.simplefilter("ignore")
        for _ in range(50):
            assert_alike(ours, theirs)
            theirs.step()
            other.step()
            schedule.step()


@pytest.mark.parity
@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"patience": 1, "mode": "max", "factor": 0.7},
        {"patience": 1, "cooldown": 3, "factor": 0.5},
        {"patience": 1, "threshold": 0.05, "threshold_mode": "abs", "min_lr": [0.01, 0.02]},
        {"patience": 0, "eps": 0.05, "factor": 0.5},
    ],
)
def test_a_plateau_equals_pytorch(torch, options):
    ours, theirs = pairs(torch)
    schedule = nn.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for measure in np.random.default_rng(0).random(50):
        schedule.step(measure)
        other.step(measure)
        assert_alike(ours, theirs)
        assert schedule.num_bad_epochs == other.num_bad_epochs and schedule.best == other.best
