"""Models of several inputs, weights of samples, and ignored targets in `nn.fit` and around it."""

import copy
import math
import re

import numpy as np
import pytest

import bn
from bn import nn


class TwoInputs(bn.Module):
    """A model of an image and a row of numbers."""

    def __init__(self, head=7):
        self.image = nn.Linear(6, 4, bias=False, rng=0, dtype=np.float64)
        self.norm = bn.BatchNorm1d(4, dtype=np.float64)
        self.head = nn.Linear(head, 3, rng=1, dtype=np.float64)

    def forward(self, image, row):
        return self.head(nn.concatenate([self.norm(self.image(image)), row], axis=1))


def two_inputs(n=24):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 6)), rng.standard_normal((n, 3)), rng.integers(0, 3, n)


def texts(n=40, longest=7, fill=0):
    rng = np.random.default_rng(2)
    x, lengths = rng.integers(1, 20, (n, longest)), rng.integers(1, longest + 1, n)
    y = (x[:, 0] > 10).astype(int)
    x[np.arange(longest) >= lengths[:, None]] = fill
    return {"x": x, "lengths": lengths}, y


def reader():
    return nn.models.text_classifier(20, 2, 4, 8, padding_idx=None, dtype=np.float64, rng=0)


def plain():
    return nn.Sequential(nn.Linear(6, 3, rng=0, dtype=np.float64))


def fit(model, train, **options):
    return nn.fit(model, train, **{"epochs": 2, "progress": False, **options})


def trained(model, train, **options):
    fit(model, train, **{"rng": 3, "batch_size": 8, **options})
    return model


def same(one, other, tolerance=0.0):
    a, b = one.state_dict(), other.state_dict()
    return all(abs(a[name] - b[name]).max() <= tolerance for name in a)


# ---- several inputs ----


def test_a_tuple_has_the_inputs_by_position_and_a_dict_by_name():
    image, row, y = two_inputs()
    by_position = trained(TwoInputs(), ((image, row), y))
    by_name = trained(TwoInputs(), ({"row": row, "image": image}, y))
    model, criterion, rng = TwoInputs(), nn.CrossEntropyLoss(), np.random.default_rng(3)
    optimizer = nn.Adam(model.parameters())
    for _ in range(2):
        for rows in np.split(rng.permutation(len(y)), 3):
            criterion(model(image[rows], row[rows]), y[rows])
            optimizer.zero_grad()
            model.backward(criterion.backward())
            optimizer.step()
    assert same(by_position, model)
    assert same(by_name, model)


def test_lengths_reach_the_layers_so_that_padding_does_not_count():
    (padded, y), (other, _) = texts(fill=0), texts(fill=9)
    one = trained(reader(), (padded, y), validation=(padded, y))
    two = trained(reader(), (other, y), validation=(other, y))
    assert same(one, two)
    assert nn.evaluate(one, padded, y) == nn.evaluate(one, other, y)
    assert (one.predict(padded, 16) == one.predict(other, 16)).all()
    assert not (one.predict(padded["x"], 16) == one.predict(other["x"], 16)).all()


def test_accumulated_batches_of_several_inputs_are_one_large_batch():
    image, row, y = two_inputs()
    weight = np.random.default_rng(4).uniform(0.5, 2, len(y))
    whole = nn.BatchLoader((image, row), y, 12, sample_weight=weight, shuffle=False)
    parts = nn.BatchLoader((image, row), y, 4, sample_weight=weight, shuffle=False)
    one, other = TwoInputs(), TwoInputs()
    fit(one, whole)
    fit(other, parts, accumulate=3)
    assert same(one, other, 1e-12)


def test_a_training_of_several_inputs_goes_on_where_it_was(tmp_path):
    x, y = texts()
    whole = trained(reader(), (x, y), epochs=3)
    trained(reader(), (x, y), epochs=1, checkpoint=tmp_path / "run.npz")
    resumed = trained(reader(), (x, y), epochs=3, checkpoint=tmp_path / "run.npz", resume=True)
    assert same(whole, resumed)


def test_layers_that_learn_their_inputs_are_built_by_the_first_sample():
    image, row, y = two_inputs()
    model = trained(TwoInputs(head=None), ((image, row), y))
    assert model.head.weight.shape == (3, 7)
    assert same(model, trained(TwoInputs(), ((image, row), y)))


def test_an_augmentation_gets_what_the_loader_got():
    image, row, y = two_inputs()

    def double(x, y, rng):
        return {"image": 2 * x["image"], "row": x["row"]}, y

    loader = nn.BatchLoader({"image": image, "row": row}, y, 24, shuffle=False, augment=double)
    (x, _), *_ = loader
    assert (x["image"] == 2 * image).all()


def test_several_inputs_reach_all_that_looks_at_models():
    image, row, y = two_inputs()
    x, model = {"image": image, "row": row}, TwoInputs()
    assert nn.capture(model, x, "norm")["norm"].inputs[0].shape == (24, 4)
    assert bn.report(model, x).input_shape == (24, 6)
    assert len(bn.plot_activations(model, x).axes) == 2
    assert bn.plot_running_stats(model, [((image, row), y)]).axes
    recalibrated = [bn.recalibrate(copy.deepcopy(model), [b]) for b in (x, ((image, row), y))]
    assert same(*recalibrated)
    assert not same(recalibrated[0], model)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ((np.ones((24, 6)), np.ones((23, 3))), "x[1] must have as many rows as x[0], 24, got 23"),
        ((np.ones((24, 6)), [1, 2]), "x[1] must be a numpy array, got list"),
        ({"image": np.ones((24, 6))}, "x must have the arguments of TwoInputs.forward, image, row"),
        ({}, "x must have arrays, got an empty dict"),
        ({"image": np.ones((24, 6)), "row": 3.0}, "x['row'] must have at least 1 axes"),
    ],
)
def test_inputs_that_do_not_fit_are_named(x, message):
    y = two_inputs()[2]
    for function in (
        lambda: fit(TwoInputs(), (x, y)),
        lambda: nn.evaluate(TwoInputs(), x, y),
        lambda: TwoInputs().predict(x),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            function()


def test_a_number_that_is_not_finite_is_found_in_any_of_the_inputs():
    image, row, y = two_inputs()
    row[5] = np.nan
    with pytest.raises(FloatingPointError, match="x of that batch has NaN"):
        fit(TwoInputs(), ((image, row), y))


def test_two_batches_are_not_taken_for_inputs():
    image, _, y = two_inputs()
    history = fit(plain(), ((image[:12], y[:12]), (image[12:], y[12:])), epochs=1)
    assert len(history) == 1


# ---- weights of samples ----


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), nn.MSELoss()])
def test_a_sample_of_weight_two_counts_as_two(criterion):
    image, _, y = two_inputs(12)
    if isinstance(criterion, nn.MSELoss):
        y = np.eye(3)[y]
    weight = np.where(np.arange(12) % 2, 1.0, 2.0)
    twice = np.repeat(np.arange(12), weight.astype(int))
    one, other = plain(), plain()
    weighted = [(image, y, weight)], (image, y, weight)
    repeated = [(image[twice], y[twice])], (image[twice], y[twice])
    first, second = (
        fit(model, train, validation=held_out, criterion=criterion)
        for model, (train, held_out) in ((one, weighted), (other, repeated))
    )
    assert same(one, other, 1e-12)
    for name in ("loss", "val_loss"):
        assert np.allclose(first[name], second[name], rtol=1e-12)


def test_weights_keep_to_their_samples_in_any_order():
    x = np.arange(10.0)[:, None]
    loader = nn.BatchLoader(x, np.arange(10), 3, sample_weight=np.arange(10), rng=0)
    for rows, y, weight in loader:
        assert (rows[:, 0] == y).all()
        assert (weight == y).all()


def test_a_criterion_without_weights_is_named():
    image, _, y = two_inputs()
    with pytest.raises(TypeError, match="criterion must take sample_weight"):
        fit(plain(), (image, y, np.ones(24)), criterion=lambda out, y: 0.0)


# ---- what counts in a mean ----


@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss([1.0, 5.0, 0.5]),
        nn.CrossEntropyLoss(ignore_index=2),
        nn.CrossEntropyLoss(reduction="sum"),
    ],
)
def test_what_evaluate_measures_does_not_depend_on_the_batch_size(criterion):
    image, _, y = two_inputs()
    whole = nn.evaluate(plain(), image, y, criterion=criterion)
    for size in (1, 5, 23):
        part = nn.evaluate(plain(), image, y, criterion=criterion, batch_size=size)
        assert all(math.isclose(whole[name], part[name], rel_tol=1e-12) for name in whole)


def test_a_batch_whose_targets_are_all_ignored_makes_no_step():
    image, _, y = two_inputs()
    ignored = np.full(24, -100)
    one, other = plain(), plain()
    history, expected = fit(one, [(image, y), (image, ignored)]), fit(other, [(image, y)])
    assert history["loss"] == expected["loss"]
    assert history["accuracy"] == expected["accuracy"]
    assert same(one, other)


def test_targets_that_are_all_ignored_are_named():
    image, _, y = two_inputs()
    ignored = np.full(24, -100)
    with pytest.raises(ValueError, match="train must have targets that criterion does not ignore"):
        fit(plain(), (image, ignored))
    with pytest.raises(ValueError, match="validation must have targets that criterion does not"):
        fit(plain(), (image, y), validation=(image, ignored))
    assert math.isnan(nn.evaluate(plain(), image, ignored)["loss"])


def test_one_class_is_no_choice():
    x, y = np.zeros((4, 6)), np.zeros(4, int)
    model = nn.Linear(6, 1, rng=0, dtype=np.float64)
    message = r"at least 2 classes on axis 1.*got shape \(4, 1\).*BCEWithLogitsLoss"
    with pytest.raises(ValueError, match=message):
        fit(model, [(x, y)])
    with pytest.raises(ValueError, match=message):
        nn.evaluate(model, x, y)


def test_inputs_in_a_list_and_targets_in_a_tuple_are_named():
    image, row, y = two_inputs()
    with pytest.raises(TypeError, match="several arrays of x must be in a tuple or a dict"):
        nn.evaluate(TwoInputs(), [image, row], y)
    with pytest.raises(TypeError, match="y must be one array, got a tuple of arrays"):
        nn.evaluate(TwoInputs(), y, (image, row))
