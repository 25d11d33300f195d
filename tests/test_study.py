"""`bn study` measures each setting once for each seed, and reports what it measured, no more."""

import json
import math
import re
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from cli_files import environment

import bn
from bn.cli import main
from bn.cli import study as command
from bn.study import STUDIES, data, networks
from bn.study.conclusion import Chart, Conclusion, Line, Table, judged
from bn.study.corruptions import CORRUPTIONS, LEVELS
from bn.study.html import write_html
from bn.study.markdown import write_markdown
from bn.study.pictures import svg
from bn.study.plan import Study, extended, grid
from bn.study.report import chapters, verdicts
from bn.study.results import Record, Results, rounded
from bn.study.runner import planned, run
from bn.study.statistics import Estimate, difference, estimate
from bn.study.store import Store
from bn.study.training import train

for package in ("scipy", "sklearn", "matplotlib", "mlxtend", "mnist1d"):
    pytest.importorskip(package)

# ---- a study that costs nothing ----


def settings(quick):
    return grid(norm=["batch", "none"], lr=[0.1] if quick else [0.1, 1.0])


def measure(setting, seed):
    """Better with batch normalization, and best at the larger rate; the seed is the noise."""
    accuracy = 0.9 + 0.04 * (setting["norm"] == "batch") + 0.01 * setting["lr"] + 0.001 * seed
    return {"validation": accuracy, "test": accuracy - 0.01, "threads": bn.get_num_threads()}


def conclude(results):
    best = {n: results.best("lr", "validation", norm=n) for n in ("batch", "none")}
    lines = [
        Line(n, ["small", "large"], [results.estimate("test", 100, norm=n, lr=best[n])] * 2)
        for n in best
    ]
    gain = difference(*(results.values("test", norm=n, lr=best[n]) for n in best))
    return Conclusion(
        judged([gain]),
        f"It gains {gain} & more.",
        [Chart("Accuracy <of both>", "size", "accuracy, %", lines)],
        [Table("Rates", ["norm", "gain"], [["batch", gain]])],
        ["A note."],
        {"case <a>": gain, "case b": Estimate(gain.mean - 1, gain.half, gain.n)},
        "gain",
    )


TOY = Study("toy", "It is better.", "Nobody.", "None.", settings, measure, conclude, minutes=1)


class Silent:
    def begin(self, study, total, done):
        self.total, self.done = total, done

    def step(self):
        self.done += 1


def studied(path, quick=False, **options):
    """Run the toy, and return its store."""
    store = Store.open(path, quick)
    run([TOY], store, Silent(), **options)
    return store


# ---- estimates ----


def test_an_interval_contains_the_mean_in_95_of_100_samples():
    rng = np.random.default_rng(0)
    found = [estimate(rng.normal(3, 2, 5)) for _ in range(4000)]
    inside = np.mean([e.low < 3 < e.high for e in found])
    assert abs(inside - 0.95) < 0.01


def test_one_value_has_an_infinite_interval_and_decides_nothing():
    one = estimate([3.0])
    assert math.isinf(one.half) and not one.above_zero and not one.below_zero
    assert judged([one]) == "within noise"


def test_a_missing_value_makes_the_mean_unknown():
    assert str(estimate([1.0, math.nan])) == "–"
    assert judged([estimate([1.0, math.nan])]) == "within noise"


def test_a_difference_is_taken_by_pairs():
    values = np.array([1.0, 5.0, 9.0])
    assert difference(values + 1, values) == Estimate(1.0, 0.0, 3)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([(2, 1), (3, 1)], "holds"),
        ([(2, 1), (0, 1)], "depends"),
        ([(2, 1), (-3, 1)], "depends"),
        ([(-2, 1), (0, 1)], "does not hold"),
        ([(0.5, 1), (-0.5, 1)], "within noise"),
        ([], "within noise"),
    ],
)
def test_a_verdict_counts_intervals_that_do_not_contain_zero(gains, verdict):
    assert judged(Estimate(mean, half, 5) for mean, half in gains) == verdict


def test_numbers_are_written_with_two_digits_of_their_interval():
    found = [(18.512, 6.35), (-3.49, 19.1), (97.314, 0.206), (8, 0)]
    written = [str(Estimate(mean, half, 5)) for mean, half in found]
    assert written == ["18.5 ± 6.3", "−3 ± 19", "97.31 ± 0.21", "8.0 ± 0.0"]


# ---- results ----


def test_the_best_rate_is_chosen_by_validation_and_reported_on_test():
    records = [
        Record({"lr": lr}, seed, 1.0, {"validation": v, "test": 1 - v})
        for lr, v in ((0.1, 0.8), (1.0, 0.9))
        for seed in (0, 1)
    ]
    results = Results(records)
    assert results.best("lr", "validation") == 1.0
    assert results.best("lr", "validation", least=True) == 0.1
    assert results.estimate("test", 100, lr=1.0).mean == pytest.approx(10)


def test_values_of_an_axis_come_in_their_order_and_may_be_lists():
    records = [Record({"hidden": h}, seed, 1.0, {}) for seed in (0, 1) for h in ([9, 9], [3])]
    assert Results(records).axis("hidden") == [[9, 9], [3]]


def test_a_rate_that_was_not_measured_everywhere_is_never_the_best():
    records = [Record({"lr": lr}, 0, 1.0, {"loss": loss}) for lr, loss in ((0.1, 5.0), (1.0, None))]
    assert Results(records).best("lr", "loss") == 0.1
    assert Results(records).best("lr", "loss", least=True) == 0.1


def test_values_of_several_settings_are_not_mixed():
    records = [Record({"lr": lr}, 0, 1.0, {"test": 1.0}) for lr in (0.1, 1.0)]
    with pytest.raises(LookupError, match="several settings"):
        Results(records).values("test")
    with pytest.raises(LookupError, match="no setting"):
        Results(records).values("test", lr=3.0)


def test_results_hold_plain_numbers():
    measured = rounded({"a": np.float32(0.1), "b": np.array([1, 2]), "c": np.True_, "d": math.inf})
    assert measured == {"a": 0.1, "b": [1, 2], "c": True, "d": None}
    assert json.dumps(measured)


# ---- the runner ----


def test_all_settings_are_measured_with_each_seed_on_one_thread(tmp_path):
    store = studied(tmp_path / "results.json")
    records = store.records["toy"]
    assert [(r.seed, r.setting) for r in records] == [
        (seed, setting) for seed in range(5) for setting in settings(False)
    ]
    assert {r.measured["threads"] for r in records} == {1}


def test_a_quick_study_has_one_seed_and_its_own_grid(tmp_path):
    store = studied(tmp_path / "results.json", quick=True)
    assert [(r.seed, r.setting["lr"]) for r in store.records["toy"]] == [(0, 0.1), (0, 0.1)]


def test_a_stopped_study_goes_on_where_it_was(tmp_path):
    path, calls = tmp_path / "results.json", iter([False] * 3 + [True] * 9)
    assert len(studied(path, stopped=lambda: next(calls)).records["toy"]) == 3
    store = Store.open(path, False)
    watcher = Silent()
    run([TOY], store, watcher)
    assert watcher.total == watcher.done == len(store.records["toy"]) == 20
    assert len({(r.seed, json.dumps(r.setting)) for r in store.records["toy"]}) == 20


def test_more_seeds_are_added_to_those_that_are_there(tmp_path):
    path = tmp_path / "results.json"
    studied(path, seeds=2)
    assert len(studied(path, seeds=3).records["toy"]) == 12


def test_without_time_nothing_is_measured_and_the_report_says_how_many_seeds_there_are(tmp_path):
    path = tmp_path / "results.json"
    assert studied(path, minutes=1e-9).records == {}
    (chapter,) = chapters([TOY], studied(path, seeds=2))
    assert (
        "8 measurements of 2 seeds where 5 are planned (no more were asked for" in chapter.notes[-1]
    )


def test_seeds_of_which_a_setting_is_missing_are_left_out(tmp_path):
    path, calls = tmp_path / "results.json", iter([False] * 7 + [True] * 9)
    store = studied(path, stopped=lambda: next(calls))
    assert store.results(TOY).seeds == [0]


def test_processes_measure_the_same(tmp_path):
    convergence = STUDIES[0]
    store = Store.open(tmp_path / "results.json", True)
    study = Study(
        "two", "", "", "", _two_settings, convergence.measure, convergence.conclude, minutes=1
    )
    run([study], store, Silent(), jobs=2)
    for record in store.records["two"]:
        with bn.threads(1):
            assert rounded(convergence.measure(record.setting, record.seed)) == record.measured


def _two_settings(quick):
    return extended(STUDIES[0].settings(True)[:2], epochs=2)


# ---- results.json ----


def test_the_file_holds_all_measurements_and_the_verdicts(tmp_path):
    path = tmp_path / "results.json"
    store = studied(path)
    store.save(verdicts(chapters([TOY], store)))
    found = json.loads(path.read_text("utf-8"))
    assert found["bn"] == bn.__version__ and found["quick"] is False and found["machine"]["cpu"]
    toy = found["studies"]["toy"]
    assert toy["verdict"] == "holds" and len(toy["records"]) == 20
    assert toy["records"][0]["setting"] == {"norm": "batch", "lr": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no file of results"),
        ("[]", "is no file of results"),
        ('{"format": 1}', "is no file of results"),
        ('{"format": 1, "bn": "0", "quick": false, %s}', "of bn 0, not"),
        ('{"format": 1, "bn": "VERSION", "quick": true, %s}', "of quick studies, not of full ones"),
        ('{"format": 1, "bn": "VERSION", "quick": false, "studies": {"toy": 3}}', "is no file"),
        ('{"format": 1, "bn": "VERSION", "quick": "yes", %s}', "is no file"),
    ],
)
def test_a_file_of_something_else_is_refused_and_stays(tmp_path, text, message):
    path = tmp_path / "results.json"
    rest = '"machine": {}, "studies": {}'
    path.write_text(text.replace("VERSION", bn.__version__).replace("%s", rest))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        Store.open(path, False)
    assert path.read_bytes() == before


# ---- the report ----


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.links, self.ids, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href")]
        self.ids += [v for k, v in attrs if k == "id"]


def test_the_report_needs_no_other_file_and_no_network(tmp_path):
    store = studied(tmp_path / "results.json")
    write_html(tmp_path / "report.html", chapters([TOY], store), store)
    text = (tmp_path / "report.html").read_text("utf-8")
    page = Elements()
    page.feed(text)
    assert page.found.count("svg") == 1 and "script" not in page.found and "img" not in page.found
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "@import" not in text and "url(http" not in text
    assert "It gains 0.040\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.000 &amp; more." in text
    assert "Accuracy &lt;of both&gt;" in text


def test_neither_a_quick_study_nor_one_seed_has_a_verdict(tmp_path):
    for quick, seeds in ((True, None), (False, 1)):
        store = studied(tmp_path / f"{quick}.json", quick, seeds=seeds)
        (chapter,) = chapters([TOY], store)
        assert chapter.verdict == "no verdict"
        why = "quick study" if quick else "single seed"
        assert chapter.heading == f"No verdict, from a {why}."


def test_the_page_has_the_same_numbers_and_its_pictures_beside_it(tmp_path):
    store = studied(tmp_path / "results.json")
    (chapter,) = chapters([TOY], store)
    write_markdown(tmp_path / "page.md", [chapter], store)
    text = (tmp_path / "page.md").read_text("utf-8")
    figure = "gain: −0.96 ± 0.00 for case b; 0.040 ± 0.000 for case <a>"
    assert chapter.conclusion.figure == figure
    assert f"| [It is better.](#toy) | holds | {figure} |" in text
    assert "Holds: case <a>. Does not hold: case b. It gains" in text
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert (tmp_path / picture).read_text("utf-8").startswith("<svg")
    assert "- Settings: norm batch / none; lr 0.1 / 1." in text


def test_a_figure_of_logarithms_is_told_as_factors():
    cases = {"a": Estimate(1.0, 0.301, 5), "b": Estimate(0.0, math.inf, 1)}
    found = Conclusion("holds", "", cases=cases, measure="quotient", logarithms=True)
    assert found.figure == "quotient: 1 for b; 10 (5 to 20) for a"


def test_intervals_of_percentages_do_not_stretch_the_axis():
    lines = [Line("a", [1, 2], [Estimate(99, 40, 5), Estimate(50, 80, 5)])]
    words = re.findall(r">(.?\d+)</text>", svg(Chart("Title", "epoch", "accuracy, %", lines)))
    assert "100" in words and not {"120", "140", "\N{MINUS SIGN}20"} & set(words)


def test_a_picture_is_the_same_each_time_and_has_words_that_can_be_read():
    lines = [Line("a <b>", [1, 2], [Estimate(1, 0.5, 5), Estimate(2, math.inf, 1)])]
    chart = Chart("Title", "epoch", "accuracy", lines, log_x=True)
    picture = svg(chart)
    assert picture == svg(chart) and picture.startswith("<svg") and ">Title<" in picture


# ---- the studies ----


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
@pytest.mark.parametrize("quick", [False, True])
def test_settings_are_plain_values_each_measured_once(study, quick):
    found = [json.dumps(setting) for setting in study.settings(quick)]
    assert [json.loads(text) for text in found] == study.settings(quick)
    assert len(set(found)) == len(found) > 0
    assert len(planned(study, quick)) == len(found) * (1 if quick else study.seeds)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_is_described_in_sentences_and_has_5_seeds(study):
    for text in (study.claim, study.source, study.method):
        assert re.match("[A-Z0-9]", text) and text.endswith(".")
    assert study.seeds >= 5 and study.minutes > 0


def test_all_budgets_together_fit_into_eight_hours():
    assert sum(study.minutes for study in STUDIES) <= 480


# ---- data, networks, training ----


@pytest.mark.parametrize("source", [data.digits, data.mnist, data.small_mnist, data.mnist1d])
def test_samples_are_divided_by_the_seed_and_none_is_in_two_parts(source):
    found = source(0)
    parts = [found.x, found.x_validation, found.x_test]
    rows = [{row.tobytes() for row in part} for part in parts]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    assert found.x.dtype == np.float32 and found.y.dtype == np.int64 and found.classes == 10
    assert abs(found.x.mean()) < 1e-4 and abs(found.x.std() - 1) < 1e-3
    np.testing.assert_array_equal(source(0).x, found.x)
    assert not np.array_equal(source(1).x, found.x)


def test_drawing_signals_leaves_numpys_generator_as_it_was():
    data._mnist1d.cache_clear()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    data.mnist1d(0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_stronger_at_each_level_and_leave_the_images(name):
    x = data.digits(0).x[:50]
    before = x.copy()
    changes = [np.abs(CORRUPTIONS[name](x, level, 0) - x).mean() for level in LEVELS]
    assert changes == sorted(changes) and changes[0] > 0.05
    assert CORRUPTIONS[name](x, 1, 0).dtype == x.dtype
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "instance", "renorm", "ghost", "none"])
def test_twins_begin_with_the_same_weights(norm):
    twin, plain = (networks.cnn((1, 8, 8), 10, norm=n, seed=3) for n in (norm, "none"))
    for layer, other in zip(*([p for n, p in m.named_parameters() if p.data.ndim > 1]
                              for m in (twin, plain)), strict=True):  # fmt: skip
        np.testing.assert_array_equal(layer.data, other.data)


def test_a_training_that_diverges_counts_as_chance():
    samples = data.digits(0).first(200)
    model = networks.mlp([64, 20, 10], norm="none", seed=0)
    with np.errstate(all="ignore"):
        trained = train(model, samples, lr=1e30, epochs=2, batch_size=50, seed=0)
    assert trained.summary() == {"validation": 0.1, "test": 0.1, "diverged": True}


# ---- the command ----


def test_without_names_the_studies_are_listed(capsys):
    assert main(["study"]) == 0
    output = capsys.readouterr().out
    for study in STUDIES:
        assert f"{study.name} " in output and study.claim in output


def test_an_unknown_study_is_refused_with_the_name_that_was_meant(capsys):
    with pytest.raises(SystemExit):
        main(["study", "convergense"])
    assert "there is no study 'convergense'; did you mean convergence?" in capsys.readouterr().err


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """Let the command know the toy alone, in an empty folder."""
    monkeypatch.setattr(command, "STUDIES", (TOY,))
    monkeypatch.setattr(command, "BY_NAME", {"toy": TOY})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_the_report_and_prints_the_verdicts(toy, capsys):
    assert main(["study", "toy", "--jobs", "1"]) == 0
    assert sorted(path.name for path in (toy / "runs" / "study").iterdir()) == [
        "report.html",
        "results.json",
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "toy: holds. Holds: case <a>. Does not hold: case b. It gains 0.040 ± 0.000 & more.",
        f"results in {Path('runs', 'study')}",
    ]
    assert any(line.startswith("toy  20/20") for line in lines)


def test_called_again_the_command_measures_nothing_anew(toy, capsys):
    main(["study", "all", "--quick", "--jobs", "1"])
    before = json.loads((toy / "runs" / "study-quick" / "results.json").read_text("utf-8"))
    assert main(["study", "toy", "--quick", "--jobs", "1"]) == 0
    after = json.loads((toy / "runs" / "study-quick" / "results.json").read_text("utf-8"))
    assert before == after and len(before["studies"]["toy"]["records"]) == 2


def test_full_and_quick_results_do_not_share_a_folder(toy, capsys):
    main(["study", "toy", "--jobs", "1", "--out", "here"])
    assert main(["study", "toy", "--jobs", "1", "--quick", "--out", "here"]) == 1
    assert "of full studies, not of quick ones: choose another --out" in capsys.readouterr().err


def test_without_a_complete_seed_there_is_no_report(toy, capsys):
    assert main(["study", "toy", "--jobs", "1", "--budget", "1e-9"]) == 1
    message = "time was up before all settings of toy were measured once, so the report lacks this"
    assert message in capsys.readouterr().err
    assert not (toy / "runs" / "study" / "report.html").exists()


def test_verdicts_are_printed_of_the_studies_that_were_named(toy, monkeypatch, capsys):
    other = replace(TOY, name="other")
    monkeypatch.setattr(command, "STUDIES", (TOY, other))
    monkeypatch.setattr(command, "BY_NAME", {"toy": TOY, "other": other})
    main(["study", "toy", "--jobs", "1"])
    capsys.readouterr()
    assert main(["study", "other", "--jobs", "1"]) == 0
    output = capsys.readouterr().out
    assert "other: holds." in output and "toy: holds." not in output
    assert 'id="toy"' in (toy / "runs" / "study" / "report.html").read_text("utf-8")


def test_the_page_goes_into_a_new_folder_and_needs_a_suffix(toy, capsys):
    assert main(["study", "toy", "--jobs", "1", "--page", "new/page.md"]) == 0
    assert (toy / "new" / "page.md").exists() and (toy / "new" / "page" / "toy-1.svg").exists()
    with pytest.raises(SystemExit):
        main(["study", "toy", "--page", "page"])
    assert "must be a file such as study.md, got 'page'" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_an_error_and_stays(toy, capsys):
    (toy / "here").write_text("mine")
    assert main(["study", "toy", "--jobs", "1", "--out", "here"]) == 1
    assert capsys.readouterr().err == "here must be a folder, but it is a file\n"
    assert (toy / "here").read_text() == "mine"


def test_a_missing_package_is_named_with_what_installs_all_of_them(toy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    assert main(["study", "toy"]) == 1
    needed = "needs mnist1d, which is not installed: pip install '.[study]' in a checkout of bn"
    assert needed in capsys.readouterr().err


def test_ctrl_c_ends_a_study_that_then_goes_on(tmp_path):
    words = [sys.executable, "-m", "bn", "study", "convergence", "--quick", "--out", "here"]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("convergence")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "stopped; the same command goes on from here" in process.stdout.read()
    records = json.loads((tmp_path / "here" / "results.json").read_text("utf-8"))["studies"]
    assert 0 < len(records["convergence"]["records"]) < 12
    process.stdout.close()
