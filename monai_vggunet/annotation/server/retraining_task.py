"""Training as a MONAI Label task: the placed bundle on the submitted labels, one run at a time."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.tasks.train.bundle import BundleTrainTask
from monailabel.utils.async_tasks.utils import processes

from monai_vggunet.annotation.labeled_cases import study_name
from monai_vggunet.annotation.lock import held_alone
from monai_vggunet.annotation.server.segmentation_task import device_of
from monai_vggunet.annotation.training_stats import note_start, training_stats
from monai_vggunet.errors import ConfigurationError
from monai_vggunet.layout import MODELS, TRAINING
from monai_vggunet.privacy import protect_output

__all__ = ["RetrainingTask"]

LOCK = "training.lock"
TRAINING_ALREADY = "another training of this model is running: wait for it, or stop it"
PATIENT_KEY = re.compile("[0-9a-f]{16}")  # see `DicomWebStudies`
# Of a retraining while someone waits; a client may ask for other numbers. A batch of 0 is chosen by size and memory.
OPTIONS = {"max_epochs": 20, "iterations_per_epoch": 20, "batch_size": 0}

_log = logging.getLogger(__name__)


class RetrainingTask(BundleTrainTask):
    """Train the model further on all submitted labels; it is replaced where it became better.

    Args:
        bundle: folder of the placed bundle.
        conf: of the app.
    """

    def __init__(self, bundle: Path, conf: dict[str, str]) -> None:
        super().__init__(str(bundle), conf)
        self._asked = OPTIONS
        self.description = "trains on all submitted labels; the model is replaced only by a better one"

    def config(self) -> dict[str, Any]:
        """Return what a client may choose; the split is not among it: validation cases stay the same."""
        return {"device": super().config()["device"], **OPTIONS}

    def stats(self) -> dict[str, Any]:
        """Return what clients show as bars; asked in the server's own process."""
        bundle = Path(self.bundle_path)
        running = next((process.pid for process in processes("train").copy().values()), None)
        return training_stats(bundle / MODELS, bundle / TRAINING, running)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train until it is done; runs in a process of its own.

        Raises:
            ConfigurationError: another training of this model is running, or an option is no number it could be.
        """
        protect_output()  # a refusal stands last; MONAI Label shows the last lines of this process
        asked = {name: request.get(name, default) for name, default in OPTIONS.items()}
        for name, value in asked.items():
            least = 0 if name == "batch_size" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"{name} is {value!r}; expected a whole number from {least}")
        self._asked = asked
        fixed = {"val_split": -1, "pretrained": True, "multi_gpu": False, "tracking": "none"}
        # The bundle's config takes it: a text that begins with "$" would be code there.
        fixed |= {"model": request["model"], "device": device_of(request.get("device") or "cpu")}
        with held_alone(Path(self.bundle_path) / LOCK, TRAINING_ALREADY):
            note_start(Path(self.bundle_path) / TRAINING, asked["max_epochs"])
            return super().__call__(asked | fixed, datastore)

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Add what the stock task does not pass on."""
        overrides["iterations_per_epoch"] = self._asked["iterations_per_epoch"]
        if self._asked["batch_size"]:
            overrides["batch_size"] = self._asked["batch_size"]
        return overrides

    def _fetch_datalist(self, request: dict[str, Any], datastore: Datastore) -> list[dict[str, str]]:
        """Return image and label of every labeled study, and a key of its patient where the server knows them."""
        cases = []
        for entry in datastore.datalist():
            case = {"image": entry["image"], "label": entry["label"]}
            study = study_name(entry["image"])
            patient = str(datastore.get_image_info(study).get("PatientID"))
            if PATIENT_KEY.fullmatch(patient):  # the lists go into the bundle's config, where "$" begins code
                case["patient"] = patient
            cases.append(case)
        return cases
