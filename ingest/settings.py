"""Settings of ingestion: which files are read, and how documents are cut into chunks."""

from pydantic import BaseModel, ConfigDict, Field

from retrieval.records import Chunking

ALGORITHM = 1
"""Version of `ingest.chunking.split`; grows when it cuts the same document differently."""


class IngestSettings(BaseModel):
    """The `[ingest]` table of footnote.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_file_bytes: int = Field(512 * 2**20, ge=1, description="Larger files are recorded as failed, not read.")
    chunk_tokens: int = Field(
        200,
        ge=8,
        le=8192,
        description="Most tokens of a chunk's own text; less where the embedder's window leaves less.",
    )
    context_tokens: int = Field(
        32, ge=0, le=512, description="Most tokens of title and heading path that are embedded before a chunk's text."
    )
    overlap_tokens: int = Field(0, ge=0, le=4096, description="Tokens that a chunk repeats from the one before.")

    @property
    def chunking(self) -> Chunking:
        """How new collections and editions are cut; those that are there keep their own."""
        return Chunking(self.chunk_tokens, self.context_tokens, self.overlap_tokens, ALGORITHM)
