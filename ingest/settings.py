"""Settings of ingestion: which files are read, and how documents are cut into chunks."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class ChunkingSettings:
    """How `ingest.chunking.split` cuts; sizes are in tokens of the embedder."""

    chunk_tokens: int = 200
    context_tokens: int = 32
    overlap_tokens: int = 0


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
    def chunking(self) -> ChunkingSettings:
        """The part that the chunker needs."""
        return ChunkingSettings(self.chunk_tokens, self.context_tokens, self.overlap_tokens)
