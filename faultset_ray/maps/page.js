"use strict";
(() => {
  const facts = document.getElementById("facts");
  const heads = [...document.querySelectorAll("#regions thead th")].map((head) => head.textContent);
  let kept = null;
  const show = (mark) => {
    for (const each of document.querySelectorAll(".chosen")) each.classList.remove("chosen");
    if (mark === null) return;
    const row = document.getElementById(mark.dataset.row);
    const list = document.createElement("dl");
    [...row.cells].forEach((cell, at) => {
      if (cell.textContent === "") return;
      const name = document.createElement("dt");
      const value = document.createElement("dd");
      name.textContent = heads[at];
      value.textContent = cell.textContent;
      list.append(name, value);
    });
    facts.replaceChildren(list);
    mark.classList.add("chosen");
    row.classList.add("chosen");
  };
  for (const mark of document.querySelectorAll(".mark")) {
    mark.addEventListener("mouseenter", () => show(mark));
    mark.addEventListener("mouseleave", () => show(kept));
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("click", (event) => {
      event.preventDefault();
      kept = kept === mark ? null : mark;
      show(mark);
    });
  }
})();
