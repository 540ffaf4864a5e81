"""What the fields mean, for somebody who never reads our Python.

By class and field; a field may stand under the class that it is inherited from. A field whose model
has a description of its own needs none here.
"""

from typing import Final

FIELDS: Final[dict[str, dict[str, str]]] = {
    "CloudEvent": {
        "specversion": "Version of CloudEvents.",
        "id": "UUIDv7, in lower case. The idempotency key: store an id once.",
        "source": "URN of the unit that signed. The topic names the same unit.",
        "time": (
            "When it happened, UTC, RFC 3339 with six decimals. For an attempt, the exposure of "
            "the picture that decided. What it is worth says data.clock.state."
        ),
        "datacontenttype": "Media type of data.",
    },
    "ChainedEvent": {
        "sequence": (
            "Number of the event in the unit's chain, from 1, never used twice. Zero-padded to 20 "
            "digits, so that it sorts as text."
        ),
        "previous": (
            "SHA-256, base64url without padding, of the unit's event before this one as it was "
            "sent: of the ASCII bytes of its compact JWS. Absent exactly in event 1. A reader "
            "takes null for absent; a unit never writes it."
        ),
    },
    "AttendanceEvent": {
        "type": "Whether the attempt was recorded or refused; the same as data.outcome.",
        "subject": (
            "Opaque id of the person: 128 bits of an HMAC-SHA-256 of the person number under a "
            "key that lives only where people are enrolled. Absent for an unknown person. A "
            "reader takes null for absent; a unit never writes it."
        ),
        "data": "What the person needs to appeal.",
    },
    "AuditEvent": {"type": "Type of the event.", "data": "What happened to the unit."},
    "StateEvent": {"type": "Type of the message.", "data": "The session and what runs in it."},
    "HealthEvent": {"type": "Type of the message.", "data": "How the unit is."},
    "_Versions": {
        "software": "Version of the unit's program.",
        "models": "The networks that decided: name to SHA-256 of the file, hexadecimal.",
        "roster": (
            "SHA-256 of the content of the roster in force, hexadecimal, as `digest` of its "
            "manifest; null where none is loaded."
        ),
    },
    "AttendanceData": {
        "outcome": "How the attempt ended.",
        "reason": "Why it ended so: `accepted` exactly where outcome is `recorded`.",
        "direction": "Which way people pass this unit, as it is set up.",
        "smile": (
            "Smile score, 0 to 100, cut to one decimal. Null where no smile was asked: for exempt "
            "people as for a unit that asks nobody, so that nobody can tell the two apart."
        ),
        "match": (
            "The nearest person in the roster, near enough or not; null where nobody was compared."
        ),
        "liveness": "Whether it was judged that a living person stood there.",
        "thresholds": "Every limit that was in force.",
        "place": "Where the unit hangs.",
        "clock": "The clock at the instant of `time`.",
    },
    "AuditData": {
        "code": "What happened.",
        "detail": (
            "More about it, by name. Nothing about people, but the opaque id of who was erased."
        ),
        "place": "Where the unit hangs.",
        "clock": "The clock at the instant of `time`.",
    },
    "_Position": {
        "session": "Counts the starts of the unit's outbox, from 1.",
        "sequence": "Number of the unit's newest event; 0 where there is none yet.",
        "head": (
            "Digest of that event, as the next one's `previous` will have it; null exactly where "
            "there is none yet. Shows a cut-off tail."
        ),
    },
    "StateData": {
        "status": (
            "Whether the unit is there. A signed `offline` is an orderly end; after a loss the "
            "broker sends the unsigned Last Will instead."
        ),
        "clock": "The clock at the instant of `time`.",
    },
    "HealthData": {
        "outbox_depth": "Events that no broker has acknowledged yet.",
        "temperature_c": "Temperature of the processor, degrees Celsius; null where unknown.",
        "disk_free_bytes": "Free bytes where events are kept; null where unknown.",
        "frame_rate": "Pictures judged a second; null where unknown.",
        "last_error": (
            "What is wrong now, or what ended the last connection, told once; null where nothing "
            "is. A word of the list in docs/link.md, which may grow: take another for something "
            "else."
        ),
        "refused_commands": "Commands that were refused since the unit's program began.",
        "last_refusal": "Why the last of them was; null where none was.",
        "clock": "The clock at the instant of `time`.",
    },
    "Command": {
        "id": "UUIDv7; the answer comes on `reply/{id}`.",
        "aud": "URN of the one unit that is meant.",
        "name": "What is asked; the last level of the topic is the same.",
        "number": (
            "Higher than every one that this key has given to this unit. A unit obeys each number "
            "once, also over a restart."
        ),
        "iat": "When it was signed, UTC.",
        "exp": "After this time it is refused, where the unit knows the time.",
        "data": "What it is about; of replay and settings: schema/command-{name}.json, else empty.",
    },
    "Answer": {
        "to": "`id` of the command.",
        "name": "Its name; null where the command could not be read so far.",
        "number": "Its number; null where the command could not be read so far.",
        "ok": "Whether it was obeyed.",
        "reason": "Why not; null where it was obeyed.",
        "text": "One sentence for a person.",
        "data": (
            "What was asked for. ping: software, uptime_s, session, sequence, head. replay: first, "
            "last. reload: changed, restart. settings: settings in force, set (by command). "
            "Later versions may say more."
        ),
    },
    "Reply": {
        "id": "UUIDv7 of the answer.",
        "source": "URN of the unit.",
        "time": "When it answered, by its own clock.",
    },
    "ReplayData": {
        "first": "Number of the first event.",
        "last": "Number of the last event, included.",
        "begin": "Of events by their `time`: from here,",
        "end": "to here, both included.",
    },
    "SettingsData": {
        "set": "New values by name. Bounds are those of the unit's settings file.",
        "reset": "Names that are to be again what the unit's own settings file says.",
    },
    "Manifest": {
        "id": "UUIDv7 of this manifest; the unit's answer comes on `reply/{id}`.",
        "aud": "URN of the one unit that it is for.",
        "version": "Version of the roster. A unit takes only a higher one than it ever had.",
        "iat": "When it was signed, UTC.",
        "digest": "SHA-256 of the roster's content, decrypted and joined, hexadecimal.",
        "size": "Bytes of that content.",
        "embedder": "SHA-256 of the identity network that made the templates, hexadecimal.",
        "at": "URN of the name on whose topics the chunks lie: `{at}/roster/{chunk}`.",
        "chunks": "The chunks, in the order of the content.",
        "recipients": "The content key, wrapped for each key of the unit.",
    },
    "Chunk": {
        "name": "Last level of its topic, and associated data of its encryption.",
        "sha256": "SHA-256 of the encrypted chunk, hexadecimal.",
        "size": "Bytes of the encrypted chunk: nonce (12), ciphertext, tag (16); AES-256-GCM.",
    },
    "Wrapped": {
        "kid": "RFC 7638 thumbprint of the unit's X25519 key.",
        "key": (
            "The content key, 32 bytes, as a compact JWE (RFC 7516) of alg ECDH-ES+A256KW and enc "
            "A256GCM."
        ),
    },
    "Will": {
        "status": "Always offline.",
        "session": "The session that was lost, as in `state`.",
    },
    "MatchData": {
        "similarity": "Cosine of the two templates, cut to four decimals.",
        "margin": (
            "How far the nearest person is ahead of the next; null where the roster has no second."
        ),
    },
    "Thresholds": {
        "match": "Least similarity of a known person.",
        "margin": "Least margin of a known person.",
        "agreeing_frames": "Pictures of one identity before it counts.",
        "unknown_frames": "Pictures without an identity before somebody is unknown.",
        "liveness": "Least mean liveness of the judged pictures.",
        "liveness_frames": "Pictures judged before somebody counts as alive; twice as many refuse.",
        "smile": "Least smile score. Null with all others of the smile where none was asked.",
        "smile_rise": "Points that the smile rose above the face at the prompt.",
        "smile_timeout": "Seconds to smile in.",
        "motion": "How far the mouth moved, in distances between the eyes.",
        "reaction": "Seconds after the prompt before which no answer counts.",
        "prompt_delay": "Seconds by which the prompt came later, at random, at most.",
    },
    "Liveness": {
        "judged": "Whether pictures enough were held against the threshold.",
        "live": "What came of it; null where not judged.",
        "score": "Mean of the judged pictures, 0 to 1; null where none was.",
        "frames": "How many pictures were judged.",
        "cues": "The vote of each cue, 0 (a photo or a screen) to 1; null where it did not speak.",
    },
    "Place": {
        "latitude": "Degrees, WGS 84, north positive.",
        "longitude": "Degrees, WGS 84, east positive.",
        "zone": "IANA time zone, for the local day.",
    },
    "ClockData": {
        "state": "How sure the unit is of `time`.",
        "boot_id": "Names the boot that monotonic_ns counts from.",
        "monotonic_ns": (
            "The same instant on CLOCK_MONOTONIC, in nanoseconds, which nobody can set. A string, "
            "because it outgrows the 2^53 of a JSON number."
        ),
    },
}

VALUES: Final[dict[str, dict[str, str]]] = {
    "Outcome": {
        "recorded": "the person's attendance is recorded",
        "refused": "nothing is recorded for anybody",
    },
    "Reason": {
        "accepted": "known, and every rule met",
        "not-known": "nobody in the roster is near enough",
        "no-smile-in-time": "known, and no smile came in time",
        "spoof-suspected": "perhaps a picture and not a person",
    },
    "Direction": {
        "in": "people come in here",
        "out": "people go out here",
        "unspecified": "either way",
    },
    "AuditCode": {
        "started": "the unit's program began",
        "stopped": "it ended in good order",
        "restarted": (
            "the run before ended otherwise than in good order: `why` and `status` as systemd "
            "names them (`watchdog`, `signal`, `timeout`, `exit-code`…), the last of `times` in a "
            "row"
        ),
        "rebooted": "the machine was started anew, for restarting the program had not helped",
        "reboot-refused": (
            "that was asked for and did not come, for there were too many: a person must look"
        ),
        "moved": (
            "the unit has another name from here on (`source` names it) and was `from` before: the "
            "numbers up to `last` are events of that name, and none of this one is missing there"
        ),
        "camera-lost": "no pictures come",
        "camera-back": "they come again",
        "pins-lost": "lights and buzzer are out of reach, and nobody is recorded",
        "pins-back": "they are within reach again",
        "store-failed": "events could not be made durable for a while, and people were told so",
        "outbox-renewed": (
            "a damaged outbox was set aside, and the chain goes on in a new one; numbers may be "
            "left out before this event"
        ),
        "roster-installed": (
            "another version of the roster is in force: `version`, `digest`, `people`"
        ),
        "person-erased": (
            "the receipt: `person` (opaque id) is gone from the roster in force and all that came "
            "before it, since `version`"
        ),
        "clock-stepped": "the clock was set by a leap",
        "command-done": (
            "a command was obeyed: `command`, `number`, `by` (the kid), and what it changed"
        ),
        "commands-refused": (
            "how many commands were refused since this was last told, in all and by reason; told "
            "at the first, and then once an hour at most"
        ),
        "clock-anchor": "dates the events of this boot that had no certain time",
    },
    "Flaw": {
        "forged": "the signature is not that of the key; not answered",
        "unknown-key": (
            "the key is not among the unit's authorities, or not valid now, or of another "
            "algorithm; not answered"
        ),
        "too-large": "more than 16,384 bytes, of a roster's manifest 65,536; not answered",
        "malformed": (
            "no compact JWS of exactly alg, kid and typ; or the payload is none of this contract. "
            "Answered where it was signed and names its id"
        ),
        "wrong-role": "the key may not order that",
        "foreign": "the key, or `aud`, is for other units",
        "retained": "it was published retained",
        "stale": (
            "its number is not above its key's last one, or it is older than the unit's count; of "
            "a roster, its version is not above every one that was here"
        ),
        "expired": "`exp` is past",
        "clock-unknown": "the unit does not know the time; only ping and identify run",
        "unknown-command": "the unit's version does not know it",
        "bad-data": (
            "`data` is not of its kind, or out of bounds; of a roster, its content is not what was "
            "signed, or none"
        ),
        "no-recipient": "a roster whose key is not wrapped for this unit's encryption key",
        "other-network": "a roster made with another identity network",
        "erased-person": (
            "a roster that holds somebody who was erased, and does not say that they were enrolled "
            "again"
        ),
        "failed": "the unit could not do it; `text` says why",
    },
    "CommandName": {
        "ping": "says how the unit is",
        "identify": "blinks and sounds, so that a person finds it",
        "replay": "sends events again from the archive",
        "reload": "reads settings and roster again",
        "settings": "changes a few settings, or says what they are",
    },
    "Adjustable": {
        "attendance.smile_threshold": "score that a smile has to reach, 1 to 99",
        "attendance.smile_timeout": "seconds to smile in, above 0 to 3600",
        "gpio.brightness": "of the lights, 0 to 1",
        "gpio.volume": "of the buzzer, 0 to 1",
        "broker.health_period": "seconds between two reports on `health`, 5 to 3600",
    },
    "Status": {"online": "it is there", "offline": "it is not"},
    "ClockState": {
        "synchronized": "a time service disciplines the clock now",
        "holdover": "one did since the program began, and has stopped",
        "unsynchronized": "nobody vouches for it: date the event by when it came",
    },
}
