// Small helpers that everything else uses: elements, numbers, state.
// Text from data enters the document through textContent only; nothing here or elsewhere writes markup.

function byId(id) {
    return document.getElementById(id);
}

// el("td", {class: "num", onclick: fn}, "text", child): strings become text nodes.
function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (name === "style") Object.assign(node.style, value);
        else node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.filter((c) => c !== null && c !== undefined));
    return node;
}

function fill(node, ...children) {
    node.replaceChildren(...children.filter((c) => c !== null && c !== undefined));
    return node;
}

function clamp(x, low, high) {
    return Math.min(high, Math.max(low, x));
}

// Four significant digits: 0.31237 -> "0.3124", 0.00002 -> "2.000e−5".
function decimal(x) {
    if (x === null || !Number.isFinite(x)) return "–";
    if (x === 0) return "0";
    const size = Math.abs(x);
    const text = size < 1e-4 ? x.toExponential(3) : size < 1 ? x.toPrecision(4) : x.toFixed(size < 1000 ? 4 : 0);
    return text.replaceAll("-", "−");
}

// The same decimals for a whole column, so that its numbers can be compared at a glance.
function fixed(x, largestInColumn) {
    const digits = largestInColumn > 0 ? clamp(3 - Math.floor(Math.log10(largestInColumn)), 0, 8) : 0;
    return (x > 0 ? "+" : "") + x.toFixed(digits).replace("-", "−");
}

// Never rounds a weight that is there to nothing.
function percent(x) {
    if (x === null || !Number.isFinite(x)) return "–";
    const p = 100 * x;
    if (p === 0) return "0 %";
    if (p !== 0 && Math.abs(p) < 0.1) return (p < 0 ? "> −" : "< ") + "0.1 %";
    return p.toFixed(Math.abs(p) < 99.95 ? 1 : 0).replace("-", "−") + " %";
}

function statistic(stat, value) {
    if (value === null || value === undefined) return "–";
    if (stat.unit === "share") return percent(value);
    return (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2)) + (stat.unit ? " " + t(stat.unit) : "");
}

// What is looked at. Everything here is in location.hash; view code reads `state` and calls `change`.
const state = {
    view: "heads", map: 0, n: 0, q: 0, k: 0, scale: "sqrt", words: false, hide: false, first: false,
    sort: "", stat: "", least: 0, cells: "pattern", zoom: 1, direction: "from", class: -1, order: "text", shade: -1,
    all: false, theme: "", lang: "", lit: "", mass: 80, beside: "",
};

const listeners = [];

function onChange(listener) {
    listeners.push(listener);
}

// Applies changes and tells every listener which names changed.
function change(changes) {
    const changed = new Set();
    for (const [name, value] of Object.entries(changes)) {
        if (state[name] === value) continue;
        state[name] = value;
        changed.add(name);
    }
    if (changed.size > 0) for (const listener of listeners) listener(changed);
}

function touches(changed, ...names) {
    return names.some((name) => changed.has(name));
}

// Polite live region: the last message after a short rest, so that holding an arrow key does not flood it.
let liveTimer = 0;

function announce(text) {
    clearTimeout(liveTimer);
    liveTimer = setTimeout(() => { byId("live").textContent = text; }, 200);
}

// Lets the browser paint and handle input between pieces of long work.
function pause() {
    return new Promise((resolve) => setTimeout(resolve, 0));
}
