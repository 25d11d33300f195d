"""The forward pass of a module as a graph, if it is certain to do the same in each call."""

from __future__ import annotations

import ast
import inspect
import operator
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import fx


class Untraceable(Exception):
    """Why a forward pass has no graph."""


# What a straight piece of code is made of.
PLAIN = (
    ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.Pass, ast.Name, ast.Attribute, ast.Call,
    ast.keyword, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Tuple,
    ast.List, ast.Subscript, ast.Slice, ast.expr_context, ast.cmpop,
)  # fmt: skip


class Proxy(fx.Proxy):
    """A value of which ``x += y`` is recorded as such; torch.fx would record a sum."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class Tracer(fx.Tracer):
    """A tracer that looks into no layer."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Proxy(node, self)

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return True


def traced(module: torch.nn.Module) -> fx.Graph:
    """The graph of a module's forward pass, whose nodes are its layers and functions of PyTorch.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    torch.fx.Graph

    Raises
    ------
    Untraceable
        Its forward pass may do different things in different calls, or PyTorch cannot trace it.

    Examples
    --------
    >>> [node.name for node in traced(torch.nn.Sequential(torch.nn.ReLU())).nodes]
    ['input_1', '_0', 'output']
    """
    if "forward" in vars(module):
        raise Untraceable("its forward was set from outside")
    if type(module).__call__ is not torch.nn.Module.__call__:
        raise Untraceable("it has a __call__ of its own")
    check_straight(module, type(module).forward)
    try:
        graph, again = Tracer().trace(module), Tracer().trace(module)
    except Exception as error:
        raise Untraceable(f"torch.fx cannot trace it ({first_line(error)})") from error
    for node in (*graph.nodes, *again.nodes):
        node.type = None  # annotations are names that the code would need
    if source_of(graph) != source_of(again):
        raise Untraceable("its forward pass is random")
    return graph


def source_of(graph: fx.Graph) -> str:
    """The code of a graph."""
    return str(graph.python_code("self").src)


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


# ---- code without branches ----


def check_straight(module: torch.nn.Module, function: Any) -> None:
    """Raise `Untraceable` unless a method calls layers and PyTorch's functions one after the other.

    A branch is allowed where a layer may be missing (``if self.downsample is not None``, ``if
    self.downsample``, and ``x if self.downsample is None else self.downsample(x)``).
    Attributes other than layers, parameters and buffers are not, because their values may change.
    """
    if function is torch.nn.Sequential.forward:
        return
    definition = definition_of(function)
    known = {argument.arg for argument in ast.walk(definition) if isinstance(argument, ast.arg)}
    own = Self(module, definition.args.args[0].arg if definition.args.args else "")
    nodes = list(inside(own, definition.body))
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    if is_assigned(own.name, nodes):
        raise Untraceable(f"its forward assigns to {own.name}")
    for node in nodes:
        check_node(own, node, known, function)


def definition_of(function: Any) -> ast.FunctionDef:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise Untraceable("its code cannot be read") from error
    (definition,) = tree.body
    if not isinstance(definition, ast.FunctionDef) or definition.decorator_list:
        raise Untraceable("its forward is decorated")
    return definition


class Self(NamedTuple):
    """A module, and the name that it has in its method."""

    module: torch.nn.Module
    name: str


def is_assigned(name: str, nodes: Iterable[ast.AST]) -> bool:
    names = (node for node in nodes if isinstance(node, ast.Name) and node.id == name)
    return any(isinstance(node.ctx, ast.Store) for node in names)


def inside(own: Self, statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of code, without the branches and tests on missing layers."""
    for node in statements:
        if isinstance(node, ast.If) and asks_for_layer(own, node.test):
            yield from inside(own, [*node.body, *node.orelse])
        elif isinstance(node, ast.IfExp) and asks_for_layer(own, node.test):
            yield from inside(own, [node.body, node.orelse])
        else:
            yield node
            yield from inside(own, ast.iter_child_nodes(node))


def asks_for_layer(own: Self, test: ast.expr) -> bool:
    """Whether it is ``self.layer``, ``not self.layer``, ``self.layer is None`` or ``is not None``.

    The structure of a model answers it, which is the same in each call.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return asks_for_layer(own, test.operand)
    if isinstance(test, ast.Compare):
        (other, *more) = test.comparators
        none = isinstance(other, ast.Constant) and other.value is None and not more
        if not none or not isinstance(test.ops[0], ast.Is | ast.IsNot):
            return False
        test = test.left
    elif has_own_truth(own, test):
        return False
    name = attribute_of_self(own, test)
    return name is not None and isinstance(getattr(own.module, name, ""), torch.nn.Module | None)


def has_own_truth(own: Self, test: ast.expr) -> bool:
    """Whether a layer's class decides in its own code if the layer counts as true."""
    layer = getattr(own.module, attribute_of_self(own, test) or "", None)
    lengths = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    kind = type(layer)
    counted = hasattr(kind, "__len__") and kind not in lengths
    return layer is not None and (hasattr(kind, "__bool__") or counted)


def attribute_of_self(own: Self, node: ast.AST) -> str | None:
    """The name in ``self.name``; None for anything else."""
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == own.name:
        return node.attr
    return None


def check_node(own: Self, node: ast.AST, known: set[str], function: Any) -> None:
    line = f"line {node.lineno} of its forward" if hasattr(node, "lineno") else "its forward"
    if not isinstance(node, PLAIN):
        raise Untraceable(f"{line} has more than calls ({type(node).__name__})")
    if isinstance(node, ast.AugAssign) and not isinstance(node.op, ast.Add):
        raise Untraceable(f"{line} changes a variable in place by more than +=")
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        raise Untraceable(f"{line} changes something beside its variables")
    name = attribute_of_self(own, node)
    if name is not None:
        check_attribute(own.module, name)
    elif isinstance(node, ast.Name) and node.id not in known:
        check_global(node.id, function)


def check_attribute(module: torch.nn.Module, name: str) -> None:
    method = getattr(type(module), name, None)
    if inspect.isfunction(method):
        check_straight(module, method)
    elif not isinstance(getattr(module, name, ""), torch.nn.Module | torch.Tensor | None):
        raise Untraceable(f"it uses self.{name}, which may change")


def check_global(name: str, function: Any) -> None:
    value = function.__globals__.get(name)
    home = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
    if not isinstance(home, str) or home.partition(".")[0] != "torch":
        raise Untraceable(f"it uses {name}, which is not of PyTorch")
