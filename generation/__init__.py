"""Compose answers from retrieved chunks, with citations that are verified before anyone sees them."""
