"""The signing fuzzer: its referee follows the contract, and its messages are repeatable."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.contract.jose import from_b64url
from edge.contract.keys import SigningKey
from edge.contract.topics import UnitName
from senyum_lab.fuzzing.signed_events import __main__
from senyum_lab.fuzzing.signed_events.central import CONFIGURATIONS
from senyum_lab.fuzzing.signed_events.generate import (
    CONTRACT,
    FuzzMessage,
    FuzzUnit,
    MessageGenerator,
)
from senyum_lab.fuzzing.signed_events.referee import Referee, Ruling

VECTORS = CONTRACT / "vectors"
KEYS = json.loads((VECTORS / "keys.json").read_text(encoding="utf-8"))["keys"]
# What the referee judges: all but signatures, spellings of base64, and time of receipt.
JUDGED = {"genuine", "fork", "duplicate", "payload", "type", "unknown-key", "foreign-key"}
ACCEPTED = {"genuine", "fork", "duplicate", "unsigned"}


def units(folder: Path) -> list[FuzzUnit]:
    names = [UnitName("kota", "depok", name) for name in ("fuzz-1", "fuzz-2")]
    return [FuzzUnit(name.source, SigningKey.load_or_create(folder / name.name)) for name in names]


def vectors() -> list[tuple[str, FuzzMessage, str]]:
    found = []
    for file in ("vectors.tsv", "replies.tsv"):
        with (VECTORS / file).open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
        for row in rows:
            content = (VECTORS / row["message"]).read_bytes().rstrip(b"\n")
            kind = row["topic"].split("/")[-1 if file == "vectors.tsv" else 5]
            if row["verdict"] == "unsigned":
                made = FuzzMessage(0, "will", UNUSED, row["topic"], content, body=content.decode())
            elif row["verdict"] in JUDGED:
                header, body, _ = (from_b64url(part) for part in content.decode().split("."))
                texts = header.decode(), body.decode("utf-8", "surrogateescape")
                made = FuzzMessage(0, kind, UNUSED, row["topic"], content, *texts)
            else:
                continue
            found.append((row["name"], made, row["verdict"]))
    return found


UNUSED = FuzzUnit("urn:senyum:a:b:c", SigningKey.generate("Ed25519")[0])


@pytest.mark.parametrize(("name", "made", "verdict"), vectors(), ids=lambda part: str(part)[:40])
def test_the_referee_rules_as_the_vectors_of_the_contract(
    name: str, made: FuzzMessage, verdict: str
) -> None:
    ruling = Referee(KEYS).judge(made)
    if ruling is not Ruling.KEEP:
        assert (ruling is Ruling.ACCEPT) == (verdict in ACCEPTED), name


@pytest.mark.slow
def test_the_messages_of_a_seed_repeat_and_reach_every_ruling(tmp_path: Path) -> None:
    once, again, other = (
        [MessageGenerator(seed, units(tmp_path)).make(number) for number in range(300)]
        for seed in (1, 1, 2)
    )
    assert [each.body for each in once] == [each.body for each in again]
    assert [each.payload for each in once] == [each.payload for each in again]
    assert {each.body for each in once} != {each.body for each in other}
    bounds = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
    referee = Referee(
        [
            each.key.registration(UnitName.from_source(each.source), *bounds)
            for each in units(tmp_path)
        ]
    )
    rulings = {(each.kind, referee.judge(each)) for each in once}
    kinds = ("event", "state", "health", "reply", "will")
    assert {
        (kind, ruling) for kind in kinds for ruling in (Ruling.ACCEPT, Ruling.REFUSE)
    } <= rulings


@pytest.mark.broker
@pytest.mark.slow
def test_a_real_receiver_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fuzz_signed", "--messages", "150", "--only", "sqlite+key", "--seed", "7"]
    monkeypatch.setattr("sys.argv", words)
    assert __main__.main() == 0, capsys.readouterr().out


def test_a_message_accepted_against_the_contract_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check itself: a receiver that stores what the referee refuses is reported."""
    run = __main__.SignedFuzzRun(CONFIGURATIONS[0], tmp_path, 1)
    made = next(
        each for number in range(100) if (each := run.generator.make(number)).kind == "event"
    )
    monkeypatch.setattr(run.referee, "judge", lambda _: Ruling.REFUSE)

    class Store:
        def rows(self, query: str) -> list[tuple[object, ...]]:
            return [(1, made.payload.decode())] if "jws" in query else [(0,)]

    run._compare(Store(), [made])  # type: ignore[arg-type]
    assert any("accepted against the contract" in fault for fault in run.tally.faults)
