"""Benchmarks, each with its peers side by side in one run; results are kept in `bench/results/`."""
