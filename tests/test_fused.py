"""Activation and residual in the same pass give the bits of one operation after the other."""

import numpy as np
import pytest
from gradcheck import central_differences
from layouts import MEMORY, SHAPES

import bn

CASES = [
    ({}, False),
    ({}, True),
    ({"activation": "relu"}, False),
    ({"activation": "relu"}, True),
    ({"activation": "leaky_relu", "negative_slope": 0.2}, False),
    ({"activation": "leaky_relu", "negative_slope": 0.2}, True),
    ({"activation": "relu6"}, False),
    ({"activation": "relu6"}, True),
]
IDS = ["none", "add", "relu", "add relu", "leaky", "add leaky", "relu6", "add relu6"]


def slope_of(options):
    if not options:
        return 1
    return options.get("negative_slope", 0) if options["activation"] == "leaky_relu" else 0


def activated(z, options):
    slope = np.array(slope_of(options), z.dtype)
    y = np.where(z < 0, z * slope, z)
    return np.minimum(y, 6) if options.get("activation") == "relu6" else y


def masked(dy, y, options):
    slope = np.array(slope_of(options), dy.dtype)
    g = np.where(y > 0, dy, dy * slope) if options else dy
    return np.where(y < 6, g, 0) if options.get("activation") == "relu6" else g


def affine(channels, dtype):
    """Weights and biases with which some values are above the 6 of ReLU6."""
    return np.linspace(-5, 5, channels).astype(dtype), np.linspace(2, -2, channels).astype(dtype)


def check(x, dy, residual, axis, options):
    """Compare the fused calls with the plain ones and with NumPy, bit by bit."""
    weight, bias = affine(x.shape[axis], x.dtype)
    plain, batch = bn.normalize_batch(x, weight, bias, axis=axis)
    z = plain if residual is None else plain + residual
    expected = activated(z, options)
    for y in (
        bn.normalize_batch(x, weight, bias, axis=axis, residual=residual, **options)[0],
        bn.normalize(
            x, batch.mean, batch.var, weight, bias, axis=axis, residual=residual, **options
        ),
    ):
        np.testing.assert_array_equal(y, expected)

    g = masked(dy, expected, options)
    expected_dx, expected_sums = bn.backward_batch(g, x, batch, weight, axis=axis)
    options = {"axis": axis, "bias": bias, **options}
    for sign_from in [y] if residual is not None else [y, None]:
        dresidual = np.empty_like(x)
        dx, sums = bn.backward_batch(
            dy, x, batch, weight, y=sign_from, dresidual=dresidual, **options
        )
        np.testing.assert_array_equal(dx, expected_dx)
        np.testing.assert_array_equal(sums.dy, expected_sums.dy)
        np.testing.assert_array_equal(sums.dy_xmu, expected_sums.dy_xmu)
        np.testing.assert_array_equal(dresidual, g)


@pytest.mark.parametrize(("options", "adds"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_fused_operations_equal_the_same_operations_one_after_the_other(
    shape, axis, dtype, options, adds, rng, isa
):
    x, dy, residual = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    check(x, dy, residual if adds else None, axis, options)


@pytest.mark.parametrize("memory", MEMORY)
def test_fused_operations_are_exact_for_any_memory_layout(memory, rng):
    x, dy, residual = (rng.standard_normal((3, 4, 5, 6)).astype(np.float32) for _ in range(3))
    for arrays in ((memory(x), dy, residual), (x, memory(dy), memory(residual))):
        check(*arrays, 1, {"activation": "relu"})


@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 300, 700), 1), ((4, 300, 700, 5), 3)])
def test_fused_operations_are_exact_for_outputs_that_go_past_the_cache(shape, axis, rng, isa):
    x, dy, residual = (rng.standard_normal(shape, dtype=np.float32) for _ in range(3))
    assert x.nbytes > 1 << 24
    check(x, dy, residual, axis, {"activation": "relu"})
    check(x, dy, None, axis, {"activation": "leaky_relu", "negative_slope": 0.3})


@pytest.mark.parametrize(("shape", "axis"), [((6, 5, 301, 703), 1), ((6, 301, 703, 5), 3)])
def test_a_large_output_is_the_same_as_that_of_its_parts(shape, axis, rng, isa):
    x, dy = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    s = bn.stats(x, axis)
    sums = bn.backward_reduce(dy, x, s.mean, axis=axis)
    whole = bn.normalize(x, s.mean, s.var, axis=axis)
    dx = bn.backward_apply(dy, x, s.mean, s.var, sums=sums, axis=axis)
    for i in range(len(x)):
        part = slice(i, i + 1)
        np.testing.assert_array_equal(bn.normalize(x[part], s.mean, s.var, axis=axis), whole[part])
        np.testing.assert_array_equal(
            bn.backward_apply(dy[part], x[part], s.mean, s.var, sums=sums, axis=axis), dx[part]
        )


@pytest.mark.parametrize("offset", [0, 1, 5, 16])
def test_a_large_output_may_begin_anywhere_and_nothing_beside_it_is_written(offset, rng, isa):
    for shape, axis in [((4, 6, 419, 443), 1), ((4, 419, 443, 6), 3), ((9, 4000, 11, 11), 1)]:
        x, residual = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        options = {"axis": axis, "residual": residual, "activation": "relu"}
        expected, _ = bn.normalize_batch(x, **options)
        guarded = np.full(x.size + 64, 7, np.float32)
        out = guarded[offset : offset + x.size].reshape(shape)
        bn.normalize_batch(x, out=out, **options)
        np.testing.assert_array_equal(out, expected)
        assert (guarded[:offset] == 7).all()
        assert (guarded[offset + x.size :] == 7).all()


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_do_not_change_a_bit_of_fused_operations(threads, rng):
    x, dy, residual = (rng.standard_normal((8, 20, 31, 33)).astype(np.float32) for _ in range(3))

    def everything():
        y, batch = bn.normalize_batch(x, residual=residual, activation="relu")
        g = np.empty_like(x)
        dx, sums = bn.backward_batch(dy, x, batch, y=y, activation="relu", dresidual=g)
        return [a.tobytes() for a in (y, dx, g, sums.dy, sums.dy_xmu)]

    bn.set_num_threads(1)
    expected = everything()
    bn.set_num_threads(threads)
    assert everything() == expected


@pytest.mark.parametrize("layout", [((7, 3, 40), 1), ((7, 40, 3), 2)])
def test_fused_operations_in_place_give_the_same(layout, rng):
    shape, axis = layout
    x, dy, residual = (rng.standard_normal(shape).astype(np.float32) for _ in range(3))
    options = {"axis": axis, "activation": "relu"}
    y, batch = bn.normalize_batch(x, residual=residual, **options)
    g = np.empty_like(x)
    dx, _ = bn.backward_batch(dy, x, batch, y=y, dresidual=g, **options)

    for target in ("x", "residual"):
        a = {"x": x.copy(), "residual": residual.copy()}
        out, _ = bn.normalize_batch(a["x"], residual=a["residual"], out=a[target], **options)
        assert out is a[target]
        np.testing.assert_array_equal(out, y)
    for dx_into, g_into in (("dy", "y"), ("x", "dy"), ("y", "dy"), ("dy", "new"), ("new", "dy")):
        a = {"x": x.copy(), "dy": dy.copy(), "y": y.copy(), "new": np.empty_like(x)}
        out, _ = bn.backward_batch(
            a["dy"], a["x"], batch, y=a["y"], out=a[dx_into], dresidual=a[g_into], **options
        )
        assert out is a[dx_into]
        np.testing.assert_array_equal(out, dx)
        np.testing.assert_array_equal(a[g_into], g)
    y, batch = bn.normalize_batch(x, **options)
    dx, _ = bn.backward_batch(dy, x, batch, dresidual=g, **options)
    a = {"x": x.copy(), "dy": dy.copy()}
    bn.backward_batch(a["dy"], a["x"], batch, out=a["x"], dresidual=a["dy"], **options)
    np.testing.assert_array_equal(a["x"], dx)
    np.testing.assert_array_equal(a["dy"], g)


def test_a_residual_gradient_may_overlap_dy(rng):
    x, dy = (rng.standard_normal((6, 3, 40)).astype(np.float32) for _ in range(2))
    _, batch = bn.normalize_batch(x, activation="relu")
    g = np.empty_like(x)
    dx, _ = bn.backward_batch(dy, x, batch, activation="relu", dresidual=g)
    memory = np.empty((7, 3, 40), np.float32)
    memory[:-1] = dy
    found, _ = bn.backward_batch(memory[:-1], x, batch, activation="relu", dresidual=memory[1:])
    np.testing.assert_array_equal(found, dx)
    np.testing.assert_array_equal(memory[1:], g)


def test_the_gradient_of_fused_operations_is_that_of_the_whole_chain(rng):
    x, residual, dy = (rng.standard_normal((4, 3, 5)) for _ in range(3))
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)
    options = {"activation": "leaky_relu", "negative_slope": 0.3}

    def objective():
        return float(
            (bn.normalize_batch(x, weight, bias, residual=residual, **options)[0] * dy).sum()
        )

    y, batch = bn.normalize_batch(x, weight, bias, residual=residual, **options)
    g = np.empty_like(x)
    dx, sums = bn.backward_batch(dy, x, batch, weight, bias=bias, y=y, dresidual=g, **options)
    for array, gradient in (
        (x, dx),
        (residual, g),
        (weight, sums.dweight(batch.var)),
        (bias, sums.dbias),
    ):
        expected = central_differences(objective, array)
        np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("activation", "largest"), [("relu", np.inf), ("relu6", 6)])
def test_a_fused_relu_keeps_nan_and_stops_infinity_below_zero(activation, largest):
    x = np.array([[np.nan], [-np.inf], [np.inf], [-1.0]])
    y = bn.normalize(x, np.zeros(1), np.ones(1), eps=0.0, activation=activation)
    np.testing.assert_array_equal(y.ravel(), [np.nan, 0, largest, 0])


X, ONE = np.ones((4, 3)), np.ones(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: bn.normalize(X, ONE, ONE, activation="tanh"),
            "activation must be one of None, 'relu', 'leaky_relu', 'relu6', got 'tanh'",
        ),
        (
            lambda: bn.normalize(X, ONE, ONE, activation="leaky_relu", negative_slope=0),
            "negative_slope must be above 0, got 0",
        ),
        (
            lambda: bn.normalize(X, ONE, ONE, residual=X[:2]),
            r"residual must have shape \(4, 3\), got \(2, 3\)",
        ),
        (
            lambda: bn.backward_batch(X, X, bn.stats(X), y=X.astype("f4")),
            "y must be float64, as x, got float32",
        ),
        (
            lambda: bn.backward_batch(X, X, bn.stats(X), dresidual=X[:, :2]),
            r"dresidual must have shape \(4, 3\), got \(4, 2\)",
        ),
    ],
)
def test_bad_arguments_of_fused_operations_are_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
