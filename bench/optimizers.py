"""Steps of optimizers beside PyTorch's, in turns, each in a process of its own.

``python bench/optimizers.py``: one `optimizer.step()` of the parameters of two networks, in
float32. PyTorch's optimizers have their default implementation.
"""

from __future__ import annotations

from typing import Any

import contest
import networks
import numpy as np
import results
from contest import Calls
from tables import Cells, number, ratio

OPTIMIZERS: dict[str, tuple[str, dict[str, float]]] = {
    "SGD": ("SGD", {}),
    "SGD with momentum": ("SGD", {"momentum": 0.9}),
    "Adam": ("Adam", {}),
    "RMSprop": ("RMSprop", {}),
}
NETWORKS = ("ResNet-20", "conv 16")
RATE = 1e-6  # so that parameters stay what they are
CASES = {f"{net}, {name}": (net, name) for net in NETWORKS for name in OPTIMIZERS}


def parameters(name: str) -> list[np.ndarray]:
    """The first parameters of a network."""
    return networks.weights(next(n for n in networks.NETWORKS if n.name == name))


def ours(case: tuple[str, str], threads: int) -> Calls:
    import bn
    from bn import nn

    bn.set_num_threads(threads)
    made = [nn.Parameter(weight) for weight in parameters(case[0])]
    for parameter in made:
        parameter.grad = np.full_like(parameter.data, 1e-3)
    kind, arguments = OPTIMIZERS[case[1]]
    return {"step": getattr(nn, kind)(made, lr=RATE, **arguments).step}


def pytorch(case: tuple[str, str], threads: int) -> Calls:
    import torch

    torch.set_num_threads(threads)
    made = [torch.nn.Parameter(torch.from_numpy(weight)) for weight in parameters(case[0])]
    for parameter in made:
        parameter.grad = torch.full_like(parameter, 1e-3)
    kind, arguments = OPTIMIZERS[case[1]]
    return {"step": getattr(torch.optim, kind)(made, lr=RATE, **arguments).step}


LIBRARIES = {"bn": ours, "PyTorch": pytorch}


def rows(result: dict[str, Any]) -> Cells:
    """Microseconds of both, and PyTorch's time over that of `bn`."""
    table = [["", *LIBRARIES, "PyTorch / bn"]]
    for case in result["cases"]:
        times = (contest.median(case, name, "step") for name in LIBRARIES)
        cells = (number(None if time is None else 1e3 * time) for time in times)
        table.append([case["title"], *cells, ratio(contest.ratio(case, "PyTorch", "step"))])
    return table


def main() -> None:
    """Run, print, and write the file."""
    options = results.parser(__doc__, repeat=5).parse_args()
    result = contest.contest(LIBRARIES, CASES, options)
    results.finish(result, {"a step, µs": rows(result)}, options.json)


if __name__ == "__main__":
    main()
