"""The fuzzer itself: finds what is wrong, gives the same again for a seed, passes the rest."""

import os
import random
import sys
from pathlib import Path

import pytest

from senyum_lab.fuzzing import __main__, files, guided, mutate, ordered, signed
from senyum_lab.fuzzing.__main__ import Tries
from senyum_lab.fuzzing.target import Target

GOOD = b'{"a": [1, {"b": "text"}], "c": null}'
JWS = b"eyJhbGciOiJFZDI1NTE5In0.eyJzZXF1ZW5jZSI6IjEifQ.c2lnbmF0dXJl"
WAYS = (mutate.by_bytes, mutate.by_json, mutate.by_jws, mutate.by_lines)


@pytest.mark.parametrize("way", WAYS)
def test_a_seed_gives_the_same_input_again(way: mutate.Way) -> None:
    def made() -> list[bytes]:
        return [way(random.Random(number), JWS, [GOOD, JWS]) for number in range(300)]

    first = made()
    assert made() == first
    assert len(set(first)) > 100
    assert max(map(len, first)) <= 2 * mutate.LARGEST


def broken(content: bytes) -> bool:
    if b"!" in content:
        raise KeyError("!")
    return True


def test_crashes_and_what_is_accepted_are_faults_that_can_be_had_again(tmp_path: Path) -> None:
    target = Target("broken", 1.0, [GOOD], (mutate.by_bytes,), broken)
    tries = Tries(1, tmp_path / "kept")
    tries.judge(target, GOOD, "")
    assert not tries.faults
    tries.judge(target, b"!", "again")
    tries.judge(target, b"y", "again")
    assert ["KeyError" in fault for fault in tries.faults] == [True, False]
    assert {kept.read_bytes() for kept in (tmp_path / "kept").iterdir()} == {b"!", b"y"}
    tries.one(target, 7)
    again = Tries(1, tmp_path / "again")
    again.one(target, 7)
    assert tries.faults[2:] == again.faults


def test_every_reader_takes_what_is_good_and_a_few_tries(tmp_path: Path) -> None:
    targets = [*signed.targets(tmp_path), *ordered.targets(tmp_path), *files.targets(tmp_path)]
    tries = Tries(3, tmp_path / "kept")
    for target in targets:
        for good in target.good:
            tries.judge(target, good, "good")
        for number in range(30):
            tries.one(target, number)
    assert tries.faults == []
    accepts = {t.name for t in targets if t.strict and all(t.read(good) for good in t.good)}
    assert {"message", "roster", "command", "roster manifest"} <= accepts


def test_guided_tries_are_counted_or_it_is_said_what_they_need(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    command = ["fuzz", "--guided", "1", "--only", "topic", "--keep", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    if guided.available():
        assert __main__.main() == 0
        assert "guided tries in 1 s, 0 faults" in capfd.readouterr().out
    else:
        with pytest.raises(SystemExit):
            __main__.main()
        assert "pip install 'atheris" in capfd.readouterr().err
