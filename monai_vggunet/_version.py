"""The package's version, read by setup.cfg and by what the package writes."""

__all__ = ["__version__"]

__version__ = "0.1.0"
