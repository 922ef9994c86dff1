"""Amazon Bedrock's Rerank API, through its Agent Runtime; needs the extra `bedrock` (boto3)."""

from collections.abc import Iterator, Sequence
from typing import Any

from retrieval.embedders.tokenizer import encodable
from retrieval.errors import ConfigError, MissingExtra, RerankerError, RerankerUnavailable
from retrieval.ports import SearchView
from retrieval.records import StoredChunk
from retrieval.rerankers.scores import by_index, texts_of

MAX_SOURCES = 1000
"""Of one request, by the API reference. Each hundred of them is paid for as one query."""
MAX_CHARACTERS = 32_000
"""Of a text and of the query, by the API reference; models read less and cut the rest."""
NOTHING = "."
"""Sent for a text of nothing but white space, which the service refuses."""

UNAVAILABLE = frozenset(
    {
        "ThrottlingException",
        "TooManyRequestsException",
        "ServiceUnavailableException",
        "InternalServerException",
        "InternalFailure",
        "BadGatewayException",
        "DependencyFailedException",
        "ServiceQuotaExceededException",
    }
)
"""Error codes that may pass; the others are about the request, the model or the permissions."""


class BedrockReranker:
    """The port `Reranker` on a Bedrock model. Credentials are found as AWS clients find them. Thread-safe.

    `model` is an id such as 'cohere.rerank-v3-5:0' or 'amazon.rerank-v1:0', or an ARN; `endpoint_url` is that of a VPC
    endpoint; `timeout` is in seconds, for each of at most three tries. Raises MissingExtra, ConfigError.
    """

    def __init__(self, *, model: str, region: str = "", endpoint_url: str = "", timeout: float = 10.0) -> None:
        try:
            import boto3  # noqa: PLC0415  # lazy, as all of these: an extra, and slow to import
            import botocore.exceptions as exceptions  # noqa: PLC0415, PLR0402
            from botocore.config import Config  # noqa: PLC0415
            from botocore.parsers import ResponseParserError  # noqa: PLC0415
        except ImportError as exc:
            raise MissingExtra("the bedrock reranker needs: pip install 'footnote[bedrock]'") from exc
        self.name = f"bedrock:{model}"
        self._exceptions = exceptions
        self._broken = (exceptions.BotoCoreError, ResponseParserError, OSError)
        config = Config(connect_timeout=min(timeout, 10.0), read_timeout=timeout, retries={"mode": "standard"})
        try:
            self._client = boto3.Session().client(
                "bedrock-agent-runtime", region_name=region or None, endpoint_url=endpoint_url or None, config=config
            )
        except (exceptions.BotoCoreError, ValueError) as exc:  # no region; an endpoint that is no address
            raise ConfigError(
                f"reranker {self.name!r}: {exc}; set retrieval.rerank_region (or AWS_DEFAULT_REGION), and "
                "retrieval.rerank_url only to a VPC endpoint"
            ) from exc
        meta = self._client.meta
        arn = f"arn:{meta.partition}:bedrock:{meta.region_name}::foundation-model/{model}"
        self._arn = model if model.startswith("arn:") else arn

    def rerank(
        self,
        query: str,
        chunks: Sequence[StoredChunk],
        *,
        snapshot: SearchView,  # noqa: ARG002  # texts are enough
    ) -> list[float]:
        texts = [text[:MAX_CHARACTERS] if text.strip() else NOTHING for text in texts_of(chunks)]
        batches = [texts[begin : begin + MAX_SOURCES] for begin in range(0, len(texts), MAX_SOURCES)]
        query = encodable(query)[:MAX_CHARACTERS]
        return [score for batch in batches for score in by_index(self._results(query, batch), self.name, len(batch))]

    def _results(self, query: str, texts: Sequence[str]) -> Iterator[tuple[object, object]]:
        """Index and score of each text, from as many pages as the service makes of them."""
        request: dict[str, Any] = {
            "queries": [{"type": "TEXT", "textQuery": {"text": query}}],
            "sources": [
                {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}
                for text in texts
            ],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "numberOfResults": len(texts),
                    "modelConfiguration": {"modelArn": self._arn},
                },
            },
        }
        for _ in range(len(texts)):  # no page is empty
            page = self._call(request)
            for result in page.get("results") or ():
                yield result.get("index"), result.get("relevanceScore")
            token = page.get("nextToken")
            if not token:
                return
            request["nextToken"] = token
        raise RerankerError(f"reranker {self.name!r} makes more pages than there are texts ({len(texts)}); try again")

    def _call(self, request: dict[str, Any]) -> Any:
        errors = self._exceptions
        try:
            return self._client.rerank(**request)
        except errors.ClientError as exc:
            error = exc.response.get("Error", {})
            code = error.get("Code", "")
            text = f"reranker {self.name!r} answered {code}: {error.get('Message', '')}"
            status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in UNAVAILABLE or status >= 500:
                raise RerankerUnavailable(f"{text}; try again later") from exc
            raise RerankerError(
                f"{text}; check retrieval.rerank_model, retrieval.rerank_region (not every region has the model) and "
                "the permissions bedrock:Rerank and bedrock:InvokeModel"
            ) from exc
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as exc:
            raise RerankerError(
                f"reranker {self.name!r}: {exc}; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or use a role"
            ) from exc
        except errors.ParamValidationError as exc:
            raise RerankerError(f"reranker {self.name!r}: {exc}") from exc
        except self._broken as exc:
            raise RerankerUnavailable(
                f"reranker {self.name!r} cannot be reached or broke off: {exc}; try again"
            ) from exc
