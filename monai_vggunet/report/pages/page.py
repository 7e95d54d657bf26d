"""Self-contained pages: templates of the package, filled in with escaped values, with styles and scripts inside."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from monai_vggunet._version import __version__
from monai_vggunet.atomic_files import atomic_path

__all__ = ["asset", "without_folders", "write_page"]

# From a slash that begins a path to the last one before a colon or the line's end: folders may bear patients' names.
_FOLDERS = re.compile(r"(?<![\w.>])/[^\n:;]*/")
_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Write an HTML file from a template, whole or not at all.

    Args:
        path: the file.
        template: name of a template in `pages`.
        values: what the template shows. Text is escaped; `Markup` (see `asset`) is not.

    Raises:
        OutputWriteError: the folder cannot be written, or the disk is full.
    """
    text = _templates().get_template(template).render(css=asset("page.css"), version=__version__, **values)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def asset(name: str) -> Markup:
    """Return a stylesheet or script of `pages` unchanged."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def without_folders(text: str) -> str:
    """Return a message with paths cut to their last part: a page may be passed on, and folders may name patients."""
    return _FOLDERS.sub("…/", text)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
