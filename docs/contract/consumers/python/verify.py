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

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from store import Store
from strict import b64, fits, parse

HERE = Path(__file__).resolve().parents[2]
SCHEMA = {path.stem: json.loads(path.read_text()) for path in (HERE / "schema").glob("*.json")}
KEYS = {key["kid"]: key for key in json.loads((HERE / "vectors/keys.json").read_text())["keys"]}
TOPIC = re.compile(r"senyum/v1/([a-z0-9-]{1,32}/[a-z0-9-]{1,32}/[a-z0-9-]{1,32})/(\w+)")
HALF = 0x7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8  # of P-256's order


def signed(key, content, signature):
    try:
        if key["alg"] == "Ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(b64(key["x"])).verify(signature, content)
            return True
        parts = signature[:32], signature[32:], b64(key["x"]), b64(key["y"])
        r, s, x, y = (int.from_bytes(part, "big") for part in parts)
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        public.verify(utils.encode_dss_signature(r, s), content, ec.ECDSA(SHA256()))
        return len(signature) == 64 and s <= HALF
    except InvalidSignature:
        return False


def prove(topic, message, received):  # one message by itself: the verdict, and the event
    if not (where := TOPIC.fullmatch(topic)) or where[2] not in ("event", "state", "health"):
        return "topic", None
    unit, leaf = "urn:senyum:" + where[1].replace("/", ":"), where[2]
    if len(message) > 65536:
        return "oversized", None
    members = SCHEMA["header"]["$defs"][leaf]["properties"]
    try:
        if leaf == "state" and message[:1] == b"{":
            will = fits(SCHEMA["will"], parse(message), SCHEMA["will"])
            return "unsigned" if will else "malformed", None
        first, second, third = message.decode("ascii").split(".")
        header, payload, signature = parse(b64(first)), b64(second), b64(third)
        if not all(name in members and isinstance(v, str) for name, v in header.items()):
            return "malformed", None
        if any(header.get(name) != members[name]["const"] for name in ("typ", "cty")):
            return "type", None
        if header.get("alg") not in members["alg"]["enum"]:
            return "algorithm", None
        if not (key := KEYS.get(header.get("kid"))):
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
    kinds = [
        kind for kind in ("event", "state", "health") if fits(SCHEMA[kind], event, SCHEMA[kind])
    ]
    if leaf not in kinds:
        return "type" if kinds else "payload", None
    if event["source"] != unit:
        return "topic", None
    if event["data"]["clock"]["state"] != "unsynchronized":  # somebody vouches for time
        received = datetime.fromisoformat(event["time"]).timestamp()
    valid = key.get("nbf", received) <= received <= key.get("exp", received)
    return ("genuine", event) if valid else ("outside-validity", None)


stores, wrong = defaultdict(Store), 0
with (HERE / "vectors/vectors.tsv").open(newline="") as table:
    for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
        message, store = (HERE / "vectors" / row["message"]).read_bytes(), stores[row["series"]]
        verdict, event = prove(row["topic"], message, int(row["received"]))
        if event:
            digest = urlsafe_b64encode(hashlib.sha256(message).digest()).rstrip(b"=").decode()
            verdict = store.judge(event, digest)
        wrong += (verdict, store.missing()) != (row["verdict"], row["missing"])
        print(row["name"], verdict, store.missing())
sys.exit(wrong > 0)
