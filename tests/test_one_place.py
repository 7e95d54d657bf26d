"""One place for one rule: here a second one is found, in the package and the scripts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("monai_vggunet", "scripts") for path in (ROOT / folder).rglob("*.py"))

# The oracle of the fuzzing script shares nothing with what it judges.
TURNS_X_AND_Y = {"monai_vggunet/dicom/affine.py", "scripts/dicom_fuzz/oracle.py"}
SIGNS = ((-1.0, -1.0, 1.0), (-1.0, -1.0, 1.0, 1.0))
MONAI_TURNS = {"orientation_ras_lps"}  # of `monai.data.utils`, a second one

# Who looks for a refusal behind other errors, and for what: a loaded case, a client's answer, a PACS, the last words.
UNWRAPS = {
    "monai_vggunet/errors.py",
    "monai_vggunet/data/case_loading.py",
    "monai_vggunet/annotation/server/studies_archive.py",
    "monai_vggunet/annotation/server/refusals.py",
    "monai_vggunet/pacs/dicomweb.py",
    "monai_vggunet/privacy/tracebacks.py",
}

KINDS = {".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".dcm", ".dicom", ".ima", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
TELLS_KINDS = {"monai_vggunet/file_kinds.py"}
# The damage of the fuzzing script is written without our reader.
TELLS_DICOM = {
    "monai_vggunet/dicom/headers/dicom_files.py",
    "scripts/dicom_fuzz/mutations.py",
    "scripts/dicom_fuzz/raw_elements.py",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def numbers_in(node: ast.AST) -> tuple[float, ...] | None:
    """Return the numbers of a list or tuple, whether nested as a column or not; None if it holds anything else."""
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    elements = [e.elts[0] if isinstance(e, (ast.List, ast.Tuple)) and len(e.elts) == 1 else e for e in node.elts]
    try:
        return tuple(float(ast.literal_eval(element)) for element in elements)
    except (ValueError, TypeError, SyntaxError):
        return None


def turns_x_and_y(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that change the signs of x and y: a matrix, a vector of signs, or two rows or entries negated."""
    for node in ast.walk(tree):
        if numbers_in(node) in SIGNS or (isinstance(node, ast.Name | ast.alias) and _id(node) in MONAI_TURNS):
            yield node.lineno  # type: ignore[attr-defined]
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult) and _is_minus_one(node.value):
            if _takes_two_first(node.target):
                yield node.lineno
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _takes_two_first(node.operand):
            yield node.lineno


def _id(node: ast.Name | ast.alias) -> str:
    return node.id if isinstance(node, ast.Name) else node.name


def _is_minus_one(node: ast.AST) -> bool:
    try:
        return float(ast.literal_eval(node)) == -1.0  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False


def _takes_two_first(node: ast.AST) -> bool:
    """Whether it is `x[:2]`, `x[0:2]`, `x[[0, 1]]` or `x[:2, ...]`."""
    if not isinstance(node, ast.Subscript):
        return False
    first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
    return ast.unparse(first) in (":2", "0:2", "[0, 1]")


def test_patient_coordinates_are_turned_in_one_place() -> None:
    turning = {name_of(path) for path in SOURCES if any(turns_x_and_y(parsed(path)))}
    assert turning == TURNS_X_AND_Y, "call lps_to_ras or ras_to_lps of monai_vggunet.dicom"


@pytest.mark.parametrize(
    "line",
    [
        "to_ras = np.diag([-1, -1, 1, 1])",
        "to_ras = np.diag((-1.0, -1.0, 1.0))",
        "ras = lps * [-1, -1, 1]",
        "affine = affine * np.array([[-1], [-1], [1], [1]])",
        "affine[:2] *= -1",
        "affine[0:2, :] *= -1.0",
        "affine[:2, 3] = -affine[:2, 3]",
        "affine[[0, 1]] *= -1",
        "from monai.data.utils import orientation_ras_lps",
    ],
)
def test_every_way_of_turning_them_is_seen(line: str) -> None:
    assert list(turns_x_and_y(ast.parse(line)))


@pytest.mark.parametrize("line", ["x = gray.expand(-1, -1, 1)", "cosines * [-1, -1, -1, 1, 1, 1]", "a = b[:2] * 2"])
def test_other_arithmetic_is_not(line: str) -> None:
    assert not list(turns_x_and_y(ast.parse(line)))


def test_the_wrapping_of_a_failed_case_is_taken_off_in_one_place() -> None:
    unwrapping = {name_of(path) for path in SOURCES if "refusal_behind(" in path.read_text(encoding="utf-8")}
    assert unwrapping == UNWRAPS, "load cases by load_case of monai_vggunet.data.case_loading"
    reasons = {name_of(path) for path in SOURCES if "reason_behind(" in path.read_text(encoding="utf-8")}
    assert reasons == {"monai_vggunet/errors.py", "monai_vggunet/data/case_loading.py"}


def test_the_text_in_which_a_series_travels_is_made_and_read_in_one_place() -> None:
    knowing = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and node.value == "source_instances"
    }
    assert knowing == {"monai_vggunet/dicom/referenced_series.py"}, "use ReferencedSeries.to_meta and from_meta"


def tells_kinds(tree: ast.AST) -> bool:
    """Whether endings of images are listed or compared with; to write a file under a name with one is no rule."""
    for node in ast.walk(tree):
        held: list[ast.expr | None] = []
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            held = list(node.elts)
        elif isinstance(node, ast.Dict):
            held = list(node.keys)
        elif isinstance(node, ast.Compare):
            held = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            held = list(node.args) if node.func.attr in ("endswith", "removesuffix", "split", "partition") else []
        elif isinstance(node, ast.Assign):
            held = [node.value]
        if any(isinstance(each, ast.Constant) and each.value in KINDS for each in held):
            return True
    return False


def test_kinds_of_images_are_told_by_their_names_in_one_place() -> None:
    assert {name_of(path) for path in SOURCES if tells_kinds(parsed(path))} == TELLS_KINDS


@pytest.mark.parametrize(
    "line",
    [
        'ENDINGS = (".png", ".dcm")',
        'NRRD = ".nrrd"',
        'path.suffix.lower() == ".dcm"',
        'name.endswith(".nii.gz")',
        'name.split(".nii")[0]',
        'READERS = {".nii": read}',
    ],
)
def test_every_way_of_telling_them_is_seen(line: str) -> None:
    assert tells_kinds(ast.parse(line))


def test_to_write_such_a_file_is_no_rule() -> None:
    assert not tells_kinds(ast.parse('write(folder / f"{name}.nii.gz")'))


def test_dicom_is_told_by_its_beginning_in_one_place() -> None:
    telling = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and node.value == b"DICM"
    }
    assert telling == TELLS_DICOM, "call is_dicom_file or its siblings of monai_vggunet.dicom.headers.dicom_files"


def test_nrrd_is_told_by_its_beginning_in_one_place() -> None:
    telling = {name_of(path) for path in SOURCES if 'b"NRRD' in path.read_text(encoding="utf-8")}
    assert telling == {"monai_vggunet/data/nrrd_header.py"}, "call begins_as_nrrd or header_in"


def test_pages_have_one_frame_and_so_one_content_policy() -> None:
    templates = (ROOT / "monai_vggunet" / "report" / "pages" / "templates").glob("*.html")
    frames = {path.name for path in templates if "Content-Security-Policy" in path.read_text(encoding="utf-8")}
    assert frames == {"page.html"}, "begin the template with {% extends 'page.html' %}"
