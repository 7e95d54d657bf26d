"""The app: one model, segmentation, retraining that cannot lose, and the choice of the next study."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

from monai_vggunet._version import __version__
from monai_vggunet.annotation.addresses import is_web_url
from monai_vggunet.annotation.client_segments import descriptions_of
from monai_vggunet.annotation.front.redaction import hide_studies
from monai_vggunet.annotation.server.click_task import ClickTask
from monai_vggunet.annotation.server.datastore import FolderStudies
from monai_vggunet.annotation.server.dicomweb_studies import DicomWebStudies
from monai_vggunet.annotation.server.own_folder import is_own_file
from monai_vggunet.annotation.server.refusals import NOT_FOUND, refusals_as_answers, refuse
from monai_vggunet.annotation.server.retraining_task import RetrainingTask
from monai_vggunet.annotation.server.segmentation_task import SegmentationTask
from monai_vggunet.annotation.server.studies_archive import archive_client
from monai_vggunet.annotation.server.uncertainty import UncertaintyScoring, UncertaintyStrategy
from monai_vggunet.data import ModelSpec
from monai_vggunet.layout import CONFIGS, METADATA, MODEL, MODELS, spec_beside

__all__ = ["VGGUNetLabelApp"]


class VGGUNetLabelApp(MONAILabelApp):
    """MONAI Label app on a placed bundle.

    Args:
        app_dir: folder made by `place_app`.
        studies: folder of studies, or the URL of a DICOMweb server.
        conf: MONAI Label's; `models` names the placed model.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.model_name = str(conf["models"])
        self.bundle = Path(app_dir) / "model" / self.model_name
        self.model = self.bundle / MODELS / MODEL
        metadata = json.loads((self.bundle / CONFIGS / METADATA).read_text(encoding="utf-8"))
        hide_studies(Path(app_dir).resolve().parent, studies)  # also in the processes that train and score
        super().__init__(app_dir, studies, conf, "monai-vggunet", metadata["description"], __version__)
        self._datastore.model = self.model  # type: ignore[attr-defined]

    def init_datastore(self) -> Datastore:
        """Return the store of the studies."""
        if is_web_url(self.studies):
            return super().init_datastore()
        extensions, reload = settings.MONAI_LABEL_DATASTORE_FILE_EXT, settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD
        read_only = settings.MONAI_LABEL_DATASTORE_READ_ONLY
        return FolderStudies(self.studies, extensions=extensions, auto_reload=reload, read_only=read_only)

    def _init_dicomweb_datastore(self) -> Datastore:
        cache = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or None
        return DicomWebStudies(archive_client(), settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER, cache)

    def init_infers(self) -> dict[str, InferTask]:
        """Return the tasks of `/infer`."""
        automatic = SegmentationTask(self.model, self.description)
        tasks: dict[str, InferTask] = {self.model_name: automatic}
        if ModelSpec.read(spec_beside(self.model)).preprocessing.n_guidance:
            tasks[f"{self.model_name}_clicks"] = ClickTask(automatic)
        return tasks

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return the tasks of `/train`."""
        return {self.model_name: RetrainingTask(self.bundle, self.conf)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the strategies of `/activelearning`."""
        return {"uncertainty": UncertaintyStrategy(), "random": Random(), "first": First()}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return the methods of `/scoring`."""
        return {"uncertainty": UncertaintyScoring(self.model)}

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment a study; what cannot be done is answered with 404 or 422 and its reason."""
        with refusals_as_answers():
            _known(request.get("model"), self._infers, "model")
            image, store = request.get("image"), datastore or self.datastore()
            if isinstance(image, str) and not _put_here_by_the_server(request, image):
                uri = store.get_image_uri(image)
                if not uri or not os.path.exists(uri):
                    raise refuse(NOT_FOUND, f"there is no study {image!r}: it was renamed, deleted or never here")
            described, names = request.get("label_info"), ModelSpec.read(spec_beside(self.model)).class_names
            if described:
                descriptions_of([], described, names)  # a malformed one is refused before anything is computed
            result = super().infer(request, datastore)
            if described:
                # The endpoint's own list: it gives the first entry to the first class that is there.
                described[:] = descriptions_of(result["params"]["found"], described, names)
            return result

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next study to annotate."""
        with refusals_as_answers():
            _known(request.get("strategy") or "random", self._strategies, "strategy")
            return super().next_sample(request)

    def bundle_path(self, model: str | None) -> str | None:
        """Return a folder for the import path of a training, scoring or batch, which MONAI Label asks for.

        The app's own, which holds no code but its `main.py` and nothing that requests write; a bundle's would be
        searched for code, and trainings write into it. An unknown model, which MONAI Label would accept and fail on
        where only the log tells, is refused here.
        """
        if model is not None:
            _known(model, self._trainers, "model")
        return str(self.app_dir)

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Score studies, in a process of its own."""
        with refusals_as_answers():
            _known(request.get("method"), self._scoring_methods, "scoring method")
            return super().scoring(request, datastore)


def _put_here_by_the_server(request: dict[str, Any], image: str) -> bool:
    """Whether a path is a session's or an upload's; a client names a study, never a path of this machine."""
    session = request.get("session")
    of_session = isinstance(session, dict) and image == session.get("image") and os.path.exists(image)
    return of_session or is_own_file(image)


def _known(name: Any, known: dict[str, Any], what: str) -> None:
    if name not in known:
        raise refuse(NOT_FOUND, f"there is no {what} {name!r}; expected one of {', '.join(sorted(known))}")
