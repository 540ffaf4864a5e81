"""An exported day says by itself what was done to it."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import days
import pytest
from central_parts import keys_of, signing_key
from days import ANI, BUDI, Door, later_of, take
from hypothesis import example, given, settings
from hypothesis import strategies as st
from places import Place

from edge.cli import main
from edge.contract.keys import KeySet, add_registration
from senyum_central.evidence import bundle
from senyum_central.evidence.chain import ChainDefect
from senyum_central.evidence.verifier import VerificationReport, verify_export
from senyum_central.store.event_store import Store
from senyum_central.store.queries import Period

DAY = date(2026, 3, 2)
LOBBY, GATE = Door("lobby-1"), Door("gate-2")


def write(store: Store, day: date = DAY) -> bytes:
    return days.exported(store, Period(day, day), KEYS)


def fill(store: Store, people: int = 3) -> None:
    """Two units: of one events of the day before and after, of the other its health alone."""
    lobby, gate = Door("lobby-1"), Door("gate-2")
    messages = [lobby.at("2026-03-01T02:00:00").passes()]
    messages += [lobby.at(f"2026-03-02T02:00:{n % 60:02d}").passes() for n in range(people)]
    messages += [lobby.at("2026-03-03T02:00:00").passes()]
    messages += [gate.at("2026-03-02T03:00:00").passes(BUDI), gate.passes(ANI)]
    messages += [gate.at("2026-03-02T09:00:00").health()]
    take(store, *messages, units=(lobby, gate), at="2026-03-03T03:00:00")


@cache
def exported(people: int = 3) -> bytes:
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "events.db")) as store:
        fill(store, people)
        return write(store)


KEYS: KeySet = keys_of(LOBBY, GATE)


def check(content: bytes, keys: KeySet = KEYS) -> VerificationReport:
    verdict = verify_export(content.splitlines(keepends=True), keys)
    assert all(found.text for found in verdict.findings)
    return verdict


def faults(content: bytes) -> set[ChainDefect]:
    return {found.fault for found in check(content).findings}


def sealed(lines: list[bytes]) -> bytes:
    """Give lines the end that belongs to them, as somebody does who knows how."""
    body = b"".join(lines)
    digest = hashlib.sha256(body).hexdigest()
    return body + bundle.encode({"kind": "end", "lines": len(lines), "sha256": digest})


def body(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)[:-1]


def kinds(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["kind"] for line in lines]


def test_an_export_is_good_and_says_what_proves_it(place: Place) -> None:
    with closing(place.open()) as store:
        fill(store)
        content = write(store)
    verdict = check(content)
    assert verdict.findings == []
    assert kinds(body(content)) == [
        "senyum-export",
        *["event", "event", "head"],
        *["before", "event", "event", "event", "after"],
    ]
    gate, lobby = verdict.units
    assert (gate.events, gate.first, gate.last) == (2, 1, 2)
    assert gate.proven == "its word of 2026-03-02 09:00:00 UTC up to event 2"
    assert (lobby.events, lobby.first, lobby.last) == (3, 2, 4)
    assert lobby.proven == "event 5, which follows"


def test_a_day_without_events_is_good_too(place: Place) -> None:
    with closing(place.open()) as store:
        fill(store)
        content = write(store, date(2026, 5, 1))
    assert len(content.splitlines()) == 2
    assert check(content).good


# --- every byte --------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_byte_of_a_small_export_counts(mask: int) -> None:
    whole = small()
    assert check(whole).good
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= mask
        assert not check(bytes(altered)).good, f"byte {at} was altered and nothing was said"


@cache
def small() -> bytes:
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "events.db")) as store:
        gate = Door("gate-2")
        messages = [gate.at("2026-03-02T03:00:00").passes(), gate.health()]
        take(store, *messages, units=(gate,), at="2026-03-02T03:00:00")
        content = write(store)
    assert kinds(body(content)) == ["senyum-export", "event", "head"]
    return content


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 255))
def test_any_byte_of_a_larger_export_counts(at: int, value: int) -> None:
    whole = exported(40)
    altered = bytearray(whole)
    altered[at % len(whole)] = value
    assert check(bytes(altered)).good == (bytes(altered) == whole)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
@example(0)
def test_a_file_that_was_cut_anywhere_is_no_export(at: int) -> None:
    whole = exported(10)
    assert ChainDefect.CUT in faults(whole[: at % len(whole)])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_lines_that_were_cut_swapped_or_doubled(data: st.DataObject) -> None:
    """By somebody who makes a new last line: the signatures alone must say it."""
    lines = body(exported(10))
    events = [at for at, kind in enumerate(kinds(lines)) if kind in ("event", "before", "after")]
    how = data.draw(st.sampled_from(["cut", "swapped", "doubled"]))
    at = data.draw(st.sampled_from(events))
    if how == "cut":
        del lines[at]
        expected = {ChainDefect.MISSING, ChainDefect.UNPROVEN}
    elif how == "doubled":
        lines.insert(at, lines[at])
        expected = {ChainDefect.DOUBLED}
    else:
        other = data.draw(st.sampled_from([each for each in events if each != at]))
        lines[at], lines[other] = lines[other], lines[at]
        expected = {ChainDefect.ORDER, ChainDefect.MISSING, ChainDefect.UNPROVEN}
    assert faults(sealed(lines)) & expected


# --- with a new last line ----------------------------------------------------------------------


def changed(change: Callable[[list[bytes]], object]) -> VerificationReport:
    lines = body(exported())
    change(lines)
    return check(sealed(lines))


def the_only(verdict: VerificationReport) -> tuple[ChainDefect, str]:
    (found,) = verdict.findings
    return found.fault, found.text


def test_the_lines_as_they_were_with_a_new_last_line_are_good() -> None:
    assert changed(lambda _: None).good


def test_a_tail_that_was_cut_is_named_by_the_health() -> None:
    fault, text = the_only(changed(lambda lines: lines.pop(2)))
    assert fault is ChainDefect.MISSING
    word = "its own word of 2026-03-02 09:00:00 UTC names them"
    assert text == f"{GATE.name.source}: event 2 is missing: {word}"


def test_a_tail_that_was_cut_with_its_witness_is_not_proven() -> None:
    def cut(lines: list[bytes]) -> None:
        del lines[2:4]

    fault, text = the_only(changed(cut))
    assert fault is ChainDefect.UNPROVEN
    assert "nothing shows that event 1 is the last" in text


def test_a_missing_event_is_named_by_its_number() -> None:
    fault, text = the_only(changed(lambda lines: lines.pop(6)))
    assert (fault, text) == (ChainDefect.MISSING, f"{LOBBY.name.source}: event 3 is missing")


def relabelled(line: bytes, kind: str) -> bytes:
    return bundle.encode({**json.loads(line), "kind": kind})


def test_events_of_the_day_cannot_pass_for_the_day_before() -> None:
    def narrow(lines: list[bytes]) -> None:
        del lines[4]
        lines[4] = relabelled(lines[4], "before")

    fault, text = the_only(changed(narrow))
    assert fault is ChainDefect.MISSING
    assert "events before it were taken out" in text


def test_events_of_the_day_cannot_pass_for_the_day_after() -> None:
    def narrow(lines: list[bytes]) -> None:
        del lines[8]
        lines[7] = relabelled(lines[7], "after")

    fault, text = the_only(changed(narrow))
    assert fault is ChainDefect.MISSING
    assert "events after it were taken out" in text


def test_an_altered_event_is_named_by_its_line() -> None:
    def alter(lines: list[bytes]) -> None:
        line = json.loads(lines[5])
        header, payload, signature = line["jws"].split(".")
        payload = payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:]
        lines[5] = bundle.encode({**line, "jws": f"{header}.{payload}.{signature}"})

    verdict = changed(alter)
    found = verdict.findings[0]
    assert (found.fault, found.line) == (ChainDefect.ALTERED, 6)
    assert "altered or forged (bad-signature)" in found.text
    assert ChainDefect.MISSING in {each.fault for each in verdict.findings}


def test_a_fork_is_shown() -> None:
    def fork(lines: list[bytes]) -> None:
        rival = Door("gate-2")
        rival.at("2026-03-02T02:00:00").passes(ANI)
        message = rival.passes(BUDI)
        line = {**json.loads(lines[2]), "jws": message.payload.decode()}
        lines.insert(3, bundle.encode(line))

    verdict = changed(fork)
    texts = [found.text for found in verdict.findings if found.fault is ChainDefect.FORKED]
    assert f"{GATE.name.source}: 2 events have the number 2 (lines 3 and 4)" in texts
    assert f"{GATE.name.source}: event 2 does not follow event 1" in texts


def test_a_unit_whose_key_is_not_registered_is_refused_in_words() -> None:
    verdict = check(exported(), keys_of(GATE))
    assert {found.fault for found in verdict.findings} == {ChainDefect.REFUSED}
    assert "is not registered" in verdict.findings[0].text


def test_a_line_of_another_unit_says_whose_it_is() -> None:
    def move(lines: list[bytes]) -> None:
        line = json.loads(lines[1])
        lines[1] = bundle.encode({**line, "topic": LOBBY.name.topic("event")})  # type: ignore[arg-type]

    assert ChainDefect.ALTERED in {found.fault for found in changed(move).findings}


def test_units_that_were_mixed_are_out_of_order() -> None:
    def mix(lines: list[bytes]) -> None:
        lines.append(lines.pop(3))

    assert ChainDefect.ORDER in {found.fault for found in changed(mix).findings}


def test_an_event_of_a_newer_contract_is_a_link_of_the_chain() -> None:
    """It is signed, and what follows names it; what is in it nobody here knows."""
    with TemporaryDirectory() as folder, closing(Store(Path(folder) / "events.db")) as store:
        door = Door("gate-2")
        first = door.at("2026-03-02T03:00:00").passes()
        newer = later_of(door)
        last = door.passes(BUDI)
        messages = [first, newer, last, door.health()]
        take(store, *messages, units=(door,), at="2026-03-02T04:00:00")
        content = write(store)
    verdict = check(content)
    assert verdict.findings == []
    assert "newer than this program" in verdict.notes[0]


# --- the command -------------------------------------------------------------------------------


def test_the_command_says_it_and_ends_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys.json"
    for door in (LOBBY, GATE):
        add_registration(keys, signing_key(door.name.name).registration(door.name))
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(exported())
    bad.write_bytes(sealed([line for at, line in enumerate(body(exported())) if at != 6]))
    assert main(["verify", f"--keys={keys}", str(good)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith(
        "good: all as it was signed (5 events of 2 units, 2026-03-02 to 2026-03-02)"
    )
    assert main(["verify", f"--keys={keys}", str(good), str(bad)]) == 1
    out = capsys.readouterr().out
    assert f"{bad}:7: missing: {LOBBY.name.source}: event 3 is missing" in out.splitlines()
    assert main(["verify", f"--keys={keys}", "--json", str(bad)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["good"], found["faults"][0]["fault"]) == (False, "missing")
    assert main(["verify", f"--keys={keys}", str(tmp_path / "none")]) == 2


def test_a_file_of_something_else_is_no_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys.json"
    add_registration(keys, signing_key("gate-2").registration(GATE.name))
    path = tmp_path / "file"
    for content in (b"", b"\n", b"\xff" * 300_000, b"[]\n", b'{"kind":"end"}\n', b"{}" * 10):
        path.write_bytes(content)
        assert main(["verify", f"--keys={keys}", str(path)]) == 1
        out = capsys.readouterr().out
        assert "NOT GOOD" in out
        assert "nothing here is of an export" in out


def test_what_all_lines_have_alike_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, path = tmp_path / "keys.json", tmp_path / "day.jsonl"
    add_registration(keys, signing_key(GATE.name.name).registration(GATE.name))
    path.write_bytes(exported())
    assert main(["verify", f"--keys={keys}", str(path)]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "is not registered" in line]
    assert len(told) == 1
    assert " lines, up to line " in told[0]
