"""Every public function, with arguments of every kind, obeys one law: see `fuzz_law`.

The tables are in `fuzz_augment`, `fuzz_blocks`, `fuzz_distributed`, `fuzz_files`, `fuzz_functions`,
`fuzz_keras`, `fuzz_layers`, `fuzz_samples`, `fuzz_nn`, `fuzz_images`, `fuzz_options` and
`fuzz_training`.
BN_FUZZ_CASES is the number of cases that `pytest -m fuzz` tries.
"""

import os

import fuzz_augment
import fuzz_blocks
import fuzz_distributed
import fuzz_files
import fuzz_functions
import fuzz_images
import fuzz_keras
import fuzz_layers
import fuzz_nn
import fuzz_options
import fuzz_samples
import fuzz_training
import numpy as np
import pytest
from fuzz_arrays import Draw
from fuzz_law import obey
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import bn
import bn.keras
from bn import nn

TABLES = (
    fuzz_augment,
    fuzz_blocks,
    fuzz_distributed,
    fuzz_files,
    fuzz_functions,
    fuzz_images,
    fuzz_keras,
    fuzz_layers,
    fuzz_nn,
    fuzz_options,
    fuzz_samples,
    fuzz_training,
)
TABLE = {name: entry for module in TABLES for name, entry in module.TABLE.items()}
NOT_CALLED = {  # public names, and why the fuzz has no case of them
    "BestCheckpoint": "a callback, which test_nn_fit tries",
    "CSVLogger": "a callback, which test_nn_fit tries",
    "Callback": "a base class, which test_nn_fit tries",
    "DataParallel": "of several ranks, which test_nn_data_parallel tries",
    "Cause": "what explain_difference returns, which test_explain_difference tries",
    "EarlyStopping": "a callback, which test_nn_fit tries",
    "Explanation": "what explain_difference returns, which test_explain_difference tries",
    "LoadedState": "what load_state returns, which test_files tries",
    "Match": "a part of what match_state returns, which test_files_matching tries",
    "MatchedState": "what match_state returns, which test_files_matching tries",
    "onnx.export": "of whole models, which test_onnx_files and test_parity_onnx_files try",
    "onnx.load": "of whole models, which test_onnx_files and test_parity_onnx_files try",
    "History": "what fit returns, which test_nn_fit tries",
    "TrainingState": "what callbacks get, which test_nn_fit tries",
    "__version__": "a string",
    "NonFiniteWarning": "a warning",
    "convert": "a module, which test_parity_convert and test_convert try",
    "check_inputs": "a mode, which test_check_inputs tries in every layer",
    "SmallBatchWarning": "a warning",
    "SyncError": "an exception",
    "test": "it has no arguments to speak of; test_installation tries it",
    "explain_difference": "test_explain_difference tries it on layers that differ in each way",
    "mpi": "a module, which test_mpi tries",
    "augment": "a module; its classes are in the table as augment.RandomFlip and so on",
    "plot_activations": "test_looking tries it; a figure takes a second",
    "plot_running_stats": "test_looking tries it; a figure takes a second",
    "dask": "a module; its functions are in the table as dask.stats and dask.normalize",
    "keras.layers.Bidirectional": "of another layer, which test_keras_layers tries",
    "keras.layers.Input": "it describes a model, which test_keras_models tries",
    "keras.layers.InputLayer": "it describes a model, which test_keras_models tries",
    "keras.layers.Layer": "a base class",
    "onnx": "a module; its functions are in the table as onnx.BatchNormalization and so on",
}
FEW, MANY = 2_000, int(os.environ.get("BN_FUZZ_CASES", "100000"))
with_table = pytest.mark.parametrize("name", TABLE)


def attack(name, cases):
    """Try so many cases of one entry of the table."""

    @settings(
        max_examples=max(1, cases // len(TABLE)),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32 - 1))
    def call(seed):
        # The answers are computed from infinities too, of which NumPy would warn.
        with np.errstate(all="ignore"):
            case = TABLE[name][0](Draw(seed))
        obey(case)

    call()


def test_the_table_has_every_public_name():
    called = {name for _, names in TABLE.values() for name in names}
    inside = {"dask": bn.dask, "onnx": bn.onnx, "augment": nn.augment}
    inside["keras.layers"] = bn.keras.layers
    further = [f"{name}.{each}" for name, module in inside.items() for each in module.__all__]
    for name in (*bn.__all__, *nn.__all__, *further):
        one = {name, f"bn.{name}"} & called
        assert len(one) + (name in NOT_CALLED) == 1, f"{name} must be in the table or exempt"


@with_table
def test_a_call_gives_the_answer_of_float64_or_names_the_bad_argument(name):
    attack(name, FEW)


@pytest.mark.fuzz
@with_table
def test_many_calls_give_the_answer_of_float64_or_name_the_bad_argument(name):
    attack(name, MANY)
