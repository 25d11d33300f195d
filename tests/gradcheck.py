"""Gradients by central differences in float64 check a layer's backward pass."""

from collections.abc import Callable

import numpy as np


def central_differences(f: Callable[[], float], array, step=1e-6, entries=None):
    """Return df/d(array) at flat entries, or at all; `f` reads `array`, which is put back."""
    flat = array.reshape(-1)
    assert np.shares_memory(flat, array) or array.size == 0, "array must be contiguous"
    entries = range(flat.size) if entries is None else entries
    gradient = []
    for i in entries:
        value = flat[i]
        flat[i] = value + step
        above = f()
        flat[i] = value - step
        below = f()
        flat[i] = value
        gradient.append((above - below) / (2 * step))
    return np.array(gradient)


def gradcheck(layer, x, *, step=1e-6, tol=1e-6, entries=150, before=None, seed=0):
    """Assert that `layer.backward` is the gradient of `layer`, for x and for every parameter.

    The layer is checked in the mode it is in, at a random dy. Of arrays with more than `entries`
    numbers a random choice of that many is checked. `before`, if given, is called ahead of each
    forward pass (to put a generator back to its start, for instance).
    """
    rng = np.random.default_rng(seed)
    x = np.array(x, dtype=np.float64, order="C")

    def forward():
        if before is not None:
            before()
        return layer(x)

    y = forward()
    assert y.dtype == np.float64, f"float64 in, {y.dtype} out"
    dy = rng.standard_normal(y.shape)
    layer.zero_grad()
    kept_x, kept_dy = x.copy(), dy.copy()
    dx = layer.backward(dy)
    assert dx.dtype == np.float64 and dx.shape == x.shape
    np.testing.assert_array_equal(x, kept_x, err_msg="x was changed")
    np.testing.assert_array_equal(dy, kept_dy, err_msg="dy was changed")

    def objective():
        return float(np.sum(forward() * dy))

    checked = [("x", x, dx)]
    for name, parameter in layer.named_parameters():
        assert parameter.data.dtype == np.float64, f"{name} is {parameter.data.dtype}"
        assert parameter.grad is not None, f"{name} got no gradient"
        checked.append((name, parameter.data, parameter.grad.copy()))
    for name, array, gradient in checked:
        chosen = np.arange(array.size)
        if array.size > entries:
            chosen = rng.choice(array.size, entries, replace=False)
        expected = central_differences(objective, array, step, chosen)
        np.testing.assert_allclose(
            gradient.reshape(-1)[chosen],
            expected,
            rtol=tol,
            atol=tol,
            err_msg=f"gradient of {name}",
        )
