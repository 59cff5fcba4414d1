// Start: read the payload, restore the state from the link, wire controls and keys, draw.

const VIEWS = ["prediction", "heads", "matrix", "text", "lines"];
const BUILD = {prediction: buildPrediction, heads: buildHeads, matrix: buildMatrix, text: buildText, lines: buildLines};
const visited = [];

// ---- state in location.hash: only what differs from the page's own start

const LINKED = {
    v: "view", m: "map", q: "q", k: "k", scale: "scale", words: "words", hide: "hide", first: "first", sort: "sort", stat: "stat",
    least: "least", cells: "cells", zoom: "zoom", dir: "direction", class: "class", order: "order", shade: "shade", all: "all",
    theme: "theme", lang: "lang", lit: "lit", mass: "mass", beside: "beside",
};
let start = {};

function writeHash() {
    const hash = new URLSearchParams();
    hash.set("v", state.view);
    if (!noMaps()) writeHead(hash, mapNow().heads[state.n]);
    for (const [short, name] of Object.entries(LINKED)) {
        if (short === "v" || (state[name] === start[name] && short !== "q")) continue;
        hash.set(short, typeof state[name] === "boolean" ? (state[name] ? "1" : "0") : String(state[name]));
    }
    try {
        history.replaceState(null, "", "#" + hash);
    } catch (error) {
        location.hash = String(hash); // some viewers forbid replaceState on files
    }
}

function writeHead(hash, entry) {
    if (Number.isFinite(entry.layer)) hash.set("L", entry.layer);
    if (isHead(entry)) hash.set("H", entry.head);
    else hash.set("c", entry.id || entry.caption);
}

const ALLOWED = {
    view: (v) => openViews().includes(v), scale: (v) => Object.hasOwn(SCALES, v),
    cells: (v) => ["pattern", "stat", "pair"].includes(v), direction: (v) => v === "from" || v === "to",
    theme: (v) => ["", "light", "dark"].includes(v), lang: (v) => ["", ...LANGUAGES].includes(v),
    lit: (v) => /^[0-9.]*$/.test(v), beside: (v) => /^([0-9]+[.][0-9]+)?$/.test(v),
};

// A link may come from anywhere: every value is checked, unknown ones fall back to the start.
function readHash() {
    const hash = new URLSearchParams(location.hash.slice(1));
    const next = {...start};
    for (const [short, name] of Object.entries(LINKED)) {
        const text = hash.get(short);
        if (text === null) continue;
        const value = typeof start[name] === "boolean" ? text === "1" : typeof start[name] === "number" ? Number(text) : text;
        if (typeof value === "number" && !Number.isFinite(value)) continue;
        if (ALLOWED[name] && !ALLOWED[name](value)) continue;
        next[name] = value;
    }
    next.zoom = clamp(next.zoom, 1, 1000);
    next.least = clamp(next.least, 0, 100);
    next.mass = clamp(next.mass, 10, 100);
    return noMaps() ? next : readPlace(hash, next);
}

// Map, head and cell of a link, brought into range.
function readPlace(hash, next) {
    next.map = clamp(Math.trunc(next.map), 0, meta.maps.length - 1);
    next.n = headFromHash(hash, meta.maps[next.map]);
    const [nq, nk] = shapeOf(meta.maps[next.map]);
    next.q = clamp(Math.trunc(next.q), 0, nq - 1);
    next.k = clamp(Math.trunc(next.k), 0, nk - 1);
    for (const name of ["sort", "stat"]) if (!meta.maps[next.map].stats.some((s) => s.id === next[name])) next[name] = "";
    return next;
}

function headFromHash(hash, map) {
    const c = hash.get("c"), layer = String(hash.get("L"));
    const at = map.heads.findIndex((e) => String(e.layer ?? null) === layer &&
        (c !== null ? !isHead(e) && (e.id || e.caption) === c : String(e.head) === hash.get("H")));
    return at >= 0 ? at : firstHead(meta.maps.indexOf(map));
}

// ---- controls

function fillPicker(select, values, chosen, name) {
    fill(select, ...values.map((v) => el("option", {value: v}, name ? name(v) : String(v))));
    select.value = String(chosen);
}

function drawPickers() {
    byId("scale").value = state.scale;
    for (const name of ["words", "hide", "first"]) byId(name).checked = state[name];
    if (!noMaps()) drawHeadPickers();
}

function drawHeadPickers() {
    const map = mapNow(), entry = map.heads[state.n];
    const single = map.heads.filter(isHead);
    const layers = [...new Set(single.map((e) => e.layer))].sort((a, b) => a - b);
    const numbers = single.filter((e) => e.layer === (isHead(entry) ? entry.layer : layers[0])).map((e) => e.head);
    const none = isHead(entry) ? [] : ["–"]; // a combination is shown: neither layer nor head is chosen
    fillPicker(byId("layer"), none.concat(layers), isHead(entry) ? entry.layer : "–");
    fillPicker(byId("head"), none.concat(numbers), isHead(entry) ? entry.head : "–");
    fillPicker(byId("map"), meta.maps.map((_, i) => i), state.map, (i) => t(meta.maps[i].caption));
    byId("map-pick").hidden = meta.maps.length < 2;
    const combined = map.heads.map((e, n) => n).filter((n) => !isHead(map.heads[n]));
    byId("combined-pick").hidden = combined.length === 0;
    fillPicker(byId("combined"), [-1, ...combined], isHead(entry) ? -1 : state.n, (n) => (n < 0 ? t("none") : captionOf(map.heads[n])));
}

function indexOfHead(layer, head) {
    return mapNow().heads.findIndex((e) => isHead(e) && e.layer === layer && e.head === head);
}

function chooseLayer(layer) {
    const entry = mapNow().heads[state.n];
    const same = indexOfHead(layer, entry.head);
    change({n: same >= 0 ? same : mapNow().heads.findIndex((e) => isHead(e) && e.layer === layer)});
}

// A page of one layer without a number has an option "undefined".
function layerValue(text) {
    return text === "undefined" ? undefined : Number(text);
}

function chooseHead(text) {
    const entry = mapNow().heads[state.n];
    const layer = isHead(entry) ? entry.layer : mapNow().heads.find(isHead).layer;
    if (text !== "–") change({n: indexOfHead(layer, Number(text))});
}

function step(values, value, by) {
    const at = values.indexOf(value);
    return values[(Math.max(0, at) + by + values.length) % values.length];
}

function stepLayer(by) {
    const layers = [...new Set(mapNow().heads.filter(isHead).map((e) => e.layer))].sort((a, b) => a - b);
    chooseLayer(step(layers, mapNow().heads[state.n].layer, by));
    announce(entryName(mapNow().heads[state.n]));
}

function stepHead(by) {
    const entry = mapNow().heads[state.n];
    const layer = isHead(entry) ? entry.layer : mapNow().heads.find(isHead).layer;
    const here = mapNow().heads.filter((e) => isHead(e) && e.layer === layer).map((e) => e.head);
    change({n: indexOfHead(layer, step(here, entry.head, by))});
    announce(entryName(mapNow().heads[state.n]));
}

function wireControls() {
    byId("layer").onchange = (e) => chooseLayer(layerValue(e.target.value));
    byId("head").onchange = (e) => chooseHead(e.target.value);
    byId("combined").onchange = (e) => (Number(e.target.value) < 0 ? stepHead(0) : change({n: Number(e.target.value)}));
    byId("map").onchange = (e) => change({map: Number(e.target.value), n: firstHead(Number(e.target.value)), q: 0, k: 0, lit: "", beside: "", sort: "", stat: "", least: 0, zoom: 1});
    byId("scale").onchange = (e) => change({scale: e.target.value});
    for (const name of ["words", "hide", "first"]) byId(name).onchange = (e) => change({[name]: e.target.checked});
    byId("theme").onclick = () => change({theme: step(["", "light", "dark"], state.theme, 1)});
    byId("lang").onclick = () => change({lang: otherLanguage()});
    byId("save-open").onclick = () => byId("save").showModal();
    byId("help-open").onclick = () => byId("help").showModal();
    byId("skip").onclick = (e) => { e.preventDefault(); byId("main").focus(); };
    for (const button of document.querySelectorAll("[data-save]")) button.onclick = () => save(button.dataset.save);
    byId("find").oninput = () => findWord(0);
    byId("find").onkeydown = findKey;
    for (const view of VIEWS) {
        byId("tab-" + view).onclick = () => change({view});
        byId("tab-" + view).onkeydown = tabKey;
    }
}

function openViews() {
    return VIEWS.filter((view) => (view === "prediction" ? hasPrediction() : !noMaps()));
}

function tabKey(event) {
    const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const end = {Home: openViews()[0], End: openViews()[openViews().length - 1]}[event.key];
    if (!by && !end) return;
    event.preventDefault();
    change({view: end || step(openViews(), state.view, by)});
    byId("tab-" + state.view).focus();
}

// ---- find: typing goes to the first match, Enter to the next

function findWord(skip) {
    const wanted = byId("find").value.trim().toLocaleLowerCase();
    if (wanted === "") return found("");
    const units = queryAxis().units;
    const matches = units.filter((u) => u.label.toLocaleLowerCase().includes(wanted));
    if (matches.length === 0) return found(t("no word matches"));
    const at = queryUnit().index;
    const next = matches.find((u) => u.index > at - (skip === 0 ? 1 : 0)) || matches[0];
    const chosen = skip < 0 ? [...matches].reverse().find((u) => u.index < at) || matches[matches.length - 1] : next;
    change({q: chosen.tokens[0]});
    found(t("match {0} of {1}, row {2}", matches.indexOf(chosen) + 1, matches.length, chosen.index));
}

// Seen by all and spoken: the element is a live region.
function found(text) {
    byId("found").textContent = text;
    byId("found").classList.toggle("none", text === t("no word matches"));
}

function findKey(event) {
    if (event.key === "Enter") findWord(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
        byId("find").value = "";
        byId("main").focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
}

// ---- keys

function goRollout() {
    if (noMaps()) return;
    const n = mapNow().heads.findIndex((e) => e.id === "rollout");
    if (n >= 0) change({n});
    else announce(t("this page carries no rollout"));
}

// [keys, what they do (null: not in the help), action]
function keyTable() {
    return [
        ["1 … 5", t("prediction, heads, matrix, text, lines"), null],
        ["[  ]", t("previous, next layer"), null], [",  .", t("previous, next head"), null],
        ["[", null, () => noMaps() || stepLayer(-1)], ["]", null, () => noMaps() || stepLayer(1)],
        [",", null, () => noMaps() || stepHead(-1)], [".", null, () => noMaps() || stepHead(1)],
        ["/", t("find a word (Enter: next)"), () => byId("find").focus()],
        ["w", t("whole words or pieces"), () => change({words: !state.words})],
        ["h", t("hide special tokens"), () => change({hide: !state.hide})],
        ["l", t("linear, square root, logarithm"), () => change({scale: step(Object.keys(SCALES), state.scale, 1)})],
        ["r", t("attention rollout, when the page has it"), goRollout],
        ["s", t("save"), () => byId("save").showModal()],
        ["?", t("this help"), () => byId("help").showModal()],
        ["Esc", t("close, or back to the view before"), null],
        [t("Arrows"), t("move: cell, word, head"), null],
        ["+  −  0", t("zoom in, out, fit (matrix)"), null],
    ];
}

function typing(target) {
    return target.closest && target.closest("input:not([type=checkbox]):not([type=radio]), select, textarea") !== null;
}

function globalKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return goBack();
    if (!byId("keys-on").checked || typing(event.target)) return;
    const row = keyTable().find(([key, , act]) => act && key === event.key);
    if (row) row[2]();
    else if (/^[1-5]$/.test(event.key) && openViews().includes(VIEWS[event.key - 1])) {
        change({view: VIEWS[event.key - 1]});
        byId("tab-" + state.view).focus();
    } else return;
    event.preventDefault();
}

function goBack() {
    visited.pop();
    const view = visited.pop();
    if (view) change({view});
}

// ---- drawing what changed

function drawTheme() {
    document.documentElement.dataset.theme = darkNow() ? "dark" : "light";
    byId("theme").textContent = {"": t("Theme: system"), light: t("Theme: light"), dark: t("Theme: dark")}[state.theme];
}

function drawTabs() {
    for (const view of VIEWS) {
        const open = view === state.view;
        byId("tab-" + view).setAttribute("aria-selected", open ? "true" : "false");
        byId("tab-" + view).tabIndex = open ? 0 : -1;
        byId("panel-" + view).hidden = !open;
    }
    if (visited[visited.length - 1] !== state.view) visited.push(state.view);
}

const MATRIX_INPUTS = ["map", "n", "words", "hide", "first"];

function redraw(changed) {
    if (touches(changed, "lang")) return drawLanguage();
    if (touches(changed, "theme")) drawTheme();
    if (touches(changed, "view")) drawTabs();
    drawPickers();
    const look = touches(changed, "view", "scale", "theme", ...MATRIX_INPUTS);
    if (state.view === "prediction" && (look || touches(changed, "class", "order", "shade", "all"))) drawPrediction();
    if (state.view === "heads") redrawHeads(changed);
    if (state.view === "matrix") {
        if (touches(changed, "view", "theme", "scale", "beside", ...MATRIX_INPUTS)) loadMatrix();
        else if (touches(changed, "q", "k")) showCell(true);
    }
    if (state.view === "lines" && touches(changed, "view", "theme", "scale", "lit", "mass", "q", ...MATRIX_INPUTS)) drawLines(changed);
    if (state.view === "text") {
        if (touches(changed, "view", "words", "hide", "first", "map", "direction")) drawText();
        else if (touches(changed, "q", "k", "n", "scale", "theme")) shadeText();
    }
    if (!noMaps() && touches(changed, "q", "k", ...MATRIX_INPUTS)) drawRow();
    writeHash();
}

function redrawHeads(changed) {
    if (touches(changed, "view", "map", "sort", "stat", "cells", "least")) drawHeads();
    else if (touches(changed, "scale", "theme") || (state.cells === "pair" && touches(changed, "q", "k", ...MATRIX_INPUTS))) paintHeads();
    if (touches(changed, "n")) markChosen();
}

function fault(error) {
    byId("note").hidden = false;
    byId("note").textContent = t("This page cannot show everything: {0}", error && error.message ? error.message : error);
}

// ---- start

function drawHeader() {
    document.title = meta.title + " · fovea explain";
    byId("title").textContent = visible(meta.title);
    const model = meta.model;
    const facts = [t(model.name), model.kind, model.parameters ? t("{0} parameters", model.parameters.toLocaleString("en")) : null,
        model.attention ? t("{0} attention", model.attention) : null];
    byId("about").textContent = facts.filter(Boolean).map(visible).join(" · ");
    fill(byId("provenance"), ...meta.provenance.flatMap(([name, value]) => [el("dt", {}, t(visible(name))), el("dd", {}, visible(value))]));
    byId("caution-more").textContent = hasPrediction() && (meta.attributions || []).length > 1
        ? t("Compare it with gradient × attention in the prediction view.") : "";
    drawLimits();
    fill(byId("keys"), ...keyTable().filter((k) => k[1]).flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]));
}

// What the model did not see is said in every view.
function drawLimits() {
    const said = meta.sequences.flatMap((sequence) => [unreadSentence(sequence), unknownSentence(sequence)]).filter(Boolean);
    byId("limits").hidden = said.length === 0;
    fill(byId("limits"), ...said.map((text) => el("p", {}, text)));
}

function unreadSentence(sequence) {
    if (!sequence.truncated || sequence.kind !== "text") return null;
    const size = encoder.encode(sequence.text).length, read = Math.max(0, ...sequence.end);
    return read < size ? t("The model read the first {0} tokens; the last {1} of {2} bytes were cut off.", sequence.end.length, size - read, size) : null;
}

function unknownSentence(sequence) {
    const unknown = sequence.unknown || [];
    if (unknown.length === 0) return null;
    const labels = [...new Set(unknown.map((i) => tokensOf(sequence)[i].label))];
    const names = labels.slice(0, 8).map((label) => quoted(shorten(label, 24))).join(t(", ")) + (labels.length > 8 ? " …" : "");
    return t("{0} of {1} tokens are not in the vocabulary: {2}.", unknown.length, sequence.end.length, names);
}

// ---- language: the reader's, or the button's

function drawLanguage() {
    setLanguage(state.lang);
    document.documentElement.lang = languageTag();
    translateStatic(document);
    byId("lang").textContent = {en: "中文", zh: "English"}[languageNow()];
    byId("lang").lang = {en: "zh", zh: "en"}[languageNow()];
    drawHeader();
    for (const view of openViews()) BUILD[view](byId("panel-" + view));
    redraw(new Set(Object.keys(state).filter((name) => name !== "lang")));
}

function firstHead(m) {
    return clamp(meta.maps[m].select || 0, 0, meta.maps[m].heads.length - 1);
}

function firstState() {
    const words = meta.sequences.some((s) => s.kind === "text" && hasPieces(s));
    if (noMaps()) return {...state, view: "prediction", words};
    const map = meta.maps[0];
    const axis = tokensOf(meta.sequences[map.query]);
    const word = axis.findIndex((t) => !t.special);
    return {...state, view: hasPrediction() ? "prediction" : "heads", n: firstHead(0), q: Math.max(0, word),
            k: map.query === map.key ? Math.max(0, word) : 0, words};
}

function main() {
    window.addEventListener("error", (event) => fault(event.error || event.message));
    window.addEventListener("unhandledrejection", (event) => fault(event.reason));
    setLanguage("");
    meta = readMeta();
    if (openViews().length === 0) throw new Error(t("the data has neither a prediction nor attention maps"));
    for (const view of VIEWS) byId("tab-" + view).hidden = !openViews().includes(view);
    document.body.classList.toggle("alone", noMaps());
    for (const sequence of meta.sequences) tokensOf(sequence);
    start = firstState();
    Object.assign(state, readHash());
    wireControls();
    onChange(redraw);
    document.addEventListener("keydown", globalKey);
    window.addEventListener("hashchange", () => change(readHash()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(new Set(["theme"])));
    drawLanguage();
    document.documentElement.dataset.ready = "yes";
}

try {
    main();
} catch (error) {
    fault(error);
}
