"""Deleting so that it can be shown.

deleter.py   intent, deletion, purge, probes, receipt: in that order, and safe to cut off anywhere
erasure.py   what a deletion concerns
probes.py    looking for what should be gone
receipts.py  the chain of what was deleted, with its proof
"""
