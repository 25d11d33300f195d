"""What stands between the marks of a page, by its name: tables, and numbers within sentences."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import augmentation
import blocks
import choosing
import convolutions
import family
import fit_overhead
import keras_step
import layers
import measurements
import optimizers
import page_calls
import page_kernels
import page_steps
import scaling_tables
import torch_step
from measurements import read
from tables import Cells, percent

PACKAGES = {
    "NumPy": "numpy",
    "PyTorch": "torch",
    "JAX": "jax",
    "TensorFlow": "tensorflow-cpu",
    "Keras": "keras",
    "ONNX Runtime": "onnxruntime",
}


def markdown(cells: Cells) -> str:
    """A table as Markdown, whose columns of numbers stand on the right."""
    head, *rows = cells
    first, *others = zip(*rows, strict=True)
    right = [all(map(is_number, first))]
    right += [any(any(map(str.isdigit, cell)) for cell in column) for column in others]
    lines = [head, ["--:" if it else "---" for it in right], *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line).replace("  ", " ") + " |" for line in escaped)


def is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ""))
    except ValueError:
        return False
    return True


def origin(name: str) -> str:
    """Which command measured a file, where and when."""
    machine = read(name)["machine"]
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"Measured by `python {measurements.COMMANDS[name]}` on {machine['date'][:10]}, {threads} "
        f"on {machine['cores']} cores of an {cpu(machine)}; other programs used "
        f"{percent(machine['others'])} of the CPU time."
    )


def software() -> str:
    """The machine and what was compared, in a sentence."""
    machine = read("kernels")["machine"]
    where = f"{machine['cores']} cores of an {cpu(machine)}"
    return f"Measured on {machine['date'][:10]} on {where}; {versions()}."


def versions() -> str:
    machine = read("kernels")["machine"]
    found = {"Python": machine["python"]}
    found |= {name: machine["versions"][package] for name, package in PACKAGES.items()}
    return ", ".join(f"{name} {version.split('+')[0]}" for name, version in found.items())


def chinese(text: str) -> str:
    """Numbers with the words between them in Chinese."""
    for english, word in ((" to ", " 到 "), (" and ", " 和 "), (", ", "、")):
        text = text.replace(english, word)
    return re.sub(r" with ([\w-]+)", r"(支持 \1)", text)


def cpu(machine: dict[str, Any]) -> str:
    """A processor's name without its signs, and its instruction set."""
    name = machine["cpu"].replace("(R)", "").replace("(TM)", "")
    return name + {"avx512": " with AVX-512", "avx2": " with AVX2"}.get(machine["bn"]["isa"], "")


TABLES: dict[str, Callable[[], Cells]] = {
    "family.times": lambda: family.rows(read("family")),
    "family.means": lambda: family.means(read("family")),
    "convolutions.times": lambda: convolutions.rows(read("convolutions")),
    "convolutions.direct": lambda: convolutions.without_winograd(read("convolutions")),
    "layers.recurrent": lambda: layers.rows(read("layers"), layers.RECURRENT),
    "layers.activations": lambda: layers.rows(read("layers"), layers.ACTIVATIONS),
    "optimizers": lambda: optimizers.rows(read("optimizers")),
    "augmentation": lambda: augmentation.rows(read("augmentation")),
    "fit": lambda: fit_overhead.rows(read("fit")),
    "blocks": lambda: blocks.rows(read("blocks")),
    "choosing": lambda: choosing.rows(read("choosing")),
    "keras": lambda: keras_step.rows(read("keras")),
    "torch.times": lambda: torch_step.rows(read("torch")["cases"]),
    "torch.convolutions": lambda: torch_step.convolution_rows(read("torch")["cases"]),
    "scaling.times": lambda: scaling_tables.scaling(read("scaling")),
    "scaling.sent": lambda: scaling_tables.sent(read("scaling")),
    "scaling.late": lambda: scaling_tables.predictions(read("scaling")),
    "scaling.exchanges": lambda: scaling_tables.exchanges(read("scaling")),
    "scaling.calls": lambda: scaling_tables.small_calls(read("scaling")),
    "scaling.paper": lambda: scaling_tables.papers(read("scaling")),
    **page_kernels.TABLES,
    **page_steps.TABLES,
    **page_calls.TABLES,
}
WORDS: dict[str, Callable[[], str]] = {
    "software": software,
    "versions": versions,
    "day": lambda: read("kernels")["machine"]["date"][:10],
    "cpu": lambda: cpu(read("kernels")["machine"]),
    "scaling.fitted": lambda: scaling_tables.fitted(read("scaling")),
    "scaling.groups": lambda: scaling_tables.groups(read("scaling")),
    **page_kernels.WORDS,
    **page_steps.WORDS,
}


def make(name: str) -> str:
    """The text of one block."""
    kind, _, what = name.partition(" ")
    if kind == "origin":
        return origin(what)
    if kind == "zh":
        return chinese(make(what))
    return markdown(TABLES[name]()) if name in TABLES else WORDS[name]()
