"""Mail as it is sent (EML), by the standard library: head, body, names of attachments, messages within messages."""

import re
from contextlib import suppress
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses, parsedate_to_datetime
from typing import cast

from ingest.loaders import html, text
from ingest.loaders.builder import DocumentBuilder, Origin
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean, one_line
from retrieval.errors import CorruptFile, EncryptedFile
from retrieval.records import Document

VERSION = 1

MAX_DEPTH = 10
"""Messages within messages."""

_ENCRYPTED = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    if b"\0" in data[:200]:  # UTF-16, as some programs save it
        data = decode(data).encode("utf-8", errors="replace")
    message = message_from_bytes(data.removeprefix(b"\xef\xbb\xbf").lstrip(), policy=default)
    if message.get_content_type() in _ENCRYPTED:
        raise EncryptedFile(f"{origin.name!r} is an encrypted message; save it decrypted")
    if not message.keys():
        raise CorruptFile(f"{origin.name!r} has no mail header; name it .txt to read it as text")
    builder = DocumentBuilder()
    fields = _add_message(builder, message)
    return builder.build(origin, title=str(fields.get("subject", "")), metadata=fields)


def add_head(builder: DocumentBuilder, *, subject: str, sender: str, receiver: str, date: str) -> dict[str, object]:
    """Who wrote what to whom, and when: as text, since people ask for it, and returned as metadata."""
    subject, senders, receivers = _decoded(subject), _names(sender), _names(receiver)
    builder.title(subject)
    lines = (("From", ", ".join(senders)), ("To", ", ".join(receivers)), ("Date", date))
    builder.paragraph("\n".join(f"{name}: {value}" for name, value in lines if value))
    return {"subject": subject, "author": senders, "to": receivers, "created": date[:19]}


def _add_message(builder: DocumentBuilder, message: EmailMessage, depth: int = 0) -> dict[str, object]:
    fields = add_head(
        builder,
        subject=_header(message, "subject"),
        sender=_header(message, "from"),
        receiver=", ".join(filter(None, (_header(message, "to"), _header(message, "cc")))),
        date=_date(message),
    )
    attachments = []
    for part in _leaves(message):
        if part.get_content_type() == "message/rfc822" and depth < MAX_DEPTH:
            for inner in part.get_payload():
                _add_message(builder, cast("EmailMessage", inner), depth + 1)
        elif part.get_filename():
            attachments.append(one_line(str(part.get_filename())))
        else:
            _add_body(builder, part)
    if attachments:
        builder.paragraph("Attachments: " + ", ".join(attachments))
    return fields | {"attachments": attachments}


def _leaves(message: EmailMessage) -> list[EmailMessage]:
    """The parts that hold something; of alternatives the richest that can be read."""
    if not message.is_multipart() or message.get_content_type() == "message/rfc822":
        return [message]
    parts = cast("list[EmailMessage]", message.get_payload())
    if message.get_content_subtype() == "alternative":
        by_type = {part.get_content_type(): part for part in parts}
        preferred = next((by_type[kind] for kind in ("text/html", "text/plain") if kind in by_type), None)
        parts = [preferred or parts[-1]] if parts else []
    return [leaf for part in parts for leaf in _leaves(part)]


def _add_body(builder: DocumentBuilder, part: EmailMessage) -> None:
    if part.get_content_maintype() != "text":
        return
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return
    content = clean(decode(payload, declared=str(part.get_content_charset() or "")))
    if part.get_content_subtype() == "html" or _HTML.match(content):
        html.add_fragment(builder, content)
    else:
        text.add_text(builder, content)


_HTML = re.compile(r"\s*(?:<!doctype html|<html)", re.IGNORECASE)


def _header(message: EmailMessage, name: str) -> str:
    try:
        return _decoded(str(message.get(name) or ""))
    except (MessageError, ValueError, IndexError, AttributeError):  # what the parser raises on broken headers
        return ""


def _decoded(value: str) -> str:
    if "=?" in value:
        with suppress(MessageError, LookupError, ValueError):  # then it is shown as it stands
            value = str(make_header(decode_header(value)))
    return one_line(value)


def _names(value: str) -> tuple[str, ...]:
    pairs = getaddresses([value])
    return tuple(f"{_decoded(name)} <{address}>" if name else address for name, address in pairs if name or address)


def _date(message: EmailMessage) -> str:
    try:
        return parsedate_to_datetime(_header(message, "date")).isoformat(timespec="seconds")
    except (ValueError, TypeError, IndexError):
        return ""
