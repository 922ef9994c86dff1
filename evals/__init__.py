"""Measure retrieval and answers on data sets with known right answers."""
