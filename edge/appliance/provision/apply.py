"""Provisions a unit: applies a claim completely or not at all."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from edge.appliance.provision import current_config
from edge.appliance.provision.atomic_apply import AtomicApply
from edge.appliance.provision.claim import Documents
from edge.appliance.provision.plan import ProvisioningPlan, ProvisioningTarget, prepare
from edge.errors import ProvisionError

REQUEST = "senyum-request.csr"  # next to the receipt on the boot partition

_WIPED = (
    "The claim was overwritten and removed. Flash may keep copies that no program can reach;",
    "change the broker's password if this card leaves your hands.",
)
_INSTALL = (
    "if the broker requires one, install it with a claim of one line,",
    'certificate = "FILE", or with senyum provision --certificate FILE.',
)


@dataclass(frozen=True, slots=True)
class AppliedChanges:
    """The result of `provision`."""

    plan: ProvisioningPlan
    changed: tuple[Path, ...]

    @property
    def sentence(self) -> str:
        """One line for the journal and the terminal."""
        unit = self.plan.unit.source
        if self.plan.moved_from is not None:
            return f"moved from {self.plan.moved_from.source} to {unit}"
        return f"is now {unit}" if self.changed else f"is {unit} already; nothing changed"


def provision(documents: Documents, machine: ProvisioningTarget) -> AppliedChanges:
    """Check the claim completely, then write all files or none. Raises SenyumError."""
    changes = AtomicApply(machine.config.parent)
    changes.finish()
    plan = prepare(documents, machine)
    state = plan.settings.outbox.file.parent
    if plan.files:
        _make_folders(machine, state)
        changes.apply(plan.files)
    return AppliedChanges(plan, tuple(file.path for file in plan.files))


def receipt(done: AppliedChanges, folder: Path | None = None) -> str:
    """Return the receipt for the operator; it contains no secrets.

    `folder` contains the certificate request; None: it is next to the receipt.
    """
    plan = done.plan
    place, broker = plan.settings.unit.place, plan.settings.broker
    request = REQUEST if folder is None else folder / current_config.REQUEST
    keys = json.dumps({"keys": [plan.registration, plan.recipient]}, indent=2)
    where = f"{place.latitude}, {place.longitude} ({place.zone})"
    lines = [
        f"This unit {done.sentence}.",
        f"It is located at {where} and reports to {broker.host}:{broker.port}.",
        "",
    ]
    if plan.remarks:
        lines += ["Note:", *plan.remarks, ""]
    if folder is None:
        lines += [*_WIPED, ""]
    if broker.tls and broker.certificate is None:
        lines += [f"{request} is a certificate request. Get a certificate for it;", *_INSTALL, ""]
    lines += ["For the server's keys.json:", keys, ""]
    return "\n".join(lines)


def _make_folders(machine: ProvisioningTarget, state: Path) -> None:
    try:
        if not machine.config.parent.exists():
            machine.config.parent.mkdir(parents=True)
            machine.config.parent.chmod(0o755)  # readable by the daemon, whatever the umask
        if not state.exists():
            state.mkdir(parents=True, mode=0o700)
            if machine.owner.uid != os.geteuid():
                os.chown(state, machine.owner.uid, machine.owner.gid)
    except OSError as error:
        raise ProvisionError(f"{error.filename}: cannot be created: {error.strerror}") from None
