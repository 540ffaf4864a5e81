"""The fuzzer: finds seeded faults, repeats them for a seed, accepts the rest."""

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from senyum_lab.fuzzing import __main__, files, guided, mutate, ordered, signed
from senyum_lab.fuzzing.__main__ import FuzzRun
from senyum_lab.fuzzing.mutate import Target

GOOD = b'{"a": [1, {"b": "text"}], "c": null}'
JWS = b"eyJhbGciOiJFZDI1NTE5In0.eyJzZXF1ZW5jZSI6IjEifQ.c2lnbmF0dXJl"
WAYS = (mutate.by_bytes, mutate.by_json, mutate.by_jws, mutate.by_lines)


@pytest.mark.parametrize("way", WAYS)
def test_a_seed_gives_the_same_input_again(way: mutate.Mutation) -> None:
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


def test_crashes_and_accepted_input_are_faults_that_can_be_repeated(tmp_path: Path) -> None:
    target = Target("broken", 1.0, [GOOD], (mutate.by_bytes,), broken)
    tries = FuzzRun(1, tmp_path / "kept")
    tries.check(target, GOOD, "")
    assert not tries.faults
    tries.check(target, b"!", "again")
    tries.check(target, b"y", "again")
    assert ["KeyError" in fault for fault in tries.faults] == [True, False]
    assert {kept.read_bytes() for kept in (tmp_path / "kept").iterdir()} == {b"!", b"y"}
    tries.try_number(target, 7)
    again = FuzzRun(1, tmp_path / "again")
    again.try_number(target, 7)
    assert tries.faults[2:] == again.faults


def deep_json(content: bytes) -> bool:
    if content.count(b"[") > 1000:
        raise RecursionError("too deep")
    return False


def padded_signature(content: bytes) -> bool:
    return content.endswith(b"=")


def repeated_line(content: bytes) -> bool:
    lines = [line for line in content.split(b"\n") if line]
    assert len(lines) == len(set(lines))
    return False


@pytest.mark.parametrize(
    ("good", "mutation", "read"),
    [
        (GOOD, mutate.by_bytes, broken),
        (GOOD, mutate.by_json, deep_json),
        (JWS, mutate.by_jws, padded_signature),
        (b"a = 1\nb = 2\n", mutate.by_lines, repeated_line),
    ],
)
def test_seeded_faults_are_found(
    tmp_path: Path, good: bytes, mutation: mutate.Mutation, read: Callable[[bytes], bool]
) -> None:
    run = FuzzRun(1, tmp_path)
    target = Target("seeded", 1.0, [good], (mutation,), read)
    for number in range(300):
        run.try_number(target, number)
    assert run.faults


def test_every_reader_accepts_valid_input_and_survives_a_few_tries(tmp_path: Path) -> None:
    targets = [*signed.targets(tmp_path), *ordered.targets(tmp_path), *files.targets(tmp_path)]
    tries = FuzzRun(3, tmp_path / "kept")
    for target in targets:
        for good in target.good:
            tries.check(target, good, "good")
        for number in range(30):
            tries.try_number(target, number)
    assert tries.faults == []
    accepts = {t.name for t in targets if t.strict and all(t.read(good) for good in t.good)}
    assert {"message", "roster", "command", "roster manifest"} <= accepts


def test_guided_tries_are_counted_or_the_missing_package_is_named(
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
