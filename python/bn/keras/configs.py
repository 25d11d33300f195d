"""What layers, optimizers, losses and their like were made with, as Keras writes it into files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bn import _check


class Configured:
    """An object that can be made again from the arguments that it was made with.

    Attributes
    ----------
    config_names : tuple of str
        The arguments, each of which is an attribute (of the class).
    keras_module : str
        Where Keras has the class (of the class).
    refused : mapping
        Arguments that Keras has and `bn.keras` has not, and their defaults (of the class).
    never_called : tuple of str
        Methods that Keras calls and `bn.keras` does not, so a class of one's own that defines one
        is a TypeError (of the class).

    Examples
    --------
    >>> class Power(Configured):
    ...     config_names = ("exponent",)
    ...     def __init__(self, exponent):
    ...         self.exponent = exponent
    >>> Power.from_config(Power(3).get_config()).exponent
    3
    """

    config_names: ClassVar[tuple[str, ...]] = ()
    keras_module: ClassVar[str] = "keras"
    refused: ClassVar[Mapping[str, Any]] = {}
    never_called: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _check.keras_methods(cls, cls.never_called)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as what a .json file can hold."""
        return {name: plain(getattr(self, name)) for name in self.config_names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """An object with these arguments."""
        _check.mapping("config", config)
        own = {name: value for name, value in config.items() if name in cls.config_names}
        others = {name: value for name, value in config.items() if name not in own}
        _check.keras_arguments(cls.__name__, others, cls.refused)
        return cls(**own)


def plain(value: Any) -> Any:
    """A value as what a .json file can hold.

    Parameters
    ----------
    value : object

    Examples
    --------
    >>> plain((1, None, np.float32(0.5)))
    [1, None, 0.5]
    """
    if isinstance(value, Configured):
        return serialized(value)
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    return getattr(value, "config_name", value)


def serialized(value: Configured) -> dict[str, Any]:
    """An object as Keras's files name it: its module, its class and its arguments."""
    return {
        "module": value.keras_module,
        "class_name": getattr(value, "keras_class", type(value).__name__),
        "config": value.get_config(),
        "registered_name": None,
    }


def made(value: Any) -> Any:
    """An object with its defaults where its class is given, as Keras takes it; else the value.

    Parameters
    ----------
    value : object

    Examples
    --------
    >>> made(3), type(made(Configured)).__name__
    (3, 'Configured')
    """
    is_class = isinstance(value, type) and issubclass(value, Configured)
    return value() if is_class else value


def named(kind: str, value: Any, known: Mapping[str, Any]) -> Any:
    """The object that a name, or what a file says of it, stands for.

    Parameters
    ----------
    kind : str
        What a message calls it.
    value : str, mapping or other object
        Names of classes stand for objects with their defaults. Anything else is returned.
    known : mapping of str to object
        Those that there are.

    Raises
    ------
    ValueError
        There is no such name.

    Examples
    --------
    >>> named("number", "one", {"one": 1})
    1
    """
    config: Any = {}
    name = value
    if isinstance(value, Mapping):
        name, config = value.get("class_name"), value.get("config", {})
        if name == "function":
            name, config = config, {}
    elif not isinstance(value, str):
        return value
    _check.keras_name(kind, name, known)
    found: Any = known[name]
    return found.from_config(config) if isinstance(found, type) else found  # type: ignore[attr-defined]
