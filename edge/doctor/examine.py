"""All checks, in the order in which a technician mends things."""

from collections.abc import Callable, Iterable, Iterator

from edge.doctor import machine, papers, sight, signs, wire
from edge.doctor.finding import Finding, bad
from edge.doctor.patient import Patient
from edge.errors import Trouble

Check = Callable[[Patient], Finding | Iterable[Finding]]

CHECKS: dict[str, Check] = {
    "settings": papers.settings,
    "claim": papers.claim,
    "power": machine.power,
    "temperature": machine.temperature,
    "clock": machine.clock,
    "disk": machine.disk,
    "disk wear": machine.wear,
    "memory limit": machine.memory,
    "daemon": machine.daemon,
    "camera": sight.camera,
    "light and sound": signs.signs,
    "models": papers.models,
    "roster": papers.roster,
    "signing key": papers.signing_key,
    "certificates": papers.certificates,
    "brokers": wire.brokers,
}


def examine(patient: Patient) -> Iterator[Finding]:
    """Yield findings as they come; a check that fails itself is a finding too."""
    for name, check in CHECKS.items():
        try:
            found = check(patient)
            yield from [found] if isinstance(found, Finding) else found
        except Exception as error:  # noqa: BLE001 - the other checks are still wanted
            yield bad(name, Trouble.INTERNAL, f"the check itself failed ({type(error).__name__})")
