"""Layers whose batch is that of several ranks, which are threads here: see also `test_mpi`."""

import copy
import multiprocessing
import pickle
import time

import ml_dtypes
import numpy as np
import pytest
from communicators import Board as OneBoard
from communicators import Threads, Unreliable, in_process, on_threads, pipes_between

import bn
from bn import nn
from bn.distributed import report_failure

X = np.random.default_rng(3).normal([0, 5, -2], 1, (24, 3))
DY = np.random.default_rng(4).standard_normal((24, 3))
LAYERS = {
    "torch": lambda: bn.BatchNorm1d(3, dtype="f8"),
    "keras": lambda: bn.BatchNormalization(dtype="f8"),
    "renorm": lambda: bn.BatchNormalization(renorm=True, dtype="f8"),
    "darknet": lambda: bn.preset("darknet", 3, axis=1, dtype="f8"),
    "without running statistics": lambda: bn.BatchNorm1d(3, track_running_stats=False, dtype="f8"),
}
CUTS = {"even": [8, 16], "uneven": [1, 20], "first empty": [0, 9], "two empty": [24, 24]}


def results(size, function):
    """Return what function(comm) returns on each rank; raise the exception of one that failed."""
    found = on_threads(size, function)
    failed = [each for each in found if isinstance(each, Exception)]
    if failed:
        raise min(failed, key=lambda error: isinstance(error, bn.SyncError))
    return found


def passes(layer, x, dy, **options):
    """Return y, dx and the running statistics of one step."""
    y = layer(x, **options)
    return y, layer.backward(dy), layer.running_mean, layer.running_var


def errors(size, function):
    """Return the messages of the exceptions on each rank."""
    return [f"{type(error).__name__}: {error}" for error in on_threads(size, function)]


# ---- the results are those of one process ----


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_each_rank_has_its_part_of_what_one_process_computes(make, cuts):
    xs, dys = np.split(X, cuts), np.split(DY, cuts)
    alone = make()
    first = passes(alone, X, DY)
    second = passes(alone, X + 1, DY)

    def run(comm):
        layer = bn.synchronize(make(), comm)
        x, dy = xs[comm.rank], dys[comm.rank]
        return passes(layer, x, dy), passes(layer, x + 1, dy), layer.parameters()

    found = results(3, run)
    for step, expected in enumerate((first, second)):
        y, dx = (np.concatenate([each[step][i] for each in found]) for i in (0, 1))
        np.testing.assert_allclose(y, expected[0], rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(dx, expected[1], rtol=1e-11, atol=1e-11)
        for each in found:
            for statistic, own in zip(each[step][2:], expected[2:], strict=True):
                if own is not None:
                    np.testing.assert_allclose(statistic, own, rtol=1e-11, atol=1e-12)
    for parameters in zip(alone.parameters(), *(each[2] for each in found), strict=True):
        whole, *parts = [parameter.grad for parameter in parameters]
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_any_parts_with_masks_and_weights_are_one_batch(size):
    rng = np.random.default_rng(size)
    for case in range(15):
        n, channels = int(rng.integers(2, 30)), int(rng.choice([1, 3, 200]))
        x = rng.normal(rng.normal(0, 100, (channels, 1)), 1, (n, channels, 4))
        dy = rng.standard_normal(x.shape)
        cuts = np.sort(rng.integers(0, n + 1, size - 1))
        options = {}
        if case % 3 == 1:
            options["mask"] = rng.random((n, 1, 4)) < 0.7
            options["mask"][0] = True
        if case % 3 == 2:
            options["sample_weight"] = rng.random(n) + 0.5
        whole = passes(bn.BatchNorm1d(channels, dtype="f8"), x, dy, **options)

        def run(comm):
            layer = bn.synchronize(bn.BatchNorm1d(channels, dtype="f8"), comm)  # noqa: B023
            own = {name: np.split(value, cuts)[comm.rank] for name, value in options.items()}  # noqa: B023
            parts = np.split(x, cuts)[comm.rank], np.split(dy, cuts)[comm.rank]  # noqa: B023
            return passes(layer, *parts, **own)

        found = results(size, run)
        for i in (0, 1):
            together = np.concatenate([each[i] for each in found])
            np.testing.assert_allclose(together, whole[i], rtol=1e-11, atol=1e-11)
        for each in found:
            np.testing.assert_array_equal(each[2], found[0][2])
            np.testing.assert_array_equal(each[3], found[0][3])
            np.testing.assert_allclose(each[3], whole[3], rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=str)
def test_inputs_of_each_dtype_are_normalized_together(dtype):
    x, dy = X.astype(dtype), DY.astype(dtype)
    y, dx, *_ = passes(bn.BatchNorm1d(3), x, dy)

    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(3), comm)
        return passes(layer, np.split(x, [5])[comm.rank], np.split(dy, [5])[comm.rank])

    found = results(2, run)
    tolerance = 4 * float(ml_dtypes.finfo(dtype).eps)
    for i, whole in enumerate((y, dx)):
        together = np.concatenate([each[i] for each in found]).astype("f8")
        assert found[0][i].dtype == dtype
        np.testing.assert_allclose(together, whole.astype("f8"), rtol=tolerance, atol=tolerance)


def test_all_ranks_have_the_bits_of_merge():
    parts = [bn.stats(x) for x in np.split(X, [1, 20])]
    sums = [
        bn.backward_reduce(dy, x, parts[0].mean)
        for x, dy in zip(np.split(X, [1, 20]), np.split(DY, [1, 20]), strict=True)
    ]

    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(3), comm)
        return layer.combine(parts[comm.rank]), layer.combine(sums[comm.rank])

    batch, of_all = bn.merge(parts), bn.merge(sums)
    for found, found_sums in results(3, run):
        for name in ("count", "mean", "m2"):
            assert getattr(found, name).tobytes() == getattr(batch, name).tobytes()
        for name in ("dy", "dy_xmu"):
            assert getattr(found_sums, name).tobytes() == getattr(of_all, name).tobytes()


@pytest.mark.parametrize(
    ("channels", "forward", "backward"),
    [(169, [4096], [4096]), (170, [4096, 16], [4096]), (400, [4096, 5536], [4096, 2336])],
)
def test_what_is_sent_depends_on_the_channels_alone(channels, forward, backward):
    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(channels), comm)
        for n in (2, 50):
            passes(layer, *np.ones((2, n, channels), np.float32))
        return comm.lengths

    assert results(2, run) == [[*forward, *backward] * 2] * 2


@pytest.mark.filterwarnings("ignore::bn.NonFiniteWarning")
@pytest.mark.parametrize("nonfinite", ["skip", "raise", "propagate"])
def test_nan_on_one_rank_is_decided_alike_on_all(nonfinite):
    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(3), comm)
        layer.nonfinite = nonfinite
        x = X[:20].astype(np.float32)
        x[4, 1] = np.nan if comm.rank == 1 else 0
        try:
            layer(x)
        except ValueError as error:
            assert "channel 1" in str(error)
        return [*layer.state_dict().values(), layer.nonfinite_batches]

    one, other = results(2, run)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[-1].tolist() == ([0, 0, 0] if nonfinite == "raise" else [0, 1, 0])
    assert np.isnan(one[2]).any() == (nonfinite == "propagate")


def test_one_value_in_all_ranks_together_is_too_few_on_all():
    def run(comm):
        return bn.synchronize(bn.BatchNorm1d(3), comm)(X[: comm.rank])

    for message in errors(2, run):
        assert message.startswith("ValueError: Expected more than 1 value per channel")


def test_few_values_of_a_rank_are_no_reason_to_warn():
    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(3), comm)
        layer(X[:12], sample_weight=np.ones(12))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bn.layers.batch_norm.warn", lambda *_: pytest.fail("it warns"))
        results(2, run)


# ---- models ----


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, rng=0, dtype="f8"),
        bn.BatchNorm2d(4, dtype="f8"),
        nn.ReLU(),
        bn.FeatureAxes(bn.BatchNormalization(dtype="f8"), (1, 2)),
    )


def test_a_model_trains_on_ranks_of_which_one_has_no_samples():
    x = np.random.default_rng(0).standard_normal((6, 2, 4, 4))
    alone = network()
    y, dx = alone(x), alone.backward(np.cos(x.repeat(2, axis=1)))

    def run(comm):
        model = bn.synchronize(network(), comm, timeout=5)
        own = np.split(x, [6])[comm.rank]
        return model(own), model.backward(np.cos(own.repeat(2, axis=1))), model.state_dict()

    found = results(2, run)
    np.testing.assert_allclose(np.concatenate([each[0] for each in found]), y, atol=1e-11)
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), dx, atol=1e-11)
    for name, value in alone.state_dict().items():
        for each in found:
            np.testing.assert_allclose(each[2][name], value, rtol=1e-11, atol=1e-12)


def test_a_layer_that_is_used_twice_exchanges_twice():
    class Twice(bn.Module):
        def __init__(self):
            self.norm = bn.BatchNorm1d(3, dtype="f8")

        def forward(self, x):
            return self.norm(self.norm(x) + x)

    alone = Twice()
    y, dx = alone(X), alone.backward(DY)

    def run(comm):
        model = bn.synchronize(Twice(), comm)
        part = slice(0, 9) if comm.rank == 0 else slice(9, 24)
        return model(X[part]), model.backward(DY[part])

    found = results(2, run)
    np.testing.assert_allclose(np.concatenate([each[0] for each in found]), y, atol=1e-11)
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), dx, atol=1e-11)


def test_evaluation_and_frozen_layers_exchange_nothing():
    def run(comm):
        model = bn.synchronize(network().eval(), comm)
        x = np.ones((2 + comm.rank, 2, 4, 4))
        model(x)
        compiled = bn.compile(model, (2, 4, 4))
        with bn.synchronized(comm):
            np.testing.assert_allclose(compiled(x), model(x), atol=1e-12)
            passes(bn.freeze(bn.BatchNorm1d(3)), X, DY)
        return comm.lengths

    assert results(2, run) == [[], []]


def test_chunks_of_several_ranks_are_one_batch():
    whole = bn.BatchNorm1d(3, dtype="f8")
    y, dx = whole(X), whole.backward(DY)

    def run(comm):
        steps = bn.accumulate(bn.synchronize(bn.BatchNorm1d(3, dtype="f8"), comm))
        x, dy = np.split(X, [9])[comm.rank], np.split(DY, [9])[comm.rank]
        chunks = list(zip(np.split(dy, [4, 5]), np.split(x, [4, 5]), strict=True))
        for _, chunk in chunks:
            steps.add(chunk)
        ys = [steps.normalize(chunk) for _, chunk in chunks]
        for chunk in chunks:
            steps.reduce(*chunk)
        return np.concatenate(ys), np.concatenate([steps.apply(*chunk) for chunk in chunks])

    found = results(2, run)
    np.testing.assert_allclose(np.concatenate([each[0] for each in found]), y, atol=1e-11)
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), dx, atol=1e-11)


def test_recalibration_pools_the_batches_of_all_ranks():
    whole = bn.recalibrate(nn.Sequential(bn.BatchNorm1d(3, dtype="f8")), [X])[0]

    def run(comm):
        model = bn.synchronize(nn.Sequential(bn.BatchNorm1d(3, dtype="f8")), comm)
        own = np.split(X, [5])[comm.rank]
        return bn.recalibrate(model, np.split(own, [2]))[0].running_var

    for found in results(2, run):
        np.testing.assert_allclose(found, whole.running_var, rtol=1e-11)


# ---- the block ----


def test_in_a_block_all_layers_are_synchronized_and_so_are_their_backward_passes():
    alone = bn.BatchNorm1d(3, dtype="f8")
    y, dx, mean, _ = passes(alone, X, DY)

    def run(comm):
        layer, part = bn.BatchNorm1d(3, dtype="f8"), np.split(X, [9])[comm.rank]
        with bn.synchronized(comm):
            found = layer(part)
        dx = layer.backward(np.split(DY, [9])[comm.rank])
        sent = len(comm.lengths)
        layer(part)
        assert len(comm.lengths) == sent == 2
        return found, dx, layer.rollback().running_mean

    found = results(2, run)
    np.testing.assert_allclose(np.concatenate([each[0] for each in found]), y, atol=1e-11)
    np.testing.assert_allclose(np.concatenate([each[1] for each in found]), dx, atol=1e-11)
    np.testing.assert_allclose(found[0][2], mean, rtol=1e-11)


def test_a_synchronized_model_in_a_block_exchanges_once():
    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(3), comm)
        with bn.synchronized(comm):
            passes(layer, X, DY)
        return len(comm.lengths)

    assert results(2, run) == [2, 2]


def test_keras_synchronized_insists_on_a_communicator():
    layer = bn.BatchNormalization(synchronized=True)
    layer.build((3,))
    layer.eval()(X)
    with pytest.raises(RuntimeError, match=r"must be called inside of bn\.synchronized"):
        layer.train()(X)
    assert "synchronized=True" in repr(layer)

    def run(comm):
        layer = bn.BatchNormalization(synchronized=True)
        with bn.synchronized(comm):
            layer(X)
        bn.synchronize(layer, comm)(X)
        return len(comm.lengths)

    assert results(2, run) == [2, 2]


def test_parts_of_a_batch_that_meet_in_one_process_are_refused_in_a_block():
    def run(comm):
        model = nn.Sequential(bn.BatchNorm1d(3), nn.Linear(3, 2, rng=0))
        with bn.synchronized(comm):
            nn.fit(
                model,
                (X.astype("f4"), np.arange(24) % 2),
                optimizer=nn.SGD(model.parameters(), lr=0.1),
                epochs=1,
                batch_size=4,
                accumulate=2,
                progress=False,
            )

    for message in errors(1, run):
        assert "accumulate must be 1 for a model with 0 (BatchNorm1d), whose combine" in message


# ---- what is synchronized ----


class Alone:
    """A run of one rank."""

    rank, size = 0, 1

    def allgather(self, buffer, timeout):
        return buffer[np.newaxis]


REFUSED = {
    "a GroupNorm whose normalizations take statistics of single samples": bn.GroupNorm(1, 2),
    "a Sequential whose normalizations take statistics of single": nn.Sequential(bn.LayerNorm(2)),
    "must have batch normalization layers to synchronize, got a ReLU without": nn.ReLU(),
    "must have no GhostBatchNorm to synchronize, got one at 1": nn.Sequential(
        bn.BatchNorm1d(2), bn.GhostBatchNorm(bn.BatchNorm1d(2), 2)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_model_that_cannot_be_synchronized_or_need_not_says_so(message):
    with pytest.raises(ValueError, match=message):
        bn.synchronize(REFUSED[message], Alone())
    for layer in REFUSED[message].modules():
        assert getattr(layer, "combine", None) is None


def test_a_combine_of_ones_own_is_not_replaced():
    model = nn.Sequential(bn.BatchNorm1d(2), bn.BatchNorm1d(2))
    model[1].combine = lambda part: part
    with pytest.raises(ValueError, match=r"must have no combine of other kinds .* got one in 1"):
        bn.synchronize(model, Alone())
    assert model[0].combine is None


def test_ghost_batches_are_refused_in_a_block_in_training_only():
    ghost = bn.GhostBatchNorm(bn.BatchNorm1d(3), 8)
    with bn.synchronized(Alone()):
        with pytest.raises(ValueError, match="GhostBatchNorm must get a layer without combine"):
            ghost(X)
        ghost.eval()(X)


def test_what_is_no_communicator_is_refused():
    layer = bn.BatchNorm1d(3)
    beyond = Threads(OneBoard(2), 2)
    for call in (bn.synchronized, lambda comm, **o: bn.synchronize(layer, comm, **o)):
        with pytest.raises(TypeError, match="comm must be an mpi4py communicator or have rank"):
            call(3)
        with pytest.raises(ValueError, match="a rank from 0 to size - 1, got 2 of 2"):
            call(beyond)
        with pytest.raises(ValueError, match="timeout must be a finite number above 0, got 0"):
            call(Alone(), timeout=0)
    assert layer.combine is None


def test_none_undoes_the_synchronization():
    layer = bn.synchronize(bn.BatchNorm1d(3), Alone())
    assert layer.combine is not None and "combine=<rank 0 of 1>" in repr(layer)
    assert bn.synchronize(layer, None) is layer and layer.combine is None


def test_copies_and_files_hold_no_communicator(tmp_path):
    model = bn.synchronize(nn.Sequential(bn.BatchNorm1d(3)), Threads(OneBoard(2), 0))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin[0].combine is None
        twin(X)
    nn.save(tmp_path / "model.npz", model)
    nn.load(tmp_path / "model.npz", model)
    assert model[0].combine is not None


# ---- faults ----


def three_norms(comm, timeout=0.2):
    model = nn.Sequential(bn.BatchNorm1d(3), bn.BatchNorm1d(3), nn.ReLU(), bn.BatchNorm1d(3))
    return bn.synchronize(model, comm, timeout=timeout)


def test_after_an_error_in_the_third_layer_nothing_was_updated():
    models = [None] * 3

    def run(comm):
        comm = Unreliable(comm, drops_from=3) if comm.rank == 1 else comm
        models[comm.rank] = three_norms(comm)
        models[comm.rank](X)

    found = errors(3, run)
    assert found[1] == "SyncError: rank 1 in forward of layer 3: the line is dead"
    for rank in (0, 2):
        assert found[rank] == (
            f"SyncError: rank {rank} in forward of layer 3: nothing came from rank 1 in time"
        )
    for model in models:
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, three_norms(Alone()).state_dict()[name])


def test_a_call_that_one_rank_leaves_out_is_an_error_and_not_a_hang():
    def run(comm):
        layers = [bn.synchronize(bn.BatchNorm1d(3), comm, timeout=0.2) for _ in range(2)]
        for layer in layers[: 1 if comm.rank == 2 else 2]:
            layer(X)
        return "no error"

    one, other, third = on_threads(3, run)
    assert third == "no error"
    assert "rank 0 in forward of layer BatchNorm1d: nothing came from rank 2" in str(one)
    assert isinstance(one, bn.SyncError) and isinstance(other, bn.SyncError)


def test_a_rank_that_is_late_is_waited_for():
    def run(comm):
        comm = Unreliable(comm, delay=0.1) if comm.rank == 1 else comm
        return passes(bn.synchronize(bn.BatchNorm1d(3), comm, timeout=5), X, DY)[2]

    one, other = results(2, run)
    np.testing.assert_array_equal(one, other)


def different_layers(comm):
    model = three_norms(comm)
    model[1 if comm.rank == 1 else 0](X)


def different_channels(comm):
    bn.synchronize(bn.BatchNorm1d(None), comm)(np.ones((4, 3 + 300 * comm.rank)))


def different_dtypes(comm):
    bn.synchronize(bn.BatchNorm1d(3, dtype="f8" if comm.rank == 2 else "f4"), comm)(X)


def different_phases(comm):
    layer = bn.synchronize(bn.BatchNorm1d(3), comm)
    layer(X)
    layer.backward(DY) if comm.rank == 0 else layer(X)


DIFFERENT = {
    "forward of layer 0 (3 channels, float32, call 1) on ranks 0, 2, and "
    "forward of layer 1 (3 channels, float32, call 1) on rank 1": different_layers,
    "forward of layer BatchNorm1d (3 channels, float32, call 1) on rank 0, and "
    "forward of layer BatchNorm1d (303 channels, float32, call 1) on rank 1, and "
    "forward of layer BatchNorm1d (603 channels, float32, call 1) on rank 2": different_channels,
    "forward of layer BatchNorm1d (3 channels, float32, call 1) on ranks 0, 1, and "
    "forward of layer BatchNorm1d (3 channels, float64, call 1) on rank 2": different_dtypes,
    "backward of layer BatchNorm1d (3 channels, float32, call 2) on rank 0, and "
    "forward of layer BatchNorm1d (3 channels, float32, call 2) on ranks 1, 2": different_phases,
}


@pytest.mark.parametrize("message", DIFFERENT)
def test_different_calls_are_an_error_that_names_them_on_all_ranks(message):
    for error in on_threads(3, DIFFERENT[message]):
        assert isinstance(error, bn.SyncError)
        assert str(error) == f"all ranks must make the same call, got {message}"


def test_a_layer_that_only_another_rank_has_is_told_as_such():
    def run(comm):
        before = [nn.ReLU()] * (comm.rank > 0)
        bn.synchronize(nn.Sequential(*before, bn.BatchNorm1d(3)), comm)(X)

    assert (
        "a layer that this rank has not (3 channels, float32, call 1) on ranks 1, 2"
        in (errors(3, run)[0])
    )


def test_another_version_of_bn_is_named():
    class Newer(Unreliable):
        def allgather(self, buffer, timeout):
            buffer[0] ^= 1
            return super().allgather(buffer, timeout)

    def run(comm):
        bn.synchronize(bn.BatchNorm1d(3), Newer(comm) if comm.rank == 1 else comm)(X)

    assert errors(2, run)[0] == (
        "SyncError: all ranks must make the same call, got forward of layer BatchNorm1d "
        "(3 channels, float32, call 1) on rank 0, and a call of another version of bn on rank 1"
    )


def test_after_an_error_every_later_exchange_raises_it_at_once():
    def run(comm):
        with pytest.raises(bn.SyncError) as first:
            different_layers(comm)
        begin = time.monotonic()
        with pytest.raises(bn.SyncError) as second:
            bn.synchronize(bn.BatchNorm1d(3), comm, timeout=60)(X)
        with pytest.raises(bn.SyncError), bn.synchronized(comm, timeout=60):
            bn.BatchNorm1d(3)(X)
        report_failure(comm, ValueError("too late"))
        assert time.monotonic() - begin < 5 and len(comm.lengths) == 1
        assert str(second.value) == str(first.value)

    results(3, run)


def test_an_interrupted_exchange_is_the_last_one():
    class Interrupted(Alone):
        def allgather(self, buffer, timeout):
            raise KeyboardInterrupt

    layer = bn.synchronize(bn.BatchNorm1d(3), Interrupted())
    with pytest.raises(KeyboardInterrupt):
        layer(X)
    with pytest.raises(bn.SyncError, match="rank 0 in forward of layer BatchNorm1d: it was inter"):
        layer(X)


def test_an_exception_that_leaves_the_block_ends_the_waiting_of_others():
    def run(comm):
        layer = bn.BatchNorm1d(3)
        with bn.synchronized(comm):
            layer(X)
            if comm.rank == 1:
                raise OSError("no such file: é")
            passes(layer, X, DY)

    assert errors(3, run) == [
        "SyncError: rank 1 failed: OSError: no such file: é",
        "OSError: no such file: é",
        "SyncError: rank 1 failed: OSError: no such file: é",
    ]


def test_a_failure_is_reported_without_a_block_too():
    def run(comm):
        layer = bn.synchronize(bn.BatchNorm1d(3), comm)
        if comm.rank == 0:
            report_failure(comm, KeyError("label"))
        layer(X)

    assert errors(2, run) == ["SyncError: rank 0 failed: KeyError: 'label'"] * 2


def test_a_failure_that_nobody_can_hear_does_not_replace_the_exception():
    def run(comm):
        with bn.synchronized(comm, timeout=0.1):
            raise ValueError("mine") if comm.rank == 0 else StopIteration

    assert on_threads(2, lambda comm: run(comm) if comm.rank == 0 else None)[0].args == ("mine",)


# ---- processes ----


def test_ranks_are_processes_and_one_of_them_dies():
    context = multiprocessing.get_context("spawn")
    pipes, answers = pipes_between(context, 3), context.Queue()
    ranks = [
        context.Process(target=in_process, args=(pipes[rank], rank, X, answers), daemon=True)
        for rank in range(3)
    ]
    for process in ranks:
        process.start()
    for row in pipes:  # so that a rank that dies closes the last of its ends
        for pipe in row:
            if pipe is not None:
                pipe.close()
    found = dict(answers.get(timeout=60) for _ in range(2))
    for process in ranks:
        process.join()
    whole = bn.BatchNorm1d(3, dtype="f8")
    y = whole(X)
    assert sorted(found) == [0, 1]
    for rank, (part, message) in found.items():
        np.testing.assert_allclose(part, np.array_split(y, 3)[rank], atol=1e-11)
        assert message == (
            f"rank {rank} in backward of layer BatchNorm1d: nothing came from rank 2 in time"
        )
