"""The gradient of the backward pass equals PyTorch's, whose autograd differentiates twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bn.double_backward import batch_norm_double_backward
from bn.functional import stats

pytestmark = pytest.mark.parity


def theirs(torch, second, dy, x, weight, running, eps):
    """Return (ddy, dx, dweight), the last with a weight; training means no running statistics."""
    affine = [] if weight is None else [weight, np.zeros_like(weight)]
    dy, x, *affine = (torch.tensor(a, requires_grad=True) for a in (dy, x, *affine))
    statistics = [None if a is None else torch.from_numpy(a) for a in running]
    training = statistics[0] is None
    y = torch.nn.functional.batch_norm(x, *statistics, *affine, training=training, eps=eps)
    first = torch.autograd.grad(y, [x, *affine], dy, create_graph=True)
    given = [
        (d, torch.from_numpy(dd)) for d, dd in zip(first, second, strict=False) if dd is not None
    ]
    objective = sum((d * dd).sum() for d, dd in given)
    return torch.autograd.grad(objective, [dy, x, *affine[:1]], materialize_grads=True)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    training=st.booleans(),
    scaled=st.booleans(),
    wanted=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any),
    eps=st.sampled_from([1e-5, 1e-3, 0.5]),
    seed=st.integers(0, 99),
)
def test_second_order_gradients_equal_pytorch(torch, shape, training, scaled, wanted, eps, seed):
    channels = shape[1]
    if training and np.prod(shape) == channels:
        shape = [shape[0] + 1, *shape[1:]]
    rng = np.random.default_rng(seed)
    ddx, dy, x = (rng.standard_normal(shape) for _ in range(3))
    ddweight, ddbias, mean = (rng.standard_normal(channels) for _ in range(3))
    weight, var = (rng.random(channels) + 0.5 for _ in range(2))
    if not scaled:  # without a weight PyTorch loses ddbias
        weight, wanted = None, (True, False, False)
    second = [a if w else None for a, w in zip((ddx, ddweight, ddbias), wanted, strict=True)]
    running = (None, None) if training else (mean, var)
    expected = theirs(torch, second, dy, x, weight, running, eps)
    if training:
        batch = stats(x)
        mean, var = batch.mean, batch.var
    found = batch_norm_double_backward(*second, dy, x, mean, var, weight, eps, training)
    # nearly equal values in a channel have large gradients, which are small differences
    limit = 1e-10 * max(1, (1 / (var.min() + eps)) ** 1.5)
    for ours, other in zip(found[: len(expected)], expected, strict=True):
        np.testing.assert_allclose(ours, other.numpy(), rtol=1e-8, atol=limit)
