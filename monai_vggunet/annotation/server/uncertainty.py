"""Which study to annotate next: the one the model is least sure of."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from monai_vggunet.errors import ConfigurationError, VGGUNetError
from monai_vggunet.segment.segmenter import Segmenter

__all__ = ["UncertaintyScoring", "UncertaintyStrategy"]

KEY = "uncertainty"  # of a study's information in the datastore
NO_SCORE = -1.0
NOTHING_FOUND = 1.0  # no voxel of any class: the most doubtful result of all

_log = logging.getLogger(__name__)


class UncertaintyScoring(ScoringMethod):
    """Score every unlabeled study by test-time views: the mean entropy, over the foreground, of their mean probability.

    Batch norm keeps its statistics and nothing is drawn: a score is the same each time. Studies that were scored with
    the model in use are passed over.

    Args:
        model: `model.pt`, with its `model.json` beside it.
    """

    def __init__(self, model: Path) -> None:
        super().__init__("entropy of test-time views")
        self.model = model

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score; return how many studies were scored, passed over, or could not be."""
        started = time.monotonic()
        segmenter = _segmenter(self.model)
        digest, limit = segmenter.spec.weights_sha256, int(request.get("max_samples") or 0)
        images = sorted(datastore.get_unlabeled_images())
        waiting = [image for image in images if _score_of(datastore, image).get("model") != digest]
        chosen = waiting[:limit] if limit > 0 else waiting
        failed = 0
        for image in chosen:
            try:
                confidence = segmenter({"image": datastore.get_image_uri(image), "case": image}).confidence
            except VGGUNetError as error:
                failed += 1
                _log.warning("%s cannot be scored: %s", image, error)
                continue
            entropy = confidence["mean_entropy"]
            score = NOTHING_FOUND if entropy is None else float(entropy)
            datastore.update_image_info(image, {KEY: {"score": score, "model": digest, **confidence}})
        counts = {"total": len(images), "skipped": len(images) - len(chosen), "executed": len(chosen) - failed}
        return {**counts, "failed": failed, "latency": round(time.monotonic() - started, 3)}


class UncertaintyStrategy(Strategy):
    """Choose the unlabeled study with the highest score; those without a score come last, in order of their names."""

    def __init__(self) -> None:
        super().__init__("the study the model is least sure of (POST /scoring/uncertainty first)")

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Return `{"id": study, "uncertainty": its score}`; None when all are labeled."""
        images = sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
        if not images:
            return None
        scores = {image: float(_score_of(datastore, image).get("score", NO_SCORE)) for image in images}
        best = max(images, key=scores.__getitem__)
        return {"id": best, "score": None if scores[best] == NO_SCORE else scores[best]}


def _score_of(datastore: Datastore, image: str) -> dict[str, Any]:
    return dict(datastore.get_image_info(image).get(KEY) or {})


def _segmenter(model: Path) -> Segmenter:
    """Return the model with mirrored views, or zoomed ones where classes are on one side of the body."""
    try:
        return Segmenter(model, tta="flip")
    except ConfigurationError:
        return Segmenter(model, tta="scale")
