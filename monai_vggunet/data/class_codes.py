"""What classes mean, in codes that any viewer understands: from names of SNOMED CT, or codes written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.names import shortened

__all__ = ["ClassCodes", "resolve_class_codes"]

# Per class name: `scheme`, `value` and `meaning` of its type, perhaps `category` and `modifier` with the same three.
ClassCodes = dict[str, dict[str, Any]]

_OWN, _NESTED = ("scheme", "value", "meaning"), ("category", "modifier")
_LONGEST = {"scheme": 16, "value": 16, "meaning": 64}  # characters: PS3.5 6.2, SH and LO


def resolve_class_codes(stated: Mapping[str, Any] | None, class_names: Sequence[str]) -> ClassCodes:
    """Return every class's code written out, so that whoever reads it needs no dictionary.

    A code is a name of SNOMED CT as pydicom's dictionary spells it (`Liver`, `LeftKidney`), or an object with `value`,
    `meaning` and `scheme` (`SCT` when absent). An object may also hold, in the same two forms, `category` (what kind of
    thing it is, `MorphologicallyAbnormalStructure` for a tumor; by default an anatomical structure) and `modifier`
    (`Left`); its own code then stands under `type` if it is given by name. See PS3.16, CID 7150 and 7151.

    Args:
        stated: class name -> code; None for no codes.
        class_names: background first.

    Raises:
        ConfigurationError: an unknown class, or an invalid code.

    Example:
        >>> resolve_class_codes({"liver": "Liver"}, ["background", "liver"])
        {'liver': {'scheme': 'SCT', 'value': '10200004', 'meaning': 'Liver'}}
    """
    if not isinstance(stated or {}, Mapping):
        raise ConfigurationError(f"class codes are {shortened(stated)}; expected an object with a code per class name")
    known = list(class_names)[1:]
    others = [name for name in stated or {} if name not in known]
    if others:
        raise ConfigurationError(
            f"class codes name {shortened(others)}, but the classes are {shortened(known)}: name those"
        )
    return {name: _resolved(code, name) for name, code in (stated or {}).items()}


def _resolved(code: Any, name: str) -> dict[str, Any]:
    if isinstance(code, str):
        return _looked_up(code, name)
    if not isinstance(code, Mapping) or set(code) - {*_OWN, *_NESTED, "type"}:
        raise ConfigurationError(
            f"the code of class {shortened(name)} is {shortened(code)}; expected a name of SNOMED CT such as "
            "'Liver', or an object as "
            "{'scheme': 'SCT', 'value': '10200004', 'meaning': 'Liver', 'category': 'AnatomicalStructure'}"
        )
    own = _looked_up(code["type"], name) if "type" in code else _checked(code, name)
    return own | {part: _resolved_part(code[part], name) for part in _NESTED if code.get(part)}


def _resolved_part(code: Any, name: str) -> dict[str, str]:
    return _looked_up(code, name) if isinstance(code, str) else _checked(code, name)


def _looked_up(keyword: Any, name: str) -> dict[str, str]:
    found = getattr(codes.SCT, str(keyword), None)
    if not isinstance(found, Code):  # none, or something else that the dictionary has, such as its method `dir`
        raise ConfigurationError(
            f"the code {shortened(keyword)} of class {shortened(name)} is not a name in pydicom's dictionary of SNOMED "
            "CT: search pydicom.sr.codedict.codes.SCT.dir('part of it'), or write it out with 'value' and 'meaning'"
        )
    return {"scheme": "SCT", "value": found.value, "meaning": found.meaning}


def _checked(code: Any, name: str) -> dict[str, str]:
    found = {"scheme": "SCT", **code} if isinstance(code, Mapping) else {}
    texts = {part: str(found.get(part) or "") for part in _OWN}
    bad = [part for part, text in texts.items() if not (0 < len(text) <= _LONGEST[part] and text.isprintable())]
    if bad:
        raise ConfigurationError(
            f"the code {shortened(code)} of class {shortened(name)} has no {' and no '.join(bad)} of fitting length "
            "and characters; expected 'value' and 'scheme' of at most 16 characters, and 'meaning' of at most 64"
        )
    return {part: str(found[part]) for part in _OWN}
