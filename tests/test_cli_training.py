"""These tests are of the training loop of one network, and of the report that is made of it."""

import json
import signal

import numpy as np
import pytest
from cli_files import write_cifar, write_mnist
from threadpoolctl import threadpool_info, threadpool_limits

import bn
from bn.cli import display, models, parser, results, train
from bn.cli.batches import Batches, split
from bn.cli.data import Pixels, load_digits, load_folder
from bn.cli.process import limit_threads, stop_on_interrupt
from bn.cli.training import Epoch, Options, Run, Trainer


@pytest.fixture
def data(tmp_path):
    return load_folder(write_mnist(tmp_path, n_train=40))


@pytest.fixture
def trainer(data):
    return make_trainer(data)


def make_trainer(data, seed=0):
    """Make a trainer for three epochs of three steps; `seed` decides the order of images only."""
    model = models.build("tutorial-keras", data.shape, 10, norm="batch", seed=0)
    recipe = models.RECIPES["tutorial-keras"]
    return Trainer(model, recipe, data, Pixels.of(data), Options(3, 16, 0.05, seed))


class Quiet:
    """It watches nothing, and asks for a stop after some steps."""

    def __init__(self, stop_after=10**9):
        self.left, self.requested = stop_after, False

    def start(self, run, epochs, steps):
        pass

    def step(self, loss, images_per_second, done):
        self.left -= 1
        self.requested = self.left <= 0

    def epoch(self, epoch, epochs):
        pass


def test_testing_with_batch_statistics_leaves_the_running_statistics_alone(trainer):
    run = Run("network")
    trainer.fit(run, Quiet(), Quiet())
    before = trainer.model.state_dict()
    trainer.test_with_batch_statistics()
    after = trainer.model.state_dict()
    assert any(name.endswith("running_mean") or "moving_mean" in name for name in before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    assert not trainer.model.training


def test_the_seed_decides_the_order_of_the_images(data):
    losses = []
    for seed in (1, 1, 2):
        run = Run("network")
        make_trainer(data, seed).fit(run, Quiet(), Quiet())
        losses.append([epoch.train_loss for epoch in run.epochs])
    assert losses[0] == losses[1] != losses[2]


def test_training_heeds_a_stop_between_two_steps(trainer):
    watcher, run = Quiet(stop_after=4), Run("network")
    trainer.fit(run, watcher, watcher)
    assert trainer.steps == 3 and watcher.left == 0
    assert run.status == "interrupted" and len(run.epochs) == 1
    assert run.train_loss != run.epochs[0].train_loss  # but that of the step after the epoch
    trainer.measure_both(run)
    assert np.isfinite(run.test_accuracy_eval) and np.isfinite(run.test_accuracy_batch)


def test_a_loss_that_is_no_number_ends_the_training_without_warnings(trainer):
    next(iter(trainer.model.parameters())).data[...] = np.nan
    run = Run("network")
    trainer.fit(run, Quiet(), Quiet())
    assert run.status == "diverged" and run.epochs == [] and np.isnan(run.train_loss)
    trainer.measure_both(run)


def test_the_learning_rate_of_a_training_falls_to_zero(trainer):
    run = Run("network")
    trainer.fit(run, Quiet(), Quiet())
    rates = [epoch.lr for epoch in run.epochs]
    assert rates[0] == 0.05 and rates == sorted(rates, reverse=True)
    assert trainer.opt.lr == pytest.approx(0, abs=1e-9)


def test_the_default_network_reaches_98_percent_on_the_digits():
    pytest.importorskip("sklearn")
    args = parser().parse_args(["train"])
    data, recipe = load_digits(), models.RECIPES[args.model]
    model = models.build(args.model, data.shape, 10, norm="batch", seed=args.seed)
    options = Options(args.epochs, train.BATCH_SIZE, args.lr[0], args.seed)
    trainer, run = Trainer(model, recipe, data, Pixels.of(data), options), Run("network")
    trainer.fit(run, Quiet(), Quiet())
    trainer.measure_both(run)
    assert run.test_accuracy_eval >= 0.98 and run.test_accuracy_batch >= 0.98


@pytest.mark.parametrize("size", [2, 3, 7, 64])
@pytest.mark.parametrize("n", [*range(2, 20), 128, 129])
def test_batches_cover_every_image_once_and_none_has_one_image(n, size):
    parts = split(n, size)
    np.testing.assert_array_equal(np.concatenate([np.arange(n)[p] for p in parts]), np.arange(n))
    lengths = [p.stop - p.start for p in parts]
    assert min(lengths) >= 2 and max(lengths) - min(lengths) <= 1
    assert max(lengths) <= max(size, 3)


# the report


def test_metrics_json_writes_null_for_what_is_no_number(tmp_path, data):
    epoch = Epoch(1, 0.1, float("nan"), 0.1, float("inf"), 0.1, 1.0, 10.0)
    run = Run("network", status="diverged", epochs=[epoch])
    results.write_metrics(tmp_path / "metrics.json", {}, data, [run])
    (network,) = json.loads((tmp_path / "metrics.json").read_text())["networks"]
    assert network["epochs"][0]["train_loss"] is None
    assert network["epochs"][0]["test_loss"] is None
    assert network["test_accuracy_eval"] is None


def test_drawing_leaves_the_callers_matplotlib_as_it_was(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        epoch = Epoch(1, 0.1, float("nan"), 0.1, float("inf"), 0.1, 1.0, 10.0)
        runs = [Run("network", epochs=[epoch])]
        results.draw_curves(tmp_path / "curves.png", "title", runs)
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_without_rich_a_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with display.open_display() as watcher:
        assert isinstance(watcher, display.Lines)


def test_a_file_gets_plain_lines_even_where_colour_is_forced(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    with display.open_display() as watcher:
        assert isinstance(watcher, display.Lines)


# what a command changes in its process


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture
def two_blas_threads():
    with threadpool_limits(2, user_api="blas"):
        if 2 not in blas_threads():
            pytest.skip("NumPy's matrix products have one thread")
        yield


def test_matrix_products_are_limited_to_the_threads_that_were_asked_for(two_blas_threads):
    with limit_threads(1):
        assert set(blas_threads()) == {1}
    assert 2 in blas_threads()


def test_threads_are_limited_in_batch_normalization_and_blas_and_given_back():
    before = bn.get_num_threads(), blas_threads()
    with limit_threads(1):
        assert bn.get_num_threads() == 1 and set(blas_threads()) <= {1}
    assert (bn.get_num_threads(), blas_threads()) == before
    with limit_threads(None):
        assert (bn.get_num_threads(), blas_threads()) == before


def test_the_first_ctrl_c_asks_and_the_second_one_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stop_on_interrupt() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.requested
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


# batches


def letters(n=7):
    """Return batches of numbers, each its own label, converted to their tenfold."""
    x = np.arange(n)
    return Batches(x, x, lambda rows: 10 * rows, 3, np.random.default_rng(0))


def test_each_epoch_has_all_images_in_an_order_of_its_own():
    batches = letters()
    first, second = (np.concatenate([y for _, y in batches]).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(7)) and first != second
    assert all((x == 10 * y).all() for x, y in batches)


@pytest.mark.parametrize("before", range(4))
def test_batches_go_on_from_their_state(before):
    batches, again = letters(), letters()
    epoch = iter(batches)
    for _ in range(before):
        next(epoch)
    again.load_state_dict(batches.state_dict())
    rest = [y.tolist() for _, y in epoch] if before else [y.tolist() for _, y in batches]
    assert [y.tolist() for _, y in again] == rest
    assert [y.tolist() for _, y in again] == [y.tolist() for _, y in batches]


def test_an_epoch_that_was_left_begins_anew_without_a_state():
    tests = Batches(np.arange(6), np.arange(6), np.asarray, 2)
    next(iter(tests))
    assert [y.tolist() for _, y in tests] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(("channels", "kind"), [(1, "RandomCrop"), (3, "Compose")])
def test_colour_images_are_mirrored_and_digits_are_not(tmp_path, channels, kind):
    folder = write_mnist(tmp_path) if channels == 1 else write_cifar(tmp_path)
    data = load_folder(folder)
    model = models.build("digits", data.shape, 10, norm="none")
    options = Options(1, 4, 0.1, 0, augment=True)
    trainer = Trainer(model, models.RECIPES["digits"], data, Pixels.of(data), options)
    assert type(trainer.augmentation()).__name__ == kind
