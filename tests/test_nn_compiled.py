"""A compiled model predicts what the model does, for all shapes, and keeps what it was."""

import copy
import pickle
import threading

import arrays
import numpy as np
import pytest
from recorded import forward_of

import bn
from bn import nn

TOLERANCE = 2e-5  # of the largest output, in float32; folding and Winograd round otherwise


def normal(*shape):
    return arrays.normal(*shape, dtype=np.float32)


def small(axis=1):
    norm = bn.BatchNorm2d if axis == 1 else lambda _: bn.BatchNormalization()
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, axis=axis, rng=0),
        norm(16),
        nn.ReLU(),
        nn.MaxPool2d(2, axis=axis),
        nn.Conv2d(16, 16, 3, padding=1, axis=axis, rng=1),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10, rng=2),
    )


def trained(model, x):
    """Give the normalizations statistics of their own, and go to eval mode."""
    model.train()(x)
    return model.eval()


def assert_predicts(model, x, input_shape=None):
    with nn.no_grad():
        expected = model(x)
    predict = bn.compile(model, input_shape or x.shape[1:])
    for _ in range(2):  # the first call finds the steps, the second one runs them
        y = predict(x)
        assert y.dtype == expected.dtype and y.shape == expected.shape
        largest = max(1.0, abs(expected).max(initial=0))
        np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE * largest)


@pytest.mark.parametrize("batch", [0, 1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_networks(batch, dtype):
    model = trained(small(), normal(8, 3, 8, 8))
    assert_predicts(model, normal(batch, 3, 8, 8).astype(dtype))


def test_channels_last_by_shape():
    x = normal(4, 8, 8, 3)
    assert_predicts(trained(small(axis=-1), x), x)


def as_strided(x, order):
    """Return the values of x with its axes in this order in memory."""
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 1, 0, 2)])
def test_one_compiled_model_takes_every_order_in_memory(order):
    x = normal(5, 3, 8, 8)
    predict = bn.compile(trained(small(), x), (3, 8, 8))
    expected = predict(x)
    y = [predict(as_strided(x, order)) for _ in range(2)]
    np.testing.assert_allclose(y, [expected] * 2, rtol=0, atol=1e-6)


def test_misaligned_images():
    x = normal(2, 3, 8, 8)
    odd = np.ndarray(x.shape, x.dtype, bytearray(x.nbytes + 1), offset=1)
    odd[...] = x
    predict = bn.compile(trained(small(), x), (3, 8, 8))
    np.testing.assert_array_equal([predict(odd) for _ in range(2)], [predict(x)] * 2)


class UNet(nn.Module):
    """A value that several layers need, operations, a constant, a parameter of its own."""

    def __init__(self):
        self.down = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, rng=0), bn.BatchNorm2d(16))
        self.relu = nn.ReLU()
        self.inner = nn.Conv2d(16, 16, 3, padding=1, groups=4, rng=1)
        self.gain = bn.Parameter(np.full((1, 16, 1, 1), 1.5, np.float32))

    def forward(self, x):
        a = self.down(x)
        b = self.relu(a + self.inner(a))
        c = nn.concatenate([b * self.gain, a / 2], axis=1)
        return c.mean((2, 3)) + self.down(x)[:, :1, 0, 0] - 1


@pytest.mark.parametrize("fused", [True, False])
def test_models_with_a_forward_of_their_own(fused):
    x = normal(3, 3, 6, 6)
    with nn.fused(fused):
        assert_predicts(trained(UNet(), x), x)


@pytest.mark.parametrize("make", [nn.models.resnet20, nn.models.mobilenet_v2])
def test_models_of_the_collection(make):
    x = normal(2, 3, 32, 32)
    model = trained(make(num_classes=5, rng=0), x)
    assert_predicts(model, x)


def test_a_normalization_behind_the_pooling_keeps_its_order_of_memory():
    x = normal(4, 16, 8, 8)
    layers = [nn.MaxPool2d(2), bn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 1, 1)]
    model = trained(nn.Sequential(*layers), x)
    for images in (x, nn.channels_last(x)):
        assert_predicts(model, images)


def test_a_layer_by_itself_and_several_inputs():
    x, y = normal(4, 6), normal(4, 6) + 1
    assert_predicts(nn.Linear(6, 70, rng=0).eval(), x)

    class Both(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(6, 6, rng=0)

        def forward(self, a, b):
            return self.linear(a) - b

    both = Both().eval()
    predict = bn.Compiled(both)
    np.testing.assert_allclose([predict(x, y) for _ in range(2)], [both(x, y)] * 2, atol=1e-6)


class Difference(nn.Module):
    def forward(self, a, b):
        return a - b


def test_one_array_for_two_inputs_is_no_rule_for_later_calls():
    predict = bn.compile(Difference().eval())
    a, b = normal(3, 4), np.ones((3, 4), np.float32)
    assert not predict(a, a).any()
    np.testing.assert_array_equal(predict(a, b), a - b)


def test_an_input_that_is_a_constant_of_the_forward_too():
    constant, x = normal(3, 4), np.ones((3, 4), np.float32)
    predict = bn.Compiled(forward_of(lambda x: x * 2 + constant).eval())
    np.testing.assert_array_equal(predict(constant), constant * 3)
    np.testing.assert_array_equal(predict(x), x * 2 + constant)


def test_the_oldest_layout_is_forgotten_first():
    predict = bn.compile(nn.Linear(3, 2, rng=0).eval())
    seen = []
    predict.model[0].register_forward_hook(lambda layer, x, y: seen.append(len(y)))
    for n in (*range(1, 17), 16, 17, 16, 1):
        predict(np.ones((n, 3), np.float32))
    assert seen[::2] == [*range(1, 18), 1]  # each layout is run twice to find its steps


def test_half_precision():
    x = normal(8, 6).astype(np.float16)
    model = trained(nn.Sequential(bn.BatchNorm1d(6), nn.Identity()), x)
    assert_predicts(model, x)


def test_it_is_a_copy():
    x = normal(2, 3, 8, 8)
    model = trained(small(), x)
    predict = bn.compile(model, (3, 8, 8))
    before = predict(x)
    for p in model.parameters():
        p.data += 1
    np.testing.assert_array_equal(predict(x), before)


def test_calls_change_nothing():
    x = normal(2, 3, 8, 8)
    predict = bn.compile(trained(small(), x), (3, 8, 8))
    first, given = predict(x), x.copy()
    kept = first.copy()
    predict(x + 1)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, given)
    assert predict.model.last_record is None


def test_copies_and_pickles_predict_the_same():
    x = normal(2, 3, 8, 8)
    predict = bn.compile(trained(small(), x), (3, 8, 8))
    y = predict(x)
    for twin in (copy.deepcopy(predict), pickle.loads(pickle.dumps(predict))):
        np.testing.assert_array_equal(twin(x), y)


def test_threads_may_share_it():
    batches = [normal(n, 3, 8, 8) for n in (1, 2, 3, 4)]
    predict = bn.compile(trained(small(), batches[3]), (3, 8, 8))
    expected = [predict(x) for x in batches]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(predict(batches[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_more_shapes_than_are_kept():
    predict = bn.compile(nn.Linear(3, 2, rng=0).eval())
    for _ in range(2):
        for n in range(40):
            assert predict(np.ones((n, 3), np.float32)).shape == (n, 2)


def test_training_mode_is_refused_by_name():
    model = small().eval()
    model[1].train()
    with pytest.raises(ValueError, match=r"layer '1' is in training mode: call eval\(\) first"):
        bn.compile(model)


def test_a_forward_that_looks_at_numbers_is_refused():
    model = forward_of(lambda x: x * 2 if x.data.sum() > 0 else x * 3).eval()
    with pytest.raises(TypeError, match="same way for all numbers"):
        bn.Compiled(model)(normal(2, 3))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kind", [np.ma.MaskedArray, np.matrix])
def test_a_mask_is_not_ignored_whether_the_layout_is_known_or_not(kind, known):
    predict, x = bn.compile(nn.Linear(3, 2, rng=0).eval()), np.ones((4, 3), np.float32)
    if known:
        predict(x)
    with pytest.raises(TypeError, match=r"must (be a numpy array|have no mask), got"):
        predict(x.view(kind))


def test_what_is_no_array_is_refused():
    predict = bn.compile(nn.Linear(3, 2, rng=0).eval())
    with pytest.raises(TypeError, match="x of a compiled model must be"):
        predict([[1.0, 2.0, 3.0]])


def test_errors_are_those_of_the_model():
    predict = bn.compile(small().eval())
    with pytest.raises(ValueError, match="Conv2d takes 3 channels"):
        predict(normal(2, 4, 8, 8))
