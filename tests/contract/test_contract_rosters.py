"""What a unit's own code says of the roster vectors is what the table says."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from contract import rosters
from contract.cast import DOOR_1
from delivering import Rack
from jsonschema import Draft202012Validator

from edge.contract.authority import OF_COMMANDS, OrderRejectReason
from edge.contract.jose import from_b64url
from edge.contract.refusal_counter import RefusalCounter
from edge.contract.roster_manifest import manifest_topic, parse_manifest
from edge.roster.chunks import decrypt_chunks
from edge.roster.codec import pack, unpack
from edge.roster.store import RosterStore

CONTRACT = Path(__file__).parents[2] / "docs" / "contract"
VECTORS = CONTRACT / "vectors"
Row = dict[str, str]


def rows() -> list[Row]:
    with (VECTORS / "rosters.tsv").open(encoding="ascii", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


class Door(Rack):
    """Door 1 as the vectors have it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keeper = RosterStore(folder / "roster.senyum", b"\x01" * 32, rosters.EMBEDDER)
        before = pack(rosters._roster(*rosters.PEOPLE, version=rosters.VERSION))
        self.keeper.install(bytearray(before), rosters.VERSION, unpack(before).digest, "before")


def judge(folder: Path, row: Row) -> str:
    door, refusals = Door(folder), RefusalCounter()
    delivery = door.listener(folder, VECTORS / "rosters" / "authorities.json", refusals)
    delivery._unit, delivery._topic = DOOR_1, manifest_topic(DOOR_1)
    delivery._key = rosters.encryption_key()
    delivery.heard(manifest_topic(DOOR_1), (VECTORS / row["manifest"]).read_bytes(), True)
    for chunk in row["chunks"].split():
        name, _, file = chunk.partition("=")
        delivery.heard(
            f"senyum/v1/example/all/all/roster/{name}", (VECTORS / file).read_bytes(), True
        )
    assert door.keeper.ledger.version == (8 if door.installed else 7)
    if door.installed:
        return rosters.TAKEN
    return rosters.WAITS if refusals.last is None else str(refusals.last)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_the_unit_says_what_is_expected(tmp_path: Path, row: Row) -> None:
    assert judge(tmp_path, row) == row["verdict"]


def test_every_way_to_refuse_a_roster_has_its_vector() -> None:
    wanted = {
        rosters.TAKEN,
        rosters.WAITS,
        *(set(OrderRejectReason) - OF_COMMANDS - {OrderRejectReason.FAILED}),
    }
    assert {row["verdict"] for row in rows()} == {str(each) for each in wanted}


def test_the_schema_takes_what_the_model_takes() -> None:
    schema = json.loads((CONTRACT / "schema" / "roster.json").read_text())
    check = Draft202012Validator(schema)
    told_by_schema = {"member-missing", "member-more", "chunk-name", "version-0"}
    for row in rows():
        if row["name"] in ("truncated", "oversized"):
            continue
        said = claims((VECTORS / row["manifest"]).read_bytes())
        assert check.is_valid(said) == (row["name"] not in told_by_schema), row["name"]


def test_somebody_else_opens_it_with_the_standard_alone() -> None:
    """Wrapped by RFC 7518, 4.6, in the vectors by hand; unwrapped by the library of the unit."""
    vector = next(rosters.every())
    said = claims(vector.manifest)
    key = rosters.encryption_key().unwrap(said["recipients"][0]["key"])
    manifest = parse_manifest(json.dumps(said))
    content = decrypt_chunks(manifest, key, list(vector.chunks.values()))
    assert content == (VECTORS / "rosters" / "content").read_bytes()


def claims(token: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(from_b64url(token.decode().split(".")[1]))
    return content
