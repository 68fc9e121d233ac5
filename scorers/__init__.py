"""The application: the scoring workflow, its steps, configuration and the `dao-scorer` command."""
