// Which samples are shown, and in which order.
const SUSPICIOUS = "suspicious";
const ORDERS = {
  suspicion: null, // as in the table: the most suspicious first
  class: (a, b) => compareTexts(a.class, b.class),
  group: (a, b) => compareTexts(a.group ?? "", b.group ?? ""),
  id: (a, b) => compareTexts(a.id, b.id),
};
const TEXTS = new Intl.Collator("en", { numeric: true });
const compareTexts = TEXTS.compare;

const valuesOf = (key) => ({
  options: (samples) => counted(samples, (sample) => sample[key]),
  passes: (sample, value) => sample[key] === value,
});

// Each filter: its options as [value, text] for the samples, and whether a sample passes.
const FILTERS = {
  kind: {
    options: (samples) => [
      [SUSPICIOUS, "suspicious"],
      ...counted(samples, (sample) => sample.kind),
    ],
    passes: (sample, value) => (value === SUSPICIOUS ? sample.kind !== "clean" : sample.kind === value),
  },
  blame: valuesOf("blame"),
  split: valuesOf("split"),
  class: valuesOf("class"),
  group: valuesOf("group"),
  decision: {
    options: (samples, decisions) => [
      ["undecided", "undecided"],
      ["decided", "decided"],
      ...decisions.content.decisions.map((kind) => [kind, kind]),
    ],
    passes: (sample, value, decisions) => {
      const found = decisions.get(sample.id);
      if (value === "undecided") return found === null;
      return found !== null && (value === "decided" || found.kind === value);
    },
  },
};

function counted(samples, key) {
  const counts = new Map();
  for (const sample of samples) {
    const value = key(sample);
    if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const values = [...counts.keys()].sort(compareTexts);
  return values.map((value) => [value, `${value} (${counts.get(value)})`]);
}

// `chosen` maps the name of a filter to a value, "" for any; `search` is a part of an id or a text.
function select(samples, chosen, search, order, decisions) {
  const used = Object.entries(FILTERS).filter(([name]) => chosen[name]);
  const wanted = search.trim().toLowerCase();
  const found = samples.filter(
    (sample) =>
      used.every(([name, filter]) => filter.passes(sample, chosen[name], decisions)) &&
      (!wanted || [sample.id, ...sample.inputs.map((input) => input.text)].some((t) => t.toLowerCase().includes(wanted))),
  );
  return ORDERS[order] ? found.sort(ORDERS[order]) : found;
}
