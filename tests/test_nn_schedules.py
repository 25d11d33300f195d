"""Schedules give PyTorch's rates, keep their state, and refuse bad options."""

import re

import numpy as np
import pytest

from bn import nn

one = nn.Parameter(np.ones(1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.StepLR([one], 1), TypeError, "optimizer must be of type Optimizer, got list"),
        (lambda: nn.StepLR(nn.SGD([one], 1), 0), ValueError, "step_size must be a positive"),
        (lambda: nn.StepLR(nn.SGD([one], 1), 1, -1), ValueError, "gamma must be a number of at"),
        (lambda: nn.CosineAnnealingLR(nn.SGD([one], 1), 0), ValueError, "T_max must be a posi"),
        (lambda: nn.CosineAnnealingLR(nn.SGD([one], 1), 1, -1), ValueError, "eta_min must be"),
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
    ],
    ids=["StepLR", "CosineAnnealingLR"],
)
def test_schedules_set_the_rate_epoch_by_epoch(make, expected, tolerance):
    optimizer = nn.SGD([one], lr=1.0)
    schedule = make(optimizer)
    rates = []
    for _ in expected:
        rates.append(optimizer.lr)
        schedule.step()
    np.testing.assert_allclose(rates, expected, rtol=tolerance)


@pytest.mark.parametrize(
    "make", [lambda opt: nn.StepLR(opt, 2, 0.5), lambda opt: nn.CosineAnnealingLR(opt, 9, 0.1)]
)
def test_a_schedule_with_a_loaded_state_goes_on_where_the_other_was(make):
    first, second = nn.SGD([one], lr=1.0), nn.SGD([one], lr=7.0)
    schedule, other = make(first), make(second)
    for _ in range(3):
        schedule.step()
    other.load_state_dict(schedule.state_dict())
    assert second.lr == first.lr
    for _ in range(3):
        schedule.step()
        other.step()
        assert second.lr == first.lr


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state must have base_lr and last_epoch, got nothing"),
        ({"base_lr": 1.0, "step": 3}, "the state must have base_lr and last_epoch, got base_lr, s"),
        ({"base_lr": -1, "last_epoch": 3}, "base_lr must be a number of at least 0, got -1"),
        ({"base_lr": 1, "last_epoch": 1.5}, "last_epoch must be a whole number of at least 0"),
    ],
)
def test_the_state_of_something_else_does_not_change_a_schedule(state, message):
    optimizer = nn.SGD([one], lr=1.0)
    schedule = nn.StepLR(optimizer, 1)
    with pytest.raises(ValueError, match=re.escape(message)):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == {"base_lr": 1.0, "last_epoch": 0} and optimizer.lr == 1.0


@pytest.mark.parity
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("StepLR", {"step_size": 3}),
        ("StepLR", {"step_size": 2, "gamma": 0.7}),
        ("CosineAnnealingLR", {"T_max": 5}),
        ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01}),
    ],
)
def test_schedules_equal_pytorch(torch, kind, options):
    ours = nn.SGD([nn.Parameter(np.ones(1))], lr=0.3)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.3)
    schedule = getattr(nn, kind)(ours, **options)
    other = getattr(torch.optim.lr_scheduler, kind)(theirs, **options)
    for _ in range(12):
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
        theirs.step()
        other.step()
        schedule.step()
