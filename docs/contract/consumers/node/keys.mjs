// The key set that a central server trusts.
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";
import { base64url, parse } from "./strict.mjs";

const HALF = "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8"; // of P-256's order

// The keys that verify, by `kid`; throws where the set is not to be trusted.
export async function trusted(raw, fits) {
  const keys = new Map();
  const content = parse(raw);
  if (!fits(content)) throw new SyntaxError("is not of schema/keys.json");
  for (const key of content.keys) {
    if (keys.has(key.kid)) throw new SyntaxError(`${key.kid}: is listed twice`);
    if ((await calculateJwkThumbprint(key)) !== key.kid) throw new SyntaxError(`${key.kid}: is not the thumbprint`);
    [key.x, key.y ?? ""].forEach(base64url);
    if (key.use !== "enc") await importJWK(key, key.alg); // fails where the point is not on the curve
    keys.set(key.kid, key);
  }
  for (const [kid, key] of keys) if (key.use === "enc") keys.delete(kid);
  return keys;
}

export async function signed(key, token, signature) {
  try {
    await compactVerify(token, key, { algorithms: [key.alg] });
  } catch {
    return false;
  }
  return key.alg !== "ES256" || signature.subarray(32).toString("hex") <= HALF;
}
