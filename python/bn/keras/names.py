"""The names that Keras gives to layers and models: ``conv2d``, ``conv2d_1``, and so on."""

from __future__ import annotations

import re
from collections import Counter

from bn import _check

_given: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """The name of a class in lower case, with underscores between its words.

    Parameters
    ----------
    name : str

    Examples
    --------
    >>> snake_case("MaxPooling2D"), snake_case("Conv2DTranspose"), snake_case("PReLU")
    ('max_pooling2d', 'conv2d_transpose', 'p_re_lu')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<!^)(?=[A-Z][a-z])", "_", name).lower()


def unique(prefix: str) -> str:
    """A prefix the first time, and then the prefix with a number.

    Parameters
    ----------
    prefix : str

    Examples
    --------
    >>> unique("example"), unique("example")
    ('example', 'example_1')
    """
    number = _given[prefix]
    _given[prefix] += 1
    return f"{prefix}_{number}" if number else prefix


def name_for(kind: type, name: str | None) -> str:
    """The name that an object was given, or a new one for its class.

    Parameters
    ----------
    kind : type
    name : str or None

    Examples
    --------
    >>> name_for(int, "first")
    'first'
    """
    if name is None:
        return unique(snake_case(kind.__name__))
    _check.text("name", name)
    return name


def forget_names() -> None:
    """Begin to count again.

    Examples
    --------
    >>> forget_names()
    """
    _given.clear()
