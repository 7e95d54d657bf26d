"""A training and its validation in several processes, as `torchrun` starts them; each writes down what it sees.

`python several_processes.py FOLDER "[[2, 1], [3, 4]]"` runs two processes with one validation case, then three with
four. Each writes `RUN-RANK.json` into the folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine
from torch import multiprocessing, nn
from torch.utils.data import DataLoader

from monai_vggunet.training import WeightAverageHandler, log_weights, validation_sampler
from monai_vggunet.training.metrics import LabelDice

STEPS, N_CLASSES, SIDE = 4, 3, 12


def main(folder: Path, runs: list[list[int]]) -> None:
    for n_processes, n_cases in runs:
        arguments = (n_processes, n_cases, str(folder / f"{n_processes}-{n_cases}"))
        multiprocessing.start_processes(one_process, arguments, n_processes, start_method="fork")


def one_process(rank: int, n_processes: int, n_cases: int, meeting: str) -> None:
    torch.set_num_threads(1)
    idist.initialize("gloo", init_method=f"file://{meeting}", rank=rank, world_size=n_processes)
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, N_CLASSES, 1)
    network = nn.parallel.DistributedDataParallel(nn.Sequential(*layers))
    average = WeightAverageHandler(network, momentum=0.3, handle_buffers="update")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def step(engine: Engine, batch: Any) -> None:
        optimizer.zero_grad()
        network(batch).square().mean().backward()
        optimizer.step()

    trainer = Engine(step)
    average.attach(trainer)
    torch.manual_seed(1 + rank)  # each process draws its own batches
    trainer.run([rank + torch.randn(2, 1, SIDE, SIDE) for _ in range(STEPS)])
    digest = log_weights(network, average.ema_model)

    generator = torch.Generator().manual_seed(7)
    images = [torch.randn(1, SIDE, SIDE, generator=generator) for _ in range(n_cases)]
    labels = [torch.randint(0, N_CLASSES, (1, SIDE, SIDE), generator=generator) for _ in range(n_cases)]
    cases = list(zip(images, labels))

    def judged(loader: Any, metric: LabelDice) -> list[list[float]]:
        for image, label in loader:
            with torch.no_grad():
                metric(average.ema_model(image).argmax(1, keepdim=True), label)
        return metric.get_buffer().tolist()

    shared = LabelDice(N_CLASSES, n_cases)
    rows = judged(DataLoader(cases, batch_size=1, sampler=validation_sampler(cases)), shared)
    mean = float(shared.aggregate())
    with torch.no_grad():
        found = [average.ema_model(image[None]).argmax(1, keepdim=True) for image, _ in cases]
    alone = [LabelDice(N_CLASSES)(one, label[None])[0].tolist() for one, (_, label) in zip(found, cases)]
    told = {"n_processes": n_processes, "rank": rank, "weights": digest, "rows": rows, "mean": mean, "alone": alone}
    Path(f"{meeting}-{rank}.json").write_text(json.dumps(told))
    idist.finalize()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
