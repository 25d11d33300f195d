"""What belongs together stays together when Ctrl-C comes, or memory runs out, at any moment."""

import numpy as np
import pytest
from arrays import same_state, state
from interrupted import X, storm, three_layers, wherever_a_signal_may_come, whole

import bn
import bncore
from bn import nn

ERRORS = [KeyboardInterrupt, MemoryError]


@pytest.mark.parametrize("error", ERRORS)
def test_after_an_interrupt_a_layers_statistics_and_its_count_are_of_the_same_batches(error):
    layer = bn.BatchNorm1d(3)
    interrupted = 0
    for interrupted in wherever_a_signal_may_come(lambda: layer(X), error):
        assert whole(layer), f"after {interrupted} places"
        layer.reset_running_stats()
    assert interrupted > 50


@pytest.mark.parametrize("error", ERRORS)
def test_after_an_interrupt_a_model_is_as_before_its_forward_pass(error):
    model = three_layers()
    model(X)
    before = state(model)
    after = three_layers()
    after(X), after(X)
    for count in wherever_a_signal_may_come(lambda: model(X), error):
        now = state(model)
        assert same_state(now, before) or same_state(now, state(after)), f"after {count} places"
        model.load_state_dict(before)


@pytest.mark.parametrize("renorm", [False, True])
def test_an_interrupt_while_channels_are_learned_leaves_a_layer_that_can_go_on(renorm):
    layer = None

    def prepare():
        nonlocal layer
        layer = bn.BatchNormalization(renorm=renorm)

    for count in wherever_a_signal_may_come(lambda: layer(X), prepare=prepare):
        assert np.isfinite(layer(X)).all() and layer.num_features == 3, f"after {count} places"
        learned = state(layer)
        layer.load_state_dict(layer.state_dict())
        assert same_state(state(layer), learned), f"after {count} places"


def test_an_interrupt_leaves_a_state_loaded_as_a_whole_or_not_at_all():
    model, other = (nn.Sequential(bn.BatchNorm1d(3), bn.BatchNorm1d(3)) for _ in range(2))
    other(X)
    old, new = state(model), state(other)
    for count in wherever_a_signal_may_come(lambda: model.load_state_dict(new)):
        found = state(model)
        assert same_state(found, old) or same_state(found, new), f"after {count} places"


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "use",
    [lambda model: bn.recalibrate(model, [X]), lambda model: bn.report(model, X)],
    ids=["recalibrate", "report"],
)
def test_an_interrupted_recalibration_or_report_leaves_a_model_whole(use, every):
    model = nn.Sequential(bn.BatchNorm1d(3), bn.BatchNorm1d(3)).eval()
    old = state(model)
    names = [list(vars(module)) for module in model.modules()]
    new = None
    for count in wherever_a_signal_may_come(lambda: use(model), every=every):
        found = state(model)
        if new is None and not same_state(found, old):
            new = found
            assert all(changed(found, old, layer) for layer in ("0.", "1."))
        assert same_state(found, old) or same_state(found, new), f"after {count} places"
        assert [list(vars(module)) for module in model.modules()] == names
        assert not any(module.training for module in model.modules())
    layer = bn.BatchNorm1d(3)
    layer(X)
    assert layer.num_batches_tracked == 1  # batches enter statistics again


def test_an_interrupt_never_leaves_a_limit_of_threads_behind():
    before = bncore.threads_asked()

    @bn.threads(1)
    def work():
        bn.stats(X)

    for _ in wherever_a_signal_may_come(work):
        assert bncore.threads_asked() == before


def changed(one, other, layer):
    """Tell whether all running statistics of a layer differ."""
    names = [name for name in one if name.startswith(layer) and "running" in name]
    return not any(np.array_equal(one[name], other[name]) for name in names)


def test_an_interrupt_leaves_statistics_reset_as_a_whole_or_not_at_all():
    layer = bn.BatchNorm1d(3)
    layer(X)
    for _ in wherever_a_signal_may_come(layer.reset_running_stats):
        assert whole(layer)
        layer.reset_running_stats()
        layer(X)


def test_an_interrupted_backward_pass_changes_no_parameter():
    model = nn.Sequential(nn.Linear(3, 3, rng=0), bn.BatchNorm1d(3)).eval()
    before = state(model)
    for _ in wherever_a_signal_may_come(lambda: model.backward(X), prepare=lambda: model(X)):
        assert same_state(state(model), before)


def test_signals_at_random_moments_break_nothing():
    interrupted, between, broken = storm(200)
    assert (interrupted, between, broken) == (200, 0, 0)
