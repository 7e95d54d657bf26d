"""The command `monai-vggunet`: look at a folder of DICOM series, segment a folder or an archive."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monai_vggunet import privacy
from monai_vggunet._version import __version__
from monai_vggunet.errors import OutputWriteError, VGGUNetError
from monai_vggunet.layout import require_output_apart
from monai_vggunet.names import ReadableFormatter, readable, readable_lines
from monai_vggunet.privacy import (
    NAMES,
    keep_names,
    know_input,
    protect_output,
    redact,
    shown_case,
    shows_phi,
    tell,
)
from monai_vggunet.stopping import Stopped, end_now, stop_on_signals, told_to_stop
from monai_vggunet.survey_table import print_survey, survey_as_json

__all__ = ["main"]

USAGE_ERROR, SOME_FAILED = 2, 1  # exit statuses
CHATTERERS = {  # tell of every reader passed over, every module copied, every UID that goes over the net
    "LoadImage": logging.WARNING,
    "highdicom": logging.WARNING,
    "dicomweb_client": logging.ERROR,
    "urllib3": logging.ERROR,
    "pynetdicom": logging.CRITICAL,  # what fails we say ourselves
}

app = typer.Typer(
    help="Segment DICOM series and NIfTI volumes with a VGG16-U-Net. Not for clinical use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


OUTPUT_HELP = "of nifti, nifti_per_class, dicom_seg, rtstruct; nifti, and dicom_seg where that is stored, if not given"
STORE_HELP = "also store DICOM SEG: HOST:PORT:AET or a DICOMweb URL; with --dicomweb: instead of storing it back there"
PLAIN_HELP = "send credentials to another machine unencrypted"
SERIES_HELP, DESCRIPTION_HELP = "SeriesInstanceUID", "SeriesDescription, or a part of it"
PHI_HELP = "show what can name a patient: names of files and folders, free text of headers"

ShowPhi = Annotated[bool, typer.Option("--show-phi", help=PHI_HELP)]


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="folder with DICOM files, nested as it likes, or a DICOMDIR")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP)] = None,
    description: Annotated[str | None, typer.Option(help=DESCRIPTION_HELP)] = None,
    modality: Annotated[str | None, typer.Option(help="Modality, as CT")] = None,
    stack: Annotated[int | None, typer.Option(help="which stack of the series, from 0")] = None,
    show_phi: Annotated[bool, typer.Option("--show-phi", help=f"{PHI_HELP}, the patient's own")] = False,
) -> None:
    """Say which series lie in a folder, which one would be segmented, and what is wrong with the others."""
    from monai_vggunet.dicom.survey import survey  # pydicom alone: starts at once

    if show_phi:
        privacy.show_phi()
    know_input(folder)
    choice = {"series_uid": series, "description": description, "modality": modality, "stack": stack}
    cases = survey(folder, choice, show_phi)
    if as_json:
        print(json.dumps(survey_as_json(cases), indent=2))
    else:
        print_survey(cases, Console())


@app.command()
def segment(
    output: Annotated[Path, typer.Option("--output-dir", "-o", help="folder of the results")],
    inputs: Annotated[list[Path] | None, typer.Argument(help="DICOM folder, folder of studies, or NIfTI file")] = None,
    model: Annotated[Path, typer.Option(help="model.pt with its model.json beside it")] = Path("models/model.pt"),
    engine: Annotated[str, typer.Option(help="auto, torch, openvino or onnx")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8")] = "auto",
    kinds: Annotated[str, typer.Option("--output", help=OUTPUT_HELP, show_default=False)] = "",
    seg_type: Annotated[str, typer.Option(help="of dicom_seg: binary, labelmap or fractional")] = "binary",
    tta: Annotated[str, typer.Option(help="test-time views: none, flip, scale or full")] = "none",
    scales: Annotated[str, typer.Option(help="zoom factors of scale and full")] = "0.5,1.0,1.5",
    resume: Annotated[bool, typer.Option("--resume", help="skip cases whose whole result is there")] = False,
    batch_size: Annotated[int | None, typer.Option(help="slices at once; by size and memory if not given")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP)] = None,
    description: Annotated[str | None, typer.Option(help=DESCRIPTION_HELP)] = None,
    modality: Annotated[str | None, typer.Option(help="Modality, as CT")] = None,
    stack: Annotated[int | None, typer.Option(help="which stack of the series, from 0, as inspect lists them")] = None,
    on_gap: Annotated[str, typer.Option(help="missing slices: error, resample or keep")] = "error",
    on_tilt: Annotated[str, typer.Option(help="tilted gantry: keep, resample or error")] = "keep",
    reslice: Annotated[bool, typer.Option(help="segment a series of another plane across its slices")] = False,
    dicomweb: Annotated[str, typer.Option(help="URL of the DICOMweb service to read studies from")] = "",
    study: Annotated[list[str] | None, typer.Option(help="StudyInstanceUID; may be repeated")] = None,
    store: Annotated[list[str] | None, typer.Option(help=STORE_HELP)] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="store nothing into the PACS")] = False,
    calling_aet: Annotated[str, typer.Option(help="our title for C-STORE")] = "MONAI_VGGUNET",
    pacs_timeout: Annotated[float, typer.Option(help="longest silence of a PACS, seconds", min=0.1)] = 60.0,
    allow_plain_http: Annotated[bool, typer.Option("--allow-plain-http", help=PLAIN_HELP)] = False,
    pages: Annotated[
        bool, typer.Option("--report", help="also write report.html and sheet.png, and index.html")
    ] = False,
    show_phi: ShowPhi = False,
) -> None:
    """Write a mask on each series' own grid, and a record, under OUTPUT/<case>/."""
    _start_logging(show_phi)
    for path in inputs or []:
        know_input(path)
    try:
        factors = [float(part) for part in scales.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--scales {scales}: expected numbers such as 0.5,1.0,1.5") from None
    if bool(inputs) == bool(dicomweb) or bool(dicomweb) != bool(study):
        raise typer.BadParameter("expected folders or files, or --dicomweb URL with --study UID")
    if no_store and store:
        raise typer.BadParameter("--no-store and --store contradict each other")
    require_output_apart(inputs or [], output)
    from monai_vggunet.pacs import open_pacs

    pacs = open_pacs(dicomweb, [] if no_store else store, calling_aet, pacs_timeout, allow_plain_http)
    names = [name.strip() for name in kinds.split(",")] if kinds else ["nifti"] + ["dicom_seg"] * bool(pacs.delivery)
    if pacs.delivery and "dicom_seg" not in names:
        raise typer.BadParameter(f"--output {kinds}: what is stored is dicom_seg; add it, or pass --no-store")
    if pages and "nifti" not in names:
        raise typer.BadParameter(f"--output {kinds}: --report shows mask.nii.gz; add nifti")
    rank, n_ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # under torchrun
    import torch  # takes seconds to import: not before it is needed

    from monai_vggunet.inference import own_device
    from monai_vggunet.outputs import CaseOutputs
    from monai_vggunet.report import StudyReporter, write_index
    from monai_vggunet.segment import Segmenter, gather_results
    from monai_vggunet.segment import segment as segment_all
    from monai_vggunet.segment_studies import segment_studies

    asked: dict[str, Any] = {"series_uid": series, "description": description, "modality": modality, "stack": stack}
    asked |= {"on_gap": on_gap, "on_tilt": on_tilt}
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True  # the slices of a study are of one size
    options: dict[str, Any] = {"tta": tta, "scales": factors, "batch_size": batch_size, "reslice": reslice}
    options |= {"engine": engine, "precision": precision}
    if device is None and n_ranks > 1:
        device = own_device()
    outputs = CaseOutputs(names, seg_type)
    options["probabilities"] = outputs.need_probabilities
    segmenter = Segmenter(model, device, reader_options=asked, **options)
    reporter = StudyReporter(asked) if pages else None
    wanted: dict[str, Any] = {"resume": resume, "outputs": outputs, "after_case": pacs.delivery, "report": reporter}
    with told_to_stop(pacs.stop):
        if pacs.server is None:
            results = segment_all(inputs or [], output, segmenter, rank=rank, n_ranks=n_ranks, **wanted)
        else:
            mine = (study or [])[rank::n_ranks]
            results = segment_studies(pacs.server, mine, output, segmenter, series, modality, **wanted)
    without_page = reporter.failures if reporter else {}
    results = gather_results(results, n_ranks)
    failed = [result for result in results if result.error]
    skipped = sum(result.skipped and not result.error for result in results)
    before = f" ({skipped} of them before)" if skipped else ""
    if rank > 0:  # the first process tells for all
        raise typer.Exit(SOME_FAILED if failed or without_page else 0)
    tell(f"{len(results) - len(failed)} of {len(results)} cases done{before}, masks under {output}")
    for result in failed:
        tell(f"failed: {shown_case(result.case)}: {_first_line(result.error)}")
    if reporter is not None:
        try:
            tell(f"report: {write_index(output)}")
        except VGGUNetError as error:
            without_page = {**without_page, "index.html": str(error)}
    for name, text in without_page.items():
        tell(f"no report: {name if name == 'index.html' else shown_case(name)}: {_first_line(text)}")
    if (failed or without_page) and not shows_phi():
        tell(f"{output / NAMES} says which cases these are; --show-phi shows names")
    if failed or without_page:
        raise typer.Exit(SOME_FAILED)


@app.command()
def report(
    results: Annotated[
        list[Path] | None, typer.Argument(help="a study's results, a folder of them, or a training run")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="what was segmented, or the data set that was judged; may be repeated")
    ] = None,
    max_mb: Annotated[float, typer.Option(help="an image that takes more is shown at fewer voxels")] = 30.0,
    fetch_viewer: Annotated[bool, typer.Option("--fetch-viewer", help="bring NiiVue through npm, once")] = False,
    viewer: Annotated[Path | None, typer.Option(help="the npm package of NiiVue, brought by hand")] = None,
    show_phi: ShowPhi = False,
) -> None:
    """Write report.html for studies and training runs: pages that open anywhere and ask the network for nothing."""
    _start_logging(show_phi)
    if not results and not fetch_viewer and viewer is None:
        raise typer.BadParameter("nothing to report: name a folder of results or of a training run")
    if fetch_viewer or viewer is not None:
        from monai_vggunet.outputs.niivue import fetch_niivue

        tell(f"viewer: {fetch_niivue(viewer)}")
    if not results:
        return
    from monai_vggunet.report import report as report_all

    pages = report_all(results, images or (), max_mb)
    for page in pages:
        if page.error:
            tell(f"no report: {shown_case(page.name)}: {_first_line(page.error)}")
        else:
            tell(f"report: {page.page}")
    if any(page.error for page in pages):
        raise typer.Exit(SOME_FAILED)


@app.command()
def export(
    model: Annotated[Path, typer.Option(help="model.pt with its model.json beside it")] = Path("models/model.pt"),
    data: Annotated[
        Path | None, typer.Option(help="cases to compare on; by default the validation cases of the training run")
    ] = None,
    formats: Annotated[str, typer.Option(help="which")] = "torchscript,torch_export,onnx,openvino",
    show_phi: ShowPhi = False,
) -> None:
    """Write a model in other programs' formats beside it; each is compared with the network on your own slices."""
    _start_logging(show_phi)
    keep_names(model.parent)
    from monai_vggunet.export import cases_to_check, export_model

    done = export_model(model, cases_to_check(model, data), formats.split(","))
    for kind, figures in done.items():
        tell(f"{figures['file']:16s} {kind:14s} {figures['bytes'] / 1e6:8.1f} MB")


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    protect_output()
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a refusal is one message and exit status 2, not a traceback.

    What cannot be written, be it a result or a line on the screen, is exit status 1. A signal ends the process within
    seconds, with its own status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal of another time lacks letters, which must stop nothing
            stream.reconfigure(errors="backslashreplace")
    with stop_on_signals():
        try:
            status = _status_of_command()
        except Stopped as stopped:
            end_now(stopped.status)  # without waiting for threads, which may wait themselves
    raise SystemExit(status)


def _status_of_command() -> int:
    try:
        try:
            app()
        except SystemExit as ending:  # how typer ends
            if isinstance(ending, Stopped):
                raise
            sys.stdout.flush()
            return ending.code if isinstance(ending.code, int) else int(bool(ending.code))
        sys.stdout.flush()
        return 0
    except OutputWriteError as error:
        return _refused(str(error), SOME_FAILED)
    except VGGUNetError as error:
        return _refused(str(error), USAGE_ERROR)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.filename is not None:
            return _refused(f"{error.filename}: {reason}", SOME_FAILED)
        with suppress(OSError):  # standard output: a full disk, a reader who has left; its buffer is given up
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _refused(f"the output cannot be written: {reason}", SOME_FAILED)


def _refused(text: str, status: int) -> int:
    with suppress(OSError):
        message = f"monai-vggunet: {readable_lines(redact(text))}"
        Console(stderr=True).print(message, style="red", highlight=False, markup=False)
    return status


def _start_logging(show_phi: bool = False) -> None:
    """Log to the terminal; names are shown if this command, or the environment, asks for them."""
    if show_phi:
        privacy.show_phi()
    handler = logging.StreamHandler()
    handler.setFormatter(ReadableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name, level in CHATTERERS.items():
        logging.getLogger(name).setLevel(level)


def _first_line(text: str) -> str:
    return readable(next(iter(text.splitlines()), ""))
