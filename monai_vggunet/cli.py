"""The command `monai-vggunet`: look at a folder of DICOM series, segment a folder or an archive."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monai_vggunet._version import __version__
from monai_vggunet.errors import VGGUNetError
from monai_vggunet.survey_table import print_survey, survey_as_json

__all__ = ["main"]

USAGE_ERROR, SOME_FAILED = 2, 1  # exit statuses

app = typer.Typer(
    help="Segment DICOM series and NIfTI volumes with a VGG16-U-Net. Not for clinical use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


SERIES_HELP, DESCRIPTION_HELP = "SeriesInstanceUID", "SeriesDescription, or a part of it"


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="folder with DICOM files, nested as it likes, or a DICOMDIR")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    series: Annotated[str | None, typer.Option(help=SERIES_HELP)] = None,
    description: Annotated[str | None, typer.Option(help=DESCRIPTION_HELP)] = None,
    modality: Annotated[str | None, typer.Option(help="Modality, as CT")] = None,
    stack: Annotated[int | None, typer.Option(help="which stack of the series, from 0")] = None,
    show_phi: Annotated[bool, typer.Option("--show-phi", help="also print patients' names and identifiers")] = False,
) -> None:
    """Say which series lie in a folder, which one would be segmented, and what is wrong with the others."""
    from monai_vggunet.dicom.survey import survey  # pydicom alone: starts at once

    choice = {"series_uid": series, "description": description, "modality": modality, "stack": stack}
    cases = survey(folder, choice, show_phi)
    if as_json:
        print(json.dumps(survey_as_json(cases), indent=2))
    else:
        print_survey(cases, Console())


@app.command()
def segment(
    inputs: Annotated[list[Path], typer.Argument(help="DICOM folder, folder of studies, or NIfTI file")],
    output: Annotated[Path, typer.Option("--output-dir", "-o", help="folder of the results")],
    model: Annotated[Path, typer.Option(help="model.pt with its model.json beside it")] = Path("models/model.pt"),
    engine: Annotated[str, typer.Option(help="auto, torch, compile, openvino or onnx")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16 or int8")] = "auto",
    kinds: Annotated[
        str, typer.Option("--output", help="one or more of nifti, nifti_per_class, dicom_seg, rtstruct")
    ] = "nifti",
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
) -> None:
    """Write a mask on each series' own grid, and a record, under OUTPUT/<case>/."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("LoadImage").setLevel(logging.WARNING)  # tells of every reader it passes over
    try:
        factors = [float(part) for part in scales.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--scales {scales}: expected numbers such as 0.5,1.0,1.5") from None
    rank, n_ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # under torchrun
    import torch  # takes seconds to import: not before it is needed

    from monai_vggunet.inference import own_device
    from monai_vggunet.outputs import CaseOutputs
    from monai_vggunet.segment import Segmenter, gather_results
    from monai_vggunet.segment import segment as segment_all

    asked: dict[str, Any] = {"series_uid": series, "description": description, "modality": modality, "stack": stack}
    asked |= {"on_gap": on_gap, "on_tilt": on_tilt}
    torch.set_flush_denormal(True)
    options: dict[str, Any] = {"tta": tta, "scales": factors, "batch_size": batch_size, "reslice": reslice}
    options |= {"engine": engine, "precision": precision}
    if device is None and n_ranks > 1:
        device = own_device()
    outputs = CaseOutputs([kind.strip() for kind in kinds.split(",")], seg_type)
    options["probabilities"] = outputs.need_probabilities
    segmenter = Segmenter(model, device, reader_options=asked, **options)
    results = segment_all(inputs, output, segmenter, resume=resume, rank=rank, n_ranks=n_ranks, outputs=outputs)
    results = gather_results(results, n_ranks)
    failed = [result for result in results if result.error]
    skipped = sum(result.skipped for result in results)
    before = f" ({skipped} of them before)" if skipped else ""
    if rank > 0:  # the first process tells for all
        raise typer.Exit(SOME_FAILED if failed else 0)
    print(f"{len(results) - len(failed)} of {len(results)} cases done{before}, masks under {output}")
    for result in failed:
        print(f"failed: {result.case}: {result.error.splitlines()[0]}")
    if failed:
        raise typer.Exit(SOME_FAILED)


@app.command()
def export(
    model: Annotated[Path, typer.Option(help="model.pt with its model.json beside it")] = Path("models/model.pt"),
    data: Annotated[
        Path | None, typer.Option(help="cases to compare on; by default the validation cases of the training run")
    ] = None,
    formats: Annotated[str, typer.Option(help="which")] = "torchscript,torch_export,onnx,openvino",
) -> None:
    """Write a model in other programs' formats beside it; each is compared with the network on your own slices."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from monai_vggunet.export import cases_to_check, export_model

    done = export_model(model, cases_to_check(model, data), formats.split(","))
    for kind, figures in done.items():
        print(f"{figures['file']:16s} {kind:14s} {figures['bytes'] / 1e6:8.1f} MB")


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a refusal is one message and exit status 2, not a traceback."""
    try:
        app()
    except VGGUNetError as error:
        Console(stderr=True).print(f"monai-vggunet: {error}", style="red", highlight=False, markup=False)
        raise SystemExit(USAGE_ERROR) from None
