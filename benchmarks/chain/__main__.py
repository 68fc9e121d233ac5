"""`python -m benchmarks.chain`."""

from benchmarks.chain.entry import main

if __name__ == "__main__":
    main()
