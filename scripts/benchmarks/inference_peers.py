"""The peers of inference.py: each turns slices `(n, 3, H, W)` into labels `(n, H, W)`, as its users do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import segmentation_models_pytorch as smp
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import FlexibleUNet
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

__all__ = ["Peer", "peers"]

WINDOW = 256
N_CLASSES = 4


@dataclass(frozen=True)
class Peer:
    """A network, and how its users run it over a batch of slices."""

    name: str
    network: nn.Module
    labels_of: Callable[[torch.Tensor], torch.Tensor]


def peers(size: int, device: torch.device, every: bool = True) -> list[Peer]:
    """Return the peers, with random weights, in float32 on a CPU and under their own autocast on CUDA.

    Args:
        size: side of the slices, pixels; nnU-Net plans its patch for it.
        device: where they run.
        every: False leaves out all but the first.
    """
    networks = {"smp Unet vgg16_bn": smp.Unet("vgg16_bn", encoder_weights=None, in_channels=3, classes=N_CLASSES)}
    if every:
        for backbone in ("resnet34", "efficientnet-b0"):
            networks[f"FlexibleUNet {backbone}"] = FlexibleUNet(3, N_CLASSES, backbone, pretrained=False)
    found = []
    for name, network in networks.items():
        ready = network.to(device).eval()
        for overlap in (0.5, 0.25) if name.startswith("smp") else (0.5,):
            found.append(Peer(f"{name}, windows, overlap {overlap}", ready, windows(ready, overlap)))
    if every:
        network = nnunet(size).to(device).eval()
        for mirroring in (False, True):
            predict = nnunet_predictor(network, size, device, mirroring)
            found.append(Peer(f"nnU-Net 2D, {'with' if mirroring else 'no'} mirroring", network, predict))
    return found


def windows(network: nn.Module, overlap: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """MONAI's sliding window, used as in its documentation."""
    inferer = SlidingWindowInferer((WINDOW, WINDOW), sw_batch_size=4, overlap=overlap)

    def labels_of(slices: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(slices.device.type, enabled=slices.is_cuda):
            return torch.cat([inferer(one[None], network).argmax(1) for one in slices])  # type: ignore[union-attr]

    return labels_of


def nnunet(size: int) -> nn.Module:
    """The network that nnU-Net plans by default for 2D slices of this size: halved down to 4 or 5 pixels."""
    stages = 1
    while size / 2 ** (stages - 1) >= 8 and stages < 8:
        stages += 1
    return PlainConvUNet(
        3,
        stages,
        [min(512, 32 * 2**stage) for stage in range(stages)],
        nn.Conv2d,
        3,
        [1, *[2] * (stages - 1)],
        2,
        N_CLASSES,
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def nnunet_predictor(
    network: nn.Module, size: int, device: torch.device, mirroring: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    """nnU-Net's own predictor, its default step of half a patch."""
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_mirroring=mirroring, device=device, verbose=False, allow_tqdm=False,
        perform_everything_on_device=device.type == "cuda",
    )  # fmt: skip
    configuration = {"patch_size": [size, size], "spacing": [1.0, 1.0], "architecture": {}}
    plans = PlansManager({"configurations": {"2d": configuration}, "label_manager": "LabelManager"})
    dataset = {"labels": {"background": 0, **{f"class{n}": n for n in range(1, N_CLASSES)}}}
    predictor.manual_initialization(
        network, plans, plans.get_configuration("2d"), [network.state_dict()], dataset, "nnUNetTrainer", (0, 1)
    )

    def labels_of(slices: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return predictor.predict_sliding_window_return_logits(slices.movedim(0, 1)).argmax(0)

    return labels_of
