"""Settings of MONAI Label (0.8.5) that would open what the front relies on being closed: the server does not start."""

from __future__ import annotations

from typing import Any

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.names import shortened

__all__ = ["require_served"]

UNSERVED = {
    "MONAI_LABEL_AUTH_ENABLE": "MONAI Label 0.8.5 checks no token that its own login gives: set a token of this server",
    "MONAI_LABEL_API_STR": "the front knows MONAI Label's routes without a prefix: let a proxy add it",
    "MONAI_LABEL_DATASTORE": "studies are a folder's or a DICOMweb server's: MONAI Label's other stores check nothing",
    "MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME": "files would be named by what the DICOMweb server says: unset it",
}
# Of volumes and pictures, as MONAI Label has them. Any other, such as "*", would show its index as a study, and let
# an upload end in a file of any kind.
ENDINGS = frozenset({"*.nii.gz", "*.nii", "*.nrrd", "*.seg.nrrd", "*.jpg", "*.png", "*.tif", "*.svs", "*.xml"})
LONGEST_TIMEOUT_SEC = 600.0


def require_served(settings: Any) -> None:
    """Refuse settings, whether they come from the environment or from a file `.env`, with which the front has holes.

    Args:
        settings: `monailabel.config.settings`.

    Raises:
        ConfigurationError: the text names the setting.
    """
    for name, reason in UNSERVED.items():
        if getattr(settings, name):
            raise ConfigurationError(f"{name} is set, with which the server does not start: {reason}")
    for ending in settings.MONAI_LABEL_DATASTORE_FILE_EXT:
        if ending not in ENDINGS:
            expected = ", ".join(sorted(ENDINGS))
            text = f"MONAI_LABEL_DATASTORE_FILE_EXT has {shortened(ending)}; expected some of {expected}"
            raise ConfigurationError(text)
    timeout_sec = settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT
    if not 0 < timeout_sec <= LONGEST_TIMEOUT_SEC:
        text = f"MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT is {timeout_sec}; expected seconds, at most {LONGEST_TIMEOUT_SEC:g}"
        raise ConfigurationError(text)
