"""The questions, and what a wrong answer leads to."""

import tomllib
from pathlib import Path

import pytest
from desk import Desk, claim

from edge.appliance.provision.prompts import Terminal, interview
from edge.cli import main

ANSWERS = ["depok", "balaikota", "lobby-1", "in", "-6.3942", "106.823", "Asia/Jakarta"]
BROKER_ANSWERS = ["broker.example.go.id", "yes", "", "", "lobby-1"]


class Scripted(Terminal):
    """Answers in turn and keeps what was said."""

    def __init__(self, answers: list[str]) -> None:
        self._answers = iter(answers)
        self.said: list[str] = []
        self.asked: list[str] = []

    def ask(self, question: str) -> str:
        self.asked.append(question)
        try:
            return next(self._answers)
        except StopIteration:
            raise EOFError from None

    def ask_secret(self, question: str) -> str:
        return "hush-hush"

    def say(self, line: str) -> None:
        self.said.append(line)


def test_answers_make_the_same_unit_as_a_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    scripted = Scripted(ANSWERS + BROKER_ANSWERS)
    desk.provision(interview(scripted, {}))
    assert scripted.said == []
    by_hand = desk.snapshot()["etc/senyum.toml"]
    desk.provision(claim())
    assert desk.snapshot()["etc/senyum.toml"] == by_hand


def test_a_wrong_answer_is_asked_again(tmp_path: Path) -> None:
    wrong = ["Kota Depok", "depok", "balaikota", "lobby-1", "up", "in", "96", "-6.3942", "106.823"]
    scripted = Scripted([*wrong, "Asia/Depok", "Asia/Jakarta", *BROKER_ANSWERS])
    answers = interview(scripted, {})
    assert answers["unit"]["place"]["latitude"] == -6.3942
    assert len(scripted.said) == 4
    assert "IANA" in scripted.said[-1]


def test_enter_keeps_what_the_unit_was_told_before(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.provision(claim(broker={"host": "b", "tls": False}))
    scripted = Scripted([""] * 12)
    answers = interview(scripted, tomllib.loads(desk.config.read_text()))
    assert desk.provision(answers).changed == ()
    assert "Latitude, degrees, north positive [-6.3942]: " in scripted.asked


def test_without_a_terminal_a_file_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path)
    assert main(["provision", "--config", str(desk.config)]) == 2
    assert "use --file CLAIM" in capsys.readouterr().err


def test_by_a_file_and_wiped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(tmp_path)
    file = desk.insert(claim())
    assert main(["provision", "--file", str(file), "--wipe", "--config", str(desk.config)]) == 0
    said = capsys.readouterr().out
    assert "This unit is now urn:senyum:depok:balaikota:lobby-1." in said
    assert "hush-hush" not in said
    assert not file.exists()
    arguments = ["provision", "--boot", "--boot-folder", str(desk.boot)]
    assert main([*arguments, "--config", str(desk.config)]) == 0
    assert "no claim" in capsys.readouterr().out
