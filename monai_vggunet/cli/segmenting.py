"""The command `segment`, from its options to its closing messages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from monai_vggunet.cli.endings import first_line
from monai_vggunet.errors import VGGUNetError
from monai_vggunet.inference import own_device
from monai_vggunet.layout import INDEX, NAMES
from monai_vggunet.names import counted
from monai_vggunet.outputs import CaseOutputs
from monai_vggunet.pacs import PacsSession
from monai_vggunet.privacy import shown_case, shows_phi, tell
from monai_vggunet.report.report import StudyReporter, write_index
from monai_vggunet.segment import CaseResult, Segmenter, cases_to_segment, gather_results, segment_cases
from monai_vggunet.segment.alike_failures import failure_lines
from monai_vggunet.segment.pacs_studies import segment_studies
from monai_vggunet.stopping import told_to_stop

__all__ = ["Wanted", "segment_and_tell"]


@dataclass(frozen=True)
class Wanted:
    """The user's request.

    Attributes:
        output: folder of the results.
        names: the outputs, see `CaseOutputs`.
        seg_type: of DICOM SEG.
        resume: skip cases whose whole result is there.
        pages: write a page per study.
        model: `model.pt`.
        network: further arguments of `Segmenter`.
        reader: arguments of `DicomSeriesReader`.
    """

    output: Path
    names: Sequence[str]
    seg_type: str
    resume: bool
    pages: bool
    model: Path
    network: Mapping[str, Any]
    reader: Mapping[str, Any]


def segment_and_tell(wanted: Wanted, inputs: Sequence[Path], pacs: PacsSession, studies: Sequence[str]) -> bool:
    """Segment the user's input and report the outcome; under `torchrun` the processes share the work.

    Args:
        wanted: the request.
        inputs: folders and files.
        pacs: where studies come from instead, and where results are stored.
        studies: StudyInstanceUIDs to download from there.

    Returns:
        Whether everything succeeded.
    """
    rank, n_ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True  # all slices of a study have one size
    outputs = CaseOutputs(wanted.names, wanted.seg_type)
    network = {**wanted.network, "probabilities": outputs.need_probabilities}
    if network["device"] is None and n_ranks > 1:
        network["device"] = own_device()
    reader = dict(wanted.reader)
    cases = cases_to_segment(inputs, wanted.output) if pacs.server is None else []
    segmenter = Segmenter(wanted.model, reader_options=reader, **network)
    reporter = StudyReporter(reader) if wanted.pages else None
    options: dict[str, Any] = {"resume": wanted.resume, "outputs": outputs, "after_case": pacs.delivery}
    options["report"] = reporter
    with told_to_stop(pacs.stop):
        if pacs.server is None:
            results = segment_cases(cases, wanted.output, segmenter, rank=rank, n_ranks=n_ranks, **options)
        else:
            chosen = reader["series_uid"], reader["modality"]
            results = segment_studies(pacs.server, studies[rank::n_ranks], wanted.output, segmenter, *chosen, **options)
    without_page = dict(reporter.failures) if reporter else {}
    results = gather_results(results, n_ranks)
    if rank > 0:  # the first process reports for all
        return not without_page and not any(result.error for result in results)
    _tell_results(results, wanted.output)
    if reporter is not None:
        try:
            tell(f"report: {write_index(wanted.output)}")
        except VGGUNetError as error:
            without_page[INDEX] = str(error)
    pages = ((name if name == INDEX else shown_case(name), first_line(text)) for name, text in without_page.items())
    for line in failure_lines(pages, "monai-vggunet report makes those that can be made"):
        tell(f"no report: {line}")
    complete = not without_page and not any(result.error for result in results)
    if not complete and not shows_phi():
        names = wanted.output / NAMES  # a full disk may have kept it from being written
        tell(f"{names} says which cases these are; " * names.exists() + "--show-phi shows their names")
    return complete


def _tell_results(results: Sequence[CaseResult], output: Path) -> None:
    failed = [result for result in results if result.error]
    skipped = sum(result.skipped and not result.error for result in results)
    before = f" ({skipped} of them by an earlier run)" if skipped else ""
    tell(f"{len(results) - len(failed)} of {counted(len(results), 'case')} done{before}, masks under {output}")
    for line in failure_lines((shown_case(result.case), first_line(result.error)) for result in failed):
        tell(f"failed: {line}")
