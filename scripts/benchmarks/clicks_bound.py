"""How much a network can learn from clicks if it sees held-out errors: do clicks hold more than our model uses?

    python scripts/benchmarks/clicks_bound.py --model models/model.pt --data FOLDER [--volumes 20] [--steps 500]

A model that takes clicks is trained on its own training cases, where it hardly errs. Therefore this one gets what no
model in use has: automatic masks and labels of held-out volumes, other than those it is judged on. It sees image,
automatic probabilities and clicks in three dimensions, and returns a correction. The errors that it removes are
evidence of what clicks can tell, not a bound: a larger network or longer training may find more. It is an experiment,
not for users.
Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from results_page import write_section
from scipy import ndimage
from simulated_user import SHOWN, Click, Corrected, correct, deepest_error, figures
from torch import nn
from torch.nn import functional

from monai_vggunet.data.cases import annotated_cases
from monai_vggunet.segment.segmenter import Segmenter
from monai_vggunet.transforms import loading

WIDTHS_VOXELS = (1.0, 3.0)  # standard deviations of the spots that show a click
DILATIONS = (1, 2, 4, 8, 1)
CHANNELS, RATE, MOST_CLICKS = 24, 2e-3, 6

Volume = dict[str, np.ndarray]  # image (X, Y, Z), log (K, X, Y, Z), truth (X, Y, Z)


class Corrector(nn.Module):
    """Correction of logarithmic probabilities `(B, K, X, Y, Z)` by image and clicks, both in `x`."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        n_inputs = 1 + n_classes * (1 + len(WIDTHS_VOXELS))
        self.first = nn.Conv3d(n_inputs, CHANNELS, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv3d(CHANNELS, CHANNELS, 3, padding=d, dilation=d) for d in DILATIONS)
        self.norms = nn.ModuleList(nn.GroupNorm(4, CHANNELS) for _ in DILATIONS)
        self.last = nn.Conv3d(CHANNELS, n_classes, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor, log: torch.Tensor) -> torch.Tensor:
        """Return the corrected logarithmic probabilities; an untrained corrector leaves them unchanged."""
        h = self.first(x).relu()
        for conv, norm in zip(self.convs, self.norms):
            h = h + norm(conv(h)).relu()
        return log + self.last(h)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--volumes", type=int, default=20, help="judged; the others of the folder are learned from")
    parser.add_argument("--steps", type=int, default=500, help="of training, of one volume each")
    parser.add_argument("--note", default="", help="what a reader of the figures should know about this run")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    names, volumes = predicted(arguments.model, arguments.data)
    judged, learned = volumes[: arguments.volumes], volumes[arguments.volumes :]
    network = Corrector(len(names))
    train(network, learned, names, arguments.steps)
    results = [judge(network, volume, names) for volume in judged]
    write_section("clicks bound", report(results, len(learned), arguments))


def predicted(model: Path, data: Path) -> tuple[list[str], list[Volume]]:
    """Return the class names, and every case of a folder with its automatic probabilities."""
    segmenter = Segmenter(model, probabilities=True)
    names = segmenter.spec.class_names
    load = loading(n_classes=len(names), segments={name: number for number, name in enumerate(names) if number})
    volumes = []
    for case in annotated_cases(data)[0]:
        loaded, found = load(case), segmenter(case)
        image = loaded["image"].as_tensor()[0].float().numpy()
        likely = found.probabilities.astype(np.float32) + 0.5
        volumes.append(
            {
                "image": (image - image.mean()) / image.std(),
                "log": np.log(likely / likely.sum(0)),
                "truth": loaded["label"].as_tensor()[0].numpy().astype(np.int64),
            }
        )
    return names, volumes


def train(network: Corrector, volumes: list[Volume], names: list[str], steps: int) -> None:
    """Learn from the clicks of the simulated user, one volume per step."""
    rng, optimizer = np.random.default_rng(0), torch.optim.Adam(network.parameters(), RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        volume = volumes[rng.integers(len(volumes))]
        for axis in (-3, -1):
            if rng.random() < 0.5:
                volume = {key: np.flip(values, axis) for key, values in volume.items()}
        clicks = drawn_clicks(network, volume, names, rng)
        network.train()
        found, truth = network(*inputs(volume, clicks, names)), torch.from_numpy(volume["truth"].copy())[None]
        likely, one_hot = found.softmax(1), functional.one_hot(truth, len(names)).movedim(-1, 1)
        overlap, total = (likely * one_hot).sum((0, 2, 3, 4)), (likely + one_hot).sum((0, 2, 3, 4))
        loss = 10 * functional.cross_entropy(found, truth) + 1 - (2 * overlap / total)[1:].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)


def drawn_clicks(network: Corrector, volume: Volume, names: list[str], rng: np.random.Generator) -> list[Click]:
    """Return some clicks as the user makes them one after the other; half of them see what the last one changed."""
    clicks: list[Click] = []
    mask, truth = corrected(network, volume, clicks, names), volume["truth"]
    for _ in range(rng.integers(0, MOST_CLICKS + 1)):
        voxel, region = deepest_error(mask != truth)
        if voxel is None:
            break
        clicks.append((names[truth[voxel]], voxel))
        mask = corrected(network, volume, clicks, names) if rng.random() < 0.5 else np.where(region, truth, mask)
    return clicks


def inputs(volume: Volume, clicks: list[Click], names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the corrector's input for a volume, and the volume's automatic logarithmic probabilities."""
    spots = []
    for name in names:
        free = np.ones(volume["truth"].shape, dtype=bool)
        for clicked, voxel in clicks:
            free[voxel] &= clicked != name
        away = ndimage.distance_transform_edt(free) if not free.all() else np.full(free.shape, np.inf)
        spots += [np.exp(-((away / width) ** 2) / 2) for width in WIDTHS_VOXELS]
    x = np.concatenate([volume["image"][None], volume["log"] / 4, np.stack(spots)]).astype(np.float32)
    return torch.from_numpy(x)[None], torch.from_numpy(volume["log"].copy())[None]


def corrected(network: Corrector, volume: Volume, clicks: list[Click], names: list[str]) -> np.ndarray:
    """Return the corrector's mask; the clicked voxels have the class that the user named."""
    network.eval()
    with torch.no_grad():
        mask = network(*inputs(volume, clicks, names))[0].argmax(0).numpy()
    for name, voxel in clicks:
        mask[voxel] = names.index(name)
    return mask


def judge(network: Corrector, volume: Volume, names: list[str]) -> Corrected:
    """Let the simulated user correct one volume."""

    def answer(clicks: list[Click]) -> np.ndarray:
        return corrected(network, volume, clicks, names)

    result = correct(answer([]), answer, volume["truth"], names, max(SHOWN))
    print(f"Dice {' '.join(f'{dice:.3f}' for dice in result.dice)}", flush=True)
    return result


def report(results: list[Corrected], n_learned: int, arguments: argparse.Namespace) -> str:
    """Return the section for docs/results.md."""
    return f"""## Clicks: what a corrector learns of held-out errors

A network that only makes corrections ({len(DILATIONS) + 1} layers in three dimensions, {CHANNELS} channels) learned
from the errors of {n_learned} held-out volumes and the user's clicks into them, which no model in use could:
{arguments.steps} steps of one volume. It is judged by the same user on {len(results)} others. {arguments.note}

{figures(results)}"""


if __name__ == "__main__":
    main()
