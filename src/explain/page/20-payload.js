// The payload: meta JSON and tensor blocks (docs/explorer-format.md). Blocks are decoded when first looked at.

const VERSION = 1;
const NO_KEY = 65535;

function readMeta() {
    const node = byId("fv-meta");
    if (!node) throw new Error(t("this file carries no data (block fv-meta is missing)"));
    const parsed = JSON.parse(node.textContent);
    if (parsed.format !== "fovea-explorer") throw new Error(t("the data is not in the fovea-explorer format"));
    if (parsed.version > VERSION) throw new Error(t("the data is of format version {0}, newer than this page", parsed.version));
    return parsed;
}

let meta = null;

function mapNow() {
    return meta.maps[state.map];
}

// A model without attention (a linear one) has a prediction and values per word, but no maps.
function noMaps() {
    return meta.maps.length === 0;
}

function fromBase64(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
}

async function inflate(bytes) {
    if (typeof DecompressionStream === "undefined") {
        throw new Error(t("this browser cannot inflate compressed data; write the page with --no-compress"));
    }
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Bytes of a block, or null when the page does not carry it.
async function block(id) {
    const node = byId("fv-" + id);
    if (!node) return null;
    const bytes = fromBase64(node.textContent.trim());
    return meta.compression === "deflate" ? inflate(bytes) : bytes;
}

function hasBlock(id) {
    return byId("fv-" + id) !== null;
}

function need(bytes, size, id) {
    if (bytes.byteLength !== size) throw new Error(t("block {0} has {1} bytes, expected {2}", id, bytes.byteLength, size));
}

function sequenceLength(sequence) {
    if (sequence.kind === "text") return sequence.start.length;
    if (sequence.kind === "image") return sequence.grid[0] * sequence.grid[1] + (sequence.special || []).length;
    return sequence.length;
}

function shapeOf(map) {
    return [sequenceLength(meta.sequences[map.query]), sequenceLength(meta.sequences[map.key])];
}

// One table turns codes back to weights: p = rowmax * square[c].
function squares(levels) {
    return Float32Array.from({length: levels + 1}, (_, c) => (c / levels) * (c / levels));
}

function decodeFull(bytes, map, id) {
    const [nq, nk] = shapeOf(map);
    need(bytes, 4 * nq + nq * nk, id);
    const rowmax = new Float32Array(bytes.buffer, bytes.byteOffset, nq);
    const square = squares(map.levels || 255);
    const data = new Float32Array(nq * nk);
    let at = 4 * nq;
    for (let q = 0, i = 0; q < nq; q++) {
        const scale = rowmax[q];
        for (let k = 0; k < nk; k++, i++) data[i] = scale * square[bytes[at++]];
    }
    return {tier: "full", data, rest: null};
}

function decodeTop(bytes, map, id) {
    const [nq, nk] = shapeOf(map);
    const top = map.top;
    need(bytes, nq * (12 + 3 * top), id);
    const floats = new Float32Array(bytes.buffer, bytes.byteOffset, 3 * nq);
    const keys = new Uint16Array(bytes.buffer, bytes.byteOffset + 12 * nq, nq * top);
    const codes = bytes.subarray(12 * nq + 2 * nq * top);
    const square = squares(map.levels || 255);
    const data = new Float32Array(nq * nk);
    for (let i = 0; i < nq * top; i++) {
        const q = Math.floor(i / top);
        if (keys[i] !== NO_KEY && keys[i] < nk) data[q * nk + keys[i]] = floats[q] * square[codes[i]];
    }
    return {tier: "top", data, rest: floats.slice(nq, 2 * nq), entropy: floats.slice(2 * nq, 3 * nq)};
}

function decodeExact(bytes, map, id) {
    const [nq, nk] = shapeOf(map);
    need(bytes, 4 * nq * nk, id);
    return {tier: "exact", data: new Float32Array(bytes.buffer, bytes.byteOffset, nq * nk), rest: null};
}

const TIERS = [["exact", decodeExact], ["full", decodeFull], ["top", decodeTop]];

// The best stored form of matrix n of a map, or null. Float32Array views need the aligned buffers that block() gives.
async function decodeMatrix(m, n) {
    for (const [name, decode] of TIERS) {
        const id = name + "-" + m + "-" + n;
        const bytes = await block(id);
        if (bytes) return decode(bytes, meta.maps[m], id);
    }
    return null;
}

// Last used matrices; the rest is decoded again when needed, so memory stays bounded for any number of heads.
const CACHE_BYTES = 48 << 20;
const cache = new Map();
let cacheSize = 0;

function bytesOf(matrix) {
    return matrix ? matrix.data.byteLength : 0;
}

async function matrixOf(m, n) {
    const key = m + "-" + n;
    const entry = cache.get(key) || {promise: decodeMatrix(m, n), bytes: 0};
    cache.delete(key);
    cache.set(key, entry);
    const matrix = await entry.promise;
    if (entry.bytes === 0) {
        entry.bytes = bytesOf(matrix);
        cacheSize += entry.bytes;
    }
    for (const [old, value] of cache) {
        if (cacheSize <= CACHE_BYTES || old === key) break;
        if (value.bytes === 0) continue; // still being decoded
        cache.delete(old);
        cacheSize -= value.bytes;
    }
    return matrix;
}

// Thumbnails of a map: {rows, columns, of(n) -> Uint8Array of square-rooted shares of the largest weight}, or null.
const thumbs = new Map();

async function thumbsOf(m) {
    if (!thumbs.has(m)) thumbs.set(m, loadThumbs(m));
    return thumbs.get(m);
}

async function loadThumbs(m) {
    const map = meta.maps[m];
    const bytes = map.thumb ? await block("thumb-" + m) : null;
    if (!bytes) return null;
    const [rows, columns] = map.thumb;
    need(bytes, map.heads.length * rows * columns, "thumb-" + m);
    return {rows, columns, of: (n) => bytes.subarray(n * rows * columns, (n + 1) * rows * columns)};
}

// A thumbnail made here by max-pooling, for maps that fit whole and carry none.
function poolMax(matrix, nq, nk, most) {
    const rows = Math.min(nq, most), columns = Math.min(nk, most);
    const pooled = new Float32Array(rows * columns);
    let peak = 0;
    for (let q = 0; q < nq; q++) {
        const i = Math.min(rows - 1, Math.floor(((q + 0.5) * rows) / nq));
        for (let k = 0; k < nk; k++) {
            const at = i * columns + Math.min(columns - 1, Math.floor(((k + 0.5) * columns) / nk));
            const p = matrix.data[q * nk + k];
            if (p > pooled[at]) pooled[at] = p;
            if (p > peak) peak = p;
        }
    }
    const bytes = Uint8Array.from(pooled, (p) => (peak > 0 ? Math.round(255 * Math.sqrt(p / peak)) : 0));
    return {rows, columns, bytes, peak};
}
