"""`python -m scorers` is `dao-scorer`; it ends with the process that started it where that asks for it."""

import sys

from scorers.parent import stop_when_parent_ends

INTERRUPTED = 130


def main() -> None:
    """Run the command line. Importing it takes a moment, in which an interruption is one like any other."""
    stop_when_parent_ends()
    try:
        from scorers.cli import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
