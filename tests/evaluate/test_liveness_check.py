"""The command from end to end, with the shipped models on the portraits."""

import io
import json
import os
import re
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from edge.capture.exposure import CameraController
from edge.capture.replay import NoWaitClock, ReplayCamera
from edge.cli import main
from edge.errors import UsageError
from edge.inference.models import Models, liveness_rules
from edge.inference.pipeline import Pipeline
from edge.settings import CameraSettings, Settings
from edge.status.status_file import NAME, DaemonStatus, StatusFile
from edge.system.boot_id import boot_id
from senyum_lab.attacks.paper import printed
from senyum_lab.evaluate.guided_session import GuidedSession, KeptFrames, SessionFile, Step, plan
from senyum_lab.evaluate.presentations import Presentation
from senyum_lab.evaluate.recordings import EmptyGallery

FACES = Path(__file__).parent.parent / "faces"
FRAMES = 16


def recording(folder: Path, picture: Image.Image) -> str:
    """Make a folder that shows a picture for some frames."""
    folder.mkdir()
    picture.save(folder / "0.png")
    for n in range(1, FRAMES):
        (folder / f"{n}.png").symlink_to("0.png")
    return folder.name


def portrait(name: str) -> Image.Image:
    """Return a photo cut to a square, so that the face is large enough to be judged."""
    with Image.open(FACES / f"{name}.jpg") as image:
        return image.convert("RGB").crop((0, 0, image.width, image.width))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "senyum.toml"
    file.write_text(
        f"""[camera]
main_width = 640
main_height = 480
driver = "replay"
replay = "{tmp_path / "scene"}"
replay_loop = true
[gpio]
factory = "mock"
"""
    )
    recording(tmp_path / "scene", portrait("obama2"))
    return file


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    lines = ["file,live,kind,person"]
    for name in ("obama2", "biden", "astronaut"):
        lines.append(f"{recording(folder / name, portrait(name))},1,,{name}")
        paper = printed(portrait(name).resize((400, 400)), Random(1))
        lines.append(f"{recording(folder / f'{name}-print', paper)},0,print,{name}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def check(*words: object) -> int:
    return main(["liveness-check", *map(str, words)])


def test_recordings_of_three_people_are_too_few(
    recordings: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = recordings / "labels.csv"
    (recordings / "torn.mp4").write_bytes(b"no video")
    labels.write_text(labels.read_text() + "\ntorn.mp4,0,print,x\ngone.mp4,0,print,y\n")
    report = tmp_path / "report"
    words = ("--recordings", recordings, "--report", report, "--config", config)
    assert check(*words, "--note", "lamp on") == 1
    shown = capsys.readouterr().out
    assert "The sample is too small to claim anything" in shown
    assert "No threshold is proposed" in shown
    assert "[liveness]" not in shown
    assert "left out: 1 listed file, not there" in shown
    assert "torn.mp4" in shown
    living = next(line for line in shown.splitlines() if line.startswith("BPCER"))
    assert living.split()[3:5] == ["3", "3"]  # people, presented
    assert "lamp on" in (report / "report.html").read_text()
    assert (report / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert {path.name for path in report.iterdir()} == {"report.html", "report.pdf"}


def listed(recordings: Path, config: Path, *lines: str) -> int:
    (recordings / "labels.csv").write_text("\n".join(("file,live,kind,person", *lines)))
    report = recordings.parent / "report"
    return check("--recordings", recordings, "--report", report, "--config", config)


def test_one_class_or_no_faces_is_one_line_and_2(
    recordings: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(recordings, config, "biden,1,,b") == 2
    assert "no usable line has live 0" in capsys.readouterr().err
    assert listed(recordings, config, "biden,1,,b", "gone,0,print,b") == 2
    assert "no usable line has live 0" in capsys.readouterr().err
    recording(recordings / "wall", Image.new("RGB", (64, 48), "grey"))
    assert listed(recordings, config, "biden,1,,b", "wall,0,print,b") == 2
    assert "no attack could be judged (2 presented)" in capsys.readouterr().err
    assert listed(recordings, config, "biden,1,,b", "wall,0,living,b") == 2
    assert "line 3: an attack has the kind living" in capsys.readouterr().err


def test_one_person_gets_rates_and_no_threshold(
    recordings: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(recordings, config, "obama2,1,,b", "obama2-print,0,print,b") == 1
    shown = capsys.readouterr().out
    assert "No threshold is proposed: it must be chosen on some people" in shown
    assert "chosen on the other people\n" not in shown


def test_a_session_with_the_camera_is_continued_and_kept(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report, keep = tmp_path / "report", tmp_path / "keep"
    words = ["--people", 1, "--kinds", "print", "--seconds", 0.5, "--runtime", tmp_path]
    words += ["--config", config, "--report", report]
    monkeypatch.setattr("sys.stdin", io.StringIO("\nq\n"))
    assert check(*words, "--keep", keep) == 2  # one class so far
    output = capsys.readouterr()
    assert "could be judged (1 presented)" in output.err
    assert "these are personal data. Delete" in output.out
    assert keep.stat().st_mode & 0o777 == 0o700
    assert (keep / "labels.csv").read_text().splitlines()[1:] == ["001-living-1,1,,1"]
    assert any((keep / "001-living-1").iterdir())

    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert check(*words) in (1, 2)  # a busy machine judges too few frames
    shown = capsys.readouterr().out
    assert "Continuing: 1 of 2 presentations are done." in shown
    assert "2 of 2: printed photo of person 1" in shown
    assert "1 of 2: person" not in shown
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert check(*words, "--repeat", "living:1") == 2
    assert "1 of 2: person 1, in person" in capsys.readouterr().out
    assert check(*words, "--repeat", "tablet") == 2
    assert "no such presentation" in capsys.readouterr().err
    assert check(*words, "--keep", keep) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_camera_of_a_running_daemon_is_left_alone(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = DaemonStatus(
        sentence="", source="", software="", pid=os.getpid(), boot_id=boot_id(), started_ns=0
    )
    StatusFile({"RUNTIME_DIRECTORY": str(tmp_path)}).write(status)
    assert (tmp_path / NAME).exists()
    words = ("--runtime", tmp_path, "--config", config, "--report", tmp_path / "report")
    assert check(*words) == 2
    assert "systemctl stop senyum senyum-fault" in capsys.readouterr().err


# The bar marks the end of a line.
SESSION = """\
Enter: start, r: repeat the previous one, s: skip this one, q: finish and report

1 of 3: person 1, in person
> Hold still for 1 s … done: judged N of 15 frames.

2 of 3: printed photo of person 1
> |
1 of 3: person 1, in person
> Hold still for 1 s … done: judged N of 15 frames.

2 of 3: printed photo of person 1
> |
3 of 3: mask of person 1
> Hold still for 1 s … done: judged N of 15 frames.
""".replace("|", "")


def guided(tmp_path: Path, *, loop: bool = True) -> GuidedSession:
    if not (tmp_path / "scene").exists():
        recording(tmp_path / "scene", portrait("obama2"))
    camera = CameraSettings(
        main_width=640,
        main_height=480,
        driver="replay",
        replay=tmp_path / "scene",
        replay_loop=loop,
    )
    return GuidedSession(
        ReplayCamera(camera, NoWaitClock()),
        Pipeline(Settings().inference, EmptyGallery()),
        CameraController(camera),
        liveness_rules(Settings()),
        panel=None,
        kept=KeptFrames(tmp_path / "kept"),
        seconds=1.0,
    )


def test_the_terminal_says_what_to_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\nr\n\ns\n\n"))
    steps, results = plan(1, ("print", "mask")), dict[Step, Presentation]()
    session = guided(tmp_path)
    file = SessionFile(tmp_path / "presentations.json", Models().digests())
    session.run(steps, results, file)
    shown = re.sub(r"judged \d+ of", "judged N of", capsys.readouterr().out)
    assert shown == SESSION
    assert [one.kind for one in results.values()] == ["living", "mask"]
    assert session.repeated == 1
    assert {step: one.to_json() for step, one in file.load().items()} == {
        step: one.to_json() for step, one in results.items()
    }
    kept = (tmp_path / "kept" / "labels.csv").read_text().splitlines()
    assert kept[1:] == ["002-living-1,1,,1", "003-mask-1,0,mask,1"]


def test_a_presentation_that_the_camera_cuts_short_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n"))
    results = dict[Step, Presentation]()
    file = SessionFile(tmp_path / "presentations.json", {})
    (tmp_path / "scene").mkdir()
    portrait("obama2").save(tmp_path / "scene" / "0.png")
    guided(tmp_path, loop=False).run(plan(1, ("print",)), results, file)
    assert "Not counted, the camera failed" in capsys.readouterr().out
    assert not results


@pytest.mark.parametrize("content", ["{}", "[]", "x", '{"models": {}, "presentations": [{}]}'])
def test_a_file_that_is_not_a_session_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "presentations.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="remove it"):
        SessionFile(file, {}).load()
    file.write_text(json.dumps({"models": {"liveness": "0"}, "presentations": []}))
    with pytest.raises(UsageError, match="other models"):
        SessionFile(file, {}).load()
