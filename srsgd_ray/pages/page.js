"use strict";
// Colours of Okabe and Ito, as in the figures; of SRSGD and SGD always the first two.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#7f7f7f", "#cc79a7", "#56b4e9", "#d55e00"];
const RESERVED = {srsgd: 0, sgd: 1};
const SYMBOLS = {complete: "circle", running: "circle-open", pruned: "triangle-down-open",
  diverged: "x-thin-open", failed: "cross-thin-open"};
const $ = (id) => document.getElementById(id);
let data = DATA;
let study = new URLSearchParams(location.search).get("study") || "";

function colours(arms) {
  const names = arms.map((arm) => arm.name);
  const free = COLOURS.filter((_, at) => !names.some((name) => RESERVED[name] === at));
  let turn = 0;
  return Object.fromEntries(names.map((name) =>
    [name, name in RESERVED ? COLOURS[RESERVED[name]] : free[turn++ % free.length]]));
}

function number(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "-" : String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
}

// Plotly reads <b>, <a> and the like in texts: names of users are shown as they are.
function shown(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function element(kind, text, attributes = {}) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  return made;
}

function label(arm) {
  return shown((data.arms.find((known) => known.name === arm) || {label: arm}).label);
}

function table(place, columns, rows, about = {}, sorted = null, sort = null) {
  const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  for (const name of columns) {
    const cell = element("th", sort ? undefined : name.replaceAll("_", " "));
    if (about[name]) cell.title = about[name];
    if (sort) {
      const arrow = sorted && sorted.name === name ? (sorted.down ? " ▾" : " ▴") : "";
      const button = element("button", name.replaceAll("_", " ") + arrow, {type: "button"});
      button.addEventListener("click", () => sort(name));
      cell.append(button);
    }
    head.append(cell);
  }
  for (const row of rows) {
    const line = body.insertRow();
    for (const name of columns) {
      const cell = line.insertCell();
      cell.textContent = number(row[name]);
      if (typeof row[name] === "number") cell.className = "number";
      if (String(row[name]).length > 40) cell.className = "long";
    }
  }
  $(place).replaceChildren(made);
}

function options(place, names, chosen) {
  const kept = names.includes($(place).value) ? $(place).value : chosen;
  $(place).replaceChildren(...names.map((name) => element("option", name, {value: name})));
  $(place).value = kept;
}

function draw(place, traces, layout) {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text"), line = style.getPropertyValue("--line");
  const axis = {gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true};
  const whole = {margin: {l: 10, r: 10, t: 10, b: 10}, font: {color: text, size: 13},
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    legend: {orientation: "h", y: -0.25}, ...layout};
  for (const name of Object.keys(whole).filter((key) => /^[xy]axis/.test(key))) {
    whole[name] = {...axis, ...whole[name]};
  }
  Plotly.react(place, traces, whole, {responsive: true, displayModeBar: false});
}

// A range of over 20 times is read on a log axis.
function wide(values) {
  const found = values.filter((v) => typeof v === "number");
  return found.length > 1 && Math.min(...found) > 0 && Math.max(...found) > 20 * Math.min(...found)
    ? "log" : "-";
}

function configuration(trial) {
  const row = data.trials.rows.find((known) => known.trial === trial) || {trial};
  const names = ["trial", "state", ...(data.search ? Object.keys(data.search.knobs) : []), "seed"];
  return names.filter((name) => row[name] !== undefined && row[name] !== null)
    .map((name) => `${shown(name)}: ${shown(number(row[name]))}`).join("<br>");
}

function drawConfirmation(colour) {
  const found = data.confirmation, arms = found.arms;
  $("confirmation").hidden = !found.runs.length;
  if (!found.runs.length) return;
  const at = Object.fromEntries(arms.map((arm, place) => [arm.arm, place]));
  const pairs = {};
  found.runs.forEach((run) => (pairs[run.seed] ||= []).push(run));
  const traces = [{type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false,
    line: {color: "rgba(128,128,128,0.45)", width: 1}, x: [], y: []}];
  for (const runs of Object.values(pairs)) {
    for (const run of runs) { traces[0].x.push(at[run.arm]); traces[0].y.push(run.value); }
    traces[0].x.push(null); traces[0].y.push(null);
  }
  for (const arm of arms) {
    const runs = found.runs.filter((run) => run.arm === arm.arm);
    traces.push({type: "scatter", mode: "markers", name: label(arm.arm), showlegend: false,
      x: runs.map(() => at[arm.arm]), y: runs.map((run) => run.value),
      text: runs.map((run) => configuration(run.trial)), hovertemplate: "%{y}<br>%{text}",
      marker: {color: colour[arm.arm], size: 8}});
    if (arm.low !== null) traces.push({type: "scatter", mode: "markers", showlegend: false,
      x: [at[arm.arm] + 0.2], y: [arm.mean], marker: {color: colour[arm.arm], size: 11,
        symbol: "diamond"}, hovertemplate: `${label(arm.arm)}: mean %{y}`,
      error_y: {type: "data", symmetric: false, array: [arm.high - arm.mean],
        arrayminus: [arm.mean - arm.low], color: colour[arm.arm]}});
  }
  const what = `${found.metric} ${found.unit}`;
  draw("confirmation-plot", traces, {yaxis: {title: {text: shown(what)}},
    xaxis: {tickvals: Object.values(at), ticktext: arms.map((arm) => label(arm.arm)),
      range: [-0.5, arms.length - 0.4], showgrid: false}});
  table("confirmation-table", ["arm", found.units, "mean", "std", "low", "high", "not counted"],
    arms.map((arm) => ({...arm, [found.units]: arm.n, "not counted": arm.lost || "-"})));
  $("differences-table").hidden = !found.differences.length;
  if (found.differences.length) table("differences-table", Object.keys(found.differences[0]),
    found.differences);
}

function drawCurves(colour) {
  $("curves").hidden = !data.curves.length;
  if (!data.curves.length) return;
  options("curve-metric", data.curves.map((curve) => curve.metric), data.curves[0].metric);
  const curve = data.curves.find((known) => known.metric === $("curve-metric").value);
  const traces = [];
  for (const {name} of data.arms) {
    const rows = curve.rows.filter((row) => row.arm === name), x = rows.map((row) => row.epoch);
    if (!rows.length) continue;
    // The interval of two runs is so wide that it would hide the curves: their range, as in figures.
    const band = rows.filter((row) => row.n > 1).map((row) => row.n > 2 ? row :
      {...row, low: row.least, high: row.most});
    if (band.length) traces.push({type: "scatter", mode: "lines", hoverinfo: "skip", opacity: 0.25,
      x: [...band.map((r) => r.epoch), ...band.map((r) => r.epoch).reverse()], fill: "toself",
      y: [...band.map((r) => r.high), ...band.map((r) => r.low).reverse()], showlegend: false,
      line: {width: 0}, fillcolor: colour[name]});
    traces.push({type: "scatter", mode: "lines+markers", name: label(name), x,
      y: rows.map((row) => row.mean), text: rows.map((row) => row.n), marker: {size: 4},
      line: {color: colour[name]}, hovertemplate: "%{y}<br>epoch %{x}, %{text} runs"});
  }
  const restarts = data.restarts.filter((own) => own.epochs.length);
  restarts.forEach((own, place) => traces.push({type: "scatter", mode: "markers", yaxis: "y2",
    x: own.epochs, y: own.epochs.map(() => -place), showlegend: false,
    marker: {symbol: "line-ns-open", color: colour[own.arm], size: 10},
    hovertemplate: `${label(own.arm)} restarts<br>epoch %{x:.3f}`}));
  const strip = restarts.length ? 0.06 + 0.05 * restarts.length : 0;
  draw("curves-plot", traces, {xaxis: {title: {text: "epoch"}, anchor: restarts.length ? "y2" : "y"},
    yaxis: {title: {text: shown(curve.label)}, domain: [strip, 1],
      type: wide(curve.rows.map((row) => row.mean))},
    yaxis2: {domain: [0, Math.max(0.01, strip - 0.03)], visible: false, fixedrange: true}});
}

function drawSearch(colour) {
  const search = data.search;
  $("search").hidden = !search;
  if (!search) return;
  const best = search.best_so_far.rows, lines = {};
  best.forEach((row) => (lines[`${row.arm}/${row.search}`] ||= []).push(row));
  const seen = new Set();
  const traces = Object.values(lines).flatMap((rows) => {
    const arm = rows[0].arm, first = !seen.has(arm);
    seen.add(arm);
    const values = rows.filter((row) => row.value !== null);
    return [{type: "scatter", mode: "lines", line: {shape: "hv", color: colour[arm]},
      x: rows.map((row) => row.epochs), y: rows.map((row) => row.best), name: label(arm),
      showlegend: first, hovertemplate: "best %{y}<br>%{x} spent"},
    {type: "scatter", mode: "markers", marker: {color: colour[arm], size: 7}, showlegend: false,
      x: values.map((row) => row.epochs), y: values.map((row) => row.value),
      text: values.map((row) => configuration(row.trial)), hovertemplate: "%{y}<br>%{text}"}];
  });
  draw("best-plot", traces, {xaxis: {title: {text: "epochs spent by a search"}},
    yaxis: {title: {text: shown(search.label)}, type: wide(best.map((row) => row.value))}});
  drawKnobs(colour);
  const shares = search.importance;
  $("importance").hidden = !shares.length;
  if (shares.length) draw("importance-plot", data.arms.map(({name}) => {
    const own = shares.filter((row) => row.arm === name);
    return {type: "bar", orientation: "h", name: label(name), marker: {color: colour[name]},
      y: own.map((row) => row.knob), x: own.map((row) => row.share)};
  }).filter((trace) => trace.x.length), {xaxis: {title: {text: "share of the variance"},
    range: [0, 1]}, yaxis: {type: "category"}});
  $("front").hidden = !search.front.length;
  if (search.front.length) draw("front-plot", search.front.map((own) => ({type: "scatter",
    mode: "lines+markers", line: {shape: "hv", color: colour[own.arm]}, name: label(own.arm),
    x: own.rows.map((row) => row[own.columns[1]]), y: own.rows.map((row) => row[own.columns[2]]),
    text: own.rows.map((row) => configuration(row.trial)), hovertemplate: "%{y}<br>%{text}"})),
    {xaxis: {title: {text: shown(search.front[0].columns[1])}},
      yaxis: {title: {text: shown(search.label)}}});
}

function drawKnobs(colour) {
  const search = data.search, names = Object.keys(search.knobs), value = search.metric;
  if (!names.length) { $("knobs-plot").hidden = true; return; }
  options("knob-x", names, names[0]);
  options("knob-y", [value, ...names], names[1] || value);
  const x = $("knob-x").value, y = $("knob-y").value;
  const rows = data.trials.rows.filter((row) => row.phase === "search" && !row.superseded);
  const known = rows.map((row) => row[value]).filter((v) => typeof v === "number").sort((a, b) => a - b);
  const end = known[Math.min(known.length - 1, Math.floor(known.length * 0.9))];
  const traces = data.arms.map(({name}) => {
    const own = rows.filter((row) => row.arm === name && row[x] !== null && row[x] !== undefined
      && row[y] !== null && row[y] !== undefined);
    const plain = y === value;
    return {type: "scatter", mode: "markers", name: label(name), x: own.map((row) => row[x]),
      y: own.map((row) => row[y]), text: own.map((row) => `${shown(search.label)}: ` +
        `${number(row[value])}<br>${configuration(row.trial)}`), hovertemplate: "%{text}",
      marker: {size: 11, symbol: own.map((row) => SYMBOLS[row.state] || "circle"),
        line: {width: 1.5, color: colour[name]},
        color: plain ? colour[name] : own.map((row) => row[value]),
        ...(plain ? {} : {colorscale: "Viridis", cmin: known[0], cmax: end, showscale: name ===
          data.arms[0].name, colorbar: {title: {text: shown(search.label), side: "right"}}})}};
  });
  const axis = (name) => ({title: {text: shown(name)}, type: search.knobs[name] ? "log" :
    wide(rows.map((row) => row[name]))});
  draw("knobs-plot", traces, {xaxis: axis(x), yaxis: axis(y)});
}

let order = {name: "trial", down: false};
function drawTrials() {
  const {columns, rows, about} = data.trials, text = $("filter").value.toLowerCase();
  const states = [...new Set(rows.map((row) => row.state))];
  const kept = $("state-filter").value;
  $("state-filter").replaceChildren(element("option", "any", {value: ""}),
    ...states.map((state) => element("option", state, {value: state})));
  $("state-filter").value = states.includes(kept) ? kept : "";
  const found = rows.filter((row) => (!$("state-filter").value || row.state === $("state-filter").value)
    && (!text || columns.some((name) => number(row[name]).toLowerCase().includes(text))));
  found.sort((one, other) => {
    const [a, b] = [one[order.name], other[order.name]];
    if (a === null || b === null) return (a === null) - (b === null);  // empty ones last
    const less = typeof a === "number" && typeof b === "number" ? a - b
      : String(a).localeCompare(String(b), "en", {numeric: true});
    return order.down ? -less : less;
  });
  $("shown").textContent = `${found.length} of ${rows.length} trials`;
  table("trials-table", columns, found, about, order, (name) => {
    order = {name, down: order.name === name && !order.down};
    drawTrials();
  });
}

function drawAll() {
  const colour = colours(data.arms);
  document.title = data.name;
  $("name").textContent = data.name;
  $("question").textContent = data.question;
  const none = data.search ? "No verdict yet: the confirmation has not ended." : "No comparison.";
  $("verdicts").replaceChildren(...(data.verdicts.length ? data.verdicts : [none])
    .map((text) => element("p", text)));
  $("remarks").replaceChildren(...data.remarks.map((text) => element("li", text)));
  drawConfirmation(colour);
  const several = data.winners.rows.some((row) => row.search);
  const columns = data.winners.columns.filter((name) => several || name !== "search");
  $("winners").hidden = columns.length < 2;
  table("winners-table", columns, data.winners.rows);
  drawCurves(colour);
  drawSearch(colour);
  drawTrials();
  table("provenance-table", ["what", "value"], data.provenance.map(([what, value]) => ({what, value})));
  $("commands").replaceChildren(...Object.entries(data.commands).flatMap(([what, command]) => {
    const place = element("dd");
    place.append(element("code", command));
    return [element("dt", what), place];
  }));
}

$("curve-metric").addEventListener("change", () => drawCurves(colours(data.arms)));
["knob-x", "knob-y"].forEach((id) =>
  $(id).addEventListener("change", () => drawKnobs(colours(data.arms))));
$("filter").addEventListener("input", drawTrials);
$("state-filter").addEventListener("change", drawTrials);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data && drawAll());
if (data) drawAll();
else poll();

function time(seconds) {
  if (seconds === null) return "unknown";
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours} h ${minutes % 60} min` : minutes ? `${minutes} min` : `${Math.ceil(seconds)} s`;
}

function drawLive(found) {
  const now = found.live;
  $("live").hidden = false;
  $("verdict-title").textContent = now.running ? "Verdict so far" : "Verdict";
  const counts = Object.entries(now.counts).map(([state, count]) => `${count} ${state}`).join(", ");
  const left = now.seconds_left === null ? "" : `, about ${time(now.seconds_left)} left`;
  $("state").textContent = `${now.running ? "Running" : "Not running"}: ${now.ended} of ` +
    `${now.planned} trials ended (${counts || "none begun"}), ${now.done} of ${now.epochs} ` +
    `epochs done${left}.`;
  table("slots", ["trial", "epoch", "of", "metric", "value", "seconds since"], now.trials.map(
    (row) => ({...row, of: row.epochs, "seconds since": Math.round(now.at - row.since)})));
  const failures = now.failures.map((row) => `${row.trial} ${row.state}: ${row.reason}`);
  $("failures").replaceChildren(...failures.map((text) => element("li", text)));
  $("log").textContent = now.log;
}

let drawn = "";
async function poll() {
  let wait = 1000;
  try {
    const words = new URLSearchParams(location.search);
    words.set("study", study);
    const answer = await fetch(`data.json?${words}`);
    if (!answer.ok) throw new Error(await answer.text());
    const found = await answer.json();
    wait = Math.max(1000, 5000 * (found.took || 0));
    options("studies", found.studies, found.study);
    $("choice").hidden = found.studies.length < 2;
    if (found.live) drawLive(found);
    if (found.waiting) $("question").textContent = found.waiting;
    else {
      const {live, took, ...rest} = found, text = JSON.stringify(rest);
      if (text !== drawn) { drawn = text; data = rest; drawAll(); }
    }
  } catch (error) {
    $("state").textContent = `No answer from srsgd-ray watch (${error.message}). Is it running?`;
  }
  setTimeout(poll, wait);
}
$("studies").addEventListener("change", () => { study = $("studies").value; drawn = ""; });
