// What a store adds to the proof of a message: duplicates, forks, moves, what is missing.
const URN = /^urn:senyum(:[a-z0-9-]{1,32}){3}$/;

class Chain {
  ids = new Map(); // id: digest
  events = new Map(); // number: Map of digest: previous
  named = new Map(); // number: the digest that a state or health named
}

// A number is a BigInt: it reaches 2^63 - 1. So nobody may go through all of them, either.
export class Store {
  chains = new Map(); // by unit
  moves = []; // { unit, number, origin }

  chain(unit) {
    if (!this.chains.has(unit)) this.chains.set(unit, new Chain());
    return this.chains.get(unit);
  }

  judge(event, digest) {
    const { ids, events, named } = this.chain(event.source);
    if (event.sequence === undefined) { // a state or health, which names the newest event
      const [number, head] = [BigInt(event.data.sequence), event.data.head];
      if (head === null) return "genuine";
      const known = [...(events.get(number)?.keys() ?? [named.get(number) ?? head])];
      if (!known.includes(head)) return "fork";
      named.set(number, head);
      return "genuine";
    }
    const [number, previous] = [BigInt(event.sequence), event.previous ?? null];
    if (ids.has(event.id)) return ids.get(event.id) === digest ? "duplicate" : "fork";
    const [before, same, after] = [-1n, 0n, 1n].map((by) => events.get(number + by));
    let fork =
      same ||
      (before && !before.has(previous)) ||
      (after && ![...after.values()].includes(digest)) ||
      (named.get(number) ?? digest) !== digest;
    ids.set(event.id, digest);
    events.set(number, new Map([...(same ?? []), [digest, previous]]));
    const origin = fork ? null : movedFrom(event, number);
    if (origin) {
      this.moves.push({ unit: event.source, number, origin });
      const last = this.chain(origin).events.get(number - 1n);
      fork = last && !last.has(previous);
    }
    return fork ? "fork" : "genuine";
  }

  missing(unit) {
    const { events, named } = this.chain(unit);
    const stored = [...events.keys()].sort((a, b) => (a < b ? -1 : 1));
    const highest = [...stored, ...named.keys()].reduce((a, b) => (a > b ? a : b), 0n);
    let gaps = [];
    let last = 0n;
    for (const number of [...stored, highest + 1n]) {
      if (number > last + 1n) gaps.push([last + 1n, number - 1n]);
      last = number;
    }
    for (const [first, end] of this.elsewhere(unit))
      gaps = gaps
        .flatMap(([a, b]) => [[a, b < first ? b : first - 1n], [a > end ? a : end + 1n, b]])
        .filter(([a, b]) => a <= b);
    return gaps.map(([a, b]) => (a < b ? `${a}-${b}` : `${a}`)).join(",") || "-";
  }

  // The numbers that a unit gave under other names, as far as its moves tell.
  elsewhere(unit) {
    const known = this.moves.toSorted((a, b) => (a.number > b.number ? -1 : 1));
    return known
      .filter((move) => move.unit === unit)
      .map(({ number, origin }) => {
        let [begin, name] = [number, origin];
        for (const move of known)
          if (name !== unit && move.number < begin && move.unit === name) [begin, name] = [move.number, move.origin];
        return [name === unit ? begin : 1n, number - 1n];
      });
  }
}

// The name that a unit had before, of a `moved` that does not contradict itself.
function movedFrom({ source, data }, number) {
  if (data.code !== "moved" || number <= 1n) return null;
  const { from: origin, last } = data.detail;
  if (!Number.isInteger(last) || BigInt(last) !== number - 1n) return null;
  return typeof origin === "string" && URN.test(origin) && origin !== source ? origin : null;
}
