"""Checks files and that they fit each other: settings, claim, models, roster, keys."""

from collections.abc import Iterator

from edge.appliance.doctor.diagnostics import (
    DiagnosticCode,
    DiagnosticContext,
    DiagnosticResult,
    failed,
    ok,
    skipped,
)
from edge.appliance.doctor.model_selfcheck import differences
from edge.appliance.provision.boot import unapplied
from edge.contract.keys import SigningKey
from edge.errors import ErrorCode, ModelError, RosterError, SecretError
from edge.inference.models import Models
from edge.mqtt.credentials import ends_at, expiry, remarks, tls_context
from edge.roster.file import load as load_roster
from edge.roster.keys import read_key
from edge.system.privileges import run_as
from edge.system.text import pluralize

_REMEDIES = {
    ErrorCode.CERTIFICATE_EXPIRES: "renew it, then: senyum provision --certificate PEM",
    ErrorCode.AUTHORITY_EXPIRES: "add the new CA's certificate to that file",
}
_CREATE = "senyum provision creates it; then register it with the server: senyum keys"


def check_settings(context: DiagnosticContext) -> DiagnosticResult:
    """Check that settings are used as they are written."""
    return ok("settings", "; ".join(context.remarks) or "valid")


def check_claim(context: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Report each claim on the boot partition that was not applied."""
    for sentence in unapplied(context.boot):
        yield failed("claim", DiagnosticCode.CLAIM, sentence)


def check_models(context: DiagnosticContext) -> DiagnosticResult:
    """Check that each model gives its reference outputs on this machine."""
    try:
        found = differences(Models(context.settings.inference.models))
    except ModelError as error:
        return failed("models", DiagnosticCode.MODEL, str(error))
    wrong = [name for name, same in found.items() if same is False]
    if wrong:
        remedy = "reinstall Senyum; if this remains, the processor or its memory is defective"
        text = f"unexpected outputs: {', '.join(wrong)}"
        return failed("models", DiagnosticCode.MODEL, text, remedy)
    unknown = [name for name, same in found.items() if same is None]
    if unknown:
        return skipped("models", f"no reference outputs: {', '.join(unknown)}")
    return ok("models", f"{len(found)} models give their reference outputs")


def check_roster(context: DiagnosticContext) -> DiagnosticResult:
    """Check that the roster is readable and not empty."""
    settings = context.settings.roster
    remedy = "run senyum enroll, or send the roster from the server"
    try:
        key = read_key(settings.key, "roster key")
        embedder = Models(context.settings.inference.models).spec("identity").sha256
        with run_as(context.owner):
            gallery = load_roster(settings.file, key, embedder)
    except (SecretError, RosterError) as error:
        return failed("roster", DiagnosticCode.ROSTER, str(error), remedy)
    if gallery.size == 0:
        return failed("roster", DiagnosticCode.ROSTER, "nobody is enrolled", remedy)
    return ok(
        "roster",
        f"{pluralize(gallery.size, 'person')}, version {gallery.version}",
        size=gallery.size,
    )


def check_signing_key(context: DiagnosticContext) -> DiagnosticResult:
    """Check that the signing key is usable."""
    outbox = context.settings.outbox
    with run_as(context.owner):
        if not outbox.signing_key.exists():
            return failed(
                "signing key", DiagnosticCode.KEY, f"{outbox.signing_key}: not found", _CREATE
            )
        try:
            key = SigningKey.load_or_create(outbox.signing_key, outbox.signing_algorithm)
        except SecretError as error:
            return failed("signing key", DiagnosticCode.KEY, str(error))
    return ok("signing key", f"{key.alg}, {key.kid}", kid=key.kid)


def check_certificates(context: DiagnosticContext) -> Iterator[DiagnosticResult]:
    """Check that each broker's certificate files are usable, and for how long."""
    now = context.now()
    for broker in context.settings.broker.in_order:
        check = f"certificate of {broker.host}"
        if not broker.tls:
            yield skipped(check, "the connection is not encrypted", "set broker.tls = true")
            continue
        try:
            with run_as(context.owner):
                tls_context(broker)
        except SecretError as error:
            yield failed(check, ErrorCode.CREDENTIALS, str(error))
            continue
        more = "".join(f"; {sentence}" for sentence in remarks(broker, now))
        ending = expiry(broker, now)
        if ending is not None:
            code, text = ending
            yield failed(check, code, text, _REMEDIES[code])
        elif broker.certificate is None:
            yield ok(check, f"no client certificate{more}")
        else:
            ends = ends_at(broker.certificate)
            text = "valid" if ends is None else f"valid until {ends:%Y-%m-%d}"
            yield ok(check, text + more)
