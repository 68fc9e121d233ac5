"""`python -m scorers` is `dao-scorer`."""

from scorers.cli import main

if __name__ == "__main__":
    main()
