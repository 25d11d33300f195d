"""The layers of `bn` as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

from bn import _check, nn
from bn.module import Module
from bn.onnx import activations_out, images_out, norms_out, weights_out
from bn.onnx.graph import Graph
from bn.onnx.recurrent_out import recurrent
from bn.onnx.writers import Unwritable, writer_of, writes
from bn.types import Shape

MODULES = (activations_out, images_out, norms_out, weights_out)  # they fill the table
writes(nn.GRU, nn.LSTM, nn.RNN)(recurrent)


def layer_nodes(
    graph: Graph, layer: Module, path: str, inputs: Sequence[str], shape: Shape
) -> list[str]:
    """Add the nodes of a layer, and return the names of its outputs.

    Parameters
    ----------
    graph : Graph
    layer : Module
    path : str
        Of the layer in the model; its nodes are called so.
    inputs : sequence of str
        The names of what it is called with.
    shape : tuple of int
        Of the first input.

    Raises
    ------
    TypeError
        ONNX has no such layer, or not with these arguments; the message names it.
    """
    name = type(layer).__name__
    write = writer_of(type(layer))
    if write is None:
        own = not type(layer).__module__.startswith("bn.")
        why = "a class of your own has no operator" if own else "there is no such operator"
        raise _check.not_in_onnx(name, path, why)
    if "forward" in vars(layer):
        raise _check.not_in_onnx(name, path, "its forward was replaced")
    graph.place = path
    try:
        y = write(graph, layer, inputs, shape)
    except Unwritable as error:
        raise _check.not_in_onnx(name, path, str(error)) from error
    return [y] if isinstance(y, str) else list(y)
