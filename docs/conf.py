"""How Sphinx builds the manual: Markdown pages, and an API reference from the docstrings. It needs no network."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version
from typing import Any

project = "monai-vggunet"
author = "the monai-vggunet founders"
version = release = installed_version("monai-vggunet")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
highlight_language = "text"  # of a code block that names none
html_title = f"{project} {release}"
html_static_path, html_css_files = ["_static"], ["manual.css"]
html_show_copyright = False
html_copy_source = False
html_show_search_summary = False  # a page opened from the disk may not fetch the others

myst_heading_anchors = 3  # `page.md#a-heading`, as on the pages where the sources are browsed

autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"  # not of private parts that a docstring leaves out
autodoc_default_options = {"members": True, "imported-members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# What a docstring leaves as it is: lines of an example, and code between two backticks on each side.
_KEPT = re.compile(r"(^ *>>>.*$|^ *\.\.\. .*$|``[^`]+``)", re.MULTILINE)
# A code span of Markdown, perhaps over several lines, or a sign that reStructuredText would take for one of its own.
_CODE_OR_SIGN = re.compile(r"`([^`]+)`|\|")


def _from_markdown(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring's code spans from Markdown to reStructuredText, before napoleon reads its sections."""
    parts = _KEPT.split("\n".join(lines))  # every other part is kept
    parts[::2] = [_CODE_OR_SIGN.sub(_as_restructured, part) for part in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def _as_restructured(found: re.Match[str]) -> str:
    if found[1] is None:
        return f"\\{found[0]}"
    return f"``{' '.join(found[1].split())}``\\ "  # the escaped blank lets a letter follow: `MetaTensor`s


def setup(app: Any) -> None:
    """Register what this file adds to Sphinx."""
    app.connect("autodoc-process-docstring", _from_markdown, priority=100)
