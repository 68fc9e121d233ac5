"""One program for each system that `benchmarks.workflows` compares; each prints its figures as one JSON line.

A contestant imports nothing of the others, so that each runs in an environment of its own.
"""
