"""`python -m benchmarks.engine`."""

from benchmarks.engine.entry import main

if __name__ == "__main__":
    main()
