"""Links to the studies' pages, in a folder of their own and under names that the index may show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.layout import PAGES, REPORT, SHEET
from monai_vggunet.privacy import has_form_of_pseudonym

__all__ = ["link_pages", "linked_page"]

ENDINGS = {REPORT: ".html", SHEET: ".png"}


def linked_page(case: str, page: str = REPORT) -> Path:
    """Return the path of the link to a study's page or sheet, relative to the folder of all results."""
    return Path(PAGES, f"{case}{ENDINGS[page]}")


def link_pages(root: Path, folders: Mapping[str, Path]) -> None:
    """Link the existing pages; links of studies that are gone are removed.

    Args:
        root: the folder of all results.
        folders: the folder of a case's results, by the case's pseudonym.

    Raises:
        OutputWriteError: the folder cannot be written.
    """
    wanted = {root / linked_page(case, page): folder / page for case, folder in folders.items() for page in ENDINGS}
    wanted = {link: page for link, page in wanted.items() if page.is_file()}
    for old in (root / PAGES).glob("*") if (root / PAGES).is_dir() else ():
        if old.suffix in ENDINGS.values() and has_form_of_pseudonym(old.stem) and old not in wanted:
            old.unlink()
    for link, page in wanted.items():
        _link(page, link)


def _link(page: Path, link: Path) -> None:
    """Make a link lead to the current page; on a file system without links it is a copy."""
    with suppress(OSError):
        if link.samefile(page):
            return
    new = link.with_name(f".{link.name}.new")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        os.link(page, new)
        os.replace(new, link)
    except OSError:
        with atomic_path(link) as copy:
            shutil.copyfile(page, copy)
