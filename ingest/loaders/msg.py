"""MSG, a message as Outlook saves it: turned into one as it is sent, and read as such.

The format is [MS-OXMSG]: a compound file with a stream for each property, and storages for receivers, attachments and
messages within messages.
"""

import io
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime, formataddr

import olefile

from ingest.loaders import html, mail
from ingest.loaders.builder import Origin
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import one_line
from retrieval.errors import CorruptFile, EncryptedFile
from retrieval.records import Document

VERSION = 1

MAX_DEPTH = 10
"""Messages within messages."""

# The tags of properties, [MS-OXPROPS]; names of streams are made of tag and type.
_CLASS, _SUBJECT, _BODY, _HTML = "001A", "0037", "1000", "1013"
_RTF = "1009"
_SENDER_NAME, _SENDER_ADDRESSES = "0C1A", ("5D01", "0C1F")
_NAME, _ADDRESSES = "3001", ("39FE", "3003")
_FILE_NAMES, _DATA, _MEDIA_TYPE, _CONTENT_ID = ("3707", "3704", "3001"), "3701", "370E", "3712"
_SENT, _DELIVERED, _CODE_PAGE, _RECEIVER_KIND = 0x0039, 0x0E06, 0x3FFD, 0x0C15
_INTERNET_CODE_PAGE = 0x3FDE
_UNICODE, _BYTES_TEXT, _BINARY, _OBJECT = "001F", "001E", "0102", "000D"

_CODE_PAGES = {
    65001: "utf-8",
    20866: "koi8-r",
    21866: "koi8-u",
    28591: "latin-1",
    28592: "iso8859-2",
    50220: "iso2022_jp",
}
"""Numbers of Windows that Python knows by another name."""

_TOP_HEADER, _INNER_HEADER, _PART_HEADER = 32, 24, 8
"""Bytes before the fixed properties of a message, of a message within one, of a receiver or attachment."""


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`. Raises EncryptedFile for messages that only their receivers can read."""
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as container:
            message = _Storage(container, (), _TOP_HEADER).message(origin.name)
    except (OSError, ValueError, IndexError, struct.error) as exc:
        raise CorruptFile(f"{origin.name!r} is a damaged Outlook message ({exc}); get a fresh copy") from exc
    return mail.read(message, origin)


class _Storage:
    """A message, a receiver or an attachment."""

    def __init__(self, container: "olefile.OleFileIO", path: tuple[str, ...], header: int) -> None:
        self._container = container
        self._path = path
        self._fixed = self._fixed_properties(header)
        self._encoding = self._code_page(_CODE_PAGE) or "cp1252"

    def message(self, name: str, depth: int = 0) -> EmailMessage:
        """The message as one that was sent. `name` of the file is for errors."""
        kind = self._text(_CLASS).upper()
        parts = [_Storage(self._container, path, _PART_HEADER) for path in self._storages("__attach")]
        if kind == "IPM.NOTE.SMIME" or any(part._text(_MEDIA_TYPE) == "application/pgp-encrypted" for part in parts):
            raise EncryptedFile(f"{name!r} is an encrypted message; save it decrypted")
        message = EmailMessage()
        for header, value in self._head():
            message[header] = one_line(value)
        if kind == "IPM.NOTE.SMIME.MULTIPARTSIGNED" and parts:  # the message as it was sent is all that is attached
            return _with_head_of(message, parts[0]._binary(_DATA))
        self._add_body(message)
        for part in parts:
            part._attach_to(message, name, depth)
        return message

    def _head(self) -> Iterator[tuple[str, str]]:
        yield "Subject", self._text(_SUBJECT)
        address = next(filter(None, map(self._text, _SENDER_ADDRESSES)), "")
        if sender := _mailbox(self._text(_SENDER_NAME), address):
            yield "From", sender
        receivers = [_Storage(self._container, path, _PART_HEADER) for path in self._storages("__recip")]
        for number, header in ((1, "To"), (2, "Cc")):
            value = ", ".join(
                filter(None, (one._receiver() for one in receivers if one._number(_RECEIVER_KIND) == number))
            )
            if value:
                yield header, value
        if sent := self._time(_SENT) or self._time(_DELIVERED):
            yield "Date", format_datetime(sent)

    def _receiver(self) -> str:
        return _mailbox(self._text(_NAME), next(filter(None, map(self._text, _ADDRESSES)), ""))

    def _add_body(self, message: EmailMessage) -> None:
        data = self._binary(_HTML)
        declared = html.declared_charset(data[:8192]) or self._code_page(_INTERNET_CODE_PAGE)
        markup = self._text(_HTML) or decode(data, declared=declared)
        text = self._text(_BODY)
        message.set_content(markup or text, subtype="html" if markup else "plain", cte="base64")
        rich = self._binary(_RTF)
        if rich and not (markup.strip() or text.strip()):
            message.add_attachment(unpacked_rtf(rich), maintype="application", subtype="rtf", filename="message.rtf")

    def _attach_to(self, message: EmailMessage, name: str, depth: int) -> None:
        inner = (*self._path, f"__substg1.0_{_DATA}{_OBJECT}")
        if self._container.exists("/".join((*inner, "__properties_version1.0"))):
            if depth < MAX_DEPTH:
                attached = _Storage(self._container, inner, _INNER_HEADER).message(name, depth + 1)
                message.add_attachment(attached)
            return
        file_name = one_line(next(filter(None, map(self._text, _FILE_NAMES)), ""))
        kind, _, subtype = self._text(_MEDIA_TYPE).strip().lower().partition("/")
        if not (kind.isascii() and kind.isalpha() and subtype.isascii() and subtype) or kind in (
            "multipart",
            "message",
        ):
            kind, subtype = "application", "octet-stream"
        content_id = one_line(self._text(_CONTENT_ID))
        message.add_attachment(
            self._binary(_DATA),
            maintype=kind,
            subtype=subtype,
            filename=file_name or None,
            cid=f"<{content_id}>" if content_id.isascii() and content_id else None,
        )

    def _storages(self, prefix: str) -> list[tuple[str, ...]]:
        depth = len(self._path)
        found = {
            tuple(path[: depth + 1])
            for path in self._container.listdir()
            if len(path) > depth + 1 and tuple(path[:depth]) == self._path and path[depth].startswith(prefix)
        }
        return sorted(found)

    def _text(self, tag: str) -> str:
        text = self._stream(tag + _UNICODE).decode("utf-16-le", errors="replace")
        if not text:
            data = self._stream(tag + _BYTES_TEXT)
            text = decode(data, declared=self._encoding) if data else ""
        return text.rstrip("\0")

    def _binary(self, tag: str) -> bytes:
        return self._stream(tag + _BINARY)

    def _stream(self, name: str) -> bytes:
        path = [*self._path, f"__substg1.0_{name}"]
        return bytes(self._container.openstream(path).read()) if self._container.exists("/".join(path)) else b""

    def _fixed_properties(self, header: int) -> dict[int, bytes]:
        """Values of eight bytes, by tag: numbers and times stand together in one stream."""
        path = [*self._path, "__properties_version1.0"]
        if not self._container.exists("/".join(path)):
            return {}
        data = self._container.openstream(path).read()[header:]
        return {struct.unpack("<H", data[i + 2 : i + 4])[0]: data[i + 8 : i + 16] for i in range(0, len(data) - 15, 16)}

    def _code_page(self, tag: int) -> str:
        number = self._number(tag)
        return _CODE_PAGES.get(number, f"cp{number}" if number else "")

    def _number(self, tag: int) -> int:
        return int(struct.unpack("<I", self._fixed[tag][:4])[0]) if tag in self._fixed else 0

    def _time(self, tag: int) -> datetime | None:
        ticks = struct.unpack("<Q", self._fixed[tag])[0] if tag in self._fixed else 0  # of 100 ns
        try:
            return datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10) if ticks else None
        except OverflowError:
            return None


_RTF_START = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    + b"\r\n"
    + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What every unpacked RTF is thought to follow, so that even its beginning can refer back."""

_WINDOW = 4096


def unpacked_rtf(data: bytes) -> bytes:
    """A body in RTF as Outlook packs it, [MS-OXRTFCP]: LZ77 over a window of 4,096 bytes."""
    _, size, kind, _ = struct.unpack("<IIII", data[:16])
    if kind == 0x414C454D:  # "MELA": stored as it is
        return data[16 : 16 + size]
    out = bytearray(_RTF_START)
    position = 16
    while position < len(data):
        control = data[position]
        position += 1
        for bit in range(8):
            if not control >> bit & 1:
                out += data[position : position + 1]
                position += 1
                continue
            reference = int.from_bytes(data[position : position + 2], "big")
            position += 2
            # Offsets count from the beginning of the window; one that points at its end is the end of all.
            distance = (len(out) - (reference >> 4)) % _WINDOW
            if distance == 0 or position > len(data):
                return bytes(out[len(_RTF_START) :])
            for _ in range((reference & 15) + 2):
                out.append(out[-distance] if distance <= len(out) else 0)
    return bytes(out[len(_RTF_START) :])


def _mailbox(name: str, address: str) -> str:
    """`name <address>`; Exchange's own addresses ("/O=ORG/CN=...") say nothing to anybody."""
    name, address = one_line(name).strip("'\""), one_line(address)
    return (formataddr((name, address)) if name != address else address) if "@" in address else name


def _with_head_of(message: EmailMessage, data: bytes) -> EmailMessage:
    signed = message_from_bytes(data, policy=default)
    for header, value in message.items():
        del signed[header]
        signed[header] = value
    return signed
