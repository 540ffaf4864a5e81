// What a store adds to the proof of a message: duplicates, forks, what is missing. Of one unit.
export class Store {
  ids = new Map();
  events = new Map(); // number: Map of digest: previous
  named = new Map(); // number: the digest that a state or health named

  judge(event, digest) {
    if (event.sequence === undefined) { // a state or health, which names the newest event
      const { sequence: number, head } = event.data;
      if (!number) return "genuine";
      const known = [...(this.events.get(number)?.keys() ?? [this.named.get(number) ?? head])];
      if (!known.includes(head)) return "fork";
      this.named.set(number, head);
      return "genuine";
    }
    const [number, previous] = [Number(event.sequence), event.previous ?? null];
    if (this.ids.has(event.id)) return this.ids.get(event.id) === digest ? "duplicate" : "fork";
    const at = (step) => this.events.get(number + step);
    const fork =
      at(0) ||
      (at(-1) && !at(-1).has(previous)) ||
      (at(1) && ![...at(1).values()].includes(digest)) ||
      (this.named.get(number) ?? digest) !== digest;
    this.ids.set(event.id, digest);
    this.events.set(number, new Map([...(at(0) ?? []), [digest, previous]]));
    return fork ? "fork" : "genuine";
  }

  missing() {
    const gaps = [];
    for (let n = 1; n <= Math.max(0, ...this.events.keys(), ...this.named.keys()); n += 1) {
      if (this.events.has(n)) continue;
      const last = gaps.at(-1);
      if (last?.[1] === n - 1) last[1] = n;
      else gaps.push([n, n]);
    }
    return gaps.map(([from, to]) => (from < to ? `${from}-${to}` : `${from}`)).join(",") || "-";
  }
}
