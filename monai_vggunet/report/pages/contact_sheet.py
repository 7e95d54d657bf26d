"""The contact sheet: one PNG with the slices that matter, the classes in color, and their volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_vggunet.case_record import CaseRecord
from monai_vggunet.outputs.class_colors import class_color
from monai_vggunet.report.pages.display_view import DisplayView, paint, resized

__all__ = ["contact_sheet", "sheet_slices"]

N_TILES, N_COLUMNS, TILE_PX = 12, 4, 260
MARGIN_PX, LINE_PX = 6, 22
BACKGROUND, INK, PALE, ALARM = (16, 18, 22), (235, 235, 235), (150, 155, 165), (255, 180, 60)
MOST_TEXT = 110  # characters that fit on one line


def contact_sheet(view: DisplayView, record: CaseRecord) -> Image.Image:
    """Return the sheet of one study: its name, flags, classes with volumes, and slices through the mask.

    Args:
        view: image and mask.
        record: of the study.
    """
    chosen = sheet_slices(view.labels, view.axis)
    columns = min(N_COLUMNS, len(chosen))
    width, height = view.size_px(TILE_PX if len(chosen) > 1 else 2 * TILE_PX)
    lines = _headline(record, view)
    head = LINE_PX * (len(lines) + 1) + 2 * MARGIN_PX
    rows = -(-len(chosen) // columns)
    page_width = max(columns * (width + MARGIN_PX) + MARGIN_PX, N_COLUMNS * (TILE_PX + MARGIN_PX) + MARGIN_PX)
    page = Image.new("RGB", (page_width, head + rows * (height + MARGIN_PX)), BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for number, (text, color) in enumerate(lines):
        draw.text((MARGIN_PX, MARGIN_PX + number * LINE_PX), text, fill=color, font=font)
    _legend(draw, font, record, (MARGIN_PX, MARGIN_PX + len(lines) * LINE_PX), page_width)
    for number, index in enumerate(chosen):
        tile = _tile(view, index, (width, height))
        left, top = MARGIN_PX + number % columns * (width + MARGIN_PX), head + number // columns * (height + MARGIN_PX)
        page.paste(tile, (left, top))
    return page


def sheet_slices(labels: np.ndarray, axis: int) -> list[int]:
    """Return the slices to show: evenly over those that hold the mask, or over all if the mask is empty."""
    others = tuple(k for k in range(3) if k != axis)
    found = np.flatnonzero((labels > 0).any(axis=others))
    first, last = (int(found[0]), int(found[-1])) if len(found) else (0, labels.shape[axis] - 1)
    return sorted({round(float(n)) for n in np.linspace(first, last, min(N_TILES, last - first + 1))})


def _tile(view: DisplayView, index: int, size: tuple[int, int]) -> Image.Image:
    gray, classes = resized(view.gray(index), size), resized(view.classes(index), size, nearest=True)
    tile = Image.fromarray(paint(gray, classes))
    if view.is_picture:
        return tile
    draw, font = ImageDraw.Draw(tile), ImageFont.load_default(size=13)
    left, right, top, _ = view.letters()
    draw.text((4, size[1] // 2), left, fill=INK, font=font, anchor="lm")
    draw.text((size[0] - 4, size[1] // 2), right, fill=INK, font=font, anchor="rm")
    draw.text((size[0] // 2, 3), top, fill=INK, font=font, anchor="ma")
    center = [(n - 1) / 2 for n in view.labels.shape]
    center[view.axis] = index
    where = float((view.affine @ [*center, 1.0])[view.axis])
    sign = ("R", "L") if view.axis == 0 else ("A", "P") if view.axis == 1 else ("S", "I")
    text = f"{sign[where < 0]} {abs(where):.1f} mm"
    draw.text((4, size[1] - 4), text, fill=PALE, font=font, anchor="ls")
    return tile


def _headline(record: CaseRecord, view: DisplayView) -> list[tuple[str, tuple[int, int, int]]]:
    parts = [record.case, record.source.modality]
    shape = record.source.shape[:2] if view.is_picture else record.source.shape
    parts += ["x".join(str(n) for n in shape), "" if view.is_picture else view.plane]
    lines = [("   ".join(part for part in parts if part), INK)]
    if view.image is None:
        lines.append(("the mask alone: its image was not available", ALARM))
    return lines + [(f"! {flag}"[:MOST_TEXT], ALARM) for flag in record.flags]


def _legend(draw: ImageDraw.ImageDraw, font: Any, record: CaseRecord, at: tuple[int, int], page_width: int) -> None:
    left, top = at
    for number, (name, amount, unit) in enumerate(record.amounts, start=1):
        text = f"{name} {amount:.4g} {unit}" if unit == "mL" else f"{name} {amount:,} {unit}"
        needed = 24 + round(draw.textlength(text, font=font))
        if left + needed > page_width:  # report.html lists them all
            draw.text((left, top), "...", fill=PALE, font=font)
            return
        draw.rectangle((left, top + 4, left + 12, top + 16), fill=class_color(number))
        draw.text((left + 18, top), text, fill=INK, font=font)
        left += needed + 14
