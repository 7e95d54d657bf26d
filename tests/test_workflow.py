"""The bundle's workflow class, where it is not a run: those are in `tests/bundle`."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_vggunet import TrainingWorkflow
from monai_vggunet.errors import ConfigurationError


def test_results_never_go_where_monai_would_rewrite_their_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run#2 holds a '#', which MONAI's config language rewrites to '::'"):
        TrainingWorkflow(bundle_root=tmp_path / "run#2")
