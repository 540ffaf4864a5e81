"""What the scripts install: nothing without a digest."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_named_by_its_digests(lock: Path) -> None:
    entries = re.sub(r"\\\n\s*", " ", lock.read_text(encoding="utf-8")).splitlines()
    packages = [entry for entry in entries if entry and not entry.startswith(("#", "-r "))]
    assert packages
    for entry in packages:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_scripts_insist_on_the_digests() -> None:
    setup = (ROOT / "scripts" / "lib" / "setup.sh").read_text(encoding="utf-8")
    assert re.search(r"install .*--require-hashes --no-deps -r", setup)
