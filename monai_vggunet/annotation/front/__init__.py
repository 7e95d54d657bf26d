"""What stands in front of MONAI Label: which requests reach it, and from whom.

Plain Python, so that the table of routes can be read and tested without MONAI Label; `annotation.server.front` puts it
before the web application.
"""

from __future__ import annotations

from monai_vggunet.annotation.front.routes import CLOSED, SERVED, Closed, Form, Route
from monai_vggunet.annotation.front.values import Served

__all__ = ["CLOSED", "SERVED", "Closed", "Form", "Route", "Served"]
