"""Judge the test vectors as ../../README.md says: python verify.py. Needs `cryptography` alone."""

import csv
import hashlib
import json
import re
import sys
from base64 import urlsafe_b64encode
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from keys import signed, trusted
from schema import fits
from store import Store
from strict import b64, parse, shallow

HERE = Path(__file__).resolve().parents[2]
SCHEMA = {path.stem: json.loads(path.read_text()) for path in (HERE / "schema").glob("*.json")}
TOPIC = re.compile(r"senyum/v1/([a-z0-9-]{1,32}/[a-z0-9-]{1,32}/[a-z0-9-]{1,32})/(\w+)")
LEAF = {
    "senyum.attendance.recorded.v1": "event",
    "senyum.attendance.refused.v1": "event",
    "senyum.unit.audit.v1": "event",
    "senyum.unit.state.v1": "state",
    "senyum.unit.health.v1": "health",
}


def prove(topic, message, received, keys):  # one message by itself: the verdict, and the event
    if not (where := TOPIC.fullmatch(topic)) or where[2] not in ("event", "state", "health"):
        return "topic", None
    unit, leaf = "urn:senyum:" + where[1].replace("/", ":"), where[2]
    if not message:
        return "empty", None
    if len(message) > 65536:
        return "oversized", None
    members = SCHEMA["header"]["$defs"][leaf]["properties"]
    try:
        if leaf == "state" and message[:1] == b"{":
            will = fits(SCHEMA["will"], parse(message), SCHEMA["will"])
            return "unsigned" if will else "malformed", None
        first, second, third = message.decode("ascii").split(".")
        header, payload, signature = parse(b64(first)), shallow(b64(second)), b64(third)
        if not all(name in members and isinstance(v, str) for name, v in header.items()):
            return "malformed", None
        if any(header.get(name) != members[name]["const"] for name in ("typ", "cty")):
            return "type", None
        if header.get("alg") not in members["alg"]["enum"]:
            return "algorithm", None
        if not (key := keys.get(header.get("kid"))):
            return "unknown-key", None
        if key["unit"] != unit:
            return "foreign-key", None
        if key["alg"] != header["alg"]:
            return "algorithm", None
        if not signed(key, f"{first}.{second}".encode(), signature):
            return "bad-signature", None
        event = parse(payload)
    except ValueError:
        return "malformed", None
    kind = event.get("type")
    if isinstance(kind, str) and LEAF.get(kind, leaf) != leaf:
        return "type", None
    if not fits(SCHEMA[leaf], event, SCHEMA[leaf]):
        return "payload", None
    if event["source"] != unit:
        return "topic", None
    if event["data"]["clock"]["state"] != "unsynchronized":  # somebody vouches for time
        received = datetime.fromisoformat(event["time"]).timestamp()
    valid = key.get("nbf", received) <= received <= key.get("exp", received)
    return ("genuine", event) if valid else ("outside-validity", None)


def main():
    stores, wrong = defaultdict(Store), 0
    try:
        keys = trusted((HERE / "vectors/keys.json").read_bytes(), SCHEMA["keys"])
    except ValueError as error:
        sys.exit(f"keys.json: {error}")
    with (HERE / "vectors/vectors.tsv").open(newline="") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            message, store = (HERE / "vectors" / row["message"]).read_bytes(), stores[row["series"]]
            verdict, event = prove(row["topic"], message, int(row["received"]), keys)
            if event:
                digest = urlsafe_b64encode(hashlib.sha256(message).digest()).rstrip(b"=").decode()
                verdict = store.judge(event, digest)
            missing = store.missing("urn:senyum:" + ":".join(row["topic"].split("/")[2:5]))
            wrong += (verdict, missing) != (row["verdict"], row["missing"])
            print(row["name"], verdict, missing)
    sys.exit(wrong > 0)


main()
