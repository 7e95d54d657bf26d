"""What the files of a training run have to look like where its page is made: a folder may come from anyone."""

from __future__ import annotations

from typing import Any

from monai_vggunet.json_rules import Rule, also, mapping, number, optional, require_object, several, whole

__all__ = ["require_cases", "require_curve", "require_figures", "require_facts"]

LARGEST, MOST = 1e12, 1_000_000

_NUMBER = number(-LARGEST, LARGEST)
_TEXT = Rule("text", lambda value: isinstance(value, str))
_FIGURE = Rule(
    "a number, null, or a list of them",
    lambda value: all(map(optional(_NUMBER).holds, value if isinstance(value, list) else [value])),
)
_EPOCH = also(mapping(_FIGURE, MOST), "with 'epoch' and 'seconds'", lambda row: {"epoch", "seconds"} <= row.keys())
_CASE = also(
    mapping(_TEXT, MOST), "with 'image', 'label' and 'case'", lambda case: {"image", "label", "case"} <= case.keys()
)
_FACTS: dict[str, Any] = {
    "class_names": several(_TEXT, 0, MOST),
    "fingerprint": ({}, ()),
    "preprocessing": ({"spacing_mm": several(_NUMBER, 0, 3)}, ()),
    "versions": mapping(_TEXT, MOST),
}


def require_curve(content: Any) -> None:
    """Refuse a `history.json` that `TrainingProgressHandler` does not write.

    Raises:
        ValueError: says what was got and what was expected; so do the others.
    """
    require_object({"the curve": content}, {"the curve": several(_EPOCH, 0, MOST)}, quoting=False)


def require_figures(content: Any) -> None:
    """Refuse a `metrics.json` that `EvaluationReportHandler` does not write."""
    per_case = mapping(mapping(mapping(optional(_NUMBER), MOST), MOST), MOST)
    require_object(content, {"per_case": per_case}, open_end=True, quoting=False)


def require_facts(content: Any) -> None:
    """Refuse a `model.json` of which a page cannot show what the model is."""
    require_object(content, _FACTS, open_end=True, quoting=False)


def require_cases(content: Any) -> None:
    """Refuse a `datalist.json` of which the judged cases cannot be found."""
    fields = {"validation": several(_CASE, 0, MOST), "segments": mapping(whole(0), MOST)}
    require_object(content, fields, open_end=True, quoting=False)
