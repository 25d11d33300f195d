"""`bn.torch.accelerate` changes how a model computes, and nothing else about it."""

import copy
import importlib
import io

import pytest

from bn import nn

pytestmark = pytest.mark.parity

NAMES = ["ResNet", "TutorialCNN", "sequential"]


@pytest.fixture(autouse=True)
def seeded(torch):
    """Random tensors are the same each time."""
    torch.manual_seed(0)


def made(torch, models, name):
    torch.manual_seed(0)
    return getattr(models, name)().double()


def trained(torch, model, steps=20):
    """Return the losses of a short training."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(steps, 8, 3, 8, 8, generator=random, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for batch in x:
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# ---- results ----


@pytest.mark.parametrize("name", NAMES)
def test_losses_over_20_steps_agree(torch, ours, models, name):
    plain = made(torch, models, name)
    model = copy.deepcopy(plain)
    assert ours.accelerate(model).fused
    assert trained(torch, model) == pytest.approx(trained(torch, plain), rel=1e-9)
    for value, expected in zip(model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_agree(torch, ours, models, name):
    model = made(torch, models, name)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    model(x)
    expected = model.eval()(x)
    ours.accelerate(model)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def test_under_autocast_the_dtypes_stay(torch, ours, models):
    model = made(torch, models, "ResNet").float()
    x = torch.randn(4, 3, 8, 8)
    with torch.autocast("cpu"):
        expected = model.eval()(x)
        ours.accelerate(model)
        found = model(x)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


# ---- what is swapped ----


def test_residual_blocks_and_what_their_forward_calls_are_fused(torch, ours, models):
    report = ours.accelerate(made(torch, models, "ResNet"))
    done = {each.name: each.done for each in report.changes}
    assert done["bn1"] == done["layers.0.bn1"] == "swapped, with ReLU"
    assert done["layers.0.bn2"] == done["layers.1.bn2"] == "swapped, with addition and ReLU"
    assert done["layers.1.downsample.1"] == "swapped"
    assert not report.left


def test_functions_in_the_place_of_layers_are_fused(torch, ours, models):
    assert ours.accelerate(made(torch, models, "TutorialCNN")).fused == ["norm"]


@pytest.mark.parametrize("training", [True, False])
def test_relu6_in_the_pass_has_the_results_and_gradients_of_two_layers(torch, ours, training):
    plain = torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.ReLU6()).double()
    torch.nn.init.constant_(plain[0].weight, 10)  # so that many values are above 6
    model = copy.deepcopy(plain)
    report = ours.accelerate(model)
    assert report.changes[0].done == "swapped, with ReLU6"
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    found = []
    for each in (model.train(training), plain.train(training)):
        y = each(x)
        inputs = (x, *each.parameters())
        once = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        found.append([y, *once, *torch.autograd.grad(once[0].square().sum(), inputs[:2])])
    assert 0.1 < (found[0][0] == 6).double().mean() < 0.6
    for ours_, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=1e-9, atol=1e-9)


def test_relu6_with_other_bounds_stays_a_layer_of_its_own(torch, ours):
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.ReLU6())
    model[1].max_val = 0.5
    assert ours.accelerate(model).fused == []
    assert model(torch.randn(8, 2)).max() == 0.5


def test_what_a_fused_block_calls_is_one_pass(torch, ours, models):
    model = made(torch, models, "ResNet")
    ours.accelerate(model)
    y = model.layers[0](torch.randn(2, 8, 4, 4, dtype=torch.float64))
    assert type(y.grad_fn).__name__ == "BatchNormalizationBackward"


def test_a_sequential_is_fused_however_it_changes_later(torch, ours, models):
    model = made(torch, models, "sequential")
    assert ours.accelerate(model).fused == ["1", "4"]
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    model.append(torch.nn.Flatten())
    assert model(x).ndim == 2
    assert model[:2](x).min() < 0  # without the ReLU behind it
    model[2] = torch.nn.Tanh()
    assert model[:3](x).min() < 0


def test_each_forward_that_may_differ_from_call_to_call_is_left_alone(torch, ours, models):
    for block, reason in models.REFUSED:
        model = block().double()
        report = ours.accelerate(model)
        assert report.swapped == ["norm"]
        assert report.fused == []
        assert reason in report.changes[0].why, block


def test_layers_of_ones_own_are_left_alone(torch, ours):
    class Mine(torch.nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x) + 1

    model = torch.nn.Sequential(Mine(3), torch.nn.ReLU())
    assert ours.accelerate(model).left == {"0": "it is not one of bn.torch"}
    assert type(model[0]) is Mine


def test_hooks_keep_what_they_see(torch, ours):
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU())
    seen = []
    model[0].register_forward_hook(lambda *call: seen.append(call[2]))
    report = ours.accelerate(model)
    assert report.fused == []
    assert "hooks" in report.changes[0].why
    model(torch.randn(2, 3, 4, 4))
    assert seen[0].min() < 0


def test_hooks_that_are_set_later_see_what_they_would_have_seen(torch, ours, models):
    plain = made(torch, models, "ResNet")
    model = copy.deepcopy(plain)
    ours.accelerate(model)
    x, seen = torch.randn(2, 3, 4, 4, dtype=torch.float64), []
    for each in (plain, model):
        for layer in (each.layers[0].bn2, each.layers[0].relu):
            layer.register_forward_hook(lambda *call: seen.append(call[2].clone()))
        each(x)
    assert len(seen) == 6  # the block calls its ReLU twice
    for found, expected in zip(seen[3:], seen[:3], strict=True):
        torch.testing.assert_close(found, expected)


# ---- what stays ----


def test_parameters_names_modes_and_hooks_stay(torch, ours, models):
    model = made(torch, models, "ResNet")
    model.layers[0].eval()
    model.layers[1].register_forward_hook(lambda *call: None)
    before = (
        dict(model.named_parameters()),
        dict(model.named_buffers()),
        dict(model.named_modules()),
    )
    modes = [module.training for module in model.modules()]
    text = repr(model)
    ours.accelerate(model)
    after = dict(model.named_parameters()), dict(model.named_buffers()), dict(model.named_modules())
    for old, new in zip(before, after, strict=True):
        assert list(old) == list(new)
        assert all(old[name] is new[name] for name in old)
    assert [module.training for module in model.modules()] == modes
    assert len(model.layers[1]._forward_hooks) == 1
    assert repr(model) == text


@pytest.mark.parametrize("name", NAMES)
def test_restore_undoes_it(torch, ours, models, name):
    model = made(torch, models, name)
    kinds = [type(module) for module in model.modules()]
    ours.accelerate(model)
    assert [type(module) for module in model.modules()] != kinds
    ours.restore(model)
    assert [type(module) for module in model.modules()] == kinds


def test_restore_keeps_the_layers_that_accelerate_did_not_swap(torch, ours):
    model = torch.nn.Sequential(ours.BatchNorm2d(3), torch.nn.BatchNorm2d(3))
    assert ours.accelerate(model).left == {"0": "it is one of bn.torch"}
    ours.restore(model)
    assert [type(layer) for layer in model] == [ours.BatchNorm2d, torch.nn.BatchNorm2d]


def test_a_second_call_gives_the_same_report(torch, ours, models):
    model = made(torch, models, "ResNet")
    assert repr(ours.accelerate(model)) == repr(ours.accelerate(model))


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_files_are_accelerated_and_can_be_restored(torch, ours, models, name):
    model = made(torch, models, name)
    kinds = [type(module) for module in model.modules()]
    ours.accelerate(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = model(x)
    for each in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert [type(m) for m in each.modules()] == [type(m) for m in model.modules()]
        torch.testing.assert_close(each(x), expected)
        ours.restore(each)
        assert [type(m) for m in each.modules()] == kinds


# ---- models that are left alone ----


def test_a_model_on_another_device_is_left_alone(torch, ours):
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).to("meta")
    assert ours.accelerate(model).left == {"(model)": "0.weight is on the device meta"}
    assert type(model[0]) is torch.nn.BatchNorm2d


def test_a_model_with_parametrisations_is_left_alone(torch, ours):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    torch.nn.utils.parametrizations.weight_norm(model[0])
    assert ours.accelerate(model).left == {"(model)": "0 has parametrisations"}


def test_a_model_that_is_prepared_for_quantization_is_left_alone(torch, ours):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    model.qconfig = "any"
    assert "quantized" in ours.accelerate(model).left["(model)"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what makes the script
def test_a_compiled_script_is_left_alone(torch, ours):
    model = torch.jit.trace(torch.nn.BatchNorm1d(3).eval(), torch.randn(2, 3))
    assert "torch.jit" in ours.accelerate(model).left["(model)"]


def test_what_is_no_model_is_refused(ours):
    for function in (ours.accelerate, ours.restore):
        with pytest.raises(TypeError, match="model must be of type Module, got int"):
            function(3)


def test_the_report_is_an_aligned_table(torch, ours):
    layers = [torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.BatchNorm2d(3)]
    assert repr(ours.accelerate(torch.nn.Sequential(*layers))).splitlines() == [
        "swapped 2, in one pass with what follows 1, left 0",
        "name  layer        done                why",
        "0     BatchNorm2d  swapped, with ReLU",
        "2     BatchNorm2d  swapped             no ReLU follows it",
    ]


def test_a_model_of_the_other_side_is_told_what_converts_it(torch, ours):
    for function in (ours.accelerate, ours.restore, ours.to_bn):
        with pytest.raises(TypeError, match=r"got ReLU of bn: bn\.torch\.from_bn"):
            function(nn.ReLU())
    with pytest.raises(TypeError, match=r"got ReLU of PyTorch: bn\.torch\.to_bn"):
        ours.from_bn(torch.nn.ReLU())


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_the_report_says_what_to_do_about_layers_that_are_left_alone(torch, ours):
    layers = (torch.nn.SyncBatchNorm(3), torch.nn.LazyBatchNorm2d(), torch.nn.RMSNorm(3))
    assert ours.accelerate(torch.nn.Sequential(*layers)).left == {
        "0": "use bn.torch.SyncBatchNorm.convert_sync_batchnorm",
        "1": "its shape is not known: run the model once first",
        "2": "it is not one of bn.torch",
    }


def test_a_layer_by_itself_is_called_the_model(torch, ours):
    assert ours.accelerate(torch.nn.LayerNorm(3)).swapped == ["(model)"]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("name", ["Shortcut", "Conditional"])
def test_shortcuts_in_other_spellings_are_fused(torch, ours, name, down):
    model = getattr(importlib.import_module("torch_conversions"), name)(
        torch.nn.Conv2d(3, 3, 1) if down else None
    )
    x = torch.randn(2, 3, 4, 4)
    expected = copy.deepcopy(model)(x)
    assert ours.accelerate(model).fused == ([] if name == "Conditional" and down else ["norm"])
    torch.testing.assert_close(model(x), expected)


def test_a_layer_whose_own_code_says_if_it_is_true_is_no_missing_layer(torch, ours):
    conversions = importlib.import_module("torch_conversions")
    report = ours.accelerate(conversions.Conditional(conversions.SometimesTrue()))
    assert not report.fused
    assert "more than calls (If)" in repr(report)
