"""Applies the claim on the boot partition, and reports files there that look like one.

Only an applied claim is wiped. Any other file stays, and is reported in `senyum-error.txt` next to
it, in the journal and by `senyum doctor`.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.appliance.provision.apply import REQUEST, AppliedChanges, provision, receipt
from edge.appliance.provision.atomic_apply import AtomicApply, overwrite
from edge.appliance.provision.claim import NAME, Documents
from edge.appliance.provision.plan import ProvisioningTarget
from edge.errors import ProvisionError, SenyumError
from edge.system.files import replace_file, sync_folder
from edge.system.supplied_files import open_regular
from edge.system.text import escaped

# On Raspberry Pi OS since Bookworm, and before.
BOOT = (Path("/boot/firmware"), Path("/boot"))
RECEIPT, ERROR_FILE = "senyum-receipt.txt", "senyum-error.txt"
WIPING = "provision.wiping"  # next to the settings; names the claim that is being wiped
_DOCUMENTS = (".pem", ".crt", ".cer", ".csr", ".key", ".json")  # files that a claim may name
_MAX_NAMED = 3  # files named in one message


def at_boot(machine: ProvisioningTarget, folders: Sequence[Path] = BOOT) -> AppliedChanges | None:
    """Complete an interrupted run, then apply the claim in the first folder that has one.

    Return None without a claim. The claim is wiped; a receipt and the certificate request are
    written instead. Problems of a claim, or of a file that looks like one, are written next to it
    for the technician. Raises SenyumError.
    """
    settings = machine.config.parent
    AtomicApply(settings).finish()
    _finish_wiping(settings / WIPING)
    folder = next((each for each in folders if os.path.lexists(each / NAME)), None)
    if folder is None:
        if found := list(lookalikes(folders)):
            _write_note(found[0].parent / ERROR_FILE, f"{_rename(found)}\nNothing was changed.\n")
            raise ProvisionError(_rename(found))
        return None
    claim = folder / NAME
    try:
        documents = Documents.read(claim)
        done = provision(documents, machine)
    except SenyumError as error:
        _write_note(folder / ERROR_FILE, f"{error}\nNothing was changed.\n")
        raise
    _write_note(folder / REQUEST, done.plan.request.decode())
    _write_note(folder / RECEIPT, receipt(done))
    _begin_wiping(settings / WIPING, claim)
    wipe(claim, documents)
    (settings / WIPING).unlink(missing_ok=True)
    (folder / ERROR_FILE).unlink(missing_ok=True)
    return done


def wipe(claim: Path, documents: Documents) -> None:
    """Overwrite and remove a claim, if it is still the one that was read.

    Raises ProvisionError.
    """
    try:
        with open_regular(claim) as file:
            same = hashlib.sha256(file.read()).hexdigest() == documents.digest
        if same:
            overwrite(claim)
    except OSError as error:
        raise ProvisionError(
            f"{claim}: cannot be wiped: {error.strerror}; remove it; it may contain a password"
        ) from None
    if not same:
        raise ProvisionError(
            f"{claim}: was changed while it was applied, and was not wiped; apply it again"
        )


def lookalikes(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield files that are probably meant as a claim but have another name.

    Such as `senyum-claim.toml.txt`, which Windows shows as `senyum-claim.toml`.
    """
    for folder in folders:
        try:
            paths = sorted(folder.iterdir())
        except OSError:  # the folder does not exist
            continue
        for path in paths:
            if _resembles(path.name) and not _same(path, folder / NAME):
                yield path


def unapplied(folders: Sequence[Path]) -> list[str]:
    """Return a sentence for each file that is or looks like a claim and was not applied."""
    sentences = [
        f"{folder / NAME}: was not applied; see {folder / ERROR_FILE}"
        for folder in folders
        if os.path.lexists(folder / NAME)
    ]
    found = list(lookalikes(folders))
    return [*sentences, _rename(found)] if found else sentences


def _resembles(name: str) -> bool:
    """Whether a name contains the words of NAME, with anything between, before or after them."""
    if name == NAME or name.startswith("._"):  # macOS stores metadata in `._NAME` on FAT
        return False
    plain = unicodedata.normalize("NFKC", name).casefold()
    words = re.sub(r"[^a-z]", "", plain)
    claims = "claim" in words or "klaim" in words or ("senyum" in words and "toml" in words)
    return claims and not plain.rstrip().endswith(_DOCUMENTS)


def _same(one: Path, other: Path) -> bool:
    """Whether both names are the same file, as on FAT, which ignores case."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _rename(found: Sequence[Path]) -> str:
    names = ", ".join(escaped(path) for path in found[:_MAX_NAMED])
    more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    return (
        f"{names}{more}: looks like a claim but is not read; rename it to {NAME} (Windows hides "
        'endings such as .txt: turn on "File name extensions"), or remove it'
    )


def _begin_wiping(mark: Path, claim: Path) -> None:
    """Record which claim is being wiped, so that zeros after a power loss are not an error."""
    try:
        replace_file(mark, os.fsencode(claim), mode=0o644)
    except OSError as error:
        raise ProvisionError(f"{mark}: cannot be written: {error.strerror}") from None


def _finish_wiping(mark: Path) -> None:
    """Remove the claim whose wiping was interrupted by a power loss."""
    try:
        if not mark.exists():
            return
        claim = Path(os.fsdecode(mark.read_bytes()))
        if claim.is_file() and _zeros(claim):
            overwrite(claim)
        mark.unlink()
        sync_folder(mark.parent)
    except OSError as error:
        raise ProvisionError(f"{error.filename}: cannot be wiped: {error.strerror}") from None


def _zeros(path: Path) -> bool:
    """Whether the first 512 bytes of a file are zeros."""
    with open_regular(path) as file:
        begin = file.read(512)
    return bool(begin) and not any(begin)


def _write_note(path: Path, text: str) -> None:
    """Write a note on the boot partition; ignore errors."""
    try:
        path.write_text(text, encoding="utf-8")
        sync_folder(path.parent)
    except OSError:
        return
