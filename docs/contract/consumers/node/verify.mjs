// Judge the test vectors as ../../README.md says: npm ci && node verify.mjs
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import { compactVerify } from "jose";
import { Store } from "./store.mjs";

const file = (path) => readFileSync(new URL(`../../${path}`, import.meta.url));
const json = (path) => JSON.parse(file(path));
const ajv = new Ajv();
const fits = Object.fromEntries(
  ["event", "state", "health", "will"].map((name) => [name, ajv.compile(json(`schema/${name}.json`))]),
);
const members = json("schema/header.json").$defs;
const keys = new Map(json("vectors/keys.json").keys.map((key) => [key.kid, key]));
const TOPIC = /^senyum\/v1\/([a-z0-9-]{1,32}\/[a-z0-9-]{1,32}\/[a-z0-9-]{1,32})\/(event|state|health)$/;
const HALF = "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8"; // of P-256's order

function base64url(text) {
  const raw = Buffer.from(text, "base64url");
  if (raw.toString("base64url") !== text) throw new SyntaxError("not canonical");
  return raw;
}

function parse(raw) {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError();
  const count = (part) =>
    part === null || typeof part !== "object"
      ? 0
      : Object.values(part).reduce((sum, inner) => sum + count(inner), Array.isArray(part) ? 0 : Object.keys(part).length);
  const names = (text.match(/"(?:[^"\\]|\\.)*"\s*:?/g) ?? []).filter((found) => found.endsWith(":"));
  if (names.length !== count(value)) throw new SyntaxError("a name twice");
  return value;
}

async function signed(key, token, signature) {
  try {
    await compactVerify(token, key, { algorithms: [key.alg] });
  } catch {
    return false;
  }
  return key.alg !== "ES256" || signature.subarray(32).toString("hex") <= HALF;
}

async function prove(topic, message, received) { // one message by itself: the verdict, the event
  const where = TOPIC.exec(topic);
  if (!where) return ["topic"];
  const [unit, leaf] = ["urn:senyum:" + where[1].replaceAll("/", ":"), where[2]];
  if (message.length > 65536) return ["oversized"];
  try {
    if (leaf === "state" && message[0] === 0x7b) return [fits.will(parse(message)) ? "unsigned" : "malformed"];
    const token = message.toString("latin1");
    const parts = token.split(".");
    if (parts.length !== 3) return ["malformed"];
    const [first, payload, signature] = parts.map(base64url);
    const header = parse(first);
    const allowed = members[leaf].properties;
    for (const [name, value] of Object.entries(header))
      if (!Object.hasOwn(allowed, name) || typeof value !== "string") return ["malformed"];
    if (header.typ !== allowed.typ.const || header.cty !== allowed.cty.const) return ["type"];
    if (!allowed.alg.enum.includes(header.alg)) return ["algorithm"];
    const key = keys.get(header.kid);
    if (!key) return ["unknown-key"];
    if (key.unit !== unit) return ["foreign-key"];
    if (key.alg !== header.alg) return ["algorithm"];
    if (!(await signed(key, token, signature))) return ["bad-signature"];
    const event = parse(payload);
    const kinds = ["event", "state", "health"].filter((kind) => fits[kind](event));
    if (!kinds.includes(leaf)) return [kinds.length ? "type" : "payload"];
    if (event.source !== unit) return ["topic"];
    const vouched = event.data.clock.state !== "unsynchronized";
    const when = vouched ? Date.parse(event.time) / 1000 : received;
    return when >= (key.nbf ?? when) && when <= (key.exp ?? when) ? ["genuine", event] : ["outside-validity"];
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return ["malformed"];
    throw error;
  }
}

const stores = new Map();
let wrong = 0;
for (const line of file("vectors/vectors.tsv").toString().trimEnd().split("\n").slice(1)) {
  const [name, series, topic, received, path, verdict, missing] = line.split("\t");
  if (!stores.has(series)) stores.set(series, new Store());
  const [store, message] = [stores.get(series), file(`vectors/${path}`)];
  let [said, event] = await prove(topic, message, Number(received));
  if (event) said = store.judge(event, createHash("sha256").update(message).digest("base64url"));
  if (said !== verdict || store.missing() !== missing) wrong += 1;
  console.log(name, said, store.missing());
}
process.exitCode = wrong ? 1 : 0;
