"use strict";

// A click on a column's title sorts the table by it: numbers from the largest on, texts from A to Z, then the reverse.
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    const text = (row) => row.cells[column].textContent.trim();
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const rows = [...body.rows];
      const known = rows.filter((row) => text(row) !== "-");
      const missing = rows.filter((row) => text(row) === "-");
      const numeric = column > 0 && known.every((row) => !Number.isNaN(parseFloat(text(row))));
      const first = numeric ? "descending" : "ascending";
      const order = head.ariaSort !== first ? first : numeric ? "ascending" : "descending";
      const compare = numeric
        ? (a, b) => parseFloat(text(a)) - parseFloat(text(b))
        : (a, b) => text(a).localeCompare(text(b), "en", { numeric: true });
      known.sort((a, b) => (order === "ascending" ? compare(a, b) : compare(b, a)));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      body.append(...known, ...missing);
    });
  });
}

// The scheduler under the pointer stands out in a plot with a line for each; a click keeps it so.
function highlighted(svg) {
  const parts = [...svg.querySelectorAll("[data-series]")];
  let kept = null;
  const show = (series) =>
    parts.forEach((part) => part.classList.toggle("dim", series !== null && part.dataset.series !== series));
  for (const part of parts) {
    const line = [...part.querySelectorAll("path")].find((path) => path.style.fill === "none");
    if (line) {
      const target = line.cloneNode();
      target.style.cssText = "fill: none; stroke: transparent; stroke-width: 9; pointer-events: stroke";
      line.after(target);
    }
    part.addEventListener("pointerenter", () => show(part.dataset.series));
    part.addEventListener("pointerleave", () => show(kept));
    part.addEventListener("click", () => {
      kept = kept === part.dataset.series ? null : part.dataset.series;
      show(kept);
    });
  }
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("svg").forEach(highlighted);
