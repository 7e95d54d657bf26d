"""Pictures and volumes are told apart: each model gets its own kind, and a picture's classes have areas in pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from phantoms import affine_of, ct_array, label_array, write_nifti
from PIL import Image
from tiny_model import write_tiny_model

from monai_vggunet.case_record import CaseRecord
from monai_vggunet.report.report import StudyReporter, write_index
from monai_vggunet.segment.archive import Segmenter, segment

PICTURES = {"modality": "PICTURE", "plane": "picture", "channels": "color", "image_channels": 3}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nifti(tmp_path_factory.mktemp("volume") / "ct.nii.gz", ct_array(label_array()), affine_of())


def model_of_pictures(folder: Path) -> Path:
    fingerprint = {
        "modality": "PICTURE",
        "class_names": ["background", "liver", "spleen"],
        "class_volumes_ml": [[1, 1, 1], [10.0, 11.0, 12.0], [10.0, 11.0, 12.0]],
    }
    return write_tiny_model(folder, fingerprint, **PICTURES, windows=((0.0, 1.0),))


def test_the_classes_of_a_picture_have_areas(picture: Path, tmp_path: Path) -> None:
    model, reporter = model_of_pictures(tmp_path / "model"), StudyReporter()
    (result,) = segment([picture], tmp_path / "out", Segmenter(model), show_progress=False, report=reporter)
    assert not result.error
    content = json.loads((result.folder / "record.json").read_text())
    assert content["volumes_ml"] == {}
    assert set(content["areas_px"]) == {"liver", "spleen"}
    assert 0 < sum(content["areas_px"].values()) <= 40 * 56
    assert CaseRecord.from_json(content).amounts[0] == ("liver", content["areas_px"]["liver"], "px")
    assert all(flag.startswith("implausible area: ") and "in training 10,000 to 12,000 px" in flag
               for flag in content["flags"])  # fmt: skip
    page = (result.folder / "report.html").read_text()
    index = write_index(tmp_path / "out").read_text()
    assert f"liver {content['areas_px']['liver']:,} px" in index
    assert " mL" not in index
    assert "mL</th>" not in page


@pytest.mark.parametrize("plane", ["axial", "picture"])
def test_each_model_refuses_the_other_kind_by_name(picture: Path, volume: Path, tmp_path: Path, plane: str) -> None:
    model = model_of_pictures(tmp_path) if plane == "picture" else write_tiny_model(tmp_path)
    given = volume if plane == "picture" else picture
    (result,) = segment([given], tmp_path / "out", Segmenter(model), show_progress=False)
    expected = {
        "axial": "is a picture; the model was trained on volumes of 1 channel: give it DICOM or NIfTI",
        "picture": "is a volume of one channel; the model was trained on color pictures: give it PNG, JPEG, BMP",
    }
    assert expected[plane] in result.error
