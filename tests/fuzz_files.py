"""The fuzz's table of files of states, and of names that are matched."""

import tempfile
from pathlib import Path

import numpy as np
from fuzz_arrays import BAD_FLAG, FLOATS
from fuzz_law import Case, entries, wide

import bn
from bn import nn

TABLE = {}
fuzzed = entries(TABLE)

FOLDER = Path(tempfile.mkdtemp())
SUFFIXES = [".safetensors", ".npz", ".weights.h5"]
DTYPES = [*FLOATS, np.int64, np.uint8, bool, np.dtype(">f4")]
BAD_VALUES = [
    lambda a: None,
    lambda a: "text",
    lambda a: np.zeros(a.shape, object),
    lambda a: np.zeros(a.shape, np.complex64),
    lambda a: np.zeros(a.shape, [("x", np.float32)]),
    lambda a: np.ma.masked_array(np.zeros(a.shape), np.ones(a.shape, bool)),
]
BAD_METADATA = [3, "text", ["a"], {"a": 1}, {1: "a"}]


@fuzzed("save_state", "load_state")
def file_of_a_state(draw):
    suffix, dtype = draw.pick(SUFFIXES), np.dtype(draw.pick(DTYPES))
    if dtype.name == "bfloat16":
        suffix = ".safetensors"
    if dtype in map(np.dtype, FLOATS):
        values = draw.array(draw.shape(low=0), dtype)
    else:
        values = draw.rng.integers(0, 2, draw.shape(low=0)).astype(dtype)
    metadata = draw.pick([None, {}, {"epochs": "3"}]) if suffix == ".safetensors" else None
    path = FOLDER / f"state{suffix}"

    def call(values, metadata):
        bn.save_state(path, {"values": values, "other": np.ones(2)}, metadata)
        return bn.load_state(path)

    def check(state):
        assert list(state) in (["values", "other"], ["other", "values"])
        assert state["values"].dtype == dtype.newbyteorder("=") or state["values"].dtype == dtype
        np.testing.assert_array_equal(wide(state["values"]), wide(values))
        assert state.metadata == (metadata or {})

    case = Case(call, {"values": values, "metadata": metadata}, check)
    return case.spoil(draw, values=BAD_VALUES, metadata=BAD_METADATA)


@fuzzed("match_state")
def names_of_a_state(draw):
    inputs, outputs = draw.pick([1, 2, 3]), draw.pick([1, 2, 3])
    model = nn.Sequential(nn.Linear(inputs, outputs, rng=0))
    weight = draw.rng.standard_normal((outputs, inputs))
    keras, ahead = draw.pick([False, True]), draw.pick(["", "net.", "a.b/"])
    given = weight.T if keras else weight
    state = {f"{ahead}0.weight": given, f"{ahead}0.bias": np.ones(outputs)}
    prefix = draw.pick([None, ahead])

    def check(matched):
        np.testing.assert_array_equal(matched["0.weight"], weight)
        assert matched.missing == matched.left_over == {}

    arguments = {"model": model, "state": state, "prefix": prefix, "transpose": keras}
    return Case(bn.match_state, arguments, check).spoil(
        draw,
        model=[3, None, {}],
        state=[3, None, [1]],
        prefix=[3, b"net.", ["a"]],
        transpose=[each for each in BAD_FLAG if each is not None],
    )
