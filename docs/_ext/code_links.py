"""Code in a page's sentences, such as `bn.fold(model)` or `nn.fit`, links to what it names.

So do the attributes that a class lists in its docstring and documents by themselves as well.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

NAME = re.compile(r"(bn|nn)((?:\.[A-Za-z]\w*)+)(\(.*\))?")


class CodeLinks(SphinxPostTransform):
    """Wraps code that names something in a reference; one without a page stays plain code."""

    default_priority = 5  # before references are resolved

    def run(self) -> None:
        """Go over the code of a page that no link contains, and the names in docstrings."""
        for reference in self.document.findall(addnodes.pending_xref):
            if reference["refdomain"] == "py" and reference["reftarget"].startswith("nn."):
                reference["reftarget"] = f"bn.{reference['reftarget']}"
        for code in list(self.document.findall(nodes.literal)):
            found = NAME.fullmatch(code.astext())
            if not found or isinstance(code.parent, nodes.reference | addnodes.pending_xref):
                continue
            package = "bn" if found[1] == "bn" else "bn.nn"
            reference = addnodes.pending_xref(
                "",
                refdomain="py",
                reftype="obj",
                reftarget=package + found[2],
                refdoc=self.env.docname,
                refwarn=False,
            )
            code.replace_self(reference)
            reference += code


def attributes_of_this_class(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Give the attributes that numpydoc lists the name of their class, which makes them unique."""
    if what == "class":
        lines[:] = [re.sub(r"<\.(\w+)>`", rf"<{name}.\1>`", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both; numpydoc goes first."""
    app.add_post_transform(CodeLinks)
    app.connect("autodoc-process-docstring", attributes_of_this_class, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
