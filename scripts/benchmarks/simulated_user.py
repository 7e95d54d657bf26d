"""A simulated user who corrects a mask click by click, and the figures of it: every model meets the same user.

The user clicks on the deepest voxel of the largest three-dimensional region where mask and truth differ, and names the
correct class there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from results_page import machine, markdown_table
from scipy import ndimage

from monai_vggunet.training import largest_error

__all__ = ["SHOWN", "Click", "Corrected", "correct", "deepest_error", "figures", "mean_dice"]

SHOWN = (0, 1, 3, 5, 10)
CLICKED_SLICES = 3  # the figures in the slices that were clicked are taken after so many clicks

Click = tuple[str, tuple[int, int, int]]  # name of the correct class there, voxel of the truth's grid


@dataclass
class Corrected:
    """One volume: after each number of clicks the mean Dice and the share of the automatic error that is left."""

    dice: list[float] = field(default_factory=list)
    error_left: list[float] = field(default_factory=list)
    clicked_error_left: float = float("nan")  # in the clicked slices alone, after three clicks
    changed_elsewhere: float = 0.0  # largest share of voxels that changed in slices without a click
    spoiled_elsewhere: float = 0.0  # largest share of voxels that were right there and no longer are
    obeyed: list[bool] = field(default_factory=list)  # whether the clicked voxel has the class that the user named
    seconds: list[float] = field(default_factory=list)


def correct(
    automatic: np.ndarray,
    answer: Callable[[list[Click]], np.ndarray],
    truth: np.ndarray,
    names: Sequence[str],
    n_clicks: int,
) -> Corrected:
    """Correct one volume click by click.

    Args:
        automatic: mask without clicks, class numbers, `(X, Y, Z)`.
        answer: gives the mask that belongs to all clicks so far.
        truth: like `automatic`.
        names: of the classes, background first.
        n_clicks: at most so many.
    """
    mask, clicks, result = automatic, [], Corrected()
    before = max(1, int((mask != truth).sum()))
    for n in range(n_clicks + 1):
        wrong = mask != truth
        result.dice.append(mean_dice(mask, truth, len(names)))
        result.error_left.append(float(wrong.sum()) / before)
        if n == CLICKED_SLICES:
            slices = sorted({click[1][2] for click in clicks})
            here = max(1, int((automatic != truth)[..., slices].sum()))
            result.clicked_error_left = float(wrong[..., slices].sum()) / here
        voxel, _ = deepest_error(wrong)
        if n == n_clicks or voxel is None:
            continue
        clicks.append((names[truth[voxel]], voxel))
        started = time.monotonic()
        mask = answer(clicks)
        result.seconds.append(time.monotonic() - started)
        result.obeyed.append(bool(mask[voxel] == truth[voxel]))
        now, before_it, right = (np.delete(a, [c[1][2] for c in clicks], axis=2) for a in (mask, automatic, truth))
        if now.size:
            changed, spoiled = now != before_it, (now != right) & (before_it == right)
            result.changed_elsewhere = max(result.changed_elsewhere, float(changed.mean()))
            result.spoiled_elsewhere = max(result.spoiled_elsewhere, float(spoiled.mean()))
    return result


def deepest_error(wrong: np.ndarray) -> tuple[tuple[int, int, int] | None, np.ndarray | None]:
    """Return where the user clicks, and the region it belongs to; None twice where nothing is wrong."""
    region = largest_error(wrong)
    if region is None:
        return None, None
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1, 1:-1]
    return tuple(int(i) for i in np.unravel_index(depth.argmax(), depth.shape)), region


def mean_dice(mask: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    """Return the mean over the classes that either of the two holds."""
    values = []
    for number in range(1, n_classes):
        a, b = mask == number, truth == number
        if a.any() or b.any():
            values.append(2.0 * (a & b).sum() / (a.sum() + b.sum()))
    return float(np.mean(values)) if values else 1.0


def figures(results: list[Corrected]) -> str:
    """Return table and text for a section of docs/results.md."""
    shown = [n for n in SHOWN if n < min(len(result.dice) for result in results)]
    rows = [
        [
            n,
            f"{np.mean([result.dice[n] for result in results]):.3f}",
            f"{np.min([result.dice[n] for result in results]):.3f}",
            f"{100 * np.mean([result.error_left[n] for result in results]):.0f} %",
            f"{sum(result.dice[n] < result.dice[0] for result in results)} of {len(results)}",
        ]
        for n in shown
    ]
    obeyed = [one for result in results for one in result.obeyed]
    clicked = np.nanmean([result.clicked_error_left for result in results])
    seconds = np.median([one for result in results for one in result.seconds])
    header = ["clicks", "mean Dice", "lowest Dice", "wrong voxels left", "volumes worse than automatic"]
    return f"""{markdown_table(header, rows)}

After {CLICKED_SLICES} clicks {100 * (1 - clicked):.0f} % of the wrong voxels are gone in the slices that were clicked.
{100 * np.mean(obeyed):.0f} % of {len(obeyed)} clicked voxels have the class that the user named. In slices without
a click at most {100 * max(result.changed_elsewhere for result in results):.3f} % of the voxels changed, and at most
{100 * max(result.spoiled_elsewhere for result in results):.3f} % had been right. A correction takes
{seconds:.2f} s (median), the way back to the volume's grid included; {machine()}."""
