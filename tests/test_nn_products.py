"""The products of a linear layer: by the kernels with few outputs, by BLAS with more."""

import numpy as np
import pytest
from arrays import normal

import bn
from bn import nn
from bn.nn import products

# Samples, features and outputs: by the kernels; by BLAS as a whole, in blocks of rows and of
# columns, and as outer products.
SHAPES = [(64, 300, 10), (7, 33, 64), (3, 5, 65), (300, 128, 100), (40, 700, 130), (1, 70, 80)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("samples", "features", "count"), SHAPES)
def test_products_equal_those_of_numpy(samples, features, count, dtype):
    x, dy = normal(samples, features).astype(dtype), normal(samples, count, seed=1).astype(dtype)
    weight, bias = normal(count, features, seed=2).astype(dtype), normal(count).astype(dtype)
    limit = 2e-5 if dtype == np.float32 else 1e-13
    for found, a, b, add in (
        (products.outputs(x, weight, bias), x, weight.T, bias),
        (products.input_gradient(dy, weight), dy, weight, 0),
        (products.weight_gradient(dy, x), dy.T, x, 0),
    ):
        expected = a.astype(np.float64) @ b.astype(np.float64) + add
        scale = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64) + 1
        assert found.dtype == dtype
        assert (np.abs(found - expected) <= limit * scale).all()


@pytest.mark.parametrize(("samples", "features", "count"), SHAPES)
def test_any_number_of_threads_gives_a_linear_layer_the_same_bits(samples, features, count):
    x, dy = (normal(samples, n, seed=n).astype(np.float32) for n in (features, count))

    def bits(threads):
        bn.set_num_threads(threads)
        layer = nn.Linear(features, count, rng=0)
        results = [layer(x), layer.backward(dy), layer.weight.grad, layer.bias.grad]
        return [a.tobytes() for a in results]

    expected = bits(1)
    for threads in (2, 3, 7):
        assert bits(threads) == expected
