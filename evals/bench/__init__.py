"""Benchmarks: each compares with what people would otherwise use, in the same run, and prints ratios."""
