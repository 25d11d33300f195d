"""What users complain about in other frameworks does not happen here.

The complaints have numbers, B1 to B24, and their threads are cited as repository#number.

Fork, threadpoolctl and Python threads (B13) are tested in test_process.py. Some complaints are
tested here in short and elsewhere at length: padding (B7) in test_masking.py, threads and bits
(B12) in test_same_bits.py, errors in other calls (B2, B18) in test_errors.py. Speed (B8, and the
calls on tiny tensors of B13) is measured by bench/.

These are not cured:

- B2: there is no policy for a single value per channel but the error, which does not name the
  layer. The ways out are ghost batches, `bn.accumulate`, `bn.freeze` and the pure functions.
- B6, B21: there is no conversion from or to the objects of other frameworks (`from_torch`,
  `to_keras`). Arrays go over by name or in Keras's order, and momentum is not converted. Files of
  states are read (`bn.load_state`), but not those of torch.save, which are pickles.
- B11: ghost batches are one call of the kernels each, in a Python loop.
- B15: no batch normalization keeps y instead of x (InPlace-ABN). Layers have no `out`, the
  functions do.
- B19: there is no transport between processes; `bn.merge` is the arithmetic for it.
- B22: transposed convolutions with groups are not folded; `fold_arrays` takes those without.
- B23: the second order is the highest, as a pure function.
- B24: there are no named sets of statistics; they are exchanged through `state_dict`.
"""

import pickle
import subprocess
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import reference
from accuracy import SUMS, assert_moments
from arrays import same_state
from gradcheck import central_differences
from layouts import MEMORY

import bn
import bncore
from bn import nn

X = np.random.default_rng(5).standard_normal((40, 3)).astype(np.float32) + 2
ONE, ZERO = np.ones(3), np.zeros(3)


def with_statistics(layer, rng):
    """Give a layer parameters and running statistics that are not the initial ones."""
    for name, array in layer.named_state():
        if array.shape == (layer.num_features,):
            array[...] = rng.random(layer.num_features) + ("var" in name) / 2
    return layer


# ---- B1: eval mode gives other outputs than training ----


def test_b01_eval_mode_agrees_with_training_after_recalibration(rng):
    """See pytorch#4741, pytorch#5406, pytorch#4253, pytorch#19916, tch-rs#628, schedule_free#60."""
    model = nn.Sequential(nn.Linear(4, 5, rng=0), bn.BatchNorm1d(5), nn.ReLU(), bn.BatchNorm1d(5))
    x = 3 * rng.standard_normal((5000, 4)) + 7
    expected = model(x)
    assert abs(model.eval()(x) - expected).max() > 1
    bn.recalibrate(model, [x])
    np.testing.assert_allclose(model(x), expected, atol=2e-3)  # M / (M - 1)


def test_b01_recalibration_counts_each_value_once_however_uneven_the_batches(rng):
    """See pytorch#4741: torch.optim.swa_utils.update_bn gives all batches one weight."""
    layer, x = bn.BatchNorm1d(3, dtype="f8"), rng.standard_normal((100, 3)) * [1, 2, 3]
    bn.recalibrate(layer, [x[:90], x[90:]])
    np.testing.assert_allclose(layer.running_mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, x.var(0, ddof=1), rtol=1e-12)


def test_b01_a_report_says_where_eval_mode_will_differ(rng):
    """See pytorch#5406, pytorch#100048."""
    model, x = nn.Sequential(nn.ReLU(), bn.BatchNorm1d(3)), 3 * rng.standard_normal((500, 3)) + 7
    (advice,) = bn.report(model, x).advice
    assert advice.startswith("1: running statistics are not those of x")
    assert "call bn.recalibrate(model, batches)" in advice
    assert not bn.report(bn.recalibrate(model, [x]), x).advice


# ---- B2: a batch of one ----


def test_b02_a_batch_of_one_is_an_error_that_changes_nothing(rng):
    """See pytorch#4534, pytorch#1381, pytorch#77014, fastai#1352."""
    model = nn.Sequential(bn.BatchNorm2d(3), nn.MaxPool2d(4), nn.Flatten(), bn.BatchNorm1d(3))
    before, image = model.state_dict(), rng.standard_normal((1, 3, 4, 4))
    with pytest.raises(
        ValueError, match=r"more than 1 value per channel .*, got input size \(1, 3"
    ):
        model(image)
    assert same_state(model.state_dict(), before)
    assert np.isfinite(model.eval()(image)).all()


def test_b02_one_value_has_the_variance_0_and_not_nan():
    """See SparseConvNet#190, Flux PR#2716."""
    y, batch = bn.normalize_batch(X[:1], bias=np.full(3, 0.5))
    assert (y == 0.5).all()
    mean, var = ZERO.copy(), ONE.copy()
    bn.commit(batch, mean, var)
    np.testing.assert_allclose(mean, 0.1 * X[0])
    np.testing.assert_allclose(var, 0.9)


def test_b02_a_last_sample_joins_the_ghost_batch_before():
    """See pytorch#13223, PyG PR#5530."""
    y = bn.GhostBatchNorm(bn.BatchNorm1d(3), virtual_batch_size=4)(X[:9])
    np.testing.assert_array_equal(y[4:], bn.BatchNorm1d(3)(X[4:9]))


# ---- B3: digits lost in the variance ----


@pytest.mark.parametrize("ratio", [1e3, 1e6])
def test_b03_a_mean_far_from_zero_costs_no_digits(ratio, rng):
    """See tf#3290, keras PR#18795, onnxruntime#28463, mlx#2238."""
    x = (rng.standard_normal((4, 3, 20, 20)) + ratio).astype(np.float32)
    y, batch = bn.normalize_batch(x)
    assert_moments(batch, x, data="random")
    np.testing.assert_allclose(y, reference.forward(x, ONE, ZERO), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1e8])
def test_b03_a_constant_channel_is_exactly_the_bias(value):
    """See pytorch#5410, caffe#3963, pytorch#8283."""
    bias = np.array([0.3, 0.0, -7.0], np.float32)
    y, batch = bn.normalize_batch(np.full((1001, 3), value, np.float32), bias=bias)
    assert (batch.m2 == 0).all()
    assert (y == bias).all()


def test_b03_the_squares_of_large_values_do_not_overflow(rng):
    """See pytorch#162489."""
    x = (1e30 * rng.standard_normal((50, 3))).astype(np.float32)
    y, batch = bn.normalize_batch(x)
    np.testing.assert_allclose(batch.var, x.astype(float).var(0), rtol=1e-10)
    np.testing.assert_allclose(y.std(0), 1, rtol=1e-5)


# ---- B4: infinities in the running statistics ----


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_b04_one_infinity_does_not_poison_the_running_statistics(value):
    """See pytorch#90342, pytorch#115500, pytorch#1206."""
    layer, poisoned = bn.BatchNorm1d(3), X.copy()
    poisoned[3, 1] = value
    with pytest.warns(bn.NonFiniteWarning, match="got inf or NaN in channel 1"):
        layer(poisoned)
    assert layer.running_mean[1] == 0 and layer.running_var[1] == 1
    assert layer.running_mean[0] != 0 and layer.running_mean[2] != 0
    layer(X)
    assert np.isfinite(layer.eval()(X)).all()
    assert layer.nonfinite_batches.tolist() == [0, 1, 0]


# ---- B5: freezing ----


def test_b05_frozen_layers_stay_frozen_when_their_parent_trains(rng):
    """See pytorch#86590, pytorch#10856, ultralytics PR#8753."""
    norm = with_statistics(bn.BatchNorm1d(3), rng)
    model = nn.Sequential(nn.Linear(3, 3, rng=0), norm)
    expected, before = model.eval()(X), norm.state_dict()
    bn.freeze(model).train()
    np.testing.assert_array_equal(model(X), expected)
    model.backward(expected)
    assert same_state(norm.state_dict(), before)
    assert norm.weight.grad is None and model[0].weight.grad is not None


def test_b05_statistics_and_parameters_are_frozen_apart():
    """See pytorch#66073."""
    layer = bn.freeze(bn.BatchNorm1d(3), train_affine=True)
    layer.backward(layer(X))
    assert (layer.running_mean == 0).all() and layer.weight.grad is not None
    layer = bn.freeze(bn.BatchNorm1d(3), use_batch_stats=None, update_stats=None)
    layer.backward(layer(X))
    assert (layer.running_mean != 0).all() and layer.weight.grad is None


def test_b05_a_frozen_layer_keeps_its_eps():
    """See vision#2169, vision#2599, vision PR#2933, pytorch#43614."""
    layer = bn.freeze(bn.BatchNorm1d(3, eps=0.25))
    layer.running_var[...] = 0
    np.testing.assert_allclose(layer(X), X / 0.5)


def test_b05_trainable_false_is_inference_as_in_keras():
    """See pytorch#66073."""
    layer = bn.BatchNormalization(epsilon=0)
    layer.build((3,))
    layer.trainable = False
    np.testing.assert_array_equal(layer(X, training=True), X)
    assert (layer.moving_mean == 0).all()


# ---- B6: conventions ----


@pytest.mark.parametrize(
    ("framework", "momentum", "ddof"),
    [("torch", 0.3, 1), ("keras", 0.7, 0), ("flax", 0.7, 0), ("onnx", 0.7, 0), ("mxnet", 0.7, 0)],
)
def test_b06_momentum_and_running_variance_are_what_the_framework_means(framework, momentum, ddof):
    """See pytorch#1410, pytorch#77427, pytorch#60528, pytorch2keras#70, fastestimator PR#1201."""
    layer = bn.preset(framework, 3, momentum=momentum, axis=1, dtype="f8")
    layer(X)
    np.testing.assert_allclose(layer.running_mean, 0.3 * X.mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, 0.7 + 0.3 * X.var(0, ddof=ddof), rtol=1e-6)


def test_b06_a_repr_says_what_momentum_variance_and_eps_are():
    """See pytorch#1410, transformers PR#19454, nn-transfer PR#3."""
    words = "eps=1e-05, momentum=0.1 (new), running_var=unbiased"
    assert words in repr(bn.BatchNorm2d(3)) and words in repr(bn.preset("torch", 3))
    assert "momentum=0.99 (old), running_var=biased, epsilon=0.001" in repr(bn.BatchNormalization())


def test_b06_arrays_go_from_pytorchs_names_to_kerass_order(rng):
    """See nn-transfer PR#3, FastNN#11."""
    state = with_statistics(bn.BatchNorm1d(3), rng).state_dict()
    keras = bn.BatchNormalization(epsilon=1e-5)
    keras.build((3,))
    names = ("weight", "bias", "running_mean", "running_var")
    keras.set_weights([state[name] for name in names])
    torchs = bn.BatchNorm1d(3).load_state_dict(state)
    np.testing.assert_array_equal(keras.eval()(X), torchs.eval()(X))


def test_b06_mxnets_fixed_gamma_is_a_layer_without_weight():
    """See mxnet#15717."""
    layer = bn.preset("mxnet", 3, scale=False)
    assert list(layer.state_dict())[:2] == ["bias", "running_mean"]


# ---- B7: padding ----


@pytest.mark.parametrize("padding", [100.0, np.nan])
def test_b07_padding_reaches_no_statistic_and_no_gradient(padding, rng):
    """See pytorch#70529, pytorch#30414, tf#30161, deepspeech.pytorch#312, TTS#81."""
    x, dy = rng.standard_normal((2, 3, 6)), rng.standard_normal((2, 3, 6))
    x[0, :, 4:], dy[0, :, 4:] = padding, 0
    # The values that count are one sequence.
    real = np.concatenate([x[0, :, :4], x[1]], axis=1)[None]
    real_dy = np.concatenate([dy[0, :, :4], dy[1]], axis=1)[None]
    layer, plain = bn.BatchNorm1d(3, dtype="f8"), bn.BatchNorm1d(3, dtype="f8")
    y, expected = layer(x, lengths=[4, 6]), plain(real)
    dx, expected_dx = layer.backward(dy), plain.backward(real_dy)
    np.testing.assert_allclose(y[1], expected[0, :, 4:], rtol=1e-12)
    np.testing.assert_allclose(dx[0, :, :4], expected_dx[0, :, :4], atol=1e-12)
    assert (dx[0, :, 4:] == 0).all()
    np.testing.assert_allclose(layer.running_var, plain.running_var, rtol=1e-12)
    np.testing.assert_allclose(layer.weight.grad, plain.weight.grad, atol=1e-12)


def test_b07_a_mask_over_an_image_counts_exactly(rng):
    """See keras#19818, keras#19848."""
    x, mask = rng.standard_normal((2, 4, 5, 3)), rng.random((2, 4, 5)) < 0.2
    layer = bn.BatchNormalization(momentum=0.0, dtype="f8")
    layer(x, mask=mask)
    np.testing.assert_allclose(layer.moving_mean, x[mask].mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, x[mask].var(0), rtol=1e-12)


def test_b07_sample_weights_count_as_repetitions():
    """See pytorch#25910."""
    layer, plain = bn.BatchNorm1d(3, dtype="f8"), bn.BatchNorm1d(3, dtype="f8")
    layer(X[:3], sample_weight=[2, 0, 5])
    plain(np.repeat(X[:3], [2, 0, 5], axis=0))
    np.testing.assert_allclose(layer.running_var, plain.running_var, rtol=1e-6)


# ---- B8: cliffs of speed (the speed itself is measured by bench/) ----


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4, 1, 300, 300), 1), ((4, 300, 300, 1), 3), ((4, 3, 300, 300), 1), ((200000, 3), 1)],
)
def test_b08_few_channels_are_work_for_many_threads(shape, axis):
    """See pytorch#46234, pytorch#48919, pytorch PR#57033, mxnet#10095."""
    assert bncore.chunks(np.zeros(shape, np.float32), axis) >= 6


def test_b08_one_kernel_serves_all_ranks(rng):
    """See onnxruntime#25599, pytorch#60620, tf#12419."""
    x = rng.standard_normal((50, 7, 24)).astype(np.float32)
    expected = bn.normalize_batch(x)[0].tobytes()
    for shape in ((50, 7, 24, 1), (50, 7, 4, 6), (50, 7, 2, 3, 4)):
        assert bn.normalize_batch(x.reshape(shape))[0].tobytes() == expected


# ---- B9: channels on any axis ----


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_b09_channels_may_be_on_any_axis(axis, rng):
    """See Flux#1664, pytorch#74935, Paddle PR#27875, apex#194."""
    x = rng.standard_normal((4, 5, 6, 7))
    layer = with_statistics(bn.preset("torch", x.shape[axis], axis=axis, dtype="f8"), rng)
    expected = reference.forward(x, layer.weight.data, layer.bias.data, axis=axis)
    np.testing.assert_allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), [((8, 40, 40, 16), 3), ((16, 8, 40, 40), 0)])
def test_b09_no_axis_needs_a_hidden_copy(shape, axis):
    """See mxnet#10095, Flux#1664."""
    x = np.ones(shape, np.float32)
    tracemalloc.start()
    bn.normalize_batch(x, axis=axis, out=x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 10


# ---- B10: statistics updated twice ----


def test_b10_a_second_forward_pass_need_not_update_the_statistics():
    """See pytorch#96136, pytorch#62471, fairscale#1035, ppe PR#117, unbiased-teacher#47."""
    layer = bn.BatchNorm1d(3)
    y, before = layer(X), layer.state_dict()
    with bn.no_stat_update():
        np.testing.assert_array_equal(layer(X), y)
    assert same_state(layer.state_dict(), before)


def test_b10_the_pure_functions_update_nothing_until_commit():
    """See YOLO-Master#262, insightface#2053."""
    mean, var = ZERO.copy(), ONE.copy()
    _, batch = bn.normalize_batch(X)
    assert not mean.any()
    bn.commit(batch, mean, var)
    np.testing.assert_allclose(mean, 0.1 * X.mean(0), rtol=1e-6)


def test_b10_the_last_batch_is_taken_back():
    """See Samudra#572."""
    layer = bn.BatchNorm1d(3)
    layer(X)
    before = layer.state_dict()
    layer(5 * X)
    assert not same_state(layer.state_dict(), before)
    assert same_state(layer.rollback().state_dict(), before)


# ---- B11: micro-batches ----


def test_b11_micro_batches_equal_the_whole_batch(rng):
    """See giotto-deep#75, DeepLearningExamples#625, runai#14."""
    dy = rng.standard_normal(X.shape).astype(np.float32)
    whole, layer = (bn.BatchNorm1d(3) for _ in range(2))
    cuts = [slice(0, 1), slice(1, 30), slice(30, 40)]
    steps = bn.accumulate(layer)
    for cut in cuts:
        steps.add(X[cut])
    y = np.concatenate([steps.normalize(X[cut]) for cut in cuts])
    np.testing.assert_allclose(y, whole(X), rtol=1e-6, atol=1e-7)
    for cut in cuts:
        steps.reduce(dy[cut], X[cut])
    dx = np.concatenate([steps.apply(dy[cut], X[cut]) for cut in cuts])
    np.testing.assert_allclose(dx, whole.backward(dy), rtol=1e-6, atol=1e-7)
    atol = SUMS["random"] * len(X) ** 0.5
    np.testing.assert_allclose(layer.weight.grad, whole.weight.grad, rtol=1e-6, atol=atol)
    np.testing.assert_allclose(layer.running_var, whole.running_var, rtol=1e-6)
    assert layer.num_batches_tracked == 1


def test_b11_ghost_batches_may_leave_a_remainder_and_are_off_in_eval_mode():
    """See tabnet#243, tf#23050, keras#15790."""
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(3), virtual_batch_size=16)
    y = ghost(X)  # the ghost batches have 16, 16 and 8 samples
    np.testing.assert_array_equal(y[32:], bn.BatchNorm1d(3)(X[32:]))
    np.testing.assert_array_equal(ghost.eval()(X), ghost.layer.eval()(X))


# ---- B12: results that depend on threads ----


@pytest.mark.parametrize(("shape", "axis"), [((4, 3, 200, 200), 1), ((4, 200, 200, 3), 3)])
def test_b12_the_number_of_threads_changes_no_bit(shape, axis, rng):
    """See pytorch#88718, pytorch#2201, pytorch#53691, TileOPs PR#1728."""
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    found = set()
    for threads in (1, 2, 3, 7):
        with bn.threads(threads):
            y, batch = bn.normalize_batch(x, axis=axis)
            dx, sums = bn.backward_batch(dy, x, batch, axis=axis)
        results = [y, batch.mean, batch.m2, dx, sums.dy, sums.dy_xmu]
        found.add(b"".join(array.tobytes() for array in results))
    assert len(found) == 1


# ---- B13: threads where they do harm ----

THREADS = """
import os
import numpy as np
import bn
bn.set_num_threads(3)
before = len(os.listdir("/proc/self/task"))
for size in (4, 100):
    bn.normalize_batch(np.ones((8, 16, size, size), np.float32))
    print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.skipif(not bn.show_config()["openmp"], reason="built without OpenMP")
def test_b13_a_tiny_tensor_starts_no_thread():
    """See pytorch#75147, pytorch PR#26963, colibri PR#806, scikit-learn#14265."""
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "2"]


# ---- B14: half precision, mixed dtypes ----


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_b14_16_bit_inputs_have_float32_parameters_and_statistics(dtype, rng):
    """See pytorch#70901, pytorch PR#126525, apex#133, OneTrainer#655, tinygrad PR#7025."""
    x = (1000 * rng.standard_normal((200, 3))).astype(dtype)  # the squares are beyond float16
    layer = bn.BatchNorm1d(3, momentum=1.0)
    y = layer(x)
    assert y.dtype == layer.backward(y).dtype == layer.eval()(x).dtype == dtype
    np.testing.assert_allclose(layer.running_var, x.astype(float).var(0, ddof=1), rtol=1e-6)


def test_b14_float64_inputs_may_have_float32_parameters(rng):
    """See pytorch#2535."""
    layer, x = bn.BatchNorm1d(3), rng.standard_normal((40, 3))
    y = layer(x)
    assert y.dtype == np.float64 and layer.weight.dtype == np.float32
    np.testing.assert_allclose(y, reference.forward(x, ONE, ZERO), atol=1e-12)


def test_b14_integers_are_told_what_is_expected():
    """See pytorch#2535."""
    with pytest.raises(TypeError, match=r"x of BatchNorm1d must be float16, .*, got int64"):
        bn.BatchNorm1d(3)(X.astype(np.int64))


# ---- B15: memory ----


def test_b15_outputs_may_replace_inputs_forward_and_backward(rng):
    """See pytorch#26288, pytorch#92884, mxnet#9115."""
    x, dy = X.copy(), rng.standard_normal(X.shape).astype(np.float32)
    y, batch = bn.normalize_batch(x)
    dx, _ = bn.backward_batch(dy, x, batch)
    assert bn.backward_batch(dy, x, batch, out=dy)[0] is dy
    assert bn.normalize_batch(x, out=x)[0] is x
    np.testing.assert_array_equal(dy, dx)
    np.testing.assert_array_equal(x, y)


def test_b15_between_forward_and_backward_a_layer_keeps_x_and_a_few_numbers(rng):
    """See pytorch#26288, darknet#3755, OREPA#8."""
    x = rng.standard_normal((16, 3, 32, 32)).astype(np.float32)
    layer = bn.BatchNorm2d(3)
    layer(x)
    assert len(pickle.dumps(layer)) < x.nbytes + 5000


def test_b15_relu_needs_no_mask_but_y(rng):
    """See pytorch#92884."""
    dy, residual = (rng.standard_normal(X.shape).astype(np.float32) for _ in range(2))
    y, batch = bn.normalize_batch(X, residual=residual, activation="relu")
    dx, _ = bn.backward_batch(dy, X, batch, y=y, activation="relu")
    expected, _ = bn.backward_batch(dy * (y > 0), X, batch)
    np.testing.assert_array_equal(dx, expected)


# ---- B16: strides ----


@pytest.mark.parametrize("channels", [1, 3, 65, 251, 322])
@pytest.mark.parametrize("memory", MEMORY)
def test_b16_strides_change_no_value(memory, channels, rng):
    """See pytorch#63224, dl4j#8597, dl4j#7261, apex#1768."""
    x, dy = (rng.standard_normal((4, channels, 3, 5)).astype(np.float32) for _ in range(2))
    layer, plain = (bn.BatchNorm2d(channels, affine=False) for _ in range(2))
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(layer(memory(x)), plain(x), **tolerance)
    np.testing.assert_allclose(layer.backward(memory(dy)), plain.backward(dy), **tolerance)
    np.testing.assert_allclose(layer.running_var, plain.running_var, rtol=1e-6)


def test_b16_the_output_keeps_the_order_of_axes_in_memory():
    """See pytorch#192668."""
    x = np.ones((2, 5, 6, 3), np.float32).transpose(0, 3, 1, 2)
    layer = bn.BatchNorm2d(3)
    y = layer(x)
    assert y.strides == layer.backward(y).strides == x.strides


# ---- B17: more than 2³¹ elements ----


def test_b17_more_than_two_to_the_31_elements_of_a_channel_are_added_up():
    """See mxnet#19065, tf#23107, pytorch#105458, rocm-libraries PR#10259."""
    values = np.tile(np.array([1, 3], np.float32), 2**20 + 512)
    # The rows overlap, so it takes few bytes.
    x = np.lib.stride_tricks.sliding_window_view(values, 1024)[:, None]
    batch = bn.stats(x)
    assert batch.count[0] == x.size > 2**31
    assert (batch.mean[0], batch.var[0]) == (2, 1)
    sums = bn.backward_reduce(x, x, batch.mean)
    assert (sums.dbias[0], sums.dy_xmu[0]) == (2 * x.size, x.size)


# ---- B18: empty batches ----


def test_b18_an_empty_batch_comes_back_empty_and_changes_nothing():
    """See pytorch#12013, pytorch#36530, pytorch#120803, detectron2#366, Paddle PR#34107."""
    layer = bn.BatchNorm2d(3)
    before, x = layer.state_dict(), np.empty((0, 3, 4, 4), np.float32)
    y = layer(x)
    assert y.shape == layer.backward(y).shape == x.shape
    assert same_state(layer.state_dict(), before)
    assert not layer.weight.grad.any() and not layer.bias.grad.any()


# ---- B19: uneven ranks ----


def test_b19_uneven_and_empty_ranks_merge_to_the_whole_batch(rng):
    """See pytorch#36382, pytorch#36530; the statistics travel by pickle, as any transport may."""
    x, dy = rng.standard_normal((40, 3)), rng.standard_normal((40, 3))
    ranks = [slice(0, 1), slice(1, 1), slice(1, 9), slice(9, 40)]

    def merged(parts):
        return bn.merge(pickle.loads(pickle.dumps(part)) for part in parts)

    whole, dx = bn.stats(x), bn.backward_batch(dy, x, bn.stats(x))[0]
    batch = merged(bn.stats(x[r]) for r in ranks)
    np.testing.assert_allclose(batch.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(batch.var, whole.var, rtol=1e-12)
    sums = merged(bn.backward_reduce(dy[r], x[r], batch.mean) for r in ranks)
    np.testing.assert_allclose(sums.dbias, dy.sum(0), rtol=1e-12)
    found = [bn.backward_apply(dy[r], x[r], batch.mean, batch.var, sums=sums) for r in ranks]
    np.testing.assert_allclose(np.concatenate(found), dx, atol=1e-12)


# ---- B20: the first batches ----


@pytest.mark.parametrize("start", ["debiased", "first", "cumulative"])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_b20_the_initial_0_and_1_have_no_share_in_the_running_statistics(framework, start):
    """See flax#1360, equinox#659, tf#2825, tf#6270, keras PR#9003."""
    layer = bn.preset(framework, 3, axis=1, start=start, dtype="f8")
    for _ in range(5):
        layer(X)
        np.testing.assert_allclose(layer.running_mean, X.mean(0), rtol=1e-6)
        ddof = int(framework == "torch")
        np.testing.assert_allclose(layer.running_var, X.var(0, ddof=ddof), rtol=1e-6)


# ---- B21: states ----


def test_b21_a_state_without_num_batches_tracked_loads(rng):
    """See pytorch#8430, pytorch#8481, pytorch#110361, inplace_abn#130."""
    state = with_statistics(bn.BatchNorm1d(3), rng).state_dict()
    del state["num_batches_tracked"]
    loaded = bn.BatchNorm1d(3).load_state_dict(state).state_dict()
    assert loaded["num_batches_tracked"] == 0
    assert all(np.array_equal(loaded[name], array) for name, array in state.items())


def test_b21_an_npz_file_and_a_plain_dict_are_states(tmp_path):
    """See pytorch#5881."""
    state = {"weight": [1, 2], "bias": [3, 4], "running_mean": [5, 6], "running_var": [7, 8]}
    np.savez(tmp_path / "state.npz", **state)
    from_dict = bn.BatchNorm1d(2).load_state_dict(state)
    from_file = nn.load(tmp_path / "state.npz", bn.BatchNorm1d(2))
    assert from_dict.running_var.tolist() == from_file.running_var.tolist() == [7, 8]
    assert from_dict.weight.dtype == np.float32


# ---- B22: folding ----


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["convolution", "groups", "linear"])
def test_b22_folding_keeps_the_outputs(kind, bias, affine, rng):
    """See yolov3#807 (bias), mmdetection#2924, pytorch PR#45474 (affine), tt-metal PR#5317."""
    if kind == "linear":
        layer, norm = nn.Linear(4, 6, bias=bias, rng=0), bn.BatchNorm1d(6, affine=affine)
    else:
        groups = 2 if kind == "groups" else 1
        layer = nn.Conv2d(4, 6, 3, groups=groups, bias=bias, rng=0)
        norm = bn.BatchNorm2d(6, affine=affine)
    if bias:
        layer.bias.data[...] = rng.standard_normal(6)
    model = nn.Sequential(layer, with_statistics(norm, rng)).eval()
    x = rng.standard_normal((2, 4) if kind == "linear" else (2, 4, 5, 5))
    folded = bn.fold(model)
    assert len(folded.model) == 1 and folded.error < 1e-12
    np.testing.assert_allclose(folded.model(x), model(x), rtol=1e-5, atol=1e-5)


def test_b22_what_cannot_be_folded_stays_and_says_why():
    """See pytorch#71259 (no running statistics), pytorch#118990."""
    norm = bn.BatchNorm1d(3, track_running_stats=False)
    result = bn.fold(nn.Sequential(nn.Linear(3, 3), norm).eval())
    assert result.kept == {"1": "it has no running statistics"} and len(result.model) == 2
    with pytest.warns(UserWarning, match="1 batch normalization was kept .* in training mode"):
        result = bn.fold(nn.Sequential(nn.Linear(3, 3), bn.BatchNorm1d(3)))
    assert result.kept == {"1": "it is in training mode: call eval() first"}


def test_b22_a_transposed_convolution_has_its_channels_on_axis_1(rng):
    """See tt-metal PR#5317."""
    weight, mean, var = rng.standard_normal((2, 3, 4, 4)), rng.random(3), rng.random(3)
    found, bias = bn.fold_arrays(weight, None, mean, var, axis=1)
    scale = 1 / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(found, weight * scale[:, None, None], rtol=1e-12)
    np.testing.assert_allclose(bias, -mean * scale, rtol=1e-12)


# ---- B23: gradients of gradients ----


def test_b23_the_gradient_of_a_gradient_penalty_is_exact(rng):
    """See pytorch#4422, pytorch#2264, NNlib PR#757."""
    x, dy, weight = rng.standard_normal((6, 3)), rng.standard_normal((6, 3)), rng.random(3) + 0.5

    def gradient():
        return bn.backward_batch(dy, x, bn.stats(x), weight)[0]

    def penalty():
        return np.sum(gradient() ** 2) / 2

    batch = bn.stats(x)
    found = bn.batch_norm_double_backward(
        gradient(), None, None, dy, x, batch.mean, batch.var, weight
    )
    for array, of_penalty in zip((dy, x, weight), found, strict=True):
        expected = central_differences(penalty, array).reshape(array.shape)
        np.testing.assert_allclose(of_penalty, expected, rtol=1e-6, atol=1e-7)


# ---- B24: another domain ----


def test_b24_statistics_of_another_domain_are_taken_by_channel_and_put_back(rng):
    """See adabn-pytorch#1 (channels added up), cotta#17, Dassl#53, adamatch#1."""
    model = nn.Sequential(nn.ReLU(), with_statistics(bn.BatchNorm1d(3, dtype="f8"), rng)).eval()
    target = abs(rng.standard_normal((100, 3))) * [1, 10, 100]
    source = model.state_dict()
    bn.recalibrate(model, np.split(target, 4))
    np.testing.assert_allclose(model[1].running_mean, target.mean(0), rtol=1e-12)
    np.testing.assert_array_equal(model[1].weight.data, source["1.weight"])
    model.load_state_dict(source)
    np.testing.assert_array_equal(model[1].running_mean, source["1.running_mean"])
