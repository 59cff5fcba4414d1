// Tokens as a reader sees them, and the axes of a matrix: tokens or whole words, with or without specials.

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", {fatal: true});

// Characters that would be invisible or would turn the text around them: shown by their code instead.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const BLANKS = {" ": "␣", "\n": "↵", "\r": "↵", "\t": "⇥"};

// Byte-level vocabularies spell bytes as 256 printable characters; this is how a piece reads, or null.
const BYTE_OF = new Map();

function bytePiece(piece) {
    if (BYTE_OF.size === 0) {
        let next = 256;
        for (let b = 0; b < 256; b++) {
            const printable = (b > 32 && b < 127) || (b > 160 && b !== 173);
            BYTE_OF.set(String.fromCharCode(printable ? b : next++), b);
        }
    }
    const bytes = Array.from(piece, (c) => BYTE_OF.get(c));
    return bytes.includes(undefined) ? null : decodeBytes(Uint8Array.from(bytes));
}

function visible(text) {
    return text.replace(HIDDEN, (c) => "⟨" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");
}

function hex(bytes) {
    return Array.from(bytes, (b) => "\\x" + b.toString(16).padStart(2, "0")).join("");
}

function decodeBytes(bytes) {
    try {
        return strictDecoder.decode(bytes);
    } catch (error) {
        return hex(bytes);
    }
}

// One line for a label: blanks trimmed, or drawn when there is nothing else.
function asLabel(text) {
    const trimmed = text.trim();
    if (trimmed !== "") return visible(trimmed.replace(/\s+/g, " "));
    return Array.from(text, (c) => BLANKS[c] || c).join("") || "∅";
}

// Which way a text runs: that of its first letter, as the Unicode bidirectional algorithm has it (rules P2 and P3).
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1eeff}]/u;

function directionOf(text) {
    const letter = /\p{L}/u.exec(text);
    return letter && RIGHT_TO_LEFT.test(letter[0]) ? "rtl" : "ltr";
}

// Position of each token of a sequence: label, range, word, special.
function tokensOf(sequence) {
    if (sequence.tokens) return sequence.tokens;
    const special = new Set(sequence.special || []);
    const length = sequenceLength(sequence);
    if (sequence.kind === "text") {
        sequence.bytes = encoder.encode(sequence.text);
        sequence.tokens = sequence.start.map((start, i) => textToken(sequence, i, special.has(i)));
    } else {
        sequence.tokens = Array.from({length}, (_, i) => ({
            i, label: positionLabel(sequence, i, special), special: special.has(i), word: -1, start: 0, end: 0, piece: null,
        }));
    }
    return sequence.tokens;
}

function textToken(sequence, i, special) {
    const start = sequence.start[i], end = sequence.end[i];
    const piece = sequence.piece ? sequence.piece[i] : null;
    const raw = end > start ? decodeBytes(sequence.bytes.subarray(start, end)) : piece || t("special {0}", i);
    return {i, start, end, piece, special, word: special ? -1 : sequence.word[i], label: asLabel(raw)};
}

function positionLabel(sequence, i, special) {
    if (sequence.kind !== "image") return "#" + i;
    if (special.has(i)) return t("special {0}", i);
    const patch = i - special.size;
    return t("row {0}, column {1}", Math.floor(patch / sequence.grid[1]), patch % sequence.grid[1]);
}

function hasPieces(sequence) {
    const tokens = tokensOf(sequence);
    return tokens.some((token, i) => i > 0 && token.word >= 0 && token.word === tokens[i - 1].word);
}

// An axis: units in order, each {tokens, label, index, start, end, special}, and unitOf[token] (-1 when hidden).
function axisOf(sequence) {
    const key = (state.words ? "w" : "") + (state.hide ? "h" : "") + (state.first ? "f" : "");
    sequence.axes = sequence.axes || {};
    if (!sequence.axes[key]) sequence.axes[key] = buildAxis(sequence, isHidden) || buildAxis(sequence, () => false);
    return sequence.axes[key];
}

function isHidden(token) {
    return (state.hide && token.special) || (state.first && token.i === 0);
}

// Null when nothing would be left to look at.
function buildAxis(sequence, hidden) {
    const units = [];
    const tokens = tokensOf(sequence);
    const unitOf = new Int32Array(tokens.length).fill(-1);
    for (const token of tokens) {
        if (hidden(token)) continue;
        const last = units[units.length - 1];
        if (state.words && last && token.word >= 0 && token.word === last.word) {
            last.tokens.push(token.i);
            last.end = Math.max(last.end, token.end);
        } else {
            units.push({index: units.length, tokens: [token.i], word: token.word, start: token.start, end: token.end,
                        special: token.special, label: token.label, piece: token.piece});
        }
        unitOf[token.i] = units.length - 1;
    }
    if (units.length === 0) return null;
    for (const unit of units) {
        if (unit.tokens.length > 1) {
            unit.piece = unit.tokens.map((i) => tokens[i].label).join(" + ");
            unit.label = unit.end > unit.start ? asLabel(decodeBytes(sequence.bytes.subarray(unit.start, unit.end))) : unit.piece;
        }
    }
    const whole = units.length === tokens.length;
    return {sequence, units, unitOf, whole, hidden: unitOf.some((u) => u < 0)};
}

// The unit that shows token i, or the nearest one when it is hidden.
function unitNear(axis, i) {
    for (let step = 0; step < axis.unitOf.length; step++) {
        for (const j of [i + step, i - step]) {
            if (j >= 0 && j < axis.unitOf.length && axis.unitOf[j] >= 0) return axis.unitOf[j];
        }
    }
    return 0;
}

function queryAxis() {
    return axisOf(meta.sequences[mapNow().query]);
}

function keyAxis() {
    return axisOf(meta.sequences[mapNow().key]);
}

function queryUnit() {
    const axis = queryAxis();
    return axis.units[unitNear(axis, state.q)];
}

function keyUnit() {
    const axis = keyAxis();
    return axis.units[unitNear(axis, state.k)];
}

// A label that cannot turn or swallow its neighbours in a sentence.
function quoted(label) {
    const [open, close] = languageNow() === "zh" ? ["“", "”"] : ["‘", "’"];
    return "\u2068" + open + label + close + "\u2069";
}

function shorten(label, most) {
    const letters = Array.from(label);
    return letters.length <= most ? label : letters.slice(0, most - 1).join("") + "…";
}

// The text between two units as written, so that the text view reads like the original.
function gapBetween(sequence, from, to) {
    return to > from ? decodeBytes(sequence.bytes.subarray(from, to)).replace(HIDDEN, " ") : "";
}
