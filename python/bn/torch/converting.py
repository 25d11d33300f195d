"""Models of PyTorch as models of `bn.nn`, which need no PyTorch, and back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from bn import _check, layers, nn
from bn.module import Module
from bn.nn.forward_as_data import Name, Step, Steps
from bn.recording.value import joining
from bn.torch.accelerate import OURS, restore
from bn.torch.calls import FUNCTIONS, OPERATIONS, operands
from bn.torch.in_place import used_after_change
from bn.torch.tracing import Untraceable, traced

CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
RECURRENT = ("input_size", "hidden_size", "num_layers", "batch_first", "dropout", "bidirectional")
# Layers of one name on both sides, and the attributes that are arguments of both.
LAYERS: dict[str, tuple[str, ...]] = {
    "AdaptiveAvgPool2d": ("output_size",),
    "AvgPool1d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    "AvgPool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    "BatchNorm1d": BATCH_NORM,
    "BatchNorm2d": BATCH_NORM,
    "BatchNorm3d": BATCH_NORM,
    "Conv1d": CONV,
    "Conv2d": CONV,
    "ConvTranspose2d": (*CONV, "output_padding"),
    "Dropout": ("p",),
    "Dropout2d": ("p",),
    "ELU": ("alpha",),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "Flatten": ("start_dim", "end_dim"),
    "GELU": ("approximate",),
    "GRU": RECURRENT,
    "GroupNorm": ("num_groups", "num_channels", "eps", "affine"),
    "Hardswish": (),
    "Identity": (),
    "InstanceNorm1d": BATCH_NORM,
    "InstanceNorm2d": BATCH_NORM,
    "InstanceNorm3d": BATCH_NORM,
    "LSTM": RECURRENT,
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "LeakyReLU": ("negative_slope",),
    "Linear": ("in_features", "out_features"),
    "LogSoftmax": ("dim",),
    "MaxPool1d": ("kernel_size", "stride", "padding", "ceil_mode"),
    "MaxPool2d": ("kernel_size", "stride", "padding", "ceil_mode"),
    "PReLU": ("num_parameters",),
    "RMSNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "RNN": (*RECURRENT, "nonlinearity"),
    "ReLU": (),
    "ReLU6": (),
    "SiLU": (),
    "Sigmoid": (),
    "Softmax": ("dim",),
    "Softplus": ("beta", "threshold"),
    "Tanh": (),
    "Upsample": ("size", "scale_factor", "mode", "align_corners"),
    "ZeroPad2d": ("padding",),
}
AS_IN_BN = {"dim": "axis"}  # arguments whose names differ
WITH_BIAS = ("BatchNorm", "Conv", "Linear", "LayerNorm", "RNN", "LSTM", "GRU")  # or what begins so
# Attributes that only PyTorch has, and the values that they must have.
ONLY_PYTORCH = {
    "dilation": 1,
    "divisor_override": None,
    "max_norm": None,
    "padding_mode": "zeros",
    "proj_size": 0,
    "recompute_scale_factor": None,
    "return_indices": False,
}

OF_STEPS = ("inputs", "steps", "output")  # attributes that every `Steps` has
Known = dict[torch.nn.Module, Module]  # layers of PyTorch, and what they became


# ---- from PyTorch ----


def to_bn(model: torch.nn.Module) -> Module:
    """A model of `bn.nn` with the layers and the values of one of PyTorch.

    It computes the same without PyTorch. A model with a forward pass of its own becomes steps that
    are data, so that ``pickle`` can bring it to where its code is not. Names are kept, and so are
    the modes of the layers.

    Parameters
    ----------
    model : torch.nn.Module
        Of layers that `bn.nn` has too, on a CPU, in float32 or float64. It is not changed, and its
        values are copied.

    Returns
    -------
    Module

    Raises
    ------
    TypeError
        A layer, an argument of it or an operation is not known, or a value is used after it was
        changed in place; the message names it.

    See Also
    --------
    from_bn : The way back.

    References
    ----------
    PyTorch, "torch.fx", which traces forward passes.

    Examples
    --------
    >>> from torch import nn
    >>> to_bn(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).eval())[1].training
    False
    """
    _check.instance("model", model, torch.nn.Module)
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        check_tensor(name, value)
    own = copy.deepcopy(model)
    restore(own)
    converted = layer_to_bn("the top", own, {})
    state = {name: arrays_of(value) for name, value in own.state_dict().items()}
    converted.load_state_dict(state)
    trains = {name: value.requires_grad for name, value in all_parameters(own)}
    for name, parameter in converted.named_parameters():
        parameter.trainable = trains[name]
    return converted


def all_parameters(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    """(name, parameter) under each of its names."""
    return list(model.named_parameters(remove_duplicate=False))


def check_tensor(name: str, value: torch.Tensor) -> None:
    """Check that a parameter or a buffer can become an array."""
    if torch.nn.parameter.is_lazy(value):
        raise _check.not_run_yet(name)
    if value.device.type == "meta":
        raise _check.without_values(name)
    if value.is_floating_point() and value.dtype not in (torch.float32, torch.float64):
        raise _check.dtype_of_model(name, value.dtype)


def arrays_of(value: torch.Tensor) -> Any:
    return value.numpy(force=True)


def layer_to_bn(place: str, module: torch.nn.Module, known: Known) -> Module:
    """The layer of `bn` for one of PyTorch, without its state.

    A layer that is used in several places is one layer again: `known` has those made before.
    """
    if module not in known:
        known[module] = new_layer_to_bn(place, module, known)
        known[module].training = module.training
    return known[module]


def new_layer_to_bn(place: str, module: torch.nn.Module, known: Known) -> Module:
    name, kind = type(module).__name__, type(module)
    if name in LAYERS and kind in (getattr(torch.nn, name), *OURS):
        check_arguments(place, module)
        arguments = arguments_of(module, LAYERS[name])
        arguments = {AS_IN_BN.get(each, each): value for each, value in arguments.items()}
        made: Module = layer_made(place, name, class_of_bn(name), **arguments, **dtype_of(module))
        return made
    if kind is torch.nn.Sequential:
        return nn.Sequential(*children_to_bn(place, module, known).values())
    if kind is torch.nn.ModuleList:
        return nn.ModuleList(children_to_bn(place, module, known).values())
    if kind is torch.nn.ModuleDict:
        return nn.ModuleDict(children_to_bn(place, module, known))
    return steps_to_bn(place, module, known)


def class_of_bn(name: str) -> Any:
    return getattr(layers, name) if name in layers.__all__ else getattr(nn, name)


def children_to_bn(place: str, module: torch.nn.Module, known: Known) -> dict[str, Module]:
    """The layers directly inside, under all their names."""
    return {
        name: layer_to_bn(inside(place, name), child, known)
        for name, child in module.named_modules(remove_duplicate=False)
        if name and "." not in name
    }


def inside(place: str, name: str) -> str:
    """The path of a layer inside the module at a place."""
    return name if place == "the top" else f"{place}.{name}"


def arguments_of(layer: Any, names: Iterable[str]) -> dict[str, Any]:
    """The arguments that make the same layer, from attributes of these names."""
    arguments = {name: getattr(layer, name) for name in names}
    if type(layer).__name__.startswith(WITH_BIAS):
        bias = layer.bias
        arguments["bias"] = bias if isinstance(bias, bool) else bias is not None
    return arguments


def check_arguments(place: str, module: torch.nn.Module) -> None:
    name = type(module).__name__
    for argument, needed in ONLY_PYTORCH.items():
        value = getattr(module, argument, needed)
        if argument not in LAYERS[name] and value != needed:
            raise _check.convertible(place, name, f"{argument} must be {needed}, got {value}")


def dtype_of(module: torch.nn.Module) -> dict[str, Any]:
    """The dtype of a layer that has values."""
    values = [v for v in module.state_dict().values() if v.is_floating_point()]
    return {"dtype": arrays_of(values[0]).dtype} if values else {}


def steps_to_bn(place: str, module: torch.nn.Module, known: Known) -> Steps:
    """The steps of a forward pass that torch.fx can trace."""
    kind = type(module).__name__
    for name, _ in own_tensors(module):
        raise _check.convertible(place, kind, f"{name} is a tensor of its own, not of a layer")
    try:
        graph = traced(module)
    except Untraceable as error:
        raise _check.convertible(place, kind, str(error)) from error
    children, inputs, steps = children_to_bn(place, module, known), [], []
    for name in children:
        if hasattr(Steps, name) or name in OF_STEPS:
            raise _check.convertible(place, kind, f"{name} is the name of something else in bn")
    for node in graph.nodes:
        if node.op == "placeholder":
            inputs += inputs_of(place, kind, node)
        elif node.op == "output":
            output = output_of(place, kind, node)
        elif node.op == "call_module":
            if node.kwargs:
                raise _check.convertible(place, kind, f"it calls {node.target} with names")
            steps.append(Step(node.name, str(node.target), arguments_in(node.args)))
        elif node.target in OPERATIONS:
            arguments = arguments_in(operands(place, node))
            steps.append(Step(node.name, OPERATIONS[node.target], arguments))
        elif node.target in FUNCTIONS:
            name = free_name(node.name, children)
            children[name] = layer_of_call(place, node)
            steps.append(Step(node.name, name, arguments_in(node.args[:1])))
        else:
            what = getattr(node.target, "__name__", node.target)
            raise _check.convertible(place, kind, f"it calls {what}")
    refuse_used_after_change(place, module, graph)
    return Steps(children, inputs, steps, output)


def free_name(name: str, children: Mapping[str, Module]) -> str:
    """A name that no layer has."""
    while name in children or hasattr(Steps, name) or name in OF_STEPS:
        name += "_"
    return name


def own_tensors(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """(name, tensor) of a module's parameters and buffers, without those of layers inside."""
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]


def refuse_used_after_change(place: str, module: torch.nn.Module, graph: fx.Graph) -> None:
    found = used_after_change(module, graph)
    if found is not None:
        change, use = found
        reason = f"{change} changes a value in place, and {use} uses what it was"
        raise _check.convertible(place, type(module).__name__, f"{reason}: compute a new value")


def inputs_of(place: str, kind: str, node: fx.Node) -> list[str]:
    """The name of an argument; none for one that may be left out, and that nothing uses."""
    if node.args and node.users:
        raise _check.convertible(place, kind, f"its argument {node.target} has a default value")
    return [] if node.args else [node.name]


def output_of(place: str, kind: str, node: fx.Node) -> Name:
    """The name of what a forward pass returns."""
    (output,) = node.args
    if not isinstance(output, fx.Node):
        raise _check.convertible(place, kind, "it must return one value of its layers")
    return Name(output.name)


def arguments_in(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Arguments of a node with names in the place of nodes."""
    return tuple(fx.map_arg(list(arguments), lambda node: Name(node.name)))


def layer_of_call(place: str, node: fx.Node) -> Module:
    """The layer that does what the call of a function does."""
    name = FUNCTIONS[node.target]
    arguments = {
        name: value
        for name, value in node.kwargs.items()
        if name != "inplace" and (name not in ONLY_PYTORCH or value != ONLY_PYTORCH[name])
    }
    positions = node.args[1:]
    if name == "Flatten" and not positions:
        arguments.setdefault("start_dim", 0)  # the layer begins with axis 1
    return layer_made(place, f"a call of {name}", class_of_bn(name), *positions, **arguments)


def layer_made(place: str, what: str, kind: Any, *positions: Any, **arguments: Any) -> Any:
    """A layer of a class; what the class refuses is an error that names the place."""
    try:
        return kind(*positions, **arguments)
    except (TypeError, ValueError) as error:
        raise _check.convertible(place, what, str(error)) from error


# ---- to PyTorch ----

Back = dict[Module, torch.nn.Module]  # layers of `bn`, and what they became
CONTAINERS: dict[type, Callable[[dict[str, torch.nn.Module]], torch.nn.Module]] = {
    nn.ModuleDict: torch.nn.ModuleDict,
    nn.ModuleList: lambda layers: torch.nn.ModuleList(layers.values()),
    nn.Sequential: lambda layers: torch.nn.Sequential(*layers.values()),
}


class Borrowed(torch.nn.Module):
    """A module of PyTorch with the forward pass of a class of `bn.nn`.

    Parameters
    ----------
    model : Module
        Of `bn.nn`. Its layers become those of PyTorch, and its other attributes are taken over.
    """

    def __init__(self, place: str, model: Module, known: Back) -> None:
        super().__init__()
        self.kind = type(model)
        for name, value in vars(model).items():
            if isinstance(value, Module):
                setattr(self, name, layer_from_bn(inside(place, name), value, known))
            elif not name.startswith("_") and name != "training":
                setattr(self, name, value)

    def forward(self, *values: torch.Tensor) -> Any:
        """What the class of `bn.nn` does."""
        token = joining.set(torch.cat)
        try:
            return self.kind.forward(self, *values)
        finally:
            joining.reset(token)


def from_bn(model: Module) -> torch.nn.Module:
    """A model of PyTorch with the layers and the values of one of `bn.nn`.

    Names are kept, and so are the modes of the layers. A model with a forward pass of its own
    runs it on tensors.

    Parameters
    ----------
    model : Module
        Of layers that ``torch.nn`` has too, with their channels first. It is not changed, and its
        values are copied.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    TypeError
        A layer is not known; the message names it.

    See Also
    --------
    to_bn : The way from PyTorch.

    References
    ----------
    PyTorch, "torch.nn", whose layers these are.

    Examples
    --------
    >>> import bn
    >>> from bn import nn
    >>> from_bn(nn.Sequential(nn.Linear(2, 3, rng=0), bn.BatchNorm1d(3), nn.ReLU()))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (2): ReLU()
    )
    """
    _check.instance("model", model, Module)
    _check.not_of_keras(model.modules())
    converted = layer_from_bn("the top", model, {})
    state = {name: torch.tensor(value) for name, value in model.state_dict().items()}
    converted.load_state_dict(state)
    trains = {name: parameter.trainable for name, parameter in model.named_parameters()}
    for name, value in all_parameters(converted):
        value.requires_grad_(trains[name])
    return converted


def layer_from_bn(place: str, layer: Module, known: Back) -> torch.nn.Module:
    """The layer of PyTorch for one of `bn`, without its state; `known` has those made before."""
    if layer not in known:
        known[layer] = new_layer_from_bn(place, layer, known)
        known[layer].training = layer.training
    return known[layer]


def new_layer_from_bn(place: str, layer: Any, known: Back) -> torch.nn.Module:
    name, kind = type(layer).__name__, type(layer)
    if name in LAYERS and kind is class_of_bn(name):
        return same_layer_from_bn(place, layer)
    children = list(layer.children())
    if kind in CONTAINERS:
        made = {n: layer_from_bn(inside(place, n), child, known) for n, child in children}
        return CONTAINERS[kind](made)
    if not children:
        raise _check.convertible(place, name, "PyTorch has no such layer")
    if not {n for n, _ in children} <= set(vars(layer)):
        raise _check.convertible(place, name, "its layers are not its attributes")
    return Borrowed(place, layer, known)


def same_layer_from_bn(place: str, layer: Any) -> torch.nn.Module:
    """The layer of PyTorch that has the same name."""
    name = type(layer).__name__
    along = "dim" in LAYERS[name]  # of the classes, which may be any axis
    if not along and getattr(layer, "axis", 1) != 1:
        raise _check.convertible(place, name, f"axis must be 1, got {layer.axis}")
    arguments = arguments_of(layer, (AS_IN_BN.get(each, each) for each in LAYERS[name]))
    if along:
        arguments["dim"] = arguments.pop("axis")
    made: torch.nn.Module = getattr(torch.nn, name)(**arguments)
    state = [value for value in layer.state_dict().values() if value.dtype.kind == "f"]
    return made.to(torch.from_numpy(state[0]).dtype) if state else made
