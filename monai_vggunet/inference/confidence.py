"""How sure a network was of one volume."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Confidence"]


@dataclass
class Confidence:
    """How sure the network was of one volume's foreground; sums over batches.

    Attributes:
        voxels: voxels given a class other than background.
        entropy: sum over them of the entropy of the class probabilities, 0 (sure) to 1 (all classes equally probable).
        disagreement: sum over them of the share of views that would have given another class.
        n_views: views that were averaged.
    """

    voxels: int = 0
    entropy: float = 0.0
    disagreement: float = 0.0
    n_views: int = 1

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the means over the foreground, None where there is none."""
        mean = [round(total / self.voxels, 5) if self.voxels else None for total in (self.entropy, self.disagreement)]
        agreed = mean[1] if self.n_views > 1 else None
        return {"mean_entropy": mean[0], "mean_disagreement": agreed, "views": self.n_views}
