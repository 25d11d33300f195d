"""`bn.torch.to_bn` refuses what is changed in place and used afterwards, and takes all else."""

import copy
import importlib

import pytest

pytestmark = pytest.mark.parity


@pytest.fixture
def blocks(torch):
    return importlib.import_module("torch_in_place")


def test_a_value_that_is_used_after_its_change_is_an_error_that_names_the_change(ours, blocks):
    for kind, words in blocks.USED_AGAIN.items():
        with pytest.raises(TypeError, match=words):
            ours.to_bn(kind().eval())


def test_a_value_that_nobody_uses_after_its_change_may_change(torch, ours, blocks):
    torch.manual_seed(0)
    for kind in blocks.USED_ONCE:
        model = kind().eval()
        x = torch.randn(2, 3, 4, 4)
        found = torch.from_numpy(ours.to_bn(model)(x.numpy().copy()))
        torch.testing.assert_close(found, model(x).detach(), rtol=1e-4, atol=1e-5)


def test_accelerated_models_keep_their_effects_in_place(torch, ours, blocks):
    torch.manual_seed(0)
    for kind in (*blocks.USED_AGAIN, *blocks.USED_ONCE):
        model = kind().eval()
        x = torch.randn(2, 3, 4, 4)
        fast = copy.deepcopy(model)
        ours.accelerate(fast)
        torch.testing.assert_close(fast(x.clone()), model(x.clone()))
