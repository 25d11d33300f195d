import importlib
import os
import signal

import hypothesis
import numpy as np
import pytest

import bncore

hypothesis.settings.register_profile("bn", derandomize=True, deadline=None)
hypothesis.settings.load_profile("bn")  # the examples are the same each time


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="session")
def ours(torch):
    """`bn.torch`, which imports PyTorch."""
    return importlib.import_module("bn.torch")


@pytest.fixture(scope="session")
def models(torch):
    """Models of PyTorch in the style of torchvision."""
    return importlib.import_module("torch_models")


@pytest.fixture(scope="session")
def keras(torch):
    """Keras computes with PyTorch unless the environment says otherwise."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


@pytest.fixture(autouse=True)
def threads_as_before():
    """No test changes the number of threads for the next one."""
    before = bncore.threads_asked()
    yield
    bncore.set_max_threads(before)


@pytest.fixture(params=bncore.available_isas())
def isa(request):
    """Runs the test with each instruction set that this machine has."""
    before = bncore.selected_isa()
    bncore.select_isa(request.param)
    yield request.param
    bncore.select_isa(before)


@pytest.fixture
def soon():
    """A test that waits for longer than ten seconds fails, instead of waiting for ever."""

    def late(number, frame):
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
