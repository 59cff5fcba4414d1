// Text view: the words as written, shaded by the attention of one chosen word. One element per word, never per pair.

const reading = {units: [], focus: 0, values: null, tone: null};

function buildText(panel) {
    fill(panel,
        el("div", {class: "lead"}, el("h2", {id: "text-title"}), el("p", {id: "text-lead"})),
        el("label", {class: "pick", id: "chosen-pick"}, el("span", {}, t("Chosen word")), el("select", {id: "chosen", onchange: chooseOther})),
        el("fieldset", {class: "either"}, el("legend", {class: "sr"}, t("Direction")),
            radio("direction", "from", t("what the chosen word attends to")), radio("direction", "to", t("what attends to the chosen word"))),
        el("div", {id: "words-box", class: "reading", role: "listbox", "aria-labelledby": "text-title", onkeydown: readingKey}),
        el("p", {class: "small", id: "text-scale"}));
}

function radio(name, value, label) {
    return el("label", {}, el("input", {type: "radio", name, value, onchange: () => change({[name]: value})}), el("span", {}, label));
}

// Words are listed on the axis that is shaded; the chosen word sits on the other one. On self-attention they are the same.
function shadedAxis() {
    return state.direction === "from" ? keyAxis() : queryAxis();
}

function chosenOnShaded() {
    const map = mapNow();
    return map.query === map.key ? shadedAxis().units[queryUnit().index] : null;
}

// When queries and keys are different texts, the chosen word is not among the shaded ones: it has a list of its own.
function drawChosen() {
    const map = mapNow(), from = state.direction === "from";
    byId("chosen-pick").hidden = map.query === map.key;
    if (map.query === map.key) return;
    const units = (from ? queryAxis() : keyAxis()).units;
    fill(byId("chosen"), ...units.map((u) => el("option", {value: u.tokens[0]}, u.index + " " + shorten(u.label, 40))));
    byId("chosen").value = chosenUnit().tokens[0];
}

function chooseOther(event) {
    change({[state.direction === "from" ? "q" : "k"]: Number(event.target.value)});
}

function drawText() {
    const axis = shadedAxis(), sequence = axis.sequence;
    const box = byId("words-box");
    const parts = [];
    let at = axis.hidden ? null : 0;
    reading.units = [];
    for (const unit of axis.units) {
        const ranged = unit.end > unit.start;
        if (ranged && at !== null) parts.push(gapBetween(sequence, at, unit.start));
        else if (parts.length > 0) parts.push(" ");
        if (ranged) at = Math.max(at || 0, unit.end);
        parts.push(readingWord(unit));
    }
    const tail = sequence.kind === "text" ? gapBetween(sequence, at || 0, sequence.bytes.length) : "";
    if (sequence.truncated && tail.trim() !== "") parts.push(el("span", {class: "unread"}, " " + t("Not read by the model: {0}", tail.trim())));
    fill(box, ...parts.filter((p) => p !== ""));
    box.dir = readingDirection(axis);
    focusWord(queryUnit().index, false);
    shadeText();
}

// Words are not isolated from each other, so that those of one script run its way inside a text of another.
function readingDirection(axis) {
    return directionOf(axis.sequence.text || axis.units.map((u) => u.label).join(" "));
}

function readingWord(unit) {
    const index = unit.index;
    const node = el("span", {role: "option", tabindex: -1, class: unit.special ? "word special" : "word", dir: unit.special ? "ltr" : null,
                             onclick: () => chooseWord(index)}, unit.label);
    reading.units.push(node);
    return node;
}

function chooseWord(index) {
    const unit = shadedAxis().units[index];
    const map = mapNow();
    if (map.query === map.key) change({q: unit.tokens[0]});
    else change(state.direction === "from" ? {k: unit.tokens[0]} : {q: unit.tokens[0]}); // marks it in the other views
    focusWord(index, true);
}

async function shadeText() {
    const key = viewKey(state.map, state.n);
    const view = await viewOf(state.map, state.n);
    if (key !== viewKey(state.map, state.n) || state.view !== "text") return;
    const chosen = chosenOnShaded();
    byId("text-title").textContent = textTitle();
    drawChosen();
    byId("text-lead").textContent = sentenceCase(entryName(mapNow().heads[state.n])) +
        (chosen ? t(". Choose another word with a click or the arrow keys.") : t("."));
    for (const input of document.getElementsByName("direction")) input.checked = input.value === state.direction;
    if (!view) return;
    const values = state.direction === "from" ? rowOf(view, queryUnit().index) : columnOf(view, chosenUnit().index);
    const max = Math.max(0, ...values);
    reading.values = values;
    const from = state.direction === "from", q = queryUnit().index;
    const tone = from ? withTop(view.tone, max) : view.tone;
    reading.tone = tone;
    reading.units.forEach((node, i) => shadeWord(node, values[i], shadeIn(tone, from ? q : i, from ? i : chosenUnit().index, values[i]), chosen !== null && chosen.index === i));
    byId("text-scale").textContent = t("Strongest word: {0}, {1} scale.", percent(max), scaleName()) + blank() +
        (state.words ? t("Pieces are merged: summed over keys, averaged over queries.") + blank() : "") +
        (shadedAxis().hidden ? t("Hidden positions are left out and the rest divided by what remains.") : "");
    byId("words-box").dataset.shaded = key + " " + state.q;
}

// The word whose attention is shown: a query, or with "to" a key (on self-attention the same word).
function chosenUnit() {
    const map = mapNow();
    return state.direction === "from" || map.query === map.key ? queryUnit() : keyUnit();
}

function textTitle() {
    const word = quoted(chosenUnit().label);
    return state.direction === "from" ? t("{0} attends to", word) : t("What attends to {0}", word);
}

function shadeWord(node, value, dark, chosen) {
    const rgb = colourAt(dark);
    node.style.background = css(rgb);
    node.style.color = inkOn(rgb);
    node.classList.toggle("chosen", chosen);
    node.setAttribute("aria-selected", chosen ? "true" : "false");
    node.setAttribute("aria-label", node.textContent + ", " + percent(value));
    node.title = percent(value);
}

function focusWord(index, move) {
    if (reading.units.length === 0) return;
    reading.focus = clamp(index, 0, reading.units.length - 1);
    reading.units.forEach((node, i) => { node.tabIndex = i === reading.focus ? 0 : -1; });
    if (move) reading.units[reading.focus].focus({preventScroll: false});
}

function readingKey(event) {
    const at = reading.focus, last = reading.units.length - 1, right = byId("words-box").dir === "rtl" ? -1 : 1;
    const moves = {ArrowRight: at + right, ArrowLeft: at - right, ArrowDown: lineStep(1), ArrowUp: lineStep(-1), Home: 0, End: last,
                   PageDown: at + 10, PageUp: at - 10};
    if (moves[event.key] === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    chooseWord(clamp(moves[event.key], 0, last));
}

// The word nearest below or above.
function lineStep(step) {
    const from = reading.units[reading.focus].getBoundingClientRect();
    let best = reading.focus, least = Infinity;
    for (let i = reading.focus + step; i >= 0 && i < reading.units.length; i += step) {
        const box = reading.units[i].getBoundingClientRect();
        const down = (box.top - from.top) * step;
        if (down < from.height / 2) continue;
        if (down > from.height * 2.5) break;
        const off = Math.abs(box.left + box.width / 2 - from.left - from.width / 2) + down;
        if (off < least) [best, least] = [i, off];
    }
    return best;
}
