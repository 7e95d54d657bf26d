"""The result of an evaluation as a table for the eye and a file for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events
from rich.console import Console
from rich.table import Table

from monai_vggunet.layout import METRICS
from monai_vggunet.names import counted
from monai_vggunet.privacy import keep_names, shown_case, write_down
from monai_vggunet.training.evaluation import Evaluation
from monai_vggunet.training.metrics import class_means, shown_metric

__all__ = ["EvaluationReportHandler"]


class EvaluationReportHandler:
    """Print a table of the figures per class and write them, per case too, to `metrics.json`.

    The file lists cases under their pseudonyms, which `names.json` beside it explains.

    Args:
        class_names: background first.
        cases: names of the cases in the order they are evaluated.
        output_dir: folder of `metrics.json`.
        trained: names of the cases that the model was trained on, or on whose patients; see `Datalist`.
        all_trained_known: whether it is known on which cases the model was trained.
        modality: of the model; see `shown_metric`.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        cases: Sequence[str],
        output_dir: str | os.PathLike[str],
        trained: Sequence[str] = (),
        all_trained_known: bool = False,
        modality: str = "",
    ) -> None:
        self.class_names, self.cases, self.output_dir = list(class_names)[1:], list(cases), Path(output_dir)
        self.trained, self.all_trained_known, self.modality = list(trained), all_trained_known, modality

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self.write_names)
        engine.add_event_handler(Events.COMPLETED, self)

    def write_names(self, engine: Engine) -> None:
        """Write down the pseudonyms of the cases, so that each that is shown can be looked up, however the run ends."""
        keep_names(self.output_dir)
        write_down((case, "") for case in self.cases)

    def __call__(self, engine: Engine) -> None:
        """Write the table and the file."""
        means = {name: class_means(details).tolist() for name, details in engine.state.metric_details.items()}
        evaluation = Evaluation(
            n_cases=len(self.cases),
            mean={name: float(engine.state.metrics[name]) for name in means},
            per_class={name: dict(zip(self.class_names, values)) for name, values in means.items()},
            per_case={
                shown_case(case): {
                    name: dict(zip(self.class_names, details[number].tolist()))
                    for name, details in engine.state.metric_details.items()
                }
                for number, case in enumerate(self.cases)
            },
            trained=[shown_case(case) for case in self.trained],
            all_trained_known=self.all_trained_known,
        )
        evaluation.write(self.output_dir / METRICS)
        table = Table(title=f"{counted(len(self.cases), 'case')}, mean over cases")
        table.add_column("class")
        for name in means:
            table.add_column(shown_metric(name, self.modality).removeprefix("val_"), justify="right")
        for number, class_name in enumerate(self.class_names):
            table.add_row(class_name, *(f"{values[number]:.3f}" for values in means.values()))
        table.add_row("mean", *(f"{engine.state.metrics[name]:.3f}" for name in means), style="bold")
        Console().print(table)
        if evaluation.note:
            Console(soft_wrap=True).print(f"{evaluation.note}: the figures may flatter", style="bold")
