"""MONAI Label's DeepEdit as a peer: trained on the same cases as our click model, judged by the same simulated user.

    python scripts/benchmarks/clicks_deepedit.py --train FOLDER --test FOLDER --work FOLDER [--minutes 30] [--threads 1]

Both folders hold a `dataset.json`, as `hippocampus.py` writes them. The network, loss, optimizer, augmentation and
simulation of clicks are those of the radiology sample app of MONAI Label 0.8.5 (DeepEdit, arXiv 2305.10655), run by
MONAI's own trainer and transforms; what had to differ stands beside its constant below.
Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.apps.deepedit.interaction import Interaction
from monai.apps.deepedit.transforms import (
    AddGuidanceSignalDeepEditd,
    AddInitialSeedPointMissingLabelsd,
    AddRandomGuidanceDeepEditd,
    FindAllValidSlicesMissingLabelsd,
    FindDiscrepancyRegionsDeepEditd,
)
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    RandFlipd,
    RandShiftIntensityd,
    ScaleIntensityd,
    SelectItemsd,
    SpatialPadd,
    ToNumpyd,
    ToTensord,
)
from monai.utils import set_determinism
from results_page import write_section
from simulated_user import SHOWN, Click, correct, figures, mean_dice

from monai_vggunet.data.cases import annotated_cases
from monai_vggunet.files import atomic_path, write_json
from monai_vggunet.transforms.loading import loading_steps

BOTH = ("image", "label")
CLICKED_SHARE = 0.4  # deepgrow_probability_train: share of the steps with clicks; the others have none
PATCH = (48, 64, 48)  # the sample app resizes to 128 x 128 x 128; these volumes are padded, nothing is resampled
# The sample app has a sixth level, [2, 2, 1]; of 48 voxels four halvings leave 3, which it could not halve.
STRIDES = (1, 2, 2, 2, 2)
FILTERS = (32, 64, 128, 256, 320)  # DynUNet's own, for five levels
LEARNING_RATE = 1e-4  # the sample app's, for Adam, which goes on from trained weights; --lr for a start from scratch
LOG_STEPS = 100
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
    logging.getLogger("monai.apps.deepedit").setLevel(logging.WARNING)  # it tells the clicks of every step
    if not arguments.report:
        train(arguments)
    if not arguments.train_only:
        judge(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Train from scratch until the time is up; leave weights and the run's figures in the work folder."""
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
    load = Compose(fixed_steps(len(names)))
    watched = [load(case) for case in validation]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1_000_000,  # the clock ends it
        train_data_loader=DataLoader(dataset, batch_size=1, shuffle=True),
        network=network,
        optimizer=optimizer,
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        iteration_update=Interaction(CLICKED_SHARE, simulated_clicks(), train=True, label_names=label_names),
    )
    history: list[dict[str, float]] = []
    losses: list[float] = []
    started, limit_sec = time.monotonic(), arguments.minutes * 60
    facts = {"minutes": arguments.minutes, "cases": len(chosen), "validation": len(validation), "class_names": names}
    facts |= {name: getattr(arguments, name) for name in ("threads", "shrink", "lr", "cosine")}

    def before_step(_: Engine) -> None:
        passed = min(1.0, (time.monotonic() - started) / limit_sec)
        if arguments.cosine:
            optimizer.param_groups[0]["lr"] = arguments.lr * 0.5 * (1 + math.cos(math.pi * passed))

    def after_step(engine: Engine) -> None:
        losses.append(engine.state.output[0]["loss"])
        minutes = (time.monotonic() - started) / 60
        if minutes >= arguments.minutes:
            engine.terminate()
        elif engine.state.iteration % LOG_STEPS:
            return
        dice = float(np.mean([automatic_dice(network, names, one) for one in watched]))
        row = {"step": engine.state.iteration, "minutes": minutes, "loss": float(np.mean(losses[-LOG_STEPS:]))}
        history.append({**row, "validation_dice": dice})
        print(" ".join(f"{name} {value:.4g}" for name, value in history[-1].items()), flush=True)
        with atomic_path(arguments.work / WEIGHTS) as path:
            torch.save(network.state_dict(), path)
        write_json(arguments.work / FACTS, {**facts, "history": history})

    trainer.add_event_handler(Events.ITERATION_STARTED, before_step)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, after_step)
    trainer.run()


def judge(arguments: argparse.Namespace) -> None:
    """Let the simulated user correct the test volumes, and write the section."""
    run = json.loads((arguments.work / FACTS).read_text())
    names = run["class_names"]
    network = deepedit_network(len(names), run["shrink"])
    network.load_state_dict(torch.load(arguments.work / WEIGHTS, weights_only=True))
    load = Compose(fixed_steps(len(names)))
    results = []
    for case in annotated_cases(arguments.test)[0][: arguments.volumes]:
        volume = load(case)
        session = Session(network, names, volume["image"])
        truth = volume["label"][0].numpy()
        results.append(correct(session([]), session, truth, names, arguments.clicks))
        print(f"{case['case']}: Dice {' '.join(f'{dice:.3f}' for dice in results[-1].dice)}", flush=True)
    n_million = sum(one.numel() for one in network.parameters()) / 1e6
    write_section("clicks_deepedit", report(figures(results), len(results), run, n_million, arguments.note))


class Session:
    """One volume under correction: clicks go in by DeepEdit's own convention, masks come out on the volume's grid."""

    def __init__(self, network: torch.nn.Module, names: Sequence[str], image: torch.Tensor) -> None:
        self.network = network.eval()
        self.names = names
        self.image = SpatialPadd("image", PATCH)({"image": image})["image"].as_tensor()
        require_patch(self.image)
        self.shape = tuple(image.shape[1:])
        self.before = [(size - own) // 2 for size, own in zip(PATCH, self.shape)]
        self.signal = AddGuidanceSignalDeepEditd("image")

    def __call__(self, clicks: list[Click]) -> np.ndarray:
        """Return the mask `(X, Y, Z)` for all clicks so far; without clicks all guidance is zero, as in training."""
        guidance: dict[str, list[list[int]]] = {name: [] for name in self.names}
        for name, voxel in clicks:
            guidance[name].append([i + before for i, before in zip(voxel, self.before)])
        image = self.signal({"image": self.image.numpy(), "guidance": guidance})["image"]
        with torch.no_grad():
            mask = self.network(torch.as_tensor(image)[None]).argmax(1)[0].numpy().astype(np.uint8)
        return mask[tuple(slice(b, b + size) for b, size in zip(self.before, self.shape))]


def deepedit_network(n_classes: int, shrink: int) -> torch.nn.Module:
    """Return the sample app's DynUNet for PATCH: the image and one channel of guidance per class go in."""
    return DynUNet(
        spatial_dims=3,
        in_channels=1 + n_classes,
        out_channels=n_classes,
        kernel_size=[3] * len(STRIDES),
        strides=STRIDES,
        upsample_kernel_size=STRIDES[1:],
        filters=[number // shrink for number in FILTERS],
        norm_name="instance",
        deep_supervision=False,
        res_block=True,
    )


def fixed_steps(n_classes: int) -> list[Any]:
    """Return loading and scaling to 0..1 by the volume's own range (the sample app's range is of CT)."""
    return [*loading_steps(True, 1, n_classes, None, None), ScaleIntensityd("image")]


def training_steps(n_classes: int) -> list[Any]:
    """Return the sample app's steps; turns by 90 degrees are left out: a turned volume would leave the patch."""
    return [
        *fixed_steps(n_classes),
        *(RandFlipd(BOTH, spatial_axis=[axis], prob=0.10) for axis in range(3)),
        RandShiftIntensityd("image", offsets=0.10, prob=0.50),
        SpatialPadd(BOTH, PATCH),
        ToNumpyd(BOTH),
        FindAllValidSlicesMissingLabelsd("label", sids="sids"),
        AddInitialSeedPointMissingLabelsd("label", guidance="guidance", sids="sids"),
        AddGuidanceSignalDeepEditd("image", guidance="guidance"),
        ToTensord(BOTH),
        SelectItemsd((*BOTH, "guidance", "label_names")),
    ]


def simulated_clicks() -> list[Any]:
    """Return what the trainer does in a step with clicks: where the network is wrong, clicks are drawn and shown."""
    return [
        Activationsd("pred", softmax=True),
        AsDiscreted("pred", argmax=True),
        ToNumpyd((*BOTH, "pred")),
        FindDiscrepancyRegionsDeepEditd("label", pred="pred", discrepancy="discrepancy"),
        AddRandomGuidanceDeepEditd("NA", guidance="guidance", discrepancy="discrepancy", probability="probability"),
        AddGuidanceSignalDeepEditd("image", guidance="guidance"),
        ToTensord(BOTH),
    ]


def automatic_dice(network: torch.nn.Module, names: Sequence[str], case: dict[str, Any]) -> float:
    """Return the mean Dice without a click."""
    return mean_dice(Session(network, names, case["image"])([]), case["label"][0].numpy(), len(names))


def class_names(description: dict[str, Any]) -> list[str]:
    """Return the classes a dataset.json names, background first."""
    return [name for _, name in sorted((int(number), name) for number, name in description["labels"].items())]


def require_patch(image: torch.Tensor) -> None:
    if tuple(image.shape[1:]) != PATCH:
        sys.exit(f"a volume of {tuple(image.shape[1:])} voxels does not fit the patch {PATCH}: widen PATCH")


def report(text: str, n_volumes: int, run: dict[str, Any], n_million: float, note: str) -> str:
    """Return the section for docs/results.md."""
    last = run["history"][-1]
    size = f"{n_million:.1f} million parameters"
    if run["shrink"] > 1:
        size += f", its numbers of filters divided by {run['shrink']}"
    rate = f"{run['lr']:g}" + (", lowered to zero as a cosine" if run["cosine"] else "")
    return f"""## Clicks: MONAI Label's DeepEdit as a peer

DeepEdit as the radiology sample app of MONAI Label sets it (DynUNet of {len(STRIDES)} levels, {size}; Dice and
cross-entropy; clicks in {100 * CLICKED_SHARE:.0f} % of the steps; Adam, rate {rate}), trained from scratch for
{last["minutes"]:.0f} min, {last["step"]} steps of one volume, on {run["cases"]} cases with {run["threads"]} CPU
thread(s); Dice without clicks on {run["validation"]} cases set aside {last["validation_dice"]:.3f}. The simulated user
is that of the section on clicks; {n_volumes} held-out volumes. {note}

{text}
"""


if __name__ == "__main__":
    main()
