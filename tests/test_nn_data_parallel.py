"""Several ranks train one model: `nn.fit(comm=)`, `nn.DataParallel`, and looking at it together."""

import contextlib
import itertools

import numpy as np
import pytest
from communicators import Board, Threads, on_threads

import bn
from bn import nn


def data(n=37):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 1, 6, 6)), rng.integers(0, 3, n)


def network(*more, dtype=np.float64):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=0, dtype=dtype), bn.BatchNorm2d(4, dtype=dtype), nn.ReLU(),
        nn.Flatten(), *more, nn.Linear(64, 3, rng=1, dtype=dtype),
    )  # fmt: skip


def sgd(model):
    return nn.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train(model, comm=None, samples=None, **options):
    """Train in batches that no number of ranks but one divides, the last of a single sample."""
    given = {"epochs": 2, "batch_size": 9, "rng": 5, "progress": False, "timeout": 20}
    given["optimizer"] = sgd(model)
    return nn.fit(model, samples or data(), comm=comm, **{**given, **options})


def results(ranks):
    """Return the results of ranks, none of which has failed."""
    for result in ranks:
        if isinstance(result, Exception):
            raise result
    return ranks


def errors(size, rank):
    """Return the messages of the exceptions of all ranks."""
    found = on_threads(size, rank)
    assert all(isinstance(each, Exception) for each in found), found
    return [f"{type(each).__name__}: {each}" for each in found]


def same(one, other, tolerance=0.0):
    a, b = one.state_dict(), other.state_dict()
    return all(abs(a[name] - b[name]).max() <= tolerance for name in a)


# ---- the same training ----


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss,
        lambda: nn.CrossEntropyLoss([1.0, 3.0, 0.5], ignore_index=1),
        lambda: nn.CrossEntropyLoss(reduction="sum"),
    ],
)
def test_any_number_of_ranks_trains_what_one_process_trains(size, criterion):
    x, y = data()
    weight = np.random.default_rng(1).random(37) + 0.5
    options = {"samples": (x, y, weight), "validation": (x[:10], y[:10]), "clip": 1.0}

    def rank(comm):
        model = network()
        return model, train(model, comm, criterion=criterion(), **options)

    alone = network()
    expected = train(alone, criterion=criterion(), **options)
    found = results(on_threads(size, rank))
    for model, history in found:
        assert same(model, alone, 1e-9)
        assert same(model, found[0][0])
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(history[name], expected[name], rtol=1e-9)
            assert history[name] == found[0][1][name]


def test_a_loop_of_ones_own_trains_the_same():
    x, y = data()

    def rank(comm):
        model, criterion = network(), nn.CrossEntropyLoss()
        optimizer, parallel = sgd(model), nn.DataParallel(model, comm, timeout=20)
        loader = nn.BatchLoader(x, y, 9, shard=parallel.shard, rng=5)
        with parallel:
            for _ in range(2):
                for images, labels in loader:
                    optimizer.zero_grad()
                    parallel.gradients(criterion, images, labels)
                    optimizer.step()
            parallel.check_alike()
            part = slice(comm.rank, None, comm.size)
            right = (model.predict(x[part]).argmax(1) == y[part]).sum()
            return model, float(parallel.sum(right))

    alone = network()
    train(alone)
    right = (alone.predict(x).argmax(1) == y).sum()
    for model, found in results(on_threads(3, rank)):
        assert same(model, alone, 1e-9)
        assert found == right


def test_ranks_begin_with_the_state_and_the_order_of_rank_0():
    def rank(comm):
        model = network()
        for parameter in model.parameters():
            parameter.data *= comm.rank + 1
        train(model, comm, rng=comm.rank + 5)
        return model

    alone = network()
    train(alone)
    assert all(same(model, alone, 1e-9) for model in results(on_threads(2, rank)))


def test_layers_that_need_nothing_are_trained_too():
    def model_of():
        layers = nn.Flatten(), nn.Linear(36, 8, rng=0, dtype="f8"), bn.LayerNorm(8, dtype="f8")
        return nn.Sequential(*layers, nn.Linear(8, 3, rng=1, dtype="f8"))

    def rank(comm):
        model = model_of()
        train(model, comm)
        return model

    alone = model_of()
    train(alone)
    assert all(same(model, alone, 1e-9) for model in results(on_threads(2, rank)))


def test_the_model_can_be_used_alone_afterwards():
    def rank(comm):
        model = network()
        train(model, comm)
        return model

    for model in results(on_threads(2, rank)):
        assert model[1].combine is None
        assert model(data()[0]).shape == (37, 3)


# ---- groups of ranks ----


def in_groups(size, function):
    """Call function(comm, group) on so many ranks, of which each two neighbours are a group."""
    boards = [Board(min(2, size - first)) for first in range(0, size, 2)]
    return on_threads(
        size, lambda comm: function(comm, Threads(boards[comm.rank // 2], comm.rank % 2))
    )


def of_groups(x, sizes):
    """Return the output of a normalization that takes the statistics of each part of a batch."""
    bounds = np.cumsum(sizes)[:-1]
    parts = np.split(x, bounds)
    layers = [bn.BatchNorm1d(3, dtype="f8") for _ in parts]
    return np.concatenate([layer(part) for layer, part in zip(layers, parts, strict=True)]), layers


def test_layers_that_take_the_statistics_of_a_group_keep_them():
    x, y = np.random.default_rng(0).standard_normal((2, 12, 3))
    expected, layers = of_groups(x, [8, 4])  # three ranks with four samples, in groups of 2 and 1

    def rank(comm, group):
        model = nn.Sequential(bn.synchronize(bn.BatchNorm1d(3, dtype="f8"), group, timeout=20))
        parallel = nn.DataParallel(model, comm, timeout=20)
        part = slice(4 * comm.rank, 4 * comm.rank + 4)
        loss = parallel.gradients(nn.MSELoss(), x[part], y[part])
        parallel.check_alike()
        return model[0], loss

    for layer, loss in results(in_groups(3, rank)):
        assert loss == pytest.approx(nn.MSELoss()(expected, y), rel=1e-12)
        gradient = (2 / y.size * (expected - y)).sum(0)
        np.testing.assert_allclose(layer.bias.grad, gradient, atol=1e-12)
        for name in ("running_mean", "running_var"):  # two of the three ranks are in group 0
            one, other = (getattr(each, name) for each in layers)
            np.testing.assert_allclose(getattr(layer, name), (2 * one + other) / 3, rtol=1e-12)
        assert layer.num_batches_tracked == 1


@pytest.mark.parametrize("size", [3, 4])
def test_a_training_with_groups_ends_alike_and_goes_on_with_the_same_bits(tmp_path, size):
    path = tmp_path / "run.npz"

    def rank(comm, group, fails=0, **options):
        model = bn.synchronize(network(), group, timeout=20)
        train(model, comm, validation=data(), callbacks=[Fail(fails)], **options)
        return model

    def failing(*ranks):
        with contextlib.suppress(RuntimeError):
            rank(*ranks, fails=4, checkpoint=path, save_every=1)

    whole = results(in_groups(size, rank))
    in_groups(size, failing)
    resumed = in_groups(size, lambda *ranks: rank(*ranks, checkpoint=path, resume=True))
    assert all(same(whole[0], model) for model in [*whole, *results(resumed)])
    assert repr(whole[0][1].combine) == "<rank 0 of 2>"
    assert np.isfinite(whole[0][1].running_var).all()
    alone = network()
    train(alone)
    assert not same(alone, whole[0], 1e-6)


@pytest.mark.filterwarnings("ignore::bn.NonFiniteWarning")
def test_after_a_loss_that_is_not_finite_layers_are_synchronized_as_before():
    x, y = data(12)

    def rank(comm):
        parallel = nn.DataParallel(network(), comm, timeout=20)
        part = slice(comm.rank, None, 2)
        bad = x[part] * (np.nan if comm.rank else 1)
        with pytest.raises(FloatingPointError, match="on rank 1, x of that batch has NaN"):
            parallel.gradients(nn.CrossEntropyLoss(), bad, y[part])
        parallel.gradients(nn.CrossEntropyLoss(), x[part], y[part])
        parallel.check_alike()
        return repr(parallel.model[1].combine)

    assert results(on_threads(2, rank)) == ["<rank 0 of 2>", "<rank 1 of 2>"]


# ---- the parts of a batch ----


@pytest.mark.parametrize(
    ("size", "drop_last"), list(itertools.product([1, 2, 3, 5], [False, True]))
)
def test_parts_hold_each_sample_once_and_are_the_batches(size, drop_last):
    x = np.arange(23)[:, None]
    options = {"rng": 7, "drop_last": drop_last, "sample_weight": np.arange(23)}
    whole = list(nn.BatchLoader(x, np.arange(23), 4, **options))
    parts = [
        list(nn.BatchLoader(x, np.arange(23), 4, shard=(rank, size), **options))
        for rank in range(size)
    ]
    for number, batch in enumerate(whole):
        for i, expected in enumerate(batch):
            found = [part[number][i] for part in parts]
            assert (np.concatenate(found) == expected).all()
            assert max(map(len, found)) - min(map(len, found)) <= 1


def test_augmentation_and_dropout_differ_between_ranks_and_are_the_same_in_each_run():
    def rank(comm):
        drawn = []

        def augment(x, y, rng):
            drawn.append(rng.random())
            return x, y

        dropout = nn.Dropout(0.5, rng=3)
        dropout.register_forward_hook(lambda layer, x, y: drawn.append(int((y == 0).sum())))
        model = network(dropout)
        loader = nn.BatchLoader(*data(36), 12, augment=augment, rng=5)
        train(model, comm, samples=loader, rng=None)
        return model, drawn

    first, second = (results(on_threads(3, rank)) for _ in range(2))
    assert [drawn for _, drawn in first] == [drawn for _, drawn in second]
    assert same(first[0][0], second[0][0])
    numbers = [set(drawn) for _, drawn in first]
    assert not set.intersection(*[{n for n in each if isinstance(n, float)} for each in numbers])
    assert len({tuple(drawn) for _, drawn in first}) == 3


# ---- files ----


class Fail(nn.Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, state):
        if state.step == self.step:
            raise RuntimeError("stopped")


def dropping():
    return network(nn.Dropout(0.5, rng=3))


@pytest.mark.parametrize("step", [2, 5, 7])
def test_ranks_that_were_stopped_go_on_with_the_same_bits(tmp_path, step):
    path = tmp_path / "run.npz"

    def rank(comm, fails=0, **options):
        model = dropping()
        return model, train(model, comm, epochs=3, callbacks=[Fail(fails)], **options)

    whole = results(on_threads(2, rank))
    errors(2, lambda comm: rank(comm, step, checkpoint=path, save_every=1))
    resumed = results(on_threads(2, lambda comm: rank(comm, checkpoint=path, resume=True)))
    assert same(whole[0][0], resumed[0][0])
    assert same(whole[0][0], resumed[1][0])
    assert whole[0][1]["loss"] == resumed[1][1]["loss"]


def test_any_number_of_ranks_goes_on_with_a_training(tmp_path):
    path = tmp_path / "run.npz"

    def rank(comm, epochs):
        model = network()
        train(model, comm, epochs=epochs, checkpoint=path, resume=True)
        return model

    for epochs, size in enumerate([2, 3, 1], 1):
        models = results(on_threads(size, lambda comm, epochs=epochs: rank(comm, epochs)))
    model = rank(None, 4)
    alone = network()
    train(alone, epochs=4)
    assert same(model, alone, 1e-9)
    assert not same(models[0], model, 1e-9)


def test_only_rank_0_writes(tmp_path):
    def rank(comm):
        folder = tmp_path / str(comm.rank)
        folder.mkdir()
        written = nn.CSVLogger(folder / "h.csv"), nn.BestCheckpoint(folder / "b.npz", "loss")
        train(network(), comm, callbacks=written, checkpoint=folder / "run.npz")

    results(on_threads(2, rank))
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"h.csv", "b.npz", "run.npz"}
    assert not list((tmp_path / "1").iterdir())


# ---- faults ----


class StopAfter(nn.Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, state):
        state.stop = state.step == self.step


def test_a_callback_of_one_rank_stops_all():
    def rank(comm):
        callbacks = [StopAfter(3 if comm.rank == 1 else -1)]
        model = network()
        train(model, comm, callbacks=callbacks)
        return model

    one, other = results(on_threads(2, rank))
    assert same(one, other)
    assert one[1].num_batches_tracked == 3


@pytest.mark.filterwarnings("ignore::bn.NonFiniteWarning")
def test_a_loss_that_is_not_finite_on_one_rank_stops_all_before_anything_has_changed():
    x, y = data(36)

    def rank(comm):
        own = x * (np.nan if comm.rank == 1 else 1)
        model = network()
        try:
            train(model, comm, samples=(own, y), batch_size=36)
        except FloatingPointError as error:
            assert not model[1].running_mean.any()
            assert same(model, network())
            train(model, comm, samples=(x, y))  # they can go on together
            return str(error)

    message = "the loss of step 1 (epoch 1, batch 1) is nan: on rank 1, x of that batch has NaN"
    assert all(each.startswith(message) for each in results(on_threads(3, rank)))


def test_an_error_of_one_rank_is_told_to_all():
    def rank(comm):
        def augment(x, y, rng):
            if comm.rank == 1:
                raise ValueError("cannot read")
            return x, y

        loader = nn.BatchLoader(*data(), 9, augment=augment, rng=0)
        train(network(), comm, samples=loader, rng=None)

    first, second, third = errors(3, rank)
    assert second == "ValueError: in epoch 1, batch 1: cannot read"
    assert first == third
    assert "SyncError" in first
    assert "rank 1 failed: ValueError: in epoch 1, batch 1: cannot read" in first


def test_an_error_in_a_loop_of_ones_own_is_told_to_all():
    def rank(comm):
        parallel = nn.DataParallel(network(), comm, timeout=20)
        with parallel:
            if comm.rank == 0:
                raise KeyError("no such thing")
            parallel.sum(1.0)

    first, second = errors(2, rank)
    assert first.startswith("KeyError")
    assert "rank 0 failed: KeyError" in second


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rank: network(*[nn.Linear(64, 64, dtype="f8")] * rank), "the same model"),
        (lambda rank: network(dtype=[np.float64, np.float32][rank]), "the same model"),
    ],
)
def test_different_models_are_named(make, message):
    for error in errors(2, lambda comm: train(make(comm.rank), comm)):
        assert f"all ranks must have {message}, got another one on rank 1 than on rank 0" in error


def test_parameters_that_drift_apart_are_noticed():
    class Spoil(nn.Callback):
        def on_batch_end(self, state):
            state.model[0].weight.data[0] += 1

    def rank(comm):
        train(network(), comm, callbacks=[Spoil()] if comm.rank else [])

    for error in errors(2, rank):
        assert "all ranks must have the same parameters, got another one on rank 1" in error


def test_iterables_with_different_numbers_of_batches_are_named():
    x, y = data()

    def rank(comm):
        batches = [(x[:9], y[:9])] * (2 + comm.rank)
        train(network(), comm, samples=batches, rng=None)

    for error in errors(2, rank):
        assert "SyncError" in error
        assert "all ranks must make the same call" in error


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (network, {"accumulate": 2}, "accumulate must be 1 with comm"),
        (network, {"criterion": lambda out, y: 0.0}, "criterion must be a loss of bn.nn"),
        (
            lambda: network(bn.GhostBatchNorm(bn.BatchNorm1d(64, dtype="f8"), 2)),
            {},
            "model must have no GhostBatchNorm to be trained by several ranks, got one at 4",
        ),
    ],
)
def test_what_ranks_cannot_do_together_is_refused(model, options, message):
    for error in errors(2, lambda comm: train(model(), comm, **options)):
        assert message in error


# ---- looking together ----


def test_recalibration_pools_the_batches_of_all_ranks():
    x = data(30)[0]
    parts = [[x[:7]], [x[7:10], x[10:16], x[16:]], []]

    def rank(comm):
        model = nn.Sequential(bn.BatchNorm2d(1, dtype="f8"))
        return bn.recalibrate(model, parts[comm.rank], comm=comm)[0]

    alone = bn.recalibrate(nn.Sequential(bn.BatchNorm2d(1, dtype="f8")), itertools.chain(*parts))
    for layer in results(on_threads(3, rank)):
        np.testing.assert_allclose(layer.running_mean, alone[0].running_mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, alone[0].running_var, rtol=1e-12)


@pytest.mark.parametrize("synchronized_over", ["all", "group"])
def test_recalibration_of_synchronized_layers_counts_each_sample_once(synchronized_over):
    parts = np.split(np.linspace(0, 1, 36).reshape(12, 3) ** 2, [4, 8])

    def rank(comm, group):
        layer = bn.BatchNorm1d(3, dtype="f8")
        bn.synchronize(layer, comm if synchronized_over == "all" else group, timeout=20)
        return bn.recalibrate(layer, [parts[comm.rank]], comm=comm)

    alone = bn.recalibrate(bn.BatchNorm1d(3, dtype="f8"), [np.concatenate(parts)])
    for layer in results(in_groups(3, rank)):
        np.testing.assert_allclose(layer.running_mean, alone.running_mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, alone.running_var, rtol=1e-12)


def test_no_batch_on_any_rank_is_an_error_on_all():
    for error in errors(2, lambda comm: bn.recalibrate(network(), [], comm=comm)):
        assert "batches must have at least one batch" in error


def test_a_report_is_of_the_samples_of_all_ranks():
    x = data(31)[0]

    def rank(comm):
        return bn.report(network(), np.array_split(x, comm.size)[comm.rank], comm=comm)

    alone = bn.report(network(), x)
    for found in results(on_threads(3, rank)):
        assert found.input_shape == (31, 1, 6, 6)
        assert str(found) == str(alone)


# ---- the same settings ----


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (lambda rank: {"batch_size": 9 + rank}, "batch_size"),
        (lambda rank: {"epochs": 2 + rank}, "epochs"),
        (lambda rank: {"criterion": nn.CrossEntropyLoss(label_smoothing=0.1 * rank)}, "criterion"),
        (lambda rank: {"validation": data() if rank else None}, "number of samples"),
    ],
)
def test_settings_that_differ_between_ranks_are_named(options, name):
    for error in errors(2, lambda comm: train(network(), comm, **options(comm.rank))):
        assert f"all ranks must have the same {name}, got another one on rank 1" in error


def test_learning_rates_that_differ_are_named():
    def rank(comm):
        model = network()
        train(model, comm, optimizer=nn.SGD(model.parameters(), lr=0.1 * (comm.rank + 1)))

    for error in errors(2, rank):
        assert "all ranks must have the same lr of the optimizer" in error


def test_shards_without_a_seed_are_refused_because_they_would_overlap():
    x, y = data()
    with pytest.raises(ValueError, match="rng must be a seed where there are several shards"):
        nn.BatchLoader(x, y, 8, shard=(0, 2))
    assert len(nn.BatchLoader(x, y, 8, shard=(0, 2), shuffle=False)) == 5
