// Saving what is shown. Pictures are built as SVG text; PNG is the same SVG drawn by the browser. Numbers are the view.

function baseName() {
    const one = state.view === "matrix" || state.view === "text" || state.view === "lines";
    return "fovea-" + state.view + (one ? "-" + entryShort(mapNow().heads[state.n]).replace(/\s+/g, "").toLowerCase() : "");
}

function download(blob, name) {
    const url = URL.createObjectURL(blob);
    el("a", {href: url, download: name}).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    byId("save-done").textContent = t("Saved {0}, {1} KB.", name, Math.ceil(blob.size / 1024));
}

// ---- numbers

// Labels carry their index, so equal words stay apart and no cell of a spreadsheet begins with a formula sign.
function indexed(units) {
    return units.map((unit) => unit.index + ":" + unit.label);
}

function csvField(text) {
    return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}

function csvOf(header, rows) {
    return [header, ...rows].map((row) => row.map((x) => csvField(String(x))).join(",")).join("\r\n") + "\r\n";
}

function shownAttributions() {
    const all = attributionsShown();
    const axis = axisOf(meta.sequences[all[0].sequence]);
    const columns = all.filter((a) => a.sequence === all[0].sequence);
    return {axis, columns, values: columns.map(attributionValues)};
}

async function matrixToSave() {
    const view = noMaps() ? null : await viewOf(state.map, state.n);
    if (!view) throw new Error(t("this page carries no matrix to save"));
    return view;
}

async function numbersCsv() {
    if (state.view === "prediction" && (meta.attributions || []).length > 0) {
        const {axis, columns, values} = shownAttributions();
        return csvOf(["word", ...columns.map((a) => a.id)],
            indexed(axis.units).map((label, i) => [label, ...values.map((v) => v[i])]));
    }
    const view = await matrixToSave();
    return csvOf(["query \\ key", ...indexed(view.k.units)],
        indexed(view.q.units).map((label, q) => [label, ...Array.from(rowOf(view, q), (p) => Number(p.toPrecision(6)))]));
}

async function numbersJson() {
    const common = {title: meta.title, model: meta.model.name, words: state.words, hide_specials: state.hide, hide_first: state.first};
    if (state.view === "prediction" && (meta.attributions || []).length > 0) {
        const {axis, columns, values} = shownAttributions();
        return JSON.stringify({...common, prediction: meta.prediction, labels: axis.units.map((u) => u.label),
            attributions: columns.map((a, i) => ({id: a.id, values: values[i]}))}, null, 1);
    }
    const view = await matrixToSave();
    const entry = mapNow().heads[state.n];
    return JSON.stringify({...common, map: mapNow().id, layer: entry.layer, head: entry.head, stored: view.tier,
        queries: view.q.units.map((u) => u.label), keys: view.k.units.map((u) => u.label),
        weights: Array.from({length: view.nq}, (_, q) => Array.from(rowOf(view, q), (p) => Number(p.toPrecision(6))))});
}

// NPY version 1.0: magic, header length, a Python dict padded to 64 bytes, then little-endian float32.
// In the prediction view the rows are the attributions, as in the CSV.
async function numbersNpy() {
    let rows, columns, data;
    if (state.view === "prediction" && (meta.attributions || []).length > 0) {
        const {axis, values} = shownAttributions();
        [rows, columns, data] = [values.length, axis.units.length, Float32Array.from(values.flat())];
    } else {
        const view = await matrixToSave();
        [rows, columns, data] = [view.nq, view.nk, view.data];
    }
    const text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + rows + ", " + columns + "), }";
    const padded = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\n";
    const head = new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0, padded.length & 255, padded.length >> 8]);
    return new Blob([head, padded, data]);
}

// ---- pictures

function xml(text) {
    const legal = String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "").toWellFormed?.() ?? String(text);
    return legal.replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");
}

function themeColour(name) {
    return getComputedStyle(document.body).getPropertyValue(name).trim();
}

class Svg {
    constructor() {
        this.parts = [];
    }
    rect(x, y, w, h, fillColour, extra = "") {
        const [left, top, width, height] = [x, y, w, h].map((v) => v.toFixed(2));
        this.parts.push(`<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="${fillColour}" ${extra}/>`);
    }
    text(x, y, text, {size = 12, anchor = "start", colour = themeColour("--ink"), weight = 400, turn = 0} = {}) {
        const rotate = turn ? ` transform="rotate(${turn} ${x} ${y})"` : "";
        const style = `font-size="${size}" text-anchor="${anchor}" fill="${colour}" font-weight="${weight}"`;
        this.parts.push(`<text x="${x}" y="${y}" ${style}${rotate}>${xml(text)}</text>`);
    }
    path(d, colour, width, opacity) {
        this.parts.push(`<path d="${d}" fill="none" stroke="${colour}" stroke-width="${width.toFixed(2)}" stroke-opacity="${opacity.toFixed(3)}"/>`);
    }
    // What the colours mean: a strip with its ticks, 160 wide and 28 high.
    legend(x, y, tone) {
        const wide = 160, steps = 32;
        for (let i = 0; i < steps; i++) this.rect(x + (i * wide) / steps, y, wide / steps + 0.3, 10, css(colourAt(i / (steps - 1))));
        const ticks = legendTicks(tone);
        ticks.forEach(([at, text], i) => this.text(x + at * wide, y + 23, text, {
            size: 10, colour: themeColour("--soft"), anchor: i === 0 ? "start" : i === ticks.length - 1 ? "end" : "middle",
        }));
        this.text(x + wide + 14, y + 10, legendSentence(tone), {size: 10, colour: themeColour("--soft")});
    }
    image(x, y, w, h, canvas) {
        const style = 'preserveAspectRatio="none" style="image-rendering:pixelated"';
        this.parts.push(`<image x="${x}" y="${y}" width="${w}" height="${h}" ${style} href="${canvas.toDataURL("image/png")}"/>`);
    }
    done(width, height) {
        const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
        return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="system-ui, sans-serif">` +
            `<rect width="100%" height="100%" fill="${themeColour("--panel")}"/>` + this.parts.join("\n") + "</svg>\n";
    }
}

function textWidth(text, size) {
    const context = el("canvas").getContext("2d");
    context.font = labelFont(size);
    return context.measureText(text).width;
}

// What is shown, and as much of the page's title as the picture has room for.
function fitTitle(what, width) {
    let title = visible(meta.title);
    for (let most = 80; most > 3 && textWidth(sentenceCase(what) + " · " + title, 17) > width - 24; most--) title = shorten(title, most);
    return sentenceCase(what) + " · " + title;
}

const MOST_RECTS = 4096;

async function matrixSvg() {
    const view = await matrixToSave();
    const svg = new Svg();
    const cell = clamp(720 / Math.max(view.nq, view.nk), 1.5, 24), labelled = cell >= 9;
    const wide = (axis) => Math.max(0, ...axis.units.map((u) => textWidth(shorten(u.label, 20), 11)));
    const left = 34 + (labelled ? wide(view.q) : 0), top = 58 + (labelled ? wide(view.k) : 0);
    const width = Math.ceil(left + cell * view.nk + 16), height = Math.ceil(top + cell * view.nq + 88);
    svg.text(12, 20, fitTitle(entryName(mapNow().heads[state.n]), Math.max(width, 520)), {size: 14, weight: 600});
    svg.text(left, 40, t("key (column) →"), {size: 11, colour: themeColour("--soft")});
    svg.text(16, top, t("← query (row)"), {size: 11, anchor: "end", colour: themeColour("--soft"), turn: -90});
    if (view.nq * view.nk <= MOST_RECTS) {
        view.data.forEach((p, i) => svg.rect(left + (i % view.nk) * cell, top + Math.floor(i / view.nk) * cell, cell - 0.5, cell - 0.5,
            css(colourAt(shadeIn(view.tone, Math.floor(i / view.nk), i % view.nk, p)))));
    } else svg.image(left, top, cell * view.nk, cell * view.nq, weightImage(view, 1));
    if (labelled) {
        for (const u of view.q.units) svg.text(left - 6, top + (u.index + 0.5) * cell + 4, shorten(u.label, 20), {size: 11, anchor: "end"});
        for (const u of view.k.units) svg.text(left + (u.index + 0.5) * cell + 4, top - 6, shorten(u.label, 20), {size: 11, turn: -90});
    }
    const facts = [t("query attends to key"), t("strongest {0}", percent(view.max)), meta.model.name];
    svg.legend(12, height - 64, view.tone);
    svg.text(12, height - 14, facts.join(" · "), {size: 11, colour: themeColour("--soft")});
    return svg.done(Math.max(width, 520), height);
}

async function headsSvg() {
    const svg = new Svg();
    const size = 72, step = size + 26, left = 16, top = 44;
    let width = 0, height = 0;
    for (const cell of heads.cells) {
        const x = left + cell.c * step, y = top + cell.r * (size + 30);
        svg.image(x, y, size, size, cell.canvas);
        svg.text(x, y + size + 13, entryShort(cell.entry), {size: 10, colour: themeColour("--soft")});
        width = Math.max(width, x + step);
        height = Math.max(height, y + size + 30);
    }
    width = Math.max(width, 520);
    const pattern = state.cells === "pattern";
    svg.text(12, height + 14, pattern ? t("Stronger colour is more; pale is an even share. Queries down, keys across.") : cellsMeaning(statNow()),
        {size: 10, colour: themeColour("--soft")});
    svg.text(12, height + 30, meta.model.name, {size: 10, colour: themeColour("--soft")});
    svg.text(12, 22, fitTitle(t(mapNow().caption), width), {size: 14, weight: 600});
    return svg.done(width, height + 42);
}

// The parts of a word on each line, with their places: a long word breaks.
function lineParts(word) {
    const node = word.firstChild, range = document.createRange(), parts = [];
    for (let i = 0; i < node.length; i++) {
        range.setStart(node, i);
        range.setEnd(node, i + 1);
        const box = range.getBoundingClientRect(), last = parts[parts.length - 1];
        if (last && (box.width === 0 || Math.abs(box.top - last.top) < box.height / 2)) {
            last.text += node.data[i];
            last.right = Math.max(last.right, box.right);
            last.left = Math.min(last.left, box.left || last.left);
        } else parts.push({text: node.data[i], top: box.top, left: box.left, right: box.right, height: box.height});
    }
    return parts;
}

// Words in lines, as the page shows them, read from the elements on screen so that the breaks agree.
function wordsSvg(box, title, note, tone) {
    const svg = new Svg();
    const frame = box.getBoundingClientRect();
    const left = 12 - frame.left, top = 44 - frame.top + box.scrollTop;
    svg.text(12, 24, title, {size: 14, weight: 600});
    for (const word of box.querySelectorAll(".word")) {
        const size = parseFloat(getComputedStyle(word).fontSize);
        for (const area of word.getClientRects()) {
            svg.rect(left + area.left, top + area.top, area.width, area.height, word.style.background, 'rx="3"');
        }
        for (const part of lineParts(word)) {
            svg.text(left + (part.left + part.right) / 2, top + part.top + part.height * 0.78, part.text,
                {size, anchor: "middle", colour: word.style.color});
        }
    }
    const height = 44 + box.scrollHeight + 74;
    svg.legend(12, height - 60, tone);
    svg.text(12, height - 12, note, {size: 11, colour: themeColour("--soft")});
    return svg.done(Math.max(520, Math.ceil(frame.width) + 24), Math.ceil(height));
}

function predictionSvg() {
    if ((meta.attributions || []).length === 0) throw new Error(t("there are no values per word to draw"));
    const {axis, columns, values} = shownAttributions();
    const svg = new Svg();
    const line = 20, left = 160, wide = 230, gap = 90, top = 70;
    const order = largest(Float64Array.from(axis.units, (u) => Math.max(...values.map((v) => Math.abs(v[u.index]) / (largestSize(v) || 1)))), 60)
        .sort((a, b) => a - b);
    svg.text(12, 24, byId("prediction-title").textContent, {size: 15, weight: 600});
    columns.forEach((a, c) => svg.text(left + c * (wide + gap), 54, t(a.caption), {size: 12, weight: 600}));
    order.forEach((i, r) => {
        svg.text(left - 10, top + r * line + 13, shorten(axis.units[i].label, 20), {anchor: "end"});
        columns.forEach((a, c) => {
            const width = (Math.abs(values[c][i]) / (largestSize(values[c]) || 1)) * (a.signed ? wide / 2 : wide);
            const x = left + c * (wide + gap) + (a.signed ? wide / 2 - (values[c][i] < 0 ? width : 0) : 0);
            svg.rect(x, top + r * line, width, line - 5, values[c][i] < 0 ? themeColour("--against") : themeColour("--accent"));
            const number = a.signed ? fixed(values[c][i], largestSize(values[c])) : percent(values[c][i]);
            svg.text(left + (c + 1) * (wide + gap) - 20, top + r * line + 12, number,
                {size: 11, anchor: "end", colour: themeColour("--soft")});
        });
    });
    const height = top + order.length * line + 50;
    svg.text(12, height - 28, columns.some((a) => a.signed) ? t("Blue speaks for the class, orange against it.") : "", {size: 11, colour: themeColour("--soft")});
    svg.text(12, height - 12, t("bars relative to the largest of each column") + " · " + meta.model.name, {size: 11, colour: themeColour("--soft")});
    return svg.done(left + columns.length * (wide + gap), height);
}

// All lines that are on screen and those scrolled away, heads named in their colours.
function linesSvg() {
    const svg = new Svg(), row = 20, top = 76, wide = 260;
    const side = (axis) => Math.max(60, ...axis.units.map((u) => textWidth(shorten(u.label, 24), 12)));
    const left = queryAxis(), right = keyAxis(), x0 = 16 + side(left), x1 = x0 + wide, width = Math.ceil(x1 + side(right) + 24);
    svg.text(12, 24, fitTitle(t(mapNow().caption), Math.max(width, 520)), {size: 14, weight: 600});
    let x = 12;
    for (const {n} of lines.views) {
        const name = entryName(mapNow().heads[n]);
        svg.rect(x, 38, 10, 10, css(headColour(n)), 'rx="5"');
        svg.text(x + 15, 47, name, {size: 11});
        x += 34 + textWidth(name, 11);
    }
    const at = (unit) => top + unit.index * row, chosen = queryUnit().index;
    for (const unit of left.units) {
        const strength = unit.index === chosen ? 1 : 0.35;
        if (left.units.length > ALL_ROWS && strength < 1) continue;
        for (const {n, view} of lines.views) {
            const values = rowOf(view, unit.index);
            for (const k of heaviest(values, state.mass / 100)) {
                const y0 = at(unit) - 4, y1 = at(right.units[k]) - 4, share = shadeIn(view.tone, unit.index, k, values[k]), third = wide / 3;
                svg.path(`M${x0 + 6} ${y0}C${x0 + third} ${y0} ${x1 - third} ${y1} ${x1 - 6} ${y1}`, css(headColour(n)),
                    0.75 + 2.5 * share * strength, strength * (0.12 + 0.88 * share));
            }
        }
    }
    for (const u of left.units) svg.text(x0, at(u), shorten(u.label, 24), {anchor: "end", weight: u.index === chosen ? 700 : 400});
    for (const u of right.units) svg.text(x1, at(u), shorten(u.label, 24));
    const height = top + Math.max(left.units.length, right.units.length) * row + 30;
    svg.text(12, height - 12, byId("lines-note").textContent + " " + meta.model.name, {size: 10, colour: themeColour("--soft")});
    return svg.done(Math.max(width, 520), height);
}

async function pictureSvg() {
    if (state.view === "matrix") return matrixSvg();
    if (state.view === "heads") return headsSvg();
    if (state.view === "prediction") return predictionSvg();
    if (state.view === "lines") return linesSvg();
    return wordsSvg(byId("words-box"), textTitle() + " · " + entryName(mapNow().heads[state.n]), byId("text-scale").textContent + " " + meta.model.name, reading.tone);
}

async function picturePng() {
    const svg = await pictureSvg();
    const image = new Image();
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg);
    await image.decode();
    const canvas = el("canvas", {width: image.naturalWidth * 2, height: image.naturalHeight * 2});
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

const SAVERS = {
    png: async () => download(await picturePng(), baseName() + ".png"),
    svg: async () => download(new Blob([await pictureSvg()], {type: "image/svg+xml"}), baseName() + ".svg"),
    csv: async () => download(new Blob([await numbersCsv()], {type: "text/csv"}), baseName() + ".csv"),
    json: async () => download(new Blob([await numbersJson()], {type: "application/json"}), baseName() + ".json"),
    npy: async () => download(await numbersNpy(), baseName() + ".npy"),
    link: async () => {
        await navigator.clipboard.writeText(location.href);
        byId("save-done").textContent = t("Copied.");
    },
};

async function save(kind) {
    byId("save-done").textContent = "";
    try {
        await SAVERS[kind]();
    } catch (error) {
        byId("save-done").textContent = kind === "link" ? t("Copy the address of this page: {0}", location.href) : t("Could not save: {0}", error.message);
    }
}
