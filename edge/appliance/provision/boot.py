"""Takes the claim on the boot partition, and reports files there that look like one.

Only a claim that was applied is wiped. Everything else stays, and is reported in
`senyum-error.txt` beside it, in the journal and by `senyum doctor`.
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

# Of Raspberry Pi OS since Bookworm, and before.
BOOT = (Path("/boot/firmware"), Path("/boot"))
RECEIPT, COMPLAINT = "senyum-receipt.txt", "senyum-error.txt"
WIPING = "provision.wiping"  # beside the settings: the claim that is being wiped
_DOCUMENTS = (".pem", ".crt", ".cer", ".csr", ".key", ".json")  # that a claim may name
_MOST = 3  # files named in one message


def at_boot(machine: ProvisioningTarget, folders: Sequence[Path] = BOOT) -> AppliedChanges | None:
    """Finish what was begun, and take the claim that lies in the first folder that has one.

    The claim is wiped and a receipt, with the request for a certificate, left in its place. What
    is wrong with a claim, or with the name of a file that looks like one, is written beside it,
    for whoever put the card in. Returns None without a claim. Raises SenyumError.
    """
    settings = machine.config.parent
    AtomicApply(settings).finish()
    _finish_wiping(settings / WIPING)
    folder = next((each for each in folders if os.path.lexists(each / NAME)), None)
    if folder is None:
        if found := list(lookalikes(folders)):
            _leave(found[0].parent / COMPLAINT, f"{_rename(found)}\nNothing was changed.\n")
            raise ProvisionError(_rename(found))
        return None
    claim = folder / NAME
    try:
        documents = Documents.read(claim)
        done = provision(documents, machine)
    except SenyumError as error:
        _leave(folder / COMPLAINT, f"{error}\nNothing was changed.\n")
        raise
    _leave(folder / REQUEST, done.plan.request.decode())
    _leave(folder / RECEIPT, receipt(done))
    _begin_wiping(settings / WIPING, claim)
    wipe(claim, documents)
    (settings / WIPING).unlink(missing_ok=True)
    (folder / COMPLAINT).unlink(missing_ok=True)
    return done


def wipe(claim: Path, documents: Documents) -> None:
    """Overwrite a claim and remove it, if it is still the one that was read.

    Raises ProvisionError.
    """
    try:
        with open_regular(claim) as file:
            same = hashlib.sha256(file.read()).hexdigest() == documents.digest
        if same:
            overwrite(claim)
    except OSError as error:
        raise ProvisionError(
            f"{claim}: cannot be wiped: {error.strerror}; remove it, for it may hold a password"
        ) from None
    if not same:
        raise ProvisionError(
            f"{claim}: was changed while it was applied, so it is kept; apply it again"
        )


def lookalikes(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield files that somebody probably meant to be a claim and that are not called so.

    Such as `senyum-claim.toml.txt`, which Windows shows as `senyum-claim.toml`.
    """
    for folder in folders:
        try:
            paths = sorted(folder.iterdir())
        except OSError:  # there is no such folder
            continue
        for path in paths:
            if _resembles(path.name) and not _same(path, folder / NAME):
                yield path


def unapplied(folders: Sequence[Path]) -> list[str]:
    """Return a sentence for each file that is or looks like a claim and was not applied."""
    said = [
        f"{folder / NAME}: was not applied; {folder / COMPLAINT} says why"
        for folder in folders
        if os.path.lexists(folder / NAME)
    ]
    found = list(lookalikes(folders))
    return [*said, _rename(found)] if found else said


def _resembles(name: str) -> bool:
    """Whether a name has the words of NAME, whatever is between, before or after them."""
    if name == NAME or name.startswith("._"):  # macOS keeps what FAT cannot hold in `._NAME`
        return False
    plain = unicodedata.normalize("NFKC", name).casefold()
    words = re.sub(r"[^a-z]", "", plain)
    claims = "claim" in words or "klaim" in words or ("senyum" in words and "toml" in words)
    return claims and not plain.rstrip().endswith(_DOCUMENTS)


def _same(one: Path, other: Path) -> bool:
    """Whether both names are of one file, as on FAT, which ignores case."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _rename(found: Sequence[Path]) -> str:
    names = ", ".join(escaped(path) for path in found[:_MOST])
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return (
        f"{names}{more}: looks like a claim and is not read; rename it to {NAME} (Windows hides "
        'endings such as .txt: turn on "File name extensions"), or remove it'
    )


def _begin_wiping(mark: Path, claim: Path) -> None:
    """Note which claim was applied: if the power goes, its zeros are not a damaged claim."""
    try:
        replace_file(mark, os.fsencode(claim), mode=0o644)
    except OSError as error:
        raise ProvisionError(f"{mark}: cannot be written: {error.strerror}") from None


def _finish_wiping(mark: Path) -> None:
    """Remove the claim that was being wiped when the power went, if its wiping had begun."""
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
    """Whether a file begins with a sector of zeros; a shorter one is nothing but zeros."""
    with open_regular(path) as file:
        begin = file.read(512)
    return bool(begin) and not any(begin)


def _leave(path: Path, text: str) -> None:
    """Write a note on the boot partition; one that cannot be written stops nothing."""
    try:
        path.write_text(text, encoding="utf-8")
        sync_folder(path.parent)
    except OSError:
        return
