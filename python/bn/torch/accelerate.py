"""Models whose batch normalizations, and what follows them, run on `bn`'s core."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.nn.modules.batchnorm import _NormBase as BatchStatistics
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from bn import _check
from bn.table import aligned
from bn.torch import modules
from bn.torch.fusing import (
    activation_of,
    batch_norm_activation,
    batch_norm_add_activation,
    in_sequence,
    is_batch_norm,
)
from bn.torch.graphs import NAMES, fuse
from bn.torch.tracing import Untraceable, source_of, traced

SWAPS = {
    torch.nn.BatchNorm1d: modules.BatchNorm1d,
    torch.nn.BatchNorm2d: modules.BatchNorm2d,
    torch.nn.BatchNorm3d: modules.BatchNorm3d,
    torch.nn.GroupNorm: modules.GroupNorm,
    torch.nn.LayerNorm: modules.LayerNorm,
}
NORMALIZATIONS = (
    BatchStatistics, torch.nn.GroupNorm, torch.nn.LayerNorm, torch.nn.RMSNorm,
)  # fmt: skip
OURS = tuple(SWAPS.values())


# ---- the report ----


@dataclass(frozen=True)
class Change:
    """One line of an `Acceleration`.

    Attributes
    ----------
    name : str
        Of the layer in the model; "(model)" for the model itself.
    layer : str
        What it is.
    done : str
        What became of it.
    why : str
        Why it was left alone; empty for what was swapped.

    Examples
    --------
    >>> Change("bn1", "BatchNorm2d", "swapped", "").done
    'swapped'
    """

    name: str
    layer: str
    done: str
    why: str


class Acceleration:
    """What `accelerate` did to a model; its repr is a table.

    Parameters
    ----------
    changes : tuple of Change
        One for each layer that is a normalization.

    Examples
    --------
    >>> Acceleration((Change("bn1", "BatchNorm2d", "swapped", ""),))
    swapped 1, in one pass with what follows 0, left 0
    name  layer        done     why
    bn1   BatchNorm2d  swapped
    """

    def __init__(self, changes: tuple[Change, ...]) -> None:
        self.changes = changes

    @property
    def swapped(self) -> list[str]:
        """The names of the layers that were swapped."""
        return [each.name for each in self.changes if each.done.startswith("swapped")]

    @property
    def fused(self) -> list[str]:
        """The names of the swapped layers that add, or apply ReLU or ReLU6, in their pass."""
        return [each.name for each in self.changes if each.done.startswith("swapped, with")]

    @property
    def left(self) -> dict[str, str]:
        """Why layers were left alone, by their names."""
        return {each.name: each.why for each in self.changes if each.done == "left"}

    def __repr__(self) -> str:
        numbers = (len(self.swapped), len(self.fused), len(self.left))
        head = "swapped {}, in one pass with what follows {}, left {}".format(*numbers)
        rows = [(each.name, each.layer, each.done, each.why) for each in self.changes]
        if not rows:
            return head
        return f"{head}\n{aligned([('name', 'layer', 'done', 'why'), *rows], left=4)}"


# ---- swapping ----


class Accelerated:
    """A module whose class is not its own, so that it computes in another way.

    Attributes
    ----------
    original : type
        The class that it had.
    source : str or None
        The code of its forward pass, if that was written for it.
    """

    original: type
    source: str | None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and files name the original class, and make this one again."""
        reduced: Any = super().__reduce_ex__(protocol)
        _, (_, *arguments), *state = reduced
        return accelerated_again, (self.original, self.source, *arguments), *state


def accelerated_again(original: type, source: str | None, *arguments: Any) -> Any:
    """A module of an accelerated class, without its state."""
    kind = accelerated_class(original, source)
    return kind.__new__(kind, *arguments)


@functools.cache
def accelerated_class(original: Any, source: str | None = None) -> type:
    """The class that takes the place of another one."""
    members = {name: getattr(original, name) for name in ("__doc__", "__module__", "__qualname__")}
    members.update(original=original, source=source)
    if original not in SWAPS:
        members["forward"] = in_sequence if source is None else function_of(source)
    return type(original.__name__, (Accelerated, SWAPS.get(original, original)), members)


def swap(module: Any, source: str | None = None) -> None:
    """Give a module the class that takes the place of its own."""
    kind: Any = type(module)
    module.__class__ = accelerated_class(kind, source)


def function_of(source: str) -> Any:
    """The function that the code of a graph defines."""
    found: dict[str, Any] = {}
    exec(source, namespace(), found)
    return found["forward"]


@functools.cache
def namespace() -> dict[str, Any]:
    """The global names that the code of a graph may use."""
    graph = fx.Graph()
    for function in (batch_norm_activation, batch_norm_add_activation):
        graph.call_function(function)
    names: dict[str, Any] = graph.python_code("self").globals
    return names


def accelerate(model: torch.nn.Module) -> Acceleration:
    """Let the normalizations of a model run on `bn`'s core, in place.

    A batch normalization, and a residual addition and a ReLU or ReLU6 behind it, become one pass
    where the forward pass of the block around them is certain to do the same in each call.
    Parameters, buffers, names, modes and hooks stay the same objects, so optimizers, files of
    states and ``torch.compile`` go on as before.

    Parameters
    ----------
    model : torch.nn.Module
        It is changed, in training mode or not. Models that are not on a CPU, quantized ones and
        those with parametrisations are left alone.

    Returns
    -------
    Acceleration
        Its repr says what was swapped, what was not, and why.

    Raises
    ------
    TypeError
        The model is no module of PyTorch.

    See Also
    --------
    restore : The way back.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8))
    >>> accelerate(model)
    swapped 2, in one pass with what follows 1, left 0
    name  layer        done                why
    1     BatchNorm2d  swapped, with ReLU
    3     BatchNorm2d  swapped             no ReLU follows it
    """
    _check.instance("model", model, torch.nn.Module)
    restore(model)
    reason = unfit(model)
    if reason is not None:
        return Acceleration((Change("(model)", type(model).__name__, "left", reason),))
    norms = {n: m for n, m in model.named_modules() if isinstance(m, NORMALIZATIONS)}
    for norm in norms.values():
        if type(norm) in SWAPS:
            swap(norm)
    followed: dict[torch.nn.Module, str] = {}
    reasons: dict[torch.nn.Module, str] = {}
    for parent in list(model.modules()):
        if any(is_batch_norm(each) for each in parent.modules() if each is not parent):
            try:
                followed.update(fused_in(parent))
            except Untraceable as error:
                reasons.update(dict.fromkeys(parent.children(), f"alone: {error}"))
    return Acceleration(
        tuple(
            change_of(name or "(model)", norm, followed.get(norm), reasons)
            for name, norm in norms.items()
        )
    )


def change_of(
    name: str, norm: torch.nn.Module, followed: str | None, reasons: dict[torch.nn.Module, str]
) -> Change:
    """What became of a normalization."""
    kind = type(norm).__name__
    if not isinstance(norm, Accelerated):
        return Change(name, kind, "left", why_left(norm))
    if followed is not None:
        return Change(name, kind, f"swapped, with {followed}", "")
    if not isinstance(norm, modules.Batches):
        return Change(name, kind, "swapped", "")
    alone = "its hooks see its output" if not is_batch_norm(norm) else "no ReLU follows it"
    return Change(name, kind, "swapped", reasons.get(norm, alone))


def why_left(norm: torch.nn.Module) -> str:
    """Why a normalization is left alone."""
    if type(norm) in OURS:
        return "it is one of bn.torch"
    if type(norm) is torch.nn.SyncBatchNorm:
        return "use bn.torch.SyncBatchNorm.convert_sync_batchnorm"
    if isinstance(norm, LazyModuleMixin):
        return "its shape is not known: run the model once first"
    return "it is not one of bn.torch"


def unfit(model: torch.nn.Module) -> str | None:
    """Why a whole model is left alone."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.device.type != "cpu":
            return f"{name} is on the device {tensor.device.type}"
        if tensor.is_quantized:
            return f"{name} is quantized"
    for name, module in model.named_modules():
        if is_parametrized(module):
            return f"{name or 'it'} has parametrisations"
        if isinstance(module, torch.jit.ScriptModule):
            return f"{name or 'it'} was compiled by torch.jit"
        home = type(module).__module__
        if home.startswith("torch.ao.") or getattr(module, "qconfig", None) is not None:
            return f"{name or 'it'} is quantized, or prepared for it"
    return None


def fused_in(module: torch.nn.Module) -> dict[torch.nn.Module, str]:
    """Fuse what a module calls; return the normalizations that now do more, and what."""
    if isinstance(module, fx.GraphModule):
        raise Untraceable("its forward is a graph already")
    if type(module).forward is torch.nn.Sequential.forward and "forward" not in vars(module):
        pairs = itertools.pairwise(module)
        after = {a: activation_of(b) for a, b in pairs if is_batch_norm(a)}
        found = {a: NAMES[name] for a, name in after.items() if name is not None}
        if found:
            swap(module)
        return found
    graph = traced(module)
    names = fuse(module, graph)
    if not names:
        return {}
    if not set(graph.python_code("self").globals) <= set(namespace()):
        raise Untraceable("its forward uses more than PyTorch")
    found = {module.get_submodule(name): done for name, done in names.items()}
    swap(module, source_of(graph))
    return found


def restore(model: torch.nn.Module) -> None:
    """Undo `accelerate`, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Layers of `bn.torch` that `accelerate` did not put there stay.

    Raises
    ------
    TypeError
        The model is no module of PyTorch.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
    >>> report = accelerate(model)
    >>> restore(model)
    >>> type(model[0]) is nn.BatchNorm1d
    True
    """
    _check.instance("model", model, torch.nn.Module)
    for module in model.modules():
        if isinstance(module, Accelerated):
            module.__class__ = module.original
