"""Settings of evaluation: where the collections that are built for it live."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class EvalSettings(BaseModel):
    """The `[evals]` table of footnote.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(
        default=Path("footnote-evals"),
        description="Folder of indexed data sets, kept for the next run, and of results.",
    )
