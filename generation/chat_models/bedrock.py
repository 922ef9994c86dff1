"""Models of Amazon Bedrock through its Converse API, streamed; needs the extra `bedrock` (boto3)."""

from collections.abc import Iterator, Mapping
from typing import Any

from generation.ports import ChatRequest, Delta
from generation.records import Usage
from retrieval.errors import ChatModelError, ChatModelUnavailable, MissingExtra

UNAVAILABLE = frozenset(
    {
        "ThrottlingException",
        "ServiceUnavailableException",
        "InternalServerException",
        "ModelNotReadyException",
        "ModelTimeoutException",
        "ModelStreamErrorException",
        "ServiceQuotaExceededException",
    }
)
"""Error codes that may pass; the others are about the request, the model or the permissions."""


class BedrockChatModel:
    """One Bedrock model or inference profile. Credentials are found as AWS clients find them. Thread-safe."""

    def __init__(
        self, *, model: str, region: str | None = None, endpoint_url: str | None = None, timeout: float = 60.0
    ) -> None:
        """`model` as in 'amazon.nova-lite-v1:0' or an ARN; `endpoint_url` for a VPC endpoint; `timeout` in seconds."""
        try:
            import boto3  # noqa: PLC0415  # lazy, as all of these: an extra, and slow to import
            import botocore.exceptions as exceptions  # noqa: PLC0415, PLR0402
            from botocore.config import Config  # noqa: PLC0415
            from botocore.eventstream import ParserError  # noqa: PLC0415
            from urllib3.exceptions import HTTPError  # noqa: PLC0415
        except ImportError as exc:
            raise MissingExtra("the bedrock chat model needs: pip install 'footnote[bedrock]'") from exc
        self.name = f"bedrock:{model}"
        self._model = model
        self._exceptions = exceptions
        # botocore translates what happens before the stream begins; within it, the errors of its parts come through.
        self._broken = (exceptions.BotoCoreError, ParserError, HTTPError, OSError)
        config = Config(connect_timeout=min(timeout, 10.0), read_timeout=timeout, retries={"mode": "standard"})
        try:
            self._client = boto3.client("bedrock-runtime", region_name=region, endpoint_url=endpoint_url, config=config)
        except exceptions.BotoCoreError as exc:
            raise ChatModelError(f"{self.name}: {exc}; set generation.region (or AWS_DEFAULT_REGION)") from exc

    def stream(self, request: ChatRequest) -> Iterator[Delta]:
        errors = self._exceptions
        try:
            response = self._client.converse_stream(
                modelId=self._model,
                system=[{"text": message.content} for message in request.messages if message.role == "system"],
                messages=[
                    {"role": message.role, "content": [{"text": message.content}]}
                    for message in request.messages
                    if message.role != "system"
                ],
                inferenceConfig={"maxTokens": request.max_tokens, "temperature": request.temperature},
            )
            events = response["stream"]
            try:
                yield from self._deltas(events)
            finally:
                events.close()  # also when our caller stops early: the model stops writing
        except errors.ClientError as exc:  # EventStreamError, of an error within the stream, is one
            error = exc.response["Error"]
            text = f"{self.name} answered {error['Code']}: {error.get('Message', '')}"
            if _code(error["Code"]) in UNAVAILABLE:
                raise ChatModelUnavailable(f"{text}; try again later") from exc
            raise ChatModelError(f"{text}; check generation.model, generation.region and the permissions") from exc
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as exc:
            raise ChatModelError(f"{self.name}: {exc}; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or use a role") from exc
        except errors.ParamValidationError as exc:
            raise ChatModelError(f"{self.name}: {exc}") from exc
        except self._broken as exc:
            raise ChatModelUnavailable(f"{self.name} cannot be reached or broke off: {exc}; try again") from exc

    def _deltas(self, events: Iterator[Mapping[str, Any]]) -> Iterator[Delta]:
        stopped = False
        for event in events:
            match event:
                case {"contentBlockDelta": {"delta": {"text": str(text)}}}:
                    yield Delta(text)
                case {"messageStop": {"stopReason": str(reason)}}:
                    stopped = True
                    yield Delta(stop_reason=reason)
                case {"metadata": {"usage": {"inputTokens": int(read), "outputTokens": int(written)}}}:
                    yield Delta(usage=Usage(read, written))
                case _:
                    pass  # messageStart, contentBlockStop, reasoning: nothing to show
        if not stopped:
            raise ChatModelUnavailable(f"{self.name} broke off in the middle of an answer; try again")


def _code(code: str) -> str:
    """'throttlingException', as it is called within a stream, is 'ThrottlingException'."""
    return code[:1].upper() + code[1:]
