"""How Sphinx builds the site: ``sphinx-build -W docs docs/_build``. No page needs the network."""

import os
import sys
from pathlib import Path

import bn

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ.setdefault("MPLBACKEND", "agg")

project = "bn"
author = "the bn maintainers"
copyright = author
version = release = bn.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "code_links",
    "local_links",
    "mathml",
    "repository_links",
    "search_excerpts",
    "signatures",
]
exclude_patterns = ["_build", "**/sg_execution_times.rst", "**/*.ipynb"]
templates_path = ["_templates"]

# Pages are Markdown that reads well on GitHub too, so only GitHub's own marks are used in them: a
# fence called math, and links to headings.
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# `name` in a docstring links to what it names, if that has a page.
default_role = "py:obj"
autosummary_generate = True
python_maximum_signature_line_length = 88
autodoc_mock_imports = ["torch"]  # bn.torch derives its classes from PyTorch's
toc_object_entries_show_parents = "hide"  # so that they fit beside the page
autodoc_typehints = "none"  # the sections of a docstring say them in words
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "doc_module": ("bn",),
    "backreferences_dir": "api/generated/examples",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "min_reported_time": 1000,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "capture_repr": (),
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "bn"
html_static_path = ["_static"]
html_css_files = ["bn.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "navbar_center": ["navbar-nav"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "navigation_depth": 2,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "changelog": []}
