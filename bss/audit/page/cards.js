// What a sample looks like. All texts of the data are set as text, never as markup.
function el(tag, { className, text, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  Object.assign(node, properties);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const percent = (p) => (p > 0.995 && p < 1 ? `${(100 * p).toFixed(1)} %` : `${Math.round(100 * p)} %`);

function mediaOf(input, name, id) {
  const parts = [];
  if (input[".webp"]) {
    parts.push(el("img", { src: input[".webp"], alt: `${name} of ${id}`, loading: "lazy", decoding: "async" }));
  }
  if (input[".wav"]) {
    const player = el("audio", { src: input[".wav"], controls: true, preload: "none" });
    player.setAttribute("aria-label", `${name} of ${id}`);
    parts.push(player);
  }
  if (input.written) parts.push(el("blockquote", { text: input.text || "(no text)" }));
  return el("div", { className: "media" }, ...parts);
}

// One modality: its picture, sound or text, and the class that it shows.
function inputOf(sample, name, input) {
  const differs = input.shows !== null && input.shows !== sample.class;
  const blamed = sample.blame === name;
  const head = el("h3", {}, el("span", { text: name }), blamed ? el("span", { className: "blame", text: "to blame" }) : null);
  const says =
    input.shows === null
      ? el("p", { className: "says", text: "no verdict" })
      : el(
          "p",
          { className: differs ? "says differs" : "says" },
          el("span", { text: "shows " }),
          el("strong", { text: input.shows }),
          el("span", { text: ` ${percent(input.confidence)}` }),
          el("progress", { max: 1, value: input.confidence, title: "how sure" }),
        );
  const facts = el("p", { className: "facts", text: input.facts, title: input.written ? "" : input.text });
  return el("section", { className: blamed ? "input blamed" : "input" }, head, mediaOf(input, name, sample.id), says, facts);
}

function copyOf(sample, modalities) {
  const { id, split, label, group, similarity, inputs } = sample.copy;
  const place = [split, group === null ? null : `group ${group}`].filter((text) => text !== null).join(", ");
  const alike = similarity === 1 ? "copy of" : `near-duplicate (cosine ${similarity.toFixed(3)}) of`;
  return el(
    "section",
    { className: "copy" },
    el("p", {}, el("span", { text: `${alike} ` }), el("strong", { text: id }), el("span", { text: `, ${label}, ${place}` })),
    el("div", { className: "inputs" }, ...inputs.map((input, i) => el("section", { className: "input" }, mediaOf(input, modalities[i], id)))),
  );
}

function words({ kind, value }) {
  return value ? `${kind} ${value}` : kind;
}

// The buttons of a sample: [key, decision, value, text].
function choicesOf(sample, modalities) {
  return [
    ["k", "keep", "", "Keep"],
    ["d", "drop", "", "Drop"],
    ["r", "relabel", null, "Relabel…"],
    ...modalities.map((name, i) => [`${i + 1}`, "ignore", name, `Ignore ${name}`]),
  ];
}

function cardOf(sample, content, decisions, actions) {
  const { modalities } = content;
  const decided = decisions.get(sample.id);
  const place = [sample.split, sample.group === null ? null : `group ${sample.group}`].filter((text) => text !== null);
  const head = el(
    "header",
    {},
    el("h2", { text: sample.id }),
    el("span", { className: "label" }, el("span", { text: "label " }), el("strong", { text: sample.class })),
    el("span", { className: "place", text: place.join(", ") }),
    el("span", { className: `kind ${sample.kind}`, text: sample.kind }),
  );
  const verdict = el(
    "p",
    { className: "verdict" },
    ...sample.explanations.map(([text, p]) => el("span", {}, el("span", { text: `${text} ` }), el("strong", { text: percent(p) }))),
  );
  const buttons = choicesOf(sample, modalities).map(([key, kind, value, text]) => {
    const chosen = decided !== null && decided.kind === kind && (value === null || decided.value === value);
    const shown = chosen && kind === "relabel" ? `Relabel: ${decided.value}` : text;
    const button = el("button", { type: "button", className: kind }, el("span", { text: shown }), el("kbd", { text: key.toUpperCase() }));
    button.setAttribute("aria-pressed", chosen);
    button.addEventListener("click", () => (value === null ? actions.relabel(sample) : actions.decide(sample, kind, value)));
    return button;
  });
  if (sample.proposal) {
    const [kind, value] = sample.proposal;
    const button = el("button", { type: "button", className: "propose" }, el("span", { text: `Accept: ${words({ kind, value })}` }), el("kbd", { text: "A" }));
    button.addEventListener("click", () => actions.decide(sample, kind, value));
    buttons.unshift(button);
  }
  const card = el(
    "article",
    { className: decided ? `card decided ${decided.kind}` : "card" },
    head,
    verdict,
    el("div", { className: "inputs" }, ...sample.inputs.map((input, i) => inputOf(sample, modalities[i], input))),
    sample.copy ? copyOf(sample, modalities) : null,
    el("div", { className: "choices" }, ...buttons),
  );
  card.dataset.id = sample.id;
  return card;
}
