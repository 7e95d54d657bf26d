"""The command `monai-vggunet`: inspect a folder of DICOM series, segment a folder or an archive, report, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monai_vggunet import privacy
from monai_vggunet._version import __version__
from monai_vggunet.cli.endings import SOME_FAILED, first_line, run_to_its_end, start_logging
from monai_vggunet.cli.survey_table import print_survey, survey_as_json
from monai_vggunet.layout import MODEL, MODELS, require_output_apart
from monai_vggunet.privacy import keep_names, know_input, protect_output, shown_case, tell

__all__ = ["main"]

app = typer.Typer(
    help="Segment DICOM series and NIfTI volumes with a VGG16-U-Net. Not for clinical use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_MODEL = Path(MODELS, MODEL)
INPUTS_HELP = "DICOM folders, folders of studies, a DICOMDIR, NIfTI files or pictures"
OUTPUT_HELP = (
    "any of nifti, nifti_per_class, dicom_seg, rtstruct; by default nifti, and dicom_seg where results are stored"
)
STORE_HELP = (
    "also store the DICOM SEG at HOST:PORT:AET or a DICOMweb URL; replaces storing it in the service of --dicomweb"
)
PLAIN_HELP = "send credentials to another machine unencrypted"
SERIES_HELP, DESCRIPTION_HELP = "SeriesNumber or SeriesInstanceUID", "SeriesDescription, or a part of it"
MODALITY_HELP = "Modality, such as CT"
PHI_HELP = "show what can name a patient: names of files and folders, free text of headers"

# Groups of options in --help.
WHICH, HOW, RESULTS, PACS = "Which series", "How it is computed", "Results", "From and to the PACS"

ShowPhi = Annotated[bool, typer.Option("--show-phi", help=PHI_HELP)]


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="folder with DICOM files at any depth, or a DICOMDIR or a file")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP)] = None,
    description: Annotated[str | None, typer.Option(help=DESCRIPTION_HELP)] = None,
    modality: Annotated[str | None, typer.Option(help=MODALITY_HELP)] = None,
    stack: Annotated[int | None, typer.Option(help="number of the stack within the series, from 0", min=0)] = None,
    show_phi: Annotated[bool, typer.Option("--show-phi", help=f"{PHI_HELP}, the patient's identifiers")] = False,
) -> None:
    """List the series in a folder, which one would be segmented, and what is wrong with the others."""
    from monai_vggunet.dicom.survey import survey  # needs pydicom alone, so that it starts at once

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
    output: Annotated[Path, typer.Option("--output-dir", "-o", help="folder of the results", rich_help_panel=RESULTS)],
    inputs: Annotated[list[Path] | None, typer.Argument(help=INPUTS_HELP)] = None,
    model: Annotated[
        Path, typer.Option(help="model.pt with its model.json beside it", rich_help_panel=HOW)
    ] = DEFAULT_MODEL,
    engine: Annotated[str, typer.Option(help="auto, torch, openvino or onnx", rich_help_panel=HOW)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8", rich_help_panel=HOW)] = "auto",
    kinds: Annotated[str, typer.Option("--output", help=OUTPUT_HELP, show_default=False, rich_help_panel=RESULTS)] = "",
    seg_type: Annotated[
        str, typer.Option(help="of dicom_seg: binary, labelmap or fractional", rich_help_panel=RESULTS)
    ] = "binary",
    tta: Annotated[str, typer.Option(help="test-time views: none, flip, scale or full", rich_help_panel=HOW)] = "none",
    scales: Annotated[str, typer.Option(help="zoom factors of scale and full", rich_help_panel=HOW)] = "0.5,1.0,1.5",
    resume: Annotated[
        bool, typer.Option("--resume", help="skip cases whose whole result is there", rich_help_panel=RESULTS)
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="slices computed at once; by default by size and memory", rich_help_panel=HOW)
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=HOW)] = None,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP, rich_help_panel=WHICH)] = None,
    description: Annotated[str | None, typer.Option(help=DESCRIPTION_HELP, rich_help_panel=WHICH)] = None,
    modality: Annotated[str | None, typer.Option(help=MODALITY_HELP, rich_help_panel=WHICH)] = None,
    stack: Annotated[
        int | None,
        typer.Option(help="number of the stack within the series, see inspect", min=0, rich_help_panel=WHICH),
    ] = None,
    on_gap: Annotated[
        str, typer.Option(help="missing slices: error, resample or keep", rich_help_panel=WHICH)
    ] = "error",
    on_tilt: Annotated[
        str, typer.Option(help="tilted gantry: keep, resample or error", rich_help_panel=WHICH)
    ] = "keep",
    reslice: Annotated[
        bool, typer.Option(help="segment a series of another plane across its slices", rich_help_panel=HOW)
    ] = False,
    dicomweb: Annotated[
        str, typer.Option(help="URL of the DICOMweb service to read studies from", rich_help_panel=PACS)
    ] = "",
    study: Annotated[
        list[str] | None, typer.Option(help="StudyInstanceUID; may be repeated", rich_help_panel=PACS)
    ] = None,
    store: Annotated[list[str] | None, typer.Option(help=STORE_HELP, rich_help_panel=PACS)] = None,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="store nothing in the PACS", rich_help_panel=PACS)
    ] = False,
    calling_aet: Annotated[str, typer.Option(help="our AE title for C-STORE", rich_help_panel=PACS)] = "MONAI_VGGUNET",
    pacs_timeout: Annotated[
        float, typer.Option(help="longest silence of a PACS, in seconds", min=0.1, rich_help_panel=PACS)
    ] = 60.0,
    allow_plain_http: Annotated[
        bool, typer.Option("--allow-plain-http", help=PLAIN_HELP, rich_help_panel=PACS)
    ] = False,
    pages: Annotated[
        bool,
        typer.Option("--report", help="also write report.html and sheet.png, and index.html", rich_help_panel=RESULTS),
    ] = False,
    show_phi: ShowPhi = False,
) -> None:
    """Write a mask on each series' own grid, and a record, under OUTPUT/<case>/."""
    start_logging(show_phi)
    for path in inputs or []:
        know_input(path)
    try:
        factors = [float(part) for part in scales.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--scales {scales}: expected numbers such as 0.5,1.0,1.5") from None
    if bool(inputs) == bool(dicomweb) or bool(dicomweb) != bool(study):
        raise typer.BadParameter("expected either folders or files, or --dicomweb URL with --study UID")
    if no_store and store:
        raise typer.BadParameter("--no-store and --store contradict each other: pass one of them")
    require_output_apart(inputs or [], output)
    from monai_vggunet.pacs import open_pacs

    pacs = open_pacs(dicomweb, [] if no_store else store, calling_aet, pacs_timeout, allow_plain_http)
    names = [name.strip() for name in kinds.split(",")] if kinds else ["nifti"] + ["dicom_seg"] * bool(pacs.delivery)
    if pacs.delivery and "dicom_seg" not in names:
        raise typer.BadParameter(f"--output {kinds}: dicom_seg is what is stored; add it, or pass --no-store")
    if pages and "nifti" not in names:
        raise typer.BadParameter(f"--output {kinds}: --report shows mask.nii.gz; add nifti, or leave out --report")
    from monai_vggunet.cli.segmenting import Wanted, segment_and_tell  # torch takes seconds to import

    chosen: dict[str, Any] = {"series_uid": series, "description": description, "modality": modality, "stack": stack}
    reader = {**chosen, "on_gap": on_gap, "on_tilt": on_tilt}
    network: dict[str, Any] = {"engine": engine, "precision": precision, "tta": tta, "scales": factors}
    network |= {"batch_size": batch_size, "reslice": reslice, "device": device}
    wanted = Wanted(output, names, seg_type, resume, pages, model, network, reader)
    if not segment_and_tell(wanted, inputs or [], pacs, study or []):
        raise typer.Exit(SOME_FAILED)


@app.command()
def report(
    results: Annotated[
        list[Path] | None, typer.Argument(help="results of a study, a folder of such results, or a training run")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="what was segmented, or the data set that was judged; may be repeated")
    ] = None,
    max_mb: Annotated[float, typer.Option(help="an image that takes more megabytes is shown at fewer voxels")] = 30.0,
    fetch_viewer: Annotated[bool, typer.Option("--fetch-viewer", help="fetch NiiVue through npm, once")] = False,
    viewer: Annotated[Path | None, typer.Option(help="the npm package of NiiVue as a file, without a network")] = None,
    show_phi: ShowPhi = False,
) -> None:
    """Write report.html for studies and training runs: pages that open anywhere and need no network."""
    start_logging(show_phi)
    if not results and not fetch_viewer and viewer is None:
        raise typer.BadParameter("nothing to report on: name a folder of results or of a training run")
    if fetch_viewer or viewer is not None:
        from monai_vggunet.report.pages.niivue import fetch_niivue

        tell(f"viewer: {fetch_niivue(viewer)}")
    if not results:
        return
    from monai_vggunet.report.report import report as report_all

    pages = report_all(results, images or (), max_mb)
    for page in pages:
        if page.error:
            tell(f"no report: {shown_case(page.name)}: {first_line(page.error)}")
        else:
            tell(f"report: {page.page}")
    if any(page.error for page in pages):
        raise typer.Exit(SOME_FAILED)


@app.command()
def export(
    model: Annotated[Path, typer.Option(help="model.pt with its model.json beside it")] = DEFAULT_MODEL,
    data: Annotated[
        Path | None, typer.Option(help="cases to compare on; by default the validation cases of the training run")
    ] = None,
    formats: Annotated[
        str, typer.Option(help="formats, separated by commas")
    ] = "torchscript,torch_export,onnx,openvino",
    show_phi: ShowPhi = False,
) -> None:
    """Export a model into other programs' formats, beside it; each is compared with the network on your own slices."""
    start_logging(show_phi)
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
    """Run the command line; see `run_to_its_end` for how it ends."""
    run_to_its_end(app)
