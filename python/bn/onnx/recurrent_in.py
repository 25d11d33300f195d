"""Recurrent nodes as layers of `bn.nn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bn import nn
from bn.nn.forward_as_data import Name
from bn.onnx.operands import Given
from bn.onnx.recurrent_out import GATES, STATES
from bn.onnx.sizes_in import FIRST_STATE, ZEROS
from bn.types import Array

if TYPE_CHECKING:
    from bn.onnx.building import Building

KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
DIRECTIONS = {"forward": 1, "bidirectional": 2}
USUAL = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "RNN": ["Tanh"],
}
LENGTHS = 4  # the number of this input


def in_order_of_layer(array: Array, kind: str) -> Array:
    """Rows of the gates in the order of `bn.nn`.

    Examples
    --------
    >>> in_order_of_layer(np.array([1, 4, 2, 3]), "LSTM")
    array([1, 2, 3, 4])
    """
    parts = np.split(array, len(GATES[kind]))
    return np.concatenate([parts[i] for i in np.argsort(GATES[kind])])


def recurrent(building: Building, given: Given) -> None:
    """`nn.LSTM`, `nn.GRU` and `nn.RNN`, whose outputs get ONNX's axes."""
    kind = given.operator
    made = _layer(given)
    directions = 2 if made.bidirectional else 1
    if given.name(LENGTHS):
        raise ValueError(f"{kind} must have no sequence_lens")
    path = building.layer(given, made, *given.names(1, 2, 3))
    places = [FIRST_STATE + i for i in range(STATES[kind]) if given.name(FIRST_STATE + i)]
    places = [i for i in places if not _is_zeros(building, given, i)]
    states = [building.operand(given, i) for i in places]
    if len(states) not in (0, STATES[kind]):
        raise ValueError(f"{kind} must have all initial states or none")
    x = building.value(given.value(0))
    both = building.between(path, x, *([states] if states else []))
    y = building.between("[]", both, 0)
    y = building.between("reshape()", y, (0, 0, directions, made.hidden_size))
    building.add(given.outputs[0], "transpose()", y, (0, 2, 1, 3))
    _final_states(building, given, both)
    given.use_outputs(1 + STATES[kind])


def _is_zeros(building: Building, given: Given, i: int) -> bool:
    """Whether input i is a state of zeros, with which the layer begins by itself."""
    if given.is_constant(i):
        return not given.constant(i).any()
    return building.sizes.kinds.get(given.name(i)) == ZEROS


def _final_states(building: Building, given: Given, both: Name) -> None:
    names = [name for name in given.outputs[1:] if name]
    if not names:
        return
    if STATES[given.operator] == 1:
        building.add(names[0], "[]", both, 1)
        return
    pair = building.between("[]", both, 1)
    for i, name in enumerate(given.outputs[1:3]):
        if name:
            building.add(name, "[]", pair, i)


def _layer(given: Given) -> Any:
    kind = given.operator
    direction = given.attribute("direction", "forward")
    if direction not in DIRECTIONS:
        raise ValueError(f"direction of {kind} must be forward or bidirectional, got {direction}")
    directions, hidden = DIRECTIONS[direction], given.attribute("hidden_size")
    given.only("layout", 0)
    arguments: dict[str, Any] = {"bidirectional": directions == 2}
    if kind == "RNN":
        arguments["nonlinearity"] = _nonlinearity(given, directions)
    else:
        given.only("activations", USUAL[kind] * directions)
    if kind == "GRU" and given.attribute("linear_before_reset", 0) != 1:
        raise ValueError("linear_before_reset of GRU must be 1")
    if kind == "LSTM":
        given.only("input_forget", 0)
    w, r, b = given.floats(1, 3), given.floats(2, 3), given.optional(3, 2)
    rows = len(GATES[kind]) * hidden
    if w.shape[:2] != (directions, rows) or r.shape != (directions, rows, hidden):
        raise ValueError(f"the weights of {kind} must be those of {hidden} hidden values")
    if b is not None and b.shape != (directions, 2 * rows):
        raise ValueError(f"the bias of {kind} must be that of {hidden} hidden values")
    made = KINDS[kind](w.shape[2], hidden, bias=b is not None, dtype=w.dtype, rng=0, **arguments)
    state = {}
    for i, suffix in enumerate(["_l0", "_l0_reverse"][:directions]):
        state[f"weight_ih{suffix}"] = in_order_of_layer(w[i], kind)
        state[f"weight_hh{suffix}"] = in_order_of_layer(r[i], kind)
        if b is not None:
            state[f"bias_ih{suffix}"] = in_order_of_layer(b[i, :rows], kind)
            state[f"bias_hh{suffix}"] = in_order_of_layer(b[i, rows:], kind)
    return made.load_state_dict(state)


def _nonlinearity(given: Given, directions: int) -> str:
    found = given.attribute("activations", USUAL["RNN"] * directions)
    if found == ["Relu"] * directions:
        return "relu"
    if found != ["Tanh"] * directions:
        raise ValueError(f"activations of RNN must be Tanh or Relu, got {found}")
    return "tanh"
