"""The speeds on the first pages are those of the tables in docs/performance.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "README.zh-CN.md", "docs/index.md"]

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the pages are not here")


def table(section, *words):
    """Return the rows of the section's first table whose head has these words, by first cell."""
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    part = re.split(rf"^## {section}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    for lines in re.findall(r"(?:^\|.*\n)+", part, re.MULTILINE):
        head, _, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in lines.splitlines())
        if all(any(word in cell for cell in head) for word in words):
            return {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    raise LookupError((section, words))


def numbers(row):
    """Return the numbers of a row's cells behind the first."""
    return [cell for cell in list(row.values())[1:] if re.fullmatch(r"[\d.]+", cell)]


def ends(values, digits=1):
    """Return the least and the largest of some numbers, rounded."""
    found = [float(value) for value in values]
    return [f"{value:.{digits}f}" for value in (min(found), max(found))]


@pytest.fixture(params=PAGES)
def page(request):
    return (ROOT / request.param).read_text("utf-8")


def has(page, *values):
    """Whether the values stand one after the other, with a few words between them."""
    return re.search(
        r"\D{1,12}?".join(rf"(?<![\d.]){re.escape(v)}(?![\d.]*\d)" for v in values), page
    )


def test_kernels_beside_pytorch(page):
    kernels = table("Kernels", "forward, training")
    assert has(page, *numbers(kernels["PyTorch eager / bn"])[:3])


def test_training_steps_beside_pytorch(page):
    steps = table("Whole training steps", "Keras on TensorFlow / bn")
    assert has(page, *ends(row["PyTorch / bn"] for row in steps.values()))


@pytest.mark.parametrize("name", PAGES[:2])
def test_the_table_of_the_readme(name):
    page = (ROOT / name).read_text("utf-8")
    steps = table("Whole training steps", "Keras on TensorFlow / bn")
    small = [steps[f"conv 16, batch {n}"] for n in (64, 256)]
    assert has(page, *(row["PyTorch / bn"] for row in small))
    assert has(page, *(row["Keras on TensorFlow / bn"] for row in small))
    deep = steps["ResNet-20, batch 64"]
    assert has(page, deep["PyTorch / bn"]) and has(page, deep["Keras on TensorFlow / bn"])

    memory = table("Whole training steps", "bn / PyTorch")
    shares = [float(row["bn / PyTorch"]) for row in memory.values()]
    assert has(page, f"{1 / max(shares):.1f}", f"{1 / min(shares):.1f}")

    predictions = table("Predictions", "ONNX Runtime / bn")
    single = [row for network, row in predictions.items() if network.endswith("batch 1")]
    assert has(page, *ends(row["PyTorch / bn"] for row in single))
    assert has(page, *ends(row["ONNX Runtime / bn"] for row in single))

    kernels = table("Kernels", "forward, training")
    assert has(page, *numbers(kernels["JAX, jitted / bn"])[:3])
    assert has(page, numbers(kernels["by more than 5 %"])[1])


def test_kernels_beside_a_copy_on_the_landing_page():
    page = (ROOT / "docs" / "index.md").read_text("utf-8")
    kernels = table("Kernels", "forward, training")
    assert has(page, *numbers(kernels["bn / copy, 16 to 98 MB"])[:3])
