"""Whichever allocation of the core fails: a MemoryError, nothing changed, and the next call works.

Only builds with sanitizers can let an allocation fail; `.ci/sanitize address,undefined` makes one.
"""

import os

import numpy as np
import pytest
from arrays import normal, same_state, state

import bn
import bncore
from bn import nn

LARGE = (2**16,)  # bytes: the core's own memory, not NumPy's


def count_anew():
    """Let the core see that no allocation is to fail."""
    bncore.empty(LARGE, np.uint8)


def can_fail():
    """Tell whether this build lets the first allocation fail."""
    os.environ["BN_FAIL_ALLOC"] = "1"
    try:
        bncore.empty(LARGE, np.uint8)
    except MemoryError:
        return True
    finally:
        del os.environ["BN_FAIL_ALLOC"]
        count_anew()
    return False


pytestmark = pytest.mark.skipif(not can_fail(), reason="no allocation fails in this build")

X = normal(4, 3, 40, 40, dtype=np.float32)


def wherever_an_allocation_may_fail(call):
    """Run `call` again and again, with one more allocation before the one that fails each time.

    Yields after each call that failed which allocation it was, until a call ends without an error.
    """
    for n in range(1, 1000):
        os.environ["BN_FAIL_ALLOC"] = str(n)
        try:
            call()
        except MemoryError:
            yield n
        else:
            return
        finally:
            del os.environ["BN_FAIL_ALLOC"]
            count_anew()
    pytest.fail("999 allocations, and no end")


def small_model():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, rng=0),
        bn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 1, rng=1),
        bn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(8 * 20 * 20, 3, rng=2),
    )


def gradients(model):
    return [None if p.grad is None else p.grad.copy() for p in model.parameters()]


def test_a_forward_pass_that_finds_no_memory_changes_no_running_statistic():
    model = small_model()
    before = state(model)
    failed = 0
    for failed in wherever_an_allocation_may_fail(lambda: np.asarray(model(X))):
        assert same_state(state(model), before), f"allocation {failed}"
    assert failed > 5
    other = small_model()
    np.asarray(other(X))
    assert same_state(state(model), state(other))


def test_a_backward_pass_that_finds_no_memory_changes_no_parameter():
    model, other = small_model(), small_model()
    dy = np.ones((4, 3), np.float32)
    np.asarray(other(X))
    other.backward(dy)
    failed = 0

    def forward():
        model.zero_grad()
        model.load_state_dict(small_model().state_dict())
        np.asarray(model(X))

    forward()
    before = state(model)
    for failed in wherever_an_allocation_may_fail(lambda: model.backward(dy)):
        assert same_state(state(model), before), f"allocation {failed}"
        forward()
    assert failed > 5
    for grad, expected in zip(gradients(model), gradients(other), strict=True):
        np.testing.assert_array_equal(grad, expected)


@pytest.mark.parametrize("make", [nn.SGD, nn.Adam, nn.RMSprop])
def test_an_optimizers_step_that_finds_no_memory_changes_nothing(make):
    models = [small_model(), small_model()]
    options = {"momentum": 0.9} if make is nn.SGD else {}
    optimizers = [make(model.parameters(), lr=0.1, **options) for model in models]
    for model in models:
        np.asarray(model(X))
        model.backward(np.ones((4, 3), np.float32))
    before = state(models[0])
    for failed in wherever_an_allocation_may_fail(optimizers[0].step):
        assert same_state(state(models[0]), before), f"allocation {failed}"
    optimizers[1].step()
    assert same_state(state(models[0]), state(models[1]))


def test_a_checkpoint_that_finds_no_memory_leaves_the_older_one(tmp_path):
    path, model = tmp_path / "model.npz", small_model()
    nn.save(path, model)
    old, before = path.read_bytes(), state(model)
    np.asarray(model(X))
    for failed in wherever_an_allocation_may_fail(lambda: nn.save(path, model)):
        assert path.read_bytes() == old, f"allocation {failed}"
        assert list(tmp_path.iterdir()) == [path]
    other = small_model()
    unchanged = state(other)
    for failed in wherever_an_allocation_may_fail(lambda: nn.load(path, other)):
        assert same_state(state(other), unchanged), f"allocation {failed}"
    assert same_state(state(other), state(model))
    assert not same_state(state(other), before)


def test_every_function_works_again_after_it_found_no_memory():
    calls = {
        "stats": lambda: bn.stats(X),
        "normalize": lambda: bn.normalize(X, np.zeros(3), np.ones(3)),
        "batch_norm": lambda: bn.batch_norm(X, None, None, training=True),
    }
    for name, call in calls.items():
        assert list(wherever_an_allocation_may_fail(call)), name
        call()
