// Judge the test vectors as ../../README.md says: npm ci && node verify.mjs
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import { signed, trusted } from "./keys.mjs";
import { Store } from "./store.mjs";
import { base64url, parse, shallow } from "./strict.mjs";

const file = (path) => readFileSync(new URL(`../../${path}`, import.meta.url));
const json = (path) => JSON.parse(file(path));
const ajv = new Ajv();
const fits = Object.fromEntries(
  ["event", "state", "health", "will", "keys"].map((name) => [name, ajv.compile(json(`schema/${name}.json`))]),
);
const members = json("schema/header.json").$defs;
const TOPIC = /^senyum\/v1\/([a-z0-9-]{1,32}\/[a-z0-9-]{1,32}\/[a-z0-9-]{1,32})\/(event|state|health)$/;
const LEAF = new Map([
  ["senyum.attendance.recorded.v1", "event"],
  ["senyum.attendance.refused.v1", "event"],
  ["senyum.unit.audit.v1", "event"],
  ["senyum.unit.state.v1", "state"],
  ["senyum.unit.health.v1", "health"],
]);

async function prove(topic, message, received, keys) { // one message by itself: the verdict, the event
  const where = TOPIC.exec(topic);
  if (!where) return ["topic"];
  const [unit, leaf] = ["urn:senyum:" + where[1].replaceAll("/", ":"), where[2]];
  if (!message.length) return ["empty"];
  if (message.length > 65536) return ["oversized"];
  try {
    if (leaf === "state" && message[0] === 0x7b) return [fits.will(parse(message)) ? "unsigned" : "malformed"];
    const token = message.toString("latin1");
    const parts = token.split(".");
    if (parts.length !== 3) return ["malformed"];
    const [first, payload, signature] = parts.map(base64url);
    const header = parse(first);
    shallow(payload);
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
    if ((LEAF.get(event.type) ?? leaf) !== leaf) return ["type"];
    if (!fits[leaf](event)) return ["payload"];
    if (event.source !== unit) return ["topic"];
    const when = event.data.clock.state === "unsynchronized" ? received : seconds(event.time);
    return when >= (key.nbf ?? when) && when <= (key.exp ?? when) ? ["genuine", event] : ["outside-validity"];
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return ["malformed"];
    throw error;
  }
}

// Date knows milliseconds, and a time has six decimals.
const seconds = (time) => Date.parse(`${time.slice(0, 19)}Z`) / 1000 + Number(`0${time.slice(19, 26)}`);

async function main() {
  const keys = await trusted(file("vectors/keys.json"), fits.keys);
  const stores = new Map();
  let wrong = 0;
  for (const line of file("vectors/vectors.tsv").toString().trimEnd().split("\n").slice(1)) {
    const [name, series, topic, received, path, verdict, missing] = line.split("\t");
    if (!stores.has(series)) stores.set(series, new Store());
    const [store, message] = [stores.get(series), file(`vectors/${path}`)];
    let [result, event] = await prove(topic, message, Number(received), keys);
    if (event) result = store.judge(event, createHash("sha256").update(message).digest("base64url"));
    const lacking = store.missing("urn:senyum:" + topic.split("/").slice(2, 5).join(":"));
    if (result !== verdict || lacking !== missing) wrong += 1;
    console.log(name, result, lacking);
  }
  process.exitCode = wrong ? 1 : 0;
}

try {
  await main();
} catch (error) {
  console.error(`keys.json: ${error.message}`);
  process.exitCode = 1;
}
