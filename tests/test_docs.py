"""The manual: it builds without a warning or a request, its links hold, and it says of the code what the code says."""

from __future__ import annotations

import ast
import configparser
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

import monai_vggunet
from monai_vggunet.cli.main import main
from monai_vggunet.dicom.findings import FindingKind, Severity
from monai_vggunet.options.rules import INFERENCE_RULES, RULES
from monai_vggunet.outputs import study_record
from monai_vggunet.pacs.bounds import MOST_OBJECT_VARIABLE
from monai_vggunet.pacs.targets import READING, STORING

ROOT = Path(__file__).parents[1]
DOCS, CONFIGS, PACKAGE = ROOT / "docs", ROOT / "bundle" / "configs", ROOT / "monai_vggunet"
PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bundle/docs/README.md")),
]
MANUAL = [page for page in PAGES if page.parent == DOCS and page.name != "results.md"]
README_LINES = 130
NOT_FOR_IMPORT = {f"monai_vggunet.{name}" for name in ("annotation", "cli", "privacy")}  # used within
BUILD_LIMIT_SEC = 300
# The pages that list what a config takes, and entries that follow from others, so that no user sets them.
CONFIG_PAGES = {
    "train.json": "training.md",
    "evaluate.json": "training.md",
    "inference.json": "segmenting.md",
    "quantize.json": "deployment.md",
    "export.json": "deployment.md",
}
DERIVED = {
    "train.json": {"from_scratch", "network", "run"},
    "evaluate.json": {"pretrained", "cases", "run", "finalize"},
    "inference.json": {"network"},
    "quantize.json": {"model_file", "datalist"},
    "export.json": {"model_file", "cases"},
}

CODE_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
OPTIONS_OF = re.compile(r"^#+ Options of `([^`]+)`.*\n((?:(?!#).*\n)*)", re.MULTILINE)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _prose(page: Path) -> str:
    return CODE_BLOCK.sub("", _text(page))


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# The build


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built manual; a warning of the build is an error."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed (extra dev)")
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [*command, str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT_SEC,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_the_manual_is_built_with_every_page(site: Path) -> None:
    for page in DOCS.glob("*.md"):
        assert (site / page.with_suffix(".html").name).is_file()


def test_built_pages_ask_the_network_for_nothing(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]*)\"|<link\b[^>]*\bhref=\"([^\"]*)\"")
    for page in site.rglob("*.html"):
        for source in ("".join(found) for found in loads.findall(_text(page))):
            assert not re.match(r"(https?:)?//", source), f"{page.name} loads {source}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", _text(sheet)), sheet.name


def test_every_name_that_is_offered_is_in_the_reference(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as stream:
        inventory = InventoryFile.load(stream, "", lambda base, path: path)
    described = {name for kind, entries in inventory.items() if kind.startswith("py:") for name in entries}
    modules = {name for page in DOCS.rglob("*.rst") for name in re.findall(r"automodule:: (\S+)", _text(page))}
    packages = {f"monai_vggunet.{init.parent.name}" for init in PACKAGE.glob("*/__init__.py")} - NOT_FOR_IMPORT
    assert {name for name in packages if importlib.import_module(name).__all__} <= modules
    for module in map(importlib.import_module, modules):
        for name in module.__all__:
            if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name)):
                assert any(full.endswith(f".{name}") for full in described), f"{module.__name__}.{name}"
    for name in set(monai_vggunet.__all__) - {"__version__"}:
        assert any(full.endswith(f".{name}") for full in described), name


# Links and pictures


def _slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for _, target in LINK.findall(_prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), target
        if anchor:
            assert anchor in _slugs(file), target


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for sign, target in LINK.findall(_text(page)) if sign}
    assert shown == set(DOCS.glob("*.png"))


def test_the_check_of_links_sees_a_missing_file_and_a_missing_anchor(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading, `code` 1.2\n\n[here](#a-heading-code-12) [gone](gone.md) ![picture](no.png)\n")
    assert _slugs(page) == {"a-heading-code-12"}
    assert LINK.findall(_prose(page)) == [("", "#a-heading-code-12"), ("", "gone.md"), ("!", "no.png")]


# Options


def _tables() -> dict[str, list[str]]:
    """What the manual lists under "Options of `...`", per command or config; over several tables where it does."""
    found: dict[str, list[str]] = {}
    for page in MANUAL:
        for name, section in OPTIONS_OF.findall(_text(page)):
            cells = re.findall(r"^\| (`-[^|]*) \|", section, re.MULTILINE)
            found.setdefault(name, []).extend(option for cell in cells for option in re.findall(r"`(-[^`]+)`", cell))
    return found


def _commands() -> dict[str, Any]:
    """The sub-commands by name, as click describes them."""
    app: Any = typer.main.get_command(sys.modules[main.__module__].app)
    return dict(app.commands)


def _options_of(command: Any) -> set[str]:
    options = [each for each in command.params if each.param_type_name == "option"]
    return {name for each in options for name in (*each.opts, *each.secondary_opts)} - {"--help"}


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_option_of_a_command_is_listed_once(name: str) -> None:
    listed = _tables().get(name, [])
    assert sorted(listed) == sorted(_options_of(_commands()[name]))


def _settings(config: str) -> set[str]:
    """Entries of a config that a user may set: values, not what is made of them."""
    content = json.loads(_text(CONFIGS / config))
    values = {
        key for key, value in content.items() if (not isinstance(value, dict) or not value) and key.isidentifier()
    }
    steps = {key for key, value in content.items() if isinstance(value, list) and "$" in str(value)}
    return values - steps - DERIVED[config]


@pytest.mark.parametrize(("config", "page"), list(CONFIG_PAGES.items()))
def test_every_setting_of_a_config_is_listed(config: str, page: str) -> None:
    """In a table of its own, or in another one if the page says that it is taken here too."""
    tables = {name: {option.lstrip("-") for option in options} for name, options in _tables().items()}
    listed = _tables()[config]
    assert len(listed) == len(set(listed))
    assert tables[config] <= _settings(config), "the config has no such entry"
    elsewhere = set() if config == "train.json" else set().union(*tables.values())
    for name in _settings(config) - tables[config]:
        assert name in elsewhere, f"--{name} is not listed"
        assert f"`--{name}" in _text(DOCS / page), f"{page} does not say that {config} takes --{name}"


def test_every_setting_of_a_config_has_a_rule() -> None:
    by_parts = {"device", "network_options", "overrides", "reader_options"}  # see require_usable_values
    assert set().union(*map(_settings, CONFIG_PAGES)) - by_parts <= RULES.keys() | INFERENCE_RULES.keys()


def test_every_option_of_the_annotation_server_is_listed_once() -> None:
    package = next(PACKAGE.glob("*/serve.py")).parent.name
    parser = importlib.import_module(f"monai_vggunet.{package}.serve")._parser()
    options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    assert sorted(_tables()["monai_label.sh"]) == sorted(options)


# What the pages say of the code


def _is_there(name: str) -> bool:
    """Whether a file or folder lies at a path, or somewhere in the package or the tests if the path is only its end."""
    inner = name.strip("/")
    return any((folder / inner).exists() for folder in (ROOT, PACKAGE)) or any(
        next(folder.rglob(inner), None) is not None for folder in (PACKAGE, ROOT / "tests")
    )


def test_every_source_and_folder_that_contributing_names_is_there() -> None:
    spans = re.findall(r"`([^`\s]+)`", _prose(ROOT / "CONTRIBUTING.md"))
    named = {span for span in spans if re.fullmatch(r"[\w.][\w./-]*(?:\.(?:py|js|sh|md|cfg|txt)|/)", span)}
    assert len(named) > 50
    assert [name for name in sorted(named) if not _is_there(name)] == []
    assert not _is_there("headers/gone.py")


def test_the_readme_is_short() -> None:
    assert len(_text(ROOT / "README.md").splitlines()) < README_LINES


def test_every_kind_of_finding_is_listed_and_no_other() -> None:
    """Under "What is refused", under "Findings", or under both."""
    for kind in FindingKind:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind)
    page = _text(DOCS / "dicom.md")
    sections = [page.split(f"## {heading}\n")[1].split("\n## ")[0] for heading in ("What is refused", "Findings")]
    cells = [re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE) for section in sections]
    listed = [re.findall("`([^`]+)`", " ".join(found)) for found in cells]
    assert [len(kinds) for kinds in listed] == [len(set(kinds)) for kinds in listed], "each once"
    assert set().union(*listed) == set(FindingKind)


def test_every_severity_is_named() -> None:
    section = _text(DOCS / "dicom.md").split("## Findings")[1]
    assert set(Severity) <= set(re.findall("`([^`]+)`", section))


def test_the_record_is_described() -> None:
    import numpy as np

    record = study_record("case", {}, np.zeros((1, 1, 1), np.uint8), np.eye(4), ["background"], {}, 0.0)
    table = _text(DOCS / "segmenting.md").split("### The record")[1].split("###")[0]
    described = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE))))
    assert set(record.to_json()) | {each.name for each in fields(record)} - {"further"} <= described


def test_the_named_variables_of_the_environment_are_those_that_are_read() -> None:
    expected = {f"{prefix}_{part}" for prefix in (READING, STORING) for part in ("TOKEN", "USER", "PASSWORD")}
    named = set(re.findall(r"MONAI_VGGUNET_(?:DICOMWEB|STORE)_[A-Z_]+", _text(DOCS / "pacs.md")))
    assert named == expected | {MOST_OBJECT_VARIABLE}


def test_the_extras_are_listed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    table = _text(DOCS / "deployment.md").split("## Install")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(setup["options.extras_require"])


def _blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for found, block in CODE_BLOCK.findall(_text(page)):
            if found == language:
                yield page, block


def _command_lines() -> Iterator[tuple[Path, str]]:
    for page, block in _blocks("bash"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            yield page, line.split("#  ")[0]
    for page in PAGES:
        yield from (
            (page, span) for span in re.findall(r"`((?:monai-vggunet|python -m|torchrun|scripts/)[^`]*)`", _prose(page))
        )


def test_commands_and_their_options_exist() -> None:
    commands, seen = _commands(), set()
    for page, line in _command_lines():
        for name, rest in re.findall(r"monai-vggunet (\w+)(.*)", line):
            assert name in commands, f"{page.name}: {line}"
            asked = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", rest))
            assert asked <= _options_of(commands[name]), f"{page.name}: {line}"
            seen.add(name)
    assert seen == set(commands)


def test_files_and_settings_in_commands_exist() -> None:
    for page, line in _command_lines():
        for name in re.findall(r"configs/[\w.]+\.json", line):
            assert (CONFIGS / Path(name).name).is_file(), f"{page.name}: {line}"
        for name in re.findall(r"(?<!\S)scripts/[\w./]+\.(?:sh|py)", line):
            assert (ROOT / name).is_file(), f"{page.name}: {line}"
        if "monai.bundle run" in line:
            known = set().union(*(json.loads(_text(file)) for file in CONFIGS.glob("*.json")))
            asked = set(re.findall(r"(?<!\S)--([a-z]\w*)", line.split("monai.bundle run")[1]))
            assert asked <= known | {"config_file", "args_file", "workflow_name"}, f"{page.name}: {line}"


def test_python_in_the_manual_names_what_exists() -> None:
    n_names = 0
    for page, block in _blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("monai_vggunet"):
                module: Any = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page.name}: {alias.name}"
                    n_names += 1
    assert n_names > 10
