"""Keras's API on `bn.nn`: programs run with the import changed.

``from bn.keras import layers, models`` in the place of ``from tensorflow.keras import layers,
models``. The arithmetic is that of `bn` and `bn.nn`; this package has Keras's names, defaults,
layouts and files. It needs NumPy alone, and h5py for files, which is an extra:
``pip install '.[keras]'``.
"""

from typing import TYPE_CHECKING, NoReturn

from bn import _check
from bn.keras import (
    activations,
    callbacks,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from bn.keras.layers import Input
from bn.keras.models import Model, Sequential

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "activations",
    "callbacks",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "utils",
]

if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        if name in ("applications", "datasets"):
            raise _check.needs_the_network(name)
        raise _check.no_name_in_keras("bn", "keras module", name, __all__)
