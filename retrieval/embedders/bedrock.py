"""Embedding models of Amazon Bedrock, through InvokeModel: Titan Text Embeddings, Cohere Embed; needs boto3.

The model's family, which decides over the wire format, is read from the model id. An id may have a region's or
'global.' before it (an inference profile), and may be an ARN that ends with such an id.
"""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from retrieval.embedders.service import ServiceEmbedder, ServiceOptions
from retrieval.errors import ConfigError, EmbedderError, EmbedderUnavailable, MissingExtra
from retrieval.ports import Vectors

PARALLEL = 8
"""Requests at a time. With one text in each, as Titan has it, it is the way there and back that costs, not the work."""

UNAVAILABLE = frozenset(
    {
        "ThrottlingException",
        "ServiceUnavailableException",
        "InternalServerException",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelTimeoutException",
        "ServiceQuotaExceededException",
    }
)
"""Error codes that may pass; the others are about the request, the model or the permissions."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What AWS's documentation says of models that are asked alike."""

    wire: Literal["titan-v1", "titan-v2", "cohere-v3", "cohere-v4"]
    dimension: int
    window: int
    dimensions: tuple[int, ...] = ()
    """That can be asked for; none where there is no choice."""
    texts: int = 1
    """In one request."""
    characters: int = 50_000
    """Of one text."""


_FAMILIES: Mapping[str, _Family] = MappingProxyType(
    {
        "amazon.titan-embed-text-v2": _Family("titan-v2", 1024, 8192, (256, 512, 1024)),
        "amazon.titan-embed-text-v1": _Family("titan-v1", 1536, 8192),
        "amazon.titan-embed-g1-text": _Family("titan-v1", 1536, 8192),
        "cohere.embed-english-v3": _Family("cohere-v3", 1024, 512, texts=96, characters=2048),
        "cohere.embed-multilingual-v3": _Family("cohere-v3", 1024, 512, texts=96, characters=2048),
        "cohere.embed-v4": _Family("cohere-v4", 1536, 128_000, (256, 512, 1024, 1536), texts=96, characters=500_000),
    }
)
_MODEL_ID = re.compile(rf"(?:^|[./])({'|'.join(map(re.escape, _FAMILIES))})(?:[-:][\w:.-]*)?\Z")


class BedrockEmbedder(ServiceEmbedder):
    """One Bedrock model or inference profile. Credentials are found as AWS clients find them. Can be pickled."""

    def __init__(self, options: ServiceOptions, *, region: str | None = None, endpoint_url: str | None = None) -> None:
        """`endpoint_url` for a VPC endpoint. Raises MissingExtra; ConfigError for a model of no known family."""
        name, family = _find(options.model)
        if options.dimensions and options.dimensions not in (family.dimensions or (family.dimension,)):
            can = ", ".join(map(str, family.dimensions or (family.dimension,)))
            raise ConfigError(f"retrieval.dimensions = {options.dimensions}: {name!r} can do {can}; 0 takes the most")
        self._given = (options, region, endpoint_url)
        self._family = family
        super().__init__(
            replace(options, window=min(options.window, family.window)),
            adapter="bedrock",
            name=f"bedrock:{name}",
            dimension=options.dimensions or family.dimension,
            batch=min(options.batch, family.texts),
            parallel=PARALLEL,
        )
        self._connect(region, endpoint_url)

    def _connect(self, region: str | None, endpoint_url: str | None) -> None:
        try:
            import boto3  # noqa: PLC0415  # lazy, as all of these: an extra, and slow to import
            import botocore.exceptions as exceptions  # noqa: PLC0415, PLR0402
            from botocore.config import Config  # noqa: PLC0415
            from urllib3.exceptions import HTTPError  # noqa: PLC0415
        except ImportError as exc:
            raise MissingExtra("the bedrock embedder needs: pip install 'footnote[bedrock]'") from exc
        self._exceptions = exceptions
        # botocore translates what happens before the body is read; while it is read, some errors come through.
        self._broken = (exceptions.BotoCoreError, HTTPError, OSError)
        timeout = self._options.timeout
        config = Config(
            connect_timeout=min(timeout, 10.0),
            read_timeout=timeout,
            max_pool_connections=PARALLEL,
            retries={"mode": "standard", "total_max_attempts": self._options.retries + 1},
        )
        try:
            # A session of its own: the one that a process shares is not thread-safe.
            self._client = boto3.Session(region_name=region).client(
                "bedrock-runtime", endpoint_url=endpoint_url, config=config
            )
        except (exceptions.BotoCoreError, ValueError) as exc:  # ValueError: an endpoint that is no address
            raise ConfigError(
                f"{self._name}: {exc}; set retrieval.embedder_region (or AWS_DEFAULT_REGION), and "
                "retrieval.embedder_url only to a VPC endpoint"
            ) from exc

    def __reduce__(self) -> tuple[Any, tuple[ServiceOptions]]:
        options, region, endpoint_url = self._given
        return partial(BedrockEmbedder, region=region, endpoint_url=endpoint_url), (options,)

    @property
    def endpoint(self) -> str:
        """The address that is asked."""
        return str(self._client.meta.endpoint_url)

    def request(self, texts: Sequence[str], *, query: bool, stop: threading.Event) -> Vectors:  # noqa: ARG002
        """AWS's own client waits and tries again; it cannot be stopped in between."""
        cut = [text[: self._family.characters] for text in texts]
        answer = self._invoke(_body(self._family.wire, cut, dimension=self._dimension, query=query))
        try:
            rows = _rows(self._family.wire, answer)
        except (LookupError, TypeError) as exc:
            raise self.nonsense(f"{str(answer)[:200]!r}, which holds no embeddings") from exc
        return self.checked(rows, len(texts))

    def _invoke(self, body: Mapping[str, Any]) -> Any:
        errors = self._exceptions
        try:
            response = self._client.invoke_model(
                modelId=self._options.model,
                contentType="application/json",
                accept="application/json",
                body=json.dumps(body).encode(),
            )
            return json.loads(response["body"].read())
        except errors.ClientError as exc:
            error = exc.response["Error"]
            text = f"{self._name} answered {error['Code']}: {error.get('Message', '')}"
            if error["Code"] in UNAVAILABLE:
                tries = exc.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) + 1
                raise EmbedderUnavailable(f"{text}; tried {tries} time{'s' * (tries > 1)}; try again later") from exc
            raise EmbedderError(
                f"{text}; check retrieval.model, retrieval.embedder_region and the permissions"
            ) from exc
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as exc:
            raise EmbedderError(f"{self._name}: {exc}; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or use a role") from exc
        except errors.ParamValidationError as exc:
            raise EmbedderError(f"{self._name}: {exc}") from exc
        except self._broken as exc:
            raise EmbedderUnavailable(f"{self._name} cannot be reached or broke off: {exc}; try again") from exc
        except (ValueError, RecursionError) as exc:
            raise self.nonsense(f"no JSON ({exc})") from exc


def _find(model: str) -> tuple[str, _Family]:
    """The model's id without region and account, and its family. Raises ConfigError."""
    match = _MODEL_ID.search(model)
    if match is None:
        known = ", ".join(_FAMILIES)
        raise ConfigError(
            f"retrieval.model {model!r} names no embedding model of Bedrock that Footnote knows: {known}; give an id, "
            "an inference profile or an ARN that ends with one of them and its version"
        )
    return match.group().lstrip("./"), _FAMILIES[match.group(1)]


def _body(wire: str, texts: Sequence[str], *, dimension: int, query: bool) -> dict[str, Any]:
    if wire == "titan-v1":
        return {"inputText": texts[0]}
    if wire == "titan-v2":
        return {"inputText": texts[0], "dimensions": dimension, "normalize": True}
    body = {"texts": list(texts), "input_type": "search_query" if query else "search_document"}
    if wire == "cohere-v3":
        return {**body, "truncate": "END"}
    return {**body, "truncate": "RIGHT", "embedding_types": ["float"], "output_dimension": dimension}


def _rows(wire: str, answer: Any) -> Any:
    """The vectors of an answer, in the order of the texts. Raises LookupError and TypeError when there are none."""
    if wire.startswith("titan"):
        return [answer["embedding"]]
    embeddings = answer["embeddings"]
    return embeddings["float"] if isinstance(embeddings, dict) else embeddings
