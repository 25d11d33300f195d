"""Long runs: memory, files and threads stay as they are, and running statistics stay exact.

The default tests take short runs; ``pytest -m slow tests/test_endurance.py`` takes the long ones.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from arrays import normal

import bn
from bn import nn

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
X = normal(4, 3, 5, 5, dtype=np.float32)


def resources():
    """Return the resident bytes, the open files and the threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files, threads = (len(list(Path(f"/proc/self/{kind}").iterdir())) for kind in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE"), files, threads


def calls():
    """Return a function for each kind of call; each makes several calls of the library."""
    layer = bn.BatchNorm2d(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), bn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    predict = bn.compile(nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.ReLU()).eval())

    def train():
        model.backward(model(X))
        model.zero_grad()

    def fail():
        for wrong in (X[0], X[:, :2], X.astype(int)):
            with pytest.raises((TypeError, ValueError)):
                layer(wrong)

    return {
        "function": lambda: bn.batch_norm(X, None, None, training=True),
        "layer": lambda: layer.backward(layer(X)),
        "model": train,
        "compiled": lambda: predict(X),
        "error": fail,
    }


def stay_flat(function, repeats):
    for _ in range(100):
        function()
    memory, files, threads = resources()
    for _ in range(repeats):
        function()
    more, files_now, threads_now = resources()
    # what another test left may be collected meanwhile, so that there are fewer
    assert files_now <= files and threads_now <= threads
    assert more - memory < 2**20


@linux
@pytest.mark.parametrize("name", calls())
def test_calls_leave_nothing_behind(name):
    stay_flat(calls()[name], 2_000)


@linux
@pytest.mark.slow
def test_ten_million_calls_leave_nothing_behind():
    gamma, mean, var = np.ones(3), np.zeros(3), np.ones(3)
    stay_flat(lambda: bn.batch_norm(X, mean, var, gamma), 10_000_000)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", calls())
def test_a_hundred_thousand_calls_leave_nothing_behind(name):
    stay_flat(calls()[name], 100_000)


def updates(count):
    """Compare a float64 layer's running statistics with the recurrence after so many batches."""
    layer = bn.BatchNorm1d(2, momentum=0.01, dtype=np.float64)
    batches = [normal(8, 2, seed=k) * (k + 1) + k for k in range(16)]
    moments = [(x.mean(axis=0), x.var(axis=0, ddof=1)) for x in batches]
    mean, var = np.zeros(2), np.ones(2)
    for step in range(count):
        layer(batches[step % 16])
        batch_mean, batch_var = moments[step % 16]
        mean += 0.01 * (batch_mean - mean)
        var += 0.01 * (batch_var - var)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    assert layer.num_batches_tracked == count


def test_running_statistics_follow_their_recurrence():
    updates(5_000)


@pytest.mark.slow
def test_running_statistics_follow_their_recurrence_for_a_million_batches():
    updates(1_000_000)
