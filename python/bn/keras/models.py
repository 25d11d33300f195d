"""Keras's names of models: made of layers, read from files, written to files."""

from bn.keras.layers.core import Input
from bn.keras.loading import load_model
from bn.keras.model import Model, Sequential
from bn.keras.saving import save_model

__all__ = ["Input", "Model", "Sequential", "load_model", "save_model"]
