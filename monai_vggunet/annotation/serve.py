"""A MONAI Label server for a folder of studies or a DICOMweb server: for this machine alone, or whoever has its token.

`scripts/monai_label.sh` installs MONAI Label and calls `python -m monai_vggunet.annotation.serve STUDIES`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import monai_vggunet.annotation.compat
from monai_vggunet.annotation.access import Access, access_options, chosen_access, require_no_password
from monai_vggunet.annotation.addresses import LOOPBACK, WEB, is_web_url
from monai_vggunet.annotation.app_code import CODE, TEMPORARY, require_apart
from monai_vggunet.annotation.front.redaction import hide_studies, redact_logs
from monai_vggunet.annotation.lock import held_alone
from monai_vggunet.annotation.placing import DEFAULT_NAME, place_app
from monai_vggunet.data import ModelSpec
from monai_vggunet.errors import ConfigurationError, VGGUNetError
from monai_vggunet.layout import MODEL, MODELS, spec_beside
from monai_vggunet.privacy import know_input, tell

__all__ = ["main", "server_command", "server_environment"]

LOCK = "server.lock"
WRITTEN = ("MONAI_LABEL_DICOMWEB_CACHE_PATH", "MONAI_LABEL_SESSION_PATH")  # settings that name folders
CONNECTION = "monai_vggunet.annotation.server.connection:BoundedConnection"
DEFAULT_MODEL, DEFAULT_APP, DEFAULT_PORT = f"quickstart/{MODELS}/{MODEL}", "label_app", 8000


def server_command(
    app_dir: str | os.PathLike[str],
    studies: str,
    name: str = DEFAULT_NAME,
    port: int = DEFAULT_PORT,
    host: str = LOOPBACK,
) -> list[str]:
    """Return the command that starts MONAI Label on a placed app, without its requests to the model zoo and to SAM 2.

    Args:
        app_dir: the app's folder, as `place_app` made it.
        studies: folder of studies, or the URL of a DICOMweb server.
        name: of the placed model.
        port: of the server.
        host: name or address to listen on.
    """
    code = str(Path(app_dir) / CODE)
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", code, "--studies", studies]
    command += ["--host", host, "--port", str(port), "--uvicorn_app", "monai_vggunet.annotation.server.asgi:app"]
    return [*command, "--conf", "models", name, "--conf", "zoo_source", "local", "--conf", "sam2", "false"]


def server_environment(
    app_dir: str | os.PathLike[str], name: str = DEFAULT_NAME, access: Access | None = None
) -> dict[str, str]:
    """Return the environment of the server and of the processes it starts: where to look and where to keep things.

    What is set already stays as it is, so that every setting of MONAI Label can be chosen from outside; who may reach
    the server is `access` alone.
    """
    app = Path(app_dir).resolve()
    modality = ModelSpec.read(spec_beside(app / "model" / name / MODELS / MODEL)).preprocessing.modality
    compat = Path(monai_vggunet.annotation.compat.__file__).parent
    package = Path(monai_vggunet.__file__).parents[1]
    environment = {
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": json.dumps({"Modality": modality}),
        # Copies of a PACS' studies and of a client's uploads lie with the app, not in the home folder.
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(app / "cache" / "dicom"),
        "MONAI_LABEL_SESSION_PATH": str(app / "cache" / "sessions"),
        # Seconds for which lists of a PACS' series are kept; two hours otherwise, in which nothing new is seen.
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "10",
        # Otherwise every "next sample" starts a process that scores all studies while the annotator waits.
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        **{name: value for name, value in os.environ.items() if name not in WRITTEN},
        **written_folders(),
        **(access or Access()).environment(),
        "PYTHONSAFEPATH": "1",  # no process looks for code in the folder it was started in
    }
    searched = [str(compat), str(package), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(searched)
    environment["PATH"] = os.pathsep.join([str(app / "bin"), environment.get("PATH", os.defpath)])
    return environment


def written_folders() -> dict[str, str]:
    """Return the folders that settings of MONAI Label name, in full: the server runs in another working directory."""
    given = {name: os.environ.get(name, "").strip() for name in WRITTEN}
    return {name: str(Path(place).resolve()) for name, place in given.items() if place}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: place the app and serve it; a refusal is one message and exit status 2."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        access = chosen_access(given)
        if not is_web_url(given.studies):
            know_input(given.studies)
        studies = _studies(given.studies)
        app = Path(given.app).resolve()
        ModelSpec.read(spec_beside(given.model))
        require_apart(app, [place for place in (studies, *written_folders().values()) if not is_web_url(place)])
        with held_alone(app / LOCK, f"another server runs on {app}: end it, or name another folder with --app"):
            place_app(app, given.model, given.name, given.stock)
            hide_studies(app, studies)
            tell(f"http://{access.address}:{given.port} will serve {studies}; Ctrl-C ends it")
            sys.stdout.flush()
            command = server_command(app, studies, given.name, given.port, access.host)
            _use_temporary_folder(app / TEMPORARY)
            return _become_server(command, server_environment(app, given.name, access))
    except VGGUNetError as error:
        tell(f"monai-vggunet: {error}", error=True)
        return 2


def _studies(given: str) -> str:
    """Return where the studies are, a folder's path in full."""
    if "://" in given:
        require_no_password(given)
        if not is_web_url(given):
            raise ConfigurationError(f"{given} is no DICOMweb URL; expected one that begins with {' or '.join(WEB)}")
        return given
    if not Path(given).is_dir():
        raise ConfigurationError(f"there is no folder {given}: name the folder of studies, or a DICOMweb URL")
    return str(Path(given).resolve())


def _use_temporary_folder(place: Path) -> None:
    """Let MONAI Label leave there what it leaves when it starts; it is emptied before the first request."""
    place.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(place)


def _become_server(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run MONAI Label's command in this process, which has imported most of what it needs; it ends with Ctrl-C."""
    import uvicorn.config  # of MONAI Label's environment

    uvicorn.config.HTTP_PROTOCOLS["auto"] = CONNECTION
    redact_logs()
    os.environ.update(environment)  # read by its settings when they are imported, and by the processes it starts
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    sys.argv = [command[2], *command[3:]]
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/monai_label.sh", description="Annotate with the model in the loop, from 3D Slicer or OHIF."
    )
    parser.add_argument("studies", help="folder of NIfTI or NRRD files, or the URL of a DICOMweb server")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="model.pt with its model.json beside it (%(default)s)")
    parser.add_argument(
        "--app", default=DEFAULT_APP, help="folder of the app, its model, logs and copies of studies (%(default)s)"
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="of the model, as clients show it (%(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the server (%(default)s)")
    access_options(parser)
    parser.add_argument("--stock", action="store_true", help="MONAI Label's own app 'monaibundle' instead of ours")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
