"""What PyTorch's own tests of operators check holds for the functions of `bn.torch`.

The arguments are those of PyTorch's database of operators. `torch_exclusions.py` says which of its
tests each of these stands for.
"""

import copy
import importlib

import pytest

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of PyTorch's compiler
]

FUNCTIONS = ["nn.functional.batch_norm", "nn.functional.group_norm", "nn.functional.layer_norm"]
NATIVE = [
    "_batch_norm_with_update",
    "_native_batch_norm_legit",
    "native_batch_norm",
    "native_group_norm",
    "native_layer_norm",
]
DTYPES = ["bfloat16", "float16", "float32", "float64"]

each_function = pytest.mark.parametrize("name", FUNCTIONS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(scope="module")
def own(ours):
    return importlib.import_module("torch_own")


def called(function, sample):
    return function(sample.input, *sample.args, **sample.kwargs)


def with_tensors(torch, sample, change):
    """The arguments with another tensor in the place of each."""
    return sample.transform(lambda v: change(v) if isinstance(v, torch.Tensor) else v)


def everything(torch, own, function, sample):
    """Return the output, the gradients and the running statistics of a call."""
    y = called(function, sample)
    random = torch.Generator().manual_seed(1)
    dy = torch.rand(y.shape, generator=random, dtype=torch.float64).to(y.dtype)
    found = own.gradients(y, own.differentiable(sample), dy)
    values = [*sample.args, *sample.kwargs.values()]
    running = [v for v in values if isinstance(v, torch.Tensor) and not v.requires_grad]
    return [y, *found, *running]


# ---- results ----


@each_dtype
@pytest.mark.parametrize("name", FUNCTIONS + NATIVE)
def test_results_and_gradients_are_those_of_the_operator(torch, own, name, dtype):
    theirs = own.function_of(name, own.operator_of(name).op)
    for sample in own.samples(name, getattr(torch, dtype), requires_grad=True):
        found = everything(torch, own, own.function_of(name), own.again(sample))
        own.agree(found, everything(torch, own, theirs, own.again(sample)))


@pytest.mark.parametrize("name", ["nn.functional.group_norm", "nn.functional.layer_norm"])
def test_results_are_those_of_pytorchs_reference_in_numpy(torch, own, name):
    for sample in own.samples(name, torch.float64, references=True):
        plain = sample.numpy()
        expected = own.operator_of(name).ref(plain.input, *plain.args, **plain.kwargs)
        own.agree([called(own.function_of(name), sample)], [torch.from_numpy(expected)])


def checked(own, name, check, step=3, **options):
    """Let PyTorch compare the derivatives of our function with differences, for each third sample.

    PyTorch has the same shapes with and without weight and bias, one after the other.
    """
    from torch.testing._internal.common_utils import TestGradients

    op, double = copy.copy(own.operator_of(name)), own.torch.float64
    drawn = op.sample_inputs
    op.sample_inputs = lambda *args, **given: list(drawn(*args, **given))[::step]
    TestGradients()._check_helper("cpu", double, op, own.function_of(name), check, **options)


@each_function
def test_gradients_are_those_of_differences(own, name):
    checked(own, name, "gradcheck", step=1)


@each_function
def test_gradients_of_second_order_are_those_of_differences(own, name):
    checked(own, name, "bwgrad_bwgrad")


@each_function
def test_derivatives_in_forward_mode_are_those_of_differences(own, name):
    options = {"check_forward_ad": True, "check_backward_ad": False, "check_batched_grad": False}
    checked(own, name, "gradcheck", **options)


def test_derivatives_in_forward_mode_of_gradients_are_those_of_differences(own):
    checked(own, "nn.functional.batch_norm", "fwgrad_bwgrad")


@pytest.mark.parametrize("name", ["nn.functional.group_norm", "native_layer_norm"])
def test_what_pytorch_refuses_is_refused_in_its_words(own, name):
    for error in own.operator_of(name).error_inputs("cpu"):
        with pytest.raises(error.error_type, match=error.error_regex):
            called(own.function_of(name), error.sample_input)


@each_dtype
@each_function
def test_autocast_gives_the_dtypes_of_pytorch(torch, own, name, dtype):
    theirs = own.function_of(name, own.operator_of(name).op)
    for sample in own.samples(name, getattr(torch, dtype), requires_grad=True):
        with torch.autocast("cpu", torch.bfloat16):
            found = everything(torch, own, own.function_of(name), own.again(sample))
            expected = everything(torch, own, theirs, own.again(sample))
        own.agree(found, expected)


# ---- memory ----


@each_function
def test_tensors_with_gaps_give_the_same_results(torch, own, name):
    for sample in own.samples(name, torch.float32, requires_grad=True):
        expected = everything(torch, own, own.function_of(name), own.again(sample))
        found = everything(torch, own, own.function_of(name), sample.noncontiguous())
        own.agree(found, expected)


@each_dtype
@each_function
def test_negated_views_are_taken_for_what_they_are(torch, own, name, dtype):
    for sample in own.samples(name, getattr(torch, dtype)):
        expected = called(own.function_of(name), own.again(sample))
        sample.input = torch._neg_view(-sample.input)
        found = called(own.function_of(name), sample)
        assert torch.equal(found.nan_to_num(), expected.nan_to_num())


@each_function
def test_lazy_copies_share_no_change(torch, own, name):
    for sample in own.samples(name, torch.float32, requires_grad=True):
        before = own.again(sample)
        expected = everything(torch, own, own.function_of(name), own.again(sample))
        lazy = with_tensors(torch, sample, torch._lazy_clone)
        own.agree([called(own.function_of(name), lazy)], expected[:1])
        assert all(map(torch.equal, own.tensors(sample), own.tensors(before)))


# ---- what follows operations ----


@each_dtype
@each_function
def test_fake_tensors_have_the_shapes_and_strides_of_results(torch, own, name, dtype):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for sample in own.samples(name, getattr(torch, dtype)):
        y = called(own.function_of(name), own.again(sample))
        with FakeTensorMode() as mode:
            fake = with_tensors(torch, sample, mode.from_tensor)
            found = called(own.function_of(name), fake)
        assert (found.shape, found.dtype, found.stride()) == (y.shape, y.dtype, y.stride())


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of PyTorch's comparison
@each_function
def test_gradients_agree_with_those_of_fake_tensors(torch, own, name):
    from torch._subclasses import CrossRefFakeMode

    sample, *_ = own.samples(name, torch.float32, requires_grad=True)
    y = called(own.function_of(name), own.again(sample))
    with CrossRefFakeMode(check_aliasing=True):
        found = called(own.function_of(name), sample)
        own.gradients(found, own.differentiable(sample), torch.ones_like(found))
    own.agree([found], [y])


@each_function
def test_modes_that_follow_operations_see_pytorchs(torch, own, name):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []
    with Names():
        called(own.function_of(name), own.samples(name, torch.float32)[0])
    assert any("norm" in each for each in seen)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@each_function
def test_a_trace_computes_with_other_inputs(torch, own, name):
    sample = own.samples(name, torch.float32)[0]

    def function(x):
        return own.function_of(name)(x, *sample.args, **sample.kwargs)

    other = sample.input.flip(0).exp()
    own.agree([torch.jit.trace(function, sample.input)(other)], [function(other)])


@each_function
def test_subclasses_of_tensors_are_pytorchs(torch, own, name):
    from torch.testing._internal import composite_compliance

    sample, *_ = own.samples(name, torch.float32, requires_grad=True)
    call = (own.function_of(name), (sample.input, *sample.args), sample.kwargs)
    equal = {"assert_equal_fn": torch.testing.assert_close}
    composite_compliance.check_with_mode(*call, **equal)
    composite_compliance.check_all_permutations(*call, **equal)
    composite_compliance.check_backward_formula(*call, **equal)


@each_function
def test_vectorized_calls_are_those_of_each_sample(torch, own, name):
    sample = own.samples(name, torch.float64)[0]
    if name.endswith("batch_norm"):  # running statistics cannot change for a batch of batches
        sample.kwargs["training"] = False

    def function(x):
        return own.function_of(name)(x, *sample.args, **sample.kwargs)

    x = torch.stack([sample.input, sample.input.exp()])
    own.agree([torch.func.vmap(function)(x)], [torch.stack([function(each) for each in x])])


@pytest.mark.parametrize("kind", ["GroupNorm", "LayerNorm"])
def test_gradients_of_single_samples_are_those_of_their_own_calls(torch, ours, own, kind):
    from torch.nn.utils import _per_sample_grad

    layer = getattr(ours, kind)(*{"GroupNorm": (2, 4), "LayerNorm": (5,)}[kind]).double()
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    _per_sample_grad.call_for_per_sample_grads(layer)(x).square().sum().backward()
    for parameter in layer.parameters():
        expected = [
            torch.autograd.grad(layer(each[None]).square().sum(), parameter)[0] for each in x
        ]
        own.agree([parameter.grad_sample], [torch.stack(expected)])


# ---- our operators under torch.compile ----


def calls_of_operators(torch, own, name):
    """Yield the operators behind a function, forward and backward, with PyTorch's samples."""
    op = name.removeprefix("nn.functional.")
    operators = torch.ops.bn
    for sample in own.samples(name, torch.float32):
        x = sample.input
        if x.numel() == 0 or x.ndim < 2 or sample.kwargs.get("eps", 1) < 0:
            continue  # they are PyTorch's
        if op == "batch_norm":
            mean, var, weight, bias = sample.args
            training, eps = sample.kwargs.get("training", False), sample.kwargs.get("eps", 1e-5)
            if training and x.numel() == x.shape[1]:
                continue
            momentum = sample.kwargs.get("momentum", 0.1)
            settings = (training, momentum, eps, None)
            yield operators.batch_norm.default, (x, None, weight, bias, mean, var, *settings)
            y, *moments = operators.batch_norm(x, None, weight, bias, mean, var, *settings)
            others = (x, weight, bias, None, *moments, training, eps, None, False)
            yield operators.batch_norm_backward.default, (torch.ones_like(y), *others)
        else:
            how, *vectors = sample.args
            weight, bias = vectors or (sample.kwargs.get("weight"), sample.kwargs.get("bias"))
            eps = sample.kwargs.get("eps", 1e-5)
            if op == "layer_norm" and x.ndim == len(how):
                continue
            forward, backward = getattr(operators, op), getattr(operators, f"{op}_backward")
            yield forward.default, (x, how, weight, bias, eps)
            y, *moments = forward(x, how, weight, bias, eps)
            yield backward.default, (torch.ones_like(y), x, *moments, how, weight, eps)


@each_function
def test_our_operators_keep_what_their_schemas_and_fakes_promise(torch, own, name):
    checks = ("test_schema", "test_faketensor")
    for operator, arguments in calls_of_operators(torch, own, name):
        torch.library.opcheck(operator, arguments, test_utils=checks)


@each_function
def test_our_operators_are_compiled_for_all_shapes(torch, own, name):
    compiled = {}
    for operator, arguments in calls_of_operators(torch, own, name):
        if operator not in compiled:  # one of each, because each takes half a second
            compiled[operator] = torch.library.opcheck(
                operator, arguments, test_utils="test_aot_dispatch_dynamic"
            )
    assert len(compiled) == 2
