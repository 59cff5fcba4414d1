// The column beside every view: which head, which query, the keys it attends to most, in numbers.

const TOP = 10;

async function drawRow() {
    const key = viewKey(state.map, state.n) + " " + state.q;
    const view = await viewOf(state.map, state.n);
    if (key !== viewKey(state.map, state.n) + " " + state.q) return;
    byId("row-where").textContent = sentenceCase(entryName(mapNow().heads[state.n])) + kvNote();
    drawHeadStats();
    if (!view) {
        byId("row-caption").textContent = "Only a thumbnail of this head is in the page.";
        return fill(byId("row-body"));
    }
    const unit = queryUnit(), row = rowOf(view, unit.index);
    byId("row-title").textContent = quoted(shorten(unit.label, 28)) + " attends to";
    const top = largest(row, TOP);
    byId("row-caption").textContent = rowCaption(unit) + (top.length === 0 ? "; every key is masked" : "");
    fill(byId("row-body"), ...top.map((k, rank) => rowLine(view, k, rank, row)));
    byId("row-sum").textContent = rowSentence(view, unit.index, top, row);
    byId("row").dataset.row = key;
    if (state.view === "text") announce(spokenRow(view, unit, top, row));
}

function kvNote() {
    const entry = mapNow().heads[state.n];
    return entry.kv === undefined || entry.kv === null ? "" : " · key/value head " + entry.kv;
}

function rowCaption(unit) {
    const where = unit.tokens.length > 1 ? "query row " + unit.index + ", tokens " + unit.tokens[0] + " to " + unit.tokens[unit.tokens.length - 1]
        : "query row " + unit.index + ", token " + unit.tokens[0];
    return where + (unit.piece && unit.piece !== unit.label ? ", in the vocabulary " + visible(unit.piece) : "");
}

function rowLine(view, k, rank, row) {
    const chosen = keyUnit().index === k;
    return el("tr", {class: chosen ? "chosen" : null, onclick: () => change({k: view.k.units[k].tokens[0]})},
        el("td", {class: "num"}, String(rank + 1)),
        el("td", {class: "key"}, el("bdi", {title: view.k.units[k].label}, shorten(view.k.units[k].label, 32)),
            el("span", {class: "at"}, String(k))),
        el("td", {class: "weight"}, el("div", {class: "weight-cell"}, el("span", {class: "weight-track", "aria-hidden": "true"},
            el("span", {class: "weight-bar", style: {width: 100 * (row[k] / largestSize(row)) + "%"}})),
            el("span", {class: "num"}, percent(row[k])))));
}

function entropyOf(row) {
    const total = sumOf(row);
    let bits = 0;
    for (const p of row) if (p > 0) bits -= (p / total) * Math.log2(p / total);
    return bits;
}

function rowSentence(view, q, top, row) {
    const shown = sumOf(top.map((k) => row[k])), all = rowSum(view, q);
    const others = view.nk - top.length;
    const parts = [];
    if (others > 0) parts.push(others + (others === 1 ? " other key: " : " other keys: ") + percent(Math.max(0, all - shown)));
    parts.push("row sum " + all.toFixed(4));
    if (!view.rest) parts.push("entropy " + entropyOf(row).toFixed(2) + " bits");
    parts.push({exact: "exact values", full: TIER_NOTES.full, top: "only the largest weights of each row are in this page"}[view.tier]);
    return sentenceCase(parts.join(" · "));
}

function spokenRow(view, unit, top, row) {
    return quoted(unit.label) + " attends to " + top.slice(0, 3).map((k) => quoted(view.k.units[k].label) + " " + percent(row[k])).join(", ");
}

function drawHeadStats() {
    fill(byId("head-stats"), ...mapNow().stats.flatMap((stat) => [
        el("dt", {title: stat.about}, stat.caption), el("dd", {class: "num"}, statistic(stat, stat.values[state.n])),
    ]));
}
