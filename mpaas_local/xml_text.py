"""XML of the services: a request body into an `Element`, an `Element` into a response body."""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder, tostring
from xml.parsers import expat

__all__ = ["UnreadableXml", "read_xml", "write_xml"]

MAX_DEPTH = 8
"""Nested elements; no request of MNS or OSS has more than five."""


class UnreadableXml(ValueError):
    """A document cannot be read; the text says why."""


def read_xml(body: bytes) -> Element:
    """Read a document, without its namespaces and attributes.

    Raises:
        UnreadableXml: it is not well-formed, is nested deeper than `MAX_DEPTH`, or declares a document type;
            entities are never expanded.
    """
    builder = TreeBuilder()
    depth = 0

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableXml(f"The XML is nested deeper than {MAX_DEPTH} elements.")
        builder.start(_local(name), {})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except UnreadableXml:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise UnreadableXml(f"The XML you provided was not well-formed: {error}.") from error
    return builder.close()


def write_xml(root: Element) -> bytes:
    """Write a document in UTF-8, with its declaration."""
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document.replace(b"\r", b"&#13;")  # a parser would read a bare carriage return as a line feed


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _refuse_doctype(*_: object) -> None:
    raise UnreadableXml("The XML must not declare a document type.")
