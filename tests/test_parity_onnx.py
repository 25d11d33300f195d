"""`bn.onnx` is compared with ONNX's own test cases, its reference evaluator and ONNX Runtime."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bn.onnx import BatchNormalization

pytestmark = pytest.mark.parity

INPUTS = ["X", "scale", "B", "input_mean", "input_var"]
OUTPUTS = ["Y", "running_mean", "running_var"]
HALF, SINGLE, DOUBLE = (np.dtype(t) for t in (np.float16, np.float32, np.float64))
DTYPES = [HALF, np.dtype(ml_dtypes.bfloat16), SINGLE, DOUBLE]
ALIKE = [(t, t, t) for t in (HALF, SINGLE, DOUBLE)]
# opset -> dtypes of X, of scale and B, of the statistics: what the reference evaluator gets right
# (it reads older opsets as training), and what ONNX Runtime has kernels for
REFERENCE = {
    14: [(x, x, s) for x, s in itertools.product(DTYPES, repeat=2)],
    15: list(itertools.product(DTYPES, repeat=3)),
}
RUNTIME = {7: ALIKE, 8: ALIKE, 9: ALIKE, 14: [*ALIKE, (HALF, HALF, SINGLE)]}
RUNTIME[15] = [*RUNTIME[14], (HALF, SINGLE, SINGLE)]


@st.composite
def calls(draw, types):
    """Yield (opset, inputs, attributes) of a node."""
    opset = draw(st.sampled_from(sorted(types)))
    x_type, parameters, statistics = draw(st.sampled_from(types[opset]))
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    channels = shape[1] if len(shape) > 1 else 1
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = (rng.standard_normal(shape) + 1).astype(x_type)
    scale, B = (rng.standard_normal(channels).astype(parameters) for _ in range(2))
    mean, var = ((rng.random(channels) + 0.5).astype(statistics) for _ in range(2))
    choices = {"epsilon": [1e-5, 1e-3, 0.5], "momentum": [0.9, 0.0, 1.0, 0.25]}
    attributes = {  # it is a float32 in ONNX
        name: float(np.float32(draw(st.sampled_from(values)))) for name, values in choices.items()
    }
    if opset >= 14:
        attributes["training_mode"] = draw(st.integers(0, 1))
    return opset, [X, scale, B, mean, var], attributes


def node_model(opset, arrays, attributes):
    """Make a model of this node alone."""
    from onnx import helper

    outputs = OUTPUTS if attributes.get("training_mode") else OUTPUTS[:1]
    types = [helper.np_dtype_to_tensor_dtype(a.dtype) for a in arrays]
    graph = helper.make_graph(
        [helper.make_node("BatchNormalization", INPUTS, outputs, **attributes)],
        "one_node",
        [
            helper.make_tensor_value_info(name, t, a.shape)
            for name, t, a in zip(INPUTS, types, arrays, strict=True)
        ],
        [
            helper.make_tensor_value_info(name, t, None)
            for name, t in zip(outputs, (types[0], *types[3:]), strict=False)
        ],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def ours(opset, arrays, attributes):
    found = BatchNormalization(*arrays, opset=opset, **attributes)
    return found if isinstance(found, tuple) else (found,)


def rounding(dtype):
    return float(ml_dtypes.finfo(dtype).eps)


def compute_rounding(x):
    """Return the rounding of the arithmetic on x, which is float32 for the halves."""
    return rounding(DOUBLE if x.dtype == DOUBLE else SINGLE)


def assert_close(found, expected, atol):
    """Assert equality to one rounding of each output's dtype, and atol."""
    for name, a, b in zip(OUTPUTS[: len(expected)], found, expected, strict=True):
        assert a.shape == b.shape, name
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        np.testing.assert_allclose(a64, b64, rtol=rounding(a.dtype), atol=atol, err_msg=name)


def test_onnxs_own_node_cases_pass():
    pytest.importorskip("onnx.backend.test.case.node.batch_normalization")
    from onnx import helper
    from onnx.backend.test.case import node as cases

    found = [c for c in cases._NodeTestCases if c.name.startswith("test_batchnorm_")]
    assert len(found) >= 4
    for case in found:
        (node,) = case.model.graph.node
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        opset = case.model.opset_import[0].version
        for arrays, expected in case.data_sets:
            assert_close(ours(opset, arrays, attributes), expected, atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(call=calls(REFERENCE))
def test_outputs_equal_onnxs_reference_evaluator_in_float64(call):
    reference = pytest.importorskip("onnx.reference")
    opset, arrays, attributes = call
    # its training mode has no single axis
    assume(arrays[0].ndim > 1 or not attributes["training_mode"])
    wide = [a.astype(np.float64) for a in arrays]
    model = node_model(opset, wide, attributes)
    expected = reference.ReferenceEvaluator(model).run(None, dict(zip(INPUTS, wide, strict=True)))
    assert_close(ours(*call), expected, atol=max(32 * compute_rounding(arrays[0]), 1e-11))


@settings(max_examples=300, deadline=None)
@given(call=calls(RUNTIME))
def test_outputs_equal_onnx_runtime(call):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    _, arrays, attributes = call
    session = runtime.InferenceSession(
        node_model(*call).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, dict(zip(INPUTS, arrays, strict=True)))
    found = ours(*call)
    assert [a.dtype for a in found] == [b.dtype for b in expected]
    # it computes X·a + b, which loses the digits that X and its mean share
    X, scale = (float(np.abs(a.astype(np.float64)).max()) for a in arrays[:2])
    factor = 1 + X * scale / np.sqrt(attributes["epsilon"])
    assert_close(found, expected, atol=8 * factor * compute_rounding(arrays[0]))
