"""The `dao-scorer` command."""


def main() -> None:
    """Run the command line."""
