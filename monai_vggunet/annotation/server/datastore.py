"""MONAI Label's stores of studies, with labels checked by geometry, every version kept, and an index that survives."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore

from monai_vggunet.annotation.front.values import is_name
from monai_vggunet.annotation.server.refusals import BAD_CONTENT, CONFLICT, NOT_FOUND, refusals_as_answers, refuse
from monai_vggunet.annotation.submissions import fitted_label, keep_version
from monai_vggunet.atomic_files import sha256_of_file, write_json
from monai_vggunet.data import ModelSpec
from monai_vggunet.errors import LabelContentError
from monai_vggunet.layout import LABEL_HISTORY, results_among, spec_beside
from monai_vggunet.names import listed, readable, shortened
from monai_vggunet.outputs import write_mask
from monai_vggunet.privacy import know_cases, know_names

__all__ = ["CheckedLabels", "FolderStudies", "KeptFolder", "SafeIndex"]

_log = logging.getLogger(__name__)

PLAIN = (str, int, float, bool, type(None))


class SafeIndex(LocalDatastore):
    """A store that lists no file it could not serve, and whose index is whole at any time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self._auto_reload:
            self._handler.on_moved = self._index_was_replaced

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """List files as MONAI Label does, without those it could not serve: its names travel as JSON, as UTF-8.

        Pipes and devices, which nobody should wait for, are left out too, and so are results of `segment`.
        """
        folder = Path(path)
        files = super()._list_files(path, patterns)
        know_names(folder / name for name in files)
        results = results_among(folder, os.listdir(folder))
        fit = {name: file for name, file in files.items() if name not in results and _can_be_served(folder / name)}
        if len(fit) < len(files):
            _log.warning("left out of the studies: %s", listed(sorted(files.keys() - fit.keys())))
        return fit

    def _index_was_replaced(self, event: Any) -> None:
        """Read the index again when another process, such as the scoring, has put a new one in place."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()

    def _update_datastore_file(self, lock: bool = True) -> None:
        """Write the index whole or not at all: a server killed while writing it must start again."""
        with FileLock(self._lock_file) if lock else nullcontext():
            write_json(self._datastore_config_path, self._datastore.model_dump(exclude={"base_path"}, mode="json"))
            self._config_ts = os.stat(self._datastore_config_path).st_mtime


class CheckedLabels(SafeIndex):
    """A store that checks labels and keeps every version; `model` is set by the app once the store is there."""

    model: Path | None = None

    @contextmanager
    def _checked(
        self, study: str, label: str, tag: str, info: dict[str, Any] | None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the label's file on the study's own grid, and what is said of it; keep it as a version of the label."""
        with refusals_as_answers():
            if not isinstance(info or {}, dict):
                raise LabelContentError(f"params is a {type(info).__name__}; expected a JSON object, or nothing")
            said = dict(info or {})
            if study not in self.list_images():
                raise refuse(NOT_FOUND, f"there is no study {study!r} to label")
            image = self.get_image_uri(study)
            if not image or not os.path.exists(image):
                raise refuse(NOT_FOUND, f"the study {study!r} is gone: its label is not stored")
            assert self.model is not None  # set by the app
            spec = ModelSpec.read(spec_beside(self.model))
            array, affine = fitted_label(label, image, spec.class_names, said.get("label_info"))
            # The file's numbers are the model's from here on.
            said["label_info"] = [{"name": name, "idx": n} for n, name in enumerate(spec.class_names) if n]
            # Who sent it, and whatever plain values a client adds; a PACS' identifiers stay out of the history.
            note = {key: value for key, value in said.items() if key == "client_id" and isinstance(value, PLAIN)}
            note |= {"tag": str(getattr(tag, "value", tag)), "model": spec.weights_sha256}
            keep_version(Path(self._datastore_path) / LABEL_HISTORY, study, array, affine, note)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "label.nii.gz"
                write_mask(file, array, affine)
                yield str(file), said


def _can_be_served(file: Path) -> bool:
    return file.is_file() and readable(file.name) == file.name


class KeptFolder(SafeIndex):
    """A folder of studies in which no upload takes another's place."""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a new study under its name; a path is refused with 422, another study's name with 409.

        The same volume once more, as 3D Slicer sends it before a label, changes nothing.
        """
        with refusals_as_answers():
            if not is_name(image_id):
                raise refuse(
                    BAD_CONTENT, f"a study cannot be called {shortened(image_id)}: choose a name, never a path"
                )
            know_cases([image_id])
            if image_id in self.list_images():
                known = self.get_image_uri(image_id)
                if os.path.exists(known) and _same_content(known, image_filename):
                    return image_id
                raise refuse(CONFLICT, f"there is another study {image_id!r} already: choose another name")
            target = Path(self._datastore.image_path()) / self._filename(image_id, self._to_id(image_filename)[1])
            if os.path.lexists(target):  # one that is not listed yet, or a link that leads nowhere
                raise refuse(CONFLICT, f"there is a file for {image_id!r} already: choose another name")
            try:
                return super().add_image(image_id, image_filename, image_info)
            except OSError:  # a full disk: what is half a study would be listed as one
                target.unlink(missing_ok=True)
                raise


class FolderStudies(CheckedLabels, KeptFolder):
    """A folder of NIfTI or NRRD files; labels go to `labels/final`, all versions to `label_history`."""

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label; one that does not fit its study is refused with 422, an unknown study with 404."""
        with self._checked(image_id, label_filename, label_tag, label_info) as (file, said):
            place = Path(self._datastore.label_path(label_tag)) / self._filename(image_id, ".nii.gz")
            if place.is_symlink():  # what it leads to is none of ours
                raise refuse(CONFLICT, f"the label of {image_id!r} is a link to another file: remove it first")
            return super().save_label(image_id, file, label_tag, said)


def _same_content(known: str, arrived: str) -> bool:
    """Whether two files have the same content; that of a known one of another size is never read."""
    return os.path.getsize(known) == os.path.getsize(arrived) and sha256_of_file(known) == sha256_of_file(arrived)
