// Shows one step of one rollout of one group, and lets a person walk through them. All numbers were computed beforehand.
const all = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const at = { group: 0, rollout: 0, step: 0, method: 0 };
const distinct = (key) => [...new Set(all.groups.map((group) => group[key]))];
let data = all.groups[0], timer = null;

const number = (x) => (x === 0 ? "0" : (x > 0 ? "+" : "−") + Math.abs(Number(x.toPrecision(3))));
const length = (rollout) => rollout.action.length;
const credit = (rollout, method) => (method === 0 ? rollout.advantage : rollout.credit[method - 1]);
const colour = (value, limit) => {
  const share = Math.min(1, Math.abs(value) / limit);
  return value === 0 ? "var(--band)" : `rgba(var(${value > 0 ? "--good" : "--bad"}), ${(0.08 + 0.92 * share).toFixed(3)})`;
};
const make = (name, attributes = {}, content = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== "") made.textContent = content;
  return made;
};

// Anchors: where in the group each one was met.
const meetings = new Map();
function meet() {
  meetings.clear();
  data.rollouts.forEach((rollout, i) => rollout.anchor.forEach((anchor, t) => {
    if (!meetings.has(anchor)) meetings.set(anchor, []);
    meetings.get(anchor).push([i, t]);
  }));
}

// Bars of numbers with names: the largest fills its half.
function bars(target, rows) {
  const limit = Math.max(...rows.map((row) => Math.abs(row.size)), 1e-12);
  target.replaceChildren(...rows.flatMap((row) => {
    const [name, bar, value, fill] = ["span", "div", "span", "i"].map((kind) => document.createElement(kind));
    name.textContent = name.title = row.name;
    name.className = row.taken ? "taken" : "";
    bar.className = "bar";
    fill.className = row.size < 0 ? "down" : "up";
    fill.style.width = `${(50 * Math.abs(row.size)) / limit}%`;
    bar.append(fill);
    value.className = row.taken ? "number taken" : "number";
    value.textContent = row.shown;
    return [name, bar, value];
  }));
}

// Rows of coloured cells, one per step; a click goes there.
const LEFT = 116, HIGH = 18;
function strip(target, rows, here) {
  const longest = Math.max(...data.rollouts.map(length));
  const wide = Math.max(4, Math.min(36, Math.floor(1040 / longest)));
  const svg = make("svg", { class: "strip", width: LEFT + wide * longest + 4, height: HIGH * rows.length + 18, role: "img" });
  rows.forEach((row, y) => {
    svg.append(make("text", { x: 0, y: HIGH * y + 13, class: row.now ? "this" : "" }, row.name));
    row.values.forEach((value, t) => {
      const cell = make("rect", {
        class: "cell", x: LEFT + wide * t, y: HIGH * y + 1, width: wide - (wide > 6 ? 1 : 0), height: HIGH - 2,
        fill: colour(value, row.limit),
      });
      cell.append(make("title", {}, `${row.name}, step ${t + 1}: ${number(value)}`));
      cell.onclick = () => go(row.go(t));
      svg.append(cell);
    });
  });
  for (const [kind, y, t] of here) {
    svg.append(make("rect", { class: kind, x: LEFT + wide * t, y: HIGH * y, width: wide, height: HIGH }));
  }
  for (let t = 0; t < longest; t += Math.max(1, Math.ceil(40 / wide / 5) * 5)) {
    svg.append(make("text", { x: LEFT + wide * t, y: HIGH * rows.length + 13 }, t + 1));
  }
  svg.setAttribute("aria-label", target.getAttribute("aria-label"));
  const scrolled = target.scrollLeft;
  target.replaceChildren(svg);
  target.scrollLeft = scrolled;
}

// Skill and luck added up along the rollout.
function account(rollout, step) {
  const n = length(rollout), [wide, high, left, top] = [560, 180, 44, 8];
  const lines = { skill: [0], luck: [0] };
  for (let t = 0; t < n; t++) {
    const factor = data.discount ** t;
    lines.skill.push(lines.skill[t] + factor * rollout.advantage[t]);
    lines.luck.push(lines.luck[t] + factor * rollout.luck[t]);
  }
  const all = [...lines.skill, ...lines.luck];
  const low = Math.min(...all, 0), span = Math.max(...all, 0) - low || 1;
  const x = (t) => left + ((wide - left - 70) * t) / n;
  const y = (value) => top + (high - 2 * top) * (1 - (value - low) / span);
  const svg = make("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": "skill and luck added up along the rollout" });
  svg.append(make("line", { x1: left, x2: x(n), y1: y(0), y2: y(0), stroke: "var(--soft)", "stroke-width": 0.7 }));
  svg.append(make("line", { x1: x(step), x2: x(step), y1: 0, y2: high, stroke: "var(--ink)", "stroke-width": 0.7, "stroke-dasharray": "3 3" }));
  const labels = Object.entries({ skill: "var(--blue)", luck: "var(--orange)" }).map(([name, stroke]) => {
    const points = lines[name].map((value, t) => `${x(t).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    svg.append(make("polyline", { points, fill: "none", stroke, "stroke-width": 2 }));
    return { name, stroke, y: y(lines[name][n]) + 4, end: lines[name][n] };
  }).sort((a, b) => a.y - b.y);
  if (labels[1].y - labels[0].y < 13) labels[1].y = labels[0].y + 13;
  for (const label of labels) {
    const shown = make("text", { x: x(n) + 5, y: Math.min(high - 2, label.y) }, `${label.name} ${number(label.end)}`);
    shown.style.fill = label.stroke;
    svg.append(shown);
  }
  for (const value of [low, low + span]) svg.append(make("text", { x: 0, y: y(value) + 4 }, number(value)));
  byId("account").replaceChildren(svg);
  const added = (skill, luck) => `V₀ ${number(rollout.value[0])}, skill ${number(skill)}, luck ${number(luck)}`;
  byId("sum").textContent =
    `Before step ${step + 1}: ${added(lines.skill[step], lines.luck[step])}. In the end: ` +
    `${added(lines.skill[n], lines.luck[n])}; together the return, ` +
    `${number(Number((rollout.value[0] + lines.skill[n] + lines.luck[n]).toFixed(4)))}.`;
}

function meeting(rollout, step) {
  const anchor = rollout.anchor[step], met = meetings.get(anchor);
  const others = new Set(met.map(([i]) => i)).size;
  byId("meeting-says").textContent = met.length === 1
    ? "No other step of the group was at this anchor: estimators that compare anchors have nothing to compare here."
    : `${met.length} steps of ${others} rollout${others > 1 ? "s" : ""} were at this anchor. Return to go, and the action taken:`;
  byId("meeting").replaceChildren(...met.slice(0, 200).map(([i, t]) => {
    const other = data.rollouts[i], item = document.createElement("li"), button = document.createElement("button");
    let togo = 0;
    for (let k = length(other) - 1; k >= t; k--) togo = other.reward[k] + data.discount * togo;
    button.type = "button";
    button.textContent = `rollout ${i + 1}, step ${t + 1}`;
    button.onclick = () => go({ rollout: i, step: t });
    const shared = other.node[t] === rollout.node[step] && i !== at.rollout ? " (one and the same step of a tree)" : "";
    item.append(button, `: ${number(togo)}, ${data.names[other.action[t]]}${shared}`);
    return item;
  }));
  return met;
}

function show() {
  const rollout = data.rollouts[at.rollout], n = length(rollout), method = data.methods[at.method];
  const t = Math.min(at.step, n - 1);
  at.step = t;
  byId("rollout").value = at.rollout;
  byId("environment").value = data.environment;
  byId("policy").value = data.policy;
  byId("method").value = `${at.group}.${at.method}`;
  byId("step").max = n - 1;
  byId("step").value = t;
  const picture = byId("picture");
  picture.hidden = !rollout.picture.length;
  if (!picture.hidden) {
    picture.src = all.pictures[rollout.picture[t]];
    picture.alt = all.texts[rollout.text[t]];
  }
  byId("text").textContent = all.texts[rollout.text[t]];
  const name = data.names[rollout.action[t]];
  byId("did").textContent =
    `Step ${t + 1} of ${n}: ${name} (taken with probability ${rollout.chance[t].toPrecision(3)}), paid ${number(rollout.reward[t])}. ` +
    `V ${number(rollout.value[t])}, advantage ${number(rollout.advantage[t])}, luck ${number(rollout.luck[t])}.` +
    (Math.max(...rollout.segment) > 0 ? ` Segment ${rollout.segment[t] + 1}.` : "") +
    (t === n - 1 ? ` The end: ${all.texts[rollout.text[n]].split("\n")[0]}` : "");
  bars(byId("worth"), rollout.actions[t].map((action, j) => ({
    name: data.names[action], size: rollout.worth[t][j], shown: number(rollout.worth[t][j]), taken: action === rollout.action[t],
  })));
  bars(byId("says"), data.methods.map((one, m) => {
    const value = credit(rollout, m)[t];
    return { name: one.name, size: value / one.scale, shown: number(value), taken: m === at.method };
  }));
  const met = meeting(rollout, t);
  byId("colour-says").textContent =
    `One row per rollout, one cell per step, coloured by ${method.name}: blue praises, orange blames. ` +
    "Green frames: other steps at the same anchor.";
  strip(byId("ribbons"), data.rollouts.map((one, i) => ({
    name: `${i + 1}: return ${Number(one.reward.reduce((a, b, k) => a + data.discount ** k * b, 0).toPrecision(3))}`,
    values: credit(one, at.method), limit: method.limit, now: i === at.rollout, go: (step) => ({ rollout: i, step }),
  })), [...met.map(([i, k]) => ["meets", i, k]), ["here", at.rollout, t]]);
  strip(byId("lanes"), data.methods.map((one, m) => ({
    name: one.name, values: credit(rollout, m), limit: one.limit, now: m === at.method, go: (step) => ({ step, method: m }),
  })), data.methods.map((_, m) => ["here", m, t]));
  trees(rollout, t, method);
  account(rollout, t);
  const place = all.groups.length > 1 ? `group=${at.group + 1}&` : "";
  history.replaceState(null, "", `#${place}rollout=${at.rollout + 1}&step=${t + 1}&colour=${encodeURIComponent(method.name)}`);
}

// The group of an environment and a policy; of several (one per rollout plan) the one with the same plan.
function choose(environment, policy) {
  const same = all.groups.map((group, g) => [group, g]).filter(([group]) => group.environment === environment);
  const here = same.filter(([group]) => group.policy === policy);
  const fitting = here.length ? here : same;
  const [group, index] = fitting.find(([group]) => group.plan === data.plan) ?? fitting[0];
  const method = Math.max(0, group.methods.findIndex((one) => one.name === data.methods[at.method].name));
  enter({ group: index, method });
}

function enter(where) {
  const moved = where.group !== undefined && where.group !== at.group;
  if (moved) {
    data = all.groups[where.group];
    meet();
    document.querySelectorAll("[data-group]").forEach((part) => { part.hidden = part.dataset.group !== String(where.group); });
    byId("rollout").replaceChildren(...data.rollouts.map((_, i) => new Option(`${i + 1}`, i)));
    if (!("rollout" in where)) Object.assign(where, { rollout: best(), step: 0 });
  }
  Object.assign(at, where);
  if (moved) listMethods();
  go({});
}

function best() {
  const sums = data.rollouts.map((one) => one.reward.reduce((a, b) => a + b, 0));
  return sums.indexOf(Math.max(...sums));
}

function go(where) {
  Object.assign(at, where);
  const wrap = (value, count) => ((value % count) + count) % count;
  at.rollout = wrap(at.rollout, data.rollouts.length);
  at.method = wrap(at.method, data.methods.length);
  at.step = Math.max(0, Math.min(at.step, length(data.rollouts[at.rollout]) - 1));
  show();
}

function play() {
  if (timer !== null) {
    clearInterval(timer);
    timer = null;
  } else {
    timer = setInterval(() => {
      if (at.step >= length(data.rollouts[at.rollout]) - 1) play();
      else go({ step: at.step + 1 });
    }, 400);
  }
  byId("play").textContent = timer === null ? "▶ play" : "⏸ pause";
}

function nextMeeting() {
  const met = meetings.get(data.rollouts[at.rollout].anchor[at.step]);
  const place = met.findIndex(([i, t]) => i === at.rollout && t === at.step);
  const [rollout, step] = met[(place + 1) % met.length];
  go({ rollout, step });
}

function next(key) {
  const names = distinct(key), name = names[(names.indexOf(data[key]) + 1) % names.length];
  choose(key === "environment" ? name : data.environment, key === "policy" ? name : data.policy);
}

const moves = {
  ArrowLeft: () => go({ step: at.step - 1 }),
  ArrowRight: () => go({ step: at.step + 1 }),
  ArrowUp: () => go({ rollout: at.rollout - 1 }),
  ArrowDown: () => go({ rollout: at.rollout + 1 }),
  Home: () => go({ step: 0 }),
  End: () => go({ step: Infinity }),
  " ": play,
  m: () => go({ method: at.method + 1 }),
  a: nextMeeting,
  s: nextSearch,
  e: () => next("environment"),
  p: () => next("policy"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // Lists, sliders and buttons keep their own keys.
  const own = { SELECT: /^(Arrow|Home|End| |.$)/, INPUT: /^(Arrow|Home|End)/, BUTTON: /^ $/, SUMMARY: /^ $/ }[event.target.tagName];
  const scrolls = event.target.classList.contains("scroll") && /^Arrow(Left|Right)$/.test(event.key);
  if (!(event.key in moves) || (own && own.test(event.key)) || scrolls) return;
  event.preventDefault();
  moves[event.key]();
});

for (const key of ["environment", "policy"]) {
  const names = distinct(key);
  byId(key).append(...names.map((name) => new Option(name, name)));
  byId(key).parentElement.hidden = names.length < 2;
  byId(key).onchange = () => choose(byId("environment").value, byId("policy").value);
}
// Estimators of every plan stand in one list; one of another plan brings its own rollouts.
function listMethods() {
  const here = all.groups.map((group, g) => [group, g])
    .filter(([group]) => group.environment === data.environment && group.policy === data.policy);
  byId("method").replaceChildren(...here.map(([group, g]) => {
    const options = group.methods.map((method, m) => new Option(method.name, `${g}.${m}`));
    if (here.length === 1) return options;
    const part = document.createElement("optgroup");
    part.label = `rollouts by ${group.plan}`;
    part.append(...options);
    return [part];
  }).flat());
}
byId("rollout").onchange = (event) => go({ rollout: Number(event.target.value) });
byId("method").onchange = (event) => {
  const [group, method] = event.target.value.split(".").map(Number);
  enter({ group, method });
};
byId("step").oninput = (event) => go({ step: Number(event.target.value) });
byId("first").onclick = moves.Home;
byId("back").onclick = moves.ArrowLeft;
byId("next").onclick = moves.ArrowRight;
byId("last").onclick = moves.End;
byId("play").onclick = play;
byId("anchor").onclick = nextMeeting;

const wanted = new URLSearchParams(location.hash.slice(1));
const first = Math.min(all.groups.length, Math.max(1, Number(wanted.get("group")) || 1)) - 1;
at.group = -1;
data = all.groups[first];
enter({
  group: first,
  rollout: wanted.has("rollout") ? Number(wanted.get("rollout")) - 1 || 0 : best(),
  step: Number(wanted.get("step") ?? 1) - 1 || 0,
  method: Math.max(0, data.methods.findIndex((method) => method.name === wanted.get("colour"))),
});
