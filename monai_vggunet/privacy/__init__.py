"""What can name a patient and is not shown: names of files and folders, free text of headers. It is decided here alone.

Inside Python, errors and records name files as they are. Where texts leave the process (`sinks`: logs, the terminal;
records and pages likewise), pseudonyms stand for names (`known_names`), and the list of what they stand for lies beside
the results (`name_book`). Free text of headers is cleaned where a message takes it up (`free_text`). `--show-phi`,
`--show_phi True` of the bundle, or `MONAI_VGGUNET_SHOW_PHI=1` shows everything.
"""

from __future__ import annotations

from monai_vggunet.privacy.free_text import clean_quotations, clean_text, clean_uid, quoted
from monai_vggunet.privacy.known_names import (
    has_form_of_pseudonym,
    is_pseudonym,
    know_cases,
    know_input,
    know_listed,
    know_names,
    know_tree,
    redact,
    reveal,
    shown_case,
)
from monai_vggunet.privacy.name_book import NAMES, TEXT, book, keep_names, write_down
from monai_vggunet.privacy.setting import show_phi, shows_phi
from monai_vggunet.privacy.sinks import hide_names, protect_logs, protect_output, tell
from monai_vggunet.privacy.tracebacks import private_text, private_traceback

__all__ = [
    "NAMES",
    "TEXT",
    "clean_quotations",
    "clean_text",
    "clean_uid",
    "has_form_of_pseudonym",
    "hide_names",
    "is_pseudonym",
    "keep_names",
    "know_cases",
    "know_input",
    "know_listed",
    "know_names",
    "know_tree",
    "book",
    "private_text",
    "private_traceback",
    "protect_logs",
    "protect_output",
    "quoted",
    "redact",
    "reveal",
    "show_phi",
    "shown_case",
    "shows_phi",
    "tell",
    "write_down",
]
