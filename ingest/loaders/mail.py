"""Mail as it is sent (EML), by the standard library: head and body; what is attached becomes documents of its own."""

import base64
import binascii
import io
import mimetypes
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from email import message_from_bytes
from email.errors import MessageError
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import getaddresses, parsedate_to_datetime
from typing import cast

from ingest.loaders import html, text
from ingest.loaders.builder import DocumentBuilder, Origin, shorten
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import clean, one_line
from retrieval.errors import CorruptFile, EncryptedFile
from retrieval.records import Document

VERSION = 2

INLINE_IMAGE = 10 * 1024
"""Bytes below which a picture that is shown within the text is taken for a logo or a smiley: no attachment."""

MAX_HEADER = 10_000
"""Characters of a field of the head that are read."""

_SEALED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_SIGNATURES = frozenset(
    {
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "application/pgp-signature",
        "application/pgp-keys",
    }
)


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. Raises EncryptedFile for messages that only their receivers can read."""
    if b"\0" in data[:200]:  # UTF-16, as some programs save it
        data = decode(data).encode("utf-8", errors="replace")
    message = message_from_bytes(data.removeprefix(b"\xef\xbb\xbf").lstrip(), policy=default)
    if not message.keys():
        raise CorruptFile(f"{origin.name!r} has no mail header; name it .txt to read it as text")
    return read(message, origin)


def read(message: EmailMessage, origin: Origin) -> Document:
    """The document in `message`; files and messages that are attached to it go to `origin.attach`."""
    _refuse_sealed(message, origin.name)
    builder = DocumentBuilder()
    fields = _add_head(builder, message)
    attachments: list[str] = []
    for part in _leaves(message):
        kind = part.get_content_type()
        if kind in _SIGNATURES or _is_decoration(part):
            continue
        if kind == "message/delivery-status":
            _add_status(builder, part)
        elif part.get_content_maintype() == "text" and not part.get_filename() and not part.is_attachment():
            _add_body(builder, part)
        elif not part.is_multipart() or kind == "message/rfc822":
            name, content = _attachment(part, len(attachments) + 1)
            attachments.append(name)
            origin.attach(name, content)
    if attachments:
        builder.paragraph("Attachments: " + ", ".join(attachments))
    return builder.build(origin, title=str(fields.get("subject", "")), metadata=fields | {"attachments": attachments})


def _refuse_sealed(message: EmailMessage, name: str) -> None:
    kind = message.get_content_type()
    if kind in _SEALED and str(message.get_param("smime-type", "")).lower() == "signed-data":
        raise EncryptedFile(f"{name!r} is sealed in its signature (S/MIME, opaque); save it without the signature")
    if kind == "multipart/encrypted" or kind in _SEALED:
        raise EncryptedFile(f"{name!r} is an encrypted message; save it decrypted")


def _add_head(builder: DocumentBuilder, message: EmailMessage) -> dict[str, object]:
    """Who wrote what to whom, and when: as text, since people ask for it, and returned as metadata."""
    subject, senders = _decoded(_header(message, "subject")), _names(_header(message, "from"))
    receivers = _names(", ".join(filter(None, (_header(message, "to"), _header(message, "cc")))))
    date = _date(message)
    builder.title(subject)
    lines = (("From", ", ".join(senders)), ("To", ", ".join(receivers)), ("Date", date))
    builder.paragraph("\n".join(f"{name}: {value}" for name, value in lines if value))
    return {"subject": subject, "author": senders, "to": receivers, "created": date[:19]}


def _header(message: EmailMessage, name: str) -> str:
    """A field of the head as it was sent, on one line; the library's own parser takes hours over hostile ones."""
    value = next((str(value) for key, value in message.raw_items() if key.lower() == name), "")[:MAX_HEADER]
    if _UNDECODED.search(value):  # bytes that are not ASCII, as no head should have
        value = decode(value.encode("utf-8", errors="surrogateescape"))
    return one_line(value)


_UNDECODED = re.compile("[\ud800-\udfff]")


def _decoded(value: str) -> str:
    if "=?" in value:
        with suppress(MessageError, LookupError, ValueError):  # then it is shown as it stands
            value = str(make_header(decode_header(value)))
    return one_line(value)


def _names(value: str) -> tuple[str, ...]:
    try:
        pairs = getaddresses([value])
    except RecursionError:  # brackets within brackets
        return ()
    return tuple(f"{_decoded(name)} <{address}>" if name else address for name, address in pairs if name or address)


def _date(message: EmailMessage) -> str:
    value = _header(message, "date")
    for parse in (parsedate_to_datetime, datetime.fromisoformat):  # the second is wrong in mail, and is written
        with suppress(ValueError, TypeError, IndexError):
            return parse(value).isoformat(timespec="seconds")
    return ""


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold something; of alternatives the last, the richest, that can be read."""
    if not message.is_multipart() or message.get_content_maintype() == "message":
        yield message
        return
    parts = cast("list[EmailMessage]", message.get_payload())
    if message.get_content_subtype() == "alternative":
        parts = [next(filter(_is_readable, reversed(parts)), parts[-1])] if parts else []
    for part in parts:
        yield from _leaves(part)


def _is_readable(part: EmailMessage) -> bool:
    return any(leaf.get_content_type() in ("text/html", "text/plain") for leaf in part.walk())


def _is_decoration(part: EmailMessage) -> bool:
    inline = part.get_content_disposition() == "inline" or bool(part.get("content-id"))
    return part.get_content_maintype() == "image" and inline and len(_payload(part)) < INLINE_IMAGE


def _add_status(builder: DocumentBuilder, part: EmailMessage) -> None:
    """What a mail server says of a message that it could not deliver."""
    for block in cast("list[EmailMessage]", part.get_payload()) if part.is_multipart() else ():
        builder.paragraph("\n".join(f"{name}: {one_line(str(value))}" for name, value in block.items()))


def _add_body(builder: DocumentBuilder, part: EmailMessage) -> None:
    content = clean(decode(_payload(part), declared=str(part.get_content_charset() or "")))
    if part.get_content_subtype() == "html" or _HTML.match(content):
        html.add_fragment(builder, content)
    else:
        text.add_text(builder, content)


_HTML = re.compile(r"\s*(?:<!doctype html|<html)", re.IGNORECASE)


def _payload(part: EmailMessage) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _attachment(part: EmailMessage, number: int) -> tuple[str, bytes]:
    name = _decoded(str(part.get_filename() or "")).replace("/", "_").replace("\\", "_")
    if part.get_content_type() != "message/rfc822":
        extension = mimetypes.guess_extension(part.get_content_type()) or ""
        return name or f"attachment-{number}{extension}", _payload(part)
    inner = cast("list[EmailMessage]", part.get_payload())[0]
    name = name or shorten(_decoded(_header(inner, "subject")).replace("/", "_"), 80) or f"message-{number}"
    return name if "." in name[-5:] else f"{name}.eml", _message_bytes(inner)


def _message_bytes(message: EmailMessage) -> bytes:
    if not message.keys():  # some programs encode the whole message, which the standard forbids
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(str(message.get_payload()).encode("ascii"), validate=False)
    out = io.BytesIO()
    # The older policy writes headers back as they came, whatever is wrong with them.
    BytesGenerator(out, mangle_from_=False, policy=compat32).flatten(message)
    return out.getvalue()
