"""`monai-vggunet report` and `segment --report`: what is found, what is refused, and that nothing is lost."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bombs import nifti_bomb
from dicom_phantoms import PATIENT_ID, PATIENT_NAME, oblique, write_series
from phantoms import affine_of, ct_array, label_array, write_nifti
from PIL import Image
from report_phantoms import write_result
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from monai_vggunet.cli.main import app
from monai_vggunet.data import Datalist, ModelSpec, Preprocessing
from monai_vggunet.errors import ConfigurationError, DatasetError
from monai_vggunet.outputs import content_digest
from monai_vggunet.privacy import shown_case
from monai_vggunet.report.report import report
from monai_vggunet.training import Evaluation, History

ALONE = "The mask is shown alone"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, (SystemExit, DatasetError)), done.exception
    return done.exit_code, done.output


def test_segmenting_with_report_leaves_pages_and_an_index(model: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    write_series(archive / "patient_a" / "ct", orientation=oblique())
    write_series(archive / "patient_b" / "ct", series_uid="1.2.3.4")[1].unlink()
    words = ("segment", archive, "-o", out, "--model", model, "--device", "cpu", "--report")
    status, printed = run(*words)
    assert status == 1, "one study lacks a slice"
    assert f"report: {out / 'index.html'}" in printed
    page = out / "patient_a_ct" / "report.html"
    text = page.read_text()
    assert ALONE not in text
    assert (out / "patient_a_ct" / "sheet.png").is_file()
    assert "was not segmented" in (out / "patient_b_ct" / "report.html").read_text()
    index = (out / "index.html").read_text()
    bad, good = shown_case("patient_b_ct"), shown_case("patient_a_ct")
    assert index.index(f'href="reports/{bad}.html"') < index.index(f'href="reports/{good}.html"')
    assert (out / "reports" / f"{good}.html").samefile(page)
    assert (out / "reports" / f"{good}.png").samefile(page.with_name("sheet.png"))
    for file in out.rglob("*.html"):
        for secret in (PATIENT_NAME, PATIENT_ID, str(tmp_path)):
            assert secret not in file.read_text()
    written = page.stat().st_mtime_ns
    run(*words, "--resume")
    assert page.stat().st_mtime_ns == written, "a page newer than its record stays"
    page.unlink()
    run(*words, "--resume")
    assert page.is_file(), "a study that was done before gets its page"

    run(*words[:-1])
    assert not page.exists(), "a page of an earlier result does not pass for this one's"
    assert not (out / "patient_b_ct" / "report.html").exists()

    moved = tmp_path / "moved"
    shutil.move(archive / "patient_a" / "ct", moved / "somewhere")
    (moved / "somewhere" / "notes.txt").write_text("beside the series")
    assert run("report", out / "patient_a_ct", "--images", moved) == (0, f"report: {page}\n")
    assert ALONE not in page.read_text(), "found by its series, under another name"


def test_pages_without_the_mask_they_show_are_refused(model: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    words = ("segment", tmp_path / "ct", "-o", tmp_path / "out", "--model", model, "--output", "dicom_seg", "--report")
    status, printed = run(*words)
    assert status == 2
    assert "add nifti" in printed


def test_a_page_that_cannot_be_written_is_told_and_the_mask_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "ct")

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("monai_vggunet.report.report.write_study_report", full)
    status, printed = run("segment", tmp_path / "ct", "-o", tmp_path / "out", "--model", model, "--report")
    assert status == 1
    assert "1 of 1 case done" in printed
    assert f"no report: {shown_case('ct')}: the page could not be made: MemoryError" in printed
    assert json.loads((tmp_path / "out" / "ct" / "record.json").read_text())["status"] == "done"


def nifti_result(tmp_path: Path, **changes: object) -> tuple[Path, Path]:
    """A result and the NIfTI image it came from."""
    image = write_nifti(tmp_path / "images" / "case_1.nii.gz", ct_array(label_array()), affine_of())
    identity = {"input_sha256": content_digest(image), "settings": {"reader": {}}}
    source = {"modality": "CT", "series_uid": "", "shape": [20, 16, 6], "spacing_mm": [1, 1, 3]}
    folder = tmp_path / "out" / "case_1"
    write_result(folder, label_array(), affine_of(), identity=identity, source=source, **changes)
    return folder, image


def test_an_image_is_found_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    folder, image = nifti_result(tmp_path)
    write_nifti(tmp_path / "images" / "case_0.nii.gz", ct_array(label_array(), seed=1), affine_of())
    image.rename(image.with_name("renamed.nii.gz"))
    (result,) = report([folder], [tmp_path / "images"])
    assert not result.error
    assert ALONE not in result.page.read_text()


def test_without_its_image_the_mask_is_shown_alone(tmp_path: Path) -> None:
    folder, image = nifti_result(tmp_path)
    (result,) = report([folder])
    assert ALONE in result.page.read_text()
    write_nifti(image, ct_array(label_array(), seed=1), affine_of())  # of the same name, with other content
    (result,) = report([folder], [tmp_path / "images"])
    assert ALONE in result.page.read_text()


def test_an_image_of_another_grid_is_refused_and_the_other_studies_are_reported(tmp_path: Path) -> None:
    folder, _ = nifti_result(tmp_path)
    moved = affine_of()
    moved[0, 3] += 2.0
    nib.save(nib.Nifti1Image(label_array(), moved), folder / "mask.nii.gz")
    write_result(tmp_path / "out" / "case_2")
    status, printed = run("report", tmp_path / "out", "--images", tmp_path / "images")
    assert status == 1
    assert re.search(
        rf"no report: {shown_case('case_1')}: the image .* another affine\) does not lie on the mask's grid", printed
    )
    assert f"report: {tmp_path / 'out' / 'case_2' / 'report.html'}" in printed
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_mask_that_was_changed_is_told(tmp_path: Path) -> None:
    folder, _ = nifti_result(tmp_path)
    labels = label_array()
    labels[:3] = 0
    nib.save(nib.Nifti1Image(labels, affine_of()), folder / "mask.nii.gz")
    report([folder])
    assert "its checksum is not the record" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"damaged", "is damaged: segment the study again"), (None, "is missing: segment the study again, with nifti")],
)
def test_a_damaged_or_missing_mask_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    folder, _ = nifti_result(tmp_path)
    (folder / "mask.nii.gz").unlink()
    if content is not None:
        (folder / "mask.nii.gz").write_bytes(content)
    (result,) = report([folder])
    assert message in result.error
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("content", ["{", "[]", "\xff\xfe"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    folder, _ = nifti_result(tmp_path)
    (folder / "record.json").write_text(content, encoding="latin-1")
    (result,) = report([folder])
    assert "is not a record as `monai-vggunet segment` writes it" in result.error


def test_a_folder_without_record_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    folder, _ = nifti_result(tmp_path)
    (folder / "record.json").unlink()
    with pytest.raises(DatasetError, match=r"a mask lies there, but no record\.json.*expected a folder"):
        report([folder])
    with pytest.raises(DatasetError, match="holds nothing to report on: expected"):
        report([tmp_path / "images"])


@pytest.mark.parametrize("limit_mb", [0, -1, float("nan")])
def test_a_limit_that_makes_no_sense_is_refused(tmp_path: Path, limit_mb: float) -> None:
    with pytest.raises(ConfigurationError, match="expected more than 0"):
        report([tmp_path], limit_mb=limit_mb)


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = nifti_result(tmp_path)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("monai_vggunet.atomic_files.tempfile.mkstemp", denied)  # root may write everywhere
    (result,) = report([folder])
    assert re.match(r"cannot write .*sheet\.png: Permission denied; nothing was left", result.error)


def test_a_picture_gets_a_page(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (16, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "cells.png")
    labels = np.zeros((24, 16), np.uint8)
    labels[:5, :5] = 1
    identity = {"input_sha256": content_digest(tmp_path / "images" / "cells.png"), "settings": {"reader": {}}}
    write_result(tmp_path / "out" / "cells", labels, np.eye(4), identity=identity, source={"shape": [24, 16, 1]})
    (result,) = report([tmp_path / "out" / "cells"], [tmp_path / "images"])
    text = result.page.read_text()
    assert not result.error
    assert "shows this color picture in gray" in text
    assert ALONE not in text


def training_run(root: Path, judged: bool = True) -> Path:
    """A run of two epochs, three judged cases, their data set under `data`; one mask was not saved."""
    rows = [
        {"epoch": n, "loss": 1 / n, "seconds": 9.0 * n, "learning_rates": [1e-4 / n] * 2 + [1e-3 / n]}
        for n in (1, 2, 3)
    ]
    rows[-1] |= {"val_mean_dice": 0.75, "val_mean_dice_per_class": [0.5, None]}
    History(rows).write(root / "models" / "history.json")
    prepared = Preprocessing("CT", "axial", (1.0, 1.0), (32, 32), ((-160.0, 240.0),))
    model = ModelSpec({"in_channels": 3, "out_channels": 3}, prepared, ["background", "liver", "<b>"])
    model.write(root / "models" / "model.json")
    for number, name in enumerate(("good", "bad", "worst")):
        label = label_array()
        write_nifti(root / "data" / "images" / f"{name}.nii.gz", ct_array(label), affine_of())
        write_nifti(root / "data" / "labels" / f"{name}.nii.gz", label, affine_of())
        label[2 : 2 + 3 * number] = 0
        if judged and name != "bad":
            write_nifti(root / "eval" / name / "mask.nii.gz", label, affine_of())
    if judged:
        dice = {"good": (1.0, None), "bad": (0.5, 0.25), "worst": (0.25, None)}
        per_case = {k: {"val_mean_dice": {"liver": v[0], "<b>": v[1]}} for k, v in dice.items()}
        Evaluation(len(per_case), {}, {}, per_case).write(root / "eval" / "metrics.json")
    return root


def test_a_training_run_has_a_page_with_the_worst_first(tmp_path: Path) -> None:
    root = training_run(tmp_path / "run")
    (result,) = report([root], [root / "data"])
    text = (root / "report.html").read_text()
    assert result.page == root / "report.html"
    assert re.findall(r"<tr><td>([\w-]+)</td>", text) == [*map(shown_case, ["worst", "bad", "good"])]
    assert re.findall(r'<img alt="([\w-]+): drawn and found"', text) == [*map(shown_case, ["worst", "good"])]
    assert f"No picture of {shown_case('bad')}: its mask was not saved." in text
    assert text.count("<svg") == 3, "loss, Dice, learning rates"
    assert "group 1–2" in text, "groups of one rate are one curve"
    assert "0.7500 in epoch 3" in text
    assert "<b>" not in text
    assert str(tmp_path) not in text


def test_figures_of_training_cases_are_called_so(tmp_path: Path) -> None:
    """In the titles of the curves, the facts, the table and under the pictures."""
    root = training_run(tmp_path / "run")
    curve = History.read(root / "models" / "history.json")
    replace(curve, n_validation=2, n_trained=2).write(root / "models" / "history.json")
    judged = Evaluation.read(root / "eval" / "metrics.json")
    replace(judged, trained=["worst"], all_trained_known=True).write(root / "eval" / "metrics.json")
    report([root], [root / "data"])
    text = (root / "report.html").read_text()
    assert "<h2>validation Dice (of training cases) by epoch</h2>" in text
    assert "<dt>best validation Dice (of training cases)</dt>" in text
    assert "Of the curves of validation: the model is trained on all of the judged cases (2)" in text
    assert "The model is trained on 1 of the 3 judged cases, or on their patients." in text
    assert re.findall(r"<tr><td>([\w-]+) <span class=\"pale\">trained", text) == [shown_case("worst")]
    assert re.findall(r"Dice ([\d.]+), trained", text) == ["0.250"]


def test_figures_of_unseen_cases_need_no_word(tmp_path: Path) -> None:
    root = training_run(tmp_path / "run")
    judged = Evaluation.read(root / "eval" / "metrics.json")
    replace(judged, all_trained_known=True).write(root / "eval" / "metrics.json")
    report([root], [root / "data"])
    assert "train" not in (root / "report.html").read_text().split("judged cases, worst first")[1].split("<dt>")[0]


def test_curves_from_before_it_was_noted_are_judged_by_the_list_of_cases(tmp_path: Path) -> None:
    root = training_run(tmp_path / "run", judged=False)
    case = {"image": "a.nii.gz", "label": "l.nii.gz", "case": "a", "patient": "a"}
    Datalist([case], [case]).write(root / "models" / "datalist.json")
    report([root])
    assert "validation Dice (of training cases)" in (root / "report.html").read_text()


def test_the_cases_are_found_by_the_list_that_the_evaluation_leaves(tmp_path: Path) -> None:
    root = training_run(tmp_path / "run")
    names = ("good", "bad", "worst")
    data = root / "data"
    paths = [{k: str(data / f"{k}s" / f"{n}.nii.gz") for k in ("image", "label")} | {"case": n} for n in names]
    (data / "labels" / "good.nii.gz").write_bytes(b"damaged")
    Datalist([], paths).write(root / "eval" / "datalist.json")
    report([root])
    text = (root / "report.html").read_text()
    assert re.findall(r'<img alt="([\w-]+): drawn and found"', text) == [shown_case("worst")]
    assert f"No picture of {shown_case('good')}: its image or label cannot be read or placed (ImageReadError)." in text
    assert str(tmp_path) not in text


def test_a_run_that_was_not_judged_has_its_curves(tmp_path: Path) -> None:
    root = training_run(tmp_path / "run", judged=False)
    report([root / "models"])
    text = (root / "models" / "report.html").read_text()
    assert "No case has been judged yet" in text
    assert "<svg" in text


def test_damaged_files_of_a_run_are_named(tmp_path: Path) -> None:
    root = training_run(tmp_path / "run")
    (root / "models" / "history.json").write_text("{}")
    (result,) = report([root])
    assert re.search(r"history\.json is not a curve as training writes it \(epochs is missing", result.error)
    (root / "eval" / "history.json").write_text("[]")
    (result,) = report([root])
    assert "holds 2 files named history.json; expected one training run" in result.error


def test_the_command_needs_something_to_report() -> None:
    status, printed = run("report")
    assert status == 2
    assert "nothing to report" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": 5}, "source is a number; expected an object"),
        ({"source": {"shape": "wide"}}, "source.shape is text; expected a list"),
        (
            {"volumes_ml": {"liver": "much"}},
            "volumes_ml is an object; .* each a number",
        ),
        ({"volumes_ml": [1]}, "volumes_ml is a list; expected an object"),
        ({"confidence": {"mean_entropy": []}}, "confidence is"),
        ({"flags": "empty"}, "flags is text; expected a list"),
        ({"files": ["mask.nii.gz"]}, "files is .*; expected an object"),
        ({"identity": 1}, "identity is a number; expected an object"),
        ({"identity": {"settings": {"reader": 1}}}, "identity.settings.reader is a number; expected an object"),
        ({"seconds": "long"}, "seconds is text; expected a number"),
        ({"error": ["x"]}, "error is a list; expected text"),
    ],
)
def test_a_record_of_another_kind_is_named_and_the_others_are_listed(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    for name in ("a", "b"):
        write_result(tmp_path / name)
    record = json.loads((tmp_path / "a" / "record.json").read_text())
    (tmp_path / "a" / "record.json").write_text(json.dumps(record | change))
    results = report([tmp_path])
    assert re.search(message, results[0].error)
    assert not results[1].error
    index = (tmp_path / "index.html").read_text()
    assert "its record.json is damaged" in index


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("models/history.json", [5], "history.json is not a curve as training writes it .epochs is a list; expected"),
        ("models/model.json", {"class_names": 5}, "model.json is not a model.json of this version"),
        ("eval/metrics.json", {"per_case": {"worst": 5}}, "metrics.json is not as an evaluation writes it"),
        ("eval/datalist.json", {"validation": [{"image": "x"}]}, "is not a list of cases .*pass --images"),
    ],
)
def test_files_of_a_run_of_another_kind_are_named(tmp_path: Path, file: str, content: object, message: str) -> None:
    root = training_run(tmp_path / "run")
    (root / file).write_text(json.dumps(content))
    (result,) = report([root])
    assert re.search(message, result.error)


def test_a_mask_that_promises_gigabytes_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_vggunet.memory.available_memory", lambda: 1 << 30)
    folder, _ = nifti_result(tmp_path)
    nifti_bomb(folder / "mask.nii.gz", (1000, 1000, 1000), 1 << 30, "uint8")
    (result,) = report([folder])
    assert re.search(r"mask\.nii\.gz is damaged: .* it needs 4\.7 GiB of memory", result.error)
