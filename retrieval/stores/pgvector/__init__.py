"""The store on PostgreSQL with pgvector: any server, RDS and Aurora included, that has the `vector` extension.

connection.py   connections to one server; errors.py translates what psycopg raises
schema.py       is the server fit, which version have its tables; migrations.py makes and upgrades them
store.py        collections, and one of them opened
view.py         what a snapshot looks at: an edition at one commit
snapshot.py     all reading, in one REPEATABLE READ transaction
writing.py      what a commit consists of: staging, the collection's turn, the swap
upkeep.py       what is done between commits: indexes, merges, tables of dropped editions
keeper.py       compares, mends and purges; audit.py and lexical_audit.py know what belongs together, mending.py mends
dense.py        search by vector, exact or through the HNSW index; passing.py has what a filter lets through
lexical*.py     BM25
filter_sql.py   filters as conditions on typed jsonb
rows.py, text.py, arrays.py   records, strings and numbers as the database holds them
"""

try:
    import pgvector  # noqa: F401
    import psycopg  # noqa: F401 - both are needed below
except ImportError as exc:
    from retrieval.errors import MissingExtra

    raise MissingExtra("the pgvector store needs: pip install 'footnote[pgvector]'") from exc

from retrieval.stores.pgvector.store import PgvectorCollections

__all__ = ["PgvectorCollections"]
