"""Names of options: one that nothing in a configuration uses is refused, with the nearest that is used.

MONAI takes any name on its command line. A name has an effect if a config of the bundle in use has it, if an
expression refers to it (`@max_epochs`), if MONAI itself reads it, or if it is an argument of what is built.
"""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from monai.bundle.config_item import ComponentLocator
from monai.bundle.utils import MERGE_KEY

from monai_vggunet.errors import ConfigurationError
from monai_vggunet.json_files import read_json
from monai_vggunet.layout import CONFIGS
from monai_vggunet.training.run_settings import EVALUATED, SEPARATOR, TARGET
from monai_vggunet.workflow import bundle_folder

__all__ = ["nearest", "require_known"]

DISABLED = "_disabled_"
REFERENCE = re.compile(r"[@%](\w+)(?:(?:#|::)(\w+))?")
# Read by MONAI: what every configuration may hold, and what `--tracking` adds.
MONAI_READS = {"imports", "initialize", "run", "finalize"} | {
    "tracking_uri",
    "experiment_name",
    "run_name",
    "save_execute_config",
    "is_not_rank0",
}
PRIVATE = "_"  # begins a name that MONAI leaves alone, such as `_meta_`


def require_known(config: Mapping[str, Any], locator: ComponentLocator, steps: Collection[str] = ()) -> None:
    """Refuse a configuration with a name that nothing uses.

    Args:
        config: as MONAI's parser holds it, after files and command line were merged.
        locator: the parser's, which knows MONAI's short names.
        steps: ids that the run begins, runs and ends with.

    Raises:
        ConfigurationError: names each, and the nearest name that is used.
    """
    used: dict[str, set[str]] = {}
    for text in _expressions({name: value for name, value in config.items() if not name.startswith(PRIVATE)}):
        for name, child in REFERENCE.findall(text):
            used.setdefault(name, set()).update({f"{name}{SEPARATOR}{child}"} if child else ())
    ours = _ids_of_configs_in_use(config)
    known = {*used, *MONAI_READS, *steps, *(name for name in ours if SEPARATOR not in name)}
    unknown = [
        _told(name, known)
        for name, value in config.items()
        if name not in known and not name.startswith(PRIVATE) and not _is_steps(value)
    ]
    for name, value in config.items():
        if isinstance(value, Mapping) and TARGET not in value and used.get(name):
            parts = used[name] | {part for part in ours if part.startswith(f"{name}{SEPARATOR}")}
            given = [f"{name}{SEPARATOR}{key}" for key in value]
            unknown += [_told(part, parts) for part in given if part not in parts]
        if not name.startswith(PRIVATE):
            unknown += _unknown_arguments(name, value, locator)
    if unknown:
        raise ConfigurationError("\n".join(unknown))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question with the known name that is most like another one; nothing where none is."""
    found = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _ids_of_configs_in_use(config: Mapping[str, Any]) -> set[str]:
    """Return the names in the bundle's configs that are in use, those whose names are all there, and of their parts."""
    found: set[str] = set()
    for path in sorted((bundle_folder() / CONFIGS).glob("*.json")):
        content = {name.lstrip(MERGE_KEY): value for name, value in read_json(path).items()}
        if all(name in config for name in content if SEPARATOR not in name):
            found.update(content)
            groups = {
                name: value for name, value in content.items() if isinstance(value, Mapping) and TARGET not in value
            }
            found.update(f"{name}{SEPARATOR}{key}" for name, value in groups.items() for key in value)
    return found


def _told(name: str, known: Iterable[str]) -> str:
    hint = nearest(f"--{name}", {f"--{one}" for one in known})
    return f"there is no option --{name}{hint or '; expected a name that the configuration uses'}"


def _expressions(value: Any) -> Iterator[str]:
    """Yield every text within a configuration that MONAI evaluates."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _expressions(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _expressions(item)
    elif isinstance(value, str) and value.startswith(EVALUATED):
        yield value


def _is_steps(value: Any) -> bool:
    """Whether a value is a list of steps to run, which a command names, such as `training`."""
    return isinstance(value, list) and any(isinstance(each, str) and each.startswith(EVALUATED) for each in value)


def _unknown_arguments(name: str, value: Any, locator: ComponentLocator) -> list[str]:
    """Return a line for each argument, at any depth, that the class or function it is meant for does not take."""
    if isinstance(value, (list, tuple)):
        return [line for n, each in enumerate(value) for line in _unknown_arguments(f"{name}#{n}", each, locator)]
    if not isinstance(value, Mapping):
        return []
    lines = []
    target = value.get(TARGET)
    if isinstance(target, str) and not target.startswith(EVALUATED) and value.get(DISABLED) is not True:
        lines += _misfits(name, target, [key for key in value if not key.startswith(PRIVATE)], locator)
    return lines + [line for key, each in value.items() for line in _unknown_arguments(f"{name}#{key}", each, locator)]


def _misfits(name: str, target: str, given: Iterable[str], locator: ComponentLocator) -> list[str]:
    """Return a line for each argument that a target does not take, or one if there is no such target."""
    module = locator.get_component_module_name(target)
    module = module[0] if isinstance(module, list) else module
    try:
        found = pydoc.locate(target if module is None else f"{module}.{target}")
    except pydoc.ErrorDuringImport:  # MONAI tells it when it builds this
        return []
    if found is None:
        return [f"--{name}#{TARGET} is {target!r}; expected the name of a class or function that can be imported"]
    arguments = _arguments_of(found)
    return [
        f"there is no option --{name}#{key}: {target.rsplit('.', 1)[-1]} has no {key}"
        f"{nearest(key, arguments) or '; it takes ' + ', '.join(sorted(arguments))}"
        for key in given
        if arguments is not None and key not in arguments
    ]


def _arguments_of(maker: Any) -> set[str] | None:
    """Return the names of the arguments that a class or function takes; None if it takes any."""
    # A class that passes on what it does not know is asked for its bases' arguments too.
    makers = (
        [vars(one)["__init__"] for one in maker.__mro__ if "__init__" in vars(one)]
        if inspect.isclass(maker)
        else [maker]
    )
    arguments: set[str] = set()
    for one in makers:
        try:
            parameters = inspect.signature(one).parameters.values()
        except (TypeError, ValueError):  # of a built-in one
            return None
        arguments |= {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return arguments - {"self"}
    return None
