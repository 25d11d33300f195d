"""Layer, RMS, group and instance normalization beside PyTorch, Keras and ONNX's own cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import channels_last_memory

import bn
from bn import onnx

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras's get_weights causes it
]
LIMIT = {np.float32: 2e-5, np.float64: 1e-10}

LAYERS = [
    ("LayerNorm", (6,), {}, (4, 5, 6)),
    ("LayerNorm", ((5, 6),), {"eps": 1e-2}, (4, 5, 6)),
    ("LayerNorm", (6,), {"bias": False}, (4, 6)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, (4, 6)),
    ("RMSNorm", (6,), {}, (4, 5, 6)),
    ("RMSNorm", ((5, 6),), {"eps": 1e-2}, (4, 5, 6)),
    ("RMSNorm", (6,), {"elementwise_affine": False}, (4, 6)),
    ("GroupNorm", (3, 6), {}, (4, 6, 5, 7)),
    ("GroupNorm", (2, 6), {"eps": 1e-2, "affine": False}, (4, 6, 5)),
    ("GroupNorm", (1, 6), {}, (4, 6)),
    ("InstanceNorm1d", (6,), {}, (4, 6, 5)),
    ("InstanceNorm2d", (6,), {"affine": True}, (4, 6, 5, 7)),
    ("InstanceNorm2d", (6,), {"affine": True, "track_running_stats": True}, (4, 6, 5, 7)),
    ("InstanceNorm3d", (6,), {"momentum": 0.3, "track_running_stats": True}, (4, 6, 2, 3, 2)),
]


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS, ids=str)
def test_layers_are_those_of_pytorch(torch, name, arguments, options, shape, last, dtype):
    theirs = getattr(torch.nn, name)(
        *arguments, **options, dtype=getattr(torch, np.dtype(dtype).name)
    )
    ours = getattr(bn, name)(*arguments, **options, dtype=dtype)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.random(tuple(parameter.shape)) + 0.5))
    ours.load_state_dict(theirs.state_dict())
    for training in (True, True, False):
        theirs.train(training)
        ours.train(training)
        x, dy = ((2 * rng.standard_normal(shape) + 1).astype(dtype) for _ in range(2))
        tx = torch.tensor(x, requires_grad=True)
        ty = theirs(tx)
        theirs.zero_grad()
        ours.zero_grad()
        ty.backward(torch.from_numpy(dy))
        if last and len(shape) > 2:
            x, dy = channels_last_memory(x), channels_last_memory(dy)
        limit = {"rtol": 0, "atol": 20 * LIMIT[dtype]}
        np.testing.assert_allclose(ours(x), ty.detach().numpy(), **limit)
        np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), **limit)
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            np.testing.assert_allclose(q.grad, p.grad.numpy(), rtol=1e-4, atol=1e-4)
        state = theirs.state_dict()
        assert list(ours.state_dict()) == list(state)
        for key, array in ours.named_state():
            if key == "num_batches_tracked":  # PyTorch's stays 0
                continue
            np.testing.assert_allclose(array, state[key].numpy(), rtol=1e-5, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=5),
    seed=st.integers(0, 99),
    eps=st.sampled_from([1e-5, 1e-3, 0.5]),
    data=st.data(),
)
def test_functions_are_those_of_pytorch(torch, shape, seed, eps, data):
    functional, rng = torch.nn.functional, np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 3 + 1
    tensor = torch.from_numpy(x)
    sizes = shape[-data.draw(st.integers(1, len(shape))) :]
    weight, bias = rng.standard_normal(sizes), rng.standard_normal(sizes)
    limit = {"rtol": 1e-9, "atol": 1e-9}
    theirs = functional.layer_norm(
        tensor, sizes, torch.from_numpy(weight), torch.from_numpy(bias), eps
    )
    np.testing.assert_allclose(bn.layer_norm(x, sizes, weight, bias, eps), theirs.numpy(), **limit)
    theirs = functional.rms_norm(tensor, sizes, torch.from_numpy(weight), eps)
    np.testing.assert_allclose(bn.rms_norm(x, sizes, weight, eps), theirs.numpy(), **limit)
    channels = shape[1]
    groups = data.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    if x.size > groups:
        theirs = functional.group_norm(tensor, groups, eps=eps)
        np.testing.assert_allclose(bn.group_norm(x, groups, eps=eps), theirs.numpy(), **limit)
    if np.prod(shape[2:]) > 1:
        theirs = functional.instance_norm(tensor, eps=eps)
        np.testing.assert_allclose(bn.instance_norm(x, eps=eps), theirs.numpy(), **limit)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_rms_norm_has_pytorchs_eps_by_default(torch, dtype):
    x = torch.full((2, 8), 1e-3, dtype=getattr(torch, dtype))
    ours = bn.rms_norm(x.float().numpy().astype(dtype) if dtype != "bfloat16" else _half(x), 8)
    theirs = torch.nn.functional.rms_norm(x, (8,)).double().numpy()
    np.testing.assert_allclose(ours.astype(float), theirs, rtol=1e-2 if "16" in dtype else 1e-6)


def _half(x):
    import ml_dtypes

    return x.float().numpy().astype(ml_dtypes.bfloat16)


KERAS = [
    ("LayerNormalization", {}, (4, 5, 6)),
    ("LayerNormalization", {"axis": [1, 2], "epsilon": 1e-2}, (4, 5, 6)),
    ("LayerNormalization", {"scale": False}, (4, 5)),
    ("GroupNormalization", {"groups": 3}, (4, 5, 7, 6)),
    ("GroupNormalization", {"groups": -1, "axis": 1}, (4, 6, 5)),
    ("GroupNormalization", {"groups": 2, "center": False, "epsilon": 1e-2}, (4, 5, 6)),
]


@pytest.mark.parametrize(("name", "options", "shape"), KERAS, ids=str)
def test_layers_are_those_of_keras(keras, name, options, shape):
    theirs, ours = getattr(keras.layers, name)(**options), getattr(bn, name)(**options)
    rng = np.random.default_rng(0)
    x = (2 * rng.standard_normal(shape) + 1).astype(np.float32)
    theirs.build(shape)
    ours.build(shape[1:])
    weights = [rng.standard_normal(w.shape).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    expected = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(ours(x), expected, rtol=0, atol=2e-5)


CASES = {
    "layernormalization": ("test_layer_normalization_", onnx.LayerNormalization),
    "rmsnormalization": ("test_rms_normalization_", onnx.RMSNormalization),
    "groupnormalization": ("test_group_normalization_", onnx.GroupNormalization),
    "instance_normalization": ("test_instancenorm_", onnx.InstanceNormalization),
}


@pytest.mark.parametrize("module", CASES)
def test_onnxs_own_node_cases_pass(module):
    pytest.importorskip(f"onnx.backend.test.case.node.{module}")
    from onnx import helper
    from onnx.backend.test.case import node as cases

    prefix, function = CASES[module]
    found = [
        c
        for c in cases._NodeTestCases
        if c.name.startswith(prefix) and len(c.model.graph.node) == 1
    ]
    assert found
    for case in found:
        (node,) = case.model.graph.node
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for arrays, expected in case.data_sets:
            outputs = function(*arrays, **attributes)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            for a, b in zip(outputs, expected, strict=False):
                assert a.shape == b.shape, case.name
                np.testing.assert_allclose(a, b, rtol=0, atol=2e-5, err_msg=case.name)
