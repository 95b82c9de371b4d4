// Trees: rollouts that share steps, and what an estimator searched from a step. Uses what viewer.js defines.

// The place of every node of the tree that the current rollout belongs to: a lane per leaf, a column per step.
function lanes(tree) {
  const leaves = data.rollouts.map((rollout, i) => [rollout, i]).filter(([rollout]) => rollout.tree === tree);
  leaves.sort(([a], [b]) => {
    for (let t = 0; t < Math.min(length(a), length(b)); t++) if (a.node[t] !== b.node[t]) return a.node[t] - b.node[t];
    return length(a) - length(b);
  });
  const nodes = new Map();
  leaves.forEach(([rollout, i], lane) => rollout.node.forEach((id, t) => {
    if (!nodes.has(id)) nodes.set(id, { t, lanes: [], seen: [], parent: t ? rollout.node[t - 1] : null });
    nodes.get(id).lanes.push(lane);
    nodes.get(id).seen.push([i, t]);
  }));
  return { leaves, nodes };
}

function drawTree(rollout, step, method) {
  const { leaves, nodes } = lanes(rollout.tree);
  const longest = Math.max(...leaves.map(([one]) => length(one)));
  const wide = Math.max(5, Math.min(34, Math.floor(1000 / longest))), high = 22, left = 30;
  const x = (t) => left + wide * (t + 0.5);
  const y = (node) => 12 + high * (node.lanes.reduce((a, b) => a + b, 0) / node.lanes.length);
  const svg = make("svg", { class: "tree", width: left + wide * longest + 70, height: high * leaves.length + 24, role: "img" });
  const circles = [];
  for (const [id, node] of nodes) {
    const value = node.seen.reduce((sum, [i, t]) => sum + credit(data.rollouts[i], at.method)[t], 0) / node.seen.length;
    if (node.parent !== null) {
      const from = nodes.get(node.parent);
      svg.append(make("line", { x1: x(from.t), y1: y(from), x2: x(node.t), y2: y(node) }));
    }
    const here = rollout.node[step] === id;
    const mark = make("circle", {
      cx: x(node.t), cy: y(node), r: Math.min(7, wide / 2 - 0.5), fill: colour(value, method.limit), class: here ? "here" : "cell",
    });
    const [i, t] = node.seen[0];
    const shared = node.seen.length > 1 ? `, shared by ${node.seen.length} leaves` : "";
    mark.append(make("title", {}, `step ${t + 1}: ${data.names[data.rollouts[i].action[t]]}, ${method.name} ${number(value)}${shared}`));
    mark.onclick = () => go(node.seen.some(([k]) => k === at.rollout) ? { step: t } : { rollout: i, step: t });
    circles.push(mark);
  }
  svg.append(...circles);
  leaves.forEach(([leaf, i], lane) => {
    const end = length(leaf) - 1, sum = leaf.reward.reduce((a, b) => a + b, 0);
    svg.append(make("text", { x: 0, y: 16 + high * lane, class: i === at.rollout ? "this" : "" }, i + 1));
    svg.append(make("text", { x: x(end) + 10, y: 16 + high * lane, class: i === at.rollout ? "this" : "" }, `= ${Number(sum.toPrecision(3))}`));
  });
  for (let t = 0; t < longest; t += Math.max(1, Math.ceil(40 / wide / 5) * 5)) {
    svg.append(make("text", { x: x(t) - 3, y: high * leaves.length + 20 }, t + 1));
  }
  svg.setAttribute("aria-label", `tree of ${leaves.length} leaves and ${nodes.size} steps`);
  return svg;
}

// A search: its root on the left, what it tried to the right; widths by simulations, colours by how much better than the root.
function drawSearch(found) {
  const children = found.parent.map(() => []);
  found.node.forEach((node, branch) => children[node].push(branch));
  const below = new Map(found.parent.map((branch, node) => [branch, node]));
  const mean = (node) => {
    const tried = children[node].filter((b) => found.q[b] !== null && found.count[b] > 0);
    const count = tried.reduce((sum, b) => sum + found.count[b], 0);
    return count ? tried.reduce((sum, b) => sum + found.count[b] * found.q[b], 0) / count : 0;
  };
  const root = mean(0), spots = [];
  const limit = Math.max(...found.q.filter((q, b) => q !== null && found.count[b]).map((q) => Math.abs(q - root)), 1e-9);
  let lane = 0, deepest = 0;
  const visit = (node, depth, parent) => {
    const spot = { depth, y: 0, parent, branch: found.parent[node] };
    deepest = Math.max(deepest, depth);
    const tried = children[node].filter((b) => found.count[b] > 0).sort((a, b) => found.count[b] - found.count[a]);
    const ys = tried.map((branch) => {
      if (below.has(branch)) return visit(below.get(branch), depth + 1, spot).y;
      const leaf = { depth: depth + 1, y: lane++, parent: spot, branch };
      deepest = Math.max(deepest, depth + 1);
      spots.push(leaf);
      return leaf.y;
    });
    spot.y = ys.length ? ys.reduce((a, b) => a + b, 0) / ys.length : lane++;
    spots.push(spot);
    return spot;
  };
  visit(0, 0, null);
  const wide = Math.max(90, Math.min(190, 1000 / (deepest + 1))), high = 22;
  const x = (spot) => 10 + wide * spot.depth, y = (spot) => 14 + high * spot.y;
  const svg = make("svg", { class: "tree", width: wide * (deepest + 1) + 60, height: high * Math.max(1, lane) + 10, role: "img" });
  for (const spot of spots.filter((one) => one.parent)) {
    const count = found.count[spot.branch];
    svg.append(make("line", { x1: x(spot.parent), y1: y(spot.parent), x2: x(spot), y2: y(spot), "stroke-width": Math.min(8, 0.7 + Math.sqrt(count)) }));
  }
  for (const spot of spots) {
    const q = spot.parent ? found.q[spot.branch] : root;
    const mark = make("circle", { cx: x(spot), cy: y(spot), r: 5, fill: colour((q ?? root) - root, limit), class: spot.parent ? "cell" : "here" });
    const action = spot.parent ? data.names[found.action[spot.branch]] ?? "inadmissible" : "here";
    mark.append(make("title", {}, spot.parent ? `${action}: ${found.count[spot.branch]} simulations, mean return ${number(q)}` : `mean return ${number(root)}`));
    svg.append(mark);
    if (spot.parent) {
      const name = action.length > 14 ? `${action.slice(0, 13)}…` : action;
      const inner = children[below.get(spot.branch) ?? -1]?.some((b) => found.count[b] > 0);
      svg.append(make("text", { x: x(spot) + (inner ? -6 : 8), y: y(spot) + (inner ? -8 : 4) }, `${name} ${number(q)}`));
    }
  }
  svg.setAttribute("aria-label", `search of ${found.visits[0]} simulations`);
  return svg;
}

function trees(rollout, step, method) {
  const found = (method.searches ?? []).filter((one) => one.rollout === at.rollout && one.step === step);
  const shared = data.rollouts.some((one, i) => data.rollouts.some((other, k) => k < i && one.tree === other.tree));
  byId("trees").hidden = !shared && !method.searches?.length;
  if (byId("trees").hidden) return;
  const scrolled = byId("tree").scrollLeft;
  if (shared) {
    byId("tree-title").textContent = "The tree";
    byId("tree-says").textContent =
      `The rollouts that grew from the same root, a line per leaf with its return, coloured by ${method.name} (its mean where leaves share a step).`;
    byId("tree").replaceChildren(drawTree(rollout, step, method));
  } else {
    byId("tree-title").textContent = "The search";
    byId("tree-says").textContent = found.length
      ? `${method.name} searched from here: ${found[0].visits[0]} simulations. Thick lines were tried often; blue is better than the root's mean return, orange worse.`
      : `${method.name} searched from ${method.searches.length} steps of this group, not from this one. `;
    const onward = document.createElement("button");
    onward.type = "button";
    onward.textContent = "next search (s)";
    onward.onclick = nextSearch;
    byId("tree-says").append(" ", onward);
    byId("tree").replaceChildren(...found.map(drawSearch));
  }
  byId("tree").scrollLeft = scrolled;
}

function nextSearch() {
  const roots = (data.methods[at.method].searches ?? []).map((one) => [one.rollout, one.step]);
  if (!roots.length) return;
  roots.sort(([a, b], [c, d]) => a - c || b - d);
  const after = roots.find(([i, t]) => i > at.rollout || (i === at.rollout && t > at.step)) ?? roots[0];
  go({ rollout: after[0], step: after[1] });
}
