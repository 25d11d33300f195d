"""What counts as an integer and as a number, wherever one is asked for: never a bool."""

import re

import numpy as np
import pytest

import bn
from bn import _check, memory, nn


@pytest.mark.parametrize("value", [0, -3, 10**30, np.int8(1), np.uint64(2)])
def test_an_integer_is_one_of_python_or_numpy(value):
    assert _check.is_integer(value) and _check.is_number(value)


@pytest.mark.parametrize("value", [True, False, np.True_, "1", None, [1], np.array([1]), 1j])
def test_a_bool_and_other_things_are_neither_an_integer_nor_a_number(value):
    assert not _check.is_integer(value) and not _check.is_number(value)


@pytest.mark.parametrize("value", [0.0, float("nan"), np.float16(1), np.float32(2), np.float64(3)])
def test_a_float_is_a_number_and_no_integer(value):
    assert _check.is_number(value) and not _check.is_integer(value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Linear(True, 2), ValueError, "in_features must be a positive integer"),
        (lambda: nn.Softmax(True), TypeError, "axis must be an integer"),
        (lambda: nn.Conv2d(1, 1, True), ValueError, "kernel_size must be an integer >= 1"),
        (lambda: nn.Conv2d(1, 1, (2, True)), ValueError, "kernel_size must be an integer >= 1"),
        (lambda: nn.MaxPool2d(2, axis=True), ValueError, "axis must be 1 (N, C, H, W) or -1"),
        (lambda: nn.Dropout(rng=True), TypeError, "rng must be a seed >= 0, a numpy Generator"),
        (
            lambda: nn.ReLU().summary((2, True)),
            TypeError,
            "input_shape must be a tuple of integers",
        ),
        (lambda: memory.set_limit(True), ValueError, "must be a whole number of bytes"),
        (lambda: bn.set_num_threads(True), ValueError, "n must be a positive integer"),
        (lambda: nn.LeakyReLU(True), ValueError, "negative_slope must be a finite number"),
        (lambda: nn.Dropout(True), ValueError, "p must be between 0 and 1"),
        (lambda: bn.BatchNorm1d(2, eps=True), ValueError, "eps must be a number of at least 0"),
    ],
)
def test_a_bool_is_refused_in_the_place_of_a_number(call, error, message):
    with pytest.raises(error, match=re.escape(message) + ".*True"):
        call()
