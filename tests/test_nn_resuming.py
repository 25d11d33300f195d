"""A training that was stopped and goes on ends with the bits of one that never stopped."""

import signal
import sys
import zlib

import numpy as np
import pytest
from cli_files import run_python
from training_runs import BATCHES, EPOCHS, Stop, data, network, run

import bn
from bn import nn

STEPS = EPOCHS * BATCHES


class Broken(Exception):
    pass


def fail():
    raise Broken


@pytest.fixture(scope="module")
def whole():
    return run(None, resume=False)


def test_saving_changes_no_bit(tmp_path, whole):
    assert run(tmp_path / "run.npz", save_every=1) == whole


@pytest.mark.parametrize("save_every", [None, 2])
@pytest.mark.parametrize("step", [1, 4, BATCHES, BATCHES + 3, STEPS])
def test_after_an_exception_it_goes_on_with_the_same_bits(tmp_path, whole, step, save_every):
    path = tmp_path / "run.npz"
    with pytest.raises(Broken):
        run(path, Stop(step, fail), save_every=save_every)
    assert run(path, save_every=save_every) == whole


def test_it_may_be_stopped_again_and_again(tmp_path, whole):
    path = tmp_path / "run.npz"
    for step in (2, 3, 7, 8, 13):
        with pytest.raises(Broken):
            run(path, Stop(step, fail), save_every=1)
    assert run(path) == whole


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [1, 3, BATCHES, STEPS])
def test_ctrl_c_saves_after_this_batch(tmp_path, whole, step):
    path, losses = tmp_path / "run.npz", []
    stop = Stop(step, press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(path, stop)
    losses += stop.losses
    assert nn.load_training(path, network())["step"] == step
    again = Stop()
    assert run(path, again) == whole
    assert again.losses[:step] == losses and len(losses) == step


def test_early_stopping_counts_the_epochs_before_the_stop(tmp_path):
    def train(function):
        early = nn.EarlyStopping("loss", patience=3, min_delta=100.0)
        loader = nn.BatchLoader(*data(), 8, rng=0)
        return nn.fit(
            network(), loader, epochs=50, callbacks=[early, Stop(13, function)], progress=False,
            checkpoint=tmp_path / "run.npz", resume=True,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        train(press_ctrl_c)
    assert len(train(press_ctrl_c)) == 4 and len(train(press_ctrl_c)) == 4


@pytest.mark.parametrize("step", [2 * BATCHES, 2 * BATCHES + 1, 3 * BATCHES + 2])
def test_the_weights_of_the_best_epoch_outlast_a_stop(tmp_path, step):
    class Worse(nn.Callback):
        def on_epoch_end(self, state):
            state.logs["loss"] = abs(state.epoch - 2.0)

    def train(path, stop):
        model, loader = network(), nn.BatchLoader(*data(), 8, rng=0)
        early = nn.EarlyStopping("loss", patience=2, restore_best_weights=True)
        nn.fit(
            model, loader, epochs=9, callbacks=[Worse(), early, stop], progress=False,
            checkpoint=path, resume=path is not None,
        )  # fmt: skip
        return model.state_dict()

    path, whole = tmp_path / "run.npz", train(None, Stop())
    with pytest.raises(Broken):
        train(path, Stop(step, fail))
    for _ in range(2):  # the second time there is nothing left but the end
        found = train(path, Stop())
        assert all(np.array_equal(found[name], whole[name]) for name in whole)


def test_the_best_weights_are_not_left_out_of_a_training_that_kept_none(tmp_path):
    def train(restore):
        early = nn.EarlyStopping("loss", restore_best_weights=restore)
        nn.fit(
            network(), nn.BatchLoader(*data(), 8, rng=0), epochs=1, callbacks=[early],
            checkpoint=tmp_path / "run.npz", resume=True, progress=False,
        )  # fmt: skip

    train(restore=False)
    with pytest.raises(ValueError, match="restore_best_weights must be False to go on with"):
        train(restore=True)


def test_the_same_optimizer_goes_on_although_its_schedule_has_changed_its_rate(tmp_path):
    path, model = tmp_path / "run.npz", network()
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = nn.OneCycleLR(optimizer, 0.1, epochs=9, steps_per_epoch=1)
    loader = nn.BatchLoader(*data(), 8, rng=0)

    def train(stop):
        return nn.fit(
            model, loader, epochs=9, optimizer=optimizer, schedule=schedule, callbacks=[stop],
            checkpoint=path, resume=True, progress=False,
        )  # fmt: skip

    with pytest.raises(Broken):
        train(Stop(2 * BATCHES, fail))
    assert optimizer.lr != 0.1 and len(train(Stop())) == 9


def test_ctrl_c_during_the_validation_repeats_only_that(tmp_path, whole):
    path = tmp_path / "run.npz"

    def accuracy_then_ctrl_c(out, y):
        if accuracy_then_ctrl_c.pressing and len(y) == 10:
            press_ctrl_c()
        return 0.0

    accuracy_then_ctrl_c.pressing = True
    options = {"metrics": (accuracy_then_ctrl_c,)}
    first, second = Stop(), Stop()
    with pytest.raises(KeyboardInterrupt):
        run(path, first, **options)
    accuracy_then_ctrl_c.pressing = False
    resumed = run(path, second, **options)
    assert len(first.losses) == BATCHES and second.losses[:BATCHES] == first.losses
    assert resumed == run(None, resume=False, **options)


def test_the_handler_of_ctrl_c_is_the_one_before():
    before = signal.getsignal(signal.SIGINT)
    run(None, resume=False)
    assert signal.getsignal(signal.SIGINT) is before


KILLED = """
import os, signal, sys, pathlib
from training_runs import Stop, run

def die():
    os.kill(os.getpid(), signal.SIGKILL)

folder = pathlib.Path(sys.argv[1])
print(run(None, resume=False))
for step in (1, 6, 9, 15):
    path = folder / f"{step}.npz"
    child = os.fork()
    if child == 0:
        run(path, Stop(step, die), save_every=None if step == 6 else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    print(run(path))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such kill")
def test_a_training_that_is_killed_goes_on_with_the_same_bits(tmp_path, whole):
    done = run_python("-c", KILLED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [whole] * 5 + [""]


def test_a_training_that_has_ended_does_nothing_more(tmp_path, whole):
    path, stop = tmp_path / "run.npz", Stop()
    run(path)
    assert run(path, stop) == whole and len(stop.losses) == STEPS


SCHEDULES = [
    (lambda optimizer: nn.OneCycleLR(optimizer, 0.1, total_steps=STEPS), "batch"),
    (lambda optimizer: nn.ReduceLROnPlateau(optimizer, factor=0.5, patience=0), "epoch"),
]


@pytest.mark.parametrize(("schedule", "every"), SCHEDULES)
def test_every_schedule_goes_on_where_it_was(tmp_path, schedule, every):
    path, options = tmp_path / "run.npz", {"schedule_of": schedule, "schedule_every": every}
    with pytest.raises(Broken):
        run(path, Stop(12, fail), save_every=1, **options)
    assert run(path, **options) == run(None, resume=False, **options)


def batches():
    x, y = data()
    return [(x[i : i + 8], y[i : i + 8]) for i in range(0, 38, 8)]


def test_a_list_of_batches_is_gone_on_with(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(Broken):
        run(path, Stop(7, fail), loader=batches(), save_every=1)
    assert run(path, loader=batches()) == run(None, resume=False, loader=batches())


def test_an_iterator_without_a_state_has_no_checkpoint(tmp_path):
    with pytest.raises(TypeError, match=r"train must be able to go on where it was.*got generator"):
        run(tmp_path / "run.npz", loader=(each for each in batches()))


def test_accumulated_batches_are_gone_on_with(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(Broken):
        run(path, Stop(5, fail), accumulate=2, save_every=1)
    assert run(path, accumulate=2) == run(None, resume=False, accumulate=2)


# ---- files that do not fit ----


def test_a_file_that_exists_is_not_overwritten_without_resume(tmp_path):
    path = tmp_path / "run.npz"
    run(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"go on with it by resume=True, or remove it"):
        run(path, resume=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 2}, "accumulate must be as in .*, 1, to go on"),
        ({"metrics": ()}, "metrics must be as in"),
        ({"loader": nn.BatchLoader(*data(), 9)}, "batch_size must be as in .*, 8"),
        (
            {"loader": nn.BatchLoader(*data(30), 8)},
            "run.npz does not fit the objects that are given: the data must be those of the state, "
            "which has 38 samples, got 30",
        ),
        (
            {"loader": nn.BatchLoader(*data(), 8, shuffle=False)},
            "the state must be that of a BatchLoader with shuffle=False, got another order",
        ),
        (
            {"optimizer_options": {"lr": 0.1}},
            r"lr of the optimizer must be as in .*, \[0.01, 0.01\]",
        ),
        ({"optimizer_options": {"betas": (0.5, 0.9)}}, "betas of the optimizer must be as in"),
        ({"weight_decay": 0.1}, r"weight_decay of the optimizer .*, \[0.001, 0.0\], .* \[0.1, 0.0"),
    ],
)
def test_other_settings_are_refused(tmp_path, options, message):
    path = tmp_path / "run.npz"
    with pytest.raises(Broken):
        run(path, Stop(3, fail), save_every=1)
    with pytest.raises(ValueError, match=message):
        run(path, **options)


def test_callbacks_and_a_schedule_are_not_left_out(tmp_path):
    path, loader = tmp_path / "run.npz", nn.BatchLoader(*data(), 8)
    run(path)
    model = network()
    optimizer = nn.Adam(nn.no_decay(model, 1e-3), lr=0.01)
    with pytest.raises(
        ValueError,
        match=r"callbacks must be as in .*'Stop', .EarlyStopping\(monitor='loss'\).\], to",
    ):
        nn.fit(model, loader, optimizer=optimizer, clip=5.0, checkpoint=path, resume=True)
    callbacks = [Stop(), nn.EarlyStopping("loss")]
    with pytest.raises(ValueError, match=r"schedule must be as in .*, 'CosineAnnealingLR\(T_max=3"):
        nn.fit(
            model, loader, optimizer=optimizer, clip=5.0, checkpoint=path, resume=True,
            callbacks=callbacks,
        )  # fmt: skip


def parts(lr=0.01):
    model = network()
    optimizer = nn.Adam(model.parameters(), lr=lr)
    return model, optimizer, nn.StepLR(optimizer, 2)


def trained(path):
    """Return parts after some steps, saved to a file."""
    model, optimizer, schedule = parts()
    loader = nn.BatchLoader(*data(), 8, rng=0)
    nn.fit(model, loader, optimizer=optimizer, schedule=schedule, epochs=1, progress=False)
    nn.save_training(path, model, optimizer, schedule, loader=loader, extra={"a": (1, [2.5, None])})
    return model, optimizer, schedule, loader


def everything(model, optimizer, schedule, loader):
    further = [m.further_state() for m in model.modules()]
    states = [model.state_dict(), further, optimizer.state_dict(), schedule.state_dict()]
    generators = [m.rng.bit_generator.state for m in (model[4], model[6])]
    return repr([*states, loader.state_dict(), generators])


def test_a_file_brings_back_all_parts_of_a_training(tmp_path):
    path = tmp_path / "run.npz"
    was = trained(path)
    model, optimizer, schedule = parts(lr=3.0)
    loader = nn.BatchLoader(*data(), 8)
    extra = nn.load_training(path, model, optimizer, schedule, loader=loader)
    assert extra == {"a": (1, [2.5, None])}
    assert everything(model, optimizer, schedule, loader) == everything(*was)


def test_a_model_alone_is_read_from_the_file_of_a_training(tmp_path):
    path = tmp_path / "run.npz"
    model, *_ = trained(path)
    other = network()
    nn.load_training(path, other)
    for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def flip(content):
    content[len(content) // 2] ^= 1


def cut(content):
    del content[-50:]


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_file_changes_nothing(tmp_path, damage):
    path = tmp_path / "run.npz"
    trained(path)
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    now = (*parts(), nn.BatchLoader(*data(), 8, rng=1))
    before = everything(*now)
    with pytest.raises(ValueError, match="is not a usable checkpoint"):
        nn.load_training(path, *now[:3], loader=now[3])
    assert everything(*now) == before


def test_damage_behind_a_right_checksum_is_an_error_or_harmless(tmp_path):
    path, rng = tmp_path / "run.npz", np.random.default_rng(0)
    trained(path)
    content = path.read_bytes()
    text = content.index(b'{"parts"'), content.index(b'"extra"')
    refused = 0
    for i in range(60):
        low, high = text if i % 2 else (0, len(content) - 8)
        damaged = bytearray(content[:-8])
        damaged[rng.integers(low, high)] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged) + f"{zlib.crc32(bytes(damaged)):08x}".encode())
        now = (*parts(), nn.BatchLoader(*data(), 8, rng=1))
        before = everything(*now)
        try:
            nn.load_training(path, *now[:3], loader=now[3])
        except (ValueError, OSError):
            refused += 1
            assert everything(*now) == before
    assert refused > 30


def test_a_file_that_was_saved_by_hand_is_no_training_of_fit(tmp_path):
    path, model = tmp_path / "run.npz", nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    optimizer, loader = nn.Adam(model.parameters()), nn.BatchLoader(*data(), 8)
    nn.save_training(path, model, optimizer, loader=loader)
    with pytest.raises(ValueError, match=r"run.npz is not a usable checkpoint: it has no progress"):
        nn.fit(model, loader, optimizer=optimizer, checkpoint=path, resume=True)


def test_a_part_that_does_not_fit_changes_none_of_the_others(tmp_path):
    path = tmp_path / "run.npz"
    trained(path)
    now = (*parts(), nn.BatchLoader(*data(20), 8, rng=1))
    before = everything(*now)
    with pytest.raises(ValueError, match="the state, which has 38 samples, got 20"):
        nn.load_training(path, *now[:3], loader=now[3])
    assert everything(*now) == before


def test_an_optimizer_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    trained(path)
    model, *_ = parts()
    with pytest.raises(ValueError, match="optimizer must be of type Adam, as in the file, got SGD"):
        nn.load_training(path, model, nn.SGD(model.parameters(), lr=1))


def test_a_checkpoint_of_a_model_alone_is_no_training(tmp_path):
    path = tmp_path / "model.npz"
    nn.save(path, network())
    with pytest.raises(ValueError, match=r"no file of save_training; nn.load reads the files of"):
        nn.load_training(path, network())


def test_what_is_no_number_text_or_array_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match=r"extra.a.1 must be made of numbers, .*, got function"):
        nn.save_training(tmp_path / "run.npz", network(), extra={"a": [1, fail]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", [1, 3])
def test_a_full_disk_is_an_error_and_the_file_before_stays(monkeypatch, tmp_path, whole, when):
    path, saves = tmp_path / "run.npz", []
    sync = nn.training.resuming.write

    def write(file, arrays):
        saves.append(0)
        if len(saves) == when:
            raise OSError(28, "No space left on device")
        sync(file, arrays)

    monkeypatch.setattr("bn.nn.training.resuming.write", write)
    with pytest.raises(OSError, match="No space left on device") as error:
        run(path)
    assert error.value.filename == str(path)
    assert [each.name for each in tmp_path.iterdir()] == ["run.npz"] * (when > 1)
    assert run(path) == whole


@pytest.mark.filterwarnings("ignore::bn.NonFiniteWarning")
def test_a_channel_that_missed_batches_goes_on_with_its_own_share(tmp_path):
    path, rng = tmp_path / "run.npz", np.random.default_rng(0)
    one, other = (bn.BatchNorm1d(2, momentum=None, dtype=np.float64) for _ in range(2))
    for i in range(4):
        x = rng.standard_normal((20, 2))
        x[0, 0] = np.inf if i % 2 else 1.0
        one(x)
    nn.save_training(path, nn.Sequential(one))
    nn.load_training(path, nn.Sequential(other))
    for layer in (one, other):
        layer(np.arange(40.0).reshape(20, 2))
    assert np.array_equal(one.running_mean, other.running_mean)
    assert one.nonfinite_batches.tolist() == other.nonfinite_batches.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("first", "then", "name"),
    [
        (lambda o: {"schedule": nn.CosineAnnealingLR(o, 4)},
         lambda o: {"schedule": nn.CosineAnnealingLR(o, 40)}, "schedule"),
        (lambda o: {"criterion": nn.CrossEntropyLoss()},
         lambda o: {"criterion": nn.CrossEntropyLoss(label_smoothing=0.1)}, "criterion"),
        (lambda o: {"callbacks": [nn.EarlyStopping("loss")]},
         lambda o: {"callbacks": [nn.EarlyStopping("accuracy")]}, "callbacks"),
    ],
)  # fmt: skip
def test_what_would_make_another_training_is_an_error(tmp_path, first, then, name):
    x, y = np.random.default_rng(0).standard_normal((8, 3)), np.arange(8) % 2
    path = tmp_path / "run.npz"

    def fit(options, **more):
        model = nn.Linear(3, 2, rng=0, dtype=np.float64)
        optimizer = nn.SGD(model.parameters(), lr=0.1)
        return nn.fit(
            model, (x, y), optimizer=optimizer, rng=0, progress=False, checkpoint=path,
            **options(optimizer), **more,
        )  # fmt: skip

    fit(first, epochs=1)
    with pytest.raises(ValueError, match=f"{name} must be as in .*run.npz"):
        fit(then, epochs=2, resume=True)
    assert len(fit(first, epochs=2, resume=True)) == 2
