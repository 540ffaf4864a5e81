// Holds docs/contract to the tools of AsyncAPI and JSON Schema: node check.mjs FOLDER
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Parser } from "@asyncapi/parser";
import Ajv from "ajv/dist/2020.js";

const folder = process.argv[2];
const read = (...path) => readFileSync(join(folder, ...path), "utf8");
const results = { passed: 0, failed: 0 };
function check(name, good, why = "") {
  results[good ? "passed" : "failed"] += 1;
  if (!good) console.log(`FAILED ${name} ${why}`);
}

const source = join(folder, "asyncapi.json");
const { document, diagnostics } = await new Parser().parse(read("asyncapi.json"), { source });
// 0 is an error, 1 a warning, the rest advice, such as that of a newer version of AsyncAPI.
for (const found of diagnostics.filter(({ severity }) => severity <= 1))
  check("asyncapi.json", false, `${found.path.join(".")}: ${found.message}`);
check("asyncapi.json", document?.operations().all().length > 0, "has no operations");

const ajv = new Ajv({ strict: true, strictRequired: false, allErrors: true });
const fits = {};
for (const file of readdirSync(join(folder, "schema"))) {
  try {
    fits[file.replace(".json", "")] = ajv.compile(JSON.parse(read("schema", file)));
    check(file, true);
  } catch (error) {
    check(file, false, error.message);
  }
}

check("keys.json", fits.keys(JSON.parse(read("vectors", "keys.json"))));
const json = (part) => JSON.parse(Buffer.from(part, "base64url").toString());
for (const line of read("vectors", "vectors.tsv").trimEnd().split("\n").slice(1)) {
  const [name, , topic, , path, verdict] = line.split("\t");
  if (!["genuine", "duplicate", "fork", "payload", "unsigned"].includes(verdict)) continue;
  const message = read("vectors", path);
  if (verdict === "unsigned") {
    check(name, fits.will(JSON.parse(message)));
    continue;
  }
  const [header, payload] = message.split(".").slice(0, 2).map(json);
  const kind = topic.split("/").at(-1);
  check(name, fits.header(header), ajv.errorsText(fits.header.errors));
  check(name, fits[kind](payload) === (verdict !== "payload"), ajv.errorsText(fits[kind].errors));
}
console.log(`${results.passed} passed, ${results.failed} failed`);
process.exitCode = results.failed ? 1 : 0;
