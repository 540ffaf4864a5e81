"""Every error that Senyum raises on purpose.

Each message is one line: what was wrong, where, and what the reader can do about it.
`exit_status` is what `senyum` ends with: 2 for the caller's mistakes, 1 for everything else.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """What is wrong, in one word: `last_error` of `health`. The sentence for each is in the log."""

    CAMERA_LOST = "camera-lost"
    PINS_LOST = "pins-lost"
    ROSTER_MISSING = "roster-missing"  # nobody can be recognised until one is delivered
    # events cannot be stored
    DISK_FULL = "disk-full"
    OUTBOX_DAMAGED = "outbox-damaged"
    NOT_SIGNED = "not-signed"
    STORE_FAILED = "store-failed"  # otherwise
    # no connection
    UNREACHABLE = "broker-unreachable"  # no route, no listener, no such name
    SILENT = "broker-silent"  # takes the connection, or an event, and does not answer
    CLOSED = "broker-closed"  # ended the connection instead of answering
    LOST = "connection-lost"
    TLS_FAILED = "tls-failed"
    BROKER_CERTIFICATE = "broker-certificate-refused"  # by us
    CERTIFICATE_REFUSED = "certificate-refused"  # ours, by the broker
    CREDENTIALS = "credentials-unusable"  # a certificate, key or password file
    INTERNAL = "internal"
    # refused
    PROTOCOL = "protocol-refused"
    CLIENT_ID = "client-id-refused"
    PASSWORD = "password-refused"  # noqa: S105 - a code, not one
    NOT_AUTHORIZED = "not-authorized"
    BANNED = "banned"
    FEATURE = "feature-missing"  # retained messages or QoS 1
    REFUSED = "refused"
    BUSY = "broker-busy"
    STOPPING = "broker-stopping"
    MOVED = "broker-moved"
    TAKEN_OVER = "session-taken-over"
    # connected, but events wait
    NO_RECEIVER = "no-receiver"
    TOO_LARGE = "packet-too-large"
    QUOTA = "quota-exceeded"
    INVALID = "event-refused"
    # connected, and events go out
    NOT_LISTENING = "not-listening"  # the broker lets us hear no commands
    AUTHORITIES = "authorities-unusable"  # nobody new can give orders
    COMMANDS = "commands-unavailable"  # the file of obeyed commands cannot be opened
    # connected, and all is well for now
    CERTIFICATE_EXPIRES = "certificate-expires"
    AUTHORITY_EXPIRES = "authority-expires"
    UNDER_VOLTAGE = "under-voltage"
    TOO_HOT = "too-hot"


class SenyumError(Exception):
    """Something Senyum cannot go on with; the message is meant for a person."""

    exit_status = 1


class UsageError(SenyumError):
    """The caller can correct this: a setting, a file name or a photo."""

    exit_status = 2


class SettingsError(UsageError):
    """A setting is missing, unknown, or out of bounds."""


class SecretError(UsageError):
    """A key file is missing, readable by others, or not a key."""


class AlgorithmMissing(SenyumError):
    """The installed libraries lack an algorithm that signatures need."""


class CertificateError(UsageError):
    """A certificate, a request or an authority cannot be used, or would be overwritten."""


class ProvisionError(UsageError):
    """The unit cannot be set up so: what is there contradicts it, or cannot be written."""


class PeopleError(UsageError):
    """The list of people cannot be used: encoding, column, number, or a person twice."""


class PhotoError(UsageError):
    """A photo cannot be read as a picture."""


class LabelsError(UsageError):
    """A list of labelled files lacks a column, a file, or the variety that a figure needs."""


class RosterError(UsageError):
    """The roster is missing, was altered, was cut short, or belongs to another key."""


class ModelError(UsageError):
    """A model file is missing, or is not the one that the manifest names."""


class CameraError(SenyumError):
    """The camera cannot be opened, or went away."""


class CameraStalled(CameraError):
    """No frame came within the time allowed."""


class EndOfReplay(CameraError):
    """The replay has shown its last frame."""


class ReplayError(CameraError, UsageError):
    """What is to be replayed is missing, or cannot be read as pictures."""


class GpioError(UsageError):
    """A pin is not available: no such chip, in use by another program, or named twice."""


class PinBusyError(GpioError):
    """A pin is held by another program for now."""


class UpdateError(SenyumError):
    """An update cannot be done now; the version in force goes on."""


class UpdateRefused(UpdateError, UsageError):
    """A release that is not to be trusted, not for this machine, or does not work on it."""


class ClockError(SenyumError):
    """The kernel does not say whether the clock is right, or its answer cannot be passed on."""


class EnvelopeError(SenyumError):
    """A message is not a genuine event of the unit it claims to be from."""


class OutboxError(SenyumError):
    """An event could not be made durable."""

    trouble = ErrorCode.STORE_FAILED


class OutboxFull(OutboxError):
    """The disk has no room for another event; the events that are stored are safe."""

    trouble = ErrorCode.DISK_FULL


class OutboxDamaged(OutboxError):
    """The outbox file is damaged; the next start sets it aside and goes on in a new one."""

    trouble = ErrorCode.OUTBOX_DAMAGED


class OutboxUnusable(OutboxError, UsageError):
    """The outbox named is none, is taken, or does not belong to the signing key."""


class ReplayRefused(SenyumError):
    """The requested events are no longer kept, or too many were requested already."""


class LinkError(SenyumError):
    """The broker refused us, or cannot be reached."""


class LinkRefused(LinkError, UsageError):
    """The broker refuses the configured certificate, password or access."""


class StoreError(SenyumError):
    """The central store cannot be opened or written."""


class StoreUnavailable(StoreError):
    """The central store cannot answer for now: the same may work later. Nothing was written."""


class RowRejected(StoreError):
    """The central store works, and does not take these data; nothing was written."""


class StoreUnusable(StoreError, UsageError):
    """The path is not a store of this program, or not one that it may use."""
