// The column beside every view: which head, which query, the keys it attends to most, in numbers.

const TOP = 10;

async function drawRow() {
    const key = viewKey(state.map, state.n) + " " + state.q;
    const view = await viewOf(state.map, state.n);
    if (key !== viewKey(state.map, state.n) + " " + state.q) return;
    byId("row-where").textContent = sentenceCase(entryName(mapNow().heads[state.n])) + kvNote();
    drawHeadStats();
    if (!view) {
        byId("row-caption").textContent = t("Only a thumbnail of this head is in the page.");
        return fill(byId("row-body"));
    }
    const unit = queryUnit(), row = rowOf(view, unit.index);
    byId("row-title").textContent = t("{0} attends to", quoted(shorten(unit.label, 28)));
    const top = largest(row, TOP);
    byId("row-caption").textContent = rowCaption(unit) + (top.length === 0 ? t("; every key is masked") : rowIsUniform(view, row) ? t("; nearly uniform") : "");
    fill(byId("row-body"), ...top.map((k, rank) => rowLine(view, k, rank, row)));
    byId("row-sum").textContent = rowSentence(view, unit.index, top, row);
    byId("row").dataset.row = key;
    if (state.view === "text") announce(spokenRow(view, unit, top, row));
}

function kvNote() {
    const entry = mapNow().heads[state.n];
    return entry.kv === undefined || entry.kv === null ? "" : " · " + t("key/value head {0}", entry.kv);
}

function rowCaption(unit) {
    const where = unit.tokens.length > 1 ? t("query row {0}, tokens {1} to {2}", unit.index, unit.tokens[0], unit.tokens[unit.tokens.length - 1])
        : t("query row {0}, token {1}", unit.index, unit.tokens[0]);
    const spelled = unit.piece && unit.piece !== unit.label && asLabel(bytePiece(unit.piece) || "") !== unit.label;
    return where + (spelled ? t(", in the vocabulary {0}", visible(unit.piece)) : "");
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

// Whether a row is nearly its even shares; among single tokens: its entropy against the largest possible.
function rowIsUniform(view, row) {
    const seen = row.filter((p) => p > 0).length;
    if (!mapNow().normalised || view.rest || seen < 2) return false;
    const q = queryUnit().index, total = sumOf(row);
    let away = 0; // bits from the even shares
    row.forEach((p, k) => { if (p > 0) away += (p / total) * Math.log2(p / total / evenShare(view.tone, q, k)); });
    return away <= (1 - NEARLY_UNIFORM) * Math.log2(seen);
}

function rowSentence(view, q, top, row) {
    const shown = sumOf(top.map((k) => row[k])), all = rowSum(view, q);
    const others = view.nk - top.length;
    const parts = [];
    if (others > 0) parts.push((others === 1 ? t("1 other key: {0}", percent(Math.max(0, all - shown))) : t("{0} other keys: {1}", others, percent(Math.max(0, all - shown)))));
    parts.push(t("row sum {0}", all.toFixed(4)));
    if (!view.rest) parts.push(t("entropy {0} bits", entropyOf(row).toFixed(2)));
    parts.push({exact: t("exact values"), full: tierNote("full"), top: t("only the largest weights of each row are in this page")}[view.tier]);
    return sentenceCase(parts.join(" · "));
}

function spokenRow(view, unit, top, row) {
    return t("{0} attends to", quoted(unit.label)) + " " + top.slice(0, 3).map((k) => quoted(view.k.units[k].label) + " " + percent(row[k])).join(t(", "));
}

function drawHeadStats() {
    fill(byId("head-stats"), ...mapNow().stats.flatMap((stat) => [
        el("dt", {title: t(stat.about)}, t(stat.caption)), el("dd", {class: "num"}, statistic(stat, stat.values[state.n])),
    ]));
}
