"""What the documentation says of `bn.keras` is so."""

import inspect
import re
from pathlib import Path

import pytest
import test_documentation as others

from bn import keras
from bn.keras.optimizers import schedules

PAGE = Path(__file__).parent.parent / "docs" / "keras.md"
MODULES = {
    "layers": [name for name in keras.layers.__all__ if name[0].isupper() and name != "Layer"],
    "activations": [each.config_name for each in keras.activations.ALL],
    "optimizers": [each.__name__ for each in keras.optimizers.CLASSES],
    "losses": [each.__name__ for each in keras.losses.CLASSES],
    "metrics": [each.__name__ for each in keras.metrics.CLASSES],
    "callbacks": [each.__name__ for each in keras.callbacks.CLASSES],
    "initializers": [each.__name__ for each in keras.initializers.CLASSES],
    "regularizers": ["L1", "L2", "L1L2"],
    "utils": keras.utils.__all__,
}
PUBLIC = [
    *(getattr(keras.layers, name) for name in keras.layers.__all__),
    *keras.optimizers.CLASSES,
    *schedules.CLASSES,
    *keras.losses.CLASSES,
    *keras.metrics.CLASSES,
    *keras.callbacks.CLASSES,
    *keras.initializers.CLASSES,
    *(getattr(keras.regularizers, name) for name in ("L1", "L2", "L1L2")),
    *(getattr(keras.utils, name) for name in keras.utils.__all__),
    *(getattr(keras.models, name) for name in keras.models.__all__),
]
METHODS = ("compile", "evaluate", "fit", "get_layer", "load_weights", "predict", "save", "summary")


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda thing: thing.__name__)
def test_each_parameter_is_documented_and_sections_are_in_order(thing):
    missing, unknown = others.undocumented(thing)
    assert (missing, unknown) == (set(), set())
    titles = [title for title in others.sections(thing) if title]
    assert titles == [title for title in others.SECTIONS if title in titles]


@pytest.mark.parametrize("name", METHODS)
def test_each_parameter_of_a_method_of_models_is_documented(name):
    method = inspect.getattr_static(keras.Model, name)
    assert others.undocumented(method) == (set(), set())


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keras.utils.clear_session()
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec("\n".join(blocks), {"__name__": "page"})


@pytest.mark.parametrize("module", MODULES)
def test_the_table_of_the_page_has_what_there_is(module):
    (row,) = re.findall(rf"^\| `{module}` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    first = row.split(";")[0]
    words = set(re.findall(r"\b[A-Za-z]\w*", re.sub(r"\(.*?\)", "", first)))
    assert words == {*MODULES[module], *(["accuracy"] if module == "metrics" else [])}


def test_what_the_page_names_is_there():
    text = PAGE.read_text()
    for name in re.findall(r"`(test_[a-z_]+)`", text):
        assert (PAGE.parent.parent / "tests" / f"{name}.py").exists(), name
    for name in re.findall(r"`(bench/\w+\.py)`", text):
        assert (PAGE.parent.parent / name).exists(), name
