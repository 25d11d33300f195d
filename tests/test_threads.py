"""Python threads, forks and other processes: each computes what it would compute by itself."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from arrays import normal
from busy_threads import wrong_results
from forks import fork_amid
from test_process import run
from threadpoolctl import threadpool_limits

import bn
from bn import nn

WORKERS = 8
SHAPE = (4, 8, 16, 16)
NUMBERS = ["0", "-1", "1000000", str(2**63), "x", ""]


def network():
    return nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, rng=0), bn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
    )


def together(work):
    """Run work(0), work(1), ... in threads that begin at the same time; return the results."""
    barrier = threading.Barrier(WORKERS)

    def begin(k):
        barrier.wait()
        return work(k)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(begin, range(WORKERS)))


def images(k):
    return normal(*SHAPE, seed=k, dtype=np.float32)


def test_threads_share_a_layer_in_eval_mode():
    model = network().eval()

    def work(k):
        with nn.no_grad():
            return [model(images(k)) for _ in range(20)]

    for k, ys in enumerate(together(work)):
        with nn.no_grad():
            expected = model(images(k))
        for y in ys:
            np.testing.assert_array_equal(y, expected)


def trained(k):
    """Train a network of one's own; return its state."""
    model = network()
    optimizer = nn.SGD(model.parameters(), 0.1)
    for step in range(5):
        optimizer.zero_grad()
        y = model(images(10 * k + step))
        model.backward(np.ones_like(y))
        optimizer.step()
    return list(model.state_dict().values())


def test_threads_train_networks_of_their_own():
    expected = [trained(k) for k in range(WORKERS)]
    for state, own in zip(together(trained), expected, strict=True):
        for a, b in zip(state, own, strict=True):
            np.testing.assert_array_equal(a, b)


def test_threads_that_do_everything_at_once_get_the_bits_of_calls_alone():
    assert wrong_results(400) == []


def test_threads_may_set_the_number_of_threads_at_any_time():
    expected = [bn.normalize_batch(images(k))[0] for k in range(WORKERS)]

    def work(k):
        ys = []
        for n in range(1, 30):
            with bn.threads(1 + (n + k) % 4):
                ys.append(bn.normalize_batch(images(k))[0])
        return ys

    with bn.threads(2):  # the blocks of the threads overlap, so one of their numbers may stay
        found = together(work)
    for k, ys in enumerate(found):
        for y in ys:
            np.testing.assert_array_equal(y, expected[k])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_other_threads_compute_leaves_a_child_that_computes():
    x = images(2)
    expected = bn.normalize_batch(x)[0]
    fork_amid(
        lambda: bn.normalize_batch(images(1)),
        threads=3,
        times=20,
        good=lambda: np.array_equal(bn.normalize_batch(x)[0], expected),
    )


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_of_multiprocessing_compute_the_same(method):
    batches = [images(k) for k in range(4)]
    expected = [bn.normalize_batch(x)[0] for x in batches]  # the threads have started
    with multiprocessing.get_context(method).Pool(2) as pool:
        # a function of bn, because not every Python finds this module in a new process
        found = pool.map_async(bn.normalize_batch, batches).get(60)
    for (y, _), own in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y, own)


def test_parallel_calls_inside_of_parallel_calls():
    """A hook and a callback that compute run inside a model's forward, in several threads."""
    model = nn.Sequential(bn.BatchNorm2d(8), nn.ReLU()).eval()
    seen = []
    model.register_forward_hook(lambda layer, x, y: seen.append(bn.normalize_batch(y)[0].shape))
    together(lambda k: model(images(k)) if k == 0 else bn.normalize_batch(images(k)))
    assert seen == [SHAPE]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_environments_number_of_threads_is_used_or_left_alone(number):
    code = """
        import numpy as np, bn
        y = bn.normalize_batch(np.ones((64, 64, 8, 8), np.float32))[0]
        print(1 <= bn.get_num_threads() <= 1024, float(abs(y).max()))
    """
    assert run(code, OMP_NUM_THREADS=number) == "True 0.0"


@pytest.mark.parametrize("number", [0, -1, 10**6, 2**63, 10**400, 1.5, True, None, "2"])
def test_a_number_of_threads_that_is_none_or_too_large_is_refused(number):
    before = bn.get_num_threads()
    with pytest.raises(ValueError, match="n must be"):
        bn.set_num_threads(number)
    assert bn.get_num_threads() == before


@pytest.mark.parametrize("limit", [1, 10**6, 2**31 - 1])
def test_a_limit_of_threadpoolctl_is_at_most_what_was_asked_for(limit):
    bn.set_num_threads(2)
    with threadpool_limits(limit, user_api="openmp"):
        assert bn.get_num_threads() == min(limit, 2)
        assert bn.normalize_batch(images(0))[0].shape == SHAPE
