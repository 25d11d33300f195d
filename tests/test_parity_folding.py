"""`fold_arrays` and `fold` are compared with PyTorch's `torch.nn.utils.fusion`."""

import numpy as np
import pytest

from bn import nn
from bn.layers import BatchNorm1d, BatchNorm2d
from bn.tools.folding import fold, fold_arrays

pytestmark = pytest.mark.parity


def arrays(shape, dtype):
    """Return a weight, and bias, running mean and variance, scale and shift of 6 channels."""
    rng = np.random.default_rng(0)
    vectors = [rng.random(6).astype(dtype) + 0.5 for _ in range(5)]
    return [rng.standard_normal(shape).astype(dtype), *vectors]


def assert_all_close(ours, theirs, dtype):
    for array, tensor in zip(ours, theirs, strict=True):
        assert array.dtype == dtype
        limit = 16 * np.finfo(dtype).eps
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [(), (1,), (4, 5), (5,)], ids=str)
@pytest.mark.parametrize(("shape", "axis"), [((6, 4, 3, 3), 0), ((4, 6, 3, 3), 1), ((6, 2, 5), 0)])
def test_convolutions_fold_as_in_pytorch(torch, shape, axis, missing, dtype):
    given = [None if i in missing else a for i, a in enumerate(arrays(shape, dtype))]
    weight, bias, mean, var, scale, shift = [None if a is None else torch.tensor(a) for a in given]
    theirs = torch.nn.utils.fusion.fuse_conv_bn_weights(
        weight, bias, mean, var, 1e-3, scale, shift, transpose=axis == 1
    )
    assert_all_close(fold_arrays(*given, 1e-3, axis=axis), theirs, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("missing", [(), (1,)], ids=str)
def test_linear_layers_fold_as_in_pytorch(torch, missing, dtype):
    given = [None if i in missing else a for i, a in enumerate(arrays((6, 4), dtype))]
    weight, bias, mean, var, scale, shift = [None if a is None else torch.tensor(a) for a in given]
    theirs = torch.nn.utils.fusion.fuse_linear_bn_weights(
        weight, bias, mean, var, 1e-3, scale, shift
    )
    assert_all_close(fold_arrays(*given, 1e-3), theirs, dtype)


def test_models_fold_as_in_pytorch(torch):
    conv, norm = torch.nn.Conv2d(4, 6, 3, groups=2, bias=False), torch.nn.BatchNorm2d(6)
    linear, last = torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5)
    theirs = torch.nn.Sequential(conv, norm, torch.nn.Flatten(), linear, last)
    rng = np.random.default_rng(0)
    for value in theirs.state_dict().values():
        if value.ndim:
            value.copy_(torch.from_numpy(rng.random(tuple(value.shape)) + 0.5))
    ours = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, bias=False),
        BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6, 5),
        BatchNorm1d(5),
    ).load_state_dict(theirs.state_dict())
    folded = fold(ours.eval()).model
    theirs.eval()
    fused = torch.nn.Sequential(
        torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm),
        torch.nn.Flatten(),
        torch.nn.utils.fusion.fuse_linear_bn_eval(linear, last),
    )
    state = fused.state_dict()
    assert list(folded.state_dict()) == list(state)
    for name, array in folded.named_state():
        np.testing.assert_allclose(array, state[name].numpy(), rtol=2e-6, atol=2e-6, err_msg=name)
