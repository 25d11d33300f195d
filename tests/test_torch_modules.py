"""The layers of `bn.torch` are PyTorch's in all but the time that they take."""

import copy
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.parity

LIMITS = {"float64": 1e-10, "float32": 2e-5, "float16": 0.02, "bfloat16": 0.1}


@pytest.fixture(autouse=True)
def seeded(torch):
    """Random tensors are the same each time."""
    torch.manual_seed(0)


def random_values(torch, module):
    """Give parameters and running statistics values that show a mistake."""
    with torch.no_grad():
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return module


def results(torch, module, inputs, dy, training=True):
    """Return the output, all gradients and all buffers of one call."""
    module.train(training)
    inputs = [x.clone().requires_grad_() for x in inputs]
    y = module(*inputs)
    gradients = torch.autograd.grad(y, [*inputs, *module.parameters()], dy)
    return [y.detach(), *gradients, *module.buffers()]


def agree(torch, found, expected, dtype="float64"):
    limit = LIMITS[dtype]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        scale = max(1.0, theirs.double().abs().max().item())
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=limit, atol=limit * scale)


def tensors(torch, shape, dtype, last, count, seed=0):
    """Return random tensors, with their channels last in memory where asked for."""
    rng = np.random.default_rng(seed)
    found = [torch.from_numpy(rng.standard_normal(shape)).to(dtype) for _ in range(count)]
    return [x.to(memory_format=torch.channels_last) if last else x for x in found]


def order(x):
    """Return the strides of the axes on which a step matters."""
    return [step for step, size in zip(x.stride(), x.shape, strict=True) if size > 1]


# ---- results ----


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from(sorted(LIMITS)),
    last=st.booleans(),
    training=st.booleans(),
    momentum=st.sampled_from([0.1, 1.0, None]),
    affine=st.booleans(),
    tracked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_batch_norm_gives_pytorchs_results(
    torch, ours, shape, dtype, last, training, momentum, affine, tracked, seed
):
    settings = {"momentum": momentum, "affine": affine, "track_running_stats": tracked}
    theirs = torch.nn.BatchNorm2d(shape[1], eps=0.1, **settings).to(getattr(torch, dtype))
    random_values(torch, theirs)
    layer = ours.BatchNorm2d(shape[1], eps=0.1, **settings).to(getattr(torch, dtype))
    layer.load_state_dict(theirs.state_dict())
    x, dy = tensors(torch, shape, getattr(torch, dtype), last, 2, seed)
    found = results(torch, layer, [x], dy, training)
    agree(torch, found, results(torch, theirs, [x], dy, training), dtype)
    assert order(found[0]) == order(theirs(x))
    assert order(found[1]) == order(x)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_add_relu_gives_the_results_of_three_layers(torch, ours, dtype, training, last):
    def three(x, residual):
        return torch.relu(theirs(x) + residual)

    theirs = random_values(torch, torch.nn.BatchNorm2d(5)).to(getattr(torch, dtype))
    layer = ours.BatchNormAddReLU2d(5).to(getattr(torch, dtype))
    layer.load_state_dict(theirs.state_dict())
    x, residual, dy = tensors(torch, (4, 5, 6, 7), getattr(torch, dtype), last, 3)
    found = results(torch, layer, [x, residual], dy, training)
    theirs.train(training)
    inputs = [each.clone().requires_grad_() for each in (x, residual)]
    y = three(*inputs)
    gradients = torch.autograd.grad(y, [*inputs, *theirs.parameters()], dy)
    agree(torch, found, [y.detach(), *gradients, *theirs.buffers()], dtype)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_relu_gives_the_results_of_two_layers(torch, ours, training):
    norm = random_values(torch, torch.nn.BatchNorm2d(5)).double()
    theirs = torch.nn.Sequential(copy.deepcopy(norm), torch.nn.ReLU())
    layer = ours.BatchNormReLU2d(5).double()
    layer.load_state_dict(norm.state_dict())
    x, dy = tensors(torch, (4, 5, 6, 7), torch.float64, False, 2)
    found = results(torch, layer, [x], dy, training)
    agree(torch, found, results(torch, theirs, [x], dy, training))


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("BatchNorm1d", (4,), (6, 4)),
        ("BatchNorm1d", (4,), (6, 4, 3)),
        ("BatchNorm3d", (4,), (2, 4, 3, 2, 2)),
        ("LayerNorm", ((3, 5),), (2, 4, 3, 5)),
        ("GroupNorm", (2, 4), (3, 4, 2, 2)),
    ],
)
def test_the_other_layers_give_pytorchs_results(torch, ours, name, arguments, shape):
    theirs = random_values(torch, getattr(torch.nn, name)(*arguments)).double()
    layer = getattr(ours, name)(*arguments).double()
    layer.load_state_dict(theirs.state_dict())
    x, dy = tensors(torch, shape, torch.float64, False, 2)
    found = results(torch, layer, [x], dy)
    agree(torch, found, results(torch, theirs, [x], dy))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once_in_one_pass(torch, ours, dtype):
    x, residual = tensors(torch, (4, 5, 6, 7), getattr(torch, dtype), True, 2)
    wide = torch.nn.BatchNorm2d(5).double()(x.double()) + residual.double()
    y = ours.BatchNormAddReLU2d(5)(x, residual)
    assert torch.equal(y, torch.relu(wide).to(y.dtype))


def test_a_residual_of_another_dtype_or_shape_is_added_as_pytorch_adds_it(torch, ours):
    layer = ours.BatchNormAddReLU2d(3)
    x = torch.randn(2, 3, 4, 4)
    for residual in (torch.randn(2, 3, 4, 4).double(), torch.randn(3, 1, 1)):
        expected = torch.relu(
            torch.nn.functional.batch_norm(x, None, None, training=True) + residual
        )
        torch.testing.assert_close(layer(x, residual), expected, rtol=1e-5, atol=1e-5)


def test_values_that_are_not_finite_go_where_pytorch_lets_them_go(torch, ours):
    x = torch.randn(4, 3)
    x[0, 1] = torch.inf
    layers = (ours.BatchNorm1d(3), torch.nn.BatchNorm1d(3))
    outputs = [layer(x) for layer in layers]
    torch.testing.assert_close(*outputs, equal_nan=True)
    torch.testing.assert_close(*(layer.running_var for layer in layers), equal_nan=True)


# ---- gradients of second order ----


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["BatchNorm2d", "BatchNormReLU2d", "GroupNorm", "LayerNorm"])
def test_second_order_gradients_are_those_of_differences(torch, ours, name, training):
    arguments = {"GroupNorm": (1, 3), "LayerNorm": ((2, 3),)}.get(name, (3,))
    layer = random_values(torch, getattr(ours, name)(*arguments)).double().train(training)
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", ["BatchNorm2d", "BatchNormReLU2d", "GroupNorm", "LayerNorm"])
def test_batches_of_gradients_are_the_single_ones(torch, ours, name, frozen):
    arguments = {"GroupNorm": (1, 3), "LayerNorm": ((2, 3),)}.get(name, (3,))
    layer = random_values(torch, getattr(ours, name)(*arguments)).double()
    layer.requires_grad_(not frozen)
    x = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    y, batch = layer(x), torch.randn(4, 2, 3, 2, 3, dtype=torch.float64)
    wanted = [x] if frozen else [x, layer.weight, layer.bias]
    options = {"retain_graph": True}
    found = torch.autograd.grad(y, wanted, batch, is_grads_batched=True, **options)
    single = [torch.autograd.grad(y, wanted, dy, **options) for dy in batch]
    agree(torch, found, [torch.stack(each) for each in zip(*single, strict=True)])


@pytest.mark.parametrize("name", ["BatchNorm2d", "GroupNorm", "LayerNorm"])
def test_vectorized_hessians_are_those_of_single_gradients(torch, ours, name):
    arguments = {"GroupNorm": (1, 3), "LayerNorm": ((2, 2),)}.get(name, (3,))
    layer = random_values(torch, getattr(ours, name)(*arguments)).double()

    def loss(x, weight):
        given = {"weight": weight * x.mean()}  # it has a gradient by itself, and one through x
        return torch.func.functional_call(layer, given, x).pow(3).sum()

    inputs = (torch.randn(2, 3, 2, 2, dtype=torch.float64), layer.weight.detach())
    found, expected = (
        torch.autograd.functional.hessian(loss, inputs, vectorize=each) for each in (True, False)
    )
    for row, single in zip(found, expected, strict=True):
        agree(torch, row, single)


def test_a_third_order_is_refused(torch, ours):
    x = torch.randn(4, 3, requires_grad=True)
    y = ours.BatchNorm1d(3)(x).square().sum()
    (dx,) = torch.autograd.grad(y, x, create_graph=True)
    (ddx,) = torch.autograd.grad(dx.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="got a call for the third"):
        torch.autograd.grad(ddx.sum(), x)


# ---- what modules are used for ----


def test_memory_is_shared_with_arrays_and_not_copied(torch, ours):
    layer = ours.BatchNorm2d(3)
    mean = layer.running_mean
    layer(torch.randn(2, 3, 4, 4))
    assert layer.running_mean is mean
    assert mean.abs().sum() > 0


def test_autograd_notices_running_statistics_that_a_batch_has_changed(torch, ours):
    layer = ours.BatchNorm1d(3)
    z = torch.ones(3, requires_grad=True) * layer.running_var
    layer(torch.randn(4, 3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_changed_input_is_noticed_in_the_backward_pass(torch, ours):
    x = torch.randn(4, 3)
    y = ours.BatchNorm1d(3)(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_copies_files_and_states_are_those_of_pytorch(torch, ours):
    layer = random_values(torch, ours.BatchNormReLU2d(3))
    theirs = torch.nn.BatchNorm2d(3)
    theirs.load_state_dict(layer.state_dict())
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    x = torch.randn(2, 3, 4, 4)
    for each in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert type(each) is ours.BatchNormReLU2d
        torch.testing.assert_close(each(x), torch.relu(copy.deepcopy(theirs)(x)))


def test_without_gradients_nothing_is_kept(torch, ours):
    layer, x = ours.BatchNorm1d(3), torch.randn(4, 3)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert layer(x).grad_fn is None


def test_hooks_see_what_pytorchs_layer_shows_them(torch, ours):
    layer, seen = ours.BatchNorm1d(3), []
    layer.register_forward_hook(lambda _, inputs, y: seen.append((inputs[0], y)))
    layer.register_full_backward_hook(lambda _, dx, dy: seen.append((dx[0], dy[0])))
    x = torch.randn(4, 3, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert len(seen) == 2
    assert seen[1][0].shape == x.shape


def test_functional_call_takes_parameters_from_outside(torch, ours):
    layer, x = ours.BatchNorm1d(3), torch.randn(4, 3)
    given = {"weight": torch.zeros(3), "bias": torch.full((3,), 2.0)}
    y = torch.func.functional_call(layer, given, x)
    assert torch.equal(y, torch.full((4, 3), 2.0))


def test_transforms_of_torch_func_get_pytorchs_layers(torch, ours):
    layer, x = ours.BatchNorm1d(3).eval(), torch.randn(4, 3)

    def loss(weights):
        return torch.func.functional_call(layer, weights, x).square().sum()

    weights = {name: value.detach() for name, value in layer.named_parameters()}
    found = torch.func.grad(loss)(weights)["weight"]
    loss({**weights, "weight": layer.weight}).backward()
    torch.testing.assert_close(found, layer.weight.grad)


def test_autocast_gives_the_dtypes_of_pytorchs_layers(torch, ours):
    x = torch.randn(2, 3, 4, 4)
    for name, arguments in (("BatchNorm2d", (4,)), ("GroupNorm", (2, 4)), ("LayerNorm", (4,))):
        dtypes = []
        for module in (ours, torch.nn):
            model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), getattr(module, name)(*arguments))
            with torch.autocast("cpu"):
                y = model(x)
            y.sum().backward()
            dtypes.append((y.dtype, model[1].weight.grad.dtype))
        assert dtypes[0] == dtypes[1]


def test_checkpointing_and_hooks_of_saved_tensors_work(torch, ours):
    layer = ours.BatchNormReLU2d(3).double().eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    expected, x.grad = x.grad, None
    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).sum().backward()
    assert torch.equal(x.grad, expected)
    x.grad = None
    with torch.autograd.graph.save_on_cpu():
        layer(x).sum().backward()
    assert torch.equal(x.grad, expected)


def test_what_is_wrong_is_said_in_pytorchs_words(torch, ours):
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        ours.BatchNorm1d(3)(torch.randn(1, 3))
    with pytest.raises(ValueError, match="expected 4D input"):
        ours.BatchNorm2d(3)(torch.randn(4, 3))
    with pytest.raises(RuntimeError, match="should contain 4 elements"):
        ours.BatchNorm1d(3)(torch.randn(4, 4))


def test_meta_tensors_and_empty_batches_are_pytorchs(torch, ours):
    layer = ours.BatchNorm1d(3)
    assert layer.eval()(torch.randn(0, 3)).shape == (0, 3)
    assert layer.to("meta").train()(torch.randn(4, 3, device="meta")).is_meta


FORKED = """
import multiprocessing
import bn, torch

def child(queue):
    queue.put(bn.torch.BatchNorm1d(3).eval()(torch.ones(64, 3)).sum().item())

bn.torch.BatchNorm1d(3)(torch.randn(1000, 3))  # its threads are not those of the child
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
print(queue.get(timeout=60))
process.join(60)
"""


def test_a_forked_data_loader_can_normalize():
    done = run(FORKED)  # in a program of its own, because JAX must not be forked
    assert float(done.stdout) == pytest.approx(192, rel=1e-3), done.stderr


# ---- the import ----


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_bn_alone_does_not_import_pytorch():
    assert run("import sys, bn; assert 'torch' not in sys.modules").returncode == 0


def test_bn_torch_is_there_without_an_import_of_its_own(torch):
    assert run("import bn; bn.torch.BatchNorm2d(3)").returncode == 0


def test_without_pytorch_one_sentence_says_what_to_install():
    hidden = "import sys; sys.modules['torch'] = None; import importlib.util as u;"
    hidden += "u.find_spec = lambda name, *a: None if name == 'torch' else 1; import bn; bn.torch"
    last = run(hidden).stderr.splitlines()[-1]
    assert last == (
        "ImportError: bn.torch needs torch, which is not installed: "
        "pip install '.[torch]' in a checkout of bn"
    )
