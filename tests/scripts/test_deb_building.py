import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from deb_building import RELEASES, REPOSITORY, Target, commit_seconds, pages
from deb_building.tree import PACKAGES
from deb_building.wheels import LOCK, locked, needed

from edge.cli import COMMANDS
from edge.settings import load_settings

PI = Target(RELEASES["bookworm"], "arm64")
PI_13 = Target(RELEASES["trixie"], "arm64")


def test_each_release_takes_its_own_lines_of_the_lock() -> None:
    older, newer = (locked(LOCK.read_text(), target) for target in (PI, PI_13))
    assert "tflite-runtime" in older
    assert "tflite-runtime" not in newer
    assert "ai-edge-litert" in newer
    assert older["numpy"].startswith("numpy==1.")
    assert newer["numpy"].startswith("numpy==2.")
    for line in (*older.values(), *newer.values()):
        assert "--hash=sha256:" in line
        assert ";" not in line


def test_only_what_the_unit_asks_for_is_packed() -> None:
    requires = {
        "a": ["b>=1", "windows-only; sys_platform == 'win32'", "more; extra == 'more'"],
        "b": ["setuptools", "new; python_version >= '3.12'"],
        "new": [],
    }
    assert needed(["A"], requires, PI) == {"a", "b"}
    assert needed(["A"], requires, PI_13) == {"a", "b", "new"}


def test_without_git_the_changelog_dates_the_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_seconds() == int((REPOSITORY / "CHANGELOG.md").stat().st_mtime)


def test_the_example_is_settings_of_a_unit() -> None:
    settings = load_settings(REPOSITORY / "packaging/senyum.toml")
    assert settings.unit.source == "urn:senyum:depok:balaikota:lobby-1"


def test_the_package_imports_no_module_that_it_lacks() -> None:
    """The commands of the device, without the server and the rest of the laboratory."""
    missing = "senyum_central senyum_lab.attacks senyum_lab.demo senyum_lab.fuzzing"
    missing += " senyum_lab.soak senyum_lab.training sqlalchemy psycopg"
    modules = [m for m in COMMANDS.values() if not m.startswith("senyum_central")]
    modules.remove("senyum_lab.cli.simulate")
    program = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({missing.split()!r}))
for module in {modules!r}:
    importlib.import_module(module)
from senyum_lab.bench import daemon, delivery, drain, pipeline, search
from senyum_lab.evaluate import groups, identity, liveness, search, smile
import edge.daemon, edge.appliance.doctor.checks, edge.appliance.provision.boot
import edge.appliance.update.selftest, edge.appliance.update.postinst
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
    packed = {name.split("/")[1] for name in PACKAGES if "/" in name}
    every = {path.name for path in (REPOSITORY / "senyum_lab").iterdir() if path.is_dir()}
    left_out = {name.split(".")[1] for name in missing.split() if "senyum_lab." in name}
    assert left_out <= every - packed


def test_the_manual_names_every_command() -> None:
    text = gzip.decompress(pages.manual("0.1.0", "1 Nov 2026")).decode()
    for command in ("enroll", "run", "keys", "bench"):
        assert f"\n.SS {command}\n" in text
    assert "\n.B \\-\\-people CSV\n" in text
    for command in ("receive", "admin", "clock\\-watch"):
        assert f"\n.SS {command}\n" not in text
    assert text == gzip.decompress(pages.manual("0.1.0", "1 Nov 2026")).decode()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [(["senyum", "pro"], "provision"), (["senyum", "enroll", "--peo"], "--people")],
)
def test_the_shell_completes(typed: list[str], expected: str) -> None:
    words = " ".join(typed)
    script = f"{pages.completion()}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _senyum\n"
    done = subprocess.run(
        ["bash", "-c", script + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [expected]


@pytest.mark.parametrize(
    "script", sorted((REPOSITORY / "packaging/debian").glob("p*")), ids=lambda p: p.name
)
def test_the_maintainer_scripts_are_shell(script: object) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)
