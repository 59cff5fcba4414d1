// Matrix view: the cell cursor by keyboard, hover and drag by pointer, and what they say.

// A token that stands for a unit in `state`, which must survive merging and hiding.
function chooseCell(q, k) {
    const rows = queryAxis().units, columns = keyAxis().units;
    change({q: rows[clamp(q, 0, rows.length - 1)].tokens[0], k: columns[clamp(k, 0, columns.length - 1)].tokens[0]});
}

function matrixKey(event) {
    if (event.altKey || event.metaKey) return;
    const q = queryUnit().index, k = keyUnit().index;
    const lastQ = queryAxis().units.length - 1, lastK = keyAxis().units.length - 1;
    const moves = {
        ArrowUp: [q - 1, k], ArrowDown: [q + 1, k], ArrowLeft: [q, k - 1], ArrowRight: [q, k + 1],
        PageUp: [q - 10, k], PageDown: [q + 10, k],
        Home: event.ctrlKey ? [0, 0] : [q, 0], End: event.ctrlKey ? [lastQ, lastK] : [q, lastK],
    };
    if (moves[event.key]) chooseCell(...moves[event.key]);
    else if (event.ctrlKey) return;
    else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") zoomTo(1);
    else return;
    event.preventDefault();
    event.stopPropagation();
}

// Scrolls the chosen cell into the visible part, redraws, and says it.
function showCell(speak) {
    if (!matrix.view) return;
    const q = queryUnit().index, k = keyUnit().index;
    const across = matrix.width / matrix.cell, down = matrix.height / matrix.cell;
    if (k < matrix.ox) matrix.ox = k;
    if (k > matrix.ox + across - 1) matrix.ox = k - across + 1;
    if (q < matrix.oy) matrix.oy = q;
    if (q > matrix.oy + down - 1) matrix.oy = q - down + 1;
    drawMatrix();
    drawReadout(q, k);
    if (speak) announce(cellSentence(q, k));
}

function tierNote(tier) {
    return {exact: t("exact"), full: t("to 0.4 % of the row's largest"), top: t("largest of the row only")}[tier];
}

function cellSentence(q, k) {
    const view = matrix.view;
    const row = rowOf(view, q), p = row[k];
    const stored = view.tier === "top" && p === 0;
    const value = stored ? t("not among the stored weights") : t("{0} ({1}), rank {2} of {3}", decimal(p), percent(p), rankIn(row, k), view.nk);
    return t("row {0} {1} → column {2} {3}: {4}", q, quoted(view.q.units[q].label), k, quoted(view.k.units[k].label), value) +
        " · " + t("row sum {0}", rowSum(view, q).toFixed(4)) + " · " + tierNote(view.tier);
}

// The same in large type, for the chosen cell or the one under the pointer.
function drawReadout(q, k) {
    const view = matrix.view, row = rowOf(view, q), p = row[k];
    const missing = view.tier === "top" && p === 0;
    const line = (name, label) => el("p", {class: "end"}, el("span", {class: "small"}, name), el("bdi", {}, shorten(label, 40)));
    fill(byId("readout"),
        line(t("query, row {0}", q), view.q.units[q].label), line(t("key, column {0}", k), view.k.units[k].label),
        el("p", {class: "big"}, missing ? t("not stored") : percent(p)),
        el("p", {class: "small"}, missing ? t("below the weights kept for this row")
            : t("weight {0}, rank {1} of {2}", decimal(p), rankIn(row, k), view.nk)),
        el("p", {class: "small"}, t("row sum {0}", rowSum(view, q).toFixed(4)) + " · " + tierNote(view.tier)));
}

// ---- zoom keeps the chosen cell where it is

function zoomTo(zoom, x, y) {
    const view = matrix.view;
    if (!view) return;
    const cell = matrix.cell;
    const [cx, cy] = cellBox(queryUnit().index, keyUnit().index);
    const px = (x === undefined ? cx + cell / 2 : x) - matrix.left, py = (y === undefined ? cy + cell / 2 : y) - matrix.top;
    const kx = matrix.ox + px / cell, qy = matrix.oy + py / cell;
    const fit = cell / state.zoom;
    const next = clamp(zoom, 1, Math.max(1, MAX_CELL / fit));
    matrix.ox = kx - px / (fit * next);
    matrix.oy = qy - py / (fit * next);
    change({zoom: Math.round(next * 100) / 100});
    drawMatrix();
}

function zoomBy(factor) {
    zoomTo(state.zoom * factor);
}

function matrixWheel(event) {
    if (!matrix.view) return;
    const box = byId("canvas").getBoundingClientRect();
    if (event.ctrlKey) {
        event.preventDefault();
        return zoomTo(state.zoom * Math.exp(-event.deltaY / 240), event.clientX - box.left, event.clientY - box.top);
    }
    const before = [matrix.ox, matrix.oy];
    matrix.ox += event.deltaX / matrix.cell;
    matrix.oy += event.deltaY / matrix.cell;
    drawMatrix();
    if (before[0] !== matrix.ox || before[1] !== matrix.oy) event.preventDefault(); // at the edge the page scrolls on
}

// ---- pointer: hover reads, click chooses, drag moves when zoomed

let drag = null;

function cellUnder(event) {
    const box = byId("canvas").getBoundingClientRect();
    return cellAt(event.clientX - box.left, event.clientY - box.top);
}

// The cell at a place of the canvas, or null.
function cellAt(px, py) {
    const x = px - matrix.left, y = py - matrix.top;
    if (!matrix.view || x < 0 || y < 0 || x >= matrix.width || y >= matrix.height) return null;
    return [Math.min(matrix.view.nq - 1, Math.floor(matrix.oy + y / matrix.cell)),
            Math.min(matrix.view.nk - 1, Math.floor(matrix.ox + x / matrix.cell))];
}

function matrixDown(event) {
    if (event.button !== 0) return;
    drag = {x: event.clientX, y: event.clientY, ox: matrix.ox, oy: matrix.oy, moved: false};
    byId("canvas").setPointerCapture(event.pointerId);
}

function matrixMove(event) {
    if (drag && state.zoom > 1) {
        const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
        if (Math.abs(dx) + Math.abs(dy) > 4) drag.moved = true;
        matrix.ox = drag.ox - dx / matrix.cell;
        matrix.oy = drag.oy - dy / matrix.cell;
        if (drag.moved) return drawMatrix();
    }
    if (matrix.view) drawReadout(...(cellUnder(event) || [queryUnit().index, keyUnit().index]));
}

function matrixUp(event) {
    const clicked = drag && !drag.moved && event.type === "pointerup";
    drag = null;
    const cell = clicked ? cellUnder(event) : null;
    if (cell) chooseCell(...cell);
}

function matrixLeave() {
    if (matrix.view && !drag) drawReadout(queryUnit().index, keyUnit().index);
}

function matrixDouble(event) {
    const box = byId("canvas").getBoundingClientRect();
    zoomTo(state.zoom * 2, event.clientX - box.left, event.clientY - box.top);
}
