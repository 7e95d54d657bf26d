"""MONAI Label's DeepEdit as a peer: trained on the same cases as our click model, judged by the same simulated user.

    python scripts/benchmarks/clicks_deepedit.py --train FOLDER --test FOLDER --work FOLDER [--minutes 30] [--threads 1]

Both folders hold a `dataset.json`, as `hippocampus.py` writes it. `deepedit_peer.py` describes DeepEdit.
Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepedit_peer import (
    CLICKED_SHARE,
    LEARNING_RATE,
    PATCH,
    STRIDES,
    Session,
    deepedit_network,
    fixed_steps,
    simulated_clicks,
    training_steps,
)
from ignite.engine import Engine, Events
from monai.apps.deepedit.interaction import Interaction
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from monai.transforms import Compose
from monai.utils import set_determinism
from results_page import write_section
from simulated_user import SHOWN, correct, figures, mean_dice

from monai_vggunet.atomic_files import atomic_path, write_json
from monai_vggunet.data.cases import Case, annotated_cases

LOG_STEPS = 50
SEED = 0
WEIGHTS, FACTS = "deepedit.pt", "deepedit.json"  # in the work folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder with dataset.json of the training cases")
    parser.add_argument("--test", type=Path, required=True, help="the same of the cases that judge")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trained weights")
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, reading the cases not counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shrink", type=int, default=1, help="divide the numbers of filters by this")
    parser.add_argument("--lr", type=float, default=LEARNING_RATE)
    parser.add_argument("--cosine", action="store_true", help="lower the rate to zero over the time given")
    parser.add_argument("--cases", type=int, help="train on at most so many")
    parser.add_argument("--validation", type=int, default=10, help="training cases set aside to watch Dice")
    parser.add_argument("--report", action="store_true", help="judge what lies in --work, train nothing")
    parser.add_argument("--train-only", action="store_true", help="judge later")
    parser.add_argument("--volumes", type=int, default=20, help="test volumes, at most so many")
    parser.add_argument("--clicks", type=int, default=max(SHOWN))
    parser.add_argument("--note", default="", help="what a reader of the figures should know about this run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("monai.apps.deepedit").setLevel(logging.WARNING)  # it logs the clicks of every step
    if not arguments.report:
        train(arguments)
    if not arguments.train_only:
        judge(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Train from scratch until the time is up; save weights and the run's figures in the work folder."""
    set_determinism(SEED)
    cases, description = annotated_cases(arguments.train)
    names = class_names(description)
    apart = max(2, len(cases) // max(1, arguments.validation))  # spread over the list
    validation = cases[::apart][: arguments.validation]
    chosen = [case for case in cases if case not in validation][: arguments.cases]
    network = deepedit_network(len(names), arguments.shrink)
    optimizer = torch.optim.Adam(network.parameters(), lr=arguments.lr)
    label_names = {name: number for number, name in enumerate(names)}
    dataset = CacheDataset(
        [{**case, "label_names": label_names} for case in chosen], training_steps(len(names)), progress=False
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1_000_000,  # the clock ends it
        train_data_loader=DataLoader(dataset, batch_size=1, shuffle=True),
        network=network,
        optimizer=optimizer,
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        iteration_update=Interaction(CLICKED_SHARE, simulated_clicks(), train=True, label_names=label_names),
    )
    facts = {"cases": len(chosen), "validation": len(validation), "class_names": names}
    facts |= {name: getattr(arguments, name) for name in ("minutes", "threads", "shrink", "lr", "cosine")}
    Clock(facts, optimizer, network, validation, arguments.work).attach(trainer)
    trainer.run()


class Clock:
    """Lowers the rate and ends the training by the time; keeps weights, loss and validation Dice as it goes."""

    def __init__(
        self,
        facts: dict[str, Any],
        optimizer: torch.optim.Optimizer,
        network: torch.nn.Module,
        validation: list[Case],
        work: Path,
    ) -> None:
        self.facts, self.optimizer, self.network, self.work = facts, optimizer, network, work
        load = Compose(fixed_steps(len(facts["class_names"])))
        self.validation = [load(case) for case in validation]
        self.losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.started, self.started_cpu = time.monotonic(), time.process_time()

    def attach(self, trainer: Engine) -> None:
        """Start counting."""
        self.started, self.started_cpu = time.monotonic(), time.process_time()
        trainer.add_event_handler(Events.ITERATION_STARTED, self.before_step)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.after_step)

    def minutes(self) -> float:
        """Return the time since the start."""
        return (time.monotonic() - self.started) / 60

    def before_step(self, _: Engine) -> None:
        """Set the rate for the time that has passed."""
        if self.facts["cosine"]:
            passed = min(1.0, self.minutes() / self.facts["minutes"])
            self.optimizer.param_groups[0]["lr"] = self.facts["lr"] * 0.5 * (1 + math.cos(math.pi * passed))

    def after_step(self, engine: Engine) -> None:
        """Note the loss; now and then, and at the end, validate and save."""
        self.losses.append(float(engine.state.output[0]["loss"]))
        if self.minutes() >= self.facts["minutes"]:
            engine.terminate()
        elif engine.state.iteration % LOG_STEPS:
            return
        row = {"step": engine.state.iteration, "minutes": self.minutes()}
        row["cpu_minutes"] = (time.process_time() - self.started_cpu) / 60
        row["loss"] = float(np.mean(self.losses[-LOG_STEPS:]))
        names = self.facts["class_names"]
        row["validation_dice"] = float(np.mean([automatic_dice(self.network, names, one) for one in self.validation]))
        self.history.append(row)
        print(" ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
        with atomic_path(self.work / WEIGHTS) as path:
            torch.save(self.network.state_dict(), path)
        write_json(self.work / FACTS, {**self.facts, "history": self.history})


def judge(arguments: argparse.Namespace) -> None:
    """Let the simulated user correct the test volumes, and write the section."""
    run = json.loads((arguments.work / FACTS).read_text())
    names = run["class_names"]
    network = deepedit_network(len(names), run["shrink"])
    network.load_state_dict(torch.load(arguments.work / WEIGHTS, weights_only=True))
    load = Compose(fixed_steps(len(names)))
    results, repeated = [], []
    for case in annotated_cases(arguments.test)[0][: arguments.volumes]:
        volume = load(case)
        session = Session(network, names, volume["image"])
        truth = volume["label"][0].numpy()
        results.append(correct(session([]), session, truth, names, arguments.clicks))
        repeated.append(len(session.clicks) - len(set(session.clicks)))
        print(f"{case['case']}: Dice {' '.join(f'{dice:.3f}' for dice in results[-1].dice)}", flush=True)
    n_million = sum(one.numel() for one in network.parameters()) / 1e6
    text = f"""{figures(results)}

{sum(repeated)} clicks repeated an earlier place, because the mask was still wrong there: they add nothing to
DeepEdit's guidance, which only says whether a voxel was clicked."""
    write_section("clicks_deepedit", report(text, len(results), run, n_million, arguments.note))


def automatic_dice(network: torch.nn.Module, names: Sequence[str], case: dict[str, Any]) -> float:
    """Return the mean Dice without a click."""
    return mean_dice(Session(network, names, case["image"])([]), case["label"][0].numpy(), len(names))


def class_names(description: dict[str, Any]) -> list[str]:
    """Return the classes a dataset.json names, background first."""
    return [name for _, name in sorted((int(number), name) for number, name in description["labels"].items())]


def report(text: str, n_volumes: int, run: dict[str, Any], n_million: float, note: str) -> str:
    """Return the section for docs/results.md."""
    last = run["history"][-1]
    size = f"{n_million:.1f} million parameters"
    if run["shrink"] > 1:
        size += f", filters divided by {run['shrink']}"
    rate = f"{run['lr']:g}" + (", lowered to zero as a cosine" if run["cosine"] else "")
    return f"""## Clicks: MONAI Label's DeepEdit as a peer

DeepEdit as the radiology sample app of MONAI Label 0.8.5 configures it, judged by the simulated user of the section on
clicks on {n_volumes} held-out volumes. {note}

- network: DynUNet of {len(STRIDES)} levels, {size}; patch {" x ".join(map(str, PATCH))}
- training: from scratch, {last["minutes"]:.0f} min ({last["cpu_minutes"]:.0f} min of processor time),
  {last["step"]} steps of one volume, {100 * CLICKED_SHARE:.0f} % of them with clicks, {run["cases"]} cases,
  {run["threads"]} CPU thread(s); Adam, rate {rate}
- Dice without clicks on {run["validation"]} cases set aside: {last["validation_dice"]:.3f}

{text}
"""


if __name__ == "__main__":
    main()
