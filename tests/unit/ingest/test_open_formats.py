"""Loaders of ODT, ODS, ODP and EPUB."""

import pytest

from retrieval.errors import CorruptFile, EmptyDocument, EncryptedFile
from tests.unit.ingest.files import container, read, shown

NAMES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {
        "office": "office", "text": "text", "table": "table", "style": "style", "draw": "drawing", "meta": "meta",
        "presentation": "presentation", "manifest": "manifest",
    }.items()
) + ' xmlns:dc="http://purl.org/dc/elements/1.1/"'  # fmt: skip
MEDIA = "application/vnd.oasis.opendocument."


def odf(kind: str, body: str, *, styles: str = "", **parts: str) -> bytes:
    """A file of LibreOffice: `kind` is text, spreadsheet or presentation."""
    content = (
        f"<office:document-content {NAMES}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
    others = {
        f"{name}.xml": f"<office:document-{name} {NAMES}>{part}</office:document-{name}>"
        for name, part in parts.items()
    }
    return container({"mimetype": MEDIA + kind, "content.xml": content, **others})


class TestOdt:
    def test_parts_come_in_document_order(self) -> None:
        """Title, headings by level, nested lists, tables, and text as it is shown."""
        body = (
            '<text:p text:style-name="P1">The Title</text:p>'
            '<text:h text:outline-level="1">A</text:h>'
            '<text:p>One<text:tab/>two<text:line-break/>three<text:s text:c="3"/>four\n five '
            "<text:span>six</text:span>.</text:p>"
            "<text:section><text:list><text:list-item><text:p>one</text:p><text:p>more</text:p><text:list><text:list-item>"
            "<text:p>inner</text:p></text:list-item></text:list></text:list-item></text:list></text:section>"
            '<text:h text:outline-level="2">B</text:h>'
            "<table:table><table:table-header-rows><table:table-row>"
            '<table:table-cell table:number-columns-spanned="2"><text:p>Both</text:p></table:table-cell>'
            "<table:covered-table-cell/></table:table-row></table:table-header-rows><table:table-row>"
            "<table:table-cell><text:p>x</text:p></table:table-cell><table:table-cell><text:p>y</text:p>"
            "</table:table-cell></table:table-row></table:table>"
        )
        style = '<style:style style:name="P1" style:parent-style-name="Title"/>'
        document = read(odf("text", body, styles=style), "a.odt")
        assert shown(document) == [
            ("title", "The Title"),
            ("heading", "A"),
            ("paragraph", "One two\nthree four five six."),
            ("list", "- one\n  more\n  - inner"),
            ("heading", "B"),
            ("table", "Both |\nx | y"),
        ]
        assert document.elements[-1].headings == ("A", "B")
        assert document.elements[-1].html == (
            '<table><thead><tr><th colspan="2">Both</th></tr></thead>'
            "<tbody><tr><td>x</td><td>y</td></tr></tbody></table>"
        )

    def test_boxes_and_notes_stand_after_their_paragraph(self) -> None:
        """Comments and deleted text are not read."""
        body = (
            "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
            "<text:p>Text<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note.</text:p>"
            "</text:note-body></text:note> goes on<office:annotation><text:p>comment</text:p></office:annotation>."
            "<draw:frame><draw:text-box><text:p>In a box.</text:p></draw:text-box></draw:frame></text:p>"
        )
        assert read(odf("text", body), "a.odt").text == "Text goes on.\n\nA note.\n\nIn a box."

    def test_lists_deeper_than_anybody_writes_keep_their_text(self) -> None:
        """Below the limit they are flat."""
        body = "<text:list><text:list-item>" * 70 + "<text:p>deep</text:p>" + "</text:list-item></text:list>" * 70
        assert read(odf("text", body), "a.odt").text.endswith("- deep")

    def test_properties_become_metadata(self) -> None:
        """Title, author, keywords and dates."""
        meta = (
            "<dc:title>Of the file</dc:title><meta:initial-creator>Eva</meta:initial-creator>"
            "<meta:keyword>a</meta:keyword>"
            "<meta:keyword>b</meta:keyword><meta:creation-date>2024-02-03T04:05:06.789</meta:creation-date>"
        )
        document = read(odf("text", "<text:p>x</text:p>", meta=meta), "a.odt")
        assert document.title == "Of the file"
        assert document.metadata == {"author": "Eva", "keywords": ("a", "b"), "created": "2024-02-03T04:05:06"}

    def test_a_protected_file_says_so(self) -> None:
        """Its parts are noise."""
        entry = "<manifest:encryption-data/>"
        data = container(
            {"mimetype": MEDIA + "text", "content.xml": "noise", "META-INF/manifest.xml": f"<m {NAMES}>{entry}</m>"}
        )
        with pytest.raises(EncryptedFile, match="protected by a password"):
            read(data, "a.odt")

    @pytest.mark.parametrize("content", ["<broken", "", "<x>&undefined;</x>"])
    def test_a_damaged_part_is_named(self, content: str) -> None:
        """So that a person can look at it."""
        with pytest.raises((CorruptFile, EmptyDocument)):
            read(container({"mimetype": MEDIA + "text", "content.xml": content}), "a.odt")

    def test_entities_are_not_expanded(self) -> None:
        """Neither a bomb nor a file of this machine."""
        bomb = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
        content = f"{bomb}<x {NAMES}><office:body><text:p>before &b; &f; after</text:p></office:body></x>"
        text = read(container({"mimetype": MEDIA + "text", "content.xml": content}), "a.odt").text
        assert "lol" not in text
        assert "root:" not in text
        assert text.startswith("before")


def cell(text: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


class TestOds:
    def test_rows_say_what_their_columns_are(self) -> None:
        """A sheet is a section; a million empty rows cost nothing, a cell that repeats is there as often."""
        row = "<table:table-row {}>{}</table:table-row>"
        body = (
            '<table:table table:name="Sales">'
            + row.format("", cell("City") + cell("Jan") + cell("Feb"))
            + row.format("", cell("Bonn") + cell("7", 'table:number-columns-repeated="2"'))
            + row.format(
                'table:number-rows-repeated="1048000"', '<table:table-cell table:number-columns-repeated="16384"/>'
            )
            + row.format("", cell("Trier") + "<table:covered-table-cell/>" + cell("9"))
            + '</table:table><table:table table:name="Empty"/>'
        )
        document = read(odf("spreadsheet", body), "sales.ods")
        assert document.title == "Sales"
        assert shown(document) == [
            ("heading", "Sales"),
            ("table", "City: Bonn; Jan: 7; Feb: 7\nCity: Trier; Feb: 9"),
        ]


class TestOdp:
    def test_a_slide_is_a_page_and_a_section(self) -> None:
        """Title first, then what is on it, then the notes."""
        box = "<draw:frame {}><draw:text-box>{}</draw:text-box></draw:frame>"
        slide = "<draw:page>{}<presentation:notes>{}</presentation:notes></draw:page>"
        points = "<text:list><text:list-item><text:p>point</text:p></text:list-item></text:list>"
        body = slide.format(
            box.format("", points) + box.format('presentation:class="title"', "<text:p>Results</text:p>"),
            box.format("", "<text:p>Say hello.</text:p>"),
        )
        document = read(odf("presentation", body + slide.format(box.format("", "<text:p>End</text:p>"), "")), "a.odp")
        assert shown(document) == [
            ("heading", "Results"),
            ("list", "- point"),
            ("paragraph", "Say hello."),
            ("paragraph", "End"),
        ]
        assert [document.page_at(document.text.index(word)) for word in ("point", "End")] == [1, 2]


def epub(
    pages: dict[str, str], *, metadata: str = "", spine: list[str] | None = None, others: dict[str, str] | None = None
) -> bytes:
    """A book with these pages, in the order of `spine`."""
    items = "".join(
        f'<item id="{name}" href="{name}" media-type="application/xhtml+xml" properties="{name.partition(".")[0]}"/>'
        for name in pages
    )
    refs = "".join(f'<itemref idref="{name}"/>' for name in spine or pages)
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>{metadata}'
        f"</metadata><manifest>{items}</manifest><spine>{refs}</spine></package>"
    )
    pointer = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    inside = {"mimetype": "application/epub+zip", "META-INF/container.xml": pointer, "OPS/book.opf": package}
    return container({**inside, **{f"OPS/{name}": page for name, page in pages.items()}, **(others or {})})


class TestEpub:
    def test_pages_come_in_reading_order(self) -> None:
        """As the spine says, not as they lie in the container; the page of contents is left out."""
        pages = {
            "two.xhtml": "<html><body><h1>Two</h1><p>Second.</p></body></html>",
            "one.xhtml": "<html><head><title>no</title></head><body><h1>One</h1><p>First.</p></body></html>",
            "nav.xhtml": "<html><body><nav><ol><li>One</li></ol></nav></body></html>",
        }
        metadata = (
            "<dc:title>The Book</dc:title><dc:creator>Eva</dc:creator><dc:creator>Tom</dc:creator>"
            "<dc:language>en</dc:language><dc:subject>Ships</dc:subject>"
        )
        document = read(epub(pages, metadata=metadata, spine=["nav.xhtml", "one.xhtml", "two.xhtml"]), "a.epub")
        assert shown(document) == [
            ("heading", "One"),
            ("paragraph", "First."),
            ("heading", "Two"),
            ("paragraph", "Second."),
        ]
        assert document.title == "The Book"
        assert document.metadata == {"author": ("Eva", "Tom"), "language": "en", "keywords": ("Ships",)}

    def test_a_book_under_rights_management_says_so(self) -> None:
        """Scrambled fonts are no obstacle, scrambled pages are."""
        pages = {"one.xhtml": "<html><body><p>First.</p></body></html>"}
        part = '<encryption><EncryptedData><CipherReference URI="OPS/{}"/></EncryptedData></encryption>'
        fonts = {"META-INF/encryption.xml": part.format("font.otf")}
        assert read(epub(pages, others=fonts), "a.epub").text == "First."
        with pytest.raises(EncryptedFile, match="digital rights management"):
            read(epub(pages, others={"META-INF/encryption.xml": part.format("one.xhtml")}), "a.epub")

    def test_a_book_without_a_package_is_corrupt(self) -> None:
        """Nothing says where its pages are."""
        with pytest.raises(CorruptFile, match=r"'a\.epub'.*no package document"):
            read(container({"mimetype": "application/epub+zip"}), "a.epub")
