"""`bn.convert` without any framework: what is said, and what is imported."""

import subprocess
import sys

import pytest

import bn
from bn import convert
from bn.convert.setting import setting_of, variance_as


@pytest.mark.parametrize(
    ("function", "layer", "package"),
    [
        (convert.from_torch, type("BatchNorm2d", (), {})(), "torch"),
        (convert.to_torch, bn.BatchNorm2d(3), "torch"),
        (convert.from_keras, type("BatchNormalization", (), {})(), "keras"),
        (convert.to_keras, bn.BatchNorm2d(3), "keras"),
        (convert.from_flax, type("BatchNorm", (), {})(), "flax"),
        (convert.to_flax, bn.BatchNorm2d(3), "flax"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_framework_that_is_missing_is_told_in_one_sentence(monkeypatch, function, layer, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = f"^bn.convert.{function.__name__} needs {package}, which is not installed: pip install"
    with pytest.raises(ImportError, match=words):
        function(layer)


def test_neither_a_framework_nor_what_speaks_of_it_is_imported_with_bn():
    code = (
        "import sys, bn\n"
        "later = {'torch', 'keras', 'jax', 'flax', 'bn.convert', 'bn.explaining'}\n"
        "assert not later & set(sys.modules)\n"
        "assert bn.convert.from_torch and bn.explain_difference and bn.Explanation and bn.Cause\n"
        "assert not {'torch', 'keras', 'jax', 'flax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("layer", ["a text", 3, bn.BatchNorm2d, None], ids=repr)
def test_what_is_no_layer_is_refused(layer):
    for function in (convert.from_torch, convert.from_keras):
        with pytest.raises(TypeError, match="layer must be one of"):
            function(layer)
    for function in (convert.to_torch, convert.to_keras, convert.to_flax):
        with pytest.raises(TypeError, match="layer must be of type"):
            function(layer)


def test_a_setting_means_the_same_for_all_conventions():
    layers = [bn.preset("torch", 3, momentum=0.25), bn.preset("keras", 3, momentum=0.75)]
    one, other = map(setting_of, layers)
    assert one.share == other.share == 0.25
    assert (one.unbiased, other.unbiased) == (True, False)
    assert (one.axis, other.axis) == (1, -1)
    one.mean[...] = 7  # a copy
    assert not layers[0].running_mean.any()


def test_the_kind_of_a_running_variance_is_converted_for_a_number_of_values():
    layer = bn.preset("torch", 2, dtype="f8")
    setting = setting_of(layer)
    assert variance_as(layer, setting, "Keras", False, 4).tolist() == [0.75, 0.75]
    assert variance_as(layer, setting, "Keras", False, "as is").tolist() == [1, 1]
    assert variance_as(layer, setting, "PyTorch", True, 4).tolist() == [1, 1]
    with pytest.raises(ValueError, match="its running variance is unbiased"):
        variance_as(layer, setting, "Keras", False, "exact")
