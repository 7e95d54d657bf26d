"""Draw docs/quickstart.png: unseen phantom series, with their organs as drawn and as the quickstart's model finds them.

python scripts/make_readme_picture.py        (after scripts/quickstart.sh)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.transforms import LoadImage
from PIL import Image, ImageDraw

from monai_vggunet.data import DicomSeriesReader

ROOT = Path(__file__).resolve().parents[1]
COLORS = np.array([[0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115]], float)  # Okabe and Ito's, see class_colors
WINDOW_HU = (-60.0, 200.0)
SIDE, MARGIN, HEAD = 220, 6, 22  # pixels
TITLES = ("DICOM series, one slice", "organs as drawn", "organs as found")


def main() -> None:
    data, masks = ROOT / "quickstart" / "data" / "unseen", ROOT / "quickstart" / "masks"
    if not masks.is_dir():
        raise SystemExit(f"{masks} is not there: run scripts/quickstart.sh first")
    load, cases = LoadImage(reader=DicomSeriesReader(), image_only=True), sorted((data / "images").iterdir())[:3]
    page = Image.new("RGB", (3 * (SIDE + MARGIN) + MARGIN, HEAD + len(cases) * (SIDE + MARGIN)), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(TITLES):
        draw.text((MARGIN + column * (SIDE + MARGIN), 5), title, fill="black")
    for row, case in enumerate(cases):
        image = load(case).numpy()
        truth = load(data / "labels" / f"{case.name}.nii.gz").numpy()
        found = load(masks / case.name / "mask.nii.gz").numpy()
        index = int((truth > 0).sum((0, 1)).argmax())
        gray = np.clip((image[..., index] - WINDOW_HU[0]) / (WINDOW_HU[1] - WINDOW_HU[0]), 0, 1)
        for column, labels in enumerate((None, truth[..., index], found[..., index])):
            tile = Image.fromarray(overlay(gray, labels)).resize((SIDE, SIDE))
            page.paste(tile, (MARGIN + column * (SIDE + MARGIN), HEAD + row * (SIDE + MARGIN)))
    page.save(ROOT / "docs" / "quickstart.png", optimize=True)


def overlay(gray: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Return rows × columns × RGB of a slice (columns, rows) in 0..1, with its classes in color."""
    color = np.repeat(gray[..., None] * 255, 3, axis=2)
    if labels is not None:
        inside = labels > 0
        color[inside] = 0.5 * color[inside] + 0.5 * COLORS[labels[inside].astype(int)]
    return color.transpose(1, 0, 2).astype(np.uint8)


if __name__ == "__main__":
    main()
