"""Small files made for the tests: PDFs written by hand, ZIP containers, a document from Markdown."""

import io
import zipfile
from collections.abc import Mapping, Sequence

from ingest.loaders import load
from retrieval.records import Document, MetadataValue


def read(data: bytes | str, name: str, metadata: Mapping[str, MetadataValue] | None = None) -> Document:
    """The document in `data`, as the pipeline would load it."""
    raw = data.encode("utf-8") if isinstance(data, str) else data
    return load(raw, name=name, source_uri=f"file:///docs/{name}", doc_id="0123456789abcdef", metadata=metadata)


def shown(document: Document) -> list[tuple[str, str]]:
    """(kind, text) of each element."""
    return [(element.kind, document.text[element.start : element.end]) for element in document.elements]


def pdf(
    pages: Sequence[Sequence[tuple[float, float, str]]],
    *,
    info: Mapping[str, str] | None = None,
    outline: Sequence[tuple[str, int]] = (),
    encrypted: bool = False,
) -> bytes:
    """A PDF with a page for each list of (x, y, text), in 10 point Helvetica, bold if the text begins with a star.

    `outline`: (title, page index).
    """
    count = len(pages)
    bold = 5 + 2 * count
    first_mark = bold + 1
    kids = " ".join(f"{5 + 2 * i} 0 R" for i in range(count))
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {f'/Outlines {first_mark} 0 R' if outline else ''} >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        bold: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        4: "<< " + " ".join(f"/{key} ({value})" for key, value in (info or {}).items()) + " >>",
    }
    for i, lines in enumerate(pages):
        body = "\n".join(
            f"BT /F{2 if text.startswith('*') else 1} 10 Tf {x} {y} Td ({_escaped(text.lstrip('*'))}) Tj ET"
            for x, y, text in lines
        )
        objects[5 + 2 * i] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {6 + 2 * i} 0 R "
            f"/Resources << /Font << /F1 3 0 R /F2 {bold} 0 R >> >> >>"
        )
        objects[6 + 2 * i] = f"<< /Length {len(body)} >>\nstream\n{body}\nendstream"
    if outline:
        last = first_mark + len(outline)
        objects[first_mark] = f"<< /Type /Outlines /First {first_mark + 1} 0 R /Last {last} 0 R >>"
        for i, (title, page) in enumerate(outline, start=first_mark + 1):
            following = f"/Next {i + 1} 0 R" if i < last else ""
            objects[i] = f"<< /Title ({title}) /Parent {first_mark} 0 R {following} /Dest [{5 + 2 * page} 0 R /Fit] >>"
    trailer = f"/Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R"
    if encrypted:  # no password fits these keys
        key = "<" + "41" * 32 + ">"
        trailer += f" /ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /O {key} /U {key} /P -4 >>"
    return _written(objects, trailer)


def _written(objects: Mapping[int, str], trailer: str) -> bytes:
    out = io.BytesIO(b"")
    out.write(b"%PDF-1.4\n")
    places = []
    for number, body in sorted(objects.items()):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252"))
    start = out.tell()
    out.write(f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n".encode())
    for place in places:
        out.write(f"{place:010d} 00000 n \n".encode())
    out.write(f"trailer << {trailer} >>\nstartxref\n{start}\n%%EOF".encode())
    return out.getvalue()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def container(parts: Mapping[str, bytes | str]) -> bytes:
    """A ZIP archive with these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()
