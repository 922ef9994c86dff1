"""Loaders of EML and MSG: head, body, and what is attached."""

import base64
import struct

import pytest

from ingest.loaders import load
from retrieval.errors import CorruptFile, EncryptedFile, LoadError
from retrieval.records import Document
from tests.unit.ingest.compound import compound
from tests.unit.ingest.files import read, shown

HEAD = (
    "From: Eva =?utf-8?q?M=C3=BCller?= <eva@example.org>\nTo: a@example.org, b@example.org\nSubject: The plan\n"
    "Date: Mon, 5 Feb 2024 10:00:00 +0100\nMIME-Version: 1.0\n"
)


def unpacked(data: bytes | str, name: str = "a.eml") -> tuple[Document, list[tuple[str, bytes]]]:
    """The document, and name and bytes of what was attached."""
    raw = data.encode() if isinstance(data, str) else data
    attached: list[tuple[str, bytes]] = []

    def attach(file_name: str, content: bytes) -> None:
        attached.append((file_name, content))

    document = load(raw, name=name, source_uri=f"file:///{name}", doc_id="0" * 16, attach=attach)
    return document, attached


def multipart(*parts: str, kind: str = "mixed") -> str:
    """A body of several parts."""
    return (
        f'Content-Type: multipart/{kind}; boundary="{kind}"\n\n'
        + "".join(f"--{kind}\n{part}\n" for part in parts)
        + f"--{kind}--\n"
    )


PLAIN = "Content-Type: text/plain\n\nplain words\n"
RICH = "Content-Type: text/html\n\n<p>rich words</p>\n"
FILE = 'Content-Type: application/pdf\nContent-Disposition: attachment; filename="x/../y.pdf"\n\n%PDF\n'


class TestEml:
    def test_head_and_plain_body(self) -> None:
        """Who wrote what to whom and when, as text and as metadata."""
        document = read(HEAD + "Content-Type: text/plain; charset=utf-8\n\nSee you.\n", "a.eml")
        assert document.title == "The plan"
        assert "From: Eva Müller <eva@example.org>" in document.text
        assert document.text.endswith("See you.")
        assert document.metadata == {
            "subject": "The plan",
            "author": ("Eva Müller <eva@example.org>",),
            "to": ("a@example.org", "b@example.org"),
            "created": "2024-02-05T10:00:00",
        }

    def test_names_may_hold_what_separates_names(self) -> None:
        """A comma within an encoded name is no end of it; bytes that are not ASCII are read all the same."""
        head = "From: =?utf-8?q?M=C3=BCller=2C_Eva?= <eva@example.org>, Jürgen <j@example.org>\nSubject: Grüße\n\nx"
        document = read(head, "a.eml")
        assert document.metadata["author"] == ("Müller, Eva <eva@example.org>", "Jürgen <j@example.org>")
        assert document.title == "Grüße"

    @pytest.mark.timeout(10)
    @pytest.mark.parametrize(
        "head",
        [
            "Subject: " + "=?utf-8?q?a?= " * 50_000,
            "From: " + '"' * 100_001,
            "From: " + "(" * 100_000,
            "To: " + "<" * 99_999,
        ],
    )
    def test_a_head_without_end_ends(self, head: str) -> None:
        """The body is read whatever stands above it."""
        assert read(f"{head}\n\nThe body.", "a.eml").text.endswith("The body.")

    def test_a_date_of_another_standard_is_read(self) -> None:
        """Programs write what they like."""
        assert read("Date: 2025-07-29T12:42:06Z\n\nx", "a.eml").metadata["created"] == "2025-07-29T12:42:06"

    def test_attachments_are_handed_over_and_named(self) -> None:
        """Their text is that of documents of their own; a name is no path."""
        document, attached = unpacked(HEAD + multipart(PLAIN, FILE))
        assert attached == [("x_.._y.pdf", b"%PDF\n")]
        assert document.text.endswith("plain words\n\nAttachments: x_.._y.pdf")
        assert document.metadata["attachments"] == ("x_.._y.pdf",)

    def test_an_attachment_without_a_name_gets_one(self) -> None:
        """Its type says what it is called."""
        _, attached = unpacked(HEAD + multipart(PLAIN, "Content-Type: application/pdf\n\n%PDF\n"))
        assert attached == [("attachment-1.pdf", b"%PDF\n")]

    def test_one_alternative_is_read(self) -> None:
        """The same text twice would be found twice; a picture of the rich one is of the message."""
        image = "Content-Type: image/png; name=a.png\nContent-ID: <1>\n\n" + "x" * 20_000
        related = multipart(RICH, image, kind="related")
        document, attached = unpacked(HEAD + multipart(PLAIN, related, kind="alternative"))
        assert "rich words" in document.text
        assert "plain words" not in document.text
        assert [name for name, _ in attached] == ["a.png"]

    def test_a_file_within_the_rich_alternative_is_not_lost(self) -> None:
        """Some programs put it there."""
        _, attached = unpacked(HEAD + multipart(PLAIN, multipart(RICH, FILE), kind="alternative"))
        assert len(attached) == 1

    def test_alternatives_that_nobody_reads_are_passed_over(self) -> None:
        """An invitation comes last, as a calendar's record."""
        calendar = "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n"
        document, _ = unpacked(HEAD + multipart(PLAIN, RICH, calendar, kind="alternative"))
        assert document.text.endswith("rich words")

    def test_logos_and_signatures_are_no_attachments(self) -> None:
        """Nobody searches for them."""
        logo = 'Content-Type: image/png; name="logo.png"\nContent-Disposition: inline\n\nsmall\n'
        signature = 'Content-Type: application/pkcs7-signature; name="smime.p7s"\n\nMIIG\n'
        document, attached = unpacked(HEAD + multipart(PLAIN, logo, signature, kind="signed"))
        assert attached == []
        assert document.text.endswith("plain words")

    def test_an_attached_message_becomes_a_message(self) -> None:
        """With its own head and whatever is attached to it; headers come as they were."""
        inner = "Content-Type: message/rfc822\n\nSubject: Inner =?x?\nFrom: Grüße <x@example.org>\n\nInner text.\n"
        document, attached = unpacked(HEAD + multipart(PLAIN, inner))
        (name, data), *_ = attached
        assert name == "Inner =?x?.eml"
        assert document.text.endswith(f"Attachments: {name}")
        again, _ = unpacked(data)
        assert "From: Grüße <x@example.org>\n\nInner text." not in document.text
        assert again.text.endswith("Inner text.")
        assert "Grüße" in again.text

    def test_an_attached_message_in_base64_is_read(self) -> None:
        """The standard forbids it, and it is done."""
        packed = base64.b64encode(b"Subject: Inner\n\nInner text.\n").decode()
        _, attached = unpacked(
            HEAD + multipart(f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{packed}\n")
        )
        assert unpacked(attached[0][1])[0].text == "Inner\n\nInner text."

    def test_a_report_of_failed_delivery_says_why(self) -> None:
        """The reason stands in headers of a part."""
        status = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nStatus: 5.1.1\nAction: failed\n"
        document, _ = unpacked(HEAD + multipart(PLAIN, status, kind="report"))
        assert document.text.endswith("Status: 5.1.1\nAction: failed")

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ('multipart/encrypted; boundary="x"', "encrypted message; save it decrypted"),
            ("application/pkcs7-mime; smime-type=enveloped-data", "encrypted message; save it decrypted"),
            ("application/pkcs7-mime; smime-type=signed-data", "sealed in its signature"),
        ],
    )
    def test_a_sealed_message_says_so(self, kind: str, message: str) -> None:
        """It has a body, but none that can be read."""
        with pytest.raises(EncryptedFile, match=message):
            read(HEAD + f"Content-Type: {kind}\n\n--x--\n", "a.eml")

    def test_what_has_no_header_is_no_mail(self) -> None:
        """The message tells how to read it all the same."""
        with pytest.raises(CorruptFile, match=r"no mail header; name it \.txt"):
            read("\nJust words\n", "a.eml")

    @pytest.mark.timeout(20)
    def test_messages_without_end_end(self) -> None:
        """A thousand messages within each other give a document or an error."""
        with pytest.raises(CorruptFile):
            unpacked("Content-Type: message/rfc822\n\n" * 5000 + "Subject: x\n\ny")


def numbers(*pairs: tuple[int, bytes], header: int) -> bytes:
    """The stream of properties of fixed size."""
    return bytes(header) + b"".join(struct.pack("<HHI", 3, tag, 0) + value.ljust(8, b"\0") for tag, value in pairs)


def text(value: str) -> bytes:
    return value.encode("utf-16-le")


def message(prefix: str = "", header: int = 32, **streams: bytes) -> dict[str, bytes]:
    """The streams of a message called "The plan"."""
    sent = struct.pack("<Q", 133_515_972_000_000_000)  # 2024-02-05 09:00 UTC in units of 100 ns since 1601
    return {
        f"{prefix}__properties_version1.0": numbers((0x0039, sent), header=header),
        f"{prefix}__substg1.0_001A001F": text("IPM.Note"),
        f"{prefix}__substg1.0_0037001F": text("The plan"),
        f"{prefix}__substg1.0_0C1A001F": text("Eva Müller"),
        f"{prefix}__substg1.0_5D01001F": text("eva@example.org"),
        f"{prefix}__recip_version1.0_#00000000/__properties_version1.0": numbers((0x0C15, b"\1"), header=8),
        f"{prefix}__recip_version1.0_#00000000/__substg1.0_3001001F": text("a@example.org"),
        f"{prefix}__recip_version1.0_#00000000/__substg1.0_39FE001F": text("a@example.org"),
        **{f"{prefix}__substg1.0_{tag.removeprefix('p')}": value for tag, value in streams.items()},
    }


class TestMsg:
    def test_head_and_body(self) -> None:
        """The same as of a message that was sent."""
        document, _ = unpacked(compound(message(p1000001F=text("See you."))), "a.msg")
        assert shown(document) == [
            ("title", "The plan"),
            ("paragraph", "From: Eva Müller <eva@example.org>\nTo: a@example.org\nDate: 2024-02-05T09:00:00+00:00"),
            ("paragraph", "See you."),
        ]
        assert document.media_type == "application/vnd.ms-outlook"
        assert document.metadata["created"] == "2024-02-05T09:00:00"

    def test_the_rich_body_is_preferred(self) -> None:
        """In whatever encoding it is."""
        html = "<html><head><meta charset=windows-1251></head><body><p>Привет, мир</p></body></html>".encode("cp1251")
        document, _ = unpacked(compound(message(p10130102=html, p1000001F=text("?????? ???"))), "a.msg")
        assert document.text.endswith("Привет, мир")

    def test_text_of_old_files_is_read_in_their_code_page(self) -> None:
        """Before Outlook 2003 text was not Unicode."""
        streams = message(p1000001E="Žluťoučký kůň".encode("cp1250"))
        streams["__properties_version1.0"] = numbers((0x3FFD, struct.pack("<I", 1250)), header=32)
        assert unpacked(compound(streams), "a.msg")[0].text.endswith("Žluťoučký kůň")

    def test_attachments_are_handed_over(self) -> None:
        """Files under their long name; a message within the message as one that was sent."""
        inner = "__attach_version1.0_#00000001/__substg1.0_3701000D/"
        streams = message(p1000001F=text("See both."))
        streams |= {
            "__attach_version1.0_#00000000/__properties_version1.0": numbers(header=8),
            "__attach_version1.0_#00000000/__substg1.0_37010102": b"%PDF" * 2000,
            "__attach_version1.0_#00000000/__substg1.0_3704001F": text("LONG~1.PDF"),
            "__attach_version1.0_#00000000/__substg1.0_3707001F": text("Long name.pdf"),
            "__attach_version1.0_#00000001/__properties_version1.0": numbers(header=8),
            **message(inner, header=24, p1000001F=text("Inner text.")),
        }
        document, attached = unpacked(compound(streams), "a.msg")
        assert [name for name, _ in attached] == ["Long name.pdf", "The plan.eml"]
        assert attached[0][1] == b"%PDF" * 2000
        assert document.text.endswith("See both.\n\nAttachments: Long name.pdf, The plan.eml")
        assert unpacked(attached[1][1])[0].text.endswith("Date: 2024-02-05T09:00:00+00:00\n\nInner text.")

    def test_a_body_in_rich_text_only_becomes_a_file(self) -> None:
        """It is packed; the example is that of the format's description."""
        packed = bytes.fromhex(
            "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
        )
        document, attached = unpacked(compound(message(p10090102=packed)), "a.msg")
        assert attached == [("message.rtf", b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n")]
        assert document.text.endswith("Attachments: message.rtf")

    def test_a_signed_message_is_read(self) -> None:
        """All that it says is in the one file that is attached."""
        streams = message()
        streams["__substg1.0_001A001F"] = text("IPM.Note.SMIME.MultipartSigned")
        streams["__attach_version1.0_#00000000/__properties_version1.0"] = numbers(header=8)
        streams["__attach_version1.0_#00000000/__substg1.0_37010102"] = multipart(PLAIN, FILE, kind="signed").encode()
        document, attached = unpacked(compound(streams), "a.msg")
        assert document.title == "The plan"
        assert document.text.endswith("plain words\n\nAttachments: x_.._y.pdf")
        assert len(attached) == 1

    def test_an_encrypted_message_says_so(self) -> None:
        """Outlook shows it by its class."""
        streams = message()
        streams["__substg1.0_001A001F"] = text("IPM.Note.SMIME")
        with pytest.raises(EncryptedFile, match="save it decrypted"):
            unpacked(compound(streams), "a.msg")

    def test_every_damaged_byte_gives_a_document_or_a_load_error(self) -> None:
        """Whatever the file says of itself."""
        data = compound(message(p1000001F=text("See you.")))
        failures = 0
        for place in range(0, len(data), 61):
            damaged = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
            try:
                unpacked(damaged, "a.msg")
            except LoadError:
                failures += 1
        assert failures > 0
