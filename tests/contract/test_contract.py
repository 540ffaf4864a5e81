"""docs/contract and the code say the same."""

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest
from contract import __main__ as writer
from contract.own import instant, missing, verdict
from contract.vector import EMPTY, GENUINE, UNSIGNED

from edge.contract.envelope import RejectReason, Verified, verify
from edge.contract.events import CloudEvent
from edge.contract.keys import KeySet
from senyum_central.ingest.ingestor import Ingestor
from senyum_central.store.chain_rules import Classification
from senyum_central.store.event_store import Store

CONTRACT = Path(__file__).parents[2] / "docs" / "contract"
Row = dict[str, str]


def rows() -> list[Row]:
    with (CONTRACT / "vectors" / "vectors.tsv").open(encoding="ascii", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = rows()
SERIES = [list(group) for _, group in groupby(ROWS, key=lambda row: row["series"])]


def test_what_is_committed_is_what_the_code_says(tmp_path: Path) -> None:
    assert writer.differing(CONTRACT) == []
    writer.write(tmp_path)
    assert writer.differing(tmp_path) == []


def test_a_change_is_found_and_mended(tmp_path: Path) -> None:
    writer.write(tmp_path)
    changed, gone, strange = (
        tmp_path / "schema" / name for name in ("event.json", "will.json", "x.json")
    )
    changed.write_bytes(changed.read_bytes() + b" ")
    gone.unlink()
    strange.touch()
    assert writer.differing(tmp_path) == ["schema/event.json", "schema/will.json", "schema/x.json"]
    writer.write(tmp_path)
    assert writer.differing(tmp_path) == []


def test_nothing_in_it_names_a_machine() -> None:
    hosts = {"json-schema.org", "example.org", "www.apache.org"}
    for path, content in writer.files().items():
        for link in content.split(b"://")[1:]:
            assert link.split(b"/")[0].split(b'"')[0].decode() in hosts, path


@pytest.mark.parametrize("folder", ["docs/contract/consumers/node", "tests/rigs/contract"])
def test_packages_of_node_are_named_by_digest_and_by_no_registry(folder: str) -> None:
    lock = json.loads((CONTRACT.parents[1] / folder / "package-lock.json").read_text())
    packages = [entry for name, entry in lock["packages"].items() if name]
    assert packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages)
    assert not any("resolved" in entry for entry in packages)


def test_names_are_unique_and_a_series_lies_together() -> None:
    assert len({row["name"] for row in ROWS}) == len(ROWS)
    assert len({group[0]["series"] for group in SERIES}) == len(SERIES)
    assert all(row["about"] and row["topic"] for row in ROWS)


def test_every_verdict_has_its_vectors_and_its_words() -> None:
    verdicts = {*RejectReason, *Classification, EMPTY, UNSIGNED}
    assert {row["verdict"] for row in ROWS} == {str(verdict) for verdict in verdicts}
    page = (CONTRACT / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{verdict}` |" in page for verdict in verdicts)


def test_every_type_is_there_under_both_algorithms() -> None:
    keys = KeySet.load(CONTRACT / "vectors" / "keys.json")
    found = set()
    for row in ROWS:
        if row["verdict"] == GENUINE:
            accepted = judged(row, keys)
            found.add((type(accepted.event), keys_alg(keys, accepted.kid)))
    kinds = set(leaves(CloudEvent))
    assert found == {(kind, alg) for kind in kinds for alg in ("Ed25519", "ES256")}


def leaves(kind: type[CloudEvent]) -> Iterator[type[CloudEvent]]:
    for sub in kind.__subclasses__():
        yield from leaves(sub) if sub.__subclasses__() else [sub]


def keys_alg(keys: KeySet, kid: str) -> str:
    key = keys.find(kid)
    assert key is not None
    return key.alg


def judged(row: Row, keys: KeySet) -> Verified:
    content = (CONTRACT / "vectors" / row["message"]).read_bytes()
    return verify(content, keys, row["topic"], datetime.fromtimestamp(int(row["received"]), UTC))


@pytest.mark.parametrize("group", SERIES, ids=lambda group: group[0]["series"])
def test_our_own_receiver_says_what_is_expected(tmp_path: Path, group: list[Row]) -> None:
    keys = KeySet.load(CONTRACT / "vectors" / "keys.json")
    with closing(Store(tmp_path / "events.db")) as store:
        desk = Ingestor(store, keys, 60.0, instant(int(group[0]["received"])))
        for row in group:
            content = (CONTRACT / "vectors" / row["message"]).read_bytes()
            said = verdict(desk, row["topic"], content, int(row["received"]))
            found = (row["name"], said, missing(store, row["topic"]))
            assert found == (row["name"], row["verdict"], row["missing"])


def test_the_index_of_the_keys_is_json() -> None:
    private = json.loads((CONTRACT / "vectors" / "private-keys-for-tests.json").read_text())
    assert private["warning"].startswith("TEST ONLY")
