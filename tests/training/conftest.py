"""What the tests of a run's files share: one uninterrupted run, and checkpoints after every epoch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from checkpoint_runs import train

from monai_vggunet.training import checkpoints


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "SAVE_EVERY_SEC", 0.0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, SimpleNamespace]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, train(folder)
