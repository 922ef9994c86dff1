"""Settings of ingestion: which files are read, and how documents are cut into chunks."""

from pathlib import Path
from typing import Literal

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
    token_vectors: bool = Field(
        True,
        description="Keep a compressed vector for each token of a chunk, by which late interaction ranks, where the "
        "model makes them: some kilobytes a chunk. Of new collections; `footnote reindex` brings others to it.",
    )
    overlap_tokens: int = Field(0, ge=0, le=4096, description="Tokens that a chunk repeats from the one before.")
    engine: Literal["local", "ray"] = Field(
        "local", description="Who reads files and embeds: processes of this machine, or a Ray cluster (extra `ray`)."
    )
    workers: int | None = Field(
        None,
        ge=0,
        le=256,
        description="Processes that read files; default: half of the cores. 0 reads within the command's own process, "
        "without the limits below.",
    )
    worker_memory_bytes: int = Field(
        2**30,
        ge=128 * 2**20,
        description="Memory that reading one file may take; one that needs more is recorded as failed.",
    )
    parse_seconds: float = Field(
        60.0, gt=0, description="Seconds, of the clock and of the processor, that reading one file may take."
    )
    ocr: Literal["auto", "never"] = Field(
        "auto", description="Recognise text on scanned pages and images when tesseract is installed, or never."
    )
    ocr_pages: int = Field(
        1000, ge=1, description="Scanned pages that one file may have; each of them has `parse_seconds` of its own."
    )
    ocr_languages: str = Field("eng", description="Languages for tesseract, e.g. `eng+deu`.")
    archive_max_bytes: int = Field(
        8 * 2**30, ge=1, description="What the members of one archive may have together, unpacked."
    )
    archive_max_members: int = Field(100_000, ge=1, description="Members that one archive may have.")
    http_allow_private: bool = Field(
        False, description="Fetch from private and local addresses too, e.g. a wiki within the company."
    )
    http_max_bytes: int = Field(64 * 2**20, ge=1, description="Longer responses are recorded as failed.")
    http_seconds: float = Field(60.0, gt=0, description="Time for one page, redirects included.")
    http_delay: float = Field(
        1.0, ge=0, description="Seconds between two requests to one host; robots.txt may ask for more."
    )
    http_user_agent: str = Field(
        "footnote", description="How requests introduce themselves; robots.txt is asked for it."
    )
    receipts_path: Path | None = Field(
        None, description="Folder of the receipts of deletions; default: `_receipts` in `retrieval.path`."
    )
    poll_seconds: float = Field(
        300.0,
        ge=1.0,
        description="With `--watch`: seconds between two syncs of everything; folders tell of changes meanwhile.",
    )
    ray_address: str = Field(
        "",
        description="Of a Ray cluster, e.g. `ray://head:10001` or `auto`; empty: one that is started on this machine.",
    )
    ray_embedders: int = Field(
        1, ge=0, le=1024, description="Actors of the Ray cluster that embed; 0 embeds where the command runs."
    )
    ray_gpus: float = Field(0.0, ge=0.0, le=16.0, description="GPUs, or the share of one, that each of them takes.")
    s3_endpoint_url: str = Field("", description="For S3-compatible services; empty: AWS.")

    @property
    def chunking(self) -> Chunking:
        """How new collections and editions are cut; those that are there keep their own."""
        return Chunking(self.chunk_tokens, self.context_tokens, self.overlap_tokens, ALGORITHM)
