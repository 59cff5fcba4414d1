// Lines view: queries on the left, keys on the right, a line for each weight that counts, several heads in colours.
// Both sides of cross-attention are on screen. Lines are drawn on one canvas the size of the window, whatever the length.

const LINE = 24, MOST_LINES = 24, ALL_ROWS = 60;
const lines = {views: [], job: 0, left: [], right: [], focus: 0, hover: -1};

function buildLines(panel) {
    fill(panel,
        el("div", {class: "lead"}, el("h2", {}, t("Lines between words")), el("p", {id: "lines-lead"})),
        el("div", {class: "tools sub"},
            el("div", {id: "lit", class: "chips", role: "group", "aria-label": t("Heads with lines")}),
            el("button", {type: "button", id: "lit-all", onclick: () => change({lit: headsOfLayer().join(".")})}, t("All heads of the layer")),
            el("button", {type: "button", id: "lit-one", onclick: () => change({lit: ""})}, t("Only the chosen head")),
            el("label", {class: "pick wide"}, el("span", {id: "mass-label"}), el("input", {
                id: "mass", type: "range", min: 10, max: 100, step: 5, oninput: (e) => change({mass: Number(e.target.value)}),
            }))),
        el("div", {id: "lines-box", class: "lines-box"},
            el("canvas", {id: "lines-canvas", "aria-hidden": "true"}),
            el("ol", {id: "lines-left", class: "side-words", role: "listbox", onkeydown: linesKey}),
            el("ol", {id: "lines-right", class: "side-words right", "aria-label": t("Keys")})),
        el("p", {class: "small", id: "lines-note"}));
    byId("lines-box").addEventListener("scroll", () => requestAnimationFrame(paintLines));
    new ResizeObserver(() => requestAnimationFrame(paintLines)).observe(byId("lines-box"));
}

function headsOfLayer() {
    const map = mapNow(), layer = map.heads[state.n].layer;
    const here = map.heads.map((e, n) => n).filter((n) => isHead(map.heads[n]) && map.heads[n].layer === layer);
    return here.length > 0 ? here : map.heads.map((e, n) => n).filter((n) => isHead(map.heads[n]));
}

// Heads that have lines: those of the link, or the chosen one.
function litHeads() {
    const chosen = state.lit.split(".").filter((x) => x !== "").map(Number).filter((n) => n < mapNow().heads.length);
    return chosen.length > 0 ? [...new Set(chosen)] : [state.n];
}

function toggleHead(n) {
    const lit = litHeads();
    const next = lit.includes(n) ? lit.filter((x) => x !== n) : [...lit, n];
    if (next.length > 0) change({lit: next.join(".")});
}

// Hues of equal lightness, in the order of the heads of a layer.
function headColour(n) {
    const at = Math.max(0, headsOfLayer().indexOf(n));
    return oklch(darkNow() ? 0.78 : 0.52, 0.15, (262 + at * 137.5) % 360);
}

// ---- words

async function drawLines(changed) {
    const job = ++lines.job, map = mapNow();
    const views = await Promise.all(litHeads().map(async (n) => ({n, view: await viewOf(state.map, n)})));
    if (job !== lines.job) return;
    lines.views = views.filter((x) => x.view);
    drawChips();
    byId("mass").value = state.mass;
    byId("mass-label").textContent = t("Largest weights up to {0} %", state.mass);
    byId("lines-lead").textContent = t("{0}: queries at the left attend to keys at the right.", t(map.caption));
    if (touches(changed, "view", "map", "words", "hide", "first")) drawSides();
    markQuery();
    byId("lines-note").textContent = linesNote();
    paintLines();
}

function drawChips() {
    const map = mapNow(), lit = litHeads();
    const shown = [...new Set([...headsOfLayer(), ...lit])];
    fill(byId("lit"), ...shown.map((n) => el("button", {
        type: "button", class: "chip", "aria-pressed": lit.includes(n) ? "true" : "false", onclick: () => toggleHead(n),
        "aria-label": entryName(map.heads[n]),
    }, el("span", {class: "dot", style: {background: css(headColour(n))}, "aria-hidden": "true"}), entryShort(map.heads[n]))));
}

function drawSides() {
    const left = queryAxis(), right = keyAxis();
    byId("lines-left").setAttribute("aria-label", t("Queries"));
    lines.left = left.units.map((unit) => sideWord(unit, "option", {onclick: () => chooseQuery(unit.index, true)}));
    lines.right = right.units.map((unit) => sideWord(unit, null, {onclick: () => change({k: unit.tokens[0]})}));
    fill(byId("lines-left"), ...lines.left);
    fill(byId("lines-right"), ...lines.right);
    lines.hover = -1;
}

function sideWord(unit, role, events) {
    return el("li", {
        role, tabindex: role ? -1 : null, title: unit.label, ...events,
        onpointerenter: role ? () => hoverQuery(unit.index) : null, onpointerleave: role ? () => hoverQuery(-1) : null,
    }, el("bdi", {}, shorten(unit.label, 24)));
}

function hoverQuery(index) {
    lines.hover = index;
    paintLines();
}

function markQuery() {
    const at = queryUnit().index;
    lines.left.forEach((node, i) => {
        node.setAttribute("aria-selected", i === at ? "true" : "false");
        node.tabIndex = i === at ? 0 : -1;
    });
}

function chooseQuery(index, focus) {
    const at = clamp(index, 0, lines.left.length - 1);
    change({q: queryAxis().units[at].tokens[0]});
    if (focus) lines.left[at].focus({preventScroll: false});
}

function linesKey(event) {
    const at = queryUnit().index, last = lines.left.length - 1;
    const moves = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: at + 10, PageUp: at - 10};
    if (moves[event.key] === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    chooseQuery(moves[event.key], true);
}

function linesNote() {
    const all = lines.left.length <= ALL_ROWS;
    return (all ? t("Lines of all queries; those of the chosen one are strong.") : t("Lines of the chosen query only: the text is long.")) + blank() +
        t("For each query the largest weights are drawn until they hold {0} % of its attention, at most {1} of them.", state.mass, MOST_LINES);
}

// ---- lines

// The largest weights of a row that together hold the asked share of it.
function heaviest(row, share) {
    const order = largest(row, MOST_LINES), total = sumOf(row);
    let sum = 0, count = 0;
    while (count < order.length && sum < share * total * (1 - 1e-6)) sum += row[order[count++]];
    return order.slice(0, count);
}

function paintLines() {
    const box = byId("lines-box"), canvas = byId("lines-canvas");
    if (state.view !== "lines" || !box || box.clientWidth === 0 || lines.left.length === 0) return;
    const ratio = window.devicePixelRatio || 1, width = box.clientWidth, height = box.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const chosen = lines.hover >= 0 ? lines.hover : queryUnit().index;
    const rows = lines.left.length <= ALL_ROWS && lines.hover < 0 ? lines.left.map((_, i) => i).filter((i) => i !== chosen) : [];
    let drawn = 0;
    for (const q of rows) drawn += paintQuery(context, box, q, 0.35);
    drawn += paintQuery(context, box, chosen, 1);
    canvas.dataset.drawn = viewKey(state.map, state.n) + " " + litHeads().join(".") + " " + chosen;
    canvas.dataset.lines = String(drawn);
}

function middleOf(node, box) {
    return node.offsetTop + node.offsetHeight / 2 - box.scrollTop;
}

// Lines are as strong as cells are dark: those of an even share are pale.
function paintQuery(context, box, q, strength) {
    const from = lines.left[q], x0 = from.offsetLeft + from.offsetWidth, y0 = middleOf(from, box);
    let drawn = 0;
    for (const {n, view} of lines.views) {
        const row = rowOf(view, q), keys = heaviest(row, state.mass / 100);
        context.strokeStyle = css(headColour(n));
        for (const k of keys) {
            const to = lines.right[k], x1 = to.offsetLeft, y1 = middleOf(to, box), share = shadeIn(view.tone, q, k, row[k]);
            context.globalAlpha = strength * (0.12 + 0.88 * share);
            context.lineWidth = 0.75 + 2.5 * share * strength;
            context.beginPath();
            context.moveTo(x0, y0);
            context.bezierCurveTo(x0 + (x1 - x0) / 3, y0, x1 - (x1 - x0) / 3, y1, x1, y1);
            context.stroke();
            drawn++;
        }
    }
    return drawn;
}
