"""Second-order gradients of layer, RMS and group normalization, by differences of the backward."""

import numpy as np
import pytest
from gradcheck import central_differences

import bn

CASES = {
    "layer": (bn.layer_norm_double_backward, bn.LayerNorm, ((3, 5),)),
    "layer of one axis": (bn.layer_norm_double_backward, bn.LayerNorm, (5,)),
    "rms": (bn.rms_norm_double_backward, bn.RMSNorm, (5,)),
    "group": (bn.group_norm_double_backward, bn.GroupNorm, (2, 4)),
    "instance": (bn.group_norm_double_backward, bn.GroupNorm, (4, 4)),
}
SHAPES = {"group": (2, 4, 3), "instance": (2, 4, 5)}


def arguments(name, seed=0):
    """Return the layer, x, dy, and gradients of dx and of those of the parameters."""
    rng = np.random.default_rng(seed)
    _, kind, options = CASES[name]
    layer, shape = kind(*options, eps=1e-3, dtype=float), SHAPES.get(name, (2, 3, 5))
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    x, dy, ddx = (rng.standard_normal(shape) for _ in range(3))
    outer = [rng.standard_normal(p.shape) for p in layer.parameters()]
    return layer, x, dy, ddx, outer


@pytest.mark.parametrize("name", CASES)
def test_they_are_the_gradients_of_the_backward_pass(name):
    layer, x, dy, ddx, outer = arguments(name)
    function, how = CASES[name][0], CASES[name][2][0]

    def objective():
        layer.zero_grad()
        layer(x)
        total = np.sum(layer.backward(dy) * ddx)
        for parameter, gradient in zip(layer.parameters(), outer, strict=True):
            total += np.sum(parameter.grad * gradient)
        return total

    found = function(ddx, *outer, dy, x, how, layer.weight.data, 1e-3)
    for array, gradient in zip((dy, x, layer.weight.data), found, strict=True):
        expected = central_differences(objective, array).reshape(array.shape)
        np.testing.assert_allclose(gradient, expected, atol=2e-7)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_given_counts_as_zero(name):
    layer, x, dy, ddx, outer = arguments(name)
    function, how = CASES[name][0], CASES[name][2][0]
    weight = layer.weight.data
    zeros = [np.zeros_like(gradient) for gradient in outer]
    nothing = [None] * len(outer)
    given = function(ddx, *zeros, dy, x, how, weight, 1e-3)
    for a, b in zip(given, function(ddx, *nothing, dy, x, how, weight, 1e-3), strict=True):
        np.testing.assert_array_equal(a, b)
    ones = function(ddx, *nothing, dy, x, how, np.ones_like(weight), 1e-3)
    without = function(ddx, *nothing, dy, x, how, None, 1e-3)
    np.testing.assert_allclose(without[0], ones[0])
    np.testing.assert_allclose(without[1], ones[1])
    assert without[2] is None


def test_errors_name_the_argument():
    x = np.ones((2, 4))
    with pytest.raises(ValueError, match="dy must have shape"):
        bn.layer_norm_double_backward(None, None, None, x[:1], x, 4)
    with pytest.raises(ValueError, match=r"ddweight must have shape \(4,\)"):
        bn.rms_norm_double_backward(None, np.ones(3), x, x, 4)
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        bn.group_norm_double_backward(None, None, None, x, x.astype(np.float16), 2)
