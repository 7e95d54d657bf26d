from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import write_series

from monai_vggunet.dicom import index, scan_folder
from monai_vggunet.dicom.parallel import spread as helpers


def test_helper_processes_index_what_the_caller_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path, np.zeros((90, 4, 4), np.uint16))
    write_series(tmp_path, np.zeros((60, 4, 4), np.uint16), prefix="B_")
    (tmp_path / "empty").touch()
    expected = scan_folder(tmp_path, num_workers=1)
    for name in ("START_SEC", "WORTH_STARTING_SEC", "WORTH_ASKING_SEC"):
        monkeypatch.setattr(helpers, name, 0.0)
    monkeypatch.setattr(index, "_FILES_PER_PARCEL", 4)
    for _ in range(2):  # helpers that start meanwhile, then helpers that are there
        assert scan_folder(tmp_path, num_workers=2) == expected
        while helpers._idle and not all(helper.has_started() for helper in helpers._idle):
            time.sleep(0.05)
    helpers._end_all()
