"""`nn.fit`: what it trains, measures, shows, and refuses."""

import csv
import io
import itertools
import json
import math
import signal
import threading

import numpy as np
import pytest

import bn
from bn import nn


def rows(n=60, dtype=np.float64, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, 4)).astype(dtype)
    return x, (x[:, 0] > x[:, 1]).astype(int)


def network(norm=True, dtype=np.float64, classes=2):
    norms = [bn.BatchNorm1d(8, dtype=dtype)] if norm else []
    return nn.Sequential(
        nn.Linear(4, 8, rng=0, dtype=dtype), *norms, nn.ReLU(),
        nn.Linear(8, classes, rng=1, dtype=dtype),
    )  # fmt: skip


def fit(model, train, **options):
    """Train with fixed random numbers, and show nothing."""
    given = {"epochs": 2, "progress": False, **options}
    if isinstance(train, tuple):
        given = {"rng": 0, **given}
    return nn.fit(model, train, **given)


def by_hand(model, x, y, epochs, batch_size):
    """Train like `nn.fit`; return the mean losses of the epochs."""
    criterion, optimizer = nn.CrossEntropyLoss(), nn.Adam(model.parameters())
    rng, means = np.random.default_rng(0), []
    for _ in range(epochs):
        order, total = rng.permutation(len(x)), 0.0
        for begin in range(0, len(x), batch_size):
            part = order[begin : begin + batch_size]
            loss = criterion(model(x[part]), y[part])
            optimizer.zero_grad()
            model.backward(criterion.backward())
            optimizer.step()
            total += loss * len(part)
        means.append(total / len(x))
    return means


def same(one, other, tolerance=0.0):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(abs(a[k] - b[k]).max() <= tolerance for k in a)


# ---- training ----


def test_it_trains_like_the_loop_that_one_writes(tmp_path):
    one, other, (x, y) = network(), network(), rows()
    history = fit(one, (x, y), epochs=3, batch_size=16)
    assert history["loss"] == by_hand(other, x, y, 3, 16)
    assert same(one, other)


def test_a_layer_alone_is_a_model():
    history = fit(nn.Linear(4, 2, rng=0, dtype=np.float64), rows(), epochs=20)
    assert history["loss"][-1] < history["loss"][0]


def test_layers_that_learn_their_inputs_are_built_first():
    model = nn.Sequential(nn.Linear(None, 8), bn.BatchNorm1d(None), nn.Linear(None, 2))
    fit(model, rows(dtype=np.float32))
    assert model[2].weight.shape == (2, 8)


def test_the_history_has_what_evaluate_measures():
    model, train, held_out = network(), rows(), rows(20, seed=1)
    history = fit(model, train, validation=held_out, metrics=("accuracy", mean_output))
    last, found = history.epochs[-1], nn.evaluate(model, *held_out, metrics=[mean_output])
    assert list(last) == [
        "epoch", "lr", "loss", "accuracy", "mean_output",
        "val_loss", "val_accuracy", "val_mean_output", "seconds",
    ]  # fmt: skip
    assert math.isclose(found["loss"], last["val_loss"], rel_tol=1e-12)
    assert math.isclose(found["mean_output"], last["val_mean_output"], rel_tol=1e-12)
    assert model.training and all(layer.training for layer in model)


def mean_output(out, y):
    return float(out.mean())


def test_the_last_batch_counts_with_its_samples():
    losses = Losses()
    history = fit(network(), rows(10), batch_size=8, epochs=1, callbacks=[losses])
    assert math.isclose(history["loss"][0], (8 * losses.seen[0] + 2 * losses.seen[1]) / 10)


class Losses(nn.Callback):
    def __init__(self):
        self.seen, self.lrs = [], []

    def on_batch_end(self, state):
        self.seen.append(state.loss)
        self.lrs.append(state.optimizer.lr)


@pytest.mark.parametrize(
    ("every", "lrs"), [("epoch", [1, 1, 0.5, 0.5]), ("batch", [0.5, 0.25, 0.125, 0.0625])]
)
def test_the_schedule_steps_after_each_epoch_or_after_each_batch(every, lrs):
    model, losses = network(), Losses()
    optimizer = nn.SGD(model.parameters(), lr=1.0)
    schedule = nn.StepLR(optimizer, 1, gamma=0.5)
    fit(
        model, rows(), batch_size=30, optimizer=optimizer, schedule=schedule,
        schedule_every=every, callbacks=[losses],
    )  # fmt: skip
    assert losses.lrs == lrs


def test_a_schedule_that_waits_for_a_plateau_gets_the_loss_of_the_validation():
    class Plateau:
        def __init__(self):
            self.got = []

        def step(self, loss):
            self.got.append(loss)

    schedule = Plateau()
    history = fit(network(), rows(), validation=rows(20), schedule=schedule)
    assert schedule.got == history["val_loss"]


def test_gradients_are_clipped_together():
    model = network(norm=False)
    optimizer = nn.SGD(model.parameters(), lr=1.0)
    before = np.concatenate([p.data.ravel().copy() for p in model.parameters()])
    fit(model, rows(), batch_size=60, epochs=1, optimizer=optimizer, clip=1e-3)
    after = np.concatenate([p.data.ravel() for p in model.parameters()])
    assert math.isclose(np.linalg.norm(after - before), 1e-3, rel_tol=2e-3)


def test_a_loss_that_is_a_sum_is_told_for_each_sample():
    model, (x, y) = network(), rows(20)
    mean = nn.evaluate(model, x, y, batch_size=8)["loss"]
    total = nn.evaluate(model, x, y, criterion=nn.CrossEntropyLoss(reduction="sum"), batch_size=8)
    assert math.isclose(total["loss"], mean, rel_tol=1e-12)


def test_a_regression_has_no_accuracy():
    x, _ = rows()
    history = fit(network(classes=1), (x, x[:, :1]), criterion=nn.MSELoss())
    assert "accuracy" not in history.epochs[0]


def test_the_accuracy_of_two_classes_by_one_logit():
    x, y = rows()
    model = nn.Sequential(nn.Linear(4, 1, rng=0, dtype=np.float64))
    found = nn.evaluate(model, x, y[:, None].astype(float), criterion=nn.BCEWithLogitsLoss())
    assert found["accuracy"] == np.mean((model(x)[:, 0] > 0) == y)


def test_the_accuracy_leaves_out_what_the_loss_ignores():
    _, y = rows(4)
    y[:] = [0, 1, -100, -100]
    found = nn.evaluate(nn.Identity(), np.array([[2.0, 1], [2.0, 1], [1, 2], [1, 2]]), y)
    assert found["accuracy"] == 0.5


# ---- accumulation ----


def images(n=24):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2, 5, 5))
    return x, rng.integers(0, 3, n)


def residual():
    """Several normalizations, one of them of Keras, one in a branch, and one that is used twice."""
    norm = bn.BatchNorm2d(4, momentum=None, dtype=np.float64)
    conv = [nn.Conv2d(4, 4, 3, padding=1, rng=i, dtype=np.float64) for i in range(2)]
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, rng=3, dtype=np.float64),
        bn.BatchNormalization(axis=1, dtype=np.float64),
        nn.Residual(nn.Sequential(conv[0], norm, nn.ReLU(), conv[1], norm)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(100, 3, rng=4, dtype=np.float64),
    )
    model.build((2, 5, 5))
    return model


LOSSES = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(reduction="sum"),
    nn.CrossEntropyLoss([1.0, 5.0, 0.5], ignore_index=2, label_smoothing=0.1),
]


@pytest.mark.parametrize("criterion", LOSSES)
@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("make", [residual, lambda: without_norms(residual())])
def test_accumulation_equals_the_large_batch(make, parts, criterion):
    whole, pieces, (x, y), losses = make(), make(), images(), []
    for model, size, accumulate in ((whole, 20, 1), (pieces, 20 // parts, parts)):
        optimizer = nn.SGD(model.parameters(), lr=0.01, momentum=0.9)
        history = fit(
            model, (x, y), batch_size=size, accumulate=accumulate, epochs=4,
            optimizer=optimizer, criterion=criterion,
        )  # fmt: skip
        losses.append(history["loss"])
    assert same(whole, pieces, 1e-9)
    assert np.allclose(*losses, rtol=1e-9)


def without_norms(model):
    """Return the model with running statistics in the place of its normalizations."""
    bn.freeze(model)
    return model


@pytest.mark.parametrize(
    "loss", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.BCEWithLogitsLoss, lambda: squares]
)
def test_accumulation_takes_every_loss_of_uneven_parts(loss):
    x, y = rows(20)
    targets = np.stack([y, 1 - y], 1).astype(float)
    found = []
    for cuts in ([], [3, 12]):
        batches = list(zip(np.split(x, cuts), np.split(targets, cuts), strict=True))
        model = network(norm=False)
        optimizer = nn.SGD(model.parameters(), lr=0.1)
        fit(model, batches, accumulate=3, criterion=loss(), optimizer=optimizer, metrics=())
        found.append(model)
    assert same(*found, 1e-9)


class Squares:
    """A loss of one's own, the mean of squares."""

    def __call__(self, y, target):
        self.difference = y - target
        return float(np.mean(self.difference**2))

    def backward(self):
        return 2 * self.difference / self.difference.size


squares = Squares()


def test_accumulation_gives_the_same_bits_each_time():
    found = []
    for _ in range(3):
        model = residual()
        fit(model, images(), batch_size=5, accumulate=4)
        found.append(model)
    assert same(found[0], found[1]) and same(found[0], found[2])


def test_accumulated_running_statistics_count_one_batch():
    model = network()
    fit(model, rows(32), batch_size=8, accumulate=4, epochs=3)
    assert int(model[1].num_batches_tracked) == 3
    assert model[1].combine is None


def test_an_error_in_one_part_leaves_the_model_as_it_was():
    model = network()
    x, y = rows(30)
    y[25] = 7
    before = model.state_dict()
    batches = [(x[i : i + 10], y[i : i + 10]) for i in (0, 10, 20)]
    with pytest.raises(ValueError, match="in epoch 1, batch 1: class indices must be between"):
        fit(model, batches, accumulate=3)
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
    assert model[1].combine is None and threading.active_count() < 20


def test_an_error_inside_a_part_ends_all_parts():
    class Picky(nn.Identity):
        def forward(self, x):
            if x.shape[0] == 7:
                raise ValueError("seven")
            return super().forward(x)

    model = nn.Sequential(bn.BatchNorm1d(4, dtype=np.float64), Picky(), nn.Linear(4, 2, dtype="f8"))
    x, y = rows(17)
    before, threads = model.state_dict(), threading.active_count()
    with pytest.raises(ValueError, match="seven"):
        fit(model, [(x[:10], y[:10]), (x[10:], y[10:])], accumulate=2)
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
    assert threading.active_count() == threads


def test_parts_that_take_other_ways_are_refused(soon):
    class Fork(nn.Module):
        def __init__(self):
            self.a, self.b = (bn.BatchNorm1d(4, dtype=np.float64) for _ in range(2))

        def forward(self, x):
            return self.a(x) if x.shape[0] == 10 else self.b(self.a(x))

    x, y = rows(27)
    for ends in ((0, 10, 17), (0, 7, 17)):
        batches = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(ends)]
        with pytest.raises(
            ValueError, match=r"all parts of a batch to go through the same .* at b"
        ):
            fit(Fork(), batches, accumulate=2)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (bn.BatchNormalization(axis=1, renorm=True), "output depends on running statistics"),
        (bn.BatchNormalization(axis=1, gamma_regularizer="l2"), "regularizer would count"),
        (bn.GhostBatchNorm(bn.BatchNorm2d(2), 4), "ghost batches are parts of a whole batch"),
        (bn.InstanceNorm2d(2, track_running_stats=True), "buffers change with each part"),
    ],
)
def test_layers_that_accumulation_would_change_are_refused(layer, reason):
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(50, 3))
    x, y = images()
    with pytest.raises(ValueError, match=rf"accumulate must be 1 for a model with 0 .*{reason}"):
        fit(model, (x.astype(np.float32), y), accumulate=2)


# ---- numbers that are not finite ----


def test_a_loss_that_is_not_finite_names_the_step_and_the_first_bad_layer():
    model = network()
    before, (x, y) = model.state_dict(), rows()
    model[3].weight.data[0, 0] = np.inf
    with pytest.raises(FloatingPointError) as error:
        fit(model, (x, y), batch_size=30)
    assert str(error.value) == (
        "the loss of step 1 (epoch 1, batch 1) is nan: the first layer whose output is not finite "
        "is 3 (Linear), whose weight is not finite either"
    )
    state = model.state_dict()
    assert all(np.array_equal(before[k], state[k]) for k in before if k != "3.weight")


@pytest.mark.filterwarnings("ignore::bn.NonFiniteWarning")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_data_that_are_not_finite_are_named_and_change_nothing(tmp_path, accumulate):
    x, y = rows(80)
    bad = x.copy()
    bad[45, 2] = np.nan
    batches = [(bad[i : i + 10], y[i : i + 10]) for i in range(0, 80, 10)]
    path, model, whole = tmp_path / "run.npz", network(), network()
    with pytest.raises(FloatingPointError, match=r"epoch 1, batch 5\) is nan: x of that batch has"):
        fit(model, batches, checkpoint=path, save_every=1, accumulate=accumulate)
    fit(whole, batches[:4], epochs=1, accumulate=accumulate)
    assert same(model, whole)
    fresh = network()
    nn.load_training(path, fresh)
    assert same(fresh, whole)


def test_a_loss_that_is_not_finite_by_its_targets_says_so():
    class Bad(nn.MSELoss):
        def __call__(self, y, target):
            return super().__call__(y, target) * np.inf

    x, y = rows()
    with pytest.raises(FloatingPointError, match="it comes from the loss or its targets"):
        fit(network(), (x, np.stack([y, y], 1)), criterion=Bad())


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    class Spoil(nn.Callback):
        def on_batch_end(self, state):
            if state.step == 2:
                state.model[0].weight.data[0, 0] = np.nan

    path, model = tmp_path / "run.npz", network()
    with pytest.raises(FloatingPointError, match=r"0.weight is not finite after step 2: .*run.npz"):
        fit(model, rows(), checkpoint=path, save_every=1, callbacks=[Spoil()])


def test_the_search_for_a_bad_layer_draws_the_same_random_numbers():
    class Scaled(nn.Dropout):
        def forward(self, x, *, training=None):
            y = super().forward(x, training=training)
            return y * (np.inf if y[0, 0] else 1.0)

    for seed in range(8):
        scaled = Scaled(0.5, rng=seed)
        model = nn.Sequential(nn.Identity(), scaled, nn.Linear(4, 2, dtype=np.float64))
        with pytest.raises(FloatingPointError, match=r"is 1 \(Scaled\)"), np.errstate(all="ignore"):
            fit(model, (np.ones((60, 4)), rows()[1]), epochs=20, batch_size=60)


# ---- data ----


def test_an_iterator_that_ends_early_is_named():
    class Short(list):
        def __len__(self):
            return 5

    x, y = rows()
    with pytest.raises(ValueError, match=r"train must give 5 batches, as its len\(\) says, got 2"):
        fit(network(), Short([(x, y), (x, y)]))


def test_an_iterator_that_can_be_used_once_is_named():
    with pytest.raises(ValueError, match="train must give batches in every epoch, got none in epo"):
        fit(network(), iter([rows()]))


def test_validation_data_that_can_be_used_once_are_named():
    with pytest.raises(ValueError, match="validation must give batches in every epoch, got none"):
        fit(network(), rows(), validation=iter([rows()]))


def test_an_error_of_the_validation_names_it():
    x, y = rows()
    with pytest.raises(ValueError, match="in validation, epoch 1: class indices must be"):
        fit(network(), (x, y), validation=[(x, y + 1)])


def test_a_batch_of_another_shape_is_named():
    x, y = rows()
    batches = [(x, y), (x[:, :3], y)]
    with pytest.raises(ValueError, match=r"in epoch 1, batch 2: in 0: Linear takes 4 features"):
        fit(network(), batches)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (rows()[0], r"a batch must be \(x, y\) or \(x, y, sample_weight\), all of arrays, got nd"),
        ((rows()[0], rows()[1][:3]), "y must have as many rows as x, 60, got 3"),
        ((rows()[0][:0], rows()[1][:0]), "x must not be empty"),
    ],
)
def test_what_is_no_batch_is_named(batch, message):
    with pytest.raises((TypeError, ValueError), match=f"in epoch 1, batch 2: {message}"):
        fit(network(), iter([rows(), batch]))


def test_a_validation_set_of_other_classes_is_named_before_the_training():
    model, (x, y) = network(), rows()
    before = model.state_dict()
    message = "y of validation must hold classes between 0 and 1, as many as .*, got 0 to 5"
    with pytest.raises(ValueError, match=message):
        fit(model, (x, y), validation=(x, np.where(y, 5, 0)))
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())


def test_a_validation_set_of_another_shape_is_named_before_the_training():
    x, y = rows()
    with pytest.raises(ValueError, match=r"validation must have samples of shape \(4,\), as train"):
        fit(network(), (x, y), validation=(x[:, :2], y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"accumulate": 1.5}, "accumulate must be a positive integer, got 1.5"),
        ({"clip": 0}, "clip must be .* 0"),
        ({"metrics": "accuracy"}, "metrics must be a tuple of metrics, got 'accuracy'"),
        ({"metrics": ("acuracy",)}, "metrics must be functions of .* 'accuracy', got 'acuracy'"),
        ({"callbacks": [3]}, "every one of callbacks must be of type Callback, got int"),
        ({"resume": True}, "checkpoint must be the path of a file for resume, got None"),
        ({"save_every": 3}, "checkpoint must be the path of a file for save_every, got None"),
        ({"schedule_every": "step"}, "schedule_every must be one of 'epoch', 'batch', got 'step'"),
        ({"criterion": 3}, "criterion must be callable, got int"),
        (
            {"criterion": nn.CrossEntropyLoss},
            r"criterion must be .*, got the class CrossEntropyLoss: call it, CrossEntropyLoss\(",
        ),
        (
            {"metrics": (nn.MSELoss,)},
            "every one of metrics must be .*, got the class MSELoss: call",
        ),
        ({"optimizer": nn.Adam}, "optimizer must be of type Optimizer, got the class Adam"),
        ({"schedule": nn.StepLR}, "schedule must be an object with a step, got the class StepLR"),
        ({"callbacks": [nn.EarlyStopping]}, "must be of type Callback, got the class EarlyStopp"),
        ({"optimizer": "adam"}, "optimizer must be of type Optimizer, got str"),
        ({"criterion": nn.MSELoss(reduction="none")}, "criterion must return one number"),
        ({"callbacks": [nn.EarlyStopping()]}, "monitor of EarlyStopping must be a column .* loss"),
        ({"schedule": nn.StepLR(nn.SGD([nn.Parameter([1.0])], 1), 1)}, "be of the optimizer that"),
    ],
)
def test_an_argument_that_is_not_as_it_must_be_is_named(options, message):
    x, y = rows()
    y = x[:, :2] if isinstance(options.get("criterion"), nn.MSELoss) else y
    with pytest.raises((TypeError, ValueError), match=message):
        fit(network(), (x, y), **options)


def test_a_class_is_no_criterion_of_an_evaluation():
    with pytest.raises(TypeError, match=r"criterion must be .*, got the class MSELoss: call it"):
        nn.evaluate(network(), *rows(), criterion=nn.MSELoss)


def test_a_model_and_data_are_needed():
    with pytest.raises(TypeError, match="model must be of type Module, got int"):
        fit(3, rows())
    with pytest.raises(TypeError, match=r"train must be a pair \(x, y\) of arrays or an iterable"):
        fit(network(), rows()[0])
    with pytest.raises(ValueError, match="rng must be None where train is an iterable"):
        fit(network(), [rows()], rng=0)


# ---- loader ----


def test_a_loader_gives_each_sample_once_in_a_new_order():
    x, _ = rows(50)
    loader = nn.BatchLoader(x, np.arange(50), 8, rng=0)
    first, second = ([i for _, part in loader for i in part] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert [len(part) for part, _ in loader] == [8] * 6 + [2] and len(loader) == 7


def test_a_loader_keeps_samples_and_targets_together_and_copies_nothing_in_order():
    x, y = rows(20)
    for part, targets in nn.BatchLoader(x, x.sum(1), 6, rng=0):
        assert np.array_equal(part.sum(1), targets)
    for part, _ in nn.BatchLoader(x, y, 6, shuffle=False):
        assert part.base is x


def test_a_loader_drops_the_last_batch_if_it_is_asked_to():
    x, y = rows(20)
    assert [len(part) for part, _ in nn.BatchLoader(x, y, 6, drop_last=True)] == [6, 6, 6]
    with pytest.raises(ValueError, match="batch_size must be at most the number of samples, 20"):
        nn.BatchLoader(x, y, 21, drop_last=True)


def test_a_loader_that_was_left_begins_a_new_epoch():
    x, _ = rows(20)
    loader = nn.BatchLoader(x, np.arange(20), 6, rng=0)
    next(iter(loader))
    assert sorted(i for _, part in loader for i in part) == list(range(20))


@pytest.mark.parametrize("seen", range(5))
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_goes_on_where_another_one_was(seen, shuffle):
    x, _ = rows(20)

    def make(rng):
        return nn.BatchLoader(x, np.arange(20), 6, shuffle=shuffle, augment=shift, rng=rng)

    def shift(x, y, rng):
        return x + rng.random(), y

    one, other = make(0), make(1)
    batches = iter(one)
    for _ in range(seen):
        next(batches, None)
    other.load_state_dict(one.state_dict())
    rest = list(batches) + (list(one) if seen else [])
    found = list(other) + (list(other) if seen else [])
    for (a, b), (c, d) in zip(rest, found, strict=True):
        assert np.array_equal(a, c) and np.array_equal(b, d)


def test_targets_may_become_probabilities():
    def smooth(x, y, rng):
        return x, np.eye(2)[y] * 0.9 + 0.05

    one, other, (x, y) = network(), network(), rows()
    fit(one, nn.BatchLoader(x, y, 20, augment=smooth, rng=0))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    history = fit(other, nn.BatchLoader(x, y, 20, rng=0), criterion=criterion)
    assert same(one, other, 1e-12) and 0 < history["accuracy"][-1] <= 1


def test_an_augmentation_must_return_a_pair():
    loader = nn.BatchLoader(*rows(), 6, augment=lambda x, y, rng: x)
    with pytest.raises(TypeError, match=r"augment must return a pair \(x, y\), got ndarray"):
        next(iter(loader))


# ---- callbacks and history ----


def test_early_stopping_ends_after_its_patience():
    x, y = rows()
    early = nn.EarlyStopping("loss", patience=3, min_delta=100.0)
    assert len(fit(network(), (x, y), epochs=50, callbacks=[early])) == 4


class Scripted(nn.Callback):
    """Measures what it is told to, and remembers the state of the model after each epoch."""

    def __init__(self, values):
        self.values, self.states, self.ends = values, [], []

    def on_epoch_end(self, state):
        state.logs["loss"] = self.values[state.epoch - 1]
        self.states.append(state.model.state_dict())

    def on_train_end(self, state):
        self.ends.append(len(state.history))


def is_state(model, expected):
    found = model.state_dict()
    return all(np.array_equal(found[k], expected[k]) for k in expected)


@pytest.mark.parametrize(("patience", "epochs"), [(2, 4), (9, 5)], ids=["early", "last epoch"])
def test_the_weights_of_the_best_epoch_are_restored_at_the_end(patience, epochs):
    for restored, epoch in ((True, 2), (False, epochs)):
        model, script = network(), Scripted([3.0, 1.0, 2.0, 2.5, 1.5])
        early = nn.EarlyStopping("loss", patience, restore_best_weights=restored)
        assert len(fit(model, rows(), epochs=5, callbacks=[script, early])) == epochs
        assert is_state(model, script.states[epoch - 1])
        assert not is_state(model, script.states[0])


def test_callbacks_are_told_once_that_a_training_has_ended():
    script = Scripted([3.0, 1.0])
    fit(network(), rows(), callbacks=[script])
    assert script.ends == [2]


def test_callbacks_are_not_told_the_end_of_a_training_that_failed():
    script, x = Scripted([3.0]), rows()[0]
    with pytest.raises(ValueError, match="epoch 1, batch 2"):
        fit(network(), iter([rows(), (x, x[:3])]), callbacks=[script])
    assert script.ends == []


def test_a_callback_ends_a_training_in_an_epoch():
    class Three(nn.Callback):
        def on_batch_end(self, state):
            state.stop = state.step == 3

    losses = Losses()
    history = fit(network(), rows(), batch_size=6, callbacks=[Three(), losses])
    assert len(losses.seen) == 3 and len(history) == 0


def test_the_best_model_is_kept(tmp_path):
    path, model = tmp_path / "best.npz", network()
    states = []

    class Remember(nn.Callback):
        def on_epoch_end(self, state):
            states.append(state.model.state_dict())
            state.logs["val_loss"] = [3.0, 1.0, 2.0][state.epoch - 1]

    callbacks = [Remember(), nn.BestCheckpoint(path)]
    fit(model, rows(), validation=rows(20), epochs=3, callbacks=callbacks)
    best = nn.load(path, network()).state_dict()
    assert all(np.array_equal(best[k], states[1][k]) for k in best)
    assert nn.metadata(path)["epoch"] == 2


def test_a_value_that_is_not_finite_is_never_the_best():
    early = nn.EarlyStopping("loss")
    state = nn.TrainingState(None, None)
    for loss in (math.nan, 2.0, math.nan, -math.inf):
        state.logs = {"loss": loss}
        early.on_epoch_end(state)
    assert early.best == 2.0


def test_a_missing_folder_is_told_before_the_training(tmp_path):
    def refused(name):
        return pytest.raises(
            FileNotFoundError, match=f"{name} must be in a folder that exists, got .*none"
        )

    model, folder = network(), tmp_path / "none"
    before = model.state_dict()
    with refused("path"):
        nn.CSVLogger(folder / "history.csv")
    with refused("path"):
        nn.BestCheckpoint(folder / "best.npz")
    for resume in (False, True):
        with refused("checkpoint"):
            fit(model, rows(), checkpoint=folder / "run.npz", resume=resume)
    assert is_state(model, before)


def test_the_history_is_written_after_each_epoch(tmp_path):
    path = tmp_path / "history.csv"
    history = fit(network(), rows(), epochs=3, callbacks=[nn.CSVLogger(path)])
    with path.open() as file:
        found = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert found == history.epochs


def test_a_history_is_saved_as_json_and_as_csv_only(tmp_path):
    history = fit(network(), rows())
    history.save(tmp_path / "history.json")
    assert json.loads((tmp_path / "history.json").read_text()) == history.epochs
    with pytest.raises(ValueError, match=r"path must end in .json or .csv, got .*txt"):
        history.save(tmp_path / "history.txt")
    with pytest.raises(ValueError, match=r"path must end in .csv, got .*json"):
        nn.CSVLogger(tmp_path / "history.json")


def test_a_history_is_a_table_in_a_notebook_and_a_line_elsewhere():
    history = nn.History([{"epoch": 1, "a<b": 0.5, "loss": 1e-5}])
    assert history._repr_html_() == (
        "<table><tr><th>epoch</th><th>a&lt;b</th><th>loss</th></tr>"
        "<tr><td>1</td><td>0.5000</td><td>1e-05</td></tr></table>"
    )
    assert repr(history) == "History(1 epochs, epoch=1, a<b=0.5000, loss=1e-05)"
    assert repr(nn.History()) == "History(0 epochs)" and str(nn.History()) == "no epoch"


def test_a_history_draws_training_and_validation():
    pytest.importorskip("matplotlib")
    figure = fit(network(), rows(), validation=rows(20)).plot()
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert [len(line.get_xdata()) for line in loss.lines] == [2, 2]


# ---- what is seen ----


def test_without_a_terminal_there_is_a_line_for_each_epoch(capsys):
    fit(network(), rows(), progress=True, epochs=2, validation=rows(20))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2  loss 0.") and "val_accuracy" in second


def test_it_is_silent_if_asked(capsys):
    fit(network(), rows())
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_a_bar_is_shown_and_the_lines_stay():
    pytest.importorskip("rich")
    from rich.console import Console
    from rich.progress import Progress

    from bn.nn.training.display import Bars

    console = Console(force_terminal=True, width=60, file=io.StringIO(), record=True)
    with Progress(console=console) as bars:
        shown = Bars(3, bars)
        shown.begin(1, 10, 0)
        shown.batch(0.5, 4)
        assert (bars.tasks[0].completed, bars.tasks[0].fields["loss"]) == (4, "loss 0.5000")
        shown.end({"epoch": 1, "loss": 0.5, "seconds": 1.0})
        assert bars.tasks == []
    assert "epoch 1/3  loss 0.5000" in console.export_text()


def test_fit_runs_in_a_thread_which_gets_no_signals():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(fit(network(), rows())))
    thread.start()
    thread.join()
    assert len(histories[0]) == 2 and signal.getsignal(signal.SIGINT) is not None


def test_an_optimizer_of_another_model_is_refused():
    x, y = np.ones((8, 5), np.float32), np.arange(8) % 4
    other = nn.Sequential(nn.Linear(5, 4, rng=0))
    with pytest.raises(ValueError, match="optimizer must have parameters of the model"):
        nn.fit(
            nn.Sequential(nn.Linear(5, 4, rng=0)), (x, y), progress=False,
            optimizer=nn.SGD(other.parameters(), lr=0.1),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [int, bool, np.float32])
def test_one_hot_targets_of_any_dtype_have_an_accuracy(dtype):
    model = nn.Sequential(nn.Linear(5, 4, rng=0))
    x = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    classes = model(x).argmax(axis=1)
    found = nn.evaluate(model, x, np.eye(4, dtype=dtype)[classes])
    assert found["accuracy"] == 1.0


def test_a_cycle_of_batches_is_not_stepped_by_epochs():
    model = nn.Sequential(nn.Linear(5, 4, rng=0))
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = nn.OneCycleLR(optimizer, max_lr=0.1, epochs=2, steps_per_epoch=4)
    data, options = (np.ones((8, 5), np.float32), np.arange(8) % 4), {"progress": False}
    with pytest.raises(ValueError, match="schedule of 8 steps must have as many as there are"):
        nn.fit(model, data, optimizer=optimizer, schedule=schedule, epochs=2, **options)
    history = nn.fit(
        model, data, optimizer=optimizer, schedule=schedule, epochs=2, batch_size=2,
        schedule_every="batch", **options,
    )  # fmt: skip
    assert len(history.epochs) == 2
