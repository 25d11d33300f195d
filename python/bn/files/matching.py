"""`match_state`: which array of a state is which one of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from bn import _check
from bn.files.pairing import COUNTER, Pairing
from bn.module import Module
from bn.nn.recurrent_base import Recurrent
from bn.nn.weighted import Weighted
from bn.table import aligned
from bn.types import Array, Shape

NO_SUCH_NAME = "the model has no such name, and no layer with these shapes is left"
NOT_IN_FILE = "the file has no such name, and no layer with these shapes is left"


@dataclass(frozen=True)
class Match:
    """One array that was found.

    Attributes
    ----------
    source : str
        Its name in the state.
    name : str
        Its name in the model.
    shape : tuple of int
        In the model.
    how : str
        Why the two belong together, and how its axes were exchanged.

    Examples
    --------
    >>> Match("fc/kernel", "fc.weight", (3, 2), "same name, axes (1, 0)").shape
    (3, 2)
    """

    source: str
    name: str
    shape: Shape
    how: str


class MatchedState(dict[str, Array]):
    """The arrays that were found, under the model's names; the repr is a table.

    Parameters
    ----------
    wanted, given : mapping of str to ndarray
        The arrays of the model, and those of the state. `match_state` adds what it finds.

    Attributes
    ----------
    matches : list of Match
    left_over : dict
        The names in the state of the arrays that were not used, and why.
    missing : dict
        The names in the model for which nothing was found, and why.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> match_state(nn.Linear(2, 3, bias=False), {"fc.weight": np.ones((3, 2)), "n": np.ones(1)})
    1 of 1 found
    in the state  in the model  shape   how
    fc.weight     weight        (3, 2)  without 'fc.'
    1 left over in the state
      n (1,): the model has no such name, and no layer with these shapes is left
    """

    def __init__(self, wanted: Mapping[str, Any], given: Mapping[str, Array]) -> None:
        super().__init__()
        self._wanted = {name: tuple(array.shape) for name, array in wanted.items()}
        self._given = {name: tuple(array.shape) for name, array in given.items()}
        self.matches: list[Match] = []
        self.left_over: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def __repr__(self) -> str:
        lines = [f"{len(self.matches)} of {len(self._wanted)} found"]
        if self.matches:
            titles = ("in the state", "in the model", "shape", "how")
            lines.append(aligned([titles, *map(_cells, self.matches)], left=4))
        for where, names, shapes in (
            ("left over in the state", self.left_over, self._given),
            ("missing in the model", self.missing, self._wanted),
        ):
            if names:
                lines.append(f"{len(names)} {where}")
                lines += [f"  {name} {shapes[name]}: {why}" for name, why in names.items()]
        return "\n".join(lines)


def _cells(match: Match) -> tuple[str, ...]:
    return match.source, match.name, str(match.shape), match.how


def match_state(
    model: Module,
    state: Mapping[str, ArrayLike],
    *,
    prefix: str | None = None,
    transpose: bool | None = None,
) -> MatchedState:
    """Find out which array of a state is which one of a model, and say so.

    Names are compared first: without a prefix that the others have ("module.", "backbone."), with
    "/" for ".", and with Keras's words for PyTorch's (kernel, gamma, beta, moving_mean,
    moving_variance). Layers that are left are compared by their shapes: one that is the only one on
    both sides is taken, and so are several ones if the order of the state tells which is which.
    Nothing is guessed: what could be several arrays is left over, and the result tells why.

    Parameters
    ----------
    model : Module
        Its layers must be built. It is not changed.
    state : mapping of str to array_like
        Such as `load_state` returns. The order of another mapping is taken for the model's.
    prefix : str, optional
        What the names in the state begin with, and those of the model do not. Names without it are
        left over. None finds it out.
    transpose : bool, optional
        Whether kernels have Keras's order of axes: (height, width, in, out) for convolutions, and
        (in, out) for dense layers. None takes the names for evidence: "kernel", or "vars/0".

    Returns
    -------
    MatchedState
        A dict for `Module.load_state_dict`, which takes a whole state only. For a part of a model:
        ``model.load_state_dict(model.state_dict() | matched)``.

    Raises
    ------
    TypeError
        `model` is not a Module, or `state` is no mapping of names to arrays.
    RuntimeError
        A layer is not built.

    See Also
    --------
    load_state : Reads the files of other frameworks.

    Notes
    -----
    Behind a Flatten of channels-last images, the inputs of a dense layer are in another order than
    behind one of channels-first images. Shapes do not show that: give the model ``axis=-1`` if the
    weights are Keras's.

    References
    ----------
    torch.nn.Module.load_state_dict; keras.Model.load_weights.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> model = nn.Sequential(nn.Linear(2, 3, rng=0))
    >>> keras = {"dense/kernel": np.ones((2, 3)), "dense/bias": np.zeros(3)}
    >>> match_state(model, keras)
    2 of 2 found
    in the state  in the model  shape   how
    dense/kernel  0.weight      (3, 2)  the only layer of these shapes, axes (1, 0)
    dense/bias    0.bias        (3,)    the only layer of these shapes
    """
    _check.instance("model", model, Module)
    _check.mapping("state", state)
    if prefix is not None:
        _check.text("prefix", prefix)
    _check.optional_flag("transpose", transpose)
    given = {name: _check.state_array(name, value) for name, value in state.items()}
    pairing = Pairing(dict(model.named_state()), given, layouts_of(model), prefix, transpose)
    pairing.by_name()
    pairing.by_shapes(getattr(state, "in_order", True))
    return _result(pairing)


def layouts_of(model: Module) -> dict[str, bool]:
    """The names of arrays whose axes Keras has in another order, and whether these are known."""
    found: dict[str, bool] = {}
    for path, layer in model.named_modules(remove_duplicate=False):
        names = ["weight"] if isinstance(layer, Weighted) else []
        if isinstance(layer, Recurrent):
            names = [name for name, _ in layer.own_parameters()]
        known = isinstance(layer, Weighted)
        found |= {f"{path}.{name}" if path else name: known for name in names}
    return found


def _result(pairing: Pairing) -> MatchedState:
    """The arrays that were found, and why others were not."""
    state, model = pairing.state, pairing.model
    out = MatchedState(model.arrays, state.arrays)
    for name in model.arrays:
        if name in pairing.found:
            source, array, how = pairing.found[name]
            out[name] = array
            out.matches.append(Match(source, name, array.shape, how))
        elif model.spellings[name].part != COUNTER:
            out.missing[name] = model.why.get(name, NOT_IN_FILE)
    out.left_over = {name: state.why.get(name, NO_SUCH_NAME) for name in state.open}
    return out
