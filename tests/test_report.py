"""These tests are of what `report` measures and advises, and that it changes nothing."""

import dataclasses

import numpy as np
import pytest
from arrays import normal

import bn
from bn import nn
from bn.tools.recalibration import recalibrate
from bn.tools.report import report


def of_one_layer(x, layer=None):
    """Return a layer and its report, with statistics of x unless the layer is given."""
    if layer is None:
        layer = recalibrate(bn.BatchNorm1d(x.shape[1], dtype=np.float64), [x])
    return layer, lambda: report(layer, x).layers[0]


def network():
    return nn.Sequential(
        nn.Linear(4, 6, rng=0, dtype=np.float64),
        bn.BatchNorm1d(6, dtype=np.float64),
        nn.ReLU(),
        nn.Dropout(0.5, rng=0),
        nn.Residual(nn.Sequential(nn.Linear(6, 6, rng=1), bn.BatchNormalization())),
    )


def test_a_report_has_the_distances_of_running_from_batch_statistics():
    x = normal(200, 3)
    layer, measured = of_one_layer(x)
    layer.running_mean += [0, 0.1, -0.7]
    layer.running_var *= [1, 4, 0.5]
    found = measured()
    mean, var = x.mean(0), x.var(0)
    expected = np.abs(layer.running_mean - mean) / np.sqrt(var + layer.eps)
    np.testing.assert_allclose(found.z, expected, rtol=1e-12, atol=1e-12)
    assert found.z_max == pytest.approx(expected.max()) and found.z_mean == pytest.approx(
        expected.mean()
    )
    np.testing.assert_allclose(
        found.var_ratio, (layer.running_var + layer.eps) / (var + layer.eps), rtol=1e-12
    )
    assert (found.channels, found.samples, found.values) == (3, 200, 200)


def test_a_report_shows_layers_what_earlier_layers_do_in_eval_mode():
    first, second = bn.BatchNorm1d(3, dtype=np.float64), bn.BatchNorm1d(3, dtype=np.float64)
    first.running_mean[...], first.running_var[...] = 2, 0.25
    x = normal(100, 3)
    found = report(nn.Sequential(first, nn.Dropout(0.9), second).train(), x).layers[1]
    seen = (x - 2) / np.sqrt(0.25 + 1e-5)
    np.testing.assert_allclose(found.z, np.abs(seen.mean(0)) / np.sqrt(seen.var(0) + 1e-5))


def test_the_layers_of_a_report_are_named_by_their_place():
    found = report(network(), normal(64, 4))
    assert [(layer.name, layer.kind) for layer in found.layers] == [
        ("1", "BatchNorm1d"),
        ("4.body.1", "BatchNormalization"),
    ]
    assert report(bn.BatchNorm1d(4), normal(64, 4)).layers[0].name == "BatchNorm1d"


@pytest.mark.parametrize("x", [normal(20, 4), normal(20, 5)], ids=["fits", "does not fit"])
def test_a_report_changes_nothing_in_the_model(x):
    model = network()
    model.backward(np.ones_like(model(normal(64, 4))))
    model.train()
    model[1].update_stats = True
    model[1].use_batch_stats = True
    model(normal(64, 4))
    kept = [dict(vars(module)) for module in model.modules()]
    state, grads = model.state_dict(), [p.grad.copy() for p in model.parameters()]
    rng = model[3].rng.bit_generator.state
    if x.shape[1] == 4:
        report(model, x)
    else:
        with pytest.raises(ValueError, match="Linear takes"):
            report(model, x)
    for before, module in zip(kept, model.modules(), strict=True):
        assert list(vars(module)) == list(before)
        assert all(vars(module)[name] is value for name, value in before.items())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad)
    assert model[3].rng.bit_generator.state == rng


def test_a_report_finds_nothing_in_a_healthy_layer():
    layer, measured = of_one_layer(normal(64, 5))
    assert measured().findings == ()
    assert str(report(layer, normal(400, 5))).endswith("- nothing found")


def test_a_report_on_few_samples_says_what_they_cannot_show():
    layer, _ = of_one_layer(normal(64, 5))
    last = str(report(layer, normal(64, 5)[:32])).splitlines()[-1]
    assert last.startswith("- nothing found; in 32 samples, a mean is a finding from 1.1 standard")
    assert "a variance from a factor of 4.5 on" in last


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("samples", [16, 32, 128])
def test_a_report_takes_no_chance_for_a_finding(samples, seed):
    layer = bn.BatchNorm1d(64, dtype=np.float64)  # its 0 and 1 are those of x by its making
    assert report(layer, normal(samples, 64, seed=seed)).advice == []


@pytest.mark.parametrize(("shift", "scale"), [(0.8, 1), (0, 3), (0, 1 / 3)])
def test_running_statistics_that_are_far_are_to_be_recalibrated(shift, scale):
    x = normal(256, 3)
    layer, measured = of_one_layer(x)
    layer.running_mean[1] += shift
    layer.running_var[1] *= scale
    (line,) = measured().findings
    assert measured().far
    assert "running statistics are not those of x" in line and "bn.recalibrate(" in line
    recalibrate(layer, [x])
    assert measured().findings == ()


def test_running_statistics_that_are_no_numbers_are_to_be_recalibrated():
    layer, measured = of_one_layer(normal(64, 4))
    layer.running_mean[0], layer.running_var[1], layer.running_var[3] = np.nan, np.inf, -1
    found = measured()
    assert found.unusable_running == (0, 1, 3)
    (line,) = found.findings
    assert "3 of 4 channels (0, 1, 3) have running statistics that are NaN" in line
    assert "bn.recalibrate(" in line
    assert found.z_max < 1e-10  # it is that of the others


def test_a_report_counts_values_that_are_not_finite():
    x = normal(64, 3)
    layer, _ = of_one_layer(x)
    x[0, 1], x[5, 1], x[6, 2] = np.nan, np.inf, -np.inf
    found = report(layer, x).layers[0]
    assert found.nonfinite_input == 3
    assert found.findings[0].startswith("3 values of its input are NaN or infinite: look for")
    assert np.isfinite(found.z_max) and len(found.findings) == 1


@pytest.mark.parametrize(
    ("shape", "values"), [((15, 3), 15), ((16, 3), 16), ((1, 3, 15), 15), ((1, 3, 4, 4), 16)]
)
def test_few_values_per_channel_are_a_finding_of_a_report(shape, values):
    x = normal(*shape)
    layer = recalibrate(bn.BatchNormalization(axis=1, dtype=np.float64), [x])
    found = report(layer, x).layers[0]
    assert found.values == values
    few = [line for line in found.findings if "values per channel, fewer than 16" in line]
    assert bool(few) == (values < 16)
    assert all("bn.accumulate" in line and "bn.freeze" in line for line in few)


def test_channels_with_a_tiny_weight_are_reported_dead():
    layer, measured = of_one_layer(normal(64, 9))
    layer.weight.data[...] = [1, 1e-4, -1e-4, 0, 2e-3, -1, 0, 0, 0]
    found = measured()
    assert found.tiny_weight == found.dead == (1, 2, 3, 6, 7, 8)
    (line,) = found.findings
    assert line.startswith("6 of 9 channels (1, 2, 3, 6, 7, ...) have |weight| below 0.001: remove")


def test_channels_with_a_constant_input_are_reported_dead():
    x = normal(64, 3)
    x[:, 0] = 5
    x[:, 2] *= 1e-4  # the variance is 1e-8, eps is 1e-5
    layer, measured = of_one_layer(x)
    found = measured()
    assert found.tiny_var == found.dead == (0, 2)
    (line,) = found.findings
    assert line.startswith("2 of 3 channels (0, 2) have a nearly constant input (variance at most")
    layer.weight.data[1:] = 0
    assert measured().dead == (0, 1, 2)


def test_one_value_per_channel_is_not_reported_constant():
    found = report(bn.BatchNorm1d(3), normal(1, 3)).layers[0]
    assert found.dead == () and found.values == 1


def test_a_report_says_which_layer_is_not_used():
    model = nn.Sequential(bn.BatchNorm1d(3))
    model.head = bn.BatchNorm1d(2)
    found = report(model, normal(64, 3)).layers[1]
    assert found.values == 0 and found.channels == 2 and np.isnan(found.z).all()
    assert len(found.findings) == 1 and "is the layer used" in found.findings[0]
    empty = report(bn.BatchNorm1d(3), np.empty((0, 3)))
    assert "got no values" in empty.advice[0] and "-" in str(empty)


def test_layers_without_running_statistics_have_no_distance_in_a_report():
    found = report(bn.BatchNorm1d(3, track_running_stats=False, affine=False), normal(64, 3))
    assert np.isnan(found.layers[0].z_max) and found.advice == []


def test_a_report_measures_a_layer_that_is_not_built_and_does_not_build_it():
    layer = bn.BatchNormalization()
    assert report(layer, normal(64, 3) + 9).layers[0].far
    assert layer.num_features is None


def test_a_layer_that_is_in_the_model_twice_is_reported_once():
    layer = bn.BatchNorm1d(3)
    found = report(nn.Sequential(layer, nn.ReLU(), layer), normal(64, 3))
    assert [part.name for part in found.layers] == ["0"]


def test_a_report_measures_a_layer_that_is_called_twice_over_both_calls():
    class Twice(nn.Module):
        def __init__(self):
            self.norm = bn.BatchNorm1d(3, dtype=np.float64)

        def forward(self, x):
            return self.norm(x[:24]) + self.norm(x[:40])[:24]

    x = normal(40, 3)
    found = report(Twice(), x).layers[0]
    both = np.concatenate([x[:24], x])
    np.testing.assert_allclose(found.z, abs(both.mean(0)) / np.sqrt(both.var(0) + 1e-5))
    assert (found.samples, found.values) == (24, 24)


def test_values_that_a_mask_leaves_out_do_not_count_in_a_report():
    class Masked(nn.Module):
        def __init__(self):
            self.norm = bn.BatchNormalization(dtype=np.float64)

        def forward(self, x):
            return self.norm(x, None, np.arange(x.shape[1])[None, :] < [[4]] * len(x))

    x = normal(10, 6, 3)
    x[:, 4:] = np.nan
    found = report(Masked(), x).layers[0]
    counted = x[:, :4].reshape(-1, 3)
    np.testing.assert_allclose(found.z, abs(counted.mean(0)) / np.sqrt(counted.var(0) + 1e-3))
    assert found.nonfinite_input == 0 and found.values == 40


def test_the_text_of_a_report_is_a_table_and_the_advice():
    model, x = network(), normal(64, 4)
    model[1].weight.data[2] = 0
    found = report(model, x)
    lines = str(found).splitlines()
    assert lines[0] == "Batch normalization in Sequential, input (64, 4)"
    table = lines[1:5]
    assert len({len(line) for line in table}) == 1
    row = table[2].split()
    assert row[:5] == ["1", "(BatchNorm1d)", "6", "64", f"{found.layers[0].z_max:.3g}"]
    assert row[-3:] == ["1", "0", "0"]
    assert lines[5:] == [f"- {line}" for line in found.advice]
    far, tiny = found.advice
    assert far.startswith("2 layers (1, 4.body.1): running statistics are not those of x, so eval")
    assert tiny.startswith("1: 1 of 6 channels (2) have |weight|")


def test_advice_for_many_layers_is_given_once_with_their_names():
    model = nn.Sequential(*(bn.BatchNorm1d(3, dtype=np.float64) for _ in range(7)))
    for layer in model[1:]:
        layer.weight.data[0] = 0
    model[6].weight.data[1] = 0
    found = report(model.eval(), normal(15, 3))
    few, tiny, far, constant = found.advice
    assert few.startswith(
        "7 layers (0, 1, 2, 3, 4, ...): fewer than 16 values per channel: batches of this size are"
    )
    assert tiny.startswith("6 layers (1, 2, 3, 4, 5, ...): channels have |weight| below 0.001: ")
    assert far.startswith("5 layers (2, 3, 4, 5, 6): running statistics are not those of x, so ")
    assert constant.startswith("5 layers (2, 3, 4, 5, 6): channels have a nearly constant input (")
    assert all(len(layer.findings) > 1 for layer in found.layers[1:])
    for layer in found.layers:  # each says what the advice says
        for line in layer.findings:
            remedy = line.partition(": ")[2]
            assert any(each.endswith(f": {remedy}") for each in found.advice)


def test_a_model_without_batch_normalization_has_an_empty_report():
    found = report(nn.Sequential(nn.Linear(4, 2)), normal(8, 4))
    assert found.layers == () and found.advice == []
    assert str(found).splitlines()[1:] == ["no batch normalization to report on"]


def test_a_report_names_the_normalizations_that_need_none():
    model = nn.Sequential(nn.Linear(4, 4), bn.LayerNorm(4), nn.Residual(bn.GroupNorm(2, 4)))
    found = report(model, normal(8, 4))
    assert found.sample_norms == ("1 (LayerNorm)", "2.body (GroupNorm)")
    told = "these use no statistics of the batch and need no report: 1 (LayerNorm), 2.body (Group"
    assert told in str(found) and told in found._repr_html_()


def test_the_numbers_of_a_report_cannot_be_set():
    found = report(network(), normal(64, 4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.layers[0].values = 3


def test_the_picture_of_a_report_has_a_point_per_channel_and_leaves_pyplot_alone(tmp_path):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    model = network()
    model[4].body[1].build((6,))
    model[4].body[1].running_mean[0] = np.nan
    found = report(model, normal(64, 4))
    figure = found.plot()
    means, variances = figure.axes
    assert [label.get_text() for label in variances.get_xticklabels()] == ["1", "4.body.1"]
    assert [len(line.get_ydata()) for line in means.lines] == [6, 5]
    assert [len(line.get_ydata()) for line in variances.lines] == [6, 6]
    assert plt.get_fignums() == []
    found.save(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    found.save(str(tmp_path / "report.svg"))
    assert "<svg" in (tmp_path / "report.svg").read_text()


@pytest.mark.parametrize("x", [np.empty((0, 3)), np.full((64, 3), 2.0)], ids=["empty", "constant"])
def test_any_report_can_be_drawn(tmp_path, x):
    pytest.importorskip("matplotlib")
    for model in (bn.BatchNorm1d(3), nn.Sequential()):
        report(model, x).save(tmp_path / "report.png")
        assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "report.png").unlink()


def test_a_picture_of_a_report_without_matplotlib_is_an_error_that_says_so(monkeypatch):
    found = report(network(), normal(64, 4))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"Report.plot needs matplotlib, which is not installed"):
        found.plot()


def test_only_a_module_is_reported_on():
    with pytest.raises(TypeError, match="model must be of type Module, got int"):
        report(3, normal(8, 4))
