"""Processes share the validation cases; figures, weights and buffers are the same in all, and as in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ignite.distributed as idist
import numpy as np
import pytest
import torch
from monai.data import Dataset
from torch import nn

from monai_vggunet.training import gathered_rows, log_weights, share_buffers, validation_sampler

PROGRAM = Path(__file__).parents[1] / "several_processes.py"


def test_one_process_needs_no_sampler() -> None:
    assert validation_sampler(Dataset([1, 2, 3])) is None


def test_processes_judge_shares_of_the_cases_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idist, "get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.is_available", lambda: True)
    monkeypatch.setattr("torch.utils.data.distributed.dist.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.utils.data.distributed.dist.get_rank", lambda: 1)
    sampler = validation_sampler(Dataset(list(range(6))))
    assert sampler is not None
    assert list(sampler) == [1, 3, 5]


@pytest.mark.parametrize(("n_processes", "n_cases"), [(1, 3), (2, 1), (2, 5), (3, 1), (3, 4), (4, 8)])
def test_gathered_figures_stand_in_the_order_of_the_cases_each_once(
    monkeypatch: pytest.MonkeyPatch, n_processes: int, n_cases: int
) -> None:
    monkeypatch.setattr(idist, "get_world_size", lambda: n_processes)
    dataset = list(range(n_cases))
    gathered = []
    for rank in range(n_processes):
        share = torch.utils.data.DistributedSampler(dataset, n_processes, rank, shuffle=False)
        gathered += [[float(case), -float(case)] for case in share]
    found = gathered_rows(torch.tensor(gathered), n_cases)
    assert found.tolist() == [[float(case), -float(case)] for case in dataset]


def test_several_processes_find_the_figures_of_one_and_end_with_the_same_weights_and_buffers(tmp_path: Path) -> None:
    """Three processes for four cases, and two for one."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path), "[[3, 4], [2, 1]]"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for n_processes, n_cases in ((3, 4), (2, 1)):
        files = [tmp_path / f"{n_processes}-{n_cases}-{rank}.json" for rank in range(n_processes)]
        found = [json.loads(file.read_text()) for file in files]
        assert len({line["weights"] for line in found}) == 1
        for line in found:
            assert line["rows"] == line["alone"] == found[0]["alone"]
            assert line["mean"] == pytest.approx(float(np.mean(np.mean(line["alone"], axis=0))), abs=1e-6)


def test_buffers_of_one_process_stay_as_they_are() -> None:
    network = nn.BatchNorm2d(2)
    before = log_weights(network)
    share_buffers(network)
    assert log_weights(network) == before


def test_the_hash_of_weights_follows_buffers_too() -> None:
    network = nn.BatchNorm2d(2)
    before = log_weights(network)
    network.running_mean += 1
    assert log_weights(network) != before
    assert log_weights(network, nn.BatchNorm2d(2)) != log_weights(network)
