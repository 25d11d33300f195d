"""`bn.onnx` has the formulas of ONNX's specification, its dtypes, its opsets and its purity."""

import itertools

import ml_dtypes
import numpy as np
import pytest
import reference

from bn.onnx import BatchNormalization

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
NO_BFLOAT16 = [np.float16, np.float32, np.float64]


def inputs(rng, shape, dtype=np.float32, parameters=None, statistics=None):
    """Return X, scale, B, input_mean and input_var as in ONNX's own test cases."""
    channels = 1 if len(shape) == 1 else shape[1]
    X, scale, B, mean = (rng.standard_normal(s) for s in (shape, channels, channels, channels))
    var = rng.random(channels)
    parameters, statistics = parameters or dtype, statistics or dtype
    vectors = (scale.astype(parameters), B.astype(parameters))
    return X.astype(dtype), *vectors, mean.astype(statistics), var.astype(statistics)


def formula(X, scale, B, mean, var, epsilon=1e-5, momentum=0.9, training_mode=0):
    """Compute ONNX's specification in float64."""
    x = X.reshape(-1, 1) if X.ndim == 1 else X
    if not training_mode:
        return reference.forward(x, scale, B, epsilon, mean=mean, var=var).reshape(X.shape)
    count, batch_mean, m2 = reference.moments(x)
    Y = reference.forward(x, scale, B, epsilon).reshape(X.shape)
    old = (a.astype(np.float64) * momentum for a in (mean, var))
    new = (a * (1 - momentum) for a in (batch_mean, m2 / count))
    return Y, *(a + b for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize("training_mode", [0, 1])
@pytest.mark.parametrize("attributes", [{}, {"epsilon": 1e-2}, {"momentum": 0.3}], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (7,), (6, 3), (4, 3, 5), (2, 3, 2, 3, 4)])
def test_the_outputs_of_onnx_are_those_of_its_formula_at_every_rank(
    shape, attributes, training_mode, rng
):
    given = inputs(rng, shape)
    found = BatchNormalization(*given, training_mode=training_mode, **attributes)
    expected = formula(*given, training_mode=training_mode, **attributes)
    if not training_mode:
        found, expected = (found,), (expected,)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training_mode", [0, 1])
@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=3)), ids=str)
def test_each_output_of_onnx_has_the_dtype_of_its_input_and_is_rounded_once(
    dtypes, training_mode, rng
):
    given = inputs(rng, (5, 3, 4), *dtypes)
    found = BatchNormalization(*given, training_mode=training_mode)
    expected = formula(*given, training_mode=training_mode)
    if not training_mode:
        found, expected = (found,), (expected,)
    for a, b, dtype in zip(found, expected, (dtypes[0], dtypes[2], dtypes[2]), strict=False):
        assert a.dtype == dtype
        limit = {"rtol": float(ml_dtypes.finfo(dtype).eps), "atol": 1e-6}
        np.testing.assert_allclose(a.astype(np.float64), b, **limit)


@pytest.mark.parametrize("training_mode", [0, 1])
def test_no_input_of_onnx_is_changed_and_no_output_is_an_input(training_mode, rng):
    given = inputs(rng, (4, 3, 5))
    before = [a.copy() for a in given]
    for a in given:
        a.flags.writeable = False
    found = BatchNormalization(*given, training_mode=training_mode)
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)
    for y in found if training_mode else (found,):
        assert y.flags.writeable
        assert not any(np.shares_memory(y, a) for a in given)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (1,)])
def test_a_single_value_in_training_has_variance_0(shape, rng):
    X, scale, B, mean, var = inputs(rng, shape, np.float64)
    Y, running_mean, running_var = BatchNormalization(X, scale, B, mean, var, training_mode=1)
    np.testing.assert_array_equal(Y.ravel(), B)
    np.testing.assert_allclose(running_mean, 0.9 * mean + 0.1 * X.ravel())
    np.testing.assert_allclose(running_var, 0.9 * var)


@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0, 4), (0,), (4, 0)])
def test_an_empty_X_gives_an_empty_Y_and_leaves_the_statistics(shape, rng):
    given = inputs(rng, shape)
    assert BatchNormalization(*given).shape == shape
    Y, running_mean, running_var = BatchNormalization(*given, training_mode=1)
    assert Y.shape == shape
    np.testing.assert_array_equal(running_mean, given[3])
    np.testing.assert_array_equal(running_var, given[4])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_channel_with_a_nan_or_inf_carries_it_into_its_statistics_alone(value, rng):
    X, *vectors = inputs(rng, (4, 3, 5))
    X[2, 1, 0] = value
    _, running_mean, running_var = BatchNormalization(X, *vectors, training_mode=1)
    np.testing.assert_array_equal(np.isfinite(running_mean), [True, False, True])
    np.testing.assert_array_equal(np.isnan(running_var), [False, True, False])


@pytest.mark.parametrize("opset", range(7, 16))
def test_inference_of_onnx_is_the_same_in_all_opsets(opset, rng):
    given = inputs(rng, (4, 3, 5))
    np.testing.assert_array_equal(
        BatchNormalization(*given, opset=opset), BatchNormalization(*given)
    )


@pytest.mark.parametrize("opset", [14, 15])
def test_training_mode_exists_from_opset_14_on(opset, rng):
    given = inputs(rng, (4, 3, 5))
    assert len(BatchNormalization(*given, training_mode=1, opset=opset)) == 3


@pytest.mark.parametrize("opset", range(7, 14))
def test_training_mode_before_opset_14_is_an_error(opset, rng):
    with pytest.raises(ValueError, match=f"must have an opset of at least 14, got opset {opset}"):
        BatchNormalization(*inputs(rng, (4, 3)), training_mode=1, opset=opset)


def test_statistics_may_have_their_own_dtype_from_opset_14_on(rng):
    given = inputs(rng, (4, 3), np.float16, np.float16, np.float32)
    BatchNormalization(*given, opset=14)
    with pytest.raises(TypeError, match="input_mean must be float16 as X in opset 13, got float32"):
        BatchNormalization(*given, opset=13)


def test_parameters_may_have_their_own_dtype_from_opset_15_on(rng):
    given = inputs(rng, (4, 3), np.float16, np.float32, np.float32)
    BatchNormalization(*given, opset=15)
    with pytest.raises(TypeError, match="scale must be float16 as X in opset 14, got float32"):
        BatchNormalization(*given, opset=14)


def test_bfloat16_exists_from_opset_14_on(rng):
    given = inputs(rng, (4, 3), ml_dtypes.bfloat16)
    BatchNormalization(*given, opset=14)
    with pytest.raises(
        TypeError, match="X must be float16, float32 or float64 in opset 13, got bfloat16"
    ):
        BatchNormalization(*given, opset=13)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"opset": 6}, "opset must be from 7 to 15 .*, got 6"),
        ({"opset": 16}, "opset must be from 7 to 15 .*, got 16"),
        ({"opset": 8, "spatial": 0}, "spatial must be 1, got 0: reshape X"),
        ({"spatial": 2}, "spatial must be 0 or 1, got 2"),
        ({"training_mode": 2}, "training_mode must be 0 or 1, got 2"),
        ({"training_mode": "1"}, "training_mode must be 0 or 1, got '1'"),
        ({"epsilon": -1.0}, "epsilon must be a number of at least 0, got -1.0"),
        ({"momentum": np.inf}, "momentum must be a finite number, got inf"),
    ],
    ids=str,
)
def test_bad_attributes_of_onnx_are_errors(attributes, sentence, rng):
    with pytest.raises(ValueError, match=sentence):
        BatchNormalization(*inputs(rng, (4, 3)), **attributes)


@pytest.mark.parametrize(
    ("position", "value", "error", "sentence"),
    [
        (0, [1.0], TypeError, "X must be a numpy array, got list"),
        (0, np.ones((4, 3), np.int64), TypeError, "X must be float16, .* in opset 15, got int64"),
        (0, np.float32(1)[...], ValueError, r"X must have at least 1 axes, got shape \(\)"),
        (0, np.ones(4, np.float32), ValueError, r"scale must have shape \(1,\), got \(3,\)"),
        (1, np.ones(2, np.float32), ValueError, r"scale must have shape \(3,\), got \(2,\)"),
        (2, np.ones(3), TypeError, "B must be float32 as scale in opset 15, got float64"),
        (3, np.ones((3, 1), np.float32), ValueError, r"input_mean must have shape \(3,\)"),
        (4, np.ones(3), TypeError, "input_var must be float32 as input_mean in opset 15"),
        (4, None, TypeError, "input_var must be a numpy array, got NoneType"),
    ],
)
def test_bad_inputs_of_onnx_are_errors(position, value, error, sentence, rng):
    given = list(inputs(rng, (4, 3)))
    given[position] = value
    with pytest.raises(error, match=sentence):
        BatchNormalization(*given)
