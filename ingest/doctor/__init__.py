"""Finding what is wrong in a collection, and mending it.

checkup.py         examine and repair a collection as a whole
reconciliation.py  documents, chunks and ledger against each other
mending.py         what is made again from the stored text, or by the next ingest
"""
