"use strict";

// What was decided: that of the store (earlier), and on top of it that of this page, kept by the browser.
class Decisions {
  constructor(content) {
    this.content = content;
    this.key = `bss-decisions-${content.dataset}`;
    this.earlier = new Map(content.earlier.map(([id, kind, value, label]) => [id, { kind, value, label }]));
    // Id to the label that the manifest has; null of a sample that is not shown.
    this.known = new Map(content.others.map((id) => [id, null]));
    for (const sample of content.samples) this.known.set(sample.id, sample.class);
    for (const [id, { label }] of this.earlier) this.known.set(id, label);
    this.own = new Map(); // id to {kind, value}, or to null for an earlier decision that was taken back
    this.history = [];
    this.kept = true;
    try {
      for (const [id, found] of JSON.parse(localStorage.getItem(this.key)) ?? []) this.own.set(id, found);
    } catch {
      this.kept = false;
    }
  }

  get(id) {
    return this.own.has(id) ? this.own.get(id) : (this.earlier.get(id) ?? null);
  }

  // The label that the manifest has, which an earlier decision may have changed.
  labelBefore(sample) {
    return this.earlier.get(sample.id)?.label ?? sample.class;
  }

  // Decide about one sample; the same decision again takes it back.
  decide(sample, kind, value) {
    const before = this.get(sample.id);
    const earlier = this.earlier.get(sample.id);
    let wanted = { kind, value };
    if (kind === "relabel" && value === this.labelBefore(sample)) wanted = { kind: "keep", value: "" };
    // What is kept is the sample as it is shown, and that may be due to an earlier decision.
    else if (kind === "keep" && earlier && earlier.kind !== "keep") wanted = earlier;
    const same = before && before.kind === wanted.kind && before.value === wanted.value && this.own.has(sample.id);
    this.change([[sample.id, same ? null : { kind: wanted.kind, value: wanted.value }]]);
  }

  change(entries) {
    this.history.push(entries.map(([id]) => [id, this.own.has(id), this.own.get(id)]));
    for (const [id, found] of entries) {
      if (found === null && !this.earlier.has(id)) this.own.delete(id);
      else this.own.set(id, found);
    }
    this.save();
  }

  // Return the id of the sample whose decision was undone, or undefined.
  undo() {
    const entries = this.history.pop() ?? [];
    for (const [id, had, found] of entries) {
      if (had) this.own.set(id, found);
      else this.own.delete(id);
    }
    this.save();
    return entries[0]?.[0];
  }

  save() {
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.own]));
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  all() {
    const ids = new Set([...this.earlier.keys(), ...this.own.keys()]);
    const found = [...ids].map((id) => [id, this.get(id)]).filter(([, decision]) => decision !== null);
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  csv() {
    const rows = this.all().map(([id, { kind, value }]) => [id, kind, value, this.content.dataset]);
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [["id", "decision", "value", "dataset"], ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
  }

  // Take the decisions of a CSV file over; return how many. Throws an Error that says what is wrong with it.
  load(text) {
    const [head, ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
    const missing = ["id", "decision", "value"].filter((name) => !head?.includes(name));
    if (missing.length) throw new Error(`it has no column ${missing.join(", ")}`);
    const seen = new Set();
    const entries = rows.map((cells, number) => {
      const row = new Map(head.map((name, i) => [name, cells[i]?.trim() ?? ""]));
      if ((row.get("dataset") ?? this.content.dataset) !== this.content.dataset) {
        throw new Error("it is about another dataset");
      }
      const [id, kind, value] = ["id", "decision", "value"].map((name) => row.get(name));
      const wrong = this.wrong(id, kind, value) ?? (seen.has(id) ? `id "${id}" is not unique` : null);
      if (wrong) throw new Error(`row ${number + 2}: ${wrong}`);
      seen.add(id);
      return [id, { kind, value }];
    });
    this.change(entries);
    return entries.length;
  }

  // What is wrong with a row of a file, as `bss prepare` would find, or null.
  wrong(id, kind, value) {
    const { classes, modalities, decisions } = this.content;
    if (!this.known.has(id)) return `no sample has the id "${id}"`;
    if (!decisions.includes(kind)) return `"${kind}" is not ${decisions.join(", ")}`;
    if (kind === "relabel" && !classes.includes(value)) return `"${value}" is not a label of this dataset`;
    if (kind === "relabel" && value === this.known.get(id)) return `"${value}" is the label that the sample has`;
    if (kind === "ignore" && !modalities.includes(value)) return `"${value}" is not a modality of this dataset`;
    if (["keep", "drop"].includes(kind) && value) return `"${value}": ${kind} takes no value`;
    return null;
  }
}

// RFC 4180: rows of cells; empty lines are left out.
function parseCsv(text) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endRow = () => {
    row.push(cell);
    if (row.length > 1 || row[0] !== "") rows.push(row);
    [row, cell] = [[], ""];
  };
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (quoted && letter === '"' && text[i + 1] === '"') cell += text[++i];
    else if (letter === '"') quoted = !quoted;
    else if (quoted || !",\r\n".includes(letter)) cell += letter;
    else if (letter === ",") [row, cell] = [[...row, cell], ""];
    else if (letter === "\n" || text[i + 1] !== "\n") endRow();
  }
  if (cell !== "" || row.length) endRow();
  return rows;
}
