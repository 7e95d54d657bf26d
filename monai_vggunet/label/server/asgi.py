"""MONAI Label's web application, with pages of other origins kept from reading its answers.

MONAI Label lets every page read, unless a variable names origins, with which it does not start. Its server asks nobody
who he is: any page open in the annotator's browser could read the studies. Its own pages (OHIF) are of the same origin.
"""

from __future__ import annotations

from fastapi.middleware.cors import CORSMiddleware
from monailabel.app import app

__all__ = ["app"]

# Before the first request, with which the middleware is put together.
app.user_middleware[:] = [middleware for middleware in app.user_middleware if middleware.cls is not CORSMiddleware]
