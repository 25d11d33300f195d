"""`bn.BatchNormalization` beside Keras's."""

import os

import numpy as np
import pytest

import bn

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def pair(keras, shape, **options):
    """The same layer in Keras and here, with the same random state."""
    theirs = keras.layers.BatchNormalization(**options)
    theirs.build(shape)
    ours = bn.BatchNormalization(**options)
    ours.build(shape[1:])
    rng = np.random.default_rng(3)
    state = {v.name: rng.random(v.shape).astype(np.float32) + 0.5 for v in theirs.weights}
    theirs.set_weights(list(state.values()))
    ours.load_state_dict(state)
    return theirs, ours


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": False},
        {"scale": False},
        {"momentum": 0.3, "epsilon": 0.1},
        {"axis": 1},
        {"axis": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(6, 5, 4), (4, 5, 6, 3)])
def test_layers_train_and_evaluate_alike(keras, shape, options):
    import torch

    theirs, ours = pair(keras, shape, **options)
    rng = np.random.default_rng(0)
    for training in (True, True, False, True, False):
        x, dy = ((2 * rng.standard_normal(shape) + 1).astype(np.float32) for _ in range(2))
        tx = torch.tensor(x, requires_grad=True)
        ty = theirs(tx, training=training)
        ty.backward(torch.from_numpy(dy))
        limit = {"rtol": 2e-5, "atol": 2e-5}
        np.testing.assert_allclose(ours.train(training)(x), ty.detach().numpy(), **limit)
        np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), **limit)
        state = ours.state_dict()
        for v in theirs.weights:
            name, value = v.name, v.value.detach().numpy()
            np.testing.assert_allclose(state[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_defaults_are_alike(keras):
    theirs, ours = keras.layers.BatchNormalization(), bn.BatchNormalization()
    for name in ("axis", "momentum", "epsilon", "center", "scale"):
        assert getattr(ours, name) == getattr(theirs, name)
