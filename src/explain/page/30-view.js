// From a stored matrix to what is shown: specials hidden and rows divided by what remains, pieces merged to words
// (sum over keys, mean over queries). Everything on screen and in exports reads a view, never the stored matrix.

const viewCache = new Map();

function viewKey(m, n) {
    return [m, n, state.words, state.hide, state.first].join(" ");
}

// {q, k: axes, nq, nk, data, rest (weight not stored, per row) or null, max, tier} or null when nothing is stored.
async function viewOf(m, n) {
    const key = viewKey(m, n);
    if (viewCache.has(key)) return viewCache.get(key);
    const map = meta.maps[m];
    const q = axisOf(meta.sequences[map.query]), k = axisOf(meta.sequences[map.key]);
    const matrix = await matrixOf(m, n);
    const view = matrix && makeView(matrix, q, k, map.normalised, map.causal);
    if (viewCache.size >= 16) viewCache.delete(viewCache.keys().next().value);
    viewCache.set(key, view);
    return view;
}

function makeView(matrix, q, k, normalised, causal) {
    const view = {q, k, nq: q.units.length, nk: k.units.length, tier: matrix.tier, data: matrix.data, rest: matrix.rest};
    if (!q.whole || !k.whole) mergeInto(view, matrix, normalised && k.hidden);
    view.max = 0;
    for (const p of view.data) if (p > view.max) view.max = p;
    view.tone = toneOf(view, normalised, causal, piecesOf(k));
    return view;
}

// One unit at a time: the tokens of a query word are averaged, those of a key word summed.
function mergeInto(view, matrix, renormalise) {
    const width = view.k.unitOf.length;
    view.data = new Float32Array(view.nq * view.nk);
    view.rest = matrix.rest ? new Float32Array(view.nq) : null;
    const row = new Float64Array(view.nk);
    for (const unit of view.q.units) {
        for (const token of unit.tokens) {
            row.fill(0);
            let seen = matrix.rest ? matrix.rest[token] : 0;
            for (let j = 0; j < width; j++) {
                const at = view.k.unitOf[j];
                if (at < 0) continue;
                row[at] += matrix.data[token * width + j];
                seen += matrix.data[token * width + j];
            }
            const scale = (renormalise && seen > 0 ? 1 / seen : 1) / unit.tokens.length;
            for (let j = 0; j < view.nk; j++) view.data[unit.index * view.nk + j] += scale * row[j];
            if (view.rest) view.rest[unit.index] += scale * matrix.rest[token];
        }
    }
}

function rowOf(view, q) {
    return view.data.subarray(q * view.nk, (q + 1) * view.nk);
}

function columnOf(view, k) {
    return Float32Array.from({length: view.nq}, (_, q) => view.data[q * view.nk + k]);
}

function sumOf(values) {
    let sum = 0;
    for (const x of values) sum += x;
    return sum;
}

function rowSum(view, q) {
    return sumOf(rowOf(view, q)) + (view.rest ? view.rest[q] : 0);
}

// Positions of the largest values, largest first.
function largest(values, most) {
    const order = Array.from(values.keys()).filter((i) => values[i] > 0);
    return order.sort((a, b) => values[b] - values[a] || a - b).slice(0, most);
}

function rankIn(values, i) {
    let rank = 1;
    for (const x of values) if (x > values[i]) rank++;
    return rank;
}

// ---- scale: a weight as a share of the darkest colour

const LOG_DECADES = 4;

const SCALES = {
    linear: (share) => share,
    sqrt: (share) => Math.sqrt(share),
    log: (share) => (share > 0 ? Math.max(0, 1 + Math.log10(share) / LOG_DECADES) : 0),
};

function scaleName() {
    return {linear: t("linear"), sqrt: t("square root"), log: t("logarithm")}[state.scale];
}

function shade(value, max) {
    return max > 0 && value > 0 ? SCALES[state.scale](Math.min(1, value / max)) : 0;
}

// Where rows sum to one a weight is measured against the even share, one over the keys its query sees: the even share is
// pale, whatever the number of keys, and darker is more than that. src/explain/color.c has the same for pictures.
const EVEN_SHADE = 0.15, NEARLY_UNIFORM = 0.97;

// `top` is the largest weight, of queries that see several keys; at least thrice the even share. `pieces`: tokens of each
// key, for words of several; a word's even share is as many times that of a token.
function toneOf({nq, nk, data}, normalised, causal, pieces = null) {
    const tone = {even: Boolean(normalised) && nk > 1, causal: Boolean(causal) && nq === nk, keys: nk, pieces, seen: null, top: 0};
    tone.seen = new Float64Array(nk);
    for (let k = 0, sum = 0; k < nk; k++) tone.seen[k] = sum += pieces ? pieces[k] : 1;
    for (let i = tone.even && tone.causal ? nk : 0; i < nq * nk; i++) if (data[i] > tone.top) tone.top = data[i];
    return withTop(tone, tone.top);
}

function withTop(tone, top) {
    return {...tone, top: tone.even ? Math.max(top, Math.min(1, 3 / tone.seen[tone.keys - 1])) : top};
}

function evenShare(tone, q, k) {
    return (tone.pieces ? tone.pieces[k] : 1) / tone.seen[tone.causal ? Math.min(q, tone.keys - 1) : tone.keys - 1];
}

function evenCaption(tone) {
    if (tone.seen[tone.keys - 1] !== tone.keys) return t("even share");
    return tone.causal ? t("1/keys") : "1/" + tone.keys;
}

function shadeIn(tone, q, k, value) {
    if (!tone.even) return shade(value, tone.top);
    const even = evenShare(tone, q, k);
    if (value <= even * (1 + 1e-6)) return EVEN_SHADE * shade(value, even);
    const top = Math.max(tone.top, Math.min(1, 3 * even));
    if (value >= top) return 1;
    const over = state.scale === "log" ? Math.log(value / even) / Math.log(top / even) : SCALES[state.scale]((value - even) / (top - even));
    return EVEN_SHADE + (1 - EVEN_SHADE) * over;
}

function piecesOf(axis) {
    return axis.units.map((unit) => unit.tokens.length);
}

// Whether a head looks at nothing in particular: its relative entropy is a statistic of the page.
function nearlyUniform(map, n) {
    const focus = map.normalised && map.stats.find((s) => s.id === "focus");
    return Boolean(focus) && focus.values[n] !== null && focus.values[n] >= NEARLY_UNIFORM;
}

// ---- colour: one hue, lightness falling evenly in OKLab from the page's ground to the accent

function toByte(x) {
    const c = x <= 0.0031308 ? 12.92 * x : 1.055 * Math.pow(x, 1 / 2.4) - 0.055;
    return Math.round(255 * clamp(c, 0, 1));
}

// OKLCH to sRGB bytes (B. Ottosson, OKLab).
function oklch(lightness, chroma, hue) {
    const a = chroma * Math.cos((hue * Math.PI) / 180), b = chroma * Math.sin((hue * Math.PI) / 180);
    const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    return [
        toByte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
        toByte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
        toByte(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
    ];
}

const HUE = 262, AGAINST_HUE = 48;
const ramps = {};

function darkNow() {
    return state.theme === "dark" || (state.theme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
}

// 256 colours; `dark` chooses the direction: light ground to deep, or dark ground to bright.
function ramp(hue, dark) {
    const name = hue + (dark ? "d" : "l");
    if (!ramps[name]) {
        ramps[name] = Array.from({length: 256}, (_, i) => {
            const t = i / 255;
            if (dark) return oklch(0.225 + 0.7 * t, 0.012 + 0.13 * Math.sin(Math.PI * Math.min(1, t * 0.94 + 0.02)), hue);
            return oklch(0.975 - 0.645 * t, 0.004 + 0.165 * Math.pow(t, 0.8), hue);
        });
    }
    return ramps[name];
}

function colourAt(t, hue = HUE, dark = darkNow()) {
    return ramp(hue, dark)[Math.round(255 * clamp(t, 0, 1))];
}

function css([r, g, b]) {
    return "rgb(" + r + " " + g + " " + b + ")";
}

function luminance(rgb) {
    const [r, g, b] = rgb.map((c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Black or white, whichever contrasts more: at least 4.58 : 1 on any ground.
function inkOn(rgb) {
    return luminance(rgb) > 0.1791 ? "rgb(0 0 0)" : "rgb(255 255 255)";
}
