"""Reductions, weights and kinds of targets of the losses are PyTorch's."""

import itertools
import warnings

import numpy as np
import pytest
from arrays import normal
from gradcheck import central_differences

from bn import nn

REDUCTIONS = ["mean", "sum", "none"]
with_reductions = pytest.mark.parametrize("reduction", REDUCTIONS)
SHAPES = [(5, 3), (4, 3, 2), (2, 3, 2, 4)]
WEIGHT = np.array([0.5, 2.0, 1.25])


def classes(shape, ignored=None):
    target = np.random.default_rng(1).integers(0, shape[1], (shape[0], *shape[2:]))
    if ignored is not None:
        target[0] = ignored
    return target


def probabilities(shape):
    p = np.random.default_rng(2).random(shape)
    return p / p.sum(axis=1, keepdims=True)


def assert_gradient(criterion, x, *target, **more):
    """Compare backward with differences of the sum of the losses, each with a factor."""
    loss = criterion(x, *target, **more)
    dloss = np.random.default_rng(3).random(np.shape(loss)) + 0.5
    found = criterion.backward(dloss)
    assert found.shape == x.shape and found.dtype == x.dtype
    expected = central_differences(lambda: np.sum(dloss * criterion(x, *target, **more)), x)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6, atol=1e-8)


# ---- losses of each value ----

VALUES = [
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, lambda **o: nn.SmoothL1Loss(beta=0.3, **o),
    lambda **o: nn.SmoothL1Loss(beta=0, **o), nn.BCEWithLogitsLoss,
    lambda **o: nn.BCEWithLogitsLoss(WEIGHT, pos_weight=[[3, 1, 0.5]], **o),
]  # fmt: skip


@with_reductions
@pytest.mark.parametrize("make", VALUES)
def test_losses_of_values_have_the_right_gradients(make, reduction):
    assert_gradient(make(reduction=reduction), normal(4, 3), probabilities((4, 3)))


@pytest.mark.parametrize("make", VALUES)
def test_mean_and_sum_are_those_of_the_losses_without_a_reduction(make):
    y, target = normal(4, 3), probabilities((4, 3))
    each = make(reduction="none")(y, target)
    assert each.shape == y.shape
    assert make(reduction="sum")(y, target) == pytest.approx(each.sum(), rel=1e-12)
    assert make()(y, target) == pytest.approx(each.mean(), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_is_right_for_large_and_infinite_logits(dtype):
    criterion = nn.BCEWithLogitsLoss(reduction="none")
    x = np.array([1000, -1000, np.inf, -np.inf, 1000, -1000, np.inf, -np.inf], dtype)
    target = np.array([1, 0, 1, 0, 0, 1, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = criterion(x, target)
    np.testing.assert_array_equal(loss, [0, 0, 0, 0, 1000, 1000, np.inf, np.inf])
    np.testing.assert_array_equal(criterion.backward(), [0, 0, 0, 0, 1, -1, 1, -1])


def test_small_binary_cross_entropies_keep_their_digits():
    x = np.array([30.0, -30.0])
    loss = nn.BCEWithLogitsLoss(reduction="none")(x, np.array([1, 0]))
    np.testing.assert_allclose(loss, np.exp(-30.0), rtol=1e-12)


@with_reductions
@pytest.mark.parametrize("make", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.BCEWithLogitsLoss])
def test_weights_multiply_the_losses_of_samples_or_of_values(make, reduction):
    y, target = normal(3, 4), probabilities((3, 4))
    each = make(reduction="none")(y, target)
    for weight in (np.array([0.5, 3.0, 0.0]), np.random.default_rng(0).random((3, 4))):
        spread = np.broadcast_to(weight.reshape(3, -1), (3, 4))
        expected = {"none": spread * each, "sum": (spread * each).sum()}
        expected["mean"] = expected["sum"] / spread.sum()
        found = make(reduction=reduction)(y, target, sample_weight=weight)
        np.testing.assert_allclose(found, expected[reduction], rtol=1e-12)
        assert_gradient(make(reduction=reduction), y, target, sample_weight=weight)


def test_what_has_no_weight_may_be_infinite():
    criterion = nn.MSELoss()
    y = np.array([1.0, np.inf])
    assert criterion(y, np.zeros(2), sample_weight=[1, 0]) == 1
    np.testing.assert_array_equal(criterion.backward(), [2, 0])


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(3, 4\), got \(4,\)"):
        nn.MSELoss()(normal(3, 4), normal(3, 4), sample_weight=np.ones(4))


# ---- cross-entropy ----

OPTIONS = list(itertools.product([None, WEIGHT], [0.0, 0.2], [None, -100, 1]))


@with_reductions
@pytest.mark.parametrize(("weight", "smoothing", "ignored"), OPTIONS)
@pytest.mark.parametrize("from_logits", [True, False])
def test_cross_entropy_has_the_right_gradient(weight, smoothing, ignored, reduction, from_logits):
    criterion = nn.CrossEntropyLoss(
        weight, ignore_index=-100 if ignored is None else ignored, reduction=reduction,
        label_smoothing=smoothing, from_logits=from_logits,
    )  # fmt: skip
    x = normal(2, 3, 4) if from_logits else 1.005 * probabilities((2, 3, 4))
    assert_gradient(criterion, x, classes(x.shape, ignored))
    assert_gradient(criterion, x, classes(x.shape), sample_weight=np.array([0.5, 3]))


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_sample_of_weight_2_counts_as_two_and_one_of_weight_0_not_at_all(weight, smoothing):
    x, target = normal(3, 3), classes((3, 3))
    criterion = nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
    repeated = criterion(x[[0, 1, 1]], target[[0, 1, 1]])
    assert criterion(x, target, sample_weight=[1, 2, 0]) == pytest.approx(repeated, rel=1e-12)


def test_sample_weights_may_be_those_of_positions():
    x, target = normal(2, 3, 4), classes((2, 3, 4))
    weight = np.random.default_rng(0).random((2, 4))
    each = nn.CrossEntropyLoss(reduction="none")(x, target)
    found = nn.CrossEntropyLoss()(x, target, sample_weight=weight)
    assert found == pytest.approx((each * weight).sum() / weight.sum(), rel=1e-12)
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(2, 4\), got \(4,\)"):
        nn.CrossEntropyLoss()(x, target, sample_weight=np.ones(4))


def test_class_indices_may_have_an_axis_of_length_1():
    x, target = normal(4, 3), classes((4, 3))
    criterion = nn.CrossEntropyLoss()
    assert criterion(x, target[:, None]) == criterion(x, target)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_if_all_targets_are_ignored_the_mean_is_nan_and_the_gradient_0(smoothing):
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    assert np.isnan(criterion(normal(2, 3), [-100, -100]))
    assert not criterion.backward().any()
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="sum")
    assert criterion(normal(2, 3), [-100, -100]) == 0


def test_what_is_ignored_may_be_nan():
    x = np.array([[np.nan, 1.0], [0.0, 0.0]])
    criterion = nn.CrossEntropyLoss()
    assert criterion(x, [-100, 0]) == pytest.approx(np.log(2))
    np.testing.assert_array_equal(criterion.backward(), [[0, 0], [-0.5, 0.5]])


def test_what_is_ignored_need_not_be_probabilities():
    p = np.array([[0.0, 0.0], [0.25, 0.75]])
    criterion = nn.CrossEntropyLoss(from_logits=False)
    with np.errstate(invalid="ignore"):
        assert criterion(p, [-100, 0]) == pytest.approx(np.log(4))


def test_probabilities_that_are_nan_have_a_loss_that_is_nan():
    p = np.array([[np.nan, np.nan], [0.25, 0.75]])
    assert np.isnan(nn.CrossEntropyLoss(from_logits=False)(p, [0, 0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinite_logit_is_the_limit_of_a_large_one(dtype):
    x = np.array([[np.inf, 0, -np.inf]] * 2, dtype)
    criterion = nn.CrossEntropyLoss(reduction="none")
    np.testing.assert_array_equal(criterion(x, [0, 1]), [0, np.inf])
    np.testing.assert_array_equal(criterion.backward(), [[0, 0, 0], [1, -1, 0]])
    assert np.isnan(criterion(np.full((1, 2), np.inf, dtype), [0]))


REFUSED = [
    (lambda: nn.CrossEntropyLoss(reduction="average"), "reduction must be one of 'mean', 'sum', "),
    (lambda: nn.CrossEntropyLoss([1, -1]), "weight must not be negative, got -1"),
    (lambda: nn.CrossEntropyLoss([1, 2])(np.ones((2, 3)), [0, 1]), "weight must have shape (3,)"),
    (lambda: nn.BCEWithLogitsLoss([1, 2])(np.ones(3), np.ones(3)), "weight must broadcast to"),
    (
        lambda: nn.BCEWithLogitsLoss()(np.ones(3), [0, 1, 2]),
        "target must be between 0 and 1, got 0 to 2",
    ),
    (
        lambda: nn.BCEWithLogitsLoss()(np.ones(2), [-1, 1]),
        "target must be between 0 and 1, got -1 to 1",
    ),
    (
        lambda: nn.CrossEntropyLoss(from_logits=False)(np.array([[2.0, -1.0]]), [0]),
        "logits must be probabilities with from_logits=False, at least 0 and with a sum of 1, "
        "got numbers from -1 and a sum of 1",
    ),
    (
        lambda: nn.CrossEntropyLoss(from_logits=False)(np.array([[0.5, 0.5], [3.0, 1.0]]), [0, 1]),
        "logits must be probabilities with from_logits=False, at least 0 and with a sum of 1, "
        "got numbers from 0.5 and a sum of 4",
    ),
    (
        lambda: nn.CrossEntropyLoss(ignore_index=1)(np.ones((2, 3)), np.ones((2, 3))),
        "ignore_index must be negative for a target of probabilities, got 1",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_options_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)


def test_the_gradient_of_a_loss_has_its_shape_and_what_is_refused_changes_nothing():
    for criterion, shape in ((nn.MSELoss(reduction="none"), (2, 3)), (nn.MSELoss(), ())):
        criterion(np.ones((2, 3)), np.zeros((2, 3)))
        with pytest.raises(ValueError, match="dloss must have shape"):
            criterion.backward(np.ones(4))
        assert criterion.backward(np.ones(shape)).shape == (2, 3)


# ---- PyTorch ----


def assert_alike(torch, ours, theirs, x, target):
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx, torch.tensor(target))
    dloss = np.random.default_rng(3).random(tuple(ty.shape)) + 0.5
    ty.backward(torch.tensor(dloss))
    np.testing.assert_allclose(ours(x, target), ty.detach().numpy(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(ours.backward(dloss), tx.grad.numpy(), rtol=1e-9, atol=1e-14)


def tensor(torch, value):
    return None if value is None else torch.tensor(value)


@pytest.mark.parity
@with_reductions
@pytest.mark.parametrize(("weight", "smoothing", "ignored"), OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_of_classes_equals_pytorch(
    torch, shape, weight, smoothing, ignored, reduction
):
    more = {
        "ignore_index": -100 if ignored is None else ignored, "reduction": reduction,
        "label_smoothing": smoothing,
    }  # fmt: skip
    theirs = torch.nn.CrossEntropyLoss(tensor(torch, weight), **more)
    ours = nn.CrossEntropyLoss(weight, **more)
    assert_alike(torch, ours, theirs, normal(*shape), classes(shape, ignored))


@pytest.mark.parity
@with_reductions
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_of_probabilities_equals_pytorch(torch, shape, weight, smoothing, reduction):
    more = {"reduction": reduction, "label_smoothing": smoothing}
    theirs = torch.nn.CrossEntropyLoss(tensor(torch, weight), **more)
    ours = nn.CrossEntropyLoss(weight, **more)
    assert_alike(torch, ours, theirs, normal(*shape), probabilities(shape))


@pytest.mark.parity
def test_if_all_targets_are_ignored_pytorch_gives_the_same(torch):
    x, target = normal(2, 3), np.array([-100, -100])
    tx = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.CrossEntropyLoss()(tx, torch.tensor(target))
    theirs.backward()
    assert np.isnan(theirs.item()) and not tx.grad.numpy().any()


@pytest.mark.parity
@with_reductions
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("pos_weight", [None, np.array([3.0, 1.0, 0.5])])
def test_binary_cross_entropy_equals_pytorch(torch, weight, pos_weight, reduction):
    theirs = torch.nn.BCEWithLogitsLoss(
        tensor(torch, weight), reduction=reduction, pos_weight=tensor(torch, pos_weight)
    )
    ours = nn.BCEWithLogitsLoss(weight, reduction=reduction, pos_weight=pos_weight)
    assert_alike(torch, ours, theirs, 5 * normal(6, 3), probabilities((6, 3)))


@pytest.mark.parity
@with_reductions
@pytest.mark.parametrize(
    ("name", "more"),
    [("MSELoss", {}), ("L1Loss", {}), ("SmoothL1Loss", {}), ("SmoothL1Loss", {"beta": 0.3}),
     ("SmoothL1Loss", {"beta": 0.0})],
)  # fmt: skip
def test_losses_of_values_equal_pytorch(torch, name, more, reduction):
    theirs = getattr(torch.nn, name)(reduction=reduction, **more)
    y, target = normal(4, 3), normal(4, 3, seed=1)
    target[0, 0] = y[0, 0]
    assert_alike(torch, getattr(nn, name)(reduction=reduction, **more), theirs, y, target)


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        (nn.MSELoss("sum"), "MSELoss(reduction='sum')"),
        (nn.SmoothL1Loss(beta=0.5), "SmoothL1Loss(reduction='mean', beta=0.5)"),
        (
            nn.BCEWithLogitsLoss(pos_weight=2.0),
            "BCEWithLogitsLoss(weight=None, reduction='mean', pos_weight=2.0)",
        ),
        (
            nn.CrossEntropyLoss([1, 2, 3], label_smoothing=0.1),
            "CrossEntropyLoss(weight=array of shape (3,), ignore_index=-100, reduction='mean', "
            "label_smoothing=0.1, from_logits=True)",
        ),
    ],
)
def test_the_repr_of_a_loss_shows_its_options(criterion, text):
    assert repr(criterion) == text
