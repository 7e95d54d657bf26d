"""The parameters of MONAI Label's routes that are passed on, by name, each of its kind.

What 3D Slicer's extension and OHIF send is among them, and what the stock app's options are; see their sources in
MONAI Label's `plugins` (`slicer/MONAILabel/MONAILabelLib/client.py`, `ohifv3/extensions/monai-label`).
"""

from __future__ import annotations

from typing import Any

from monai_vggunet.annotation.client_segments import segment_entries
from monai_vggunet.annotation.front.values import (
    Kind,
    ObjectKind,
    Served,
    choice,
    either,
    is_name,
    list_of,
    number,
    optional,
    pattern,
    plain_name,
    whole_number,
)
from monai_vggunet.file_kinds import NIFTI_ENDINGS, NRRD_ENDING, SLICER_ENDING
from monai_vggunet.uid_forms import UID_PATTERN

__all__ = [
    "ACTIVE_LEARNING",
    "BATCH",
    "CLIENT",
    "CLIENT_ALONE",
    "FLAG",
    "FRAMES",
    "IMAGES",
    "INFER",
    "LABEL",
    "NAME",
    "NEW_STUDY",
    "OUTPUT",
    "RESULT",
    "SCORING",
    "SESSION",
    "STUDY",
    "TAG",
    "TRAIN",
    "TRAIN_BY_MODEL",
    "UID",
    "VIEWER_FILE",
]

NOT_FOUND = 404  # RFC 9110: what is named is not here, and a path names nothing here
MOST_CLICKS, MOST_SEGMENTS, MOST_EPOCHS, MOST_STUDIES, MOST_DEVICES = 1000, 256, 10_000, 1_000_000, 32

NAME = plain_name("a name, never a path", NOT_FOUND)
STUDY = plain_name("the id of a study, never a path", NOT_FOUND)
# It becomes a file's name: letters and digits of any script, and marks that no program takes for anything else. An
# ending in the middle would be cut out by MONAI Label.
_FILE_NAME = pattern(r"(?!.*(\.\.|\.nii|\.nrrd))\w[\w .,()+=:-]{0,98}[\w)]|\w", "")
NEW_STUDY = Kind(
    "a new study's id: letters, digits, spaces and .,()+=:-_ (none where the studies are a DICOMweb server's)",
    lambda value, served: not served.archive and _FILE_NAME.accepts(value, served),
)
SESSION = pattern(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "the id of a session of this server", NOT_FOUND)
UID = pattern(UID_PATTERN, "a DICOM UID", NOT_FOUND)
FRAMES = pattern(r"[0-9]{1,6}(,[0-9]{1,6}){0,99}", "numbers of frames", NOT_FOUND)
VIEWER_FILE = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "the name of one of the viewer's pages or files", NOT_FOUND)
TAG = choice("final", "original")
OUTPUT = choice("all", "stats", "train")
_RESULT = choice("all", "dicom_seg", "image", "json")
RESULT = Kind(
    f"{_RESULT.expected}; dicom_seg where the studies are a DICOMweb server's",
    lambda value, served: _RESULT.accepts(value, served) and (value != "dicom_seg" or served.archive),
)
IMAGES = choice("all", "labeled", "unlabeled")
FLAG = choice("true", "false")

CLIENT = optional(pattern(r"\w[\w .@+-]{0,63}", "a client's name: letters, digits and .@+-_"))
YES_OR_NO = choice(True, False)
_DEVICE = pattern(r"[A-Za-z][\w .,()+-]*(:\d+)?", "a device's name")
DEVICE = either(_DEVICE, list_of(_DEVICE, MOST_DEVICES, "a list of such names"), choice("", None))
GPUS = pattern(r"all|[0-9]{1,2}(,[0-9]{1,2})*", "'all', or numbers of GPUs such as 0,1")
# A file of the models' folder: MONAI Label appends it to that folder's path.
MODEL_FILE = pattern(r"\w[\w-]*\.pt", "the name of a file with weights, *.pt")

# JSON has integers and floats; a viewer's own rounding may leave either.
_INDEX = number(-1e6, 1e6)
_VOXEL = list_of(_INDEX, 3, "three voxel indices", least=3)
CLICKS = optional(list_of(_VOXEL, MOST_CLICKS, "a list of clicks, three voxel indices [i, j, k] each"))
BOX = optional(list_of(_INDEX, 6, "a box: at most six numbers"))


def _describes_segments(value: Any, served: Served) -> bool:
    """Whether a list of segments has the right form (or says itself what is wrong), and no text in it is a path."""
    if isinstance(value, list) and len(value) > MOST_SEGMENTS:
        return False
    segment_entries(value)
    return all(is_name(key) and _harmless(entry, served) for segment in value for key, entry in segment.items())


def _harmless(value: Any, served: Served) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_SEGMENTS and all(type(entry) in (int, float) for entry in value)
    if isinstance(value, str):
        return not value or _names_class(value, served)
    return value is None or isinstance(value, (bool, int, float))


def _names_class(value: Any, served: Served) -> bool:
    return is_name(value) or (isinstance(value, str) and value in served.labels)  # one may be called "left/right"


SEGMENTS = optional(Kind("a list of segments, without any path", _describes_segments))
# The segment that is clicked for, as 3D Slicer says it beside the clicks.
SEGMENT = Kind("the name of a class, never a path", lambda value, served: _names_class(value, served))

CLIENT_ALONE = ObjectKind(fields={"client_id": CLIENT})
INFER = ObjectKind(
    fields={
        "client_id": CLIENT,
        "device": DEVICE,
        "model_filename": either(MODEL_FILE, list_of(MODEL_FILE, MOST_DEVICES, "a list of such names")),
        "label": SEGMENT,
        "label_info": SEGMENTS,
        "foreground": CLICKS,
        "background": CLICKS,
        "roi": BOX,
        "reset_state": YES_OR_NO,
        "restore_label_idx": YES_OR_NO,
        "result_extension": choice(*NIFTI_ENDINGS, NRRD_ENDING, SLICER_ENDING),
        "result_dtype": choice("uint8"),
        "result_compress": YES_OR_NO,
    },
    per_label=CLICKS,
)
LABEL = ObjectKind(fields={"client_id": CLIENT, "label_info": SEGMENTS})
ACTIVE_LEARNING = CLIENT_ALONE
SCORING = ObjectKind(fields={"client_id": CLIENT, "max_samples": whole_number(0, MOST_STUDIES)})
BATCH = ObjectKind(
    fields={
        "client_id": CLIENT,
        "device": DEVICE,
        "multi_gpu": YES_OR_NO,
        "gpus": GPUS,
        "logging": choice("INFO", "WARNING", "ERROR"),
        "save_label": YES_OR_NO,
        "label_tag": choice("original"),  # what people drew stays
        "max_workers": whole_number(0, MOST_DEVICES),
        "max_batch_size": whole_number(0, MOST_STUDIES),
    }
)
TRAIN = ObjectKind(
    fields={
        "client_id": CLIENT,
        "device": DEVICE,
        "max_epochs": whole_number(1, MOST_EPOCHS),
        "iterations_per_epoch": whole_number(1, MOST_EPOCHS),
        "batch_size": whole_number(0, MOST_EPOCHS),
        # of the stock app
        "pretrained": YES_OR_NO,
        "val_split": number(-1, 1),
        "multi_gpu": YES_OR_NO,
        "gpus": GPUS,
        "model_filename": either(MODEL_FILE, list_of(MODEL_FILE, MOST_DEVICES, "a list of such names")),
        # Offered by it, and sent back by 3D Slicer: where to write, and which expression to run. As offered, or not.
        "tracking": choice("", "None", "none", None),
        "tracking_uri": choice("", None),
        "tracking_experiment_name": choice("", None),
        "run_id": choice("", "run"),
    }
)
TRAIN_BY_MODEL = ObjectKind(fields={"client_id": CLIENT}, per_model=TRAIN)
