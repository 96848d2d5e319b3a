"use strict";
// Filters of the front page. The choice is kept in the address, so that it can be linked to.
(() => {
  const form = document.getElementById("filters"), status = document.getElementById("status");
  const fields = ["words", "family", "dataset", "threat"].map((id) => document.getElementById(id));
  const rows = [...document.querySelectorAll(".all tbody tr")], cards = [...document.querySelectorAll(".card")];
  const given = new URLSearchParams(location.search);
  for (const field of fields) field.value = given.get(field.id) ?? "";
  for (const field of fields) if (field.selectedIndex === -1) field.value = "";  // an address may name anything

  function sift() {
    const [words, family, dataset, threat] = fields.map((field) => field.value);
    const asked = words.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (list, one) => !one || list.split("|").includes(one);
    const suites = new Set();
    let visible = 0;
    for (const row of rows) {
      const { dataset: own } = row, text = own.words.toLowerCase();
      const shown = asked.every((word) => text.includes(word)) && (!family || own.family === family)
        && has(own.dataset, dataset) && has(own.threat, threat);
      row.hidden = !shown;
      visible += shown;
      if (shown) suites.add(own.suite);
    }
    const all = fields.every((field) => !field.value);
    for (const card of cards) card.hidden = !all && !suites.has(card.dataset.suite);
    status.textContent = all ? "" : `${visible} of ${rows.length} rows, ${suites.size} of ${cards.length} suites`;
  }
  function keep() {
    const chosen = new URLSearchParams(fields.filter((field) => field.value).map((field) => [field.id, field.value]));
    try { history.replaceState(null, "", `${location.pathname}${chosen.size ? `?${chosen}` : ""}${location.hash}`); } catch { /* a file without an address of its own */ }
  }
  form.addEventListener("input", () => { sift(); keep(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  sift();
})();
