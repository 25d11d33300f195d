"""The nodes of a graph as layers and steps: `READERS` has a function for each operator."""

from __future__ import annotations

from bn.onnx import activations_in, images_in, norms_in, operations_in, weights_in
from bn.onnx.readers import READERS, reads
from bn.onnx.recurrent_in import recurrent

MODULES = (activations_in, images_in, norms_in, operations_in, weights_in)  # they fill the table
reads("LSTM", "GRU", "RNN")(recurrent)

__all__ = ["READERS"]
