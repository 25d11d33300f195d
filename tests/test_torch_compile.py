"""Under `torch.compile` the layers of `bn.torch` are operators of the graph."""

import copy
import shutil

import pytest

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of PyTorch's compiler
]

BACKENDS = ["eager", "aot_eager"]
LAYERS = {
    "BatchNorm2d": (3,),
    "BatchNormReLU2d": (3,),
    "GroupNorm": (1, 3),
    "LayerNorm": ((4, 5),),
}


@pytest.fixture(autouse=True)
def fresh(torch):
    yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def seeded(torch):
    """Random tensors are the same each time."""
    torch.manual_seed(0)


def results(torch, module, *inputs):
    inputs = [x.clone().requires_grad_() for x in inputs]
    y = module(*inputs)
    gradients = torch.autograd.grad(y.square().sum(), [*inputs, *module.parameters()])
    return [y, *gradients, *module.buffers()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_the_same_bits_without_a_graph_break(torch, ours, name, training, backend):
    layer = getattr(ours, name)(*LAYERS[name]).train(training)
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend=backend)
    x = torch.randn(2, 3, 4, 5)
    for found, expected in zip(results(torch, compiled, x), results(torch, layer, x), strict=True):
        assert torch.equal(found, expected)


def test_a_residual_is_added_in_the_graph(torch, ours):
    layer = ours.BatchNormAddReLU2d(3)
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    tensors = torch.randn(2, 2, 3, 4, 5)
    for found, expected in zip(
        results(torch, compiled, *tensors), results(torch, layer, *tensors), strict=True
    ):
        assert torch.equal(found, expected)


def test_the_graph_calls_the_operator(torch, ours):
    called = []

    def backend(graph, _):
        called.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    with torch.no_grad():
        torch.compile(ours.BatchNorm2d(3), fullgraph=True, backend=backend)(torch.ones(2, 3, 4, 4))
    assert "bn.batch_norm" in called


def test_the_schema_names_the_running_statistics_as_changed(torch, ours):
    arguments = torch.ops.bn.batch_norm.default._schema.arguments
    changed = [each.name for each in arguments if each.alias_info and each.alias_info.is_write]
    assert changed == ["running_mean", "running_var"]


@pytest.mark.parametrize("training", [False, True])
def test_the_operator_keeps_what_its_schema_promises(torch, ours, training):
    x = torch.randn(2, 3, 4, 4)
    running = (torch.zeros(3), torch.ones(3))
    arguments = (x, None, torch.ones(3), torch.zeros(3), *running, training, 0.1, 1e-5, "relu")
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.bn.batch_norm.default, arguments, test_utils=checks)


def test_strides_are_those_that_compiled_code_was_promised(torch, ours):
    permuted, spread = torch.randn(2, 6, 5, 4).transpose(2, 3), torch.randn(2, 6, 1, 1)
    for x in (permuted, spread.expand(2, 6, 4, 5), torch.randn(2, 12, 4, 5)[:, ::2]):
        for operator, arguments in (
            (torch.ops.bn.batch_norm, (x, None, None, None, None, None, True, 0.1, 1e-5, "relu")),
            (torch.ops.bn.group_norm, (x, 2, None, None, 1e-5)),
            (torch.ops.bn.layer_norm, (x, x.shape[2:], None, None, 1e-5)),
        ):
            torch.library.opcheck(operator.default, arguments, test_utils="test_faketensor")


def test_an_accelerated_model_is_one_graph(torch, ours, models):
    torch.manual_seed(0)
    model = models.ResNet()
    ours.accelerate(model)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 8, 8)
    for found, expected in zip(results(torch, compiled, x), results(torch, model, x), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs a C++ compiler")
@pytest.mark.slow
def test_pytorchs_own_backend_compiles_an_accelerated_model(torch, ours, models):
    model = models.ResNet()
    ours.accelerate(model)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True)
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    for found, expected in zip(results(torch, compiled, x), results(torch, model, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
