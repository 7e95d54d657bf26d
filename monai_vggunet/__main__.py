"""The command `monai-vggunet`, which is also `python -m monai_vggunet`."""

from __future__ import annotations

from monai_vggunet.stopping import stop_on_signals

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback even while its libraries are imported."""
    with stop_on_signals():
        from monai_vggunet.cli import main as command  # takes a second

        command()


if __name__ == "__main__":
    main()
