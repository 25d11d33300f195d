"""Keras's names of models: made of layers, read from files, written to files."""

from typing import TYPE_CHECKING, NoReturn

from bn import _check
from bn.keras.layers.core import Input
from bn.keras.loading import load_model
from bn.keras.model import Model, Sequential
from bn.keras.saving import save_model

__all__ = ["Input", "Model", "Sequential", "load_model", "save_model"]

if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_keras("bn.keras.models", "function", name, __all__)
