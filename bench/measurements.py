"""The files of docs/measured: what writes each of them, and what is in it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured"
COMMANDS = {
    "kernels": "bench/kernels.py --repeat 3 --picture docs/kernels.png",
    "family": "bench/family.py",
    "convolutions": "bench/convolutions.py",
    "steps": "bench/train_step.py --repeat 5 --picture docs/steps.png",
    "steps-one-thread": (
        "bench/train_step.py --repeat 5 --threads 1 --contestants bn,torch,torch-last"
    ),
    "steps-apart": (
        "bench/train_step.py --repeat 5 --profile --contestants bn,bn-unfused,bn-direct"
    ),
    "steps-beside": (
        "bench/train_step.py --repeat 5 --neighbour --contestants bn,torch,torch-last "
        '--networks "conv 16|ResNet-14"'
    ),
    "predictions": "bench/inference.py --repeat 5",
    "torch": "bench/torch_step.py",
    "keras": "bench/keras_step.py",
    "layers": "bench/layers.py",
    "optimizers": "bench/optimizers.py",
    "calls": "bench/calls.py",
    "choosing": "bench/choosing.py",
    "augmentation": "bench/augmentation.py",
    "fit": "bench/fit_overhead.py",
    "blocks": "bench/blocks.py",
    "scaling": "bench/scaling.py --picture docs/scaling.png",
}


def file_of(name: str) -> Path:
    """Where a measurement is kept."""
    return MEASURED / f"{name}.json"


@functools.cache
def read(name: str) -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = json.loads(file_of(name).read_text("utf-8"))
    return found
