// What JavaScript lacks: one spelling of base64url, and JSON within the limits.
const [DEPTH, NUMBER] = [32, Number.MAX_SAFE_INTEGER];
const FORBIDDEN = /[\u0000-\u001f\ud800-\udfff]/u; // with u, half a surrogate pair alone

export function base64url(text) {
  const raw = Buffer.from(text, "base64url");
  if (raw.toString("base64url") !== text) throw new SyntaxError("not canonical");
  return raw;
}

// The JSON text of bytes, unless it is nested too deep: nothing is read, nothing recurses.
export function shallow(raw) {
  let [depth, quoted] = [0, false];
  for (let at = 0; at < raw.length; at += 1) {
    const byte = raw[at];
    if (quoted && byte === 0x5c) at += 1; // a backslash, and what it escapes
    else if (byte === 0x22) quoted = !quoted;
    else if (!quoted && (byte === 0x5b || byte === 0x7b)) depth += 1;
    else if (!quoted && (byte === 0x5d || byte === 0x7d)) depth -= 1;
    if (depth > DEPTH) throw new SyntaxError("nested too deep");
  }
  return raw;
}

export function parse(raw) {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(shallow(raw));
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("no object");
  const waiting = [value];
  let names = 0;
  while (waiting.length) {
    const part = waiting.pop();
    if (typeof part === "number" && Math.abs(part) > NUMBER) throw new SyntaxError("a number too large");
    if (typeof part === "string" && FORBIDDEN.test(part)) throw new SyntaxError("a forbidden character");
    if (part === null || typeof part !== "object") continue;
    if (!Array.isArray(part)) {
      names += Object.keys(part).length;
      waiting.push(...Object.keys(part));
    }
    for (const inner of Object.values(part)) waiting.push(inner);
  }
  // JSON.parse takes the last of two members of one name: then there are more names than members.
  let given = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] !== '"') continue;
    for (at += 1; text[at] !== '"'; at += 1) if (text[at] === "\\") at += 1;
    let next = at + 1;
    while (" \t\r\n".includes(text[next] ?? "x")) next += 1;
    if (text[next] === ":") given += 1;
  }
  if (given !== names) throw new SyntaxError("a name twice");
  return value;
}
