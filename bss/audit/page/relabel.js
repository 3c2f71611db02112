// Choose a class by typing a part of it: the classes that the modalities show come first.
class Relabel {
  constructor(dialog, classes, decide) {
    this.dialog = dialog;
    this.classes = classes;
    this.decide = decide;
    this.input = dialog.querySelector("input");
    this.list = dialog.querySelector("ul");
    this.input.addEventListener("input", () => this.show());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const first = this.list.querySelector("button");
      if (first) this.choose(first.dataset.label);
    });
  }

  open(sample) {
    this.sample = sample;
    this.dialog.querySelector("h2").textContent = `New label of ${sample.id}`;
    this.input.value = "";
    this.show();
    this.dialog.showModal();
    this.input.focus();
  }

  show() {
    const { suggested, inputs } = this.sample;
    const likely = [suggested, ...inputs.map((input) => input.shows)].filter((label) => label !== null);
    const wanted = this.input.value.trim().toLowerCase();
    const matching = [...new Set([...likely, ...this.classes])].filter(
      (label) => label !== this.sample.class && label.toLowerCase().includes(wanted),
    );
    // What was typed in full comes first.
    matching.sort((a, b) => (b.toLowerCase() === wanted) - (a.toLowerCase() === wanted));
    this.list.replaceChildren(
      ...matching.slice(0, 100).map((label) => {
        const button = el("button", { type: "button", text: label });
        button.dataset.label = label;
        button.addEventListener("click", () => this.choose(label));
        return el("li", {}, button);
      }),
    );
  }

  choose(label) {
    this.dialog.close();
    this.decide(this.sample, "relabel", label);
  }
}
