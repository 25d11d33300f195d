"""`bn`: the layers, with what their backward pass keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samples import EPS, Data

import bn


def calls(data: Data, threads: int) -> dict[str, Callable[[], Any]]:
    bn.set_num_threads(threads)
    x, dy, length = data.x, data.dy, data.weight.size
    layer: Any = {
        "LayerNorm": lambda: bn.LayerNorm(length, EPS),
        "RMSNorm": lambda: bn.RMSNorm(length, EPS),
        "GroupNorm": lambda: bn.GroupNorm(data.groups, length, EPS),
        "InstanceNorm": lambda: bn.GroupNorm(length, length, EPS),
    }[data.kind]()
    layer.weight.data[...] = data.weight
    if layer.bias is not None:
        layer.bias.data[...] = data.bias
    layer(x)
    kept = layer._kept

    def backward() -> Any:
        layer._kept = kept
        layer.zero_grad()
        dx = layer.backward(dy)
        return dx, *(parameter.grad for parameter in layer.parameters())

    return {"forward": lambda: layer(x), "backward": backward}
