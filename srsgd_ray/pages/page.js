"use strict";
// Colours of Okabe and Ito, as in the figures; of SRSGD and SGD always the first two.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#7f7f7f", "#cc79a7", "#56b4e9", "#d55e00"];
const RESERVED = {srsgd: 0, sgd: 1};
const SYMBOLS = {complete: "circle", running: "circle-open", pruned: "triangle-down-open",
  diverged: "x-thin-open", failed: "cross-thin-open"};
const $ = (id) => document.getElementById(id);
let data = DATA;

function colours(arms) {
  const names = arms.map((arm) => arm.name);
  const free = COLOURS.filter((_, at) => !names.some((name) => RESERVED[name] === at));
  let turn = 0;
  return Object.fromEntries(names.map((name) =>
    [name, name in RESERVED ? COLOURS[RESERVED[name]] : free[turn++ % free.length]]));
}

function number(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "-" : String(value);
  const digits = Math.max(5, Math.ceil(Math.log10(Math.abs(value))) + 1);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(Math.min(digits, 17))));
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
      if (typeof row[name] === "number") [cell.className, cell.title] = ["number", row[name]];
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

// A range of over 10 times is read on a log axis.
function wide(values) {
  const found = values.filter((v) => typeof v === "number");
  return found.length > 1 && Math.min(...found) > 0 && Math.max(...found) > 10 * Math.min(...found)
    ? "log" : "-";
}

// What is told of a trial where the pointer rests on it.
function hover(rows) {
  return {text: rows.map((row) => configuration(row.trial)),
    hovertemplate: "%{y}<br>%{text}<extra></extra>"};
}

let byName = new Map();
function configuration(trial) {
  const row = byName.get(trial) || {trial};
  const names = ["trial", "state", ...(data.search ? Object.keys(data.search.knobs) : []), "seed"];
  return names.filter((name) => row[name] !== undefined && row[name] !== null)
    .map((name) => `${shown(name)}: ${shown(number(row[name]))}`).join("<br>");
}

function drawConfirmation(colour) {
  const found = data.confirmation;
  $("confirmation").hidden = !found.runs.length;
  if (!found.runs.length) return;
  const about = $("confirmation-about");
  if (found.along) {
    about.textContent = `Each point is a confirmation run, at the ${found.along} of its ` +
      "configuration; diamonds are means with their interval.";
    drawPoints(colour, found);
    table("confirmation-table", ["arm", found.along, "runs", "mean", "std", ...ends(found)],
      found.points.map((row) => ({...row, [found.along]: row.epochs, runs: row.n, ...ended(found, row)})));
    $("confirmation-table").hidden = !found.points.length;
  } else {
    about.textContent = "Each point is a run of an arm's best configuration with a seed that the " +
      "search did not use; a thin line joins the runs of one seed. Diamonds are means with their " +
      "interval.";
    drawPairs(colour, found);
    const counts = found.arms.some((arm) => "searches" in arm) ? ["searches", "runs"] : ["runs"];
    table("confirmation-table", ["arm", ...counts, "lost runs", "mean", "std", ...ends(found),
      "not counted"], found.arms.map((arm) => ({...arm, ...ended(found, arm)})));
  }
  const some = found.differences.length > 0;
  $("differences").hidden = !some;
  if (!some) return;
  $("levels").textContent = `Differences (${found.levels})`;
  const columns = Object.keys(found.differences[0])
    .filter((name) => found.differences.some((row) => row[name] !== null));
  table("differences-table", columns, found.differences);
}

// The ends of an interval, as columns that say its level.
function ends(found) { return [`${found.level} from`, "to"]; }
function ended(found, row) { return {[ends(found)[0]]: row.low, to: row.high}; }

function mean(colour, arm, x, row) {
  return {type: "scatter", mode: "markers", showlegend: false, x: [x], y: [row.mean],
    marker: {color: colour[arm], size: 11, symbol: "diamond"},
    hovertemplate: `${label(arm)}: mean %{y}<br>${number(row.low)} to ${number(row.high)}<extra></extra>`,
    error_y: {type: "data", symmetric: false, color: colour[arm],
      array: [row.low === null ? 0 : row.high - row.mean],
      arrayminus: [row.low === null ? 0 : row.mean - row.low]}};
}

function drawPairs(colour, found) {
  const arms = found.arms, at = Object.fromEntries(arms.map((arm, place) => [arm.arm, place]));
  const pairs = {};
  found.runs.forEach((run) => (pairs[`${run.search}/${run.seed}`] ||= []).push(run));
  const traces = [{type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false,
    line: {color: "rgba(128,128,128,0.45)", width: 1}, x: [], y: []}];
  for (const runs of Object.values(pairs)) {
    for (const run of runs) { traces[0].x.push(at[run.arm]); traces[0].y.push(run.value); }
    traces[0].x.push(null); traces[0].y.push(null);
  }
  for (const arm of arms) {
    const runs = found.runs.filter((run) => run.arm === arm.arm);
    traces.push({type: "scatter", mode: "markers", name: label(arm.arm), showlegend: false,
      x: runs.map(() => at[arm.arm]), y: runs.map((run) => run.value), ...hover(runs),
      marker: {color: colour[arm.arm], size: 8}});
    if (arm.low !== null) traces.push(mean(colour, arm.arm, at[arm.arm] + 0.2, arm));
  }
  draw("confirmation-plot", traces, {yaxis: {title: {text: shown(`${found.metric} ${found.unit}`)}},
    xaxis: {tickvals: Object.values(at), ticktext: arms.map((arm) => label(arm.arm)),
      range: [-0.5, arms.length - 0.4], showgrid: false}});
}

function drawPoints(colour, found) {
  const traces = data.arms.flatMap(({name}) => {
    const runs = found.runs.filter((run) => run.arm === name);
    const points = found.points.filter((point) => point.arm === name);
    return [{type: "scatter", mode: "markers", name: label(name), x: runs.map((run) => run.along),
      y: runs.map((run) => run.value), ...hover(runs),
      marker: {color: colour[name], size: 6, opacity: 0.55}},
    {type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false,
      x: points.map((point) => point.epochs), y: points.map((point) => point.mean),
      line: {color: colour[name]}},
    ...points.map((point) => mean(colour, name, point.epochs, point))];
  });
  draw("confirmation-plot", traces, {xaxis: {title: {text: shown(found.along)}},
    yaxis: {title: {text: shown(`${found.metric} ${found.unit}`)},
      type: wide(found.runs.map((run) => run.value))}});
}

function drawCurves(colour) {
  $("curves").hidden = !data.curves.length;
  if (!data.curves.length) return;
  const judged = data.search && data.curves.some((curve) => curve.metric === data.search.metric);
  options("curve-metric", data.curves.map((curve) => curve.metric),
    judged ? data.search.metric : data.curves[0].metric);
  const curve = data.curves.find((known) => known.metric === $("curve-metric").value);
  const traces = [];
  for (const {name} of data.arms) {
    const rows = curve.rows.filter((row) => row.arm === name), x = rows.map((row) => row.epoch);
    if (!rows.length) continue;
    // The interval of two runs is so wide that it would hide the curves: their range, as in figures.
    // On a log axis a band that goes below 0 ends at the edge.
    const log = wide(curve.rows.map((row) => row.mean)) === "log";
    const edge = Math.min(...curve.rows.map((row) => row.least).filter((v) => v > 0)) / 2;
    const low = (row) => log ? Math.max(row.low, edge) : row.low;
    const band = rows.filter((row) => row.n > 1).map((row) => row.n > 2 ? row :
      {...row, low: row.least, high: row.most});
    if (band.length) traces.push({type: "scatter", mode: "lines", hoverinfo: "skip", opacity: 0.25,
      x: [...band.map((r) => r.epoch), ...band.map((r) => r.epoch).reverse()], fill: "toself",
      y: [...band.map((r) => r.high), ...band.map(low).reverse()], showlegend: false,
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
  table("best-table", ["arm", "trial", search.label],
    search.best.map((row) => ({...row, [search.label]: row.value})));
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
      ...hover(values)}];
  });
  draw("best-plot", traces, {xaxis: {title: {text: "epochs spent by a search"}},
    yaxis: {title: {text: shown(search.label)}, type: wide(best.map((row) => row.value))}});
  drawTrialCurves(colour);
  drawKnobs(colour);
  $("importance-about").textContent = search.importance_about;
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
    ...hover(own.rows)})),
    {xaxis: {title: {text: shown(search.front[0].columns[1])}},
      yaxis: {title: {text: shown(search.label)}}});
}

function drawTrialCurves(colour) {
  const {curves, label: what} = data.search;
  $("trial-curves").hidden = !curves.length;
  if (!curves.length) return;
  draw("trial-curves-plot", curves.map(({trial, arm, state, values}) => ({type: "scatter",
    mode: "lines", x: values.map((_, at) => at + 1), y: values, showlegend: false, opacity: 0.7,
    line: {color: colour[arm], width: 1.5, dash: state === "complete" ? "solid" : "dot"},
    hovertemplate: `%{y}<br>epoch %{x}<br>${configuration(trial)}<extra></extra>`})),
    {xaxis: {title: {text: "epoch"}}, yaxis: {title: {text: shown(what)},
      type: wide(curves.flatMap((curve) => curve.values))}});
}

function drawKnobs(colour) {
  const search = data.search, names = Object.keys(search.knobs), value = search.metric;
  if (!names.length) { $("knobs-plot").hidden = true; return; }
  const [first, second] = [...search.first_knobs, ...names.filter(
    (name) => !search.first_knobs.includes(name))];
  options("knob-x", names, first);
  options("knob-y", [value, ...names], second || value);
  const x = $("knob-x").value, y = $("knob-y").value;
  const rows = data.trials.rows.filter((row) => row.phase === "search" && !row.superseded);
  const ended = (row) => row.state === "complete" && typeof row[value] === "number";
  const known = rows.filter(ended).map((row) => row[value]).sort((a, b) => a - b);
  // The worst tenth would leave one colour to all others.
  const cut = Math.floor(known.length * 0.1), lower = search.mode === "min";
  const [start, end] = lower ? [known[0], known[known.length - 1 - cut]]
    : [known[cut], known[known.length - 1]];
  const has = (row, name) => row[name] !== null && row[name] !== undefined;
  const traces = data.arms.flatMap(({name}, place) => {
    const own = rows.filter((row) => row.arm === name && has(row, x) && has(row, y));
    const told = (some, marker, legend) => ({type: "scatter", mode: "markers", name: label(name),
      x: some.map((row) => row[x]), y: some.map((row) => row[y]), showlegend: legend,
      text: some.map((row) => `${shown(search.label)}: ${number(row[value])}<br>` +
        configuration(row.trial)), hovertemplate: "%{text}<extra></extra>", legendgroup: name,
      marker: {size: 11, symbol: some.map((row) => SYMBOLS[row.state] || "circle"),
        line: {width: 1.5, color: colour[name]}, color: colour[name], ...marker}});
    // The best are bright; those without a value of their own have the colour of their arm.
    const coloured = {color: own.filter(ended).map((row) => row[value]), colorscale: "Viridis",
      cmin: start, cmax: end, reversescale: search.mode === "min", showscale: place === 0,
      colorbar: {title: {text: shown(search.label), side: "right"}}};
    return y === value ? [told(own, {}, true)]
      : [told(own.filter(ended), coloured, true), told(own.filter((row) => !ended(row)), {}, false)];
  });
  const axis = (name) => ({title: {text: shown(name)}, type: search.knobs[name] ? "log" :
    wide(rows.map((row) => row[name]))});
  draw("knobs-plot", traces, {xaxis: axis(x), yaxis: axis(y)});
}

let order = {name: "trial", down: false}, most = 200;
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
  $("more").hidden = found.length <= most;
  $("more").textContent = `show all ${found.length}, not only the first ${most}`;
  table("trials-table", columns, found.slice(0, most), about, order, (name) => {
    order = {name, down: order.name === name && !order.down};
    drawTrials();
  });
  $("trials-table").querySelectorAll("tbody tr").forEach((line, at) => {
    line.tabIndex = 0;
    line.title = "its configuration, and the command that repeats it";
    line.addEventListener("click", () => drawTrial(found[at]));
    line.addEventListener("keydown", (event) => event.key === "Enter" && drawTrial(found[at]));
  });
}

// One trial: all that is known of it, and how it is repeated.
function drawTrial(row) {
  const again = Object.entries(data.commands).find(([what]) => what.endsWith("TRIAL"));
  const all = {...row, ...data.trials.shared};
  $("trial").hidden = false;
  $("trial-name").textContent = row.trial;
  $("trial-command").hidden = !again;
  if (again) $("trial-command").textContent = again[1].replace("TRIAL", row.trial);
  table("trial-table", ["what", "value"], Object.entries(all)
    .filter(([, value]) => value !== null).map(([what, value]) => ({what, value})));
  $("trial").scrollIntoView({block: "nearest"});
}

function drawAll() {
  const colour = colours(data.arms);
  document.title = data.name;
  $("name").textContent = data.name;
  $("question").textContent = data.question;
  byName = new Map(data.trials.rows.map((row) => [row.trial, row]));
  $("verdicts").replaceChildren(...data.verdicts.map((text) => element("p", text)));
  const said = [...data.covers, ...data.remarks];
  $("covers").hidden = !said.length;
  $("remarks").replaceChildren(...said.map((text) => element("li", text)));
  drawConfirmation(colour);
  const several = data.winners.rows.some((row) => row.search);
  const columns = data.winners.columns.filter((name) => several || name !== "search");
  $("winners").hidden = columns.length < 2;
  $("winners-title").textContent = data.trials.rows.some((row) => row.phase === "confirm")
    ? "Configurations that were confirmed" : "Best configurations so far";
  table("winners-table", columns, data.winners.rows);
  drawCurves(colour);
  drawSearch(colour);
  drawTrials();
  table("provenance-table", ["what", "value"], data.provenance.map(([what, value]) => ({what, value})));
  const shared = Object.entries(data.trials.shared);
  $("shared").hidden = !shared.length;
  table("shared-table", ["knob", "value"], shared.map(([knob, value]) => ({knob, value})));
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
$("more").addEventListener("click", () => { most = Infinity; drawTrials(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data && drawAll());
for (const [event, paper] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(event, () => {
    document.documentElement.classList.toggle("paper", paper);
    if (data) drawAll();
  });
}
if (data) drawAll();
