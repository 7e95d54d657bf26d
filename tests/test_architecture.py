"""The house: data flows one way, light parts stay light, and every module is small, documented and says what it offers.

The order of the stages is DESIGN's. Precision and device (`networks/autocast.py`) are the network's, because training
and inference both need them and training comes first.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from monai_vggunet import layout

PACKAGE = Path(__file__).parents[1] / "monai_vggunet"
NAME = "monai_vggunet"
# every stage may import these; they import nothing but each other
GROUND = {
    "case_path",
    "_version",
    "errors",
    "atomic_files",
    "case_record",
    "file_kinds",
    "folder_walk",
    "ip_addresses",
    "json_files",
    "json_rules",
    "layout",
    "memory",
    "names",
    "privacy",
    "escaped_output",
    "progress_bars",
    "quiet_logs",
    "regular_files",
    "short_uid",
    "uid_forms",
    "stopping",
    "switch_words",
}
STAGES = [
    {"dicom"},
    {"data"},
    {"transforms"},
    {"networks", "losses"},
    {"training"},
    {"inference", "outputs", "pacs"},
    {"export"},
    {"segment", "report", "workflow"},
    {"options"},
    {"annotation"},
    {"cli"},
    {"__main__"},
]
# nothing of ours but the ground floor and dicom's plain records
SELF_CONTAINED = {"networks", "losses", "outputs", "pacs"}
# outputs also rereads the source's headers: where multi-frame objects keep their positions is known in one place alone,
# and so is how DICOM's coordinates become NIfTI's
PLAIN_RECORDS = {
    "dicom.affine",
    "dicom.findings",
    "dicom.referenced_series",
    "dicom.headers.records",
    "dicom.headers.header",
    "dicom.headers.bounded_reading",
}
MAX_LINES = 300
# The name of a file: what a text is, or ends in after its last slash, or holds in quotes, as MONAI's expressions do.
FILE_NAME = re.compile(
    r"""(?:^|[/'"])([\w.*{}-]*\w\.(?:bin|conf|csv|dcm|gz|html|json|md|npz|onnx|png|pt|ts|txt|xml))(?=$|['"])"""
)
FOLDERS = {layout.CONFIGS, layout.LABEL_HISTORY, layout.PAGES, layout.PREVIOUS, layout.TENSORBOARD}
LAID_OUT = {value for name in layout.__all__ if isinstance(value := getattr(layout, name), str)}
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Name within the package: `dicom.index` for `dicom/index.py`, `dicom` for `dicom/__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def stage_of(name: str) -> str:
    return name.split(".")[0]


def level_of(stage: str) -> int:
    for level, stages in enumerate(STAGES):
        if stage in stages:
            return level
    raise AssertionError(f"{stage} is no stage of the house: give it its place in STAGES (and in CONTRIBUTING.md)")


def imports_of(path: Path) -> set[str]:
    """Everything of ours that a module imports anywhere, within functions too, as names within the package."""
    found: set[str] = set()
    folder = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = (NAME, *folder)[: len(folder) + 2 - node.level] if node.level else ()
            origin = ".".join((*above, *(node.module.split(".") if node.module else ())))
            # `from monai_vggunet.dicom import records` names a module, `from ... import scan_folder` a function of it
            found |= {
                f"{origin}.{alias.name}" if is_module(f"{origin}.{alias.name}") else origin for alias in node.names
            }
    return {name.removeprefix(f"{NAME}.") for name in found if name.startswith(f"{NAME}.")}


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_stage_imports_only_earlier_stages(path):
    stage = stage_of(module_name(path))
    imported = imports_of(path)
    if stage in GROUND or not stage:
        assert {stage_of(name) for name in imported} <= GROUND
        return
    for name in imported:
        other = stage_of(name)
        assert other in GROUND or other == stage or level_of(other) < level_of(stage), f"{stage} imports {name}"


def test_contributing_tells_the_order_and_has_every_room_on_its_map(repository):
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    order = re.search(r"Data flows one way: ([^.]*)\.", text)
    assert order is not None
    told = [set(stage.split(", ")) for stage in " ".join(order[1].split()).split(" → ")]
    assert told == STAGES[:-1]
    cells = re.findall(r"^\| (`[^|]*) \|", text.split("## The map")[1].split("\n## ")[0], re.MULTILINE)
    rooms = {name.removesuffix("/").removesuffix(".py") for name in re.findall("`([^`]+)`", " ".join(cells))}
    assert GROUND.union(*STAGES) - {"_version", "__main__"} <= rooms


@pytest.mark.parametrize("path", [p for p in MODULES if stage_of(module_name(p)) in SELF_CONTAINED], ids=module_name)
def test_networks_losses_outputs_and_pacs_stand_alone(path):
    stage = stage_of(module_name(path))
    others = {name for name in imports_of(path) if stage_of(name) not in GROUND | {stage}}
    assert others <= PLAIN_RECORDS


def test_the_reading_of_imports_sees_every_form(tmp_path, monkeypatch):
    """The tests above must not pass because they see nothing."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / NAME)
    (tmp_path / NAME / "data").mkdir(parents=True)
    (tmp_path / NAME / "errors.py").touch()
    module = tmp_path / NAME / "data" / "reader.py"
    (tmp_path / NAME / "data" / "stack.py").touch()
    module.write_text(
        "import numpy\nimport monai_vggunet.dicom.index\nfrom monai_vggunet.training import RunCheckpoint\n"
        "from monai_vggunet import errors\nfrom .stack import axis\nfrom . import stack\nfrom ..cli import main\n"
        "def late():\n    from monai_vggunet.segment.archive import segment\n"
    )
    assert imports_of(module) == {"dicom.index", "training", "errors", "data.stack", "cli", "segment.archive"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("monai_vggunet", ("torch", "monai", "pydicom", "numpy")), ("monai_vggunet.dicom", ("torch", "monai", "nibabel"))],
)
def test_light_parts_import_nothing_heavy(module, heavy):
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_are_small_documented_and_say_what_they_offer(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree), "the module has no docstring"
    names = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
             if isinstance(target, ast.Name)}  # fmt: skip
    assert "__all__" in names


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__main__.py"], ids=module_name)
def test_everything_offered_exists_and_is_documented(path):
    if module_name(path).startswith("annotation.server"):
        pytest.importorskip("monailabel", reason="MONAI Label has an environment of its own")
    module = importlib.import_module(".".join(filter(None, [NAME, module_name(path)])))
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name


def names_of_files(path: Path) -> set[str]:
    """Every name of a file that a module writes out, and our folders; docstrings and prose about files are none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    ]
    found = {name for text in texts for name in FILE_NAME.findall(text)}
    return found | {folder for folder in FOLDERS if any(folder in re.split("[/'\"]", text) for text in texts)}


def test_names_of_files_that_several_modules_know_stand_in_the_layout_alone():
    names = {path: names_of_files(path) for path in MODULES if path.name != "layout.py"}
    assert not {path: found for path, known in names.items() if (found := known & LAID_OUT)}
    counted = Counter(name for known in names.values() for name in known if not name.startswith((".", "_")))
    assert not [name for name, count in counted.items() if count > 1], "give it its place in layout.py"


def test_the_reading_of_names_sees_every_form(tmp_path):
    """The test above must not pass because it sees nothing."""
    module = tmp_path / "module.py"
    module.write_text(
        '"""Writes model.pt."""\nA = "a.json"\nB = folder / "b.nii.gz"\n'
        'C = f"{folder}/c.pt"\nD = "$@root + \'/d.json\'"\n'
        'E = Path("models/e.pt")\nF = folder / "tensorboard"\ndef f():\n    """Of f.json."""\n'
        '    print("g.json is missing")\nH = ("h.dcm", "mask*.i.html")\n'
    )
    assert names_of_files(module) == {
        *("a.json", "b.nii.gz", "c.pt", "d.json", "e.pt", "tensorboard", "h.dcm", "mask*.i.html")
    }


def test_configs_call_files_as_the_layout_does(repository):
    others = {"model_trt.ts"}  # as the user calls it who exports it by MONAI's `trt_export`
    places = {"data", "eval"}  # where a bundle looks for images and writes results unless told otherwise
    for config in (repository / "bundle" / "configs").glob("*.json"):
        text = config.read_text(encoding="utf-8") if config.name != layout.METADATA else ""
        names = {*FILE_NAME.findall(text), *re.findall(r"'/([^'/]+)'", text)}
        assert names - others - places <= LAID_OUT, config


def test_every_name_of_ours_in_the_bundle_exists(repository):
    configs = sorted((repository / "bundle" / "configs").glob("*.json"))
    loggers = r'"name": *"[^"]*"'  # a handler's `name` is that of a logger
    texts = [re.sub(loggers, "", path.read_text(encoding="utf-8")) for path in configs]
    names = {name for text in texts for name in re.findall(rf"{NAME}(?:\.\w+)+", text)}
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert is_module(name) or hasattr(importlib.import_module(module), attribute), name


def test_no_two_files_of_different_rooms_share_a_name() -> None:
    """But for `index.py`: in the DICOM room the index of a folder, among the pages the one that lists studies."""
    names = [path.name for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "index.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
