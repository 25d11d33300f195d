"""The losses have the right values and gradients, which are those of PyTorch and Keras."""

import numpy as np
import pytest
from gradcheck import central_differences

from bn import nn

SHAPES = [(4, 3), (2, 3, 5), (2, 3, 2, 2)]


def example(shape, kind):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal(shape)
    if kind == "classes":
        return logits, rng.integers(0, shape[1], (shape[0], *shape[2:]))
    probabilities = rng.random(shape)
    return logits, probabilities / probabilities.sum(axis=1, keepdims=True)


def softmax(logits):
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("from_logits", [True, False])
def test_cross_entropy_has_the_right_gradient(shape, kind, smoothing, from_logits):
    criterion = nn.CrossEntropyLoss(from_logits=from_logits, label_smoothing=smoothing)
    logits, target = example(shape, kind)
    x = logits if from_logits else 1.005 * softmax(logits)  # which are divided by their sum
    criterion(x, target)
    gradient = criterion.backward()
    expected = central_differences(lambda: criterion(x, target), x)
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-6, atol=1e-8)


def test_cross_entropy_of_labels_that_do_not_sum_to_one_has_the_right_gradient():
    criterion = nn.CrossEntropyLoss()
    logits, target = example((4, 3), "probabilities")
    criterion(logits, 3 * target)
    gradient = criterion.backward()
    expected = central_differences(lambda: criterion(logits, 3 * target), logits)
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("target", [np.array([0, 2]), np.eye(3)[[0, 2]]], ids=["classes", "rows"])
def test_a_masked_class_costs_nothing_in_cross_entropy(target):
    logits = np.array([[0.5, -np.inf, 1.0], [2.0, -np.inf, 0.0]])
    criterion, without = nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    assert criterion(logits, target) == pytest.approx(without(logits[:, [0, 2]], [0, 1]), rel=1e-12)
    gradient = criterion.backward()
    np.testing.assert_allclose(gradient[:, [0, 2]], without.backward(), rtol=1e-12)
    assert not gradient[:, 1].any()


def test_cross_entropy_is_the_mean_of_minus_the_log_of_the_right_class():
    logits, target = example((4, 3), "classes")
    expected = -np.log(softmax(logits)[np.arange(4), target]).mean()
    loss = nn.CrossEntropyLoss()(logits, target)
    assert type(loss) is float
    assert loss == pytest.approx(expected, rel=1e-12)
    one_hot = np.eye(3)[target]
    for dtype in (np.float64, np.int64, np.uint8, bool):
        found = nn.CrossEntropyLoss()(logits, one_hot.astype(dtype))
        assert found == pytest.approx(expected, rel=1e-12)
    keras = nn.CrossEntropyLoss(from_logits=False)
    assert keras(softmax(logits), one_hot) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_stays_finite_at_the_largest_logits(dtype):
    largest = np.finfo(dtype).max / 4
    logits = np.array([[largest, 0, -largest], [0, largest, 0]], dtype)
    criterion = nn.CrossEntropyLoss()
    assert criterion(logits, np.array([0, 1])) == 0
    assert not criterion.backward().any()
    assert criterion(logits, np.array([1, 1])) == pytest.approx(largest / 2)
    np.testing.assert_array_equal(criterion.backward(), [[0.5, -0.5, 0], [0, 0, 0]])
    assert np.isfinite(nn.CrossEntropyLoss()(np.array([[-1e4, 1e4]], dtype), [0]))


def test_cross_entropy_of_a_sure_and_wrong_probability_is_kerass_limit():
    criterion = nn.CrossEntropyLoss(from_logits=False)
    assert criterion(np.array([[1.0, 0.0]]), [1]) == pytest.approx(-np.log(1e-7))
    assert not criterion.backward().any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_give_gradients_in_the_inputs_dtype(dtype):
    logits, target = example((4, 3), "probabilities")
    for criterion in (
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(from_logits=False),
        nn.MSELoss(),
    ):
        criterion(softmax(logits).astype(dtype), target)
        assert criterion.backward().dtype == dtype


def test_losses_change_neither_input_nor_target():
    logits, target = example((4, 3), "probabilities")
    kept = logits.copy(), target.copy()
    for criterion in (nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss()):
        criterion(logits, target)
        criterion.backward()
    np.testing.assert_array_equal(logits, kept[0])
    np.testing.assert_array_equal(target, kept[1])


def test_mean_squared_error_and_its_gradient_are_exact():
    y, target = example((4, 3), "probabilities")
    criterion = nn.MSELoss()
    assert criterion(y, target) == pytest.approx(((y - target) ** 2).mean(), rel=1e-12)
    expected = central_differences(lambda: nn.MSELoss()(y, target), y)
    np.testing.assert_allclose(criterion.backward().ravel(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), nn.MSELoss()])
def test_backward_of_a_loss_serves_once(criterion):
    sentence = f"{type(criterion).__name__}.backward must follow"
    with pytest.raises(RuntimeError, match=sentence):
        criterion.backward()
    criterion(np.ones((2, 2)), np.ones((2, 2)))
    criterion.backward()
    with pytest.raises(RuntimeError, match=sentence):
        criterion.backward()


BAD = [
    (np.ones((2, 3)), [0, 3], ValueError, r"class indices must be between 0 and 2, got 3"),
    (np.ones((2, 3)), [0, -1], ValueError, r"class indices must be between 0 and 2, got -1"),
    (np.ones((2, 3)), [0.0, 1.0], TypeError, r"class indices must be integers, got float64"),
    (np.ones((2, 3)), [True, False], TypeError, r"class indices must be integers, got bool"),
    (np.ones((2, 3)), [0], ValueError, r"target must have shape \(2,\), got \(1,\)"),
    (np.ones((2, 3)), np.ones((2, 1)), ValueError, r"target must have shape \(2, 3\)"),
    (np.ones((2, 3)), np.ones((2, 4)), ValueError, r"target must have shape \(2, 3\), got \(2, 4"),
    (np.ones((2, 3)), np.full((2, 3), np.nan), ValueError, r"target must be finite, got NaN or"),
    (np.ones((2, 3)), np.full((2, 3), -0.5), ValueError, r"target must not be negative, got -0.5"),
    (np.ones((0, 3)), np.ones(0, int), ValueError, r"logits must not be empty, got shape \(0, 3"),
    (np.ones(3), np.ones(3), ValueError, r"logits must have at least 2 axes, got shape \(3,\)"),
    (np.ones((2, 3), int), [0, 1], TypeError, r"logits must be float32 or float64, got int64"),
    ([[1.0, 2.0]], [0], TypeError, r"logits must be a numpy array, got list"),
]


@pytest.mark.parametrize(("logits", "target", "error", "message"), BAD)
def test_cross_entropy_refuses_what_does_not_fit(logits, target, error, message):
    with pytest.raises(error, match=message):
        nn.CrossEntropyLoss()(logits, target)


def test_mean_squared_error_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"target must have shape \(2,\), got \(2, 1\)"):
        nn.MSELoss()(np.ones(2), np.ones((2, 1)))
    with pytest.raises(ValueError, match="target must be finite, got NaN or infinity"):
        nn.MSELoss()(np.ones(2), [0, np.nan])
    with pytest.raises(ValueError, match=r"y must not be empty, got shape \(0,\)"):
        nn.MSELoss()(np.ones(0), np.ones(0))


def test_label_smoothing_is_between_0_and_1():
    with pytest.raises(ValueError, match=r"label_smoothing must be between 0 and 1, got 1.5"):
        nn.CrossEntropyLoss(label_smoothing=1.5)


@pytest.mark.parity
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_pytorch(torch, shape, kind, smoothing):
    logits, target = example(shape, kind)
    tx = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(tx, torch.tensor(target))
    theirs.backward()
    ours = nn.CrossEntropyLoss(label_smoothing=smoothing)
    assert ours(logits, target) == pytest.approx(theirs.item(), rel=1e-10)
    np.testing.assert_allclose(ours.backward(), tx.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parity
def test_a_masked_class_costs_what_it_does_in_pytorch(torch):
    logits = np.array([[0.0, -np.inf, 1.0]])
    theirs = torch.nn.CrossEntropyLoss()(torch.tensor(logits), torch.tensor([2]))
    assert nn.CrossEntropyLoss()(logits, [2]) == pytest.approx(theirs.item(), rel=1e-12)


@pytest.mark.parity
def test_mean_squared_error_equals_pytorch(torch):
    y, target = example((4, 3), "probabilities")
    tx = torch.tensor(y, requires_grad=True)
    theirs = torch.nn.MSELoss()(tx, torch.tensor(target))
    theirs.backward()
    ours = nn.MSELoss()
    assert ours(y, target) == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(ours.backward(), tx.grad.numpy(), rtol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_probabilities_equals_keras(keras, smoothing):
    logits, target = example((4, 3), "classes")
    p = softmax(logits).astype(np.float32)
    p[0] = np.eye(3)[(target[0] + 1) % 3]
    one_hot = np.eye(3, dtype=np.float32)[target]
    theirs = float(keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)(one_hot, p))
    ours = nn.CrossEntropyLoss(from_logits=False, label_smoothing=smoothing)
    assert ours(p, one_hot) == pytest.approx(theirs, rel=1e-5)
