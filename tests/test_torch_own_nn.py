"""What PyTorch's tests of normalizations in test_nn.py check holds for the layers of `bn.torch`.

`torch_exclusions.py` says which of its tests each of these stands for. Sizes are smaller here.
"""

import copy
import importlib
from itertools import product

import pytest

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of PyTorch's forward mode
]

MIXED = [("float32", "float32"), ("bfloat16", "float32"), ("float16", "float32")]


@pytest.fixture(autouse=True)
def seeded(torch):
    """Random tensors are the same each time."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def own(ours):
    return importlib.import_module("torch_own")


def pass_through(layer, x, dy):
    """Return the output and all gradients of a call."""
    x = x.detach().requires_grad_()
    y = layer(x)
    y.backward(dy)
    gradients = [parameter.grad for parameter in layer.parameters()]
    for parameter in layer.parameters():
        parameter.grad = None
    return [y.detach(), x.grad, *gradients]


def with_values(torch, layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_()
    return layer


def unbiased(torch, found):
    """Whether groups of values, one in each row, have mean 0 and variance 1."""
    for row, expected in ((found.mean(-1), 0.0), (found.var(-1, unbiased=False), 1.0)):
        torch.testing.assert_close(row, torch.full_like(row, expected), rtol=0, atol=1e-4)


# ---- batch normalization: results ----


@pytest.mark.parametrize("shape", [(4, 8, 5, 5), (4, 1, 9, 9), (4, 9, 1, 1), (4, 8, 2, 5, 5)])
@pytest.mark.parametrize(("dtype", "of_layer"), [*MIXED, ("bfloat16", "bfloat16")])
def test_channels_last_in_memory_change_no_result(torch, ours, own, shape, dtype, of_layer):
    two = len(shape) == 4
    form = torch.channels_last if two else torch.channels_last_3d
    kind = ours.BatchNorm2d if two else ours.BatchNorm3d
    layer = with_values(torch, kind(shape[1])).to(getattr(torch, of_layer))
    x, dy = torch.randn(2, *shape).to(getattr(torch, dtype))
    expected = pass_through(copy.deepcopy(layer), x, dy)
    found = pass_through(layer, x.contiguous(memory_format=form), dy.contiguous(memory_format=form))
    assert found[0].is_contiguous(memory_format=form)
    own.agree(found, expected)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("gradient_last", [False, True])
def test_sums_beyond_float16_do_not_overflow(torch, ours, own, last, gradient_last):
    forms = (torch.contiguous_format, torch.channels_last)
    x = torch.randn(4, 3, 300, 300).half().contiguous(memory_format=forms[last])
    dy = torch.rand(x.shape).half().contiguous(memory_format=forms[gradient_last])
    assert dy.double().sum((0, 2, 3)).min() > torch.finfo(torch.float16).max
    found = pass_through(ours.BatchNorm2d(3), x, dy)
    assert all(each.isfinite().all() for each in found)
    # in float64, because PyTorch's sums of float32 lose digits on one thread
    exact = pass_through(torch.nn.BatchNorm2d(3).double(), x.double(), dy.double())
    expected = [each.float() for each in exact]
    own.agree([each.float() for each in found[2:]], expected[2:])
    for half, wide in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(half, wide.half())


@pytest.mark.parametrize("kind", ["BatchNorm2d", "SyncBatchNorm"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_permuted_input_gives_a_permuted_output(torch, ours, own, kind, dtype):
    layer = with_values(torch, getattr(ours, kind)(2)).eval()
    for shape in ((1, 3, 2, 1), (1, 3, 2, 4)):
        x = torch.arange(24.0)[: shape[1] * shape[2] * shape[3]].reshape(shape)
        x = x.to(getattr(torch, dtype)).permute(0, 2, 1, 3)
        own.agree([layer(x)], [layer(x.contiguous())])
    x = torch.arange(6.0).reshape(1, 3, 2, 1).permute(0, 2, 1, 3)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_gradients_with_shares_and_offsets_are_those_of_differences(torch, ours):
    from torch.testing._internal.common_utils import gradcheck, gradgradcheck

    x = torch.arange(4 * 5 * 6, dtype=torch.float64, requires_grad=True).view(4, 5, 6)
    weight = torch.arange(1, 6, dtype=torch.float64, requires_grad=True)
    bias = torch.arange(5, dtype=torch.float64, requires_grad=True)
    running = (1 - bias.detach(), 2 * bias.detach())
    for training in (False, True):
        arguments = (x, *running, weight, bias, training, 0.1, 1e-4)
        assert gradcheck(ours.batch_norm, arguments)
        assert gradgradcheck(ours.batch_norm, arguments)


@pytest.mark.parametrize(("dtype", "of_layer"), MIXED)
@pytest.mark.parametrize("ndim", [2, 3])
def test_in_eval_mode_two_calls_are_the_same(torch, ours, dtype, of_layer, ndim):
    x, dy = torch.rand(2, *[3] * ndim).to(getattr(torch, dtype))
    layer = ours.BatchNorm1d(3, dtype=getattr(torch, of_layer)).eval()
    assert all(map(torch.equal, pass_through(layer, x, dy), pass_through(layer, x, dy)))


@pytest.mark.parametrize(("dtype", "of_layer"), MIXED)
def test_without_running_statistics_both_modes_are_the_same(torch, ours, dtype, of_layer):
    x, dy = torch.rand(2, 4, 3).to(getattr(torch, dtype))
    layer = ours.BatchNorm1d(3, track_running_stats=False, dtype=getattr(torch, of_layer))
    training = pass_through(layer, x, dy)
    assert all(map(torch.equal, training, pass_through(layer.eval(), x, dy)))


@pytest.mark.parametrize(("dtype", "of_layer"), MIXED)
@pytest.mark.parametrize("ndim", [2, 3])
def test_weights_of_1_and_biases_of_0_change_nothing(torch, ours, own, dtype, of_layer, ndim):
    x = torch.rand([3] * ndim).to(getattr(torch, dtype))
    dy = torch.ones_like(x)
    options = {"dtype": getattr(torch, of_layer)}
    found = pass_through(ours.BatchNorm1d(3, **options), x, dy)
    own.agree(found[:2], pass_through(ours.BatchNorm1d(3, affine=False, **options), x, dy))


@pytest.mark.parametrize(("dtype", "of_layer"), MIXED)
def test_without_a_momentum_running_statistics_are_means(torch, ours, own, dtype, of_layer):
    layer = ours.BatchNorm1d(3, momentum=None, dtype=getattr(torch, of_layer))
    batches = torch.rand(2, 4, 3).to(getattr(torch, dtype))
    alone = []
    for batch in batches:
        layer.reset_running_stats()
        assert torch.equal(layer.running_mean, torch.zeros(3))
        assert torch.equal(layer.running_var, torch.ones(3))
        alone.append((layer(batch), layer.running_mean.clone(), layer.running_var.clone()))
    layer.reset_running_stats()
    both = [layer(batch) for batch in batches]
    assert all(map(torch.equal, both, (each[0] for each in alone)))
    own.agree(
        [layer.running_mean, layer.running_var],
        [(alone[0][i] + alone[1][i]) / 2 for i in (1, 2)],
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_batch_of_many_single_values_is_normalized(torch, ours, dtype):
    x = torch.rand(880801, 1, 1, 1).to(getattr(torch, dtype)).requires_grad_()
    layer = ours.BatchNorm2d(1).to(getattr(torch, dtype))
    y = layer(x)
    y.sum().backward()
    assert abs(y.detach().double().mean()) < 1e-3
    assert x.grad.abs().max() < 1e-3  # the sum of a normalized batch does not change


# ---- batch normalization: state ----


def test_statistics_that_are_not_tracked_stay(torch, ours):
    layer = ours.BatchNorm1d(4)
    layer.track_running_stats = False
    before = [value.clone() for value in layer.buffers()]
    layer(torch.rand(32, 4))
    assert all(map(torch.equal, layer.buffers(), before))


def test_the_number_of_batches_survives_a_state_without_it(torch, ours):
    layer = ours.BatchNorm2d(3)
    assert layer.state_dict()["num_batches_tracked"] == 0
    layer.num_batches_tracked = torch.tensor(10)
    layer.load_state_dict({}, strict=False)
    assert layer.state_dict()["num_batches_tracked"] == 10
    with torch.device("meta"):
        layer = ours.BatchNorm2d(3)
    assert layer.num_batches_tracked.is_meta
    layer.load_state_dict({}, assign=True, strict=False)
    assert torch.equal(layer.state_dict()["num_batches_tracked"], torch.tensor(0))


def test_an_old_state_without_a_number_of_batches_is_taken(torch, ours):
    old = {
        name: value
        for name, value in torch.nn.BatchNorm2d(3).state_dict().items()
        if name != "num_batches_tracked"
    }
    layer = ours.BatchNorm2d(3)
    layer.load_state_dict(old)
    assert layer.num_batches_tracked == 0


def test_an_empty_batch_has_gradients_of_0_and_changes_no_statistics(torch, ours, own):
    from torch.testing._internal.common_nn import _test_module_empty_input

    layer = ours.BatchNorm2d(3)
    _test_module_empty_input(own.Checks(), layer, torch.randn(0, 3, 2, 2, dtype=torch.float64))
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert torch.equal(layer.running_var, torch.ones(3))


def test_convert_sync_batchnorm_keeps_other_layers_and_the_state(torch, ours):
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(100), torch.nn.InstanceNorm1d(100))
    with_values(torch, model)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    converted = ours.SyncBatchNorm.convert_sync_batchnorm(model)
    assert [type(layer) for layer in converted] == [ours.SyncBatchNorm, torch.nn.InstanceNorm1d]
    found = converted.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# ---- batch normalization: errors ----


def test_one_value_per_channel_is_refused(torch, ours):
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        ours.BatchNorm1d(10)(torch.rand(1, 10, 1))


@pytest.mark.parametrize("wrong", ["running_mean", "running_var", "weight", "bias"])
@pytest.mark.parametrize("size", [9, 11])
def test_vectors_of_another_length_are_refused(torch, ours, wrong, size):
    given = {name: torch.rand(10) for name in ("running_mean", "running_var", "weight", "bias")}
    given[wrong] = torch.rand(size)
    with pytest.raises(RuntimeError, match=f"{wrong} should contain 10 elements not {size}"):
        ours.batch_norm(torch.rand(2, 10), **given)


@pytest.mark.parametrize("moving", [(0,), (1,), (1, 2), (0, 1), (0, 1, 2)])
def test_running_statistics_with_derivatives_in_forward_mode_are_refused(torch, ours, moving):
    from torch.autograd import forward_ad

    arguments = [torch.randn(3, 2, 5), torch.randn(2), torch.rand(2)]
    with forward_ad.dual_level():
        for place in moving:
            arguments[place] = forward_ad.make_dual(
                arguments[place], torch.rand_like(arguments[place])
            )
        if len(moving) > 1 and moving[0] == 0:
            with pytest.raises(RuntimeError, match="not differentiable wrt running_mean"):
                ours.batch_norm(*arguments, momentum=-1.2)
        else:
            y = forward_ad.unpack_dual(ours.batch_norm(*arguments, momentum=-1.2))
            assert (y.tangent is not None) == (moving == (0,))


# ---- folding ----


@pytest.mark.parametrize("affine", [True, False])
def test_pytorchs_folding_takes_our_layers(torch, ours, own, affine):
    conv, layer = torch.nn.Conv2d(3, 6, 3).double(), ours.BatchNorm2d(6, affine=affine).double()
    layer(torch.randn(5, 6, 3, 3, dtype=torch.float64))
    x = torch.randn(5, 3, 5, 5, dtype=torch.float64)
    conv.eval(), layer.eval()
    folded = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, layer)
    own.agree([folded(x)], [layer(conv(x))])


@pytest.mark.parametrize(("weight", "bias"), list(product([True, False], repeat=2)))
def test_folded_parameters_have_gradients_as_before(torch, ours, weight, bias):
    for linear, layer, fold in (
        (torch.nn.Conv2d(3, 3, 3), ours.BatchNorm2d(3), torch.nn.utils.fuse_conv_bn_weights),
        (torch.nn.Linear(3, 3), ours.BatchNorm1d(3), torch.nn.utils.fuse_linear_bn_weights),
    ):
        linear.weight.requires_grad, linear.bias.requires_grad = weight, bias
        statistics = (layer.running_mean, layer.running_var, layer.eps, layer.weight, layer.bias)
        folded = fold(linear.weight, linear.bias, *statistics)
        assert [each.requires_grad for each in folded] == [weight, bias]


# ---- layer normalization ----


def test_layer_norm_gives_mean_0_and_variance_1_then_scales(torch, ours):
    for shape, axes in (((4, 5), 1), ((3, 4, 5), 2), ((3, 3, 4, 5), 1), ((3, 4, 3, 5, 4), 3)):
        x = torch.empty(shape).uniform_(0, 10)
        layer = ours.LayerNorm(shape[-axes:], eps=0)
        unbiased(torch, layer(x).flatten(-axes))
        torch.nn.init.constant_(layer.weight, 0.7)
        torch.nn.init.constant_(layer.bias, 1.3)
        unbiased(torch, (layer(x).flatten(-axes) - 1.3) / 0.7)


@pytest.mark.parametrize(
    ("normalized", "shape"), [((), ()), ((2, 3), (3,)), ((2,), (1, 2, 3)), ((10,), (2, 3))]
)
def test_layer_norm_refuses_an_input_of_another_shape(torch, ours, normalized, shape):
    with pytest.raises(RuntimeError, match="normalized_shape"):
        ours.LayerNorm(normalized)(torch.rand(shape))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("wide", [True, False])
def test_layer_norm_of_half_precision_is_that_of_float32(torch, ours, own, dtype, affine, wide):
    dtype = getattr(torch, dtype)
    x = torch.empty(2, 3, 11, 3, dtype=dtype).random_(1, 10)
    layer = with_values(torch, ours.LayerNorm([11, 3], elementwise_affine=affine))
    layer = layer.to(dtype)
    expected = pass_through(copy.deepcopy(layer).float(), x.float(), torch.ones(x.shape))
    found = pass_through(layer.float() if wide else layer, x, torch.ones_like(x))
    torch.testing.assert_close(found[0], expected[0].to(dtype))
    own.agree([each.to(dtype) for each in found], [each.to(dtype) for each in expected])


def test_layer_norm_agrees_with_its_formula_on_long_rows(torch, ours):
    layer = with_values(torch, ours.LayerNorm([64, 64, 36]))
    x = torch.rand(2, 64, 64, 36)
    rows = x.flatten(1)
    mean, var = rows.mean(1, keepdim=True), rows.var(1, unbiased=False, keepdim=True)
    expected = ((rows - mean) / torch.sqrt(var + layer.eps)).view_as(x) * layer.weight + layer.bias
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)


def test_layer_norm_has_the_same_gradient_with_and_without_a_graph_of_it(torch, ours):
    layer = ours.LayerNorm(16)
    torch.nn.init.constant_(layer.weight, 0.1)
    x = torch.randn(4, 4, 16, requires_grad=True)
    (plain,) = torch.autograd.grad(layer(x).sum(), x)
    (graph,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    torch.testing.assert_close(plain, graph, rtol=1e-3, atol=1e-5)


def test_layer_norm_of_equal_values_is_0(torch, ours):
    x = torch.tensor([[[2.0, 2.0], [14.0, 14.0]]])
    assert torch.equal(ours.LayerNorm(2, eps=1e-6, elementwise_affine=False)(x), x * 0)


@pytest.mark.parametrize(("affine", "bias"), list(product([True, False], repeat=2)))
@pytest.mark.parametrize("shape", [(3, 3), (65, 33), (1024, 32), (8, 1025)])
def test_layer_norm_has_pytorchs_gradients_for_all_sizes(torch, ours, own, affine, bias, shape):
    x, dy = torch.randn(2, *shape)
    layers = [
        with_values(torch, module.LayerNorm(shape[1], elementwise_affine=affine, bias=bias))
        for module in (ours, torch.nn)
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    own.agree(*(pass_through(layer, x, dy) for layer in layers))


def test_layer_norm_takes_a_weight_or_a_bias_alone(torch, ours):
    x, vector = torch.rand(1, 5, 128) * 0.1, torch.randn(128)
    without, ones = (ours.layer_norm(x, (128,), w, vector) for w in (None, torch.ones(128)))
    assert torch.equal(without, ones)
    without, zeros = (ours.layer_norm(x, (128,), vector, b) for b in (None, torch.zeros(128)))
    assert torch.equal(without, zeros)


# ---- group normalization ----


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((1, 2, 3, 4), 2), ((2, 3, 10), 3), ((3, 1, 1, 1, 2), 1), ((1, 256, 1, 1), 32)],
)
def test_group_norm_gives_mean_0_and_variance_1_then_scales(torch, ours, shape, groups):
    x = torch.empty(shape).uniform_(0, 10)
    layer = ours.GroupNorm(groups, shape[1], eps=0)
    unbiased(torch, layer(x).reshape(shape[0], groups, -1))
    torch.nn.init.uniform_(layer.weight, 0.2, 2)
    torch.nn.init.uniform_(layer.bias, 0.2, 2)
    each = (-1, *[1] * (len(shape) - 2))
    plain = (layer(x) - layer.bias.view(each)) / layer.weight.view(each)
    unbiased(torch, plain.reshape(shape[0], groups, -1))


@pytest.mark.parametrize(("groups", "channels"), [(3, 2), (2, 3), (10, 1), (4, 6)])
def test_group_norm_refuses_groups_that_do_not_divide_the_channels(ours, groups, channels):
    with pytest.raises(ValueError, match="must be divisible by num_groups"):
        ours.GroupNorm(groups, channels)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((1, 8, 4, 3), 2), ((2, 40, 10, 10), 2), ((1, 9, 3, 4, 5), 3), ((1, 3, 20, 20), 1)],
)
def test_group_norm_of_half_precision_is_that_of_float32(
    torch, ours, own, dtype, last, shape, groups
):
    dtype = getattr(torch, dtype)
    form = {4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)]
    form = form if last else torch.contiguous_format
    layer = with_values(torch, ours.GroupNorm(groups, shape[1])).to(dtype)
    x, dy = (each.to(dtype).contiguous(memory_format=form) for each in torch.randn(2, *shape))
    expected = pass_through(copy.deepcopy(layer).float(), x.float(), dy.float())
    for one in (layer, copy.deepcopy(layer).float()):
        found = pass_through(one, x, dy)
        own.agree([each.to(dtype) for each in found], [each.to(dtype) for each in expected])


def test_group_norm_refuses_one_value_per_group(torch, ours):
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        ours.GroupNorm(10, 10)(torch.rand(1, 10, 1))


def test_group_norm_of_an_empty_batch_has_gradients_of_0(torch, ours, own):
    from torch.testing._internal.common_nn import _test_module_empty_input

    _test_module_empty_input(own.Checks(), ours.GroupNorm(2, 4), torch.randn(0, 4, 2, 2))


@pytest.mark.parametrize(("dtype", "of_layer"), [("float64", "float64"), *MIXED])
@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 8, 10, 10), 4), ((2, 30, 9, 9), 3), ((2, 9, 7, 11, 15), 3)]
)
def test_group_norm_keeps_channels_last_and_its_results(
    torch, ours, own, dtype, of_layer, shape, groups
):
    form = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    layer = with_values(torch, ours.GroupNorm(groups, shape[1])).to(getattr(torch, of_layer))
    x, dy = torch.randn(2, *shape).to(getattr(torch, dtype))
    expected = pass_through(layer, x, dy)
    for x_form, dy_form in product((torch.contiguous_format, form), repeat=2):
        found = pass_through(
            layer, x.contiguous(memory_format=x_form), dy.contiguous(memory_format=dy_form)
        )
        assert all(each.is_contiguous(memory_format=x_form) for each in found[:2])
        own.agree(found, expected)


def test_group_norm_agrees_with_its_formula_on_large_groups(torch, ours):
    layer = with_values(torch, ours.GroupNorm(2, 8))
    x = torch.rand(1, 8, 64, 64, 18)
    groups = x.reshape(1, 2, -1)
    mean, var = groups.mean(-1, keepdim=True), groups.var(-1, unbiased=False, keepdim=True)
    plain = ((groups - mean) / torch.sqrt(var + layer.eps)).view_as(x)
    each = (8, 1, 1, 1)
    expected = plain * layer.weight.view(each) + layer.bias.view(each)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)
