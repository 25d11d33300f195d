"""How arrays lie in memory changes no bit, but for the order of x's axes, and costs no memory."""

import itertools
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from bits import everything
from layouts import (
    MEMORY,
    channels_last_memory,
    cropped,
    every_second,
    fortran,
    misaligned,
    reversed_all,
    same_order,
)

import bn
import bncore

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
# Planar and channels-last, rows taken together as one, rows in pieces, a single channel.
SHAPES = [
    ((9, 6, 13, 14), 1),
    ((2, 3, 150, 151), 1),
    ((600, 17), 1),
    ((4, 9, 11, 3), 3),
    ((3, 40, 21), 2),
    ((5, 7, 300), 0),
    ((6, 1, 70, 30), 1),
]
GAPS = [m for m in MEMORY if m not in (fortran, channels_last_memory)]


def case(shape, dtype, rng):
    """x, whose channels are summed once and twice, and dy."""
    x = rng.standard_normal(shape)
    x.flat[:: 7 * shape[-1] + 1] += 30
    return x.astype(dtype), rng.standard_normal(shape).astype(dtype)


def together(x, memory):
    """Neighbours of x in memory are NaN, so that a wrong step would be seen."""
    other = memory(x)
    base = other.base
    if isinstance(base, np.ndarray) and base.size > x.size and base.dtype == x.dtype:
        kept = x.copy()
        base[...] = np.nan
        other[...] = kept
    return other


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gaps_signs_and_alignment_change_no_bit(shape, axis, memory, dtype, rng):
    x, dy = case(shape, dtype, rng)
    there = together(x, memory)
    expected = everything(same_order(there), dy, axis)
    assert everything(there, dy, axis) == expected
    assert everything(there, together(dy, memory), axis) == expected
    assert everything(same_order(there), together(dy, memory), axis) == expected


@pytest.mark.parametrize("memory", [every_second, cropped, reversed_all, misaligned, fortran])
@pytest.mark.parametrize(("shape", "axis"), [((9, 6, 50, 50), 1), ((40, 50, 9), 2)])
def test_threads_and_instruction_sets_change_no_bit_of_what_is_copied_in_parts(
    shape, axis, memory, rng, isa
):
    x, dy = (memory(a) for a in case(shape, np.float32, rng))
    plain = same_order(x), same_order(dy)
    bncore.select_isa("baseline")
    expected = everything(*plain, axis)
    bncore.select_isa(isa)
    for threads in (1, 2, 3, 7):
        bn.set_num_threads(threads)
        assert everything(x, dy, axis) == expected, threads


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_the_order_of_another_tensors_axes_changes_no_bit(shape, axis, rng):
    x, dy = case(shape, np.float32, rng)
    for order in itertools.permutations(range(x.ndim)):
        back = np.argsort(order)
        other = np.ascontiguousarray(dy.transpose(order)).transpose(back)
        assert everything(x, other, axis) == everything(x, dy, axis), order


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_gaps_change_no_bit_for_any_order_of_the_axes(order, rng):
    shape = (5, 6, 7, 8)
    wide = rng.standard_normal([2 * shape[a] for a in order]).astype(np.float32)
    x = wide[::2, 1::2, ::-2, : shape[order[3]]].transpose(np.argsort(order))
    assert x.shape == shape
    dy = rng.standard_normal(shape).astype(np.float32)
    for axis in range(4):
        assert everything(x, dy, axis) == everything(same_order(x), dy, axis), axis


# ---- repeated values ----


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_values_that_are_repeated_without_a_copy_give_the_bits_of_a_copy(shape, axis, dtype, rng):
    x, dy = case(shape, dtype, rng)
    for repeated in itertools.product([False, True], repeat=len(shape)):
        first = tuple(slice(1) if r else slice(None) for r in repeated)
        x_, dy_ = (np.broadcast_to(a[first], shape) for a in (x, dy))
        assert everything(x_, dy, axis) == everything(x_.copy(), dy, axis), repeated
        assert everything(x, dy_, axis) == everything(x, dy_.copy(), axis), repeated
        assert everything(x_, dy_, axis) == everything(x_.copy(), dy_.copy(), axis), repeated


def test_the_gradient_of_a_sum_may_be_one_number(rng):
    for shape, axis in SHAPES:
        x = rng.standard_normal(shape).astype(np.float32)
        ones = np.ones_like(x)
        assert everything(x, np.broadcast_to(np.float32(1), shape), axis) == everything(
            x, ones, axis
        )


# ---- outputs ----


def outputs(x, dy, axis, like):
    """What the calls with outputs give, in arrays from `like`, and those arrays."""
    weight, bias = np.linspace(-2, 2, x.shape[axis]), np.linspace(0, 1, x.shape[axis])
    y, s = bn.normalize_batch(x, weight, bias, axis=axis, residual=dy, out=like(x))
    same = bn.normalize(x, s.mean, s.var, weight, bias, axis=axis, out=like(x))
    g = like(x)
    dx, sums = bn.backward_batch(
        dy, x, s, weight, bias=bias, y=y, activation="relu", dresidual=g, axis=axis, out=like(x)
    )
    apart = bn.backward_apply(dy, x, s.mean, s.var, weight, sums=sums, axis=axis, out=like(x))
    return [y, same, dx, g, apart]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_outputs_may_lie_in_memory_in_any_way(shape, axis, memory, dtype, rng):
    x, dy = case(shape, dtype, rng)
    expected = outputs(x, dy, axis, np.empty_like)
    found = outputs(x, dy, axis, lambda a: together(np.zeros_like(a), memory))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.strides == memory(x).strides


@pytest.mark.parametrize(("shape", "axis"), [((9, 6, 13, 14), 1), ((600, 17), 1), ((4, 9, 3), 2)])
def test_nothing_is_written_into_the_gaps_of_an_output(shape, axis, rng):
    x, dy = case(shape, np.float32, rng)
    crop = tuple(slice(2, 2 + n) for n in shape)
    wides = []

    def in_a_frame(a):
        wides.append(np.full([n + 4 for n in shape], 7, a.dtype))
        return wides[-1][crop]

    outputs(x, dy, axis, in_a_frame)
    for wide in wides:
        wide[crop] = 7
        assert (wide == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_the_output_may_be_the_input_wherever_it_lies(shape, axis, memory, dtype, rng):
    x, dy = case(shape, dtype, rng)
    weight = np.linspace(-2, 2, shape[axis])
    there = together(x, memory)
    expected, s = bn.normalize_batch(same_order(there), weight, axis=axis)
    expected_dx, _ = bn.backward_batch(dy, same_order(there), s, weight, axis=axis)
    for target in ("x", "dy"):
        a = {"x": memory(x.copy()), "dy": memory(dy.copy())}
        dx, _ = bn.backward_batch(a["dy"], a["x"], s, weight, axis=axis, out=a[target])
        assert dx is a[target]
        np.testing.assert_array_equal(dx, expected_dx)
    y, _ = bn.normalize_batch(there, weight, axis=axis, out=there)
    assert y is there
    np.testing.assert_array_equal(y, expected)


def test_an_output_with_gaps_that_overlaps_the_input_is_right_all_the_same(rng):
    memory = rng.standard_normal((6, 5, 40)).astype(np.float32)
    for shift, step in itertools.product((1, 3), (1, 2)):
        for forwards in (True, False):
            shared = memory.copy()
            x, out = shared[:, :, :-shift:step], shared[:, :, shift::step]
            if not forwards:
                x, out = out, x
            expected, _ = bn.normalize_batch(x.copy())
            y, _ = bn.normalize_batch(x, out=out)
            np.testing.assert_array_equal(y, expected)


# ---- memory ----

SCRIPT = """
import resource
import sys
import numpy as np
import bn

shape, axis = tuple(map(int, sys.argv[1].split(","))), int(sys.argv[2])
x, dy = (np.broadcast_to(np.float32(value), shape) for value in (2, 1))
bn.set_num_threads(2)
bn.stats(np.zeros((2, 3, 300, 300), np.float32))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
s = bn.stats(x, axis)
sums = bn.backward_reduce(dy, x, s.mean, axis=axis)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert s.mean.tolist() == [2] * 3 and not s.m2.any(), s
assert sums.dy.tolist() == s.count.tolist() and not sums.dy_xmu.any(), sums
print(grown)
"""


def grown_by(shape, axis):
    """KiB by which a process that sums one repeated value of this shape grows."""
    command = [sys.executable, "-c", SCRIPT, ",".join(map(str, shape)), str(axis)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4096, 2048), 1), ((2, 4096, 2048, 3), 3)])
def test_a_repeated_value_needs_no_memory_of_the_size_of_its_tensor(shape, axis):
    assert grown_by(shape, axis) < 10_000  # the tensor has 200 MB


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 2**15, 2**15), 1), ((2, 2**15, 2**15, 3), 3)])
def test_a_repeated_value_of_24_gigabytes_needs_next_to_no_memory(shape, axis):
    assert grown_by(shape, axis) < 120_000  # each thread copies one chunk of each of two tensors
