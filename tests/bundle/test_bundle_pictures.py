"""Two-dimensional color pictures from training to mask by the same commands as volumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_vggunet.report.training_run import report_training
from monai_vggunet.segment.archive import Segmenter, segment

from .conftest import Run, run_here, train

pytestmark = pytest.mark.slow


def write_picture(path: Path, seed: int, color: bool) -> np.ndarray:
    """Write a picture `(48 rows, 40 columns)` with a bright disc; return the disc."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :40]
    disc = (rows - rng.integers(12, 36)) ** 2 + (columns - rng.integers(10, 30)) ** 2 < 64
    gray = np.clip(60 + 120 * disc + rng.normal(0, 8, disc.shape), 0, 255).astype(np.uint8)
    Image.fromarray(np.stack([gray, gray // 2, gray // 3], -1) if color else gray).save(path)
    return disc


@pytest.fixture(scope="module")
def trained_on_pictures(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("pictures")
    for folder in ("images", "labels"):
        (root / "data" / folder).mkdir(parents=True)
    for number in range(5):
        disc = write_picture(root / "data" / "images" / f"p{number}.png", number, color=number % 2 == 0)
        Image.fromarray(disc.astype(np.uint8) * 255).save(root / "data" / "labels" / f"p{number}.png")
    options = {"max_epochs": 4, "iterations_per_epoch": 10, "encoder_lr": 1e-3, "decoder_lr": 1e-3}
    output = train(root / "data", root / "run", overrides={"roi_size": [32, 32]}, ema_momentum=0.1, **options)
    return Run(root / "data", root / "run", output)


def test_the_model_knows_that_it_is_for_color_pictures(trained_on_pictures: Run) -> None:
    spec = json.loads((trained_on_pictures.folder / "models" / "model.json").read_text())
    assert spec["preprocessing"]["modality"] == "PICTURE"
    assert spec["preprocessing"]["channels"] == "color"
    assert spec["network"]["in_channels"] == 3


def test_masks_of_black_and_white_train_one_class(trained_on_pictures: Run) -> None:
    spec = json.loads((trained_on_pictures.folder / "models" / "model.json").read_text())
    assert spec["class_names"] == ["background", "class 1"]
    assert spec["fingerprint"]["label_values"] == [0, 255]
    assert "0 is taken as background, 255 as foreground" in trained_on_pictures.output


def test_black_and_white_masks_are_judged_and_shown(trained_on_pictures: Run, tmp_path: Path) -> None:
    paths = {"ckpt_dir": trained_on_pictures.folder / "models", "output_dir": tmp_path / "eval"}
    run_here("train", "evaluate", dataset_dir=trained_on_pictures.data, split="all", **paths)
    figures = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert figures["mean"]["val_mean_dice"] > 0.7
    shutil.copytree(trained_on_pictures.folder / "models", tmp_path / "models")
    text = report_training(tmp_path).read_text()
    assert "HD95, pixels" in text
    assert "No picture of" not in text
    assert text.count("data:image/jpeg") == 5


@pytest.mark.parametrize("color", [True, False], ids=["color", "gray"])
def test_an_unseen_picture_gets_a_mask_of_its_size_that_finds_the_disc(
    trained_on_pictures: Run, tmp_path: Path, color: bool
) -> None:
    disc = write_picture(tmp_path / "unseen.png", 99, color)
    segmenter = Segmenter(trained_on_pictures.folder / "models" / "model.pt")
    (result,) = segment([tmp_path / "unseen.png"], tmp_path / "out", segmenter, show_progress=False)
    assert not result.error
    mask = np.asarray(nib.load(result.folder / "mask.nii.gz").dataobj).squeeze().T  # NIfTI holds columns first
    assert mask.shape == disc.shape
    assert 2 * (mask.astype(bool) & disc).sum() / (mask.astype(bool).sum() + disc.sum()) > 0.7
