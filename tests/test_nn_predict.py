"""`model.predict`: the forward pass in eval mode, batch by batch and in any thread."""

import threading

import numpy as np
import pytest

import bn
from bn import nn


def network():
    return nn.Sequential(
        nn.Linear(4, 8, rng=0, dtype=np.float64),
        bn.BatchNorm1d(8, dtype=np.float64),
        nn.ReLU(),
        nn.Linear(8, 2, rng=1, dtype=np.float64),
    )


def rows(n):
    return np.random.default_rng(0).standard_normal((n, 4))


def test_predict_is_the_forward_pass_in_eval_mode():
    model, x = network(), rows(50)
    model[1].eval()
    y = model.predict(x, batch_size=7)
    assert model.training and not model[1].training and model.last_record is None
    assert np.array_equal(y, model.eval()(x)) or np.allclose(y, model.eval()(x), rtol=1e-14)


def test_predict_gives_the_modes_back_after_an_error():
    model = network()
    with pytest.raises(ValueError, match="Linear takes 4 features"):
        model.predict(np.ones((3, 5)))
    assert model.training and model[1].training


def test_predict_of_no_samples_has_no_rows():
    assert network().predict(np.ones((0, 4))).shape == (0, 2)


def test_several_threads_predict_with_one_model():
    model, x = network(), rows(64)
    expected, found = model.predict(x), [None] * 8
    barrier = threading.Barrier(8)

    def work(i):
        barrier.wait()
        for _ in range(20):
            found[i] = model.predict(x, batch_size=64)
            assert np.array_equal(found[i], expected)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(each, expected) for each in found)
    assert all(module.training for module in model.modules())


def test_batches_of_predict_are_joined():
    model, x = network(), rows(10)
    found = [model.predict(x, batch_size) for batch_size in (1, 3, 10, 256)]
    assert all(np.allclose(each, found[0], rtol=1e-13) for each in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]],), "x must be a numpy array, got list"),
        ((np.ones((2, 4)), 0), "batch_size must be a positive integer, got 0"),
    ],
)
def test_what_predict_cannot_take_is_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        network().predict(*arguments)
