"""Loaders of DOCX, PPTX and XLSX, and the guards against hostile containers."""

import io
import zipfile
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.opc.constants import CONTENT_TYPE as CT
from docx.opc.constants import RELATIONSHIP_TYPE as RT
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx.util import Inches

from ingest.loaders import zip_guard
from retrieval.errors import CorruptFile, EmptyDocument, EncryptedFile
from tests.unit.ingest.compound import compound
from tests.unit.ingest.files import container, read, shown


def saved(package: Any) -> bytes:
    out = io.BytesIO()
    package.save(out)
    return out.getvalue()


class TestDocx:
    def test_parts_come_in_document_order(self) -> None:
        """Title, headings by level, lists with depth, tables between paragraphs."""
        package = docx.Document()
        package.add_heading("The Title", 0)
        package.add_heading("Section", 1)
        package.add_paragraph("Before.")
        table = package.add_table(2, 2)
        for cell, text in zip([c for row in table.rows for c in row.cells], "ABCD", strict=True):
            cell.text = text
        package.add_paragraph("one", style="List Bullet")
        package.add_paragraph("two", style="List Number")
        package.add_heading("Sub", 2)
        package.add_paragraph("After.")
        document = read(saved(package), "a.docx")
        assert document.title == "The Title"
        assert shown(document) == [
            ("title", "The Title"),
            ("heading", "Section"),
            ("paragraph", "Before."),
            ("table", "A | B\nC | D"),
            ("list", "- one\n- two"),
            ("heading", "Sub"),
            ("paragraph", "After."),
        ]
        assert document.elements[-1].headings == ("Section", "Sub")

    def test_all_text_that_is_shown_is_read(self) -> None:
        """Insertions, links, content controls and tabs count; deletions do not."""
        package = docx.Document()
        package.add_paragraph()._p.append(
            parse_xml(f"<w:sdt {nsdecls('w')}><w:sdtContent><w:r><w:t>in a control,</w:t></w:r></w:sdtContent></w:sdt>")
        )
        paragraph = package.paragraphs[0]._p
        for xml in (
            "<w:ins {0}><w:r><w:tab/><w:t>inserted,</w:t></w:r></w:ins>",
            "<w:del {0}><w:r><w:delText>deleted</w:delText></w:r></w:del>",
            "<w:hyperlink {0}><w:r><w:br/><w:t>linked</w:t></w:r></w:hyperlink>",
        ):
            paragraph.append(parse_xml(xml.format(nsdecls("w"))))
        package.element.body.insert(
            1,
            parse_xml(
                f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p><w:r><w:t>block</w:t></w:r></w:p></w:sdtContent></w:sdt>"
            ),
        )
        assert read(saved(package), "a.docx").text == "in a control, inserted,\nlinked\n\nblock"

    def test_text_boxes_and_footnotes_are_read(self) -> None:
        """A box is read once, though files hold it in two forms; notes come last, separators do not."""
        box = "<w:txbxContent><w:p><w:r><w:t>in a box</w:t></w:r></w:p></w:txbxContent>"
        compatible = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
        both = (
            f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
        )
        package = docx.Document()
        package.add_paragraph("Before.")._p.append(parse_xml(f"<w:r {nsdecls('w')} {compatible}>{both}</w:r>"))
        notes = (
            f"<w:footnotes {nsdecls('w')}><w:footnote w:type='separator' w:id='0'><w:p><w:r><w:t>---</w:t></w:r></w:p>"
            "</w:footnote><w:footnote w:id='1'><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote></w:footnotes>"
        )
        part = Part(PackURI("/word/footnotes.xml"), CT.WML_FOOTNOTES, notes.encode(), package.part.package)
        package.part.relate_to(part, RT.FOOTNOTES)
        assert read(saved(package), "a.docx").text == "Before.\n\nin a box\n\nA note."

    def test_properties_become_metadata(self) -> None:
        """Author and dates as the file tells them, nothing made up."""
        package = docx.Document()
        package.add_paragraph("text")
        package.core_properties.author = "Eva"
        package.core_properties.title = "Of the properties"
        document = read(saved(package), "a.docx")
        assert document.title == "Of the properties"
        assert document.metadata["author"] == "Eva"
        assert str(document.metadata["created"]).startswith("2013-")  # the library's template says so

    def test_reading_twice_gives_the_same(self) -> None:
        """A time of reading in the metadata would make each run a new document."""
        package = openpyxl.Workbook()
        package.active.append(["a", "b"])
        without = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(saved(package))) as old, zipfile.ZipFile(without, "w") as new:
            for part in old.namelist():
                if part != "docProps/core.xml":
                    new.writestr(part, old.read(part))
        assert read(without.getvalue(), "a.xlsx").metadata == {}

    def test_an_empty_file_says_so(self) -> None:
        """The classic: a download that failed."""
        with pytest.raises(EmptyDocument, match=r"'a\.docx' is empty: 0 bytes"):
            read(b"", "a.docx")

    def test_a_container_that_lacks_parts_is_corrupt(self) -> None:
        """The right name inside is not enough."""
        with pytest.raises(CorruptFile, match=r"'a\.docx'"):
            read(container({"word/document.xml": "<x/>"}), "a.docx")

    def test_a_file_cut_in_the_middle_is_corrupt(self) -> None:
        """Half a download."""
        package = docx.Document()
        package.add_paragraph("text")
        data = saved(package)
        with pytest.raises(CorruptFile):
            read(data[: len(data) // 2], "a.docx")

    def test_every_damaged_byte_gives_a_document_or_a_load_error(self) -> None:
        """Whatever the parser raises, the caller sees one kind of error."""
        package = docx.Document()
        package.add_paragraph("text")
        data = saved(package)
        failures = 0
        for place in range(0, len(data), 997):
            damaged = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
            try:
                read(damaged, "a.docx")
            except CorruptFile:
                failures += 1
        assert failures > 0


class TestPptx:
    def test_a_slide_is_a_page_and_a_section(self) -> None:
        """Title first, then shapes from the top, tables, notes."""
        package = pptx.Presentation()
        first = package.slides.add_slide(package.slide_layouts[5])
        first.shapes.title.text = "Results"
        low = first.shapes.add_textbox(0, Inches(5), Inches(2), Inches(1))
        low.text_frame.text = "below"
        high = first.shapes.add_textbox(0, Inches(2), Inches(2), Inches(1))
        high.text_frame.text = "above"
        table = first.shapes.add_table(2, 2, 0, Inches(6), Inches(4), Inches(1)).table
        for i, text in enumerate("ABCD"):
            table.cell(i // 2, i % 2).text = text
        first.notes_slide.notes_text_frame.text = "Say hello."
        package.slides.add_slide(package.slide_layouts[6])
        last = package.slides.add_slide(package.slide_layouts[1])
        last.shapes.title.text = "End"
        last.placeholders[1].text_frame.text = "one"
        last.placeholders[1].text_frame.add_paragraph().text = "two"
        document = read(saved(package), "a.pptx")
        assert document.title == "Results"
        assert shown(document) == [
            ("heading", "Results"),
            ("paragraph", "above"),
            ("paragraph", "below"),
            ("table", "A | B\nC | D"),
            ("paragraph", "Say hello."),
            ("heading", "End"),
            ("list", "- one\n- two"),
        ]
        assert [document.page_at(document.text.index(word)) for word in ("above", "Say", "End")] == [1, 1, 3]

    def test_slides_of_pictures_hold_no_text(self) -> None:
        """The reason is given, so that nobody searches in vain."""
        package = pptx.Presentation()
        package.slides.add_slide(package.slide_layouts[6])
        with pytest.raises(EmptyDocument):
            read(saved(package), "a.pptx")


class TestXlsx:
    def test_rows_say_what_their_columns_are(self) -> None:
        """Sheets are sections; whole numbers, dates and truth values read as in the sheet."""
        import datetime as dt

        book = openpyxl.Workbook()
        sheet = book.active
        sheet.title = "Sales"
        for row in (
            ["City", "Sum", "Day", "Paid"],
            ["Bonn", 3.0, dt.date(2024, 1, 2), True],
            [None, None, None, None],
            ["Trier", 0.1 + 0.2, dt.datetime(2024, 1, 2, 3, 4), False],  # noqa: DTZ001 - sheets have no zones
        ):
            sheet.append(row)
        book.create_sheet("Empty")
        document = read(saved(book), "sales.xlsx")
        assert document.title == "Sales"
        assert shown(document) == [
            ("heading", "Sales"),
            (
                "table",
                "City: Bonn; Sum: 3; Day: 2024-01-02; Paid: true\n"
                "City: Trier; Sum: 0.3; Day: 2024-01-02 03:04:00; Paid: false",
            ),
        ]

    def test_the_last_cell_of_the_grid_costs_nothing(self) -> None:
        """A stray format in the last corner of a sheet must not make a million rows."""
        book = openpyxl.Workbook()
        book.active["A1"] = "only"
        book.active["XFD1"].number_format = "0.00"
        assert read(saved(book), "a.xlsx").text == "Sheet\n\nonly"

    def test_an_encrypted_workbook_says_so(self) -> None:
        """Excel puts it into a container of another kind."""
        with pytest.raises(EncryptedFile, match="protected by a password"):
            read(compound({"EncryptedPackage": b"x"}), "a.xlsx")


class TestContainers:
    def test_a_bomb_is_refused_by_what_it_declares(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before anything is unpacked."""
        monkeypatch.setattr(zip_guard, "MAX_UNPACKED", 1000)
        with pytest.raises(CorruptFile, match=r"more than 1,000 bytes.*bomb"):
            read(container({"word/document.xml": "x" * 1001}), "a.docx")

    def test_a_bomb_that_lies_is_refused_by_what_comes_out(self) -> None:
        """The size in the directory of the archive is only what its author wrote there."""
        data = container({"word/document.xml": b"\x00" * 40_000_000})
        at = data.rindex(b"PK\x01\x02")
        lying = data[: at + 24] + (10).to_bytes(4, "little") + data[at + 28 :]
        with pytest.raises(CorruptFile):
            read(lying, "a.docx")

    def test_a_ratio_that_no_document_has_is_refused(self) -> None:
        """Forty megabytes of nothing in forty kilobytes."""
        with pytest.raises(CorruptFile, match="250 times"):
            read(container({"word/document.xml": b" " * 40_000_000}), "a.docx")

    def test_entities_are_refused(self) -> None:
        """No Office program declares a document type."""
        with pytest.raises(CorruptFile, match="document type"):
            read(container({"word/document.xml": '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'}), "a.docx")
