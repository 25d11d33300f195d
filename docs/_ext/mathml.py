"""Formulas as MathML, which browsers draw themselves: no script, and nothing from the network."""

from __future__ import annotations

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def mathml(formula: str, display: str) -> str:
    r"""Write a formula as MathML; ``\_`` within ``\text`` is an underscore."""
    return convert(formula, display=display).replace(r"\_", "_")


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula that stands in a sentence."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(writer: HTML5Translator, node: nodes.math_block) -> None:
    r"""Write a formula that has lines of its own; a blank one or ``\\`` begins another formula."""
    formula = node.astext()
    if "\\begin" in formula or "\\\\" not in formula:
        formulas = formula.split("\n\n")
    else:
        formulas = formula.split("\\\\")
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    writer.body.extend(mathml(each, "block") for each in formulas if each.strip())
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer, which ``html_math_renderer = "mathml"`` chooses."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
