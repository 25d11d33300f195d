"""Inputs of PyTorch's own tests, and what these do with them, for the classes of `bn.torch`.

PyTorch keeps them in ``torch.testing._internal``, which takes seconds to import: so the tests
import this module when they run.
"""

import importlib.util
import sys
import types
import unittest
from dataclasses import dataclass
from typing import Any

import torch

if importlib.util.find_spec("expecttest") is None:
    # PyTorch's base class of tests derives from this package's, which compares texts. That is of no
    # use here, and no reason to require the package.
    sys.modules["expecttest"] = types.SimpleNamespace(TestCase=unittest.TestCase)

from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.common_nn import NNTestCase, get_new_module_tests

import bn.torch

LIMITS = {torch.float64: 1e-10, torch.float32: 3e-5, torch.float16: 0.02, torch.bfloat16: 0.1}

# PyTorch's layer with the same arguments and inputs, where it has another name.
THEIRS = {
    "BatchNormAddReLU2d": "BatchNorm2d",
    "BatchNormReLU2d": "BatchNorm2d",
    "SyncBatchNorm": "BatchNorm2d",
}


# ---- layers ----


@dataclass
class Case:
    """A layer of ours, PyTorch's with the same state, and an input of both."""

    kind: str
    made: Any  # makes the layer of a class, with more arguments if given
    layer: torch.nn.Module
    theirs: torch.nn.Module
    x: torch.Tensor

    def __call__(self, x):
        """Call the layer; one that adds a residual adds the samples in another order."""
        return called(self.kind, self.layer, x)

    def expected(self, x):
        """What PyTorch's layer gives, with what else ours does in its pass."""
        y = self.theirs(x)
        if self.kind == "BatchNormAddReLU2d":
            y = y + x.flip(0)
        return torch.relu(y) if "ReLU" in self.kind else y


def called(kind, layer, x):
    return layer(x, x.flip(0)) if kind == "BatchNormAddReLU2d" else layer(x)


def info_of(kind):
    """What PyTorch knows of the layer that one of ours replaces."""
    name = f"torch.nn.{THEIRS.get(kind, kind)}".removeprefix("torch.")
    (found,) = [info for info in module_db if info.name == name]
    return found


def dtypes_of(kind):
    return sorted(info_of(kind).supported_dtypes("cpu"), key=str)


def cases(kind, dtype, training=True, requires_grad=False):
    """Yield a case for each input that PyTorch tests the layer with."""
    torch.manual_seed(0)
    info = info_of(kind)
    for given in info.module_inputs_func(info, "cpu", dtype, requires_grad, training):
        arguments = given.constructor_input

        def made(cls, arguments=arguments, **more):
            return cls(*arguments.args, **{**arguments.kwargs, **more})

        layer = made(getattr(bn.torch, kind)).to(dtype).train(training)
        with torch.no_grad():
            for value in (*layer.parameters(), *layer.buffers()):
                if value.is_floating_point():
                    value.uniform_(0.5, 1.5)
        theirs = made(info.module_cls).to(dtype).train(training)
        theirs.load_state_dict(layer.state_dict())
        yield Case(kind, made, layer, theirs, given.forward_input.args[0])


# ---- operators ----


def operator_of(name):
    """What PyTorch knows of a function."""
    (found,) = [op for op in op_db if op.name == name and not op.variant_test_name]
    return found


def function_of(name, op=None):
    """Our function of an operator's arguments, or PyTorch's."""
    if op is not None:
        return lambda *args, **options: first(op(*args, **options))
    if name.startswith("nn.functional."):
        return getattr(bn.torch, name.removeprefix("nn.functional."))
    return ADAPTERS[name]


def first(found):
    """The output of an operator that returns its statistics too."""
    return found[0] if isinstance(found, tuple) else found


def native_batch_norm(x, weight, bias, *others):
    running = others[:2] if isinstance(others[0], torch.Tensor) else (None, None)
    return bn.torch.batch_norm(x, *running, weight, bias, *others[-3:])


ADAPTERS = {
    "native_batch_norm": native_batch_norm,
    "_native_batch_norm_legit": native_batch_norm,
    "_batch_norm_with_update": lambda x, *args: native_batch_norm(x, *args[:4], True, *args[4:]),
    "native_layer_norm": bn.torch.layer_norm,
    "native_group_norm": lambda x, weight, bias, n, c, hw, groups, eps: bn.torch.group_norm(
        x, groups, weight, bias, eps
    ),
}


def samples(name, dtype, requires_grad=False, references=False):
    """Return the arguments that PyTorch tests an operator with."""
    torch.manual_seed(0)
    op = operator_of(name)
    draw = op.reference_inputs if references else op.sample_inputs
    return list(draw("cpu", dtype, requires_grad=requires_grad))


def again(sample):
    """The same arguments in memory of their own, because a call changes running statistics."""

    def fresh(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.detach().clone().requires_grad_(value.requires_grad)

    return sample.transform(fresh)


def tensors(sample):
    """The arguments that are tensors, in the order of the call."""
    values = (sample.input, *sample.args, *sample.kwargs.values())
    return [v for v in values if isinstance(v, torch.Tensor)]


def differentiable(sample):
    """Those of them that have gradients."""
    return [v for v in tensors(sample) if v.requires_grad]


# ---- comparisons ----


def agree(found, expected):
    """Compare tensors, some of which may be missing, by the accuracy of their dtype."""
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            close(ours, theirs)


def close(ours, theirs):
    limit = LIMITS.get(theirs.dtype, 0.0)
    sizes = theirs.detach().double().nan_to_num(0, 0, 0).abs()
    scale = max(1.0, sizes.max().item()) if sizes.numel() else 1.0
    torch.testing.assert_close(
        ours.double(), theirs.double(), rtol=limit, atol=limit * scale, equal_nan=True
    )


def gradients(y, inputs, dy):
    """The gradients of a result; None for what it does not depend on."""
    if not y.requires_grad:
        return []
    return list(torch.autograd.grad(y, inputs, dy, allow_unused=True))


def older_tests(name):
    """The descriptions of tests in PyTorch's older database of layers with such a name."""
    return [test for test in get_new_module_tests() if name in str(test.get("module_name"))]


class Checks(NNTestCase):
    """What PyTorch's own test objects call, for modules with one input."""

    def _forward(self, module, input):
        return module(*input) if isinstance(input, tuple) else module(input)

    def _backward(self, module, input, output, grad_output, create_graph=False):
        output.backward(grad_output, retain_graph=True, create_graph=create_graph)
        return input.grad

    def _get_parameters(self, module):
        parameters = list(module.parameters())
        return parameters, [parameter.grad for parameter in parameters]

    def _zero_grad_parameters(self, module):
        module.zero_grad()
