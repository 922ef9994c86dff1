"""The schema of the shared tables, step by step: migration number i makes version i of version i - 1.

Never change one that was released: add the next. Each runs in the transaction that records it, and may not rewrite a
table, which would look empty to queries that wait for it. `{schema}` is where the tables are; texts that are compared
have the "C" collation, which is the order of code points.
"""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE {schema}.collection (
        collection_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL UNIQUE,
        language text NOT NULL,
        live integer NOT NULL,
        last_edition integer NOT NULL,
        sequence bigint NOT NULL,
        documents bigint NOT NULL
    ) WITH (fillfactor = 50);

    CREATE TABLE {schema}.edition (
        edition_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        collection_key bigint NOT NULL,
        number integer NOT NULL,
        embedder text NOT NULL,
        dimension integer NOT NULL,
        chunking text NOT NULL,
        created_at text NOT NULL,
        documents bigint NOT NULL,
        chunks bigint NOT NULL,
        last_key bigint NOT NULL,
        UNIQUE (collection_key, number)
    ) WITH (fillfactor = 50);

    -- Editions that nobody can begin to read any more, whose tables are removed when the last reader has gone.
    CREATE TABLE {schema}.dropped (edition_key bigint PRIMARY KEY);

    CREATE TABLE {schema}.document (
        doc_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        collection_key bigint NOT NULL,
        doc_id text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        source_uri text COLLATE "C" NOT NULL,
        title text COLLATE "C" NOT NULL,
        media_type text COLLATE "C" NOT NULL,
        characters integer NOT NULL,
        page_starts text NOT NULL,
        metadata jsonb NOT NULL,
        UNIQUE (collection_key, doc_id)
    );
    -- Metadata lies below the collection's key, which so becomes a part of every entry of this index.
    CREATE INDEX document_metadata ON {schema}.document USING gin (metadata jsonb_path_ops) WITH (fastupdate = off);

    CREATE TABLE {schema}.content (
        doc_key bigint PRIMARY KEY,
        text text NOT NULL,
        elements text NOT NULL
    );

    CREATE TABLE {schema}.field (
        collection_key bigint NOT NULL,
        name text COLLATE "C" NOT NULL,
        documents bigint NOT NULL,
        PRIMARY KEY (collection_key, name)
    ) WITH (fillfactor = 50);

    CREATE TABLE {schema}.source (
        collection_key bigint NOT NULL,
        source_uri text COLLATE "C" NOT NULL,
        status text COLLATE "C" NOT NULL,
        doc_id text COLLATE "C" NOT NULL,
        content_hash text NOT NULL,
        fingerprint text NOT NULL,
        size bigint NOT NULL,
        media_type text NOT NULL,
        chunks integer NOT NULL,
        error text NOT NULL,
        recorded_at text NOT NULL,
        PRIMARY KEY (collection_key, source_uri)
    );
    CREATE INDEX source_document ON {schema}.source (collection_key, doc_id);
    """,
    # Constant defaults do not rewrite the table.
    """
    ALTER TABLE {schema}.source
        ADD COLUMN reason text NOT NULL DEFAULT '',
        ADD COLUMN validator text NOT NULL DEFAULT '',
        ADD COLUMN parent text COLLATE "C" NOT NULL DEFAULT '',
        ADD COLUMN version text NOT NULL DEFAULT '',
        ADD COLUMN pages integer NOT NULL DEFAULT 0,
        ADD COLUMN attempts integer NOT NULL DEFAULT 0,
        ADD COLUMN seconds text NOT NULL DEFAULT '[]';
    """,
    "ALTER TABLE {schema}.edition ADD COLUMN token_code text NOT NULL DEFAULT '';",
)
