"""Files that nobody should have to ingest: bombs, endless structures, names that are no text. Made, never shipped.

    python -m evals.bench.hostile FOLDER [--small]

`make` writes them; `evals.bench.files` ingests them and says what became of each.
"""

import argparse
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

MEGABYTE = 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Make them all in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="made if it is not there")
    parser.add_argument("--small", action="store_true", help="a thousandth of the size, for a quick look")
    options = parser.parse_args(arguments)
    for path in make(options.folder, scale=0.001 if options.small else 1.0):
        print(os.fsencode(path).decode("utf-8", errors="replace"))


def make(folder: Path, *, scale: float = 1.0) -> Iterator[Path]:
    """Write every hostile file into `folder`, pipe and links in circles included; `scale` shrinks the large ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in _FILES.items():
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, scale)
        yield path
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    os.mkfifo(folder / "pipe.txt")
    yield from (folder / name for name in ("loop", "self", "pipe.txt"))


def pdf(pages: int, *, lines: int = 1, loop: bool = False) -> bytes:
    """A PDF of so many pages with so many lines of text each; with `loop`, its page tree contains itself."""
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.4\n")
    offsets: list[int] = []

    def add(body: bytes) -> None:
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (len(offsets), body))

    add(b"<</Type/Catalog/Pages 2 0 R>>")
    kids = b" ".join(b"%d 0 R" % (4 + 2 * i) for i in range(pages))
    more = b" 2 0 R" if loop else b""
    add(b"<</Type/Pages/Count %d/Kids[%s%s]>>" % (pages + loop, kids, more))
    add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for page in range(pages):
        text = b" T* ".join(
            b"(Page %d says in line %d that pump %d starts at %d bar, and what the harbour needs in winter.) Tj"
            % (page + 1, line + 1, page * lines + line, page % 97)
            for line in range(lines)
        )
        content = b"BT /F1 10 Tf 14 TL 60 780 Td %s ET" % text
        add(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (5 + 2 * page)
        )
        add(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(offsets) + 1, start))
    return out.getvalue()


def _text_pdf(pages: int) -> Callable[[Path, float], None]:
    return lambda path, scale: _write(path, pdf(max(3, round(pages * scale))))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _spaces(path: Path, scale: float) -> None:
    block = b" " * MEGABYTE
    with path.open("wb") as file:
        for _ in range(max(1, round(2048 * scale))):
            file.write(block)


def _docx(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def _zip_bomb(path: Path, scale: float) -> None:
    body = b"<w:document>" + b" " * max(1000, round(400 * MEGABYTE * scale)) + b"</w:document>"
    _write(path, _docx({"[Content_Types].xml": b"<Types/>", "word/document.xml": body}))


_ENTITIES = b"".join(
    b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10 if level else b"lol") for level in range(12)
)


def _entity_bomb(path: Path, _scale: float) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE d [' + _ENTITIES + b"]><d>&l11;</d>"
    if path.suffix == ".docx":
        bomb = _docx({"[Content_Types].xml": b"<Types/>", "word/document.xml": bomb})
    _write(path, bomb)


def _nested_archives(path: Path, _scale: float) -> None:
    """Ten members, each an archive of ten, and so on: a small file that would become a million."""
    data, name = b"text that is unpacked again and again\n" * 20, "leaf.txt"
    for _level in range(6):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for i in range(10):
                archive.writestr(f"{i}-{name}", data)
        data, name = out.getvalue(), "inner.zip"
    _write(path, data)


def _climbing_tar(path: Path, _scale: float) -> None:
    """Members that would land outside of the folder, a link that leads out, a device."""
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../../escaped.txt", "/tmp/absolute.txt", "good/inside.txt"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("passwords.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        device = tarfile.TarInfo("zero")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
        archive.addfile(device)


def _gzip_bomb(path: Path, scale: float) -> None:
    import gzip

    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(max(2, round(20_000 * scale))):
            file.write(b"\0" * MEGABYTE)


def _repeated(part: bytes, times: int, *, after: bytes = b"") -> Callable[[Path, float], None]:
    return lambda path, scale: _write(path, part * max(10, round(times * scale)) + after)


_FILES: dict[bytes, Callable[[Path, float], None]] = {
    b"good.md": lambda path, _: _write(path, b"# Good\n\nThe lighthouse keeper winds the clock every evening.\n"),
    b"zip-bomb.docx": _zip_bomb,
    b"entity-bomb.docx": _entity_bomb,
    b"entity-bomb.xml": _entity_bomb,
    b"entity-bomb.html": _entity_bomb,
    b"nested.zip": _nested_archives,
    b"climbing.tar.gz": _climbing_tar,
    b"gzip-bomb.txt.gz": _gzip_bomb,
    b"50000-pages.pdf": _text_pdf(50_000),
    b"page-tree-loop.pdf": lambda path, _: _write(path, pdf(5, loop=True)),
    b"truncated.pdf": lambda path, _: _write(path, pdf(40)[:3000]),
    b"spaces.txt": _spaces,
    b"one-line.txt": _repeated(b"word ", 40_000_000),
    b"one-word.txt": _repeated(b"x", 50_000_000),
    b"brackets.json": _repeated(b"[", 5_000_000),
    b"nested.html": _repeated(b"<div>", 2_000_000, after=b"deep"),
    b"nested.xml": _repeated(b"<a>", 3_000_000),
    b"quotes.md": _repeated(b">", 1_000_000, after=b" deep"),
    b"emphasis.md": _repeated(b"*a_", 300_000),
    b"links.md": _repeated(b"[a](", 300_000),
    b"nested.rtf": lambda path, scale: _write(path, b"{\\rtf1 " + b"{" * max(10, round(1_000_000 * scale))),
    b"yaml-bomb.md": lambda path, _: _write(path, _yaml_bomb()),
    b"quoted.csv": _repeated(b'"', 20_000_000),
    b"wide.csv": _repeated(b"a,", 5_000_000, after=b"\n1\n"),
    b"nested.eml": lambda path, scale: _write(path, _nested_mail(max(10, round(2_000 * scale)))),
    b"folder/line\nbreak.txt": lambda path, _: _write(path, b"A name with a line break.\n"),
    b"folder/not-utf8-\xff\xfe.txt": lambda path, _: _write(path, b"A name that is no UTF-8.\n"),
    b"folder/" + b"n" * 250 + b".txt": lambda path, _: _write(path, b"A long name.\n"),
    b"folder/-rf --metadata x=y.txt": lambda path, _: _write(path, b"A name like an option.\n"),
    b"folder/%2e%2e%2fpercent.txt": lambda path, _: _write(path, b"A name with percent signs.\n"),
}
"""By name, as bytes: what writes it, given the path and the scale."""


def _yaml_bomb() -> bytes:
    lines = [b"---", b"a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 12)]
    return b"\n".join([*lines, b"---", b"# Title", b"Text after the bomb.", b""])


def _nested_mail(depth: int) -> bytes:
    head = b"From: a@example.org\nTo: b@example.org\nSubject: level %d\nMIME-Version: 1.0\n"
    parts = [head % level + b"Content-Type: message/rfc822\n\n" for level in range(depth)]
    return b"".join(parts) + head % depth + b"Content-Type: text/plain\n\nThe innermost message.\n"


if __name__ == "__main__":
    main()
