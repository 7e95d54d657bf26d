"""NiiVue, the viewer of the reports (niivue.com, BSD-2-Clause): where it lies, and how it is fetched.

It is no part of this repository. `npm pack` fetches the pinned package, its hash is compared, and its one script is put
beside the pages (and so into a wheel built there), or into the user's cache. Reports are written without it too, with a
plainer viewer of our own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from monai_vggunet.atomic_files import atomic_path
from monai_vggunet.errors import IrregularFileError, OutputWriteError, ViewerMissingError
from monai_vggunet.regular_files import IRREGULAR, read_start

__all__ = ["NIIVUE_VERSION", "fetch_niivue", "find_niivue", "niivue_notice"]

NIIVUE_VERSION = "0.69.0"
# As the npm registry states it for this version (`npm view @niivue/niivue@VERSION dist.integrity`).
INTEGRITY = "sha512-YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
SCRIPT_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
MEMBER = "package/dist/niivue.umd.js"
NAME = f"niivue-{NIIVUE_VERSION}.umd.js"
TEMPLATES = Path(__file__).parent / "templates"
MOST_BYTES = 1 << 28  # that are read of the package or the script; both have some MB, and a longer file is neither
NPM_LIMIT_SEC = 120


def find_niivue() -> Path | None:
    """Return the script from the package or the user's cache; None if neither holds the whole pinned one."""
    for folder in (TEMPLATES, _cache()):
        file = folder / NAME
        if file.is_file() and hashlib.sha256(read_start(file, MOST_BYTES)).hexdigest() == SCRIPT_SHA256:
            return file
    return None


def niivue_notice() -> str:
    """Return NiiVue's license, which must accompany every copy of it."""
    return (TEMPLATES / "niivue_license.txt").read_text(encoding="utf-8")


def fetch_niivue(archive: str | os.PathLike[str] | None = None) -> Path:
    """Put the pinned script where `find_niivue` finds it; nothing is done if it is there.

    Args:
        archive: the npm package as a file; None fetches it by npm.

    Raises:
        ViewerMissingError: npm is missing or cannot reach its registry, or the package is not the pinned one.
        OutputWriteError: neither the package's folder nor the user's cache can be written.
    """
    found = find_niivue()
    if found is not None:
        return found
    if archive is not None:
        return _unpack(Path(archive))
    npm = shutil.which("npm")
    if npm is None:
        raise ViewerMissingError(
            "NiiVue is fetched by npm, which is not installed: install Node.js, or fetch the npm package "
            f"@niivue/niivue {NIIVUE_VERSION} elsewhere and pass it as --viewer FILE. Without NiiVue, reports have a "
            "plainer viewer"
        )
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", f"@niivue/niivue@{NIIVUE_VERSION}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=NPM_LIMIT_SEC, check=False)
        except subprocess.TimeoutExpired:
            raise ViewerMissingError(f"npm did not fetch NiiVue within {NPM_LIMIT_SEC} s: try again later") from None
        archives = list(Path(folder).glob("*.tgz"))
        if not archives:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise ViewerMissingError(
                f"npm could not fetch NiiVue {NIIVUE_VERSION}; it said: {said}. Without a network, pass the npm "
                "package as --viewer FILE"
            )
        return _unpack(archives[0])


def _unpack(archive: Path) -> Path:
    try:
        content = read_start(archive, MOST_BYTES)
    except IrregularFileError as error:
        raise ViewerMissingError(f"{archive} (--viewer) is {IRREGULAR}; expected the npm package as a file") from error
    except OSError as error:
        raise ViewerMissingError(f"{archive} (--viewer) cannot be read: {error.strerror}") from error
    if "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode() != INTEGRITY:
        raise ViewerMissingError(
            f"{archive} is not the package @niivue/niivue {NIIVUE_VERSION} (its SHA-512 differs from the pinned one): "
            "fetch it again"
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as package:
        member = package.extractfile(MEMBER)
        assert member is not None  # the hash guarantees the content
        script = member.read()
    for folder in (TEMPLATES, _cache()):
        try:
            with atomic_path(folder / NAME) as temporary:
                temporary.write_bytes(script)
            return folder / NAME
        except OutputWriteError:
            if folder == _cache():
                raise
    raise AssertionError("the last folder either takes the file or refuses it")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "monai-vggunet"


if __name__ == "__main__":
    try:
        print(fetch_niivue())
    except (ViewerMissingError, OutputWriteError) as error:
        sys.exit(str(error))
