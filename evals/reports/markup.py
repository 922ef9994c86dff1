"""Builds HTML and SVG as trees, so that text from outside cannot become markup: it is escaped where it is written."""

from xml.etree import ElementTree as ET

from evals.reports.wording import printable

Node = ET.Element
Child = Node | str | int | None
Attribute = str | int | float | None


def node(tag: str, *children: Child, **attributes: Attribute) -> Node:
    """An element; None among the children or attributes is left out, `class_` is `class`, `_` in names is `-`."""
    made = ET.Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): printable(_plain(value))
            for name, value in attributes.items()
            if value is not None
        },
    )
    for child in children:
        add(made, child)
    return made


def add(parent: Node, child: Child) -> None:
    """Append an element or text."""
    if child is None:
        return
    if isinstance(child, ET.Element):
        parent.append(child)
        return
    text = printable(str(child))
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def html(root: Node) -> str:
    """The page, with its doctype."""
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _plain(value: str | int | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
