"""Citations of the documentation in comments, and links between its pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
FOLDERS = ("functions", "shared", "project", "deploy", "mpaas_local", "benchmarks", "tests")
SUFFIXES = (".py", ".js", ".lua", ".yaml", ".yml", ".toml", ".in")

HEADINGS = {
    page.name: re.findall(r"^##+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    for page in sorted(REFERENCE.glob("*.md"))
}
CITATION = re.compile(rf"(?<![\w/.-])({'|'.join(map(re.escape, HEADINGS))}):\s+(?:#:?\s+|//\s+|--\s+)?")
LINE_BREAK = re.compile(r"\s*\n\s*(?:#:?\s+|//\s+|--\s+|\*\s+)?")
SECTION_NUMBER = re.compile(r"§\s?\d|\b[Ss]ection\s+\d")


def sources() -> list[Path]:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in SUFFIXES]
    files += [file for file in ROOT.iterdir() if file.suffix in SUFFIXES or file.name == "Makefile"]
    # This file contains wrong citations on purpose.
    return sorted(file for file in files if "vendor" not in file.parts and file != Path(__file__))


def wrong_citations(text: str) -> list[str]:
    """Return the citations that do not name a heading of their page, each with the text after it.

    A citation is `page.md: Heading`; further headings of the page follow a comma, "and" or "to". It ends with a full
    stop, a bracket or a quote, so that the rest of the sentence cannot be mistaken for a part of the heading.
    """
    wrong = []
    for citation in CITATION.finditer(text):
        cited = LINE_BREAK.sub(" ", text[citation.end() : citation.end() + 400])
        heading = "|".join(sorted(map(re.escape, HEADINGS[citation[1]]), key=len, reverse=True))
        if not re.match(rf"(?:{heading})(?:(?:,| and| to) (?:{heading}))*(?:[).;:\"'`]|$)", cited):
            wrong.append(f"{citation[1]}: {cited[:60]}")
    return wrong


def test_every_citation_names_a_heading_of_its_page() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {citation}"
        for file in sources()
        for citation in wrong_citations(file.read_text("utf-8"))
    ]

    assert wrong == []


def test_every_page_of_the_api_and_the_runtime_is_cited() -> None:
    """Checks the search itself, which ignores citations that it does not recognise."""
    cited = {citation for file in sources() for citation in CITATION.findall(file.read_text("utf-8"))}

    assert {"pushsimple.md", "fc-runtime.md", "deploy.md"} <= cited


@pytest.mark.parametrize(
    "text",
    [
        "(fc-runtime.md: Event streams)",
        "# Limits (fc-runtime.md: Event\n# streams).",
        "fc-runtime.md: HTTP event to HTTP access, Error semantics.",
        '"UNSURE: not published; pushsimple.md: Strategies and SMS and Live Activity",',
        "role (docs/deploy.md: step 5)",
    ],
)
def test_citation_of_existing_headings_is_correct(text: str) -> None:
    assert wrong_citations(text) == []


@pytest.mark.parametrize(
    "rest",
    ["Event stream)", "Event streams say)", "Event streams, Retries)", "event streams)", "Result codes)"],
)
def test_citation_of_a_missing_heading_is_wrong(rest: str) -> None:
    assert wrong_citations(f"(fc-runtime.md: {rest}") == [f"fc-runtime.md: {rest}"]


def test_no_comment_cites_a_section_by_number() -> None:
    numbered = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in sources()
        for line in file.read_text("utf-8").splitlines()
        if SECTION_NUMBER.search(line) and "RFC" not in line
    ]

    assert numbered == []


@pytest.mark.parametrize("name", sorted(HEADINGS))
def test_headings_of_a_reference_page_are_unique(name: str) -> None:
    assert len(HEADINGS[name]) == len(set(HEADINGS[name]))


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]

    missing = [link for link in links if link and "://" not in link and not (page.parent / link).exists()]

    assert missing == []
