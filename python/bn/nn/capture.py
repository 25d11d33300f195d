"""`capture`: what goes into the layers of a model, and what comes out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple

from bn import _check
from bn.inputs import Inputs, call_with
from bn.layers import no_stat_update
from bn.module import Module, unchanged
from bn.recording.kept import no_grad


class Captured(NamedTuple):
    """One call of a layer.

    Parameters
    ----------
    inputs : tuple
        The arguments that were given by position.
    output : ndarray
        A tuple of arrays from a layer that returns several.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> found = nn.capture(nn.ReLU(), np.array([-1.0, 2.0]))
    >>> found[""].inputs, found[""].output
    ((array([-1.,  2.]),), array([0., 2.]))
    """

    inputs: tuple[Any, ...]
    output: Any


def capture(model: Module, x: Inputs, *names: str) -> dict[str, Captured]:
    """Run a model, and return what its layers got and gave.

    Parameters
    ----------
    model : Module
        It runs in the mode that it is in, and stays as it is: running statistics, gradients, and
        what layers keep for a backward pass. (Layers that draw random numbers in training mode have
        drawn them.)
    x : ndarray, or tuple or dict of arrays
        Its input; several by position or by name.
    *names : str
        The dotted paths of layers, as `Module.named_modules` tells them; the model itself is "".
        Without names it captures all layers that were called.

    Returns
    -------
    dict of str to Captured
        By path, in the order in which the calls ended. The second call of a layer has the path with
        "#2" behind it, the third one "#3", and so on.

    Raises
    ------
    TypeError
        `model` is no Module, or a name is no string.
    ValueError
        The model has no layer of this name, or it was not called; or x does not fit the model.

    See Also
    --------
    Module.register_forward_hook : A function that is called instead.
    bn.plot_activations : A picture of what normalizations get and give.

    Notes
    -----
    The arrays are those that the layers worked with, without a copy. A captured layer is computed
    by itself, not in one pass with those around it.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU())
    >>> found = capture(model, np.ones((2, 4), np.float32), "0", "1")
    >>> list(found), found["1"].inputs[0].shape, float(found["1"].output.min())
    (['0', '1'], (2, 3), 0.0)
    >>> bool(found["0"].output is found["1"].inputs[0])
    True
    """
    _check.instance("model", model, Module)
    layers = dict(model.named_modules(remove_duplicate=False))
    _check.layer_names(names, layers)
    found: dict[str, Captured] = {}

    def note(path: str, inputs: tuple[Any, ...], output: Any) -> None:
        number = 1 + sum(key == path or key.startswith(f"{path}#") for key in found)
        found[f"{path}#{number}" if number > 1 else path] = Captured(inputs, output)

    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        for path in names or dict(model.named_modules()):
            hook = _hook(path, note)
            layers[path].register_forward_hook(hook)
        stack.enter_context(no_stat_update())
        stack.enter_context(no_grad())
        call_with(model, _check.inputs("x", x))
    _check.layers_called(names, found)
    return found


def _hook(path: str, note: Any) -> Any:
    """A forward hook that knows the path of its layer."""
    return lambda layer, inputs, output: note(path, inputs, output)
