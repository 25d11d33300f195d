"""What wrappers and tools use of a layer: its steps, `combine`, `watching`, its `RunningStats`."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bn
from bn import nn

X = np.random.default_rng(3).normal([0, 5, -2], 1, (24, 3))
DY = np.random.default_rng(4).standard_normal((24, 3))
PARTS = (X[:10], X[10:11], X[11:])


# ---- the steps ----

LAYERS = {
    "torch": lambda: bn.BatchNorm1d(3, dtype="f8"),
    "keras": lambda: bn.BatchNormalization(dtype="f8"),
    "renorm": lambda: bn.BatchNormalization(renorm=True, dtype="f8"),
    "darknet": lambda: bn.preset("darknet", 3, axis=1, dtype="f8"),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_steps_one_by_one_are_the_forward_and_the_backward_pass(make):
    layer, by_steps = make(), make()
    y, dx = layer(X), layer.backward(DY)

    axis = by_steps.prepare(X)
    by_steps.build_channels(X.shape[axis])
    batch = by_steps.statistics(X, axis)
    y_steps = by_steps.apply(X, batch, axis, by_steps.correction(batch))
    fused, call = by_steps.normalize(X, axis)
    by_steps.observe(batch)
    dx_steps, sums = by_steps.gradient(DY, call)
    by_steps.add_gradients(*by_steps.affine_gradients(call, sums))

    np.testing.assert_array_equal(y_steps, y)
    np.testing.assert_array_equal(fused, y)
    np.testing.assert_array_equal(dx_steps, dx)
    for (name, array), (_, expected) in zip(
        by_steps.named_state(), layer.named_state(), strict=True
    ):
        np.testing.assert_array_equal(array, expected, err_msg=name)
    np.testing.assert_array_equal(by_steps.weight.grad, layer.weight.grad)
    np.testing.assert_array_equal(by_steps.bias.grad, layer.bias.grad)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_that_has_run_can_be_copied_and_pickled(make):
    layer = make()
    layer(X)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(X), layer(X))
        np.testing.assert_array_equal(twin.running_var, layer.running_var)
        layer.rollback()
        twin.rollback()
        np.testing.assert_array_equal(twin.running_var, layer.running_var)


# ---- combine ----


class Together:
    """Merges what a part of a batch has with what the others, in other processes, would send."""

    def __init__(self, others):
        self.others = others

    def __call__(self, part):
        kind = bn.Stats if isinstance(part, bn.Stats) else bn.BackwardSums
        return bn.merge([part, *(other for other in self.others if isinstance(other, kind))])


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("part", [slice(0, 10), slice(10, 11), slice(11, 24), slice(24, 24)])
def test_a_part_of_a_batch_is_normalized_with_the_statistics_of_all(make, part):
    whole, layer = make(), make()
    y, dx = whole(X), whole.backward(DY)
    rest = np.delete(np.arange(24), part)
    others = [bn.stats(X[rest]), bn.backward_reduce(DY[rest], X[rest], bn.stats(X).mean)]
    layer.combine = Together(others)

    np.testing.assert_allclose(layer(X[part]), y[part], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.backward(DY[part]), dx[part], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.running_mean, whole.running_mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, whole.running_var, rtol=1e-12)
    # weight and bias get what this part contributes
    np.testing.assert_allclose(layer.bias.grad, DY[part].sum(0), rtol=1e-12, atol=1e-14)


def test_one_value_in_all_parts_together_is_too_few():
    layer = bn.BatchNorm1d(3)
    layer.combine = Together([])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(X[:1])


def test_without_combine_or_with_one_that_returns_its_argument_the_results_are_the_same():
    layer, alone = bn.BatchNorm1d(3), bn.BatchNorm1d(3)
    layer.combine = lambda part: part
    np.testing.assert_array_equal(layer(X), alone(X))
    np.testing.assert_array_equal(layer.backward(DY), alone.backward(DY))
    np.testing.assert_array_equal(layer.weight.grad, alone.weight.grad)


def test_accumulation_combines_what_its_chunks_add_up_to():
    other, dother = X[:8] + 1, DY[:8] - 1
    whole = bn.BatchNorm1d(3, dtype="f8")
    everything = np.concatenate([X, other])
    y, dx = whole(everything)[:24], whole.backward(np.concatenate([DY, dother]))[:24]
    layer = bn.BatchNorm1d(3, dtype="f8")
    sums = bn.backward_reduce(dother, other, bn.stats(everything).mean)
    layer.combine = Together([bn.stats(other), sums])
    steps = bn.accumulate(layer)
    for part in PARTS:
        steps.add(part)
    np.testing.assert_allclose(np.concatenate([steps.normalize(p) for p in PARTS]), y, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, whole.running_var, rtol=1e-12)
    pairs = [(DY[:10], X[:10]), (DY[10:11], X[10:11]), (DY[11:], X[11:])]
    for pair in pairs:
        steps.reduce(*pair)
    found = np.concatenate([steps.apply(*pair) for pair in pairs])
    np.testing.assert_allclose(found, dx, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, DY.sum(0), rtol=1e-12)


def test_combine_is_a_function_and_no_part_of_a_ghost_batch():
    layer = bn.BatchNorm1d(3)
    with pytest.raises(TypeError, match="combine must be callable, got int"):
        layer.combine = 7
    layer.combine = lambda part: part
    with pytest.raises(ValueError, match="GhostBatchNorm must get a layer without combine"):
        bn.GhostBatchNorm(layer, 8)(X)


def test_weights_that_add_up_to_1_may_be_combined():
    layer = bn.BatchNorm1d(3)
    layer.combine = lambda part: part
    weights = np.full(24, 1 / 24)
    np.testing.assert_allclose(layer(X, sample_weight=weights), bn.BatchNorm1d(3)(X), atol=1e-6)


# ---- watching ----


def model():
    return nn.Sequential(
        bn.BatchNorm1d(3, dtype="f8"), nn.ReLU(), nn.Residual(nn.Sequential(bn.BatchNorm1d(3)))
    )


@pytest.mark.parametrize("training", [True, False])
def test_watching_tells_path_layer_input_output_and_statistics(training):
    net, seen = model().train(training), []
    with bn.watching(net, lambda *args: seen.append(args)):
        net(X)
    net(X)
    (path, layer, x, y, batch), (second_path, second, second_x, _, _) = seen
    assert (path, second_path) == ("0", "2.body.0")
    assert layer is net[0] and second is net[2].body[0]
    assert x is X
    np.testing.assert_array_equal(batch.mean, bn.stats(X).mean)
    np.testing.assert_array_equal(np.maximum(y, 0), second_x)
    assert layer.num_batches_tracked == 2 * training


def test_watching_gets_the_statistics_of_what_a_mask_leaves():
    layer, seen = bn.BatchNorm1d(3, dtype="f8"), []
    poisoned = np.where(np.arange(24)[:, None] < 4, np.nan, X)
    for mode in (True, False):
        layer.train(mode)
        with bn.watching(layer, lambda *args: seen.append(args)):
            layer(poisoned, mask=np.arange(24) >= 4)
    for path, _, x, _, batch in seen:
        assert path == "BatchNorm1d"
        assert (x[:4] == 0).all()
        np.testing.assert_allclose(batch.mean, X[4:].mean(0))


def test_blocks_of_watching_nest_and_end():
    layer, outer, inner = bn.BatchNorm1d(3), [], []
    with bn.watching(layer, lambda *args: outer.append(args)):
        with bn.watching(nn.Sequential(layer), lambda *args: inner.append(args)):
            layer(X)
        layer(X)
    layer(X)
    assert (len(outer), len(inner)) == (2, 1)
    assert inner[0][0] == "0"


def test_an_error_of_the_callback_leaves_a_layer_alone_as_it_was():
    layer = bn.BatchNorm1d(3)

    def refuse(*args):
        raise RuntimeError("no")

    with bn.watching(layer, refuse), pytest.raises(RuntimeError, match="no"):
        layer(X)
    assert layer.num_batches_tracked == 0 and (layer.running_mean == 0).all()


def test_watching_begins_when_its_block_does():
    layer, calls = bn.BatchNorm1d(3), []
    early = [bn.watching(layer, lambda *args, name=name: calls.append(name)) for name in "ab"]
    with early[0], early[1]:
        layer(X)
    with early[1]:
        layer(X)
    layer(X)
    assert calls == ["a", "b", "b"]


def test_watching_in_eval_mode_does_not_combine():
    layer, seen = bn.BatchNorm1d(3, dtype="f8").eval(), []
    layer.combine = lambda part: pytest.fail("nobody else would take part")
    with bn.watching(layer, lambda *args: seen.append(args[-1])):
        layer(X[:1])
    np.testing.assert_array_equal(seen[0].count, [1, 1, 1])


def test_the_chunks_of_an_accumulation_are_watched():
    layer, seen = bn.BatchNorm1d(3, dtype="f8"), []
    steps = bn.accumulate(layer)
    with bn.watching(layer, lambda *args: seen.append(args[-1])):
        for part in PARTS:
            steps.add(part)
        for part in PARTS:
            steps.normalize(part)
    np.testing.assert_allclose(bn.merge(seen).mean, X.mean(0))


def test_an_error_of_the_callback_leaves_the_layers_as_they_were():
    net = model()

    def refuse(path, layer, x, y, batch):
        if path != "0":
            raise RuntimeError("no")

    with bn.watching(net, refuse), pytest.raises(RuntimeError, match="no"):
        net(X)
    assert net[0].num_batches_tracked == 0 and (net[0].running_mean == 0).all()
    with pytest.raises(TypeError, match="callback must be callable, got str"):
        bn.watching(net, "print")


def test_a_ghost_batch_is_watched_as_a_whole():
    ghost, seen = bn.GhostBatchNorm(bn.BatchNorm1d(3, dtype="f8"), 8), []
    with bn.watching(ghost, lambda *args: seen.append(args)):
        ghost(X)
    ((path, layer, _, _, batch),) = seen
    assert (path, layer) == ("layer", ghost.layer)
    np.testing.assert_allclose(batch.mean, X.mean(0))


# ---- running statistics alone ----


@pytest.mark.parametrize("start", ["plain", "debiased", "first", "cumulative"])
def test_running_statistics_alone_are_those_of_a_layer(start):
    layer = bn.preset("torch", 3, start=start, dtype="f8")
    running = bn.RunningStats(3, start=start, dtype="f8")
    for part in (X[:10], X[10:]):
        layer(part)
        assert running.update(bn.stats(part)) is None
    np.testing.assert_array_equal(running.mean, layer.running_mean)
    np.testing.assert_array_equal(running.var, layer.running_var)
    assert running.count == 2
    running.rollback()
    layer.rollback()
    np.testing.assert_array_equal(running.var, layer.running_var)
    assert running.reset().count == 0 and (running.var == 1).all()


def test_running_statistics_say_what_was_not_finite():
    running = bn.RunningStats(3)
    x = X.copy()
    x[0, 1] = np.nan
    with pytest.warns(bn.NonFiniteWarning, match=r"^RunningStats\(3, momentum=0.1 \(new\)"):
        bad = running.update(bn.stats(x))
    np.testing.assert_array_equal(bad, [False, True, False])
    np.testing.assert_array_equal(running.nonfinite_batches, [0, 1, 0])


def test_missed_batches_are_forgotten_when_a_count_is_loaded_or_statistics_begin_anew():
    x = X.copy()
    x[0, 1] = np.inf
    for begin in (
        lambda layer: layer.load_state_dict(bn.preset("torch", 3).state_dict()),
        lambda layer: layer.reset_running_stats(),
    ):
        layer = bn.preset("torch", 3, start="cumulative")
        with pytest.warns(bn.NonFiniteWarning):
            layer(x)
        layer(x)
        begin(layer)
        layer(X)
        np.testing.assert_allclose(layer.running_mean, X.mean(0), rtol=1e-5)


WRONG_ARRAYS = {
    "0 axes": (np.zeros((), "f4"), r"running_mean must have shape \(3,\), got \(\)"),
    "length 1": (np.zeros(1, "f4"), r"running_mean must have shape \(3,\), got \(1,\)"),
    "float16": (np.zeros(3, "f2"), "running_mean must be float32 or float64, got float16"),
    "swapped": (np.zeros(3, ">f4"), "running_mean must be float32 or float64, got >f4"),
    "read-only": (np.broadcast_to(np.float32(0), 3), "running_mean must be writeable"),
    "a list": ([0, 0, 0], "running_mean must be a numpy array, got list"),
}


@pytest.mark.parametrize(("mean", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_running_statistics_that_cannot_take_a_batch_are_refused(mean, message):
    layer, running = bn.BatchNorm1d(3), bn.RunningStats(3)
    layer.running_mean = running.mean = mean
    for use in (lambda: layer(X), lambda: running.update(bn.stats(X))):
        with pytest.raises((TypeError, ValueError), match=message):
            use()
    assert layer.num_batches_tracked == running.count == 0


def test_a_batch_must_be_statistics_of_as_many_channels():
    running = bn.RunningStats(3)
    with pytest.raises(ValueError, match=r"running_mean must have shape \(2,\), got \(3,\)"):
        running.update(bn.stats(X[:, :2]))
    with pytest.raises(TypeError, match="batch must be of type Stats, got ndarray"):
        running.update(X)
    with pytest.raises(RuntimeError, match="running statistics must be built before a batch"):
        bn.RunningStats().update(bn.stats(X))
    assert bn.RunningStats().reset().mean is None


def test_the_arguments_of_running_statistics_are_checked():
    for error, message, arguments in (
        (ValueError, "momentum must be between 0 and 1, got 2", {"momentum": 2}),
        (ValueError, "start must be one of plain", {"start": "warm"}),
        (ValueError, "channels must be a positive integer, got 0", {"channels": 0}),
        (TypeError, "dtype must be float32 or float64, got int64", {"dtype": int}),
        (TypeError, "convention must be of type Convention, got str", {"convention": "keras"}),
    ):
        with pytest.raises(error, match=message):
            bn.RunningStats(**arguments)


# ---- copies, other threads, layers used twice ----


def test_a_shallow_copy_has_knobs_of_its_own():
    layer = bn.BatchNorm1d(3)
    twin = copy.copy(layer)
    twin.momentum, twin.start = 0.5, "first"
    twin.running_mean = np.ones(3, "f4")
    assert (layer.momentum, layer.start) == (0.1, "plain")
    assert (layer.running_mean == 0).all()


def test_renormalization_follows_a_new_epsilon():
    layer, made_so = (
        bn.BatchNormalization(renorm=True, epsilon=e, dtype="f8") for e in (1e-3, 0.5)
    )
    layer.eps = 0.5
    np.testing.assert_array_equal(layer(X), made_so(X))
    np.testing.assert_array_equal(layer.running_var, made_so.running_var)


def test_a_layer_used_twice_is_as_before_when_the_forward_pass_fails():
    layer = bn.BatchNorm1d(3)
    net = nn.Sequential(layer, layer, nn.Linear(7, 2, rng=0))
    with pytest.raises(ValueError, match="Linear takes 7 features"):
        net(X.astype("f4"))
    assert layer.num_batches_tracked == 0 and (layer.running_mean == 0).all()


def test_a_loaded_model_keeps_its_last_batch_when_a_call_fails():
    net = nn.Sequential(nn.ReLU(), bn.BatchNorm1d(3))
    net(X)
    loaded = pickle.loads(pickle.dumps(net))
    with pytest.raises(ValueError, match="BatchNorm1d takes 3 channels"):
        loaded(X[:, :2])
    np.testing.assert_array_equal(loaded[1].running_mean, net[1].running_mean)
    assert loaded[1].num_batches_tracked == 1


def test_an_assigned_running_mean_ends_the_way_back():
    layer = bn.BatchNorm1d(3)
    layer(X)
    var = layer.running_var.copy()
    layer.running_mean = np.zeros(3, "f4")
    layer.rollback()
    np.testing.assert_array_equal(layer.running_var, var)


def test_without_running_arrays_there_is_no_way_back_and_no_error():
    layer = bn.BatchNorm1d(3)
    layer(X)
    layer.running_mean = layer.running_var = None
    assert layer.rollback() is layer


def test_running_arrays_may_be_assigned_to_a_layer_that_had_none():
    layer, expected = bn.BatchNorm1d(3, track_running_stats=False), bn.BatchNorm1d(3)
    layer.track_running_stats = True
    layer.running_mean, layer.running_var = np.zeros(3, "f4"), np.ones(3, "f4")
    layer(X)
    expected(X)
    np.testing.assert_array_equal(layer.running_mean, expected.running_mean)
    np.testing.assert_array_equal(layer.nonfinite_batches, [0, 0, 0])
    layer.rollback()
    assert (layer.running_mean == 0).all()


def test_a_function_that_updates_no_statistics_may_run_in_several_threads():
    inside, leave = threading.Event(), threading.Event()

    @bn.no_stat_update()
    def look(wait):
        if wait:
            inside.set()
            assert leave.wait(10)

    thread = threading.Thread(target=look, args=(True,))
    thread.start()
    assert inside.wait(10)
    look(False)
    leave.set()
    thread.join()
    layer = bn.BatchNorm1d(3)
    layer(X)
    assert layer.num_batches_tracked == 1


def test_recalibration_in_threads_that_it_does_not_see_changes_nothing_and_says_so():
    class Elsewhere(nn.Sequential):
        def forward(self, x):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(self[0], x).result()

        def backward(self, dy):
            return self[0].backward(dy)

    net = Elsewhere(bn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="recalibrate must see one of 1 layers run, got none"):
        bn.recalibrate(net, [X])
    assert (net[0].running_mean == 0).all() and net[0].num_batches_tracked == 0


def test_a_layer_that_normalizes_with_running_statistics_learns_no_new_ones():
    layer = bn.BatchNorm1d(3)
    layer.use_batch_stats = False
    layer(X)
    assert layer.num_batches_tracked == 0 and (layer.running_mean == 0).all()
