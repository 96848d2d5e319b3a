"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (where, one) => where.querySelector(one), $$ = (where, all) => [...where.querySelectorAll(all)];
  const MOST_DRAWN = 12;
  // Colours, marks and dashes of a learner are those of the figures (harness/report/styles.py).
  const COLOURS = 10, DASHES = ["none", "5 3", "1.5 3", "7 3 1.5 3"];
  const polygon = (corners) => ({ draw(context, size) {  // corners of a shape with area 1, which d3 lacks
    const side = Math.sqrt(size);
    corners.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * side, y * side));
    context.closePath();
  } });
  const around = (count, radius, start) => d3.range(count).map((i) => start + 2 * Math.PI * i / count).map((angle) => [radius * Math.sin(angle), -radius * Math.cos(angle)]);
  const plus = [[3, 1], [1, 1], [1, 3], [-1, 3], [-1, 1], [-3, 1], [-3, -1], [-1, -1], [-1, -3], [1, -3], [1, -1], [3, -1]];
  const cross = plus.map(([x, y]) => [(x - y) / Math.sqrt(40), (x + y) / Math.sqrt(40)]);
  const SYMBOLS = [d3.symbolCircle, d3.symbolSquare, d3.symbolTriangle, d3.symbolDiamond, polygon(around(3, 0.88, Math.PI)), d3.symbolCross,
                   polygon(cross), d3.symbolStar, polygon(around(3, 0.88, -Math.PI / 2)), polygon(around(6, 0.62, 0))];
  const style = (learner) => ({ colour: `var(--c${learner % COLOURS})`, symbol: SYMBOLS[learner % COLOURS],
                                dash: DASHES[(learner + Math.floor(learner / COLOURS)) % DASHES.length] });

  // Elements are created from text: content of a suite is never parsed as HTML.
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  };
  const number = (value, digits = 1) => value === null ? "–" : value.toFixed(digits).replace("-", "−");
  const span = (low, high, digits = 1) => low === null ? "" : `[${number(low, digits)}, ${number(high, digits)}]`;

  function swatches(where) {
    for (const place of $$(where, ".swatch")) {
      const { colour, symbol, dash } = style(+place.dataset.learner);
      const wide = 26, high = 12;
      const svg = d3.create("svg").attr("viewBox", `0 0 ${wide} ${high}`).attr("width", "100%").attr("height", "100%").attr("aria-hidden", "true");
      svg.append("line").attr("x1", 0).attr("x2", wide).attr("y1", high / 2).attr("y2", high / 2)
        .attr("stroke", colour).attr("stroke-width", 2).attr("stroke-dasharray", dash === "none" ? null : dash);
      svg.append("path").attr("transform", `translate(${wide / 2},${high / 2})`).attr("fill", colour).attr("stroke", colour)
        .attr("d", d3.symbol(symbol, 34)());
      place.replaceChildren(svg.node());
    }
  }

  // ------------------------------------------------------------------------------------------------------ tables

  const tabs = data.tabs.map((tab, index) => ({ ...tab, index, panel: $$(document, ".panel")[index], drawn: false }));

  for (const tab of tabs) {
    tab.views = $$(tab.panel, ".table").map((element, index) => prepare(tab, tab.tables[index], element));
  }

  function prepare(tab, table, element) {
    const body = $(element, "tbody"), rows = $$(body, "tr"), status = $(element, ".status");
    const view = { tab, table, element, body, rows, status, column: table.first, ascending: false, visible: rows.length };
    view.words = new Map(rows.map((row) => [row, row.dataset.words.toLowerCase()]));
    view.start = new Map(rows.map((row) => [row, +row.dataset.row]));
    for (const button of $$(element, ".sort")) {
      button.addEventListener("click", () => {
        const column = +button.dataset.column;
        sort(view, column, view.column === column ? !view.ascending : column < 0);
      });
    }
    const filter = $(element, ".filter"), family = $(element, ".family"), passing = $(element, ".passing");
    const apply = () => sift(view, filter.value, family?.value ?? "", passing?.checked ?? false);
    filter.addEventListener("input", apply);
    family?.addEventListener("change", apply);
    passing?.addEventListener("change", apply);
    body.addEventListener("mouseover", (event) => {
      const row = event.target.closest("tr"), learner = row && table.rows[+row.dataset.row].learner;
      light(tab, learner);
    });
    body.addEventListener("mouseleave", () => light(tab, null));
    return view;
  }

  function sort(view, column, ascending) {
    const { table, start } = view;
    const key = (row) => column < 0 ? start.get(row) : table.cells[start.get(row)][column]?.[0] ?? null;
    const sorted = [...view.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === null || y === null) return (x === null) - (y === null) || start.get(a) - start.get(b);
      return (ascending ? x - y : y - x) || start.get(a) - start.get(b);
    });
    view.rows = sorted;
    view.column = column; view.ascending = ascending;
    view.body.append(...sorted);
    for (const head of $$(view.element, "thead th[scope=col]")) head.removeAttribute("aria-sort");
    const head = $(view.element, `.sort[data-column="${column}"]`).parentElement;
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    for (const row of [head.parentElement, ...sorted]) [...row.cells].forEach((cell, place) => cell.classList.toggle("sorted", column >= 0 && place === head.cellIndex));
    rank(view);
    const name = column < 0 ? "the suite's order" : table.columns[column].name;
    const how = `orted by ${name}${column < 0 ? "" : ascending ? ", ascending" : ", descending"}`;
    view.status.textContent = `s${how}`;
    $(view.element, "caption").textContent = `S${how}`;
    later(view.tab);
  }

  // Show the ranks of the column that the table is sorted by, if it has any.
  function rank(view) {
    if (view.table.first === null) return;
    const ranked = view.table.compared.includes(view.column) ? view.column : view.table.first;
    for (const row of view.rows) {
      row.cells[0].textContent = row.cells[ranked + 2].dataset.rank ?? "–";
    }
    $(view.element, "thead .rank").title = `in ${view.table.columns[ranked].name}`;
  }

  function sift(view, text, family, passing) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let visible = 0;
    for (const row of view.rows) {
      const shown = words.every((word) => view.words.get(row).includes(word)) && (!family || row.dataset.family === family)
        && (!passing || row.dataset.trust === "PASS");
      row.hidden = !shown;
      visible += shown;
    }
    view.visible = visible;
    view.status.textContent = `${visible} of ${view.rows.length} rows`;
    later(view.tab);
  }

  // ------------------------------------------------------------------------------------------------------ charts

  const waiting = new Set();
  function later(tab) {  // charts follow once the table has answered
    if (waiting.has(tab)) return;
    waiting.add(tab);
    setTimeout(() => { waiting.delete(tab); draw(tab); }, 120);
  }

  // Learners to draw: those whose rows are shown, in their order. If there are many, only the first have colours.
  function chosen(tab) {
    const view = tab.views[0];
    const order = view.rows.filter((row) => !row.hidden).map((row) => view.table.rows[view.start.get(row)].learner).filter((l) => l !== null);
    return { order, bright: new Set(order.slice(0, MOST_DRAWN)) };
  }

  function draw(tab) {
    const place = $(tab.panel, ".charts"), names = data.learners, { order, bright } = chosen(tab);
    const parts = tab.charts.flatMap((chart) => DRAWN[chart.type](tab, chart, names, order, bright));
    place.replaceChildren(...parts);
    swatches(place);
    tab.drawn = true;
  }

  function legend(tab, names, order, bright) {
    const list = make("div", { class: "legend", role: "group", "aria-label": "Learners; press to highlight one" });
    for (const learner of order.filter((l) => bright.has(l))) {
      list.append(make("button", { type: "button", "aria-pressed": "false", onclick: (event) => {
        const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
        for (const other of $$(list, "button")) other.setAttribute("aria-pressed", "false");
        event.currentTarget.setAttribute("aria-pressed", on);
        tab.kept = on ? learner : null;
        light(tab, tab.kept);
      }, onmouseenter: () => light(tab, learner), onmouseleave: () => light(tab, null) },
        make("span", { class: "swatch", "data-learner": learner }), names[learner]));
    }
    if (order.length > bright.size) list.append(make("span", { class: "sub" }, `${order.length - bright.size} more in grey; filter the table to see them in colour`));
    return list;
  }

  function light(tab, learner) {
    learner = learner ?? tab.kept ?? null;
    if (learner === tab.lit) return;
    tab.lit = learner;
    const place = $(tab.panel, ".charts");
    place.classList.toggle("lighting", learner !== null);
    for (const group of $$(place, "g[data-learner]")) group.classList.toggle("lit", +group.dataset.learner === learner);
    for (const view of tab.views) for (const row of view.rows) row.classList.toggle("lit", learner !== null && view.table.rows[view.start.get(row)].learner === learner);
  }

  function plot(options) {
    const drawn = Plot.plot({ style: { background: "none", fontSize: "12px" }, ...options });
    drawn.setAttribute("role", "img");
    for (const part of $$(drawn, "[aria-label]")) {  // a picture has one name, and its parts none
      part.dataset.mark = part.getAttribute("aria-label");
      part.removeAttribute("aria-label");
    }
    return drawn;
  }
  // A mark carries its learner, so that one learner can be highlighted in all charts at once.
  const owned = (learner) => ({ render(index, scales, values, dimensions, context, next) {
    const group = next(index, scales, values, dimensions, context);
    group?.setAttribute("data-learner", learner);
    return group;
  } });
  // Width of each of several charts: its column of a grid with columns of at least so many pixels.
  const room = (tab, count, least, most, gap = 24) => {
    const whole = Math.max(260, $(tab.panel, ".charts").clientWidth), columns = Math.max(1, Math.min(count, Math.floor((whole + gap) / (least + gap))));
    return Math.min(most, Math.floor((whole + gap) / columns - gap));
  };
  // The positions on an axis whose labels do not touch.
  const legible = (places, pixels, at = (place) => place) => {
    const least = 32 * (at(places.at(-1)) - at(places[0])) / pixels, kept = [];
    for (const place of places) if (!kept.length || at(place) - at(kept.at(-1)) >= least) kept.push(place);
    return kept;
  };
  const padded = (low, high, share, least = 0) => { const pad = share * (high - low) || least; return [low - pad, high + pad]; };
  const figure = (title, drawn) => make("figure", {}, ...(title ? [make("figcaption", {}, title)] : []), drawn);
  const heading = (title, ...more) => make("div", { class: "chart-head" }, make("h3", {}, title), ...more);
  const tip = (points, position, title) => Plot.tip(points, Plot.pointer({ ...position, title, fontSize: 12, lineHeight: 1.35, strokeOpacity: 0.4 }));

  const DRAWN = {
    curves(tab, chart, names, order, bright) {
      const shown = new Set(order), wide = chart.panels.length === 1, width = room(tab, chart.panels.length, 336, wide ? 720 : 520);
      const panels = chart.panels.map((panel) => {
        const series = panel.series.filter((one) => shown.has(one.learner));
        const lines = series.map((one) => ({ ...one, points: one.points.map(([x, y, low, high]) => ({ x, y, low, high, learner: one.learner })) }));
        const places = [...new Set(lines.flatMap((one) => one.points.map((p) => p.x)))].sort((a, b) => a - b);
        const marks = [Plot.ruleY([0], { stroke: "var(--line)" }),
                       Plot.axisX(legible(places, width - 62, chart.log ? Math.log : undefined), { text: (x) => `${+x.toPrecision(4)}`, label: chart.along, labelArrow: "none", labelAnchor: "center" })];
        for (const { learner, points } of lines.filter((one) => !bright.has(one.learner))) {
          marks.push(Plot.line(points, { x: "x", y: "y", stroke: "var(--faint)", strokeWidth: 1, ...owned(learner) }));
        }
        for (const { learner, points, proven } of lines.filter((one) => bright.has(one.learner))) {
          const { colour, symbol, dash } = style(learner);
          if (proven) {
            marks.push(Plot.areaY(proven, { x: "0", y1: "1", y2: "2", fill: colour, fillOpacity: 0.07, ...owned(learner) }),
                       Plot.line(proven, { x: "0", y: "1", stroke: colour, strokeWidth: 1, strokeDasharray: "1 3", ...owned(learner) }));
          }
          marks.push(Plot.areaY(points, { x: "x", y1: "low", y2: "high", fill: colour, fillOpacity: 0.12, ...owned(learner) }),
                     Plot.line(points, { x: "x", y: "y", stroke: colour, strokeWidth: 1.8, strokeDasharray: dash, ...owned(learner) }),
                     Plot.dot(points, { x: "x", y: "y", fill: colour, symbol, r: 3, ...owned(learner) }));
        }
        marks.push(tip(lines.flatMap((one) => one.points), { x: "x", y: "y" },
                       (p) => `${names[p.learner]}\n${chart.along} ${+p.x.toPrecision(4)}: ${number(p.y)} % ${span(p.low, p.high)}`));
        const drawn = plot({ width, height: wide ? 360 : 270, marginTop: 26, marginLeft: 42, marginBottom: 38, ariaLabel: `Accuracy against ${chart.along}${panel.title ? ", " + panel.title : ""}; the numbers are in the table`,
          x: { type: chart.log ? "log" : "linear", inset: 6 },
          y: { domain: [0, 100], label: "accuracy, %", labelArrow: "none", grid: true }, marks });
        return figure(panel.title, drawn);
      });
      return [heading(`Accuracy against ${chart.along}`), make("p", { class: "sub" }, "Bands: 95 % intervals." + (chart.panels.some((panel) => panel.series.some((one) => one.proven)) ? " Dotted, with a band below the curve: proven; the truth is in the band." : "")),
              legend(tab, names, order, bright), make("div", { class: "grid" }, ...panels)];
    },

    scatter(tab, chart, names, order, bright) {
      const shown = new Set(order);
      const place = make("div", { class: "grid one" });
      const pick = make("select", { "aria-label": "Which robustness", onchange: () => show(+pick.value) },
        ...chart.choices.map((choice, index) => make("option", { value: index }, choice.title)));
      const show = (index) => {
        tab.choice = index;
        const points = chart.choices[index].points.filter((p) => shown.has(p.learner)).map((p) => ({
          ...p, cx: p.x[0], cy: p.y[0], name: names[p.learner] + (p.trusted ? "" : " †") }));
        const front = points.filter((p) => p.front).sort((a, b) => a.cx - b.cx || b.cy - a.cy);
        const width = room(tab, 1, 760, 760), height = 400, side = Math.min(130, width / 4);
        const [xs, ys] = ["x", "y"].map((axis) => {
          const [low, high] = padded(...d3.extent(points.flatMap((p) => p[axis])), 0.05, 2);
          return [Math.max(0, low), Math.min(100, high)];
        });
        const labels = apart(points.filter((p) => bright.has(p.learner)), height - 70, ys);
        const marks = [
          Plot.line(front, { x: "cx", y: "cy", stroke: "currentColor", strokeOpacity: 0.6, strokeDasharray: "4 3" })];
        for (const p of points) {
          const seen = bright.has(p.learner), { symbol } = style(p.learner), colour = seen ? style(p.learner).colour : "var(--faint)", own = owned(p.learner);
          marks.push(Plot.ruleX([p], { x: "cx", y1: p.y[1], y2: p.y[2], stroke: colour, strokeWidth: 1.2, ...own }),
                     Plot.ruleY([p], { y: "cy", x1: p.x[1], x2: p.x[2], stroke: colour, strokeWidth: 1.2, ...own }),
                     Plot.dot([p], { x: "cx", y: "cy", fill: colour, symbol, r: 4.5, ...own }));
          if (p.front) marks.push(Plot.dot([p], { x: "cx", y: "cy", stroke: "currentColor", strokeWidth: 1.4, r: 8.5, ...own }));
        }
        for (const p of labels) {
          marks.push(Plot.link([p], { x1: "cx", y1: "cy", x2: xs[1], y2: "at", stroke: style(p.learner).colour, strokeOpacity: 0.35, strokeWidth: 0.8, insetEnd: 4, ...owned(p.learner) }),
                     Plot.text([p], { x: () => xs[1], y: "at", text: (q) => shorten(q.name, (side - 6) / (p.front ? 7.6 : 6.8)), dx: 6, textAnchor: "start", fill: "currentColor", fontWeight: p.front ? 700 : 400, ...owned(p.learner) }));
        }
        marks.push(tip(points, { x: "cx", y: "cy" }, (p) => `${p.name}${p.front ? " (Pareto front)" : ""}\nclean: ${number(p.cx)} % ${span(p.x[1], p.x[2])}\n${chart.choices[index].title}: ${number(p.cy)} % ${span(p.y[1], p.y[2])}`));
        place.replaceChildren(figure("", plot({ width, height, marginTop: 26, marginLeft: 42, marginRight: side, marginBottom: 40,
          ariaLabel: `Clean accuracy against accuracy under ${chart.choices[index].title}; the numbers are in the table`,
          x: { domain: xs, label: "clean accuracy, %", labelArrow: "none", grid: true, labelAnchor: "center" },
          y: { domain: ys, label: "robust accuracy, %", labelArrow: "none", grid: true }, marks })));
      };
      const start = tab.choice ?? Math.min(chart.choices.length - 1, Math.floor(chart.choices.length / 2));
      pick.value = start;
      show(start);
      return [heading("Accuracy against robustness", make("label", {}, "robust against ", pick)),
              make("p", { class: "sub" }, "Ring, bold name and dashed line: the Pareto front; no trusted learner is at least as good in both and better in one. Lines: 95 % intervals."), place];
    },

    dots(tab, chart, names, order, bright) {
      const published = tab.tables.some((table) => table.columns.some((column) => column.beside === "published"));
      return [heading("Numbers with their intervals"), make("p", { class: "sub" }, `Filled: the best and all that are not shown to be worse.${published ? " Upright stroke: as published." : ""}`),
              ...multiples(tab, names, order, bright, false)];
    },

    multiples(tab, chart, names, order, bright) {
      return [heading("Measure by measure"), ...multiples(tab, names, order, bright, true)];
    },
  };

  const shorten = (name, most) => name.length > most ? name.slice(0, Math.max(3, Math.floor(most) - 1)) + "…" : name;

  // Place names near their points, at least 13 px apart.
  function apart(points, pixels, [low, high]) {
    const gap = 13 * (high - low) / pixels, placed = points.map((p) => ({ ...p, at: p.cy })).sort((a, b) => a.at - b.at || a.cx - b.cx);
    for (let i = 0; i < placed.length; i++) placed[i].at = Math.max(placed[i].at, i ? placed[i - 1].at + gap : 0);
    for (let i = placed.length - 1; i >= 0; i--) placed[i].at = Math.min(placed[i].at, i < placed.length - 1 ? placed[i + 1].at - gap : high);
    return placed;
  }

  function multiples(tab, names, order, bright, bars) {
    return tab.views.map(({ table }) => {
      const rowOf = new Map(table.rows.map((row, index) => [row.learner, index]));
      const count = table.columns.filter((column) => !column.beside).length;
      const panels = table.columns.flatMap((column, j) => {
        if (column.beside) return [];
        const beside = table.columns[j + 1]?.beside === "published" ? j + 1 : -1;
        const points = order.filter((l) => bright.has(l) && rowOf.has(l)).flatMap((learner) => {
          const cell = table.cells[rowOf.get(learner)][j];
          return cell && cell[0] !== null ? [{ learner, name: names[learner], v: cell[0], low: cell[1] ?? cell[0], high: cell[2] ?? cell[0], text: cell[3], best: cell[5],
                                               theirs: table.cells[rowOf.get(learner)][beside]?.[0] ?? null }] : [];
        });
        if (!points.length || points.some((p) => Number.isNaN(parseFloat(p.text)))) return [];  // nothing, or words
        const ends = d3.extent([...points.flatMap((p) => [p.low, p.v, p.high, p.theirs]), bars ? 0 : null]);  // null is none
        const domain = padded(...ends, 0.06, 1).map((end, side) => bars && ends[side] === 0 || end * ends[side] < 0 ? 0 : end);  // never past zero for nothing
        const marks = [];
        for (const p of points) {
          const { colour, symbol } = style(p.learner), own = owned(p.learner);
          if (bars) marks.push(Plot.barX([p], { x: "v", y: "name", fill: colour, fillOpacity: 0.8, insetTop: 2, insetBottom: 2, ...own }));
          marks.push(Plot.ruleY([p], { y: "name", x1: "low", x2: "high", stroke: bars ? "currentColor" : colour, strokeWidth: 2, ...own }));
          if (!bars) marks.push(Plot.dot([p], { x: "v", y: "name", symbol, r: 4.5, stroke: colour, fill: p.best ? colour : "var(--paper)", strokeWidth: 1.8, ...own }));
          if (p.theirs !== null) marks.push(Plot.tickX([p], { x: "theirs", y: "name", stroke: "currentColor", strokeWidth: 1.8, inset: 3, ...own }));
          marks.push(Plot.text([p], { x: () => domain[1], y: "name", text: "text", textAnchor: "start", dx: 6, fill: "currentColor", ...own }));
        }
        if (bars) marks.push(Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.5 }));
        const width = room(tab, count, 272, 480), marginLeft = Math.min(130, 16 + 6.6 * d3.max(points, (p) => p.name.length));
        const unit = column.unit && !column.name.includes("%") ? `${column.metric}, ${column.unit}` : "", marginBottom = unit ? 40 : 26;
        return [figure(column.name, plot({ width, height: 8 + 20 * points.length + marginBottom, marginLeft, marginRight: 52, marginTop: 6, marginBottom,
          ariaLabel: `${column.name}; the numbers are in the table`,
          x: { domain, label: unit || null, labelArrow: "none", labelAnchor: "center", ticks: Math.max(2, Math.floor((width - marginLeft - 52) / 56)), tickFormat: domain[1] >= 10000 ? d3.format("~s") : undefined, grid: true },
          y: { domain: points.map((p) => p.name), label: null, tickSize: 0, tickFormat: (name) => shorten(name, 16) }, marks }))];
      });
      return make("div", { class: "grid small" }, ...panels);
    });
  }

  // ------------------------------------------------------------------------------------------------------- pages

  const page = $(document, ".page");

  const COMPARISON = "p is for this pair and column only, two-sided; bold and ranks in the tables are corrected for all comparisons. " +
    "Interval: 95 %, of the difference, paired by image or episode, and by seed if there are several.";

  function showComparison(id, name, one, other) {
    const tab = tabs.find((t) => t.id === id), table = tab?.tables.find((t) => t.name === name);
    if (!table || !Object.keys(table.pairs).length) return false;
    const names = data.learners, keys = Object.keys(table.pairs);
    const known = [...new Set(keys.flatMap((key) => key.split(",").map(Number)))].sort((a, b) => a - b);
    let [a, b] = [names.indexOf(one), names.indexOf(other)];
    if (!known.includes(a)) [a, b] = keys[0].split(",").map(Number);
    if (!known.includes(b) || a === b) b = known.find((l) => l !== a && (table.pairs[`${Math.min(a, l)},${Math.max(a, l)}`]));
    const link = (x, y) => `#compare/${[id, name, names[x], names[y]].map(encodeURIComponent).join("/")}`;
    const picker = (label, value, go) => make("label", {}, `${label} `, make("select", { onchange: (event) => { location.hash = go(+event.currentTarget.value); } },
      ...known.map((l) => make("option", { value: l, ...(l === value ? { selected: "" } : {}) }, names[l]))));
    const turned = a > b, pair = table.pairs[`${Math.min(a, b)},${Math.max(a, b)}`];
    const title = `${names[a]} against ${names[b]}`;
    page.replaceChildren(make("p", { class: "crumb" }, make("a", { class: "back" })),
      make("h2", {}, title), make("p", { class: "sub" }, table.title),
      make("div", { class: "pickers" }, picker("first", a, (l) => link(l, l === b ? a : b)), picker("second", b, (l) => link(l === a ? b : a, l))));
    if (!pair) {
      page.append(make("p", { class: "notice" }, "These two are not compared here: with so many learners, each is compared with the best only, or the two share no column."));
      return title;
    }
    const rows = pair.flatMap((found, place) => {
      if (!found) return [];
      const j = table.compared[place], [difference, low, high, p, first, second] = found, sign = turned ? -1 : 1;
      const text = (l) => table.cells[table.rows.findIndex((row) => row.learner === l)][j];
      return [{ name: table.columns[j].name, a: text(a), b: text(b), difference: sign * difference, p, wins: turned ? second : first, losses: turned ? first : second,
                low: low === null ? null : turned ? -high : low, high: high === null ? null : turned ? -low : high }];
    });
    const cell = (found) => found ? [make("span", { class: "n" }, found[3]), make("span", { class: "arms" }, found[4])] : ["–"];
    const heads = [`${names[a]}, %`, `${names[b]}, %`, "difference, points", "95 % interval", "p", `wins of ${names[a]}`, `wins of ${names[b]}`];
    const line = (row) => {
      const clear = row.low !== null && (row.low > 0 || row.high < 0);
      const difference = make("span", { class: "n" }, (row.difference > 0 ? "+" : "") + number(row.difference));
      const contents = [cell(row.a), cell(row.b), [difference], [span(row.low, row.high)], [row.p < 0.001 ? "< 0.001" : row.p.toPrecision(2)], [`${row.wins}`], [`${row.losses}`]];
      return make("tr", { role: "row" }, make("th", { role: "rowheader", scope: "row" }, row.name),
        ...contents.map((content, place) => make("td", { role: "cell", "data-label": heads[place], class: clear && content[0] === difference ? "best" : null }, ...content)));
    };
    page.append(make("div", { class: "scroll stack", role: "region", tabindex: "0", "aria-label": title }, make("table", { role: "table", class: "plain versus" }, make("caption", {}, `Paired differences in ${table.title}`),
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...["number", ...heads].map((head) => make("th", { role: "columnheader", scope: "col" }, head)))),
      make("tbody", { role: "rowgroup" }, ...rows.map(line)))),
      make("p", { class: "sub long" }, "Wins: images that only this learner got right, or episodes in which it was better. " + COMPARISON));
    page.append(make("div", { class: "chart-head" }, make("h3", {}, "Differences")), make("div", { class: "grid one" }, figure("", plot({ width: Math.min(760, page.clientWidth), height: 50 + 24 * rows.length, marginLeft: 130, marginBottom: 38, ariaLabel: `Differences between ${title}; the numbers are in the table`,
      x: { label: `difference, points; right of 0 ${shorten(names[a], 20)} is better`, labelArrow: "none", labelAnchor: "center", grid: true, inset: 10 }, y: { domain: rows.map((row) => row.name), label: null, tickSize: 0 },
      marks: [Plot.ruleX([0], { strokeOpacity: 0.6 }), Plot.ruleY(rows.filter((row) => row.low !== null), { y: "name", x1: "low", x2: "high", stroke: style(a).colour, strokeWidth: 2 }),
              Plot.dot(rows, { x: "difference", y: "name", r: 4.5, fill: style(a).colour })] }))));
    return title;
  }

  // ----------------------------------------------------------------------------------------------------- routing

  let current = null;
  function route() {
    const parts = location.hash.slice(1).split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
    const [kind, ...rest] = parts;
    page.hidden = false;  // what is drawn asks how wide it may be
    const title = kind === "compare" ? showComparison(rest[0], rest[1], rest[2], rest[3]) : false;
    const tab = tabs.find((t) => t.id === parts.join("/")) ?? (title ? null : current ?? tabs[0]);
    page.hidden = !title;
    document.getElementById("about").hidden = !!title;
    for (const t of tabs) {
      t.panel.classList.toggle("current", t === tab);
      const link = $$(document, "[role=tab]")[t.index];
      link.setAttribute("aria-selected", t === tab);
      link.tabIndex = t === (tab ?? current ?? tabs[0]) ? 0 : -1;
      if (t === tab) link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40;  // on a phone they are in one line
    }
    if (tab) {
      current = tab;
      if (!tab.drawn) draw(tab);
    } else {
      const back = $(page, ".back"), home = tabs.find((t) => t.id === rest[0]);
      back.href = `#${encodeURIComponent(home.id)}`;
      back.textContent = `Back to ${home.id}`;
      window.scrollTo(0, 0);
      $(document, "main").focus({ preventScroll: true });
    }
    document.title = `${title || tab.id} – ${data.suite} – leaderboard`;
    hideTip();
  }
  window.addEventListener("hashchange", route);
  let wide = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth === wide) return;  // a phone's address bar comes and goes
    wide = innerWidth;
    for (const tab of tabs) tab.drawn = false;
    if (page.hidden) later(current);
  });

  $(document, "[role=tablist]").addEventListener("keydown", (event) => {
    const links = $$(document, "[role=tab]"), at = links.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = links[(to + links.length) % links.length];
    location.hash = next.hash;
    next.focus();
  });

  // ---------------------------------------------------------------------------------------------------- trust marks

  const tipBox = document.getElementById("tip");
  function showTip(mark) {
    tipBox.replaceChildren(...[...document.getElementById(mark.getAttribute("aria-describedby")).childNodes].map((node) => node.cloneNode(true)));
    tipBox.hidden = false;
    const at = mark.getBoundingClientRect(), box = tipBox.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, innerWidth - box.width - 8));
    const below = at.bottom + box.height < innerHeight || at.top < box.height;
    tipBox.style.left = `${left}px`;
    tipBox.style.top = `${below ? at.bottom : at.top - box.height}px`;
  }
  function hideTip() { tipBox.hidden = true; }
  for (const [on, off] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    document.addEventListener(on, (event) => { const mark = event.target.closest?.(".mark"); if (mark) showTip(mark); });
    document.addEventListener(off, (event) => { if (event.target.closest?.(".mark") && event.relatedTarget !== tipBox) hideTip(); });
  }
  tipBox.addEventListener("mouseleave", hideTip);  // what it says can be pointed at, and copied
  document.addEventListener("click", (event) => { const mark = event.target.closest?.(".mark"); if (mark) showTip(mark); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  window.addEventListener("scroll", hideTip, { passive: true, capture: true });

  document.body.classList.add("scripted");
  swatches(document);
  route();
})();
