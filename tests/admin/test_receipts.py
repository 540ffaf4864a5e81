"""Receipts of rosters prove themselves: with the units' keys, and nothing else."""

import json
from pathlib import Path

import pytest
from delivering import Enroller
from rosters import person
from wireunit import UNIT, Signer

from edge.cli import main
from edge.contract.commands import CommandResult
from edge.contract.events import OnlineStatus
from edge.outbox.event_signer import ChainHead

ANI, BUDI = person(1), person(2)
DIGEST = "ab" * 32


def answer(version: int, *, name: str = "roster", reason: str | None = None) -> CommandResult:
    return CommandResult.model_validate(
        {
            "to": "01234567-89ab-7cde-8f01-23456789abcd",
            "name": name,
            "number": version,
            "ok": reason is None,
            "reason": reason,
            "text": "version 4 is in force" if reason else "",
            "data": {} if reason else {"digest": DIGEST, "erased": [ANI.id]},
        },
        strict=False,
    )


class Case:
    """A unit, its enroller's key set, and a file of receipts."""

    def __init__(self, folder: Path) -> None:
        (folder / "unit").mkdir()
        self.keys = Enroller(folder / "enroller", folder / "unit").keys
        self.sealer = Signer(folder / "unit").sealer
        self.file = folder / "receipts.jws"

    def verify(self, *lines: str, options: tuple[str, ...] = ()) -> int:
        self.file.write_text("".join(f"{line}\n" for line in lines))
        return main(["verify", "--keys", str(self.keys), *options, str(self.file)])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_receipts_are_told_in_words(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.sealer.use(DIGEST, case.sealer.context.thresholds)
    confirmed, refused = case.sealer.reply(answer(3)), case.sealer.reply(answer(3, reason="stale"))
    state = case.sealer.state(OnlineStatus.ONLINE, 1, ChainHead())
    assert case.verify(confirmed, refused, state) == 0
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{case.file}:1: {UNIT.source}: had roster version 3 ({DIGEST}) on 20")
    assert first.endswith(f", without {ANI.id}")
    assert f"{case.file}:2: {UNIT.source}: refused version 3 on 20" in second
    assert second.endswith(", stale: version 4 is in force")
    assert f"{case.file}:3: {UNIT.source}: had roster ({DIGEST}) on 20" in third
    assert last == f"{case.file}: good: all as it was signed (3 receipts of 1 unit)"


def test_what_no_registered_unit_signed_is_a_fault(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thief").mkdir()
    good = case.sealer.reply(answer(3))
    header, _, signature = good.split(".")
    _, other, _ = case.sealer.reply(answer(9)).split(".")
    false = [
        f"{header}.{other}.{signature}",
        Signer(tmp_path / "thief").sealer.reply(answer(3)),
        case.sealer.reply(answer(3, name="ping")),
        "nothing",
    ]
    assert case.verify(good, *false) == 1
    told = capsys.readouterr().out
    for line, fault in ((2, "altered"), (3, "refused"), (4, "altered"), (5, "altered")):
        assert f"{case.file}:{line}: {fault}: " in told
    assert f"{case.file}: NOT GOOD: 4 faults (1 receipt of 1 unit)" in told
    for token in false[:3]:
        assert case.verify(token) == 1


def test_every_character_of_a_receipt_counts(case: Case) -> None:
    token = case.sealer.reply(answer(3))
    for at in range(0, len(token), 7):
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert case.verify(altered) == 1


def test_a_program_gets_the_same(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert case.verify(case.sealer.reply(answer(3)), options=("--json",)) == 0
    said = json.loads(capsys.readouterr().out)
    (receipt,) = said["receipts"]
    assert (said["good"], said["faults"]) == (True, [])
    assert (receipt["unit"], receipt["version"], receipt["digest"], receipt["erased"]) == (
        UNIT.source,
        3,
        DIGEST,
        [ANI.id],
    )
