"""A modality is called as DICOM calls it, whoever states it and however."""

from __future__ import annotations

import pytest

from monai_vggunet.data import Preprocessing
from monai_vggunet.data.modality import modality_name
from monai_vggunet.errors import DatasetError


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        *((text, "CT") for text in ("CT", "ct", " Ct ", "CTA", "CT (HU)", "ct_portal", "computed tomography")),
        *((text, "CT") for text in ("CT-scan", "CT: abdomen", "CECT", "ncct", "CBCT")),
        *((text, "MR") for text in ("MR", "mr", "MRI", "mri", "T1w", "t2", "FLAIR", "ADC", "MR T1", "mr-t2", "MRA")),
        *((text, "PT") for text in ("PET", "pet (SUV)", "PT")),
        *((text, text) for text in ("US", "XA", "PICTURE", "CT/PET", "")),
    ],
)
def test_a_modality_has_one_name(stated: str, name: str) -> None:
    assert modality_name(stated) == name


@pytest.mark.parametrize("stated", [5, None, ["CT"]])
def test_a_modality_is_text(stated: object) -> None:
    with pytest.raises(DatasetError, match="expected text, such as CT or MR"):
        modality_name(stated)  # type: ignore[arg-type]


def test_an_override_is_called_so_too() -> None:
    spec = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((0.0, 1.0),))
    assert spec.overridden({"modality": "mri"}).modality == "MR"
