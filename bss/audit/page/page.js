// The page: filters, a page of cards at a time, the keyboard, and files.
const PER_PAGE = 20;
const content = JSON.parse(document.getElementById("content").textContent);
const decisions = new Decisions(content);
const byId = new Map(content.samples.map((sample) => [sample.id, sample]));
const parts = Object.fromEntries([...document.querySelectorAll("[id]")].map((node) => [node.id, node]));
const chosen = { kind: SUSPICIOUS };
let found = [];
let page = 0;
let current = null; // id

function refilter() {
  const kept = current;
  found = select(content.samples, chosen, parts.search.value, parts.order.value, decisions);
  const at = found.findIndex((sample) => sample.id === kept);
  page = at < 0 ? 0 : Math.floor(at / PER_PAGE);
  showPage();
  mark(at < 0 ? (found[0]?.id ?? null) : kept, false);
}

function showPage() {
  const shown = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
  parts.cards.replaceChildren(...shown.map((sample) => cardOf(sample, content, decisions, { decide, relabel })));
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  parts.count.textContent = `${found.length} of ${content.samples.length} samples`;
  for (const nav of [parts.above, parts.below]) {
    nav.hidden = pages === 1;
    nav.querySelector("span").textContent = `page ${page + 1} of ${pages}`;
    nav.querySelector(".previous").disabled = page === 0;
    nav.querySelector(".next").disabled = page === pages - 1;
  }
  parts.nothing.hidden = found.length > 0;
  showProgress();
}

function showProgress() {
  const all = decisions.all();
  const counts = new Map();
  for (const [, { kind }] of all) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const listed = [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
  parts.progress.textContent = all.length ? `${all.length} decided: ${listed}` : "nothing decided";
  const ofTest = all.filter(([id, { kind }]) => byId.get(id)?.split === "test" && kind !== "keep").length;
  const notes = [];
  if (ofTest) notes.push(`${ofTest} change test: they need prepare.decide_test: true, and the report says so.`);
  if (!decisions.kept) notes.push("This browser keeps no progress for this page: download before you close it.");
  parts.notes.textContent = notes.join(" ");
  parts.notes.hidden = !notes.length;
  parts.undo.disabled = !decisions.history.length;
  parts.download.disabled = !all.length;
}

const cardAt = (id) => [...parts.cards.children].find((card) => card.dataset.id === id);

function mark(id, scroll = true) {
  cardAt(current)?.removeAttribute("aria-current");
  current = id;
  const card = cardAt(id);
  if (!card) return;
  card.setAttribute("aria-current", "true");
  if (scroll) card.scrollIntoView({ block: "nearest" });
  if (scroll && parts.autoplay.checked) play();
}

function refresh(id) {
  const card = cardAt(id);
  if (card) card.replaceWith(cardOf(byId.get(id), content, decisions, { decide, relabel }));
  showProgress();
}

// Go to the sample `steps` further on, over the ends of pages.
function move(steps) {
  const at = found.findIndex((sample) => sample.id === current);
  const next = Math.min(found.length - 1, Math.max(0, at + steps));
  if (next < 0 || next === at) return;
  goTo(next);
}

function goTo(position) {
  if (Math.floor(position / PER_PAGE) !== page) {
    page = Math.floor(position / PER_PAGE);
    showPage();
  }
  mark(found[position].id);
}

function decide(sample, kind, value) {
  decisions.decide(sample, kind, value);
  refresh(sample.id);
  mark(sample.id, false);
  if (decisions.own.get(sample.id)) move(1);
}

function relabel(sample) {
  mark(sample.id, false);
  dialog.open(sample);
}

function undo() {
  const id = decisions.undo();
  if (id === undefined) return;
  for (const card of [...parts.cards.children]) refresh(card.dataset.id);
  const at = found.findIndex((sample) => sample.id === id);
  if (at >= 0) goTo(at);
  showProgress();
}

function play() {
  const player = cardAt(current)?.querySelector("audio");
  if (!player) return;
  if (player.paused) {
    player.currentTime = 0;
    player.play().catch(() => {}); // a browser may want a click first
  } else player.pause();
}

function download() {
  const link = el("a", { href: URL.createObjectURL(new Blob([decisions.csv()], { type: "text/csv" })) });
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function load(file) {
  try {
    const count = decisions.load(await file.text());
    refilter();
    parts.loaded.textContent = `${count} decisions taken over from ${file.name}.`;
  } catch (error) {
    parts.loaded.textContent = `${file.name} was not loaded: ${error.message}.`;
  }
}

function filterBy(name, value) {
  chosen[name] = value;
  const node = parts[`filter-${name}`];
  if (node) node.value = value;
  refilter();
}

const KEYS = {
  ArrowDown: () => move(1),
  ArrowRight: () => move(1),
  n: () => move(1),
  ArrowUp: () => move(-1),
  ArrowLeft: () => move(-1),
  p: () => move(-1),
  u: undo,
  " ": play,
  "?": () => parts.help.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea, audio")) return;
  if (event.key === " " && event.target.matches("button, summary, [type=checkbox]")) return;
  const sample = byId.get(current);
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key; // also with Caps Lock
  let act = KEYS[key];
  if (!act && sample) {
    const choice = choicesOf(sample, content.modalities).find(([own]) => own === key);
    if (choice) act = () => (choice[2] === null ? relabel(sample) : decide(sample, choice[1], choice[2]));
    else if (key === "a" && sample.proposal) act = () => decide(sample, ...sample.proposal);
    else if (key === "i" && sample.blame !== null) act = () => decide(sample, "ignore", sample.blame);
  }
  if (!act) return;
  event.preventDefault();
  act();
});

for (const [name, filter] of Object.entries(FILTERS)) {
  const options = filter.options(content.samples, decisions);
  const node = parts[`filter-${name}`];
  node.append(new Option("all", ""), ...options.map(([value, text]) => new Option(text, value)));
  node.closest("label").hidden = options.length < 2 && name !== "kind";
  node.value = chosen[name] ?? "";
  node.addEventListener("change", () => filterBy(name, node.value));
}
parts.search.addEventListener("input", refilter);
parts.order.addEventListener("change", refilter);
parts.undo.addEventListener("click", undo);
parts.download.addEventListener("click", download);
parts.file.addEventListener("change", () => {
  if (parts.file.files.length) load(parts.file.files[0]);
  parts.file.value = "";
});
parts["open-help"].addEventListener("click", () => parts.help.showModal());
for (const nav of [parts.above, parts.below]) {
  nav.querySelector(".previous").addEventListener("click", () => goTo((page - 1) * PER_PAGE));
  nav.querySelector(".next").addEventListener("click", () => goTo((page + 1) * PER_PAGE));
}
parts.cards.addEventListener("click", (event) => {
  const card = event.target.closest("article");
  if (card && !event.target.closest("button")) mark(card.dataset.id, false);
});
for (const button of document.querySelectorAll("button[data-filter]")) {
  button.addEventListener("click", () => {
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.filter))) filterBy(name, value);
    parts.bar.scrollIntoView();
  });
}
const dialog = new Relabel(parts.relabel, content.classes, decide);
refilter();
