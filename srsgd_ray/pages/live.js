"use strict";
// What the live page shows beside the report, asked for twice a second or more seldom.
const asked = new URLSearchParams(location.search);
let study = asked.get("study") || "", version = "", chosen = Boolean(study);

function time(seconds) {
  if (seconds === null) return "-";
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours} h ${minutes % 60} min` : minutes ? `${minutes} min ` +
    `${String(Math.floor(seconds % 60)).padStart(2, "0")} s` : `${Math.ceil(seconds)} s`;
}

function counted(now) {
  return Object.entries(now.counts).map(([state, count]) => `${count} ${state}`).join(", ");
}

function drawStudies(rows) {
  $("choice").hidden = rows.length < 2;
  table("studies", ["study", "state", "trials", "of", "epochs", "time left", "ends"], rows.map((row) =>
    row.unread ? {study: row.study, state: row.unread} : {study: row.study,
      state: row.state, trials: row.ended, of: row.planned, epochs: row.done,
      "time left": time(row.seconds_left), ends: counted(row)}));
  $("studies").querySelectorAll("tbody tr").forEach((line, at) => {
    line.classList.toggle("chosen", rows[at].study === study);
    const link = element("a", rows[at].study, {href: "#"});
    link.addEventListener("click", (event) => {
      event.preventDefault();
      [study, version, chosen] = [rows[at].study, "", true];
      poll();
    });
    line.cells[0].replaceChildren(link);
  });
}

function drawNow(now) {
  $("live").hidden = false;
  $("verdict-title").textContent = now.running ? "Verdict so far" : "Verdict";
  const until = now.may_grow ? ", if it does not grow" : "";
  const left = now.seconds_left === null ? "" : `, about ${time(now.seconds_left)} left${until}`;
  $("state").textContent = `${now.state[0].toUpperCase()}${now.state.slice(1)}: ${now.ended} of ` +
    `${now.planned} trials ended (${counted(now) || "none begun"}), ${now.done} of ${now.epochs} ` +
    `epochs done${left}.`;
  table("phases", ["phase", "trials ended", "of"], Object.entries(now.phases).map(
    ([phase, [ended, of]]) => ({phase: {search: "search", confirm: "confirmation"}[phase],
      "trials ended": ended, of})));
  table("slots", ["trial", "epoch", "of", now.metric, "seconds since"], now.trials.map((row) => ({
    ...row, of: row.epochs, [now.metric]: row.value, "seconds since": Math.round(now.at - row.since)})));
  const slots = `${now.idle} of ${now.slots} slot${now.slots > 1 ? "s" : ""} idle: `;
  const since = Object.values(now.waiting);
  const waiting = since.length ? `${since.length} wait${since.length > 1 ? "" : "s"} for ` +
    `${now.need}, ${time(now.at - Math.min(...since))} so far. ` : "";
  $("idle").textContent = waiting + (!now.running ? "No process works on this study." : now.idle
    ? `${slots}the last trials of a search, or the next one has yet to begin.` : "");
  const lines = now.trials.filter((row) => row.curve.some((value) => value !== null));
  $("live-plot").hidden = !lines.length;
  if (lines.length) draw("live-plot", lines.map((row) => ({type: "scatter", mode: "lines+markers",
    x: row.curve.map((_, at) => at + 1), y: row.curve, name: shown(row.trial)})),
    {xaxis: {title: {text: "epoch"}}, showlegend: true, yaxis: {title: {text: shown(now.metric)},
      type: wide(lines.flatMap((row) => row.curve))}});
  const failures = now.failures.map((row) => `${row.trial} ${row.state}: ${row.reason}`);
  $("failures").replaceChildren(...(failures.length ? failures : ["none"]).map(
    (text) => element("li", text)));
  const log = $("log"), below = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  if (log.textContent !== now.log) log.textContent = now.log;
  if (below) log.scrollTop = log.scrollHeight;  // who reads further up is left there
}

async function ask(seen) {
  asked.set("study", chosen ? study : "");  // one that was not chosen gives way to a newer one
  asked.set("seen", seen);
  const answer = await fetch(`data.json?${asked}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

let waiting = 0, next = 0;
async function poll() {
  clearTimeout(waiting);
  try {
    // What runs is there at once; the rest costs more, and is asked for if it changed, at times.
    const first = await ask("*");
    drawStudies(first.studies);
    if (first.live) drawNow(first.live);
    if (first.study !== study) [study, version] = [first.study || "", ""];
    const due = first.version !== version && (!version || performance.now() > next);
    const {took, waiting: why, version: now, study: name, ...rest} =
      due ? await ask(version) : first;
    if (due) next = performance.now() + Math.max(1000, 4000 * took);
    if (why) {
      $("name").textContent = name || "srsgd-ray";
      $("question").textContent = why;
    } else if (rest.trials) [data, version] = [rest, now], drawAll();
    for (const section of document.querySelectorAll("main > section:not(#live, #choice)")) {
      section.classList.toggle("unknown", Boolean(why));
    }
  } catch (error) {
    $("state").textContent = `No answer from srsgd-ray watch (${error.message}). Is it running?`;
  }
  waiting = setTimeout(poll, 500);
}
poll();
