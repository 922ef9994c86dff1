"""Source code by symbol, with tree-sitter: an element for each function, method and type, under the names around it.

The text is the file as it stands. A symbol has its decorators and the comment right above it; what belongs to none,
such as imports, are elements between them. Code that is broken is read as far as it can be told apart.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from ingest.loaders.builder import DocumentBuilder, Origin, Part
from ingest.loaders.charset import decode
from ingest.loaders.cleaning import one_line, verbatim
from ingest.loaders.detection import code_language
from retrieval.records import Document

VERSION = 1

MAX_PARSED = 2 * 2**20
"""Bytes; what is longer was written by a program, and is read as plain lines."""

MAX_NAME = 120

_GRAMMARS = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "java": ("tree_sitter_java", "language"),
    "go": ("tree_sitter_go", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "bash": ("tree_sitter_bash", "language"),
}

# Types of nodes, of all grammars together: they agree on what their names mean.
_FUNCTIONS = frozenset(
    {
        *("function_definition", "function_declaration", "generator_function_declaration", "function_signature"),
        *("method_declaration", "method_definition", "constructor_declaration", "destructor_declaration"),
        *("operator_declaration", "function_item", "function_signature_item", "macro_definition", "method"),
        *("singleton_method", "type_alias_declaration", "delegate_declaration", "compact_constructor_declaration"),
    }
)
_SCOPES = frozenset(
    {
        *("class_definition", "class_declaration", "abstract_class_declaration", "class_specifier", "class", "module"),
        *("interface_declaration", "enum_declaration", "record_declaration", "annotation_type_declaration"),
        *("struct_declaration", "struct_specifier", "union_specifier", "enum_specifier", "namespace_definition"),
        *("namespace_declaration", "file_scoped_namespace_declaration", "internal_module", "type_spec"),
        *("impl_item", "struct_item", "enum_item", "trait_item", "mod_item", "union_item", "trait_declaration"),
        *("type_definition",),
    }
)
_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})
"""What makes a symbol of a variable or field that it is the value of, in JavaScript."""

_WRAPPERS = frozenset({"decorated_definition", "template_declaration", "export_statement"})
"""What stands around one symbol and belongs to it."""

_DECLARATIONS = frozenset({"type_declaration", "lexical_declaration", "variable_declaration", "expression_statement"})
"""The same where they declare one symbol only."""

_ABOVE = frozenset({"comment", "line_comment", "block_comment", "attribute_item", "decorator", "attribute_list"})
_DATA = frozenset(
    {
        *("list", "array", "object", "dictionary", "tuple", "set", "arguments", "argument_list", "string", "comment"),
        *("template_string", "initializer_list", "array_initializer", "composite_literal", "array_expression", "hash"),
        *("token_tree", "parameters", "formal_parameters", "parameter_list", "block_comment", "line_comment"),
    }
)
"""Nothing is declared in these, and there may be a million of them."""

_TEMPLATES = re.compile(r"^\s*(?:class|namespace|template|using)\b", re.MULTILINE)


def load(data: bytes, origin: Origin) -> Document:
    """See `ingest.loaders.load`."""
    text = verbatim(decode(data))
    language = code_language(origin.name, data[:200])
    if language == "c" and origin.name.endswith(".h") and _TEMPLATES.search(text):
        language = "cpp"
    builder = DocumentBuilder()
    builder.source(text, parts(text, language))
    name = {"tsx": "typescript"}.get(language, language)
    title = one_line(origin.name.replace("\\", "/").rpartition("/")[2])
    return builder.build(origin, title=title, metadata={"programming_language": name})


def parts(text: str, language: str) -> list[Part]:
    """The parts of a source text in order, each the lines of one symbol or between symbols, with its names."""
    lines = text.split("\n")
    owners: list[_Symbol] = [_Symbol(0, len(lines) - 1)] * len(lines)
    data = text.encode("utf-8")
    if len(data) <= MAX_PARSED:
        for symbol in _symbols(_parser(language).parse(data).root_node):
            owners[symbol.first : symbol.last + 1] = [symbol] * (symbol.last + 1 - symbol.first)
    return list(_runs(lines, owners))


@dataclass(frozen=True, slots=True, eq=False)
class _Symbol:
    """Lines `first` to `last`, from 0, both included."""

    first: int
    last: int
    path: tuple[str, ...] = ()


_CLOSING = re.compile(r"\s*(?:end\b)?[^\w@#'\"]*$")
"""A line that ends what the lines before it are part of."""


def _runs(lines: list[str], owners: list[_Symbol]) -> Iterator[Part]:
    """Lines in a row that belong to one symbol, without the empty ones around them."""
    start = end = position = 0
    current: _Symbol | None = None
    for line, owner in zip(lines, owners, strict=True):
        if line.strip():
            if owner is not current and not (current and _CLOSING.match(line)):
                if current is not None:
                    yield Part(start, end, current.path)
                current, start = owner, position
            end = position + len(line)
        position += len(line) + 1
    if current is not None:
        yield Part(start, end, current.path)


@dataclass(frozen=True, slots=True)
class _Pending:
    node: Any
    first: int
    """Line that the node begins on, with the comments right above it and what is wrapped around it."""
    path: tuple[str, ...] = ()
    around: int = -1
    """Line that names the symbol around the node; -1 for none."""


def _symbols(root: Any) -> Iterator[_Symbol]:
    """Symbols in the order of the file, those within a type after the type. Functions are not looked into."""
    pending = [_Pending(root, 0)]
    while pending:  # a stack, not recursion: damaged files nest deep
        item = pending.pop()
        node, path, around = item.node, item.path, item.around
        name = _name(node)
        if name and node.start_point[0] == around:
            continue  # within the first line of another, as in a class of one line
        if name:
            path, around = (*path, *name), (node.child_by_field_name("name") or node).start_point[0]
            yield _Symbol(item.first, max(_last_line(node), item.first), path)
            if node.type not in _SCOPES:
                continue
        children = node.named_children
        wraps = not name and (node.type in _WRAPPERS or (node.type in _DECLARATIONS and len(children) == 1))
        for i in range(len(children) - 1, -1, -1):
            child = children[i]
            if child.type not in _DATA:
                opens = not name and i == 0 and child.start_point[0] == node.start_point[0]
                first = item.first if wraps or opens else _first_line(children, i)
                pending.append(_Pending(child, first, path, around))


def _last_line(node: Any) -> int:
    line, column = node.end_point
    return int(line if column else line - 1)


def _first_line(siblings: Sequence[Any], i: int) -> int:
    """The line on which the comments and attributes right above a node begin, or the node itself."""
    first: int = siblings[i].start_point[0]
    while i and siblings[i - 1].type in _ABOVE and _last_line(siblings[i - 1]) in (first - 1, first):
        i -= 1
        line = siblings[i].start_point[0]
        if i and siblings[i - 1].type not in _ABOVE and siblings[i - 1].end_point[0] == line:
            break  # a remark behind other code
        first = line
    return first


def _name(node: Any) -> tuple[str, ...]:
    """What a symbol is called, after the type that it is a method of where it names that; empty for other nodes."""
    if node.type in _VARIABLES:
        value, target = (node.child_by_field_name(name) for name in _VARIABLES[node.type])
        return _text(target) if value is not None and value.type in _VALUES else ()
    if node.type not in _FUNCTIONS and (node.type not in _SCOPES or node.parent is None):
        return ()
    if node.type == "impl_item":
        return _impl_name(node)
    if node.type.endswith("_specifier") and node.child_by_field_name("body") is None:
        return ()  # a type that is mentioned, not declared
    receiver = node.child_by_field_name("receiver")
    owner = _text(receiver) if receiver is not None else ()
    named = node.child_by_field_name("name") or _declared(node.child_by_field_name("declarator"))
    return (*_receiver(owner), *_text(named))


_VARIABLES = {
    "variable_declarator": ("value", "name"),
    "public_field_definition": ("value", "name"),
    "field_definition": ("value", "property"),
    "assignment_expression": ("right", "left"),
}
"""The fields of value and name of what may be a function in JavaScript."""


def _impl_name(node: Any) -> tuple[str, ...]:
    kind, trait = _text(node.child_by_field_name("type")), _text(node.child_by_field_name("trait"))
    return (f"{trait[0]} for {kind[0]}",) if trait and kind else kind


def _receiver(owner: tuple[str, ...]) -> tuple[str, ...]:
    """The type in "(s *Server[T])", as Go writes it."""
    match = re.search(r"(\w+)\s*(?:\[[^\]]*\])?\s*\)$", owner[0]) if owner else None
    return (match[1],) if match else ()


def _declared(node: Any) -> Any:
    """The name within a declarator of C, such as "*f(int)"."""
    while node is not None and node.child_by_field_name("declarator") is not None:
        node = node.child_by_field_name("declarator")
    return node


def _text(node: Any) -> tuple[str, ...]:
    text = one_line(node.text.decode("utf-8", errors="replace")) if node is not None and node.text else ""
    return (text[:MAX_NAME],) if text else ()


@cache
def _parser(language: str) -> Any:
    tree_sitter = import_module("tree_sitter")
    module, function = _GRAMMARS[language]
    return tree_sitter.Parser(tree_sitter.Language(getattr(import_module(module), function)()))
