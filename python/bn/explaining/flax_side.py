"""Modules of Flax in a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn.convert import from_flax
from bn.explaining.results import Results
from bn.explaining.seen import Run, Seen, setting_by
from bn.types import Array


def run_linen(side: tuple[Any, Any], x: Array, training: bool | None) -> Run:
    """Run a module of linen, which has no state of its own."""
    from flax import linen

    module, variables = side
    seen: list[Seen] = []

    def note(call: Any, args: Any, options: dict[str, Any], context: Any) -> Any:
        layer = context.module
        if not isinstance(layer, linen.BatchNorm) or context.method_name != "__call__":
            return call(*args, **options)
        setting = setting_by(from_flax, args[0].ndim, layer, layer.variables)
        if setting is not None:
            setting = setting.in_mode(not _uses_running(layer, options))
        y = call(*args, **options)
        running = [np.array(layer.variables["batch_stats"][name]) for name in ("mean", "var")]
        path = "/".join(layer.path) or "BatchNorm"
        seen.append(Seen(path, setting, np.array(args[0]), Results(np.array(y), *running)))
        return y

    options: dict[str, Any] = {}
    if isinstance(module, linen.BatchNorm):
        options = _mode(module, training)
        module = module.clone(use_running_average=None) if options else module
    with linen.intercept_methods(note):
        y, _ = module.apply(variables, x, mutable=["batch_stats"], **options)
    return Run(np.array(y), seen)


def run_nnx(module: Any, x: Array, training: bool | None) -> Run:
    """Run a copy of a module of nnx, whose own batch normalizations are seen if it is one."""
    from flax import nnx

    twin = nnx.clone(module)
    if not isinstance(module, nnx.BatchNorm):
        return Run(np.array(twin(x)), [])
    setting = setting_by(from_flax, x.ndim, twin)
    options = _mode(twin, training)
    if setting is not None:
        setting = setting.in_mode(not _uses_running(twin, options))
    y = np.array(twin(x, **options))
    running = np.array(twin.mean[...]), np.array(twin.var[...])
    return Run(y, [Seen("BatchNorm", setting, x, Results(y, *running))])


def _uses_running(layer: Any, options: dict[str, Any]) -> bool:
    given = options.get("use_running_average")
    return bool(layer.use_running_average if given is None else given)


def _mode(layer: Any, training: bool | None) -> dict[str, bool]:
    """How a batch normalization of Flax is told its mode, which it need not have itself."""
    if training is None:
        return {} if layer.use_running_average is not None else {"use_running_average": True}
    return {"use_running_average": not training}
