"""One color per class, the same in every picture, page and viewer."""

from __future__ import annotations

import colorsys

__all__ = ["class_color", "hex_color"]

# Okabe and Ito, "Color Universal Design" (2008): distinct for color-blind readers too. Their black is left out, because
# the pictures have a black background.
_FIRST = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
_GOLDEN = 0.6180339887498949  # steps of the golden section never repeat a hue, and neighbors stay far apart


def class_color(number: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a class; 0, the background, is black.

    Example:
        >>> class_color(1)
        (230, 159, 0)
    """
    if number == 0:
        return (0, 0, 0)
    if number <= len(_FIRST):
        return _FIRST[number - 1]
    red, green, blue = colorsys.hsv_to_rgb(
        (number * _GOLDEN) % 1.0, 0.45 + 0.25 * (number % 3), 0.95 - 0.3 * (number % 2)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def hex_color(number: int) -> str:
    """Return a class's color as CSS writes it, `#e69f00`."""
    return "#{:02x}{:02x}{:02x}".format(*class_color(number))
