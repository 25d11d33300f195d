"""The table of PyTorch's own tests is complete and true."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch_exclusions as table

HERE = Path(__file__).parent
NORMALIZATION = re.compile(r"(batch|group|instance|layer|local_response|rms)_norm")


def functions_in(name):
    tree = ast.parse((HERE / f"{name}.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("file", table.FILES)
def test_each_test_that_is_named_exists(file):
    everywhere = set().union(*map(functions_in, table.FILES.values()))
    assert set(table.RUN[file].values()) <= everywhere


@pytest.mark.parametrize("file", table.FILES)
def test_no_test_of_pytorch_is_both_run_and_left_out(file):
    assert not table.RUN[file].keys() & table.EXCLUDED[file].keys()
    assert all(table.EXCLUDED[file].values())


def test_the_tests_of_the_own_files_are_all_named():
    named = {name for each in table.RUN.values() for name in each.values()}
    more = {  # they check more than PyTorch's tests of modules and functions do
        "test_a_converted_layer_computes_in_its_new_dtype",
        "test_an_old_state_without_a_number_of_batches_is_taken",
        "test_an_output_may_be_changed_in_place",
        "test_each_parameter_may_be_the_only_one_with_a_gradient",
        "test_gradients_are_pytorchs",
        "test_modes_that_follow_operations_see_pytorchs",
        "test_the_input_is_not_changed",
        "test_the_same_call_gives_the_same_bits_again",
        "test_two_layers_do_not_share_their_state",
    }
    found = set().union(*map(functions_in, table.FILES.values()))
    assert {name for name in found if name.startswith("test_")} == named | more


@pytest.mark.parity
def test_each_normalization_in_pytorchs_databases_is_run_or_left_out(ours):
    own = importlib.import_module("torch_own")
    layers = {info.module_cls.__name__ for info in own.module_db if "Norm" in info.name}
    assert layers == table.LAYERS | table.EXCLUDED_LAYERS.keys()
    operators = {
        f"{op.name} {op.variant_test_name}".strip()
        for op in own.op_db
        if NORMALIZATION.search(op.name)
    }
    assert operators == table.OPERATORS | table.EXCLUDED_OPERATORS.keys()


@pytest.mark.parity
def test_the_layers_operators_and_dtypes_that_are_run_are_those_of_the_databases(ours):
    own, modules, operators = map(
        importlib.import_module,
        ("torch_own", "test_torch_own_modules", "test_torch_own_operators"),
    )
    kinds = {own.THEIRS.get(kind, kind) for kind in modules.KINDS}
    assert kinds == table.LAYERS
    for kind in modules.KINDS:
        assert (kind, True) in modules.MODES
        assert ((kind, False) in modules.MODES) == own.info_of(kind).train_and_eval_differ
    assert {*operators.FUNCTIONS, *operators.NATIVE} == table.OPERATORS
    for name in table.OPERATORS:
        dtypes = {str(dtype).partition(".")[2] for dtype in own.operator_of(name).dtypes}
        assert dtypes == set(operators.DTYPES)


@pytest.mark.parity
def test_the_normalizations_among_pytorchs_older_tests_are_named(ours):
    own = importlib.import_module("torch_own")
    for given in own.older_tests("Norm"):
        name = f"test_{given['module_name']}_{given['desc']}"
        assert name in table.RUN["test_nn.py"]
        assert ("check_eval" in given) == (f"{name}_eval" in table.RUN["test_nn.py"])
