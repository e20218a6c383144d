"""Performance as ratios: `python -m tests.benchmarks [SUBJECT ...]` prints a table."""
