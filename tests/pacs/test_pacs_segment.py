"""The command line from the archive and back, with an untrained model and a real Orthanc."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantoms import BIRTH_DATE, PATIENT_ID, PATIENT_NAME, stored_values, write_series
from faulty_proxy import Fault, FaultyProxy
from orthanc_server import PASSWORD, USER, Orthanc
from typer.testing import Result

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.segment.pacs_studies import check_uid

pytestmark = pytest.mark.pacs

STUDY, OTHER_STUDY = "1.2.3.4.5", "1.2.3.4.50"
CT = "1.2.3.4.5.61"
TOKEN = "tOp-SECRET-0815"


def record_of(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def test_a_study_is_segmented_as_it_is_in_a_folder(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    assert run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--no-store").exit_code == 0
    assert run(str(study), out="out_folder").exit_code == 0
    remote, local = tmp_path / "out" / STUDY, tmp_path / "out_folder" / "ct"
    np.testing.assert_array_equal(nib.load(remote / "mask.nii.gz").dataobj, nib.load(local / "mask.nii.gz").dataobj)
    np.testing.assert_array_equal(nib.load(remote / "mask.nii.gz").affine, nib.load(local / "mask.nii.gz").affine)
    assert record_of(remote)["source"] == record_of(local)["source"]
    assert record_of(remote)["identity"]["input_sha256"] == record_of(local)["identity"]["input_sha256"]
    assert "stored" not in record_of(remote)


def test_a_series_is_a_case_of_its_own(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--series", CT, "--no-store")
    assert result.exit_code == 0, result.output
    assert record_of(tmp_path / "out" / CT)["source"]["series_uid"] == CT


def test_studies_that_fail_do_not_stop_the_others(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    gap = write_series(tmp_path / "gap", stored_values(5, 20, 17), StudyInstanceUID=OTHER_STUDY)
    orthanc.upload([*gap[:1], *gap[2:]])
    studies = [word for uid in ("9.9.9", OTHER_STUDY, STUDY) for word in ("--study", uid)]
    result = run("--dicomweb", orthanc.dicomweb, *studies, "--no-store")
    assert result.exit_code == 1
    assert "1 of 3 cases done" in result.output
    assert "knows no study 9.9.9" in record_of(tmp_path / "out" / "9.9.9")["error"]
    assert record_of(tmp_path / "out" / OTHER_STUDY)["kind"] == "DicomGeometryError"
    assert record_of(tmp_path / "out" / STUDY)["status"] == "done"


def test_resume_goes_by_what_the_archive_holds(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    words = ("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--no-store", "--resume")
    assert "earlier run" not in run(*words).output
    assert "1 of 1 case done (1 of them by an earlier run)" in run(*words).output
    orthanc.clear()
    orthanc.upload(write_series(tmp_path / "again", stored_values(4, 20, 17, seed=1), series_uid=CT))
    assert "earlier run" not in run(*words).output


def test_an_archive_that_is_down_leaves_earlier_results_alone(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--no-store")
    before = {path: path.read_bytes() for path in (tmp_path / "out" / STUDY).iterdir()}
    result = run("--dicomweb", "http://127.0.0.1:9/dicom-web", "--study", STUDY, "--no-store", "--resume")
    assert result.exit_code == 1
    assert "the connection to 127.0.0.1, asked to list the series of a study, failed" in result.output
    assert {path: path.read_bytes() for path in (tmp_path / "out" / STUDY).iterdir()} == before


def test_wrong_credentials_are_said_and_not_shown(
    orthanc: Orthanc, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MONAI_VGGUNET_DICOMWEB_PASSWORD", TOKEN)
    result = run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--no-store")
    assert result.exit_code == 1
    assert "refused access (401 Unauthorized)" in result.output
    assert TOKEN not in caplog.text


def test_a_token_from_the_environment_opens_the_archive(
    orthanc: Orthanc, study: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(f"MONAI_VGGUNET_DICOMWEB_{name}")
    monkeypatch.setenv("MONAI_VGGUNET_DICOMWEB_TOKEN", TOKEN)
    with FaultyProxy(orthanc.root, USER, PASSWORD, token=TOKEN) as proxy:
        assert run("--dicomweb", proxy.dicomweb, "--study", STUDY, "--no-store").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--study", STUDY),
        ("--dicomweb", "http://127.0.0.1:9"),
        ("folder", "--dicomweb", "http://127.0.0.1:9", "--study", STUDY),
        ("folder", "--study", STUDY),
        ("--dicomweb", "http://127.0.0.1:9", "--study", STUDY, "--no-store", "--store", "a:1:B"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(words: tuple[str, ...], run: Callable[..., Result]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("uid", ["../../etc", "..", ".", "", "1/2", "1" * 65, "1.2 3", "x"])
def test_what_is_no_uid_does_not_become_a_folder_or_a_url(uid: str) -> None:
    with pytest.raises(ConfigurationError, match="is no DICOM UID"):
        check_uid(uid)


def test_one_series_of_several_studies_is_refused(orthanc: Orthanc, run: Callable[..., Result]) -> None:
    result = run("--dicomweb", orthanc.dicomweb, "--study", STUDY, "--study", OTHER_STUDY, "--series", CT)
    assert "lies in one study" in str(result.exception)


# A shell may have started the tests with Ctrl-C ignored.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from monai_vggunet.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_no_image_behind(
    orthanc: Orthanc, proxy: FaultyProxy, study: Path, model: Path, tmp_path: Path, number: int
) -> None:
    """Stopped while one series lies on the disk and the archive is silent about the next."""
    silent = f"/series/{CT}.99"
    orthanc.upload(write_series(tmp_path / "second", series_uid=f"{CT}.99"))
    proxy.faults = [Fault(where=silent, silence=True)]
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    words = ["segment", "-o", str(out), "--model", str(model), "--dicomweb", proxy.dicomweb, "--study", STUDY]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words, "--no-store"],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + 120
    while not any(path.endswith(silent) for _, path in proxy.seen):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)
    (downloaded,) = temporary.iterdir()
    assert stat.S_IMODE(downloaded.stat().st_mode) == 0o700
    assert any(file.is_file() for file in downloaded.rglob("*"))
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert not list(temporary.iterdir())
    assert {file.name for file in out.rglob("*") if file.is_file()} <= {"names.json"}
    for secret in (PATIENT_NAME, PATIENT_ID, BIRTH_DATE, "Traceback"):
        assert secret not in said
