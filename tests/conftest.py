"""What all tests share: the folder of real data, and shared helpers on the path."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")

REPOSITORY = Path(__file__).parents[1]


# Modules with such tests take minutes.
LONG = ("slow", "label", "browser", "pacs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long modules first: begun last, one would keep a single process busy while the others have nothing to do."""
    long = {item.path for item in items if any(item.get_closest_marker(mark) for mark in LONG)}
    items.sort(key=lambda item: item.path not in long)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: gzip's hold the time, and all processes must give a test one name."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _subnormals_stay_numbers() -> Iterator[None]:
    """Undo what a bundle's `initialize` or the command line sets for its whole process: no test sees another's."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _names_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what the command line and `initialize` do to logs and tracebacks, and forget the names of other tests."""
    from monai_vggunet.privacy import known_names, name_book, sinks

    monkeypatch.delenv("MONAI_VGGUNET_SHOW_PHI", raising=False)
    monkeypatch.setattr(known_names, "_known", known_names.KnownNames())
    monkeypatch.setattr(name_book, "_book", name_book.NameBook())
    monkeypatch.setattr(sinks, "_also", [])
    for name in ("formatwarning", "showwarning"):
        monkeypatch.setattr(warnings, name, getattr(warnings, name))
    for owner, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)
    os.environ.pop("MONAI_VGGUNET_SHOW_PHI", None)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; tests that need it are skipped where it is missing."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data (shared/data beside the project) are not here")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless, with WebGL2 by software; tests that need it are skipped where it is missing."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = started.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()
