"""No file of weights inflates while it is read, whoever reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from monai_vggunet.errors import ModelMismatchError, PretrainedWeightsError
from monai_vggunet.networks import VGG16Encoder
from monai_vggunet.networks.weight_files import require_uncompressed
from monai_vggunet.training.run_folder import read_last


def bomb(path: Path) -> Path:
    """Write a state dict whose description, a pickle, ends in zeros that inflate."""
    torch.save({"0.weight": torch.zeros(4)}, path.with_suffix(".plain"))
    with zipfile.ZipFile(path.with_suffix(".plain")) as plain, zipfile.ZipFile(path, "w") as inflating:
        for part in plain.infolist():
            is_pickle = part.filename.endswith("data.pkl")
            kind, zeros = (zipfile.ZIP_DEFLATED, bytes(1 << 24)) if is_pickle else (zipfile.ZIP_STORED, b"")
            inflating.writestr(part.filename, plain.read(part) + zeros, kind)
    assert path.stat().st_size < 100_000
    return path


def test_weights_that_inflate_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained, checkpoint = bomb(tmp_path / "vgg16.pth"), bomb(tmp_path / "last.pt")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(PretrainedWeightsError, match=r"vgg16\.pth cannot be read \(ValueError: parts of it are comp"):
        VGG16Encoder(pretrained=pretrained)
    with pytest.raises(ModelMismatchError, match=r"last\.pt cannot be read \(ValueError\)"):
        read_last(checkpoint.parent)


@pytest.mark.parametrize("today", [True, False])
def test_files_as_torch_writes_them_pass(tmp_path: Path, today: bool) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "a.pt", _use_new_zipfile_serialization=today)
    require_uncompressed(tmp_path / "a.pt")
