"""`Pairing`: the names of a state and those of a model, compared step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bn.files.names import layer_order, spelled
from bn.types import Array

COUNTER = "num_batches_tracked"
TWO_SPELLINGS = "two names in the state mean the same"
PREFIX_AMBIGUOUS = "several prefixes fit: give prefix="
NO_ORDER = "several layers have these shapes, and the file tells no order of them"
SEVERAL_WAYS = "it fits layers of several shapes"
# The orders of Keras's axes that give PyTorch's, for kernels of so many axes. The second one of
# four axes is that of depthwise convolutions.
KERNELS: dict[int, list[tuple[int, ...]]] = {
    2: [(1, 0)],
    3: [(2, 1, 0)],
    4: [(3, 2, 0, 1), (2, 3, 0, 1)],
}


class Side:
    """The names of a state, or of a model.

    Parameters
    ----------
    arrays : mapping of str to ndarray

    Attributes
    ----------
    arrays : mapping of str to ndarray
    spellings : dict
        Of each name, its layer and its part in a common spelling.
    names : dict
        Of each common spelling, the name.
    open : dict
        The names that are not matched.
    why : dict
        Why they are not, where that is known.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.spellings = {name: spelled(name) for name in arrays}
        self.names = {spelling.whole: name for name, spelling in self.spellings.items()}
        self.open = dict.fromkeys(arrays)
        self.why: dict[str, str] = {}
        for name, spelling in self.spellings.items():
            other = self.names[spelling.whole]
            if other != name:
                self.why[name] = self.why[other] = TWO_SPELLINGS

    def layers(self) -> dict[str, list[str]]:
        """The names of each layer of which nothing is matched, and nothing is known why."""
        found: dict[str, list[str]] = {}
        for name, spelling in self.spellings.items():
            if spelling.part != COUNTER:
                found.setdefault(spelling.layer, []).append(name)
        left = self.open.keys() - self.why.keys()
        return {layer: names for layer, names in found.items() if left.issuperset(names)}


class Pairing:
    """Which array of a state is which of a model: the steps of `match_state`.

    Parameters
    ----------
    wanted, given : mapping of str to ndarray
    layouts : mapping of str to bool
        The names of the model's arrays whose axes Keras has in another order, and whether it is
        known in which.
    prefix : str or None
    transpose : bool or None

    Attributes
    ----------
    state, model : Side
    found : dict
        For each name of the model that was found: its name in the state, the array, and how.
    """

    def __init__(
        self,
        wanted: Mapping[str, Array],
        given: Mapping[str, Array],
        layouts: Mapping[str, bool],
        prefix: str | None,
        transpose: bool | None,
    ) -> None:
        self.layouts, self.transpose = layouts, transpose
        self.state, self.model = Side(given), Side(wanted)
        self.found: dict[str, tuple[str, Array, str]] = {}
        self.prefix = None if prefix is None else prefix.replace("/", ".")
        self.ahead = ""  # of the model's names
        self.asked = prefix is not None
        if not self.asked:
            self._find_prefix()

    # ---- one array ----

    def axes(self, source: str, name: str) -> tuple[int, ...] | None:
        """The order of axes that gives an array the model's shape; None if there is none."""
        array, wanted = self.state.arrays[source], self.model.arrays[name]
        keras = self.transpose
        if keras is None:
            keras = self.state.spellings[source].keras
        orders: list[tuple[int, ...]] = [tuple(range(array.ndim))]
        if keras and name in self.layouts:
            if not self.layouts[name]:
                return None
            depthwise = wanted.ndim == 4 and wanted.shape[1] == 1
            orders = KERNELS.get(array.ndim, orders)[: 1 + depthwise]
        for order in orders:
            if tuple(array.shape[i] for i in order) == wanted.shape:
                return order
        return None

    def take(self, source: str, name: str, how: str) -> None:
        """Note that an array belongs to a name of the model."""
        array, order = self.state.arrays[source], self.axes(source, name)
        assert order is not None
        if order != tuple(range(array.ndim)):
            array, how = array.transpose(order), f"{how}, axes {order}"
        del self.state.open[source], self.model.open[name]
        self.found[name] = source, array, how

    # ---- names ----

    def _find_prefix(self) -> None:
        """Choose the prefix, of the state's names or of the model's, with which most arrays fit."""
        votes: Counter[tuple[str, str]] = Counter()
        ours, theirs = self.model.names, self.state.names
        for whole, source in theirs.items():
            for tail in _tails(whole):
                if tail in ours and self.axes(source, ours[tail]) is not None:
                    votes[whole.removesuffix(tail), ""] += 1
        for whole, name in ours.items():
            for tail in _tails(whole)[1:]:
                if tail in theirs and self.axes(theirs[tail], name) is not None:
                    votes["", whole.removesuffix(tail)] += 1
        most = max(votes.values(), default=0)
        best = [each for each, count in votes.items() if count == most]
        if ("", "") in best or not best:
            self.prefix = ""
        elif len(best) == 1:
            self.prefix, self.ahead = best[0]
        else:
            self.prefix = None
            for theirs_ahead, _ in best:
                for name, spelling in self.state.spellings.items():
                    if theirs_ahead and spelling.whole.startswith(theirs_ahead):
                        self.state.why[name] = PREFIX_AMBIGUOUS

    def by_name(self) -> None:
        """Match the names that are the same without the prefix."""
        if self.prefix is None:
            return
        how = f"without {self.prefix!r}" if self.prefix else "same name"
        how = f"with {self.ahead!r}" if self.ahead else how
        for source, spelling in self.state.spellings.items():
            if not spelling.whole.startswith(self.prefix):
                if self.asked:
                    self.state.why[source] = f"its name does not begin with {self.prefix!r}"
                continue
            name = self.model.names.get(self.ahead + spelling.whole.removeprefix(self.prefix))
            if name is None or source in self.state.why:
                continue
            if self.axes(source, name) is None:
                there, here = self.state.arrays[source].shape, self.model.arrays[name].shape
                why = f"its shape is {there} in the state and {here} in the model"
                self.state.why[source] = self.model.why[name] = why
            else:
                self.take(source, name, how)

    # ---- shapes ----

    def by_shapes(self, in_order: bool) -> None:
        """Match the layers that are left and have the same shapes, where it is certain which."""
        theirs = self.state.layers()
        classes: dict[Any, list[list[str]]] = {}
        for names in self.model.layers().values():
            shapes = [(self.model.spellings[n].part, self.model.arrays[n].shape) for n in names]
            classes.setdefault(tuple(shapes), []).append(names)
        fitting = {
            key: [layer for layer, sources in theirs.items() if self.pairs(sources, layers[0])]
            for key, layers in classes.items()
        }
        uses = Counter(layer for layers in fitting.values() for layer in layers)
        for key, layers in classes.items():
            self._match_class(layers, fitting[key], theirs, uses, in_order)

    def _match_class(
        self,
        layers: list[list[str]],
        sources: list[str],
        theirs: Mapping[str, list[str]],
        uses: Mapping[str, int],
        in_order: bool,
    ) -> None:
        """Match layers of the same shapes."""
        if not sources:
            return
        why = None
        order = sources if in_order else layer_order(sources)
        if any(uses[layer] > 1 for layer in sources):
            why = SEVERAL_WAYS
        elif len(sources) != len(layers):
            why = f"{len(sources)} layers of these shapes are in the state, and {len(layers)} in "
            why += "the model"
        elif len(layers) > 1 and order is None:
            why = NO_ORDER
        if why is not None:
            for name in (n for layer in layers for n in layer):
                self.model.why.setdefault(name, why)
            for name in (n for layer in sources for n in theirs[layer]):
                self.state.why.setdefault(name, why)
            return
        how = "the only layer of these shapes" if len(layers) == 1 else "same order"
        for layer, names in zip(order or sources, layers, strict=True):
            for source, name in self.pairs(theirs[layer], names) or []:
                self.take(source, name, how)
            self._take_counter(layer, self.model.spellings[names[0]].layer, how)

    def _take_counter(self, there: str, here: str, how: str) -> None:
        """Match the numbers of batches of two layers that belong together."""
        source = self.state.names.get(f"{there}.{COUNTER}")
        name = self.model.names.get(f"{here}.{COUNTER}")
        if source in self.state.open and name in self.model.open:
            self.take(source, name, how)

    def pairs(self, sources: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]] | None:
        """Which array of a layer is which, if all fit; by their parts, or in their order."""
        if len(sources) != len(names):
            return None
        theirs = {self.state.spellings[s].part: s for s in sources}
        parts = [self.model.spellings[n].part for n in names]
        if set(theirs) == set(parts):
            found = [(theirs[part], name) for part, name in zip(parts, names, strict=True)]
        elif all(part.isdigit() for part in theirs):
            found = list(zip((theirs[p] for p in sorted(theirs, key=int)), names, strict=True))
        else:
            return None
        fits = all(self.axes(source, name) is not None for source, name in found)
        return found if fits else None


def _tails(whole: str) -> list[str]:
    """A name, and what is left of it without its first parts: a.b.c, b.c, c."""
    parts = whole.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]
