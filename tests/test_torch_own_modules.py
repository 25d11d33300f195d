"""What PyTorch's own tests of modules check holds for the layers of `bn.torch`.

The inputs are those of PyTorch's database of modules. `torch_exclusions.py` says which of its tests
each of these stands for.
"""

import importlib
import io
from itertools import product

import pytest

pytestmark = pytest.mark.parity

BATCHES = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormReLU2d",
    "BatchNormAddReLU2d",
    "SyncBatchNorm",
]
SAMPLES = ["GroupNorm", "LayerNorm"]
KINDS = [*BATCHES, *SAMPLES]
# Those whose modes differ are tested in both.
MODES = [*product(BATCHES, (True, False)), *((kind, True) for kind in SAMPLES)]

each_kind = pytest.mark.parametrize("kind", KINDS)
each_mode = pytest.mark.parametrize(("kind", "training"), MODES)


@pytest.fixture(scope="module")
def own(ours):
    return importlib.import_module("torch_own")


def all_cases(own, kind, training=True, requires_grad=False):
    for dtype in own.dtypes_of(kind):
        yield from own.cases(kind, dtype, training, requires_grad)


def inputs_of(case):
    return [case.x, *case.layer.parameters()]


# ---- results ----


@each_mode
def test_outputs_and_running_statistics_are_pytorchs(own, kind, training):
    for case in all_cases(own, kind, training):
        own.agree([case(case.x)], [case.expected(case.x)])
        own.agree(case.layer.buffers(), case.theirs.buffers())


@each_mode
def test_gradients_are_pytorchs(torch, own, kind, training):
    for case in all_cases(own, kind, training, requires_grad=True):
        y = case(case.x)
        dy = torch.randn_like(y)
        expected = own.gradients(case.expected(case.x), [case.x, *case.theirs.parameters()], dy)
        own.agree(own.gradients(y, inputs_of(case), dy), expected)


@pytest.mark.parametrize(
    ("kind", "training"), [mode for mode in MODES if mode[0] != "SyncBatchNorm"]
)  # without ranks it is a batch normalization like others
def test_gradients_of_both_orders_are_those_of_differences(torch, own, kind, training):
    from torch.testing._internal.common_utils import gradcheck, gradgradcheck

    for case in own.cases(kind, torch.float64, training, requires_grad=True):
        if case.x.numel() == 0:
            continue  # it has no differences; its gradients are compared above
        names = [name for name, _ in case.layer.named_parameters()]

        def call(x, *parameters, case=case, names=names):
            given = dict(zip(names, parameters, strict=True))
            arguments = (x, x.flip(0)) if "Add" in case.kind else (x,)
            return torch.func.functional_call(case.layer, given, arguments)

        assert gradcheck(call, inputs_of(case))
        assert gradgradcheck(call, inputs_of(case))


@each_mode
def test_each_parameter_may_be_the_only_one_with_a_gradient(torch, own, kind, training):
    for case in own.cases(kind, torch.float64, training, requires_grad=True):
        y = case(case.x)
        dy = torch.randn_like(y)
        _, *expected = own.gradients(y, inputs_of(case), dy)
        parameters = list(case.layer.parameters())
        for parameter, gradient in zip(parameters, expected, strict=True):
            for other in parameters:
                other.requires_grad_(other is parameter)
            own.agree(own.gradients(case(case.x.detach()), [parameter], dy), [gradient])


@each_kind
def test_the_same_call_gives_the_same_bits_again(torch, own, kind):
    for case in own.cases(kind, torch.float32, True, requires_grad=True):
        calls = []
        for _ in range(2):
            y = case(case.x)
            calls.append([y, *own.gradients(y, inputs_of(case), torch.ones_like(y))])
        assert all(map(torch.equal, *calls))


@each_kind
def test_two_layers_do_not_share_their_state(torch, own, kind):
    for case in own.cases(kind, torch.float32):
        cls = type(case.layer)
        one, other = case.made(cls), case.made(cls)
        before = [value.clone() for value in other.state_dict().values()]
        own.called(kind, one, case.x)
        assert all(map(torch.equal, other.state_dict().values(), before))


# ---- memory ----


@each_mode
def test_tensors_with_gaps_give_the_same_results(torch, own, kind, training):
    def spread(value):
        found = torch.repeat_interleave(value.detach(), 2, dim=-1)[..., ::2]
        return found.requires_grad_(value.requires_grad)

    for case in all_cases(own, kind, training, requires_grad=True):
        y = case(case.x)
        dy = torch.randn_like(y)
        expected = [y, *own.gradients(y, inputs_of(case), dy)]
        for x, g in product((case.x, spread(case.x)), (dy, spread(dy))):
            y = case(x)
            own.agree([y, *own.gradients(y, [x, *case.layer.parameters()], g)], expected)


def formats(torch, ndim):
    last = {4: torch.channels_last, 5: torch.channels_last_3d}
    return [torch.contiguous_format, *([last[ndim]] if ndim in last else [])]


@each_mode
def test_outputs_and_gradients_have_the_memory_format_of_the_input(torch, own, kind, training):
    for case in all_cases(own, kind, training, requires_grad=True):
        y = case(case.x)
        dy = torch.rand_like(y)
        expected = [y, *own.gradients(y, inputs_of(case), dy)]
        given = formats(torch, case.x.ndim)
        for form, of_module in product(given, [torch.preserve_format, *given]):
            case.layer.to(memory_format=of_module)
            x = case.x.detach().clone(memory_format=form).requires_grad_()
            y = case(x)
            g = torch.empty_like(y).copy_(dy)
            found = [y, *own.gradients(y, [x, *case.layer.parameters()], g)]
            own.agree(found, expected)
            if x.numel() == 0:
                continue  # it is PyTorch's
            kept = torch.contiguous_format if kind == "LayerNorm" else form
            assert all(each.is_contiguous(memory_format=kept) for each in found[:2])


@each_kind
def test_the_input_is_not_changed(torch, own, kind):
    for case in own.cases(kind, torch.float32):
        before, version = case.x.clone(), case.x._version
        case(case.x)
        assert torch.equal(case.x, before)
        assert case.x._version == version


@each_kind
def test_an_output_may_be_changed_in_place(torch, own, kind):
    for case in own.cases(kind, torch.float64, True, requires_grad=True):
        if case.x.numel() == 0:
            continue  # it is PyTorch's
        y = case(case.x)
        expected = own.gradients(torch.exp(y), inputs_of(case), torch.ones_like(y))
        y = case(case.x).clone() if "Add" in kind else case(case.x)  # its backward pass needs y
        own.agree(own.gradients(y.exp_(), inputs_of(case), torch.ones_like(y)), expected)


# ---- modules ----


@each_kind
def test_parameters_and_buffers_have_the_dtype_and_device_that_were_asked_for(torch, own, kind):
    for dtype in own.dtypes_of(kind):
        for case in own.cases(kind, dtype):
            layer = case.made(type(case.layer), device="cpu", dtype=dtype)
            values = [*layer.parameters(), *layer.buffers()]
            assert all(each.device.type == "cpu" for each in values)
            assert {v.dtype for v in values if v.is_floating_point()} <= {dtype}


@each_mode
def test_a_converted_layer_computes_in_its_new_dtype(torch, own, kind, training):
    for case in own.cases(kind, torch.float32, training):
        layer = case.layer.double()
        values = [*layer.parameters(), *layer.buffers()]
        assert {v.dtype for v in values if v.is_floating_point()} <= {torch.float64}
        assert case(case.x.double()).dtype == torch.float64


@each_kind
def test_the_repr_is_that_of_pytorchs_layer(own, kind):
    for case in all_cases(own, kind):
        name, _, arguments = repr(case.layer).partition("(")
        assert name == kind
        if kind != "SyncBatchNorm":
            assert arguments == repr(case.theirs).partition("(")[2]


@each_mode
def test_a_layer_from_a_file_gives_the_same_output(torch, own, kind, training):
    for case in all_cases(own, kind, training):
        file = io.BytesIO()
        torch.save(case.layer, file)
        file.seek(0)
        copy = torch.load(file, weights_only=False)
        assert torch.equal(case(case.x), own.called(kind, copy, case.x))


@each_mode
def test_a_state_from_a_file_gives_the_same_output(torch, own, kind, training):
    for case in all_cases(own, kind, training):
        file = io.BytesIO()
        torch.save(case.layer.state_dict(), file)
        file.seek(0)
        copy = case.made(type(case.layer)).to(case.x.dtype).train(training)
        copy.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(case(case.x), own.called(kind, copy, case.x))


@each_kind
def test_the_mode_is_asked_for_only_where_it_matters(torch, own, kind):
    for case in own.cases(kind, torch.float32):
        del case.layer.training
        if own.info_of(kind).train_and_eval_differ:
            with pytest.raises(AttributeError, match="training"):
                case(case.x)
        else:
            case(case.x)


@each_kind
def test_a_layer_made_on_meta_is_like_one_on_the_cpu(torch, own, kind):
    for case in own.cases(kind, torch.float32):
        with torch.device("meta"):
            layer = case.made(type(case.layer))
        for found, expected in zip(
            layer.state_dict().values(), case.layer.state_dict().values(), strict=True
        ):
            assert found.is_meta
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            assert found.stride() == expected.stride()


@each_kind
@pytest.mark.parametrize("swap", [False, True])
def test_a_layer_moved_from_meta_takes_a_state(torch, own, kind, swap):
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for case in own.cases(kind, torch.float32):
            layer = case.made(type(case.layer), device="meta").to_empty(device="cpu")
            layer.load_state_dict(case.layer.state_dict())
            assert torch.equal(own.called(kind, layer, case.x), case(case.x))
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@each_kind
@pytest.mark.parametrize("swap", [False, True])
def test_a_layer_moved_to_another_dtype_computes(torch, own, kind, swap):
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(swap)
    try:
        for case in own.cases(kind, torch.float32, True, requires_grad=True):
            case.layer.to(torch.float64)
            x = case.x.detach().double().requires_grad_()
            y = case(x)
            found = own.gradients(y, [x, *case.layer.parameters()], torch.ones_like(y))
            assert all(each.dtype == torch.float64 for each in found)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@pytest.mark.parametrize("kind", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm"])
def test_what_pytorch_refuses_is_refused_in_its_words(torch, ours, own, kind):
    from torch.testing._internal.common_modules import ModuleErrorEnum

    info = own.info_of(kind)
    for error in info.module_error_inputs_func(info, "cpu", torch.float32, False, True):
        given, call = error.module_error_input.constructor_input, error.module_error_input
        construct = error.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR
        with pytest.raises(error.error_type, match=error.error_regex):
            layer = getattr(ours, kind)(*given.args, **given.kwargs)
            if not construct:
                layer(*call.forward_input.args)


def test_pytorchs_own_test_of_a_large_layer_normalization_passes(torch, ours, own):
    from torch.testing._internal.common_nn import NewModuleTest

    (given,) = own.older_tests("LayerNorm")
    NewModuleTest(constructor=ours.LayerNorm, default_dtype=torch.float64, **given)(own.Checks())
