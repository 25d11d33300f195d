"""Running statistics become exactly those of given data, and nothing else changes."""

import numpy as np
import pytest
from arrays import normal, split, state

import bn
from bn import nn
from bn.tools.recalibration import recalibrate


def far_from_zero(*shape):
    return normal(*shape) * 3 + 7


def deep(dtype=np.float64):
    return nn.Sequential(
        nn.Linear(4, 5, rng=0, dtype=dtype),
        bn.BatchNorm1d(5, dtype=dtype),
        nn.ReLU(),
        nn.Dropout(0.5, rng=0),
        nn.Residual(nn.Sequential(nn.Linear(5, 5, rng=1, dtype=dtype), bn.BatchNorm1d(5))),
        nn.Linear(5, 2, rng=2, dtype=dtype),
    )


def snapshot(model):
    """Keep all that may not change: arrays by value, the rest of the attributes by identity."""
    grads = [p.grad if p.grad is None else p.grad.copy() for p in model.parameters()]
    return state(model), grads, [dict(vars(m)) for m in model.modules()]


def assert_same(before, after, statistics=True):
    for name, array in before[0].items():
        if statistics or "running" not in name:
            np.testing.assert_array_equal(after[0][name], array, err_msg=name)
    for old, new in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(new, old)
    for old, new in zip(before[2], after[2], strict=True):
        assert list(old) == list(new)
        assert all(new[key] is old[key] for key in old if key != "_change")


@pytest.mark.parametrize("sizes", [(100,), (50, 50), (7, 90, 3), (2,) * 50])
@pytest.mark.parametrize(
    ("layer", "ddof", "axis"),
    [
        (bn.BatchNorm2d(3, dtype=np.float64), 1, 1),
        (bn.BatchNormalization(dtype=np.float64), 0, -1),
        (bn.BatchNorm2d(3, dtype=np.float64, momentum=None, affine=False, axis=-1), 1, -1),
    ],
    ids=["torch", "keras", "last axis"],
)
def test_recalibrated_statistics_are_those_of_all_batches_as_one(layer, ddof, axis, sizes):
    x = far_from_zero(100, 3, 2, 3)
    assert recalibrate(layer, split(x, *sizes)) is layer
    others = tuple(i for i in range(4) if i != axis % 4)
    np.testing.assert_allclose(layer.running_mean, x.mean(others), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, x.var(others, ddof=ddof), rtol=1e-12)


def test_recalibrated_statistics_keep_the_digits_of_small_differences_far_from_zero():
    x = np.random.default_rng(0).standard_normal((1000, 2)) + 1e6
    layer = recalibrate(bn.BatchNorm1d(2, dtype=np.float64), split(x, 300, 700))
    np.testing.assert_allclose(layer.running_var, x.var(0, ddof=1), rtol=1e-10)


def test_a_generator_of_tuples_is_read_once_and_only_x_is_used():
    x, read = far_from_zero(30, 3), []

    def batches():
        for part in split(x, 10, 13, 7):
            read.append(len(part))
            yield part, "labels", None

    layer = recalibrate(bn.BatchNorm1d(3, dtype=np.float64), batches())
    assert read == [10, 13, 7]
    np.testing.assert_allclose(layer.running_mean, x.mean(0), rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_recalibration_shows_layers_what_earlier_layers_normalize_with_their_batch(training):
    first, second = bn.BatchNorm1d(3, dtype=np.float64), bn.BatchNorm1d(3, dtype=np.float64)
    first.weight.data[...] = 2
    first.running_var[...] = 100  # it must not matter
    parts = split(far_from_zero(40, 3), 15, 25)
    recalibrate(nn.Sequential(first, nn.ReLU(), second).train(training), parts)
    seen = [np.maximum(2 * bn.batch_norm(part, None, None, training=True), 0) for part in parts]
    expected = np.concatenate(seen)
    np.testing.assert_allclose(second.running_mean, expected.mean(0), rtol=1e-12)
    np.testing.assert_allclose(second.running_var, expected.var(0, ddof=1), rtol=1e-12)


def test_eval_mode_after_recalibration_does_what_training_mode_does():
    x = far_from_zero(60, 4, 5, 3).astype(np.float32)
    layer = bn.BatchNormalization()
    expected = layer(x)
    assert np.abs(layer.eval()(x) - expected).max() > 1
    recalibrate(layer, split(x, 11, 49))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_recalibration_runs_other_layers_in_the_mode_that_they_are_in():
    model, x = deep().eval(), far_from_zero(20, 4)
    rng_before = model[3].rng.bit_generator.state
    recalibrate(model, [x])
    assert model[3].rng.bit_generator.state == rng_before
    with_dropout = deep().train()
    recalibrate(with_dropout, [x])
    assert with_dropout[3].rng.bit_generator.state != rng_before
    inner, other = model[4].body[1], with_dropout[4].body[1]
    assert np.abs(inner.running_mean - other.running_mean).max() > 1e-3


@pytest.mark.parametrize("training", [True, False])
def test_recalibration_changes_nothing_but_the_running_statistics(training):
    model, x = deep(), far_from_zero(20, 4)
    model.backward(np.ones_like(model(x)))  # there are gradients, and statistics of a batch
    model.train(training)
    model[1].eval()
    model(x)  # this keeps x for backward
    before = snapshot(model)
    recalibrate(model, [x[:8], x[8:]])
    assert_same(before, snapshot(model), statistics=False)
    assert int(model[1].num_batches_tracked) == 1
    assert not (before[0]["1.running_mean"] == model[1].running_mean).any()
    model.backward(np.ones((20, 2)))


def test_recalibration_keeps_no_batch_in_memory():
    layer = recalibrate(bn.BatchNorm1d(3), [far_from_zero(20, 3)])
    assert layer._kept is None
    assert set(vars(layer)) == set(vars(bn.BatchNorm1d(3)))


def test_a_rollback_after_recalibration_does_not_bring_back_older_statistics():
    layer, x = bn.BatchNorm1d(3, dtype=np.float64), far_from_zero(20, 3)
    layer(x)
    recalibrate(layer, [x])
    layer.rollback()
    np.testing.assert_allclose(layer.running_mean, x.mean(0))


def generator_that_fails():
    yield far_from_zero(20, 4)
    raise OSError("disk")


@pytest.mark.parametrize(
    ("batches", "error"),
    [
        ([far_from_zero(20, 4), far_from_zero(20, 5)], "Linear"),
        ([far_from_zero(20, 4), far_from_zero(1, 4)], "more than 1 value per channel"),
        ([far_from_zero(20, 4), ()], "got an empty tuple"),
        ([far_from_zero(20, 4), [1, 2]], "numpy array"),
        ([far_from_zero(20, 4), np.full((2, 4), np.nan)], "statistics of 1's input must be finite"),
        (generator_that_fails(), "disk"),
        (iter(()), "at least one batch, got none"),
    ],
    ids=["shape", "single value", "empty tuple", "no array", "NaN", "generator", "no batch"],
)
def test_after_an_error_in_recalibration_everything_is_as_before(batches, error):
    model = deep()
    model.backward(np.ones_like(model(far_from_zero(20, 4))))
    before = snapshot(model)
    with pytest.raises((ValueError, TypeError, OSError), match=error):
        recalibrate(model, batches)
    assert_same(before, snapshot(model))


def test_after_an_error_in_recalibration_a_layer_that_was_not_built_is_not_built():
    layer = bn.BatchNormalization()
    with pytest.raises(ValueError, match="channels"):
        recalibrate(layer, [far_from_zero(20, 4), far_from_zero(20, 5)])
    assert layer.num_features is None and layer.running_mean is None


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30])
def test_the_layer_whose_statistics_are_not_finite_is_named(value):
    class Spoil(nn.Module):
        def forward(self, x):
            x = x.copy()
            x[0, 1] = value
            return x

        def backward(self, dy):
            return dy

    model = nn.Sequential(bn.BatchNorm1d(4), nn.Residual(nn.Sequential(Spoil(), bn.BatchNorm1d(4))))
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"1\.body\.1's input must be finite and fit float32.*1 of"),
    ):
        recalibrate(model, [far_from_zero(20, 4).astype(np.float32)])


def test_recalibration_replaces_statistics_that_are_nan():
    layer, x = bn.BatchNorm1d(3, dtype=np.float64), far_from_zero(20, 3)
    layer.running_mean[...] = layer.running_var[...] = np.nan
    recalibrate(layer, [x])
    np.testing.assert_allclose(layer.running_var, x.var(0, ddof=1))


def test_recalibration_pools_both_calls_of_a_layer_that_is_called_twice():
    class Twice(nn.Module):
        def __init__(self):
            self.norm = bn.BatchNorm1d(3, dtype=np.float64)

        def forward(self, x):
            return self.norm(x[:8]) + self.norm(x[8:] * 2)

    model, x = Twice(), far_from_zero(16, 3)
    recalibrate(model, [x])
    both = np.concatenate([x[:8], x[8:] * 2])
    np.testing.assert_allclose(model.norm.running_mean, both.mean(0), rtol=1e-12)
    np.testing.assert_allclose(model.norm.running_var, both.var(0, ddof=1), rtol=1e-12)


def test_recalibration_leaves_a_layer_without_values_its_statistics():
    unused = nn.Sequential(bn.BatchNorm1d(3))
    unused.head = bn.BatchNorm1d(3)
    unused.head.running_mean[...] = 5
    recalibrate(unused, [far_from_zero(20, 3)])
    assert (unused.head.running_mean == 5).all()
    empty = recalibrate(bn.BatchNorm1d(3), [np.empty((0, 3))])
    assert (empty.running_mean == 0).all() and (empty.running_var == 1).all()


def test_empty_batches_do_not_matter_to_recalibration():
    x = far_from_zero(20, 3)
    layer = recalibrate(bn.BatchNorm1d(3, dtype=np.float64), [x[:0], x, x[:0]])
    np.testing.assert_allclose(layer.running_mean, x.mean(0), rtol=1e-12)


def test_recalibration_leaves_frozen_layers_their_statistics_and_their_use():
    model, x = (
        nn.Sequential(bn.BatchNorm1d(3), bn.BatchNorm1d(3, dtype=np.float64)),
        far_from_zero(20, 3),
    )
    bn.freeze(model[0])
    recalibrate(model, [x])
    assert (model[0].running_mean == 0).all()
    np.testing.assert_allclose(model[1].running_mean, x.mean(0), rtol=1e-4)  # 0 and 1 change little


def test_recalibration_normalizes_with_the_batch_in_a_layer_that_lets_no_batch_in():
    model, x = nn.Sequential(bn.BatchNorm1d(3), bn.BatchNorm1d(3)).eval(), far_from_zero(20, 3)
    model[0].update_stats = False
    recalibrate(model, [x])
    assert (model[0].running_mean == 0).all()
    assert np.abs(model[1].running_mean).max() < 1e-6


def test_recalibration_gives_no_running_statistics_to_layers_without():
    model = nn.Sequential(bn.BatchNorm1d(3, track_running_stats=False), bn.BatchNorm1d(3))
    recalibrate(model, [far_from_zero(20, 3)])
    assert model[0].running_mean is None
    assert np.abs(model[1].running_mean).max() < 1e-6


def test_recalibration_without_batch_normalization_has_nothing_to_do():
    model = nn.Sequential(nn.Linear(3, 2))
    assert recalibrate(model, iter([far_from_zero(20, 3)])) is model


def test_recalibration_takes_ghost_batches_as_one_batch_and_does_not_warn_of_small_ones(recwarn):
    x = far_from_zero(20, 3)
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(3, dtype=np.float64), virtual_batch_size=4)
    recalibrate(ghost, split(x, 7, 13))
    np.testing.assert_allclose(ghost.layer.running_var, x.var(0, ddof=1), rtol=1e-12)
    assert not recwarn.list


def test_values_that_a_mask_leaves_out_do_not_count_in_recalibration():
    class Masked(nn.Module):
        def __init__(self):
            self.norm = bn.BatchNorm1d(3, dtype=np.float64)

        def forward(self, x):
            return self.norm(x, lengths=[4, 2])

    model, x = Masked(), far_from_zero(2, 3, 5)
    recalibrate(model, [x])
    counted = np.concatenate([x[0, :, :4], x[1, :, :2]], axis=1)
    np.testing.assert_allclose(model.norm.running_mean, counted.mean(1), rtol=1e-12)


def test_batch_renormalization_goes_on_from_recalibrated_statistics():
    layer, x = bn.BatchNormalization(renorm=True, dtype=np.float64), far_from_zero(200, 3)
    recalibrate(layer, [x])
    np.testing.assert_allclose(layer.moving_variance, x.var(0))
    layer.train()(x)
    np.testing.assert_allclose(layer.moving_variance, x.var(0))


def test_the_progress_of_recalibration_is_told_to_a_function():
    told = []
    batches = split(far_from_zero(20, 3), 10, 10)
    recalibrate(bn.BatchNorm1d(3), batches, progress=told.append)
    assert told == [1, 2]


def test_the_progress_of_recalibration_is_a_bar_on_standard_error_or_nothing(capsys):
    pytest.importorskip("rich")
    batches = split(far_from_zero(20, 3), 10, 10)
    for silent in (None, False):
        recalibrate(bn.BatchNorm1d(3), batches, progress=silent)
    assert capsys.readouterr() == ("", "")
    recalibrate(bn.BatchNorm1d(3), batches, progress=True)
    recalibrate(bn.BatchNorm1d(3), iter(batches), progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "recalibrating" in err and "100%" in err


def test_a_bar_of_progress_without_rich_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="progress=True needs rich, which is not installed"):
        recalibrate(bn.BatchNorm1d(3), [far_from_zero(20, 3)], progress=True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            (bn.BatchNorm1d(3), far_from_zero(20, 3)),
            "iterable of batches, got one array: write \\[x\\]",
        ),
        ((bn.BatchNorm1d(3), 5), "iterable of batches, got int"),
        ((None, []), "model must be of type Module, got NoneType"),
        ((bn.BatchNorm1d(3), [], "yes"), "progress must be True, False, None or callable"),
    ],
)
def test_recalibration_refuses_arguments_that_are_no_model_or_no_batches(arguments, error):
    model, batches, *progress = arguments
    with pytest.raises(TypeError, match=error):
        recalibrate(model, batches, progress=progress[0] if progress else None)


def test_statistics_that_cannot_be_written_are_found_before_any_batch_is_read():
    layer, batches = bn.BatchNorm1d(3), iter([far_from_zero(20, 3)])
    layer.running_var.flags.writeable = False
    with pytest.raises(ValueError, match="running_var must be writeable"):
        recalibrate(layer, batches)
    assert len(list(batches)) == 1
