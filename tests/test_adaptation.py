"""`bn.adapt` fits statistics, and with "tent" weights and biases, to new data without labels."""

import copy

import numpy as np
import pytest
from arrays import same_state, state

import bn
from bn import nn


def trained(dtype=np.float64):
    """Return a classifier of two well-separated clouds, and its data."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-1, 0.5, (200, 4)), rng.normal(1, 0.5, (200, 4))]).astype(dtype)
    classes = np.repeat([0, 1], 200)
    model = nn.Sequential(
        nn.Linear(4, 8, rng=0, dtype=dtype), bn.BatchNorm1d(8, dtype=dtype), nn.ReLU(),
        nn.Linear(8, 2, rng=1, dtype=dtype),
    )  # fmt: skip
    optimizer, criterion = nn.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss()
    for _ in range(30):
        optimizer.zero_grad()
        criterion(model(x), classes)
        model.backward(criterion.backward())
        optimizer.step()
    return model.eval(), x, classes


def entropy(model, x):
    z = model(x)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return float(-(p * np.log(p + 1e-300)).sum(1).mean())


def batches_of(x, size=100):
    shuffled = np.random.default_rng(1).permutation(len(x))
    return [x[shuffled[i : i + size]] for i in range(0, len(x), size)]


def statistics(model):
    return model[1].running_mean.copy(), model[1].running_var.copy()


def test_without_a_prior_the_statistics_are_those_of_recalibrate():
    model, x, _ = trained()
    twin = bn.recalibrate(copy.deepcopy(model), batches_of(x + 3))
    bn.adapt(model, batches_of(x + 3))
    assert same_state(state(model), state(twin))


@pytest.mark.parametrize("prior", [1, 400, 1e6])
def test_a_prior_weights_both_statistics_by_their_samples(prior):
    model, x, _ = trained()
    source = statistics(model)
    new = statistics(bn.recalibrate(copy.deepcopy(model), batches_of(x + 3)))
    bn.adapt(model, batches_of(x + 3), prior=prior)
    for found, old, fresh in zip(statistics(model), source, new, strict=True):
        np.testing.assert_allclose(found, (prior * old + 400 * fresh) / (prior + 400), rtol=1e-12)


def test_data_that_moved_are_classified_again():
    model, x, classes = trained()
    moved = 3 * x + 5
    assert (model(moved).argmax(1) == classes).mean() < 0.7
    bn.adapt(model, batches_of(moved))
    assert (model(moved).argmax(1) == classes).mean() > 0.97


def test_tent_makes_predictions_more_certain_than_new_statistics_do():
    model, x, classes = trained()
    model[3].weight[...] *= 0.3  # so that there is something to gain
    rng = np.random.default_rng(2)
    noisy = x + rng.normal(0, 0.5, x.shape)
    twin = bn.adapt(copy.deepcopy(model), batches_of(noisy))
    before = entropy(twin, noisy)
    bn.adapt(model, batches_of(noisy, 20), method="tent", lr=0.1)
    assert entropy(model, noisy) < 0.8 * before
    assert (model(noisy).argmax(1) == classes).mean() > 0.9


def test_the_gradient_of_tent_is_that_of_the_entropy():
    from bn.tools.adaptation import _entropy_gradient

    z = np.random.default_rng(0).standard_normal((3, 4))
    found, expected = _entropy_gradient(z), np.empty_like(z)
    for place in np.ndindex(z.shape):
        high, low = z.copy(), z.copy()
        high[place] += 1e-6
        low[place] -= 1e-6
        expected[place] = (entropy(lambda z: z, high) - entropy(lambda z: z, low)) / 2e-6
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_only_the_normalization_changes_and_modes_and_gradients_stay():
    model, x, _ = trained()
    model[0].weight.grad = np.full((8, 4), 7.0)
    model[0].weight.trainable = False
    model.train()
    before = copy.deepcopy(model)
    bn.adapt(model, batches_of(x), method="tent")
    changed = {
        name for name, v in model.state_dict().items() if (v != before.state_dict()[name]).any()
    }
    assert changed == {"1.weight", "1.bias", "1.running_mean", "1.running_var"}
    assert all(module.training for module in model.modules())
    assert (model[0].weight.grad == 7).all() and not model[0].weight.trainable
    np.testing.assert_array_equal(model[1].weight.grad, before[1].weight.grad)


@pytest.mark.parametrize("method", ["recalibrate", "tent"])
def test_after_an_error_nothing_has_changed(method):
    model, x, _ = trained()
    before = state(model)
    with pytest.raises(ValueError, match="NaN or infinity"):
        bn.adapt(model, [x, x * np.nan], method=method)
    assert same_state(state(model), before)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((nn.ReLU(), [np.ones((4, 3))]), {}, ValueError, "a ReLU without"),
        (("model", []), {}, TypeError, "model must be of type Module, got str"),
        ((None, np.ones((4, 4))), {}, TypeError, "write .x., or split it"),
        ((None, []), {}, ValueError, "batch"),
        ((None, None), {"prior": -1}, ValueError, "prior must be a number of at least 0, got -1"),
        (
            (None, None),
            {"method": "bayes"},
            ValueError,
            "method must be one of 'recalibrate', 'tent'",
        ),
        ((None, None), {"lr": np.nan}, ValueError, "lr must be a number of at least 0"),
        (
            (None, iter([])),
            {"method": "tent"},
            TypeError,
            "which can be read twice, got an iterator",
        ),
    ],
)
def test_errors_name_the_argument(arguments, options, error, message):
    model, x, _ = trained()
    model, batches = (d if a is None else a for a, d in zip(arguments, (model, [x]), strict=True))
    with pytest.raises(error, match=message):
        bn.adapt(model, batches, **options)


def test_tent_needs_scores_and_something_to_train():
    x = np.random.default_rng(0).standard_normal((20, 3, 4, 4))
    images = nn.Sequential(bn.BatchNorm2d(3, dtype=np.float64))
    with pytest.raises(
        ValueError, match=r"outputs must have shape \(N, C\) .*, got \(20, 3, 4, 4\)"
    ):
        bn.adapt(images, [x], method="tent")
    plain = nn.Sequential(bn.BatchNorm1d(3, affine=False, dtype=np.float64))
    with pytest.raises(ValueError, match="weights and biases"):
        bn.adapt(plain, [x[:, :, 0, 0]], method="tent")
