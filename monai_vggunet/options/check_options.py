"""The check with which each run of the bundle begins."""

from __future__ import annotations

from monai.bundle import ConfigWorkflow

from monai_vggunet.options.known_options import require_known
from monai_vggunet.options.usable_values import require_usable_values
from monai_vggunet.privacy import protect_output
from monai_vggunet.training.parser_at_work import caller_of_kind, parser_at_work

__all__ = ["check_options"]


def check_options() -> None:
    """Refuse misspelled options and values that make no sense, before any data are read.

    It is called from a configuration, whose options it collects: first of all in `initialize`.

    Raises:
        ConfigurationError: names the option, what was got and what was expected.
        ModelMismatchError: the model to start from is missing or damaged.
    """
    protect_output()  # a refusal stands below the traceback of MONAI, which wraps it
    parser = parser_at_work()
    workflow = caller_of_kind(ConfigWorkflow)
    steps = {workflow.init_id, workflow.run_id, workflow.final_id} if workflow is not None else set()
    require_known(parser.get(), parser.locator, steps)
    require_usable_values(parser.get())
