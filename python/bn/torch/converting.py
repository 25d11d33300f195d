"""Models of PyTorch as models of `bn.nn`, which need no PyTorch, and back."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from bn import _check, layers, nn
from bn.module import Module
from bn.nn.forward_as_data import Name, Step, Steps
from bn.torch.accelerate import OURS, restore
from bn.torch.tracing import Untraceable, traced

CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
RECURRENT = ("input_size", "hidden_size", "num_layers", "batch_first", "dropout", "bidirectional")
# Layers of one name on both sides, and the attributes that are arguments of both.
LAYERS: dict[str, tuple[str, ...]] = {
    "AdaptiveAvgPool2d": ("output_size",),
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
    "MaxPool2d": ("kernel_size", "stride", "padding", "ceil_mode"),
    "PReLU": ("num_parameters",),
    "RMSNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "RNN": (*RECURRENT, "nonlinearity"),
    "ReLU": (),
    "ReLU6": (),
    "SiLU": (),
    "Sigmoid": (),
    "Softplus": ("beta", "threshold"),
    "Tanh": (),
}
WITH_BIAS = ("BatchNorm", "Conv", "Linear", "LayerNorm", "RNN", "LSTM", "GRU")  # or what begins so
# Attributes that only PyTorch has, and the values that they must have.
ONLY_PYTORCH = {
    "dilation": 1,
    "divisor_override": None,
    "max_norm": None,
    "padding_mode": "zeros",
    "proj_size": 0,
    "return_indices": False,
}
FUNCTIONS = {
    torch.relu: "ReLU",
    functional.relu: "ReLU",
    functional.relu6: "ReLU6",
    torch.sigmoid: "Sigmoid",
    torch.tanh: "Tanh",
    torch.flatten: "Flatten",
    functional.max_pool2d: "MaxPool2d",
    functional.avg_pool2d: "AvgPool2d",
    functional.adaptive_avg_pool2d: "AdaptiveAvgPool2d",
    "relu": "ReLU",
    "relu_": "ReLU",
    "flatten": "Flatten",
}
ADDITIONS = (operator.add, operator.iadd, torch.add)
OPERATIONS = {
    **dict.fromkeys(ADDITIONS, "+"),
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    torch.cat: "concatenate",
}


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
        A layer, an argument of it or an operation is not known; the message names it.

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
    own = copy.deepcopy(model)
    restore(own)
    converted = layer_to_bn("the top", own)
    state = {name: arrays_of(value) for name, value in own.state_dict().items()}
    converted.load_state_dict(state)
    return converted


def arrays_of(value: torch.Tensor) -> Any:
    return value.numpy(force=True)


def layer_to_bn(place: str, module: torch.nn.Module) -> Module:
    """The layer of `bn` for one of PyTorch, without its state."""
    name = type(module).__name__
    known = name in LAYERS and type(module) in (getattr(torch.nn, name), *OURS)
    if known:
        check_arguments(place, module)
        made: Module = class_of_bn(name)(**arguments_of(module), **dtype_of(module))
    elif type(module) is torch.nn.Sequential:
        made = nn.Sequential(*children_to_bn(place, module).values())
    else:
        made = steps_to_bn(place, module)
    made.training = module.training
    return made


def class_of_bn(name: str) -> Any:
    return getattr(layers, name) if name in layers.__all__ else getattr(nn, name)


def children_to_bn(place: str, module: torch.nn.Module) -> dict[str, Module]:
    prefix = "" if place == "the top" else f"{place}."
    return {n: layer_to_bn(prefix + n, child) for n, child in module.named_children()}


def arguments_of(layer: Any) -> dict[str, Any]:
    """The arguments that make the same layer on the other side."""
    name = type(layer).__name__
    arguments = {each: getattr(layer, each) for each in LAYERS[name]}
    if name.startswith(WITH_BIAS):
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


def steps_to_bn(place: str, module: torch.nn.Module) -> Steps:
    """The steps of a forward pass that torch.fx can trace."""
    try:
        graph = traced(module)
    except Untraceable as error:
        raise _check.convertible(place, type(module).__name__, str(error)) from error
    children, inputs, steps = children_to_bn(place, module), [], []
    for node in graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "call_module":
            steps.append(Step(node.name, str(node.target), arguments_in(node.args)))
        elif node.op == "output":
            (output,) = arguments_in(node.args)
        elif node.target in OPERATIONS:
            arguments = (*node.args, *node.kwargs.values())
            steps.append(Step(node.name, OPERATIONS[node.target], arguments_in(arguments)))
        elif node.target in FUNCTIONS:
            children[node.name] = layer_of_call(place, node)
            steps.append(Step(node.name, node.name, arguments_in(node.args[:1])))
        else:
            what = getattr(node.target, "__name__", node.target)
            raise _check.convertible(place, type(module).__name__, f"it calls {what}")
    return Steps(children, inputs, steps, output)


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
    try:
        made: Module = class_of_bn(name)(*node.args[1:], **arguments)
    except TypeError as error:
        raise _check.convertible(place, f"a call of {name}", str(error)) from error
    return made


# ---- to PyTorch ----


class Borrowed(torch.nn.Module):
    """A module of PyTorch with the forward pass of a class of `bn.nn`.

    Parameters
    ----------
    model : Module
        Of `bn.nn`. Its layers become those of PyTorch, and its other attributes are taken over.
    """

    def __init__(self, place: str, model: Module) -> None:
        super().__init__()
        self.kind = type(model)
        prefix = "" if place == "the top" else f"{place}."
        for name, value in vars(model).items():
            if isinstance(value, Module):
                setattr(self, name, layer_from_bn(prefix + name, value))
            elif not name.startswith("_") and name != "training":
                setattr(self, name, value)

    def forward(self, *values: torch.Tensor) -> Any:
        """What the class of `bn.nn` does."""
        return self.kind.forward(self, *values)


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
    converted = layer_from_bn("the top", model)
    state = {name: torch.tensor(value) for name, value in model.state_dict().items()}
    converted.load_state_dict(state)
    return converted


def layer_from_bn(place: str, layer: Any) -> torch.nn.Module:
    """The layer of PyTorch for one of `bn`, without its state."""
    name = type(layer).__name__
    if name in LAYERS and type(layer) is class_of_bn(name):
        if getattr(layer, "axis", 1) != 1:
            raise _check.convertible(place, name, f"axis must be 1, got {layer.axis}")
        made = getattr(torch.nn, name)(**arguments_of(layer))
        state = [v for v in layer.state_dict().values() if v.dtype.kind == "f"]
        made = made.to(torch.from_numpy(state[0]).dtype) if state else made
    elif type(layer) is nn.Sequential:
        prefix = "" if place == "the top" else f"{place}."
        children = (layer_from_bn(f"{prefix}{n}", child) for n, child in enumerate(layer))
        made = torch.nn.Sequential(*children)
    elif any(True for _ in layer.children()):
        made = Borrowed(place, layer)
    else:
        raise _check.convertible(place, name, "PyTorch has no such layer")
    made.training = layer.training
    return made
