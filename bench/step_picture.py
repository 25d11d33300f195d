"""Draws the times of training steps from the result of `train_step.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from step_tables import PYTORCH

SERIES = {"PyTorch": PYTORCH, "Keras TF": ("Keras TF",), "Keras JAX": ("Keras JAX",)}


def draw(result: dict[str, Any], path: Path) -> None:
    """Bars of every library's time over bn's, for each network."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    networks = [net for net in result["networks"] if ratios(net)]
    figure, axes = pyplot.subplots(figsize=(9, 0.55 * len(networks) + 1.2))
    height = 0.8 / len(SERIES)
    for i, name in enumerate(SERIES):
        values = [ratios(net).get(name, 0.0) for net in networks]
        places = [k + (i - 1) * height for k in range(len(networks))]
        bars = axes.barh(places, values, height, label=name)
        axes.bar_label(bars, [f"{v:.1f}" if v else "" for v in values], padding=2, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(networks)), [net["title"] for net in networks])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20], ["1 (bn)", "2", "5", "10", "20"])
    axes.set_xlabel("time of a training step over bn's; to the right of the line, bn is faster")
    axes.set_xlim(0.9, 60)
    axes.legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def ratios(net: dict[str, Any]) -> dict[str, float]:
    """Each library's time over bn's; of PyTorch's formats the faster one counts."""
    found = {t["contestant"]: t["median"] for t in net["times"] if t["where"] == "quiet"}
    if "bn" not in found:
        return {}
    times = {name: [found[k] for k in keys if k in found] for name, keys in SERIES.items()}
    return {name: min(values) / found["bn"] for name, values in times.items() if values}
