"""PDFs written by hand: of any size, turned, scanned, with forms and notes, and damaged ones."""

import zlib
from collections.abc import Iterable, Sequence
from itertools import count

HEAD = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"

Text = tuple[float, float, str]
"""x and y of a line's start in points from the left and lower edge, and the line."""


class Writer:
    """Collects objects and writes them as a file."""

    def __init__(self) -> None:
        self.objects: dict[int, bytes] = {}
        self._numbers = count(1)
        self.pages, self.font = self.number(), self.number()
        self.kids: list[int] = []
        self.root = b""
        self.put(self.font, b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")

    def number(self) -> int:
        """Of an object to come."""
        return next(self._numbers)

    def put(self, number: int, body: bytes) -> int:
        """An object under a number given before."""
        self.objects[number] = body
        return number

    def add(self, body: bytes) -> int:
        """An object, and its number."""
        return self.put(self.number(), body)

    def stream(self, data: bytes, entries: bytes = b"") -> int:
        """A compressed stream, and its number."""
        packed = zlib.compress(data)
        if b"/Filter" not in entries:
            entries += b" /Filter /FlateDecode"
        else:
            packed = data
        return self.add(b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(packed), entries, packed))

    def page(self, content: bytes, *, entries: bytes = b"", resources: bytes = b"", box: str = "0 0 600 800") -> int:
        """A page with this content; the font is /F."""
        body = (
            b"<< /Type /Page /Parent %d 0 R /MediaBox [%s] /Contents %d 0 R "
            b"/Resources << /Font << /F %d 0 R >> %s >> %s >>"
        ) % (self.pages, box.encode(), self.stream(content), self.font, resources, entries)
        self.kids.append(self.add(body))
        return self.kids[-1]

    def write(self) -> bytes:
        """The file."""
        kids = b" ".join(b"%d 0 R" % kid for kid in self.kids)
        self.put(self.pages, b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(self.kids)))
        root = self.add(b"<< /Type /Catalog /Pages %d 0 R %s >>" % (self.pages, self.root))
        out = bytearray(HEAD)
        places = []
        for number in range(1, root + 1):
            places.append(len(out))
            out += b"%d 0 obj\n%s\nendobj\n" % (number, self.objects[number])
        start = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (root + 1)
        out += b"".join(b"%010d 00000 n \n" % place for place in places)
        out += b"trailer << /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF" % (root + 1, root, start)
        return bytes(out)


def content(lines: Iterable[Text], size: int = 10) -> bytes:
    """The content of a page with these lines, in this order."""
    shown = ((x, y, text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")) for x, y, text in lines)
    return "\n".join(f"BT /F {size} Tf {x} {y} Td ({text}) Tj ET" for x, y, text in shown).encode("cp1252")


def pages(texts: Sequence[Sequence[Text]], *, entries: bytes = b"", box: str = "0 0 600 800") -> bytes:
    """A file with a page for each list of lines."""
    writer = Writer()
    for lines in texts:
        writer.page(content(lines), entries=entries, box=box)
    return writer.write()


def book(number: int, *, lines: int = 40) -> bytes:
    """A file with so many full pages, no two alike."""
    sentence = "and then the prince rode out with {} men, of whom hardly {} came home"
    return pages(
        [
            [(60, 760 - 16 * i, sentence.format(page * lines + i, page % 97 + i)) for i in range(lines)]
            for page in range(number)
        ]
    )


def scan(pixels: bytes, width: int, height: int, *, stamp: str = "") -> bytes:
    """A page that is an image, of gray `pixels`, row by row; with a line of text, if given."""
    writer = Writer()
    image = writer.stream(
        pixels,
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8"
        % (width, height),
    )
    drawn = b"q 600 0 0 800 0 0 cm /I Do Q\n" + content([(20, 20, stamp)] if stamp else [])
    writer.page(drawn, resources=b"/XObject << /I %d 0 R >>" % image)
    return writer.write()
