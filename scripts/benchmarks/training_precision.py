"""A training step of the network in float32 and in bf16 autocast, alternately: the reason for `precision: auto`.

    python scripts/benchmarks/training_precision.py [--rounds 7] [--size 64] [--batch 12] [--device cpu]

Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from results_page import machine, markdown_table, write_section

from monai_vggunet import VGG16UNet
from monai_vggunet.networks.autocast import autocast_dtype

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=64, help="side of the crop, pixels")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    network = VGG16UNet(in_channels=3, out_channels=4).to(arguments.device, memory_format=torch.channels_last)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    slices = torch.rand(shape, device=arguments.device).contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for turn in range(WARM_UP + arguments.rounds):
        for name, dtype in PRECISIONS.items():
            taken = step_seconds(network, slices, dtype)
            if turn >= WARM_UP:
                seconds[name].append(taken)
    write_section("training_precision", report(seconds, arguments))


def step_seconds(network: torch.nn.Module, slices: torch.Tensor, dtype: torch.dtype | None) -> float:
    """Return the time of one forward and backward pass."""
    started = time.perf_counter()
    with torch.autocast(slices.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        logits = network(slices)
    logits.float().logsumexp(1).mean().backward()
    if slices.is_cuda:
        torch.cuda.synchronize()
    network.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def report(seconds: dict[str, list[float]], arguments: argparse.Namespace) -> str:
    """Return the section for docs/results.md."""
    ratios = [slow / fast for slow, fast in zip(seconds["bf16"], seconds["float32"])]
    rows = [[name, f"{statistics.median(taken):.2f}"] for name, taken in seconds.items()]
    low, middle, high = statistics.quantiles(ratios, n=4)
    chosen = autocast_dtype(arguments.device)
    return f"""## A training step in float32 and in bf16

Forward and backward pass, {arguments.batch} crops of {arguments.size} x {arguments.size} pixels, alternately,
{len(ratios)} rounds, {machine()}. Here `precision: auto` takes {str(chosen or torch.float32).removeprefix("torch.")}.

{markdown_table(["", "seconds, median"], rows)}

bf16 takes {middle:.2f} times as long as float32 (quartiles {low:.2f} to {high:.2f}).
"""


if __name__ == "__main__":
    main()
