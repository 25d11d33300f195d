"""`recalibrate` is compared with PyTorch's `update_bn`, and with what PyTorch's layers get."""

import copy

import numpy as np
import pytest
from arrays import normal, split

import bn
from bn import nn
from bn.tools.recalibration import recalibrate

pytestmark = pytest.mark.parity


def pair(torch):
    """Make the same network in PyTorch and here, in float64."""
    f64 = {"dtype": torch.float64}
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, **f64),
        torch.nn.BatchNorm2d(4, **f64),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 3, 3, **f64),
        torch.nn.BatchNorm2d(3, **f64),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(48, 5, **f64),
        torch.nn.BatchNorm1d(5, **f64),
    )
    ours = nn.Sequential(
        nn.Conv2d(2, 4, 3, dtype=np.float64),
        bn.BatchNorm2d(4, dtype=np.float64),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, dtype=np.float64),
        bn.BatchNorm2d(3, dtype=np.float64),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 5, dtype=np.float64),
        bn.BatchNorm1d(5, dtype=np.float64),
    )
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return theirs, ours


def batches(*sizes):
    return split(normal(sum(sizes), 2, 8, 8), *sizes)


def in_torch(torch, parts):
    return [torch.from_numpy(part) for part in parts]


def layer_inputs(torch, model, parts):
    """Return what each batch normalization of a PyTorch model in training mode gets, as (C, M)."""
    model = copy.deepcopy(model).train()
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            given = seen.setdefault(name, [])
            module.register_forward_hook(lambda m, inputs, y, g=given: g.append(inputs[0].numpy()))
    with torch.no_grad():
        for part in in_torch(torch, parts):
            model(part)
    return {
        name: np.concatenate([np.moveaxis(x, 1, 0).reshape(x.shape[1], -1) for x in xs], axis=1)
        for name, xs in seen.items()
    }


@pytest.mark.parametrize("sizes", [(8, 8, 8), (3, 17, 2, 30)])
def test_recalibrated_statistics_are_those_of_what_pytorchs_layers_are_given(torch, sizes):
    theirs, ours = pair(torch)
    recalibrate(ours, batches(*sizes))
    inputs = layer_inputs(torch, theirs, batches(*sizes))
    assert list(inputs) == ["1", "4", "8"]
    for name, x in inputs.items():
        layer = ours[int(name)]
        np.testing.assert_allclose(layer.running_mean, x.mean(1), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.running_var, x.var(1, ddof=1), rtol=1e-10)


def test_means_are_those_of_update_bn_for_batches_of_one_size_and_variances_are_not(torch):
    theirs, ours = pair(torch)
    recalibrate(ours, batches(8, 8, 8))
    torch.optim.swa_utils.update_bn(in_torch(torch, batches(8, 8, 8)), theirs)
    for i in (1, 4, 8):
        mean, var = theirs[i].running_mean.numpy(), theirs[i].running_var.numpy()
        np.testing.assert_allclose(ours[i].running_mean, mean, rtol=1e-10, atol=1e-12)
        # the mean of batches' variances leaves out how their means differ
        np.testing.assert_allclose(ours[i].running_var, var, rtol=0.2)
        assert (ours[i].running_var != var).all()


def test_uneven_batches_count_by_their_size_unlike_in_update_bn(torch):
    theirs, ours = pair(torch)
    parts = batches(40, 2)
    recalibrate(ours, parts)
    torch.optim.swa_utils.update_bn(in_torch(torch, parts), theirs)
    truth = layer_inputs(torch, theirs, parts)["1"].mean(1)
    far = np.abs(theirs[1].running_mean.numpy() - truth).max()
    assert np.abs(ours[1].running_mean - truth).max() < 1e-12
    assert far > 1e-4
