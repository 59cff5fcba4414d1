// Overview: every head as a small picture, sortable and filterable by its statistics.
// A grid in the sense of WAI-ARIA: one tab stop, arrows move inside.

const THUMB = 48;
const heads = {cells: [], focus: 0, columns: 1, job: 0, named: false};

function entryName(entry) {
    if (!isHead(entry)) return captionOf(entry);
    return Number.isFinite(entry.layer) ? t("layer {0}, head {1}", entry.layer, entry.head) : t("head {0}", entry.head);
}

// Combinations have captions of ours ("Mean of layer 2"), heads of other programs may have any.
function captionOf(entry) {
    const mean = /^Mean of layer (\d+)$/.exec(entry.caption || "");
    return mean ? t("Mean of layer {0}", mean[1]) : t(entry.caption || entry.id || "combined");
}

function entryShort(entry) {
    if (!isHead(entry)) return captionOf(entry);
    return (Number.isFinite(entry.layer) ? "L" + entry.layer + " " : "") + "H" + entry.head;
}

function isHead(entry) {
    return entry.head !== undefined && entry.head !== null;
}

function statNow() {
    return mapNow().stats.find((s) => s.id === (state.stat || state.sort)) || null;
}

function buildHeads(panel) {
    const sort = el("select", {id: "sort", onchange: (e) => change({sort: e.target.value, stat: e.target.value || state.stat})});
    const stat = el("select", {id: "stat", onchange: (e) => change({stat: e.target.value, least: 0})});
    const cells = el("select", {id: "cells", onchange: (e) => change({cells: e.target.value})},
        el("option", {value: "pattern"}, t("the pattern")), el("option", {value: "stat"}, t("the statistic")),
        el("option", {value: "pair"}, t("the chosen weight")));
    const least = el("input", {id: "least", type: "range", min: 0, max: 100, step: 1,
                               oninput: (e) => change({least: Number(e.target.value)})});
    fill(panel,
        el("div", {class: "lead"},
            el("h2", {}, t("Layers and heads")),
            el("p", {id: "heads-lead"})),
        el("div", {class: "tools sub", role: "group", "aria-label": t("Sort and filter heads")},
            el("label", {class: "pick"}, el("span", {}, t("Show")), cells),
            el("label", {class: "pick"}, el("span", {}, t("Sort by")), sort),
            el("label", {class: "pick"}, el("span", {}, t("Statistic")), stat),
            el("label", {class: "pick wide"}, el("span", {id: "least-label"}, t("At least")), least)),
        el("p", {class: "small", id: "stat-about"}),
        el("div", {id: "grid", role: "grid", "aria-label": t("Heads"), onkeydown: gridKey}),
        el("p", {class: "small"}, t("Stronger colour is more; pale is an even share. Thumbnails keep the largest weight under each point, so thin lines stay visible."),
            blank(), t("Arrows move, Space chooses, Enter opens the matrix.")));
}

// ---- order and filter

function statRange(stat) {
    const values = stat.values.filter((v) => v !== null);
    return [Math.min(...values), Math.max(...values)];
}

function threshold(stat) {
    const [low, high] = statRange(stat);
    return low + (high - low) * (state.least / 100);
}

function passes(n) {
    const stat = statNow();
    if (!stat || state.least === 0) return true;
    return stat.values[n] !== null && stat.values[n] >= threshold(stat) - 1e-12;
}

// Rows of the grid: by layer in natural order, or one long list cut into rows when sorted.
function gridRows() {
    const map = mapNow();
    const all = map.heads.map((entry, n) => ({entry, n}));
    const stat = map.stats.find((s) => s.id === state.sort);
    if (stat) return sortedRows(all.filter((x) => passes(x.n)), stat);
    const layers = [...new Set(all.map((x) => x.entry.layer).filter(Number.isFinite))].sort((a, b) => a - b);
    const rows = layers.map((layer) => ({name: t("layer {0}", layer), cells: headsFirst(all.filter((x) => x.entry.layer === layer))}));
    const others = all.filter((x) => !Number.isFinite(x.entry.layer));
    if (others.length > 0) rows.push({name: layers.length > 0 ? t("all") : "", cells: headsFirst(others)});
    return rows;
}

// The combinations of a layer stand at the end of its row.
function headsFirst(cells) {
    return cells.filter((x) => isHead(x.entry)).concat(cells.filter((x) => !isHead(x.entry)));
}

function sortedRows(list, stat) {
    list.sort((a, b) => (stat.values[b.n] ?? -Infinity) - (stat.values[a.n] ?? -Infinity) || a.n - b.n);
    const width = Math.min(12, Math.max(4, headsPerLayer()));
    const rows = [];
    for (let i = 0; i < list.length; i += width) rows.push({name: "", cells: list.slice(i, i + width)});
    return rows;
}

function headsPerLayer() {
    const counts = {};
    for (const entry of mapNow().heads) if (isHead(entry)) counts[entry.layer] = (counts[entry.layer] || 0) + 1;
    return Math.max(1, ...Object.values(counts));
}

// ---- drawing

function updateHeadsTools() {
    const map = mapNow();
    const stat = statNow();
    fill(byId("sort"), el("option", {value: ""}, t("layer and head")),
        ...map.stats.map((s) => el("option", {value: s.id}, lower(t(s.caption)))));
    fill(byId("stat"), el("option", {value: ""}, t("none")), ...map.stats.map((s) => el("option", {value: s.id}, lower(t(s.caption)))));
    byId("sort").value = state.sort;
    byId("stat").value = stat ? stat.id : "";
    byId("cells").value = state.cells;
    byId("least").value = state.least;
    byId("least").disabled = !stat;
    byId("least-label").textContent = t("At least") + (stat && state.least > 0 ? " " + statistic(stat, threshold(stat)) : "");
    byId("stat-about").textContent = stat ? t("{0}: {1}", t(stat.caption), t(stat.about)) : "";
    const shown = map.heads.filter((_, n) => passes(n)).length;
    const uniform = map.heads.filter((entry, n) => isHead(entry) && nearlyUniform(map, n)).length;
    fill(byId("heads-lead"), t("{0}, {1} matrices.", t(map.caption), map.heads.length), blank(),
        shown < map.heads.length ? t("{0} pass the filter.", shown) + blank() : "",
        uniform > 0 ? t("{0} of {1} heads attend nearly uniformly.", uniform, map.heads.filter(isHead).length) + blank() : "", cellsMeaning(stat));
}

function cellsMeaning(stat) {
    if (state.cells === "pair") {
        return t("Each square is one weight: query {0} to key {1}.", quoted(queryUnit().label), quoted(keyUnit().label));
    }
    if (state.cells === "stat") return stat ? t("Each square is one statistic.") : t("Choose a statistic to colour by.");
    return t("Each picture is one matrix: queries down, keys across.");
}

function drawHeads() {
    updateHeadsTools();
    const grid = byId("grid");
    const rows = gridRows();
    heads.cells = [];
    heads.columns = Math.max(1, ...rows.map((r) => r.cells.length));
    grid.style.setProperty("--columns", String(Math.max(heads.columns, 4)));
    grid.classList.toggle("named", state.sort === "");
    fill(grid, columnNames(rows), ...rows.map((row, r) => gridRow(row, r)));
    const at = heads.cells.findIndex((c) => c.n === state.n);
    focusCell(at >= 0 ? at : 0, false);
    paintHeads();
}

// Head numbers above the columns, when every layer has the same heads; otherwise each cell says its own.
function columnNames(rows) {
    heads.named = false;
    if (state.sort !== "") return null;
    const column = (cell) => (isHead(cell.entry) ? String(cell.entry.head) : t(cell.entry.id || ""));
    const columns = (row) => row.cells.map(column).join(" ");
    const layers = rows.filter((row) => Number.isFinite(row.cells[0].entry.layer));
    if (layers.length === 0 || layers.some((row) => columns(row) !== columns(layers[0]))) return null;
    heads.named = true;
    return el("div", {role: "row", class: "grid-row grid-top"}, el("div", {role: "columnheader", class: "grid-name"}, t("head")),
        ...layers[0].cells.map((c) => el("div", {role: "columnheader", class: "grid-name"}, column(c))));
}

// Whether row and column headers say which matrix a cell is.
function isNamed(entry) {
    return heads.named && Number.isFinite(entry.layer);
}

function gridRow(row, r) {
    return el("div", {role: "row", class: "grid-row"},
        state.sort === "" ? el("div", {role: "rowheader", class: "grid-name"}, row.name) : null,
        ...row.cells.map((cell, c) => gridCell(cell, r, c)));
}

function gridCell({entry, n}, r, c) {
    const stat = statNow();
    const note = stat ? statistic(stat, stat.values[n]) : "";
    const caption = isNamed(entry) ? note : entryShort(entry) + (note ? " · " + note : "");
    const canvas = el("canvas", {width: 1, height: 1, "aria-hidden": "true"});
    const text = el("span", {class: "cell-note", "data-name": isNamed(entry) ? entryShort(entry) : null}, caption);
    const node = el("div", {
        role: "gridcell", tabindex: -1, class: "cell" + (passes(n) ? "" : " out"), "aria-disabled": passes(n) ? null : "true",
        "aria-selected": n === state.n ? "true" : "false", "aria-label": entryName(entry) + (note ? ", " + note : "") + (nearlyUniform(mapNow(), n) ? ", " + t("nearly uniform") : ""),
        onclick: () => { focusCell(index, true); change({n}); }, ondblclick: () => change({n, view: "matrix"}),
    }, canvas, text);
    const index = heads.cells.push({node, n, r, c, canvas, text, entry}) - 1;
    return node;
}

function markChosen() {
    for (const cell of heads.cells) cell.node.setAttribute("aria-selected", cell.n === state.n ? "true" : "false");
}

// Paints cell by cell, giving way to input; a newer call stops an older one.
async function paintHeads() {
    const job = ++heads.job;
    const pair = state.cells === "pair" ? await pairWeights(job) : null;
    const thumb = state.cells === "pattern" ? await thumbsOf(state.map) : null;
    let rested = performance.now();
    for (const cell of heads.cells) {
        if (job !== heads.job) return;
        if (state.cells === "pattern") await paintPattern(cell, thumb);
        else paintValue(cell, pair);
        if (performance.now() - rested > 12) {
            await pause();
            rested = performance.now();
        }
    }
    byId("grid").dataset.painted = "yes";
}

const pooled = new Map();

async function paintPattern(cell, thumb) {
    const map = mapNow(), name = state.map + "-" + cell.n;
    let small = thumb ? {rows: thumb.rows, columns: thumb.columns, bytes: thumb.of(cell.n), peak: (map.peaks || [])[cell.n]} : pooled.get(name);
    if (!small) {
        const matrix = await matrixOf(state.map, cell.n);
        if (!matrix) return;
        small = poolMax(matrix, ...shapeOf(map), THUMB);
        small.tone = toneOf({nq: shapeOf(map)[0], nk: shapeOf(map)[1], data: matrix.data}, map.normalised, map.causal);
        pooled.set(name, small);
    }
    paintBytes(cell.canvas, small, small.tone || thumbTone(map, small.peak));
}

// Of a thumbnail that came with the page: its largest weight is known when the page says it.
function thumbTone(map, peak) {
    const [nq, nk] = shapeOf(map), known = Number.isFinite(peak);
    return withTop(toneOf({nq, nk, data: []}, known && map.normalised, map.causal), known ? peak : 1);
}

function paintBytes(canvas, {rows, columns, bytes, peak}, tone) {
    const colours = ramp(HUE, darkNow());
    const largest = Number.isFinite(peak) ? peak : 1, nq = shapeOf(mapNow())[0];
    canvas.width = columns;
    canvas.height = rows;
    const image = new ImageData(columns, rows);
    for (let i = 0; i < rows; i++) {
        const q = Math.floor(((i + 0.5) * nq) / rows);
        const index = Uint8Array.from({length: 256}, (_, c) => Math.round(255 * shadeIn(tone, q, 0, largest * (c / 255) ** 2)));
        for (let j = i * columns; j < (i + 1) * columns; j++) {
            image.data.set(colours[index[bytes[j]]], 4 * j);
            image.data[4 * j + 3] = 255;
        }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
}

function paintValue(cell, pair) {
    const stat = statNow();
    let dark = 0, label = "–";
    if (pair) {
        dark = shade(pair.values[cell.n] || 0, pair.max);
        label = percent(pair.values[cell.n]);
    } else if (stat && stat.values[cell.n] !== null) {
        const [low, high] = statRange(stat);
        dark = high > low ? (stat.values[cell.n] - low) / (high - low) : 0;
        label = statistic(stat, stat.values[cell.n]);
    }
    const rgb = colourAt(dark);
    cell.canvas.width = cell.canvas.height = 1;
    const context = cell.canvas.getContext("2d");
    context.fillStyle = css(rgb);
    context.fillRect(0, 0, 1, 1);
    cell.text.textContent = (isNamed(cell.entry) ? "" : entryShort(cell.entry) + " · ") + label;
    cell.node.setAttribute("aria-label", entryName(cell.entry) + ", " + label);
}

// One weight, query to key, in every matrix of the map.
async function pairWeights(job) {
    const q = queryUnit().index, k = keyUnit().index;
    const values = [];
    let rested = performance.now();
    for (let n = 0; n < mapNow().heads.length && job === heads.job; n++) {
        const view = await viewOf(state.map, n);
        values.push(view ? view.data[q * view.nk + k] : null);
        if (performance.now() - rested > 12) {
            await pause();
            rested = performance.now();
        }
    }
    return {values, max: Math.max(0, ...values.map((v) => v || 0))};
}

// ---- keyboard

function focusCell(index, move) {
    if (heads.cells.length === 0) return;
    heads.focus = clamp(index, 0, heads.cells.length - 1);
    heads.cells.forEach((cell, i) => { cell.node.tabIndex = i === heads.focus ? 0 : -1; });
    if (move) heads.cells[heads.focus].node.focus();
}

// The cell one row up or down, nearest column.
function vertical(step) {
    const from = heads.cells[heads.focus];
    const row = heads.cells.filter((c) => c.r === from.r + step);
    if (row.length === 0) return heads.focus;
    return heads.cells.indexOf(row[Math.min(from.c, row.length - 1)]);
}

function rowEnd(last) {
    const row = heads.cells.filter((c) => c.r === heads.cells[heads.focus].r);
    return heads.cells.indexOf(last ? row[row.length - 1] : row[0]);
}

function gridKey(event) {
    const at = heads.focus, count = heads.cells.length;
    const moves = {
        ArrowRight: () => at + 1, ArrowLeft: () => at - 1, ArrowDown: () => vertical(1), ArrowUp: () => vertical(-1),
        Home: () => (event.ctrlKey ? 0 : rowEnd(false)), End: () => (event.ctrlKey ? count - 1 : rowEnd(true)),
        PageDown: () => vertical(4), PageUp: () => vertical(-4),
    };
    if (moves[event.key]) focusCell(moves[event.key](), true);
    else if (event.key === " ") change({n: heads.cells[at].n});
    else if (event.key === "Enter") change({n: heads.cells[at].n, view: "matrix"});
    else return;
    event.preventDefault();
    event.stopPropagation();
}
