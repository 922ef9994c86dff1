"""Source code by symbol."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.loaders import identify
from ingest.loaders.code import parts
from ingest.loaders.detection import CODE_LANGUAGES
from tests.unit.ingest.files import read

PYTHON = '''"""Module."""

import os


# Why f is there.
@cached(
    size=1
)
def f(a):
    """Doc."""
    def inner():
        pass

    return a  # remark
# no comment of Shape's


class Shape(Base):
    """A shape."""

    corners = 4

    def area(self):
        # within
        return 1

    @property
    def name(self): return "x"

    after = 1

if os.name == "nt":
    async def g(): ...
'''


def symbols(source: str, name: str) -> list[tuple[str, str]]:
    """(path, first line) of each part."""
    document = read(source, name)
    return [
        (" > ".join(e.headings), document.text[e.start : e.end].strip().partition("\n")[0]) for e in document.elements
    ]


def test_python_is_cut_at_its_symbols() -> None:
    """Decorators and the comment right above belong to a symbol, functions within a function to that."""
    assert symbols(PYTHON, "a.py") == [
        ("", '"""Module."""'),
        ("f", "# Why f is there."),
        ("", "# no comment of Shape's"),
        ("Shape", "class Shape(Base):"),
        ("Shape > area", "def area(self):"),
        ("Shape > name", "@property"),
        ("Shape", "after = 1"),
        ("", 'if os.name == "nt":'),
        ("g", "async def g(): ..."),
    ]


def test_the_text_is_the_file() -> None:
    """Empty lines and indentation are as they were; the title is the name of the file, the language is recorded."""
    document = read(PYTHON, "shapes/a.py")
    assert document.text == PYTHON.strip()
    assert document.title == "a.py"
    assert document.metadata == {"programming_language": "python"}
    assert {element.kind for element in document.elements} == {"code"}


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("a.js", "// c\nconst f = () => {\n  1\n}\nexports.g = function () {}", "f|exports.g"),
        ("a.mjs", "class A {\n  m() {}\n  h = () => 1\n}", "A|A > m|A > h"),
        ("a.ts", "/** c */\nexport class A<T> {\n  a = 1\n  m(): void {}\n}\ninterface I { a: string }", "A|A > m|I"),
        ("a.tsx", "export default function App() {\n  return <div/>\n}", "App"),
        ("A.java", "@X\npublic class A {\n  @Y\n  int m() { return 1; }\n  A() {}\n}\nenum E { A }", "A|A > m|A > A|E"),
        ("a.go", "package a\n// c\nfunc (s *S[T]) Run() {}\ntype (\n  A int\n  B struct{}\n)", "|S > Run||A|B"),
        ("a.c", "struct P { int x; };\nstruct P p;\nint *f(int a)\n{\n  return 0;\n}", "P||f"),
        ("a.h", "namespace n {\ntemplate <class T>\nclass K {\n  int f() { return 1; }\n};\n}", "n|n > K|n > K > f"),
        ("a.rs", "#[x]\nstruct S;\nimpl D for S {\n  /// c\n  fn f() {}\n}", "S|D for S|D for S > f"),
        ("a.cs", "namespace N {\n  [X]\n  class C {\n    int M() { return 1; }\n  }\n}", "N|N > C|N > C > M"),
        ("a.rb", "module M\n  class C\n    def m\n    end\n  end\nend", "M|M > C|M > C > m"),
        ("a.php", "<?php\nclass C {\n  function m() {}\n}\nfunction f() {}", "|C|C > m|f"),
        ("a.sh", "# c\nf() {\n  echo\n}\nf", "f|"),
    ],
)  # fmt: skip
def test_each_language_has_its_symbols(name: str, source: str, expected: str) -> None:
    """Functions, methods under their type, types; what only mentions a type is none."""
    assert [path for path, _ in symbols(source, name)] == expected.split("|")


def test_a_script_without_extension_is_known_by_its_first_line() -> None:
    """As the shell knows it."""
    assert read("#!/usr/bin/env python3\nx = 1\n", "tool").metadata == {"programming_language": "python"}
    assert identify(b"#!/bin/unknown\n", "tool").file_type == "text"


@pytest.mark.parametrize(
    "source", ["def f(:\n  x\nclass", "(" * 50_000, "class A:\n" * 3000, "\u2028def f(): 'é\U0001f600'\n"]
)
def test_broken_code_is_read(source: str) -> None:
    """Nothing is lost; symbols are found where they can be."""
    document = read(source, "a.py")
    covered = "".join(document.text[e.start : e.end] for e in document.elements)
    assert "".join(covered.split()) == "".join(document.text.split())


def test_a_file_that_a_program_wrote_is_read_as_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing it would take long, and nobody looks for its symbols."""
    monkeypatch.setattr("ingest.loaders.code.MAX_PARSED", 10)
    assert symbols("def f(): pass\ndef g(): pass\n", "a.py") == [("", "def f(): pass")]


@settings(max_examples=60, deadline=None)
@given(
    st.text(alphabet="classdf(){}:;\n \"'#/*<>=é@", max_size=200), st.sampled_from(sorted(set(CODE_LANGUAGES.values())))
)
def test_parts_cover_all_that_is_not_white_space(text: str, language: str) -> None:
    """In order, without overlap, whatever the text."""
    found = parts(text, language)
    assert all(a.end < b.start for a, b in pairwise(found))
    assert "".join("".join(text[part.start : part.end] for part in found).split()) == "".join(text.split())
