"""What shows models: tables in notebooks, captured arrays, and pictures of normalizations."""

import copy
import html.parser

import numpy as np
import pytest
from arrays import normal, same_state, state

import bn
from bn import nn


class Reader(html.parser.HTMLParser):
    """It collects the cells of tables, and checks that each tag is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.items = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in ("li", "p"):
            self.items.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += text
        elif self.open and self.open[-1] in ("li", "p"):
            self.items[-1] += text


def shown(thing):
    return Reader(thing._repr_html_())


def network():
    return nn.Sequential(
        nn.Linear(4, 6, rng=0),
        bn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Residual(nn.Sequential(bn.LayerNorm(6), nn.Linear(6, 6, rng=1))),
    )


class Twice(nn.Module):
    def __init__(self):
        self.norm, self.relu = bn.BatchNorm1d(3), nn.ReLU()

    def forward(self, x):
        return self.relu(self.norm(self.relu(x)))


# ---- notebooks ----


def test_a_notebook_shows_a_row_for_each_layer_indented_by_its_depth():
    rows = shown(network()).rows
    assert rows[0] == ["Layer", "Type", "Arguments", "Param #"]
    assert [(name, kind, size) for name, kind, _, size in rows[1:]] == [
        ("", "Sequential", ""),
        ("0", "Linear", "30"),
        ("1", "BatchNorm1d", "12"),
        ("2", "ReLU", ""),
        ("3", "Residual", ""),
        ("    body", "Sequential", ""),
        ("        0", "LayerNorm", "12"),
        ("        1", "Linear", "42"),
    ]
    assert rows[2][2] == "in_features=4, out_features=6, bias=True"


def test_a_layer_that_does_not_know_its_sizes_is_shown_too():
    (row,) = shown(nn.Linear(None, 3)).rows[1:]
    assert row[-1] == "?"


def test_a_layer_with_several_places_has_a_row_for_each():
    relu = nn.ReLU()
    assert [row[0] for row in shown(nn.Sequential(relu, nn.Tanh(), relu)).rows[1:]] == [
        "", "0", "1", "2",
    ]  # fmt: skip


def test_text_that_looks_like_tags_is_escaped():
    class Named(nn.Identity):
        def extra_repr(self):
            return "<script>alert('&')</script>"

    model = nn.Sequential(nn.ModuleDict({"<b>": Named()}))
    rows = shown(model).rows
    assert rows[3][0].strip() == "<b>" and rows[3][2] == "<script>alert('&')</script>"
    assert "<script" not in model._repr_html_()
    Named.__name__ = "<i>"
    assert (
        shown(bn.report(Named(), np.ones((20, 3))))
        .items[0]
        .startswith("Batch normalization in <i>")
    )


def test_a_notebook_shows_the_statistics_of_the_first_channels():
    batch = bn.stats(normal(100, 30))
    rows = shown(batch).rows
    assert rows[0] == ["channel", "count", "mean", "var"]
    assert rows[3] == ["2", "100", f"{batch.mean[2]:.6g}", f"{batch.var[2]:.6g}"]
    assert len(rows) == 22 and rows[-1][0] == "… 10 more"
    assert len(shown(bn.stats(normal(100, 20))).rows) == 21


def test_a_notebook_shows_a_report_with_its_advice():
    found = bn.report(network(), normal(200, 4) + 3)
    page = shown(found)
    assert len(page.rows) == 2 and page.rows[1][0] == "1 (BatchNorm1d)"
    assert page.items == [str(found).splitlines()[0], *found.advice]
    empty = shown(bn.report(nn.ReLU(), normal(20, 4)))
    assert empty.items[1:] == ["no batch normalization to report on"]


def test_plain_reprs_are_as_before():
    assert repr(nn.Sequential(nn.ReLU())) == "Sequential(\n  (0): ReLU()\n)"
    assert repr(bn.stats(np.ones((2, 1)))).startswith("Stats(count=array([2.])")


# ---- capture ----


def test_captured_arrays_are_those_of_the_forward_pass():
    model, x = network().eval(), normal(5, 4, dtype=np.float32)
    found = nn.capture(model, x)
    assert list(found) == ["0", "1", "2", "3.body.0", "3.body.1", "3.body", "3", ""]
    value = x
    for path in "0123":
        assert found[path].inputs[0] is (x if path == "0" else value)
        value = found[path].output
    np.testing.assert_allclose(model(x), found[""].output, rtol=1e-5)
    np.testing.assert_array_equal(found[""].output, value)


def test_only_named_layers_are_captured():
    found = nn.capture(network(), normal(5, 4, dtype=np.float32), "3.body", "1")
    assert list(found) == ["1", "3.body"]


def test_further_calls_of_a_layer_are_numbered():
    x = normal(20, 3, dtype=np.float32)
    found = nn.capture(Twice(), x, "relu", "norm")
    assert list(found) == ["relu", "norm", "relu#2"]
    np.testing.assert_array_equal(found["relu"].output, np.maximum(x, 0))
    assert found["relu#2"].inputs[0] is found["norm"].output


def test_layers_of_several_outputs_are_captured_as_they_are():
    found = nn.capture(nn.GRU(2, 3, rng=0), normal(4, 5, 2, dtype=np.float32))
    output, last = found[""].output
    assert output.shape == (4, 5, 3) and last.shape == (1, 5, 3)


def look(what, model, x):
    """Let one of the functions look at a model."""
    if what == "capture":
        return nn.capture(model, x)
    pytest.importorskip("matplotlib")
    return bn.plot_activations(model, x) if what == "activations" else ways(model, [x, x])


def ways(model, batches):
    return bn.plot_running_stats(model, batches)


@pytest.mark.parametrize("what", ["capture", "activations", "running stats"])
@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_nothing_in_the_model(what, training):
    model, x = network().train(training), normal(30, 4, dtype=np.float32)
    dy = normal(30, 6, dtype=np.float32)
    other = copy.deepcopy(model)
    model(x)
    other(x)
    before = state(model)
    look(what, model, x + 1)
    assert same_state(state(model), before)
    assert all(module.hooks == () for module in model.modules())
    assert all(module.training == training for module in model.modules())
    np.testing.assert_array_equal(model.backward(dy), other.backward(dy))
    np.testing.assert_array_equal(model(x), other(x))


@pytest.mark.parametrize("what", ["capture", "activations", "running stats"])
def test_looking_changes_nothing_if_x_does_not_fit(what):
    model = network()
    before = state(model)
    with pytest.raises(ValueError, match="in 0: Linear"):
        look(what, model, normal(30, 5, dtype=np.float32))
    assert same_state(state(model), before)
    assert all(module.hooks == () for module in model.modules())


def test_names_that_are_wrong_are_told_with_similar_ones():
    x = normal(5, 4, dtype=np.float32)
    with pytest.raises(ValueError, match=r"got '3.bod' \(it has '3.body', "):
        nn.capture(network(), x, "3.bod")
    with pytest.raises(TypeError, match="names must be dotted paths of layers, got 3"):
        nn.capture(network(), x, 3)
    ghost = nn.Sequential(bn.GhostBatchNorm(bn.BatchNorm1d(4), 5))
    with pytest.raises(ValueError, match=r"layers that x goes through, got '0.layer'"):
        nn.capture(ghost, normal(10, 4, dtype=np.float32), "0.layer")
    with pytest.raises(TypeError, match="model must be of type Module, got int"):
        nn.capture(3, x)


# ---- pictures ----


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


def test_the_picture_of_activations_has_a_row_for_each_normalization(matplotlib):
    x = normal(200, 4, dtype=np.float32)
    figure = bn.plot_activations(network(), x)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split(",")[0] for title in titles[::2]] == [
        "1 (BatchNorm1d)",
        "3.body.0 (LayerNorm)",
    ]
    assert titles[1] == "out: 0 ± 1"
    before = nn.capture(network(), x, "1")["1"].inputs[0]
    assert titles[0].endswith(f"in: {before.mean():.2g} ± {before.std():.2g}")


def test_the_picture_shows_the_mode_that_the_model_is_in(matplotlib):
    model, x = bn.BatchNorm1d(3), normal(300, 3) * 4 + 20
    assert bn.plot_activations(model, x).axes[1].get_title() == "out: 0 ± 1"
    title = bn.plot_activations(model.eval(), x).axes[1].get_title()
    assert title == f"out: {x.mean():.2g} ± {x.std():.2g}"


def test_a_ghost_normalization_is_one_row_of_the_whole_batch(matplotlib):
    model = nn.Sequential(bn.GhostBatchNorm(bn.BatchNorm1d(4), 20))
    assert len(bn.plot_activations(model, normal(100, 4)).axes) == 2


def test_values_that_are_not_finite_are_left_out_of_the_picture(matplotlib):
    x = normal(100, 3)
    x[0, 0] = np.inf
    titles = [axes.get_title() for axes in bn.plot_activations(bn.LayerNorm(3), x).axes]
    assert titles[0] == f"LayerNorm, in: {x[x < np.inf].mean():.2g} ± {x[x < np.inf].std():.2g}"
    empty = bn.plot_activations(bn.LayerNorm(3), np.full((2, 3), np.nan)).axes[0]
    assert empty.get_title() == "LayerNorm, in: no finite values"


@pytest.mark.parametrize("training", [True, False])
def test_the_way_of_running_statistics_is_that_of_training(matplotlib, training):
    batches = [normal(40, 3, seed=i) * [1, 2, 3] + 5 for i in range(12)]
    model = bn.BatchNorm1d(3, dtype=np.float64, momentum=0.2)
    means, variances = bn.plot_running_stats(model.train(training), batches).axes
    model.train()
    data, distances, ratios = np.concatenate(batches), [], []
    for x in [None, *batches]:
        if x is not None:
            model(x)
        distances.append(abs(model.running_mean - data.mean(0)) / data.std(0))
        ratios.append(model.running_var / data.var(0, ddof=1))
    np.testing.assert_allclose(means.lines[0].get_ydata(), np.mean(distances, 1), rtol=1e-4)
    np.testing.assert_allclose(variances.lines[0].get_ydata(), np.mean(ratios, 1), rtol=1e-4)
    assert means.lines[0].get_label() == "BatchNorm1d"


def test_frozen_layers_stay_where_they_are(matplotlib):
    model = nn.Sequential(bn.BatchNorm1d(3))
    bn.freeze(model)
    line = bn.plot_running_stats(model, [normal(40, 3) + 5] * 4).axes[0].lines[0]
    assert len(set(line.get_ydata().tolist())) == 1


def test_layers_that_learn_their_channels_are_drawn_from_the_first_batch_on(matplotlib):
    model = nn.Sequential(bn.BatchNorm1d(None))
    line = bn.plot_running_stats(model, [normal(40, 3)] * 4).axes[0].lines[0]
    assert len(line.get_ydata()) >= 4
    assert not model[0].built


def test_batches_may_be_pairs_from_a_generator(matplotlib):
    pairs = ((normal(40, 3, seed=i), i) for i in range(5))
    line = bn.plot_running_stats(bn.BatchNorm1d(3), pairs).axes[0].lines[0]
    assert len(line.get_ydata()) == 6


def test_pictures_leave_pyplot_alone(matplotlib, tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    bn.plot_activations(network(), normal(50, 4)).savefig(tmp_path / "activations.png")
    bn.plot_running_stats(network(), [normal(50, 4)]).savefig(tmp_path / "running.png")
    assert plt.get_fignums() == before


def test_pictures_need_a_normalization_and_batches(matplotlib):
    x = normal(20, 4)
    with pytest.raises(ValueError, match="model must have a normalization that x goes through"):
        bn.plot_activations(nn.Sequential(nn.Tanh()), x)
    without = bn.BatchNorm1d(4, track_running_stats=False)
    with pytest.raises(ValueError, match="normalization with running statistics that x goes"):
        bn.plot_running_stats(without, [x])
    with pytest.raises(ValueError, match="batches must have at least one batch"):
        bn.plot_running_stats(bn.BatchNorm1d(4), [])
    with pytest.raises(TypeError, match="batches must be an iterable of batches, got one array"):
        bn.plot_running_stats(bn.BatchNorm1d(4), x)
    for function in (bn.plot_activations, bn.plot_running_stats):
        with pytest.raises(TypeError, match="model must be of type Module, got int"):
            function(3, [x])


@pytest.mark.parametrize("name", ["plot_activations", "plot_running_stats"])
def test_a_picture_without_matplotlib_is_an_error_that_says_so(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    x = normal(20, 4)
    with pytest.raises(ImportError, match=f"{name} needs matplotlib, which is not installed"):
        getattr(bn, name)(bn.BatchNorm1d(4), x if name == "plot_activations" else [x])
