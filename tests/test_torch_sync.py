"""`bn.torch.SyncBatchNorm` normalizes the batch of all processes."""

import copy
import importlib

import pytest

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def seeded(torch):
    """Random tensors are the same each time."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def ranks(ours):
    return importlib.import_module("torch_ranks")


@pytest.mark.parametrize("parts", [[(0, 3), (3, 8)], [(0, 8), (8, 8)]])
def test_uneven_parts_give_the_results_of_the_whole_batch(torch, ranks, parts):
    x, dy = ranks.data()
    layer = torch.nn.BatchNorm2d(4).double()
    x.requires_grad_()
    y = layer(x)
    y.backward(dy)
    found = ranks.run(ranks.normalized, parts)
    columns = list(zip(*found, strict=True))
    torch.testing.assert_close(torch.cat(columns[0]), y.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.cat(columns[1]), x.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(sum(columns[2]), layer.weight.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(sum(columns[3]), layer.bias.grad, rtol=1e-10, atol=1e-10)
    for own, expected in zip(columns[4:], (layer.running_mean, layer.running_var), strict=True):
        torch.testing.assert_close(own[0], expected, rtol=1e-10, atol=1e-10)
        assert torch.equal(*own)


def test_ranks_that_make_other_calls_or_none_say_so_with_the_layers_name(ranks):
    (alone, one), (_, other) = ranks.run(ranks.failures, [(0, 4), (4, 8)])
    assert alone.startswith("rank 0 in forward of layer first: not all ranks came within 1 s (")
    for message, name in ((one, "first"), (other, "last")):
        assert message.startswith("all ranks must make the same call, got ")
        assert f"forward of layer {name} (4 channels" in message
        assert "a layer that this rank has not" in message


def test_a_timeout_is_a_positive_number(torch, ours):
    with pytest.raises(ValueError, match="timeout must be a finite number above 0, got 0"):
        ours.SyncBatchNorm.convert_sync_batchnorm(torch.nn.Sequential(), timeout=0)


def test_a_layer_with_a_relu_is_not_converted(torch, ours):
    model = torch.nn.Sequential(ours.BatchNormReLU2d(3))
    with pytest.raises(TypeError, match="got BatchNormReLU2d at 0: a SyncBatchNorm in its place"):
        ours.SyncBatchNorm.convert_sync_batchnorm(model)


def test_without_a_process_group_it_is_a_batch_normalization(torch, ours):
    x = torch.randn(4, 3, 2)
    torch.testing.assert_close(ours.SyncBatchNorm(3)(x), torch.nn.BatchNorm1d(3)(x))


def test_copies_and_states_are_pytorchs(torch, ours):
    layer = copy.deepcopy(ours.SyncBatchNorm(3))
    torch.nn.SyncBatchNorm(3).load_state_dict(layer.state_dict())
    assert isinstance(layer, torch.nn.SyncBatchNorm)
