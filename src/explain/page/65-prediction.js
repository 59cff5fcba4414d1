// Prediction view: the classes, and per word what was attended to beside what the class's score depended on.

function attributionsShown() {
    const prediction = meta.prediction;
    const all = meta.attributions || [];
    const chosen = state.class >= 0 ? state.class : prediction ? prediction.predicted : -1;
    const fitting = all.filter((a) => a.class === undefined || a.class === null || a.class === chosen);
    return fitting.length > 0 ? fitting : all;
}

function hasPrediction() {
    return Boolean(meta.prediction) || (meta.attributions || []).length > 0;
}

function buildPrediction(panel) {
    if (!hasPrediction()) return;
    fill(panel,
        el("div", {class: "lead"}, el("h2", {id: "prediction-title"}), el("p", {id: "prediction-lead"})),
        meta.prediction ? classList() : null,
        el("div", {id: "attributed"}));
}

function classShare(c) {
    return Number.isFinite(c.probability) ? c.probability : 0;
}

function classList() {
    const prediction = meta.prediction;
    const order = prediction.classes.map((c, i) => ({c, i})).sort((a, b) => classShare(b.c) - classShare(a.c));
    const few = order.filter((x, rank) => rank < 5 || x.i === prediction.expected);
    const rest = order.filter((x) => !few.includes(x));
    const omitted = sumOf(rest.map((x) => classShare(x.c))) + (prediction.omitted_probability || 0);
    const count = rest.length + (prediction.omitted || 0);
    return el("div", {class: "classes"},
        el("ol", {"aria-label": t("Classes by probability")}, ...few.map(classRow)),
        rest.length > 0 ? el("details", {}, el("summary", {}, t("{0} other classes, {1} together", count, percent(omitted))),
            el("ol", {}, ...rest.map(classRow))) : null);
}

function classRow({c, i}) {
    const marks = [i === meta.prediction.predicted ? t("predicted") : "", i === meta.prediction.expected ? t("true label") : ""].filter(Boolean);
    const logit = Number.isFinite(c.logit) ? t("logit {0}", decimal(c.logit)) : null;
    return el("li", {class: i === meta.prediction.predicted ? "class chosen" : "class", title: logit},
        el("bdi", {class: "class-name", title: visible(c.name)}, shorten(visible(c.name), 40)),
        el("span", {class: "class-bar", "aria-hidden": "true"}, el("span", {style: {width: 100 * classShare(c) + "%"}})),
        el("span", {class: "num"}, percent(c.probability)),
        el("span", {class: "class-marks"}, marks.join(t(", "))));
}

// ---- per word

// Values of an attribution on the units of its axis: pieces summed; a share is divided by what remains when positions are hidden.
function attributionValues(attribution) {
    const axis = axisOf(meta.sequences[attribution.sequence]);
    const values = axis.units.map((unit) => sumOf(unit.tokens.map((t) => attribution.values[t] || 0)));
    const total = sumOf(attribution.values.map((v) => v || 0)), left = sumOf(values);
    if (!axis.hidden || attribution.signed || left <= 0) return values;
    return values.map((v) => (v * total) / left);
}

function largestSize(values) {
    return Math.max(0, ...values.map(Math.abs));
}

function drawPrediction() {
    if (!hasPrediction()) return;
    const prediction = meta.prediction;
    if (prediction) {
        const best = prediction.classes[prediction.predicted];
        byId("prediction-title").textContent = t("{0} with {1}", quoted(visible(best.name)), percent(best.probability));
        byId("prediction-lead").textContent = predictionLead(prediction);
    } else {
        byId("prediction-title").textContent = t("What counted");
    }
    drawAttributed();
}

function predictionLead(prediction) {
    const count = classCount(prediction);
    if (prediction.expected === undefined || prediction.expected === null) return t("The model's choice among {0} classes.", count);
    if (prediction.expected === prediction.predicted) return t("The model's choice among {0} classes, and the true label.", count);
    return t("The model's choice among {0} classes; the true label is {1}.", count, quoted(visible(prediction.classes[prediction.expected].name)));
}

function classCount(prediction) {
    return prediction.classes.length + (prediction.omitted || 0);
}

function drawAttributed() {
    const all = attributionsShown();
    const box = byId("attributed");
    if (all.length === 0) return fill(box);
    const sequence = meta.sequences[all[0].sequence];
    const columns = all.filter((a) => a.sequence === all[0].sequence).slice(0, 3)
        .map((attribution) => ({attribution, values: attributionValues(attribution)}));
    const at = state.shade >= 0 && state.shade < columns.length ? state.shade : columns.length - 1;
    fill(box,
        classChoice(),
        el("fieldset", {class: "either"}, el("legend", {}, t("Shade the text by")),
            ...columns.map((c, i) => shadeRadio(c.attribution, i, i === at))),
        attributedText(sequence, columns[at]),
        el("p", {class: "small"}, t("{0}: {1}.", t(columns[at].attribution.caption), t(columns[at].attribution.about)) +
            (columns[at].attribution.signed ? blank() + t("Blue speaks for the class, orange against it.") : "") + mergeNote(axisOf(sequence))),
        comparison(axisOf(sequence), columns));
}

function mergeNote(axis) {
    return (axis.units.some((u) => u.tokens.length > 1) ? blank() + t("A word has the sum of its pieces.") : "") +
        (axis.hidden ? blank() + t("Shares are divided by what remains when positions are hidden.") : "");
}

// Offered when the page carries attributions of several classes.
function classChoice() {
    const classes = [...new Set((meta.attributions || []).map((a) => a.class).filter((c) => c !== undefined && c !== null))];
    if (classes.length < 2 || !meta.prediction) return null;
    const select = el("select", {onchange: (e) => change({class: Number(e.target.value)})},
        ...classes.map((c) => el("option", {value: c}, visible(meta.prediction.classes[c].name))));
    select.value = String(state.class >= 0 ? state.class : meta.prediction.predicted);
    return el("label", {class: "pick"}, el("span", {}, t("For the class")), select);
}

function shadeRadio(attribution, i, checked) {
    const input = el("input", {type: "radio", name: "shade", value: i, onchange: () => change({shade: i})});
    input.checked = checked;
    return el("label", {}, input, el("span", {}, t(attribution.caption)));
}

// Shares that sum to one are measured against an even share, as weights are; others against the largest.
function attributionTone({attribution, values}) {
    const shares = !attribution.signed && Math.abs(sumOf(values) - 1) < 1e-2;
    const axis = axisOf(meta.sequences[attribution.sequence]);
    return toneOf({nq: 1, nk: values.length, data: values.map(Math.abs)}, shares, false, piecesOf(axis));
}

function signedColour(value, tone, index) {
    return colourAt(shadeIn(tone, 0, index, Math.abs(value)), value < 0 ? AGAINST_HUE : HUE);
}

function attributedText(sequence, column) {
    const axis = axisOf(sequence), values = column.values;
    const tone = attributionTone(column);
    const parts = [];
    let at = 0;
    for (const unit of axis.units) {
        if (unit.end > unit.start) {
            parts.push(axis.hidden ? " " : gapBetween(sequence, at, unit.start));
            at = Math.max(at, unit.end);
        } else parts.push(" ");
        const rgb = signedColour(values[unit.index], tone, unit.index);
        parts.push(el("span", {class: unit.special ? "word special" : "word", dir: unit.special ? "ltr" : null, title: decimal(values[unit.index]),
                               style: {background: css(rgb), color: inkOn(rgb)}}, unit.label));
    }
    return el("div", {class: "reading still", dir: readingDirection(axis), tabindex: 0, role: "group", "aria-label": t("Shaded text")}, ...parts.filter((p) => p !== ""));
}

const FEW_WORDS = 30;

function comparison(axis, columns) {
    const order = axis.units.map((unit) => unit.index);
    const by = columns.findIndex((c) => c.attribution.id === state.order);
    if (by >= 0) order.sort((a, b) => Math.abs(columns[by].values[b]) - Math.abs(columns[by].values[a]));
    const shown = state.order === "text" && axis.units.length > FEW_WORDS && !state.all ? strongest(columns, axis) : order;
    const rows = shown.slice(0, state.all ? shown.length : FEW_WORDS);
    const select = el("select", {id: "order", onchange: (e) => change({order: e.target.value})},
        el("option", {value: "text"}, t("the text")),
        ...columns.map((c) => el("option", {value: c.attribution.id}, lower(t(c.attribution.caption)))));
    select.value = by >= 0 ? state.order : "text";
    return el("div", {class: "compare"},
        el("div", {class: "compare-head"}, el("h3", {}, t("Word by word")), el("label", {class: "pick"}, el("span", {}, t("In order of")), select)),
        el("table", {class: "bars"},
            el("thead", {}, el("tr", {}, el("th", {scope: "col"}, state.words ? t("Word") : t("Token")),
                ...columns.map((c) => el("th", {scope: "col"}, t(c.attribution.caption))))),
            el("tbody", {}, ...rows.map((i) => el("tr", {},
                el("th", {scope: "row"}, el("bdi", {title: axis.units[i].label}, shorten(axis.units[i].label, 40))),
                ...columns.map((c) => barCell(c, i)))))),
        moreWords(axis.units.length, rows.length));
}

// In the order of the text, the words that are strongest in any column.
function strongest(columns, axis) {
    const score = axis.units.map((unit) => Math.max(...columns.map((c) => {
        const most = largestSize(c.values);
        return most > 0 ? Math.abs(c.values[unit.index]) / most : 0;
    })));
    return largest(Float64Array.from(score), FEW_WORDS).sort((a, b) => a - b);
}

// Bars are always linear: a length is read as a share. The scale chosen above is for colours.
function barCell({attribution, values}, i) {
    const most = largestSize(values);
    const share = most > 0 ? Math.abs(values[i]) / most : 0;
    const width = (attribution.signed ? 50 : 100) * share;
    const style = !attribution.signed ? {left: "0", width: width + "%"}
        : values[i] < 0 ? {right: "50%", width: width + "%"} : {left: "50%", width: width + "%"};
    const text = attribution.signed ? fixed(values[i], most) : percent(values[i]);
    return el("td", {}, el("div", {class: "bar-cell"},
        el("span", {class: "bar-track" + (attribution.signed ? " signed" : ""), "aria-hidden": "true"},
            el("span", {class: values[i] < 0 ? "bar-fill against" : "bar-fill", style})),
        el("span", {class: "num"}, text)));
}

function moreWords(total, shown) {
    if (total <= FEW_WORDS) return null;
    const label = state.all ? t("Show the strongest only") : t("Show all {0} (the {1} strongest are shown)", total, shown);
    return el("button", {type: "button", onclick: () => change({all: !state.all})}, label);
}
