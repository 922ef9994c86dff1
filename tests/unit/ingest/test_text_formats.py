"""Loaders of formats that are text: plain text, Markdown, HTML, JSON, CSV, XML, mail, notebooks."""

import json
from contextlib import suppress

import pytest

from retrieval.errors import CorruptFile, EmptyDocument, LoadError, MissingExtra
from tests.unit.ingest.files import read, shown


class TestText:
    def test_wrapped_lines_are_joined(self) -> None:
        """A sentence that was wrapped at 60 characters is one run of text."""
        text = (
            "The quick brown fox jumps over the lazy dog and then it runs\n"
            "across the field until it comes to the river, where it has a\n"
            "long drink of water.\n\n"
            "A second paragraph that is wrapped at the same width as the\n"
            "first.\n"
        )
        document = read(text, "a.txt")
        assert document.text.count("\n") == 2
        assert "runs across the field" in document.text
        assert "as the first." in document.text

    def test_verses_and_addresses_keep_their_lines(self) -> None:
        """Lines that end where their author ended them stay."""
        text = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\nRough winds do shake"
        assert read(text, "a.txt").text == text

    def test_columns_are_kept_as_they_stand(self) -> None:
        """A table made with blanks is unreadable in any other form."""
        text = "name      size\nalpha     1\nbeta      2"
        assert shown(read(text, "a.txt")) == [("code", text)]

    def test_source_code_is_code(self) -> None:
        """Indentation of a program is kept, paragraphs are separated by empty lines."""
        assert shown(read("def f():\n    return 1\n\n\nx = 2\n", "a.py")) == [
            ("code", "def f():\n    return 1"),
            ("code", "x = 2"),
        ]

    def test_white_space_alone_is_no_document(self) -> None:
        """The error says that there is no text, not that the file is damaged."""
        with pytest.raises(EmptyDocument, match="holds no text"):
            read(" \n\t\n", "a.txt")


class TestMarkdown:
    def test_only_what_is_read_remains(self) -> None:
        """Targets of links, emphasis, anchors, comments and images' addresses are no text."""
        source = (
            '# A *fine* title<a name="x"></a>\n\n'
            'See [the **guide**](http://x.y "t"), `code` &amp; ![a cat](cat.png).\n\n<!-- no -->'
        )
        assert shown(read(source, "a.md")) == [
            ("heading", "A fine title"),
            ("paragraph", "See the guide, code & a cat."),
        ]

    def test_front_matter_becomes_metadata_and_title(self) -> None:
        """Scalars and lists of one type; nested values are dropped."""
        source = "---\ntitle: The Title\nyear: 2024\ntags: [a, b]\nnested: {a: 1}\n---\n# Heading\ntext"
        document = read(source, "a.md")
        assert document.title == "The Title"
        assert document.metadata == {"year": 2024, "tags": ("a", "b")}
        assert document.text == "Heading\n\ntext"

    def test_other_texts_may_have_front_matter_too(self) -> None:
        """Plain text and reStructuredText as well; a YAML file is all of it."""
        assert read("---\ntitle: T\nyear: 2024\n---\nx\n", "a.txt").metadata == {"year": 2024}
        assert read("---\ntitle: T\n---\nx\n", "a.yaml").text == "---\ntitle: T\n---\nx"

    @pytest.mark.timeout(20)
    def test_a_bomb_of_aliases_stays_text(self) -> None:
        """Ten lines of merged keys would be a billion."""
        lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 20)}]}}" for i in range(1, 12)]
        assert "a11" in read("---\n" + "\n".join(lines) + "\n---\nend", "a.md").text

    @pytest.mark.parametrize("front", ["a rule follows", "- just\n- a list", "key: [unclosed", "a: &a [*a]"])
    def test_rules_that_are_no_front_matter_stay_text(self, front: str) -> None:
        """A text may begin with a horizontal rule; whatever stands there must not get lost or end in an error."""
        assert "end" in read(f"---\n{front}\n---\nend", "a.md").text

    def test_lists_keep_numbers_and_nesting(self) -> None:
        """Markers are what a person sees; code between items does not lose the count."""
        source = "3. three\n4. four\n   - inner\n\n   more of four\n5. five\n\n   ```\n   code\n   ```\n6. six"
        assert shown(read(source, "a.md")) == [
            ("list", "3. three\n4. four\n  - inner\n  more of four\n5. five"),
            ("code", "code"),
            ("list", "6. six"),
        ]

    def test_code_is_verbatim(self) -> None:
        """Markup in code is code."""
        source = "```python\ndef f(*args):\n    return  **args**\n```"
        assert shown(read(source, "a.md")) == [("code", "def f(*args):\n    return  **args**")]

    def test_tables_have_a_line_per_row(self) -> None:
        """Header first, cells separated by bars."""
        source = "| A | B |\n|---|---|\n| 1 | `x|y` |\n| 2 | *z* |"
        assert shown(read(source, "a.md"))[0] == ("table", "A | B\n1 | `x\n2 | z")

    def test_html_inside_is_read_as_html(self) -> None:
        """Many Markdown files hold tables and notes as HTML."""
        source = "text\n\n<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>\n"
        assert shown(read(source, "a.md")) == [("paragraph", "text"), ("table", "A | B\n1 | 2")]

    def test_a_paragraph_of_links_without_end_is_plain_text(self) -> None:
        """The parser would take minutes over it; other paragraphs keep their links."""
        text = read("[a](b) " * 5000 + "\n\n[c](d)", "a.md").text
        assert text.startswith("[a](b) [a](b)")
        assert text.endswith("\n\nc")

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("source", ["[" * 20_000, "> " * 5_000 + "x", "*a " * 20_000, "- " * 3_000 + "x"])
    def test_nesting_without_end_ends(self, source: str) -> None:
        """Hostile input gives a document or an error, in time."""
        with suppress(LoadError):
            read(source, "a.md")


class TestHtml:
    def test_chrome_is_dropped(self) -> None:
        """Scripts, navigation, footers, hidden parts and form controls are no content."""
        source = (
            "<html><head><title>The title</title><style>p{}</style></head><body><nav>Menu</nav>"
            "<header><a>Logo</a><h1>H</h1></header>"
            "<p>Text <b>bold</b><script>x()</script></p><p hidden>no</p><p style='display: none'>no</p>"
            "<button>Click</button><footer>(c)</footer></body></html>"
        )
        document = read(source, "a.html")
        assert document.title == "The title"
        assert shown(document) == [("heading", "H"), ("paragraph", "Text bold")]

    def test_the_main_part_is_preferred(self) -> None:
        """What stands beside <main> is the same on every page of a site."""
        article = "<p>The article itself, which is long enough.</p>"
        source = f"<body><div>Site news of today</div><main>{article}</main></body>"
        assert read(source, "a.html").text == "The article itself, which is long enough."

    def test_a_page_of_chrome_only_is_read_whole(self) -> None:
        """Better too much than nothing."""
        assert read("<html><body><nav>Only this</nav></body></html>", "a.html").text == "Only this"

    def test_structure_is_kept(self) -> None:
        """Headings, nested lists, tables with captions, preformatted text, breaks."""
        source = (
            "<h2>H</h2><ul><li>one<ol start=3><li>inner</li></ol></li><li><p>two</p><p>more</p></li></ul>"
            "<table><caption>Cap</caption><tr><th>A<th>B</tr><tr><td>1<br>2<td><ul><li>x</li><li>y</li></ul></table>"
            "<pre>  a\n   b</pre><p>line<br>break</p><p>one<br><br>two</p>"
        )
        assert shown(read(source, "a.html")) == [
            ("heading", "H"),
            ("list", "- one\n  3. inner\n- two\n  more"),
            ("paragraph", "Cap"),
            ("table", "A | B\n1 2 | x; y"),
            ("code", "  a\n   b"),
            ("paragraph", "line\nbreak"),
            ("paragraph", "one"),
            ("paragraph", "two"),
        ]

    def test_layout_tables_are_no_tables(self) -> None:
        """A table of tables, or of one column, lays out a page."""
        source = "<table><tr><td><table><tr><td>Key</td><td>Value</td></tr></table><p>Prose</p></td></tr></table>"
        assert shown(read(source, "a.html")) == [("table", "Key | Value"), ("paragraph", "Prose")]

    def test_the_declared_charset_is_used(self) -> None:
        """A page in another encoding says so in its head."""
        source = "<html><head><meta charset='iso-8859-2'></head><body><p>zażółć gęślą jaźń</p></body></html>"
        assert read(source.encode("iso-8859-2"), "a.html").text == "zażółć gęślą jaźń"

    def test_metadata_comes_from_the_head(self) -> None:
        """Language, author and description."""
        source = "<html lang=de><head><meta name=author content=Eva></head><body>Text</body></html>"
        assert read(source, "a.html").metadata == {"author": "Eva", "language": "de"}

    @pytest.mark.timeout(20)
    def test_deep_nesting_ends(self) -> None:
        """Fifty thousand nested elements give text or an error, not a crash."""
        with suppress(LoadError):
            assert "x" in read("<html>" + "<div>" * 50_000 + "x", "a.html").text


class TestData:
    def test_csv_rows_say_what_their_columns_are(self) -> None:
        """Each line can be read alone; the delimiter is found, titles above the table are kept."""
        source = 'Cities\nName;People\n"Bonn; am Rhein";330000\nTrier;110000\n'
        document = read(source, "cities.csv")
        assert document.title == "cities"
        assert shown(document) == [
            ("paragraph", "Cities"),
            ("table", "Name: Bonn; am Rhein; People: 330000\nName: Trier; People: 110000"),
        ]

    def test_csv_without_header_is_a_plain_table(self) -> None:
        """Numbers are no names of columns."""
        assert shown(read("1,2\n3,4\n", "a.csv")) == [("table", "1 | 2\n3 | 4")]

    def test_tsv_is_cut_at_tabs_only(self) -> None:
        """Commas are text there."""
        assert read("A\tB\nx, y\tz", "a.tsv").text == "A: x, y; B: z"

    def test_csv_with_a_quote_that_is_never_closed_is_read(self) -> None:
        """Nothing is lost, whatever the cells look like."""
        assert "last" in read('a,b\n"open,1\nlast,2\n', "a.csv").text

    def test_json_records_are_one_line_each(self) -> None:
        """Nested keys are paths, lists of scalars are joined, empty values are left out."""
        records = [{"a": {"b": 1, "c": [1, 2]}, "d": None, "e": True}, {"a": {"b": 2}}]
        assert read(json.dumps(records), "a.json").text == "a.b: 1; a.c: 1, 2; e: true\na.b: 2"

    def test_json_objects_have_sections(self) -> None:
        """Parts of an object are found by the name of the part."""
        document = read(json.dumps({"name": "x", "port": {"http": 80}}), "a.json")
        assert shown(document) == [("table", "name: x"), ("heading", "port"), ("table", "http: 80")]

    def test_long_values_are_paragraphs(self) -> None:
        """An article inside a record is text, not a cell."""
        body = "A sentence of some length. " * 20
        assert shown(read(json.dumps([{"id": 1, "body": body}]), "a.json")) == [
            ("table", "id: 1"),
            ("paragraph", f"body: {body.strip()}"),
        ]

    def test_json_lines_name_the_line_that_is_broken(self) -> None:
        """A file of a million records has one bad line."""
        assert read('{"a": 1}\n\n{"a": 2}\n', "a.jsonl").text == "a: 1\na: 2"
        with pytest.raises(CorruptFile, match=r"'a\.jsonl', line 2, is not valid JSON"):
            read('{"a": 1}\n{"a": \n', "a.jsonl")

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("source", ["[" * 100_000, '{"a":' * 100_000, "[" * 200 + "1" + "]" * 200])
    def test_hostile_json_is_a_load_error(self, source: str) -> None:
        """Depth without end."""
        with pytest.raises(CorruptFile):
            read(source, "a.json")

    def test_json_numbers_are_as_they_are_written(self) -> None:
        """A price of 1.10 is not 1.1, and what is no number in JSON is text."""
        source = '{"a": 1.10, "b": NaN, "c": -Infinity, "d": 1E400, "e": ' + "9" * 5000 + "}"
        text = read(source, "a.json").text
        assert text.startswith("a: 1.10; b: NaN; c: -Infinity; d: 1E400")
        assert text.endswith("9" * 5000)

    def test_json_keys_that_come_twice_keep_both_values(self) -> None:
        """Other readers drop the first without a word."""
        assert read('{"a": 1, "a": 2, "b": {"x": 1}, "b": {"x": 2}}', "a.json").text.startswith("a")
        assert read('[{"a": 1, "b": 3, "a": 2}]', "a.json").text == "a: 1, 2; b: 3"

    @pytest.mark.parametrize(
        ("name", "source"),
        [
            ("a.json", '{"a": 1} {"a": 2}'),
            ("a.json", '\ufeff{"a": 1}\n{"a": 2}\n'),
            ("a.jsonl", '{\n"a": 1\n}\n{"a":\n2}'),
        ],
    )
    def test_json_values_one_after_the_other_are_records(self, name: str, source: str) -> None:
        """On lines of their own or not, whatever the extension says."""
        assert read(source, name).text == "a: 1\na: 2"

    def test_csv_may_name_its_delimiter(self) -> None:
        """As Excel reads and some programs write it."""
        assert read("sep=;\na,x;b\n1;2\n", "a.csv").text == "a,x: 1; b: 2"

    def test_csv_with_rows_of_different_lengths_keeps_every_cell(self) -> None:
        """What has no name is shown without."""
        assert read("a,b,c\n1,2\n1,2,3,4\n", "a.csv").text == "a: 1; b: 2\na: 1; b: 2; c: 3; 4"

    @pytest.mark.timeout(20)
    def test_xml_of_many_records_takes_time_by_their_number(self) -> None:
        """A feed of ten thousand items is an everyday file."""
        item = "<item><name>A</name><size>1</size></item>"
        assert read(f"<r>{item * 20_000}</r>", "a.xml").text.count("\n") == 19_999

    @pytest.mark.parametrize("source", ["<a>" * 1000 + "</a>" * 1000, "<r>" + "y" * 11_000_000 + "</r>"])
    def test_xml_beyond_the_parsers_limits_is_refused_with_a_way_out(self, source: str) -> None:
        """It may well be well-formed; as text it can be read."""
        with pytest.raises(CorruptFile, match=r"deeper or larger in one part than is read .*name it \.txt"):
            read(source, "a.xml")

    def test_xml_leaves_are_named(self) -> None:
        """Siblings share a line; mixed content is a paragraph."""
        source = "<r><item id='7'><name>A</name><size>1</size></item><p>Some <b>bold</b> words</p></r>"
        assert shown(read(source, "a.xml")) == [
            ("table", "id: 7; name: A; size: 1"),
            ("paragraph", "Some bold words"),
        ]

    def test_xml_entities_are_not_expanded(self) -> None:
        """A bomb of a kilobyte stays a kilobyte, and no file is fetched."""
        lol = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
        entities = f'<!ENTITY l0 "lol">{lol}<!ENTITY f SYSTEM "file:///etc/passwd">'
        source = f"<!DOCTYPE r [{entities}]><r><a>x</a><a>&l9;</a><a>&f;</a></r>"
        try:
            text = read(source, "a.xml").text
        except CorruptFile:
            return
        assert len(text) < 1000
        assert "root:" not in text

    def test_broken_xml_is_corrupt(self) -> None:
        """The message has the parser's reason."""
        with pytest.raises(CorruptFile, match="not well-formed"):
            read("<a><b></a>", "a.xml")

    def test_a_notebook_is_markdown_and_code(self) -> None:
        """Text output of a cell follows its code."""
        cells = [
            {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
            {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": ["2"]}}]},
        ]
        assert shown(read(json.dumps({"cells": cells}), "a.ipynb")) == [
            ("heading", "Title"),
            ("paragraph", "Words."),
            ("code", "1 + 1"),
            ("code", "2"),
        ]

    def test_what_a_cell_shows_is_read_in_its_plainest_form(self) -> None:
        """Text without colours, tables as tables, errors by name; what is no cell is passed over."""
        outputs: list[object] = [
            {"output_type": "stream", "text": ["\x1b[31mred\x1b[0m"]},
            {"data": {"text/html": "<table><tr><td>a</td><td>b</td></tr></table>"}},
            {"data": {"text/markdown": "*b*", "image/png": "xx"}},
            {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["long"]},
            {"data": {"image/png": "xx"}},
            7,
        ]
        cells = [{"cell_type": "code", "source": "f()", "outputs": outputs}, None]
        metadata = {"title": "My notes", "language_info": {"name": "R"}}
        document = read(json.dumps({"cells": cells, "metadata": metadata}), "a.ipynb")
        assert shown(document) == [
            ("code", "f()"),
            ("code", "red"),
            ("table", "a | b"),
            ("paragraph", "b"),
            ("code", "KeyError: 'x'"),
        ]
        assert document.title == "My notes"
        assert document.metadata == {"programming_language": "R"}

    def test_a_notebook_of_another_kind_is_corrupt(self) -> None:
        """Format 3 had its cells elsewhere."""
        with pytest.raises(CorruptFile, match="no Jupyter notebook of format 4"):
            read('{"worksheets": []}', "a.ipynb")


class TestUnstructured:
    def test_the_extra_is_asked_for_when_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error is the command that mends it."""
        from ingest.loaders import unstructured

        unstructured._tame.cache_clear()
        monkeypatch.setitem(__import__("sys").modules, "unstructured.partition.rst", None)
        monkeypatch.setattr(unstructured, "_tame", lambda: None)
        with pytest.raises(MissingExtra, match=r"RST files needs: pip install 'footnote\[unstructured\]'"):
            read("Title\n=====\n", "a.rst")

    def test_a_table_from_elsewhere_is_left_out(self) -> None:
        """The file that it is in is not read, and the rest of the text is there; as a listing it is text."""
        pytest.importorskip("unstructured")
        table = ".. csv-table:: Users\n   :header-rows: 1\n   :file: /etc/passwd\n"
        listing = "::\n\n   :file: shown\n"
        assert shown(read(f"Title\n=====\n\n{table}\nWords.\n\n{listing}", "a.rst")) == [
            ("heading", "Title"),
            ("paragraph", "Words."),
            ("code", ":file: shown"),
        ]

    def test_restructured_text_is_read(self) -> None:
        """Headings, lists and code, without a network and without the file that an include asks for."""
        pytest.importorskip("unstructured")
        source = "Title\n=====\n\nWords.\n\n.. include:: /etc/passwd\n\n- one\n- two\n\n.. code::\n\n   x = 1\n"
        document = read(source, "a.rst")
        assert "root:" not in document.text
        assert shown(document) == [
            ("heading", "Title"),
            ("paragraph", "Words."),
            ("list", "- one\n- two"),
            ("code", "x = 1"),
        ]
