"""Settings of the REST service: where it listens, who may call it, how much it takes on."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ApiSettings(BaseModel):
    """The `[api]` table of footnote.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; anything but loopback should have `api_keys`."
    )
    port: int = Field(default=8080, ge=0, le=65_535, description="0 takes a free one, printed at the start.")
    api_keys: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = Field(
        default=(),
        description="Each opens all of the API, as `Authorization: Bearer KEY`; none: no key is asked for.",
    )
    threads: int = Field(default=8, ge=1, le=512, description="Requests worked on at once; the others wait their turn.")
    max_body_bytes: int = Field(default=1_048_576, ge=1_024, description="Largest request body; larger ones get 413.")
    heartbeat_seconds: float = Field(
        default=15.0,
        gt=0,
        description="A silent stream sends a comment this often, so that no proxy takes it for dead.",
    )
