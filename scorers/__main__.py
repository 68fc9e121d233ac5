"""`python -m scorers` is `dao-scorer`; it ends with the process that started it where that asks for it."""

from scorers.cli import main
from scorers.parent import stop_when_parent_ends

if __name__ == "__main__":
    stop_when_parent_ends()
    main()
