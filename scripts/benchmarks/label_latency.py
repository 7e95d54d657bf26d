"""How long an annotator waits: our MONAI Label app beside the stock app on a bundle like the zoo's for the spleen.

    python scripts/benchmarks/label_latency.py [--rounds 3] [--work FOLDER]

One CT of 512 x 512 x 100 voxels; models of full size have random weights, because the time does not depend on what was
learned. The peer has the zoo's network and settings (`spleen_ct_segmentation`: a 3-D U-Net, 1.5 x 1.5 x 2 mm,
windows of 96 voxels, overlap 0.5); ours sees slices at 1.5 mm, once in float32 and once with its int8 export. The study
is NRRD: on NIfTI the stock app fails with MONAI 1.6's `Spacingd`. Needs .label-venv, as `scripts/test.sh` and
`scripts/monai_label.sh` make it. Writes the figures of this run into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
import SimpleITK
import torch
from dicom_loading import spread
from hippocampus import ROOT
from monai.networks.nets import UNet
from results_page import machine, markdown_table, write_section

from monai_vggunet import VGG16UNet
from monai_vggunet.data import Datalist, ModelSpec, Preprocessing
from monai_vggunet.export import quantize_model
from monai_vggunet.training import save_model

SHAPE, SPACING_MM = (512, 512, 100), (0.8, 0.8, 2.5)
PYTHON = ROOT / ".label-venv" / "bin" / "python"
FLOAT, INT8, PEER = "ours, float32", "ours, int8", "3-D U-Net, stock app"
ONE_CLICK, STOCK = ", one click", ", stock app"
NAMES = ["background", "spleen"]
BUNDLE, PEER_BUNDLE = "spleen", "spleen_ct_segmentation"
LIMIT_SEC = 900
CONV = {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2, "norm": "batch"}
WINDOW = {"a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1}
UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, **CONV}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "quickstart" / "label_latency")
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    work, port = arguments.work, arguments.port
    write_study(work / "studies" / "ct.nrrd")
    models = {FLOAT: write_model(work / "float"), INT8: write_model(work / "int8")}
    quantize(models[INT8], work / "cases")
    times: dict[str, list[float]] = {}
    first: dict[str, float] = {}
    for name, model in models.items():
        with server(work, model, port) as url:
            first[name] = infer(url, "vggunet")
            for n in range(arguments.rounds):
                times.setdefault(name, []).append(infer(url, "vggunet"))
                click = {"spleen": [[150 + 20 * n, 200, 30 + 10 * n]]}
                times.setdefault(name + ONE_CLICK, []).append(infer(url, "vggunet_clicks", **click))
    with server(work, models[INT8], port, stock=True) as url:
        first |= {INT8 + STOCK: infer(url, BUNDLE), PEER: infer(url, PEER_BUNDLE)}
        for _ in range(arguments.rounds):
            times.setdefault(INT8 + STOCK, []).append(infer(url, BUNDLE))
            times.setdefault(PEER, []).append(infer(url, PEER_BUNDLE))
    write_section("label_latency", report(times, first, arguments.rounds))


def phantom(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a CT whose body fills half of the field of view, with noise and a bright organ, and the organ's mask."""
    rows, columns = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    body = (rows / 0.85) ** 2 + (columns / 0.65) ** 2 < 1
    organ = ((rows + 0.3) / 0.2) ** 2 + (columns / 0.25) ** 2 < 1
    plane = np.where(organ, 110, np.where(body, 40, -1000))[..., None]
    noise = np.random.default_rng(seed).normal(0, 12, shape)
    return (plane + noise).astype(np.int16), np.broadcast_to(organ[..., None], shape).astype(np.uint8)


def write_study(path: Path) -> None:
    """Write the study."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = SimpleITK.GetImageFromArray(phantom(SHAPE, 0)[0].transpose(2, 1, 0))
    volume.SetSpacing(SPACING_MM)
    SimpleITK.WriteImage(volume, str(path))


def quantize(model: Path, folder: Path) -> None:
    """Write the int8 export beside our model, whatever it costs in Dice: the weights are random."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for seed in range(2):
        image, label = (folder / f"{kind}_{seed}.nii.gz" for kind in ("image", "label"))
        for path, array in zip((image, label), phantom((192, 192, 6), seed)):
            nib.save(nib.Nifti1Image(array, np.diag([1.5, 1.5, 2.5, 1.0])), path)
        cases.append({"image": str(image), "label": str(label), "case": str(seed), "patient": str(seed)})
    quantize_model(model, Datalist(cases[:1], cases[1:], NAMES, "CT"), max_dice_drop=1.0)


def write_model(folder: Path) -> Path:
    """Write our model: one organ, with clicks, at the other model's in-plane resolution."""
    prep = Preprocessing("CT", "axial", (1.5, 1.5), (160, 160), ((-57.0, 164.0),), n_neighbors=1, n_guidance=2)
    network = {"spatial_dims": 2, "in_channels": prep.in_channels, "out_channels": 2, "batch_norm": True}
    network |= {"decoder_channels": [256, 128, 64, 32], "upsample": "deconv", "dropout": 0.0}
    torch.manual_seed(0)
    save_model(VGG16UNet(**network), ModelSpec(network, prep, NAMES), folder)
    return folder / "model.pt"


def write_peer(bundle: Path) -> None:
    """Write a bundle with the zoo's network and settings for the spleen, random weights."""
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1, "spatial_shape": [96] * 3}
    pred = {**image, "format": "segmentation", "num_channels": 2, "channel_def": {"0": "background", "1": "spleen"}}
    formats = {"inputs": {"image": image}, "outputs": {"pred": pred}}
    on_image = {"keys": "image"}
    steps = [
        {"_target_": "LoadImaged", **on_image},
        {"_target_": "EnsureChannelFirstd", **on_image},
        {"_target_": "Orientationd", **on_image, "axcodes": "RAS"},
        {"_target_": "Spacingd", **on_image, "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
        {
            "_target_": "ScaleIntensityRanged",
            **on_image,
            "a_min": -57,
            "a_max": 164,
            "b_min": 0,
            "b_max": 1,
            "clip": True,
        },
    ]
    after = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    ]
    inference = {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network_def": {"_target_": "UNet", **UNET},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96] * 3, "sw_batch_size": 4, "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": after},
    }
    (bundle / "configs").mkdir(parents=True, exist_ok=True)
    (bundle / "models").mkdir(exist_ok=True)
    (bundle / "configs" / "inference.json").write_text(json.dumps(inference))
    (bundle / "configs" / "metadata.json").write_text(
        json.dumps({"version": "0.1.0", "name": PEER_BUNDLE, "network_data_format": formats})
    )
    torch.manual_seed(0)
    torch.save(UNet(**UNET).state_dict(), bundle / "models" / "model.pt")


@contextmanager
def server(work: Path, model: Path, port: int, stock: bool = False) -> Iterator[str]:
    """Start a server as scripts/monai_label.sh does; with the stock app it holds the peer's bundle too."""
    app = work / ("stock" if stock else f"app_{model.parent.name}")
    code = (
        "import sys; from monai_vggunet.annotation.placing import place_app;"
        "from monai_vggunet.annotation import serve;"
        "app, model, studies, port, name, models = sys.argv[1:];"
        "place_app(app, model, name, models != name);"
        "command = serve.server_command(app, studies, models, int(port));"
        "sys.exit(serve._become_server(command, serve.server_environment(app, name)))"
    )
    name = BUNDLE if stock else "vggunet"
    if stock:
        write_peer(app / "model" / PEER_BUNDLE)
    models = f"{BUNDLE},{PEER_BUNDLE}" if stock else name
    words = [str(PYTHON), "-c", code, str(app), str(model), str(work / "studies"), str(port), name, models]
    with (work / "server.log").open("a") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(url):
            if process.poll() is not None:
                raise SystemExit(f"the server did not start: see {log.name}")
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether the server answers."""
    try:
        return requests.get(f"{url}/info/", timeout=30).ok
    except requests.ConnectionError:
        return False


def infer(url: str, model: str, **asked: Any) -> float:
    """Return the seconds until the mask arrives, requested as a viewer does."""
    started = time.monotonic()
    answer = requests.post(
        f"{url}/infer/{model}",
        params={"image": "ct", "output": "image"},
        data={"params": json.dumps({"device": "cpu", "result_extension": ".nrrd", "result_dtype": "uint8", **asked})},
        timeout=LIMIT_SEC,
    )
    answer.raise_for_status()
    seconds = time.monotonic() - started
    print(f"{model}: {seconds:.1f} s, {len(answer.content)} bytes", flush=True)
    return seconds


def report(times: dict[str, list[float]], first: dict[str, float], rounds: int) -> str:
    """Return the section for docs/results.md."""
    peer = np.median(times["3-D U-Net, stock app"])
    rows = [
        [
            name,
            spread(times[name]),
            f"{first[name]:.1f}" if name in first else "",
            f"{peer / np.median(times[name]):.1f}",
        ]
        for name in (INT8, INT8 + ONE_CLICK, FLOAT, FLOAT + ONE_CLICK, INT8 + STOCK, PEER)
    ]
    return f"""## Annotation: how long *Run* takes

A CT of 512 x 512 x 100 voxels, from the request to MONAI Label's server to the mask in the client's hands (NRRD,
uint8). The last row is MONAI Label's app `monaibundle` with the network and settings of the model zoo's bundle for the
spleen; weights are random, which the time does not depend on. *First* includes loading the model. Median of {rounds},
quartiles in brackets; servers one after the other, models of the stock app alternately; {machine()}.
The two networks are no equals: ours has 18.6 million parameters, that one 4.8 million.

{markdown_table(["", "seconds", "first", "times as fast as the last row"], rows)}
"""


if __name__ == "__main__":
    main()
