"""Files that have to be there and to fit each other: settings, claim, models, roster, keys."""

from collections.abc import Iterator

from edge.appliance.doctor.context import DiagnosticContext
from edge.appliance.doctor.model_selfcheck import differences
from edge.appliance.doctor.result import DiagnosticCode, DiagnosticResult, failed, ok, skipped
from edge.appliance.provision.boot import unapplied
from edge.contract.keys import SigningKey
from edge.errors import ErrorCode, ModelError, RosterError, SecretError
from edge.inference.models import Models
from edge.mqtt.credentials import ends_at, expiry, remarks
from edge.mqtt.tls import tls_context
from edge.roster.file import load as load_roster
from edge.roster.keys import read_key
from edge.system.privileges import run_as
from edge.system.text import pluralize

_RENEW = {
    ErrorCode.CERTIFICATE_EXPIRES: "have it renewed, then: senyum provision --certificate PEM",
    ErrorCode.AUTHORITY_EXPIRES: "add its successor's certificate to that file",
}
_MAKE = "senyum provision makes it; then register it with central: senyum keys"


def settings(patient: DiagnosticContext) -> DiagnosticResult:
    """Whether settings are used as they are written."""
    return ok("settings", "; ".join(patient.remarks) or "can be read")


def claim(patient: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Whether a claim on the boot partition was applied; nothing if there is none."""
    for sentence in unapplied(patient.boot):
        yield failed("claim", DiagnosticCode.CLAIM, sentence)


def models(patient: DiagnosticContext) -> DiagnosticResult:
    """Each network gives the outputs here that it gave where it was made."""
    try:
        found = differences(Models(patient.settings.inference.models))
    except ModelError as error:
        return failed("models", DiagnosticCode.MODEL, str(error))
    wrong = [name for name, same in found.items() if same is False]
    if wrong:
        do = "install Senyum again; if it stays so, the processor or its memory is broken"
        return failed(
            "models", DiagnosticCode.MODEL, f"other outputs than expected: {', '.join(wrong)}", do
        )
    unknown = [name for name, same in found.items() if same is None]
    if unknown:
        return skipped("models", f"nothing to hold against: {', '.join(unknown)}")
    return ok("models", f"{len(found)} networks give what is expected")


def roster(patient: DiagnosticContext) -> DiagnosticResult:
    """Whether somebody can be recognised."""
    settings = patient.settings.roster
    do = "senyum enroll, or have central send the roster"
    try:
        key = read_key(settings.key, "roster key")
        embedder = Models(patient.settings.inference.models).spec("identity").sha256
        with run_as(patient.owner):
            gallery = load_roster(settings.file, key, embedder)
    except (SecretError, RosterError) as error:
        return failed("roster", DiagnosticCode.ROSTER, str(error), do)
    if gallery.size == 0:
        return failed("roster", DiagnosticCode.ROSTER, "nobody is enrolled", do)
    return ok(
        "roster",
        f"{pluralize(gallery.size, 'person')}, version {gallery.version}",
        size=gallery.size,
    )


def signing_key(patient: DiagnosticContext) -> DiagnosticResult:
    """Whether events can be signed."""
    outbox = patient.settings.outbox
    with run_as(patient.owner):
        if not outbox.signing_key.exists():
            return failed(
                "signing key", DiagnosticCode.KEY, f"{outbox.signing_key}: is not there", _MAKE
            )
        try:
            key = SigningKey.load_or_create(outbox.signing_key, outbox.signing_algorithm)
        except SecretError as error:
            return failed("signing key", DiagnosticCode.KEY, str(error))
    return ok("signing key", f"{key.alg}, {key.kid}", kid=key.kid)


def certificates(patient: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Whether each broker's files can be used, and how long."""
    today = patient.today()
    for broker in patient.settings.broker.in_order:
        check = f"certificate of {broker.host}"
        if not broker.tls:
            yield skipped(check, "the connection is not encrypted", "set broker.tls = true")
            continue
        try:
            with run_as(patient.owner):
                tls_context(broker)
        except SecretError as error:
            yield failed(check, ErrorCode.CREDENTIALS, str(error))
            continue
        more = "".join(f"; {sentence}" for sentence in remarks(broker, today))
        ending = expiry(broker, today)
        if ending is not None:
            code, text = ending
            yield failed(check, code, text, _RENEW[code])
        elif broker.certificate is None:
            yield ok(check, f"none is used{more}")
        else:
            ends = ends_at(broker.certificate)
            text = "is used" if ends is None else f"good until {ends:%Y-%m-%d}"
            yield ok(check, text + more)
