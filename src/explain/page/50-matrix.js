// Matrix view: one canvas, rows are queries, columns are keys. This file owns geometry and drawing;
// 55-matrix-input.js owns keyboard and pointer.

function emptyMatrix() {
    return {view: null, image: null, ox: 0, oy: 0, hover: null, left: 0, top: 0, cell: 1, width: 0, height: 0};
}

let matrix = emptyMatrix(); // what the functions below draw and read
const firstMatrix = matrix, besideMatrix = emptyMatrix();
const MAX_FIT = 30, MAX_CELL = 64;

function buildMatrix(panel) {
    const canvas = el("canvas", {
        id: "canvas", tabindex: 0, role: "application", "aria-roledescription": t("attention matrix"),
        "aria-label": t("Attention matrix"), "aria-describedby": "matrix-how",
        onkeydown: matrixKey, onpointerdown: matrixDown, onpointermove: matrixMove, onpointerup: matrixUp,
        onpointercancel: matrixUp, onpointerleave: matrixLeave, ondblclick: matrixDouble,
    });
    canvas.addEventListener("wheel", matrixWheel, {passive: false});
    fill(panel,
        el("div", {class: "lead"}, el("h2", {id: "matrix-title"}), el("p", {id: "matrix-lead"}, t("query (row) attends to key (column)")),
            el("p", {id: "matrix-uniform"})),
        el("label", {class: "pick"}, el("span", {}, t("Beside it")), el("select", {id: "beside", onchange: (e) => change({beside: e.target.value})})),
        el("div", {class: "desk"},
            el("div", {class: "stages"},
                el("div", {class: "stage"}, el("h3", {id: "first-title"}), canvas),
                el("div", {class: "stage", id: "beside-stage", hidden: true}, el("h3", {id: "beside-title"}),
                    el("canvas", {id: "beside-canvas", role: "img", onpointerdown: besideDown}), el("p", {class: "small", id: "beside-said"}))),
            el("div", {class: "side"},
                el("div", {id: "readout", class: "readout"}),
                el("div", {class: "legend", id: "legend"}),
                el("div", {class: "zoom", role: "group", "aria-label": t("Zoom")},
                    el("button", {type: "button", id: "zoom-out", "aria-label": t("Zoom out"), onclick: () => zoomBy(1 / 1.5)}, "−"),
                    el("button", {type: "button", id: "zoom-fit", onclick: () => zoomTo(1)}, t("Fit")),
                    el("button", {type: "button", id: "zoom-in", "aria-label": t("Zoom in"), onclick: () => zoomBy(1.5)}, "+")),
                el("p", {id: "matrix-how", class: "small"},
                    t("Arrows move the cell, Page Up and Page Down by ten rows, Home and End along the row. + and − zoom, 0 fits."), blank(),
                    t("When zoomed, drag or scroll to move; Ctrl and scroll zooms.")))));
    new ResizeObserver(() => requestAnimationFrame(drawMatrix)).observe(panel.querySelector(".stage"));
}

async function loadMatrix() {
    const key = viewKey(state.map, state.n);
    byId("matrix-title").textContent = sentenceCase(entryName(mapNow().heads[state.n]));
    const view = await viewOf(state.map, state.n);
    if (key !== viewKey(state.map, state.n)) return;
    matrix.view = view;
    byId("matrix-uniform").textContent = nearlyUniform(mapNow(), state.n)
        ? t("Nearly uniform: every key gets about the same, so this matrix tells little.") : "";
    colourMatrix();
    showCell(false);
    await loadBeside();
}

// ---- a second matrix beside the first: another head, or another map

function besideNow() {
    const [m, n] = state.beside.split(".").map(Number);
    return state.beside !== "" && meta.maps[m] && meta.maps[m].heads[n] ? {m, n} : null;
}

function besideName({m, n}) {
    return (meta.maps.length > 1 ? t(meta.maps[m].caption) + ", " : "") + entryName(meta.maps[m].heads[n]);
}

async function loadBeside() {
    const beside = besideNow();
    const all = meta.maps.flatMap((map, m) => map.heads.map((_, n) => ({m, n}))).filter((x) => x.m !== state.map || x.n !== state.n);
    fill(byId("beside"), el("option", {value: ""}, t("nothing")), ...all.map((x) => el("option", {value: x.m + "." + x.n}, besideName(x))));
    byId("beside").value = beside ? state.beside : "";
    byId("beside").parentElement.hidden = all.length === 0;
    byId("beside-stage").hidden = !beside;
    byId("panel-matrix").classList.toggle("two", Boolean(beside));
    byId("first-title").textContent = beside ? sentenceCase(besideName({m: state.map, n: state.n})) : "";
    besideMatrix.view = beside ? await viewOf(beside.m, beside.n) : null;
    if (besideMatrix.view) withBeside(() => { matrix.image = weightImage(matrix.view, 1); });
    drawMatrix();
}

// The functions of this file on the second matrix.
function withBeside(act) {
    matrix = besideMatrix;
    act();
    matrix = firstMatrix;
}

function drawBeside() {
    const beside = besideNow();
    if (!beside || !besideMatrix.view) return;
    const canvas = byId("beside-canvas"), width = canvas.parentElement.clientWidth;
    const same = sameAxes();
    byId("beside-title").textContent = sentenceCase(besideName(beside));
    canvas.setAttribute("aria-label", besideName(beside));
    withBeside(() => {
        matrix.small = null;
        matrix.ox = firstMatrix.ox;
        matrix.oy = firstMatrix.oy;
        paintMatrix(canvas, width, same ? [queryUnit().index, keyUnit().index] : null);
    });
    canvas.dataset.drawn = state.beside;
    const q = queryUnit().index, k = keyUnit().index;
    byId("beside-said").textContent = same ? t("the same cell here: {0}", percent(rowOf(besideMatrix.view, q)[k])) : t("another text: its own rows and columns");
}

function sameAxes() {
    return firstMatrix.view && besideMatrix.view && firstMatrix.view.q === besideMatrix.view.q && firstMatrix.view.k === besideMatrix.view.k;
}

function besideDown(event) {
    const box = byId("beside-canvas").getBoundingClientRect();
    let cell = null;
    withBeside(() => { cell = cellAt(event.clientX - box.left, event.clientY - box.top); });
    if (cell && sameAxes()) chooseCell(...cell);
}

function sentenceCase(text) {
    return text.charAt(0).toUpperCase() + text.slice(1);
}

// One image pixel per weight, in the colours of the scale; the canvas draws it enlarged.
function colourMatrix() {
    const view = matrix.view;
    if (!view) return drawMatrix();
    matrix.image = weightImage(view, 1);
    matrix.small = null;
    drawLegend();
    drawMatrix();
}

// `step` > 1 keeps the largest weight of step x step cells: an image smaller than the matrix must not lose thin lines.
function weightImage(view, step) {
    const columns = Math.ceil(view.nk / step), rows = Math.ceil(view.nq / step);
    const colours = ramp(HUE, darkNow());
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const packed = Uint32Array.from(colours, ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0);
    for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
            const dark = step === 1 ? shadeIn(view.tone, i, j, view.data[i * view.nk + j]) : blockShade(view, i * step, j * step, step);
            pixels[i * columns + j] = packed[Math.round(255 * dark)];
        }
    }
    const canvas = el("canvas", {width: columns, height: rows});
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
}

function blockShade(view, q0, k0, step) {
    let most = 0;
    for (let q = q0; q < Math.min(view.nq, q0 + step); q++) {
        for (let k = k0; k < Math.min(view.nk, k0 + step); k++) most = Math.max(most, shadeIn(view.tone, q, k, view.data[q * view.nk + k]));
    }
    return most;
}

// ---- geometry

function labelFont(size) {
    return size + "px " + getComputedStyle(document.body).fontFamily;
}

function longestLabel(context, axis, most) {
    let width = 0;
    for (const unit of axis.units) width = Math.max(width, context.measureText(shorten(unit.label, 16)).width);
    return Math.min(most, Math.ceil(width));
}

function layoutMatrix(context, width) {
    const view = matrix.view;
    context.font = labelFont(12);
    matrix.left = longestLabel(context, view.q, width < 500 ? 72 : 120) + 34;
    matrix.top = longestLabel(context, view.k, width < 500 ? 72 : 110) + 34;
    const room = Math.max(120, Math.min(window.innerHeight * 0.78, 760) - matrix.top);
    const fit = Math.min((width - matrix.left - 2) / view.nk, Math.max(room, 160) / view.nq, MAX_FIT);
    matrix.cell = Math.min(fit * state.zoom, Math.max(MAX_CELL, fit));
    matrix.width = Math.min(width - matrix.left - 2, matrix.cell * view.nk);
    matrix.height = Math.min(Math.max(fit * view.nq, Math.min(room, matrix.cell * view.nq)), matrix.cell * view.nq);
    matrix.ox = clamp(matrix.ox, 0, Math.max(0, view.nk - matrix.width / matrix.cell));
    matrix.oy = clamp(matrix.oy, 0, Math.max(0, view.nq - matrix.height / matrix.cell));
}

function drawMatrix() {
    const canvas = byId("canvas");
    const width = canvas.parentElement.clientWidth;
    if (width === 0 || state.view !== "matrix") return;
    const context = canvas.getContext("2d");
    if (!matrix.view) return drawNothing(canvas, context, width);
    paintMatrix(canvas, width, [queryUnit().index, keyUnit().index]);
    canvas.dataset.drawn = viewKey(state.map, state.n);
    drawBeside();
}

// `chosen`: the cell with the frame, or null.
function paintMatrix(canvas, width, chosen) {
    const context = canvas.getContext("2d");
    layoutMatrix(context, width);
    const height = matrix.top + matrix.height + 2;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = height + "px";
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(document.body);
    drawCells(context, ratio);
    drawAxisNames(context, style);
    drawLabels(context, style, "q", chosen ? chosen[0] : -100);
    drawLabels(context, style, "k", chosen ? chosen[1] : -100);
    if (chosen) drawCursor(context, style, chosen);
}

// The flag of the command that brings a matrix whole.
function askFor(entry) {
    return isHead(entry) ? "--full " + (entry.layer || 0) + ":" + entry.head : "--matrix " + entry.id;
}

function drawNothing(canvas, context, width) {
    canvas.width = width;
    canvas.height = 80;
    canvas.style.height = "80px";
    byId("readout").textContent = t("This page carries only a thumbnail of this head. Ask for it with {0}.", askFor(mapNow().heads[state.n]));
}

function drawCells(context, ratio) {
    const view = matrix.view;
    let source = matrix.image, step = 1;
    if (matrix.cell * ratio < 1) {
        step = Math.ceil(1 / (matrix.cell * ratio));
        matrix.small = matrix.small && matrix.small.step === step ? matrix.small : {step, image: weightImage(view, step)};
        source = matrix.small.image;
    }
    context.imageSmoothingEnabled = false;
    context.drawImage(source, matrix.ox / step, matrix.oy / step, matrix.width / matrix.cell / step,
        matrix.height / matrix.cell / step, matrix.left, matrix.top, matrix.width, matrix.height);
    if (matrix.cell >= 14) drawGridLines(context);
}

function drawGridLines(context) {
    context.strokeStyle = getComputedStyle(document.body).getPropertyValue("--panel");
    context.lineWidth = 1;
    context.beginPath();
    for (let k = Math.ceil(matrix.ox); (k - matrix.ox) * matrix.cell <= matrix.width + 1; k++) {
        const x = Math.round(matrix.left + (k - matrix.ox) * matrix.cell) + 0.5;
        context.moveTo(x, matrix.top);
        context.lineTo(x, matrix.top + matrix.height);
    }
    for (let q = Math.ceil(matrix.oy); (q - matrix.oy) * matrix.cell <= matrix.height + 1; q++) {
        const y = Math.round(matrix.top + (q - matrix.oy) * matrix.cell) + 0.5;
        context.moveTo(matrix.left, y);
        context.lineTo(matrix.left + matrix.width, y);
    }
    context.stroke();
}

function drawAxisNames(context, style) {
    context.fillStyle = style.getPropertyValue("--soft");
    context.font = "600 " + labelFont(11);
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillText(t("key (column) →"), matrix.left, 8);
    context.save();
    context.translate(8, matrix.top);
    context.rotate(-Math.PI / 2);
    context.textAlign = "right";
    context.fillText(t("← query (row)"), 0, 0);
    context.restore();
}

// Labels of one axis, as many as fit; the chosen one always.
function drawLabels(context, style, which, chosen) {
    const axis = matrix.view[which];
    const origin = which === "q" ? matrix.oy : matrix.ox;
    const extent = which === "q" ? matrix.height : matrix.width;
    const step = Math.max(1, Math.ceil(13 / matrix.cell));
    const room = (which === "q" ? matrix.left : matrix.top) - 26;
    for (let i = Math.max(0, Math.floor(origin)); i < axis.units.length && (i - origin) * matrix.cell < extent; i++) {
        const at = (i + 0.5 - origin) * matrix.cell;
        if (at < 0 || at > extent || (i !== chosen && (i % step !== 0 || (chosen >= 0 && Math.abs(i - chosen) * matrix.cell < 13)))) continue;
        context.font = (i === chosen ? "700 " : "") + labelFont(matrix.cell < 11 ? 11 : 12);
        context.fillStyle = style.getPropertyValue(i === chosen ? "--ink" : "--soft");
        drawLabel(context, fitLabel(context, axis.units[i].label, room), which, at);
    }
}

function fitLabel(context, label, room) {
    let text = shorten(label, 20);
    for (let most = 19; most > 1 && context.measureText(text).width > room; most--) text = shorten(label, most);
    return text;
}

function drawLabel(context, text, which, at) {
    context.save();
    context.textBaseline = "middle";
    if (which === "q") {
        context.textAlign = "right";
        context.translate(matrix.left - 6, matrix.top + at);
    } else {
        context.textAlign = "left";
        context.translate(matrix.left + at, matrix.top - 6);
        context.rotate(-Math.PI / 2);
    }
    context.direction = "ltr";
    context.fillText(text, 0, 0);
    context.restore();
}

function cellBox(q, k) {
    return [matrix.left + (k - matrix.ox) * matrix.cell, matrix.top + (q - matrix.oy) * matrix.cell, matrix.cell, matrix.cell];
}

// A frame seen on light and dark cells alike, and hairlines along its row.
function drawCursor(context, style, chosen) {
    const [x, y, w, h] = cellBox(...chosen);
    context.save();
    context.beginPath();
    context.rect(matrix.left - 2, matrix.top - 2, matrix.width + 4, matrix.height + 4);
    context.clip();
    context.strokeStyle = style.getPropertyValue("--ring");
    context.lineWidth = 1;
    context.strokeRect(matrix.left + 0.5, y - 0.5, matrix.width - 1, h + 1);
    const grow = Math.max(0, (7 - w) / 2);
    context.lineWidth = 4;
    context.strokeStyle = style.getPropertyValue("--panel");
    context.strokeRect(x - grow - 1, y - grow - 1, w + 2 * grow + 2, h + 2 * grow + 2);
    context.lineWidth = 2;
    context.strokeStyle = style.getPropertyValue("--ring");
    context.strokeRect(x - grow - 1, y - grow - 1, w + 2 * grow + 2, h + 2 * grow + 2);
    context.restore();
}

// Values with their places on the scale: [share of the strip, text], the first and the last are its ends.
function legendTicks(tone) {
    if (tone.even) return [[0, "0"], [EVEN_SHADE, evenCaption(tone)], [1, percent(tone.top)]];
    const values = state.scale === "log" ? [tone.top * 1e-4, tone.top * 1e-2, tone.top] : [0, tone.top / (state.scale === "sqrt" ? 4 : 2), tone.top];
    return values.filter(() => tone.top > 0).map((x) => [shade(x, tone.top), percent(x)]);
}

function drawLegend() {
    const tone = matrix.view.tone;
    const stops = Array.from({length: 9}, (_, i) => css(colourAt(i / 8)));
    const strip = el("div", {class: "legend-strip", style: {background: "linear-gradient(to right, " + stops.join(", ") + ")"}});
    const places = legendTicks(tone).map(([at, text]) => el("span", {class: "legend-tick", style: {left: 100 * at + "%"}}, text));
    fill(byId("legend"), strip, el("div", {class: "legend-ticks"}, ...places), el("p", {}, legendSentence(tone)));
}

function legendSentence(tone) {
    return t("weight, {0} scale", scaleName()) + (tone.even ? t("; pale is an even share: one over the tokens seen") : "");
}
