"""Reports, built from the results of many pieces."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from mpaas_push.campaign import report, results
from mpaas_push.campaign.errors import AudienceMissing
from mpaas_push.campaign.objects import ObjectInfo
from mpaas_push.campaign.report import report_page
from mpaas_push.campaign.results import folder_of, result_lines
from mpaas_push.campaign.state import StoredCampaign
from tests.mpaas_push.campaign.test_model import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = folder_of("c", "run")
STORED = StoredCampaign(
    {"id": "c", "run": "run", "pieceBytes": "1000", "document": json.dumps(DOCUMENT)}, now=0.0
)


class Bucket:
    """Objects in memory. A part in `joined` is joined to its object once the keys are listed."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.joined: dict[str, str] = {}

    def put(self, name: str, offsets: Iterable[int]) -> None:
        lines = [
            json.dumps({"offset": offset, "target": f"ü{offset}", "outcome": "refused"}) for offset in offsets
        ]
        self.objects[FOLDER + name] = "".join(f"{line}\n" for line in lines).encode()

    def names(self, _: str, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.objects if key.startswith(prefix))
        for part, target in self.joined.items():
            content = self.objects.pop(FOLDER + part)
            self.objects[FOLDER + target] = self.objects.get(FOLDER + target, b"") + content
        self.joined.clear()

    def info(self, _: str, key: str) -> ObjectInfo:
        if key not in self.objects:
            raise AudienceMissing(key)
        return ObjectInfo(len(self.objects[key]), "etag")

    def read(self, _: str, key: str, start: int, end: int, __: str | None = None) -> bytes:
        return self.objects[key][start:end]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def offsets_of(bucket: Bucket) -> tuple[list[int], int]:
    """Follow a report to its end; return the offsets of its rows and the number of its parts."""
    texts: list[str] = []
    after: int | None = -1
    while after is not None:
        page = report_page(bucket, STORED, after)  # type: ignore[arg-type]  # a fake
        texts.append(page.text)
        after = page.after
    rows = list(csv.DictReader(io.StringIO("".join(texts))))
    assert all(row["target"] == f"ü{row['offset']}" for row in rows)
    return [int(row["offset"]) for row in rows], len(texts)


def test_parts_of_a_report_are_complete_wherever_they_end(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "CHUNK_BYTES", 7)  # lines and letters are cut
    # A row that begins where a piece's range ends belongs to that piece; some pieces have no results.
    offsets = [10, 500, 1000, 1001, 2000, 5001, 5010, 5020, 6000]
    bucket.put("00000.jsonl", [10, 500, 1000])
    bucket.put("00001.jsonl", [1001, 2000])
    bucket.put("00005/000000000005001.jsonl", [5001, 5010])
    bucket.put("00005/000000000005020.jsonl", [5020, 6000])

    assert [line["offset"] for line in result_lines(bucket, "b", FOLDER)] == offsets  # type: ignore[arg-type]  # a fake
    assert offsets_of(bucket) == (offsets, 1)
    monkeypatch.setattr(report, "PAGE_OBJECTS", 1)
    assert offsets_of(bucket)[0] == offsets
    monkeypatch.setattr(report, "PAGE_BYTES", 1)
    assert offsets_of(bucket)[0] == offsets


def test_parts_joined_while_they_are_read_are_reported_once(bucket: Bucket) -> None:
    bucket.put("00000/000000000000010.jsonl", [10, 20])
    bucket.put("00000/000000000000030.jsonl", [30])
    bucket.joined = {
        "00000/000000000000010.jsonl": "00000.jsonl",
        "00000/000000000000030.jsonl": "00000.jsonl",
    }

    assert [line["offset"] for line in result_lines(bucket, "b", FOLDER)] == [10, 20, 30]  # type: ignore[arg-type]  # a fake
