/* json.c - tokenizer.json, the file of Hugging Face's tokenizers: what of it is understood, and what is refused by
 * name.
 *
 * The post-processor (which adds [CLS] and [SEP]) has no part in encoding here: callers add what they need. */
#include "data/token/token_contract.h"

#include <string.h>

/* ---- writing */

static const char *yes(bool b) { return b ? "true" : "false"; }

static void save_added(const fv_tokenizer *t, fv__buf *json) {
    fv__buf_text(json, "  \"added_tokens\": [");
    for (size_t i = 0; i < t->added_count; i++) {
        const fv__added_token *a = &t->added[i];
        fv__buf_printf(json, "%s\n    {\"id\": %d, \"content\": ", i ? "," : "", a->id);
        fv__json_quote(json, a->content, a->size, FV_JSON_LINE);
        fv__buf_printf(json,
                       ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, \"special\": %s}",
                       yes(a->single_word), yes(a->lstrip), yes(a->rstrip), yes(a->normalized), yes(a->special));
    }
    fv__buf_text(json, t->added_count ? "\n  ],\n" : "],\n");
}

/* Characters of scripts without spaces, as the pattern of a Split: read by Hugging Face's tokenizers as well. */
static const char unspaced[] =
    "["
#define FV__BLOCK(first, last) "\\x{" #first "}-\\x{" #last "}"
#include "data/unspaced.def"
#undef FV__BLOCK
    "]\\p{M}*";

static void save_unspaced(fv__buf *json) {
    fv__buf_text(json, "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    fv__json_quote(json, unspaced, strlen(unspaced), FV_JSON_LINE);
    fv__buf_text(json, "}, \"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"BertPreTokenizer\"}]}");
}

static void save_steps(const fv_tokenizer *t, fv__buf *json) {
    const fv__normaliser *n = &t->normal;
    if (n->clean || n->cjk || n->accents)
        fv__buf_printf(
            json,
            "  \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": %s, \"handle_chinese_chars\": %s, "
            "\"strip_accents\": %s, \"lowercase\": %s},\n",
            yes(n->clean), yes(n->cjk), yes(n->accents), yes(n->lower));
    else
        fv__buf_printf(json, "  \"normalizer\": %s,\n", n->lower ? "{\"type\": \"Lowercase\"}" : "null");
    static const char *const pre[] = {[FV_PRE_NONE] = "null",
                                      [FV_PRE_BERT] = "{\"type\": \"BertPreTokenizer\"}",
                                      [FV_PRE_WORDS] = "{\"type\": \"Whitespace\"}",
                                      [FV_PRE_SPACES] = "{\"type\": \"WhitespaceSplit\"}"};
    static const char bytes[] =
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": %s, \"trim_offsets\": true, \"use_regex\": true}";
    fv__buf_text(json, "  \"pre_tokenizer\": ");
    if (t->pre == FV_PRE_BYTES)
        fv__buf_printf(json, bytes, yes(t->prefix_space));
    else if (t->unspaced)
        save_unspaced(json);
    else
        fv__buf_text(json, pre[t->pre]);
    fv__buf_text(json, ",\n  \"post_processor\": null,\n  \"decoder\": ");
    if (t->pre == FV_PRE_BYTES)
        fv__buf_printf(json, bytes, yes(t->prefix_space));
    else if (t->prefix) {
        fv__buf_text(json, "{\"type\": \"WordPiece\", \"prefix\": ");
        fv__json_quote(json, t->prefix, strlen(t->prefix), FV_JSON_LINE);
        fv__buf_text(json, ", \"cleanup\": true}");
    } else
        fv__buf_text(json, "null");
}

void fv__vocab_save(const fv_tokenizer *t, fv__buf *json) {
    fv__buf_text(json, "    \"vocab\": {");
    for (int32_t id = 0, written = 0; id < t->size; id++) {
        if (!t->token[id]) continue;
        fv__buf_text(json, written++ ? ",\n      " : "\n      ");
        fv__json_quote(json, t->token[id], strlen(t->token[id]), FV_JSON_LINE);
        fv__buf_printf(json, ": %d", id);
    }
    fv__buf_text(json, "\n    }");
}

fv_status fv_tokenizer_save(const fv_tokenizer *t, const char *path) {
    fv__buf json = {0};
    fv__buf_text(&json, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    save_added(t, &json);
    save_steps(t, &json);
    fv__buf_printf(&json, ",\n  \"model\": {\n    \"type\": \"%s\",\n", t->model->type);
    fv__vocab_save(t, &json);
    t->model->save(t, &json);
    fv__buf_text(&json, "\n  }\n}\n");
    fv_status status = fv__buf_status(&json);
    if (status == FV_OK) status = fv__write_file(path, json.data, json.size);
    fv__buf_free(&json);
    return status;
}

/* ---- reading */

static fv_status refuse(const char *where, const char *step, const char *type, const char *known) {
    return fv__fail(FV_BAD_MODEL, "%s: %s is not supported\n  expected one of: %s\n  found:   \"%s\"", where, step,
                    known, type ? type : "(no type)");
}

static fv_status type_of(fv__json_at_file at, const char **type) { return fv__json_need_text(at, "type", NULL, type); }

static fv_status load_bert(fv_tokenizer *t, fv__json_at_file at) {
    FV_TRY(fv__json_need_bool(at, "clean_text", true, &t->normal.clean));
    FV_TRY(fv__json_need_bool(at, "handle_chinese_chars", true, &t->normal.cjk));
    FV_TRY(fv__json_need_bool(at, "lowercase", true, &t->normal.lower));
    return fv__json_need_bool(at, "strip_accents", t->normal.lower, &t->normal.accents);
}

static fv_status load_normalizer(fv_tokenizer *t, fv__json_at_file at) {
    static const char known[] = "BertNormalizer, Lowercase, Sequence of one";
    const char *type;
    if (!at.object) return FV_OK;
    FV_TRY(type_of(at, &type));
    if (type && !strcmp(type, "BertNormalizer")) return load_bert(t, at);
    if (type && !strcmp(type, "Lowercase")) {
        t->normal.lower = true;
        return FV_OK;
    }
    if (!type || strcmp(type, "Sequence")) return refuse(at.where, "normalizer", type, known);
    fv__json *list;
    FV_TRY(fv__json_need_array(at, "normalizers", &list));
    if (fv__json_count(list) > 1) return refuse(at.where, "normalizer", "Sequence of several", known);
    at.object = fv__json_at(list, 0);
    return load_normalizer(t, at);
}

static fv_status load_bytes(fv_tokenizer *t, fv__json_at_file at) {
    bool regex;
    FV_TRY(fv__json_need_bool(at, "use_regex", true, &regex));
    if (!regex)
        return refuse(at.where, "pre_tokenizer", "ByteLevel with use_regex false", "ByteLevel with use_regex true");
    t->pre = FV_PRE_BYTES;
    return fv__json_need_bool(at, "add_prefix_space", true, &t->prefix_space);
}

/* The one Split that is understood, and what comes behind it. */
static fv_status load_unspaced(fv_tokenizer *t, fv__json_at_file at, fv__json *list) {
    static const char known[] = "Sequence of one, or of fovea's own Split and BertPreTokenizer";
    const char *split, *next, *behavior;
    fv__json_at_file first = at, second = at;
    first.object = fv__json_at(list, 0), second.object = fv__json_at(list, 1);
    FV_TRY(type_of(first, &split));
    FV_TRY(type_of(second, &next));
    FV_TRY(fv__json_need_text(first, "behavior", "", &behavior));
    const char *pattern = fv__json_text(fv__json_path(first.object, "pattern.Regex"));
    bool ours = split && next && !strcmp(split, "Split") && !strcmp(next, "BertPreTokenizer") &&
                !strcmp(behavior, "Isolated") && pattern && !strcmp(pattern, unspaced);
    if (!ours || fv__json_count(list) != 2) return refuse(at.where, "pre_tokenizer", "Sequence of several", known);
    t->pre = FV_PRE_BERT;
    t->unspaced = true;
    return FV_OK;
}

static fv_status load_pre(fv_tokenizer *t, fv__json_at_file at) {
    static const struct {
        const char *type;
        fv__presplit pre;
    } rows[] = {{"BertPreTokenizer", FV_PRE_BERT}, {"Whitespace", FV_PRE_WORDS}, {"WhitespaceSplit", FV_PRE_SPACES}};
    static const char known[] = "BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Sequence of one";
    const char *type;
    if (!at.object) return FV_OK;
    FV_TRY(type_of(at, &type));
    if (!type) return refuse(at.where, "pre_tokenizer", type, known);
    if (!strcmp(type, "ByteLevel")) return load_bytes(t, at);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(type, rows[i].type)) {
            t->pre = rows[i].pre;
            return FV_OK;
        }
    if (strcmp(type, "Sequence")) return refuse(at.where, "pre_tokenizer", type, known);
    fv__json *list;
    FV_TRY(fv__json_need_array(at, "pretokenizers", &list));
    if (fv__json_count(list) > 1) return load_unspaced(t, at, list);
    at.object = fv__json_at(list, 0);
    return load_pre(t, at);
}

static fv_status check_post(fv__json_at_file at) {
    static const char *const types[] = {"TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"};
    const char *type;
    if (!at.object) return FV_OK;
    FV_TRY(type_of(at, &type));
    for (int i = 0; i < 4; i++)
        if (type && !strcmp(type, types[i])) return FV_OK;
    return refuse(at.where, "post_processor", type, "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel");
}

static fv_status bad_id(fv__json_at_file at, const char *token, const fv__json *value) {
    return fv__fail(at.fault, "%s: id of \"%s\"\n  expected a whole number from 0\n  found:   %s", at.where, token,
                    fv__json_kind_of(value) == FV_JSON_INT ? "a number out of range" : fv__json_kind_name(value));
}

fv_status fv__vocab_load(fv_tokenizer *t, fv__json_at_file model) {
    fv__json *vocab;
    FV_TRY(fv__json_need_object(model, "vocab", &vocab));
    if (!fv__json_count(vocab))
        return fv__fail(model.fault, "%s: model.vocab\n  expected tokens\n  found:   none", model.where);
    for (void *i = fv__json_first(vocab); i; i = fv__json_next(vocab, i)) {
        int64_t id = fv__json_kind_of(fv__json_value(i)) == FV_JSON_INT ? fv__json_int(fv__json_value(i), -1) : -1;
        if (id < 0 || id >= INT32_MAX) return bad_id(model, fv__json_key(i), fv__json_value(i));
        FV_TRY(fv__map_set(t->ids, fv__json_key(i), strlen(fv__json_key(i)), id));
    }
    return FV_OK;
}

fv_status fv__unk_load(fv_tokenizer *t, fv__json_at_file model, bool required) {
    const char *unk;
    FV_TRY(fv__json_need_text(model, "unk_token", required ? "[UNK]" : NULL, &unk));
    t->special.unk = unk ? (int32_t)fv__map_get(t->ids, unk, strlen(unk), -1) : -1;
    if (unk && t->special.unk < 0)
        return fv__fail(model.fault, "%s: model.unk_token\n  expected a token of model.vocab\n  found:   \"%s\"",
                        model.where, unk);
    return FV_OK;
}

/* A token that the normaliser would change and that is to be found after normalising is not supported. */
static fv_status load_added_one(fv_tokenizer *t, fv__json_at_file at) {
    fv__added_token a = {0};
    int64_t id;
    FV_TRY(fv__json_need_text(at, "content", NULL, &a.content));
    FV_TRY(fv__json_need_int(at, "id", -1, &id));
    FV_TRY(fv__json_need_bool(at, "special", false, &a.special));
    FV_TRY(fv__json_need_bool(at, "normalized", false, &a.normalized));
    FV_TRY(fv__json_need_bool(at, "single_word", false, &a.single_word));
    FV_TRY(fv__json_need_bool(at, "lstrip", false, &a.lstrip));
    FV_TRY(fv__json_need_bool(at, "rstrip", false, &a.rstrip));
    if (!a.content || !*a.content || id < 0 || id >= INT32_MAX)
        return fv__fail(at.fault,
                        "%s: added_tokens\n  expected entries with a content and an id from 0\n  found:   another",
                        at.where);
    a.size = strlen(a.content);
    if (a.size > FV__LONGEST_ADDED)
        return fv__fail(at.fault, "%s: added_tokens: \"%.40s...\"\n  expected at most %d bytes\n  found:   %zu",
                        at.where, a.content, FV__LONGEST_ADDED, a.size);
    a.id = (int32_t)id;
    int64_t known = fv__map_get(t->ids, a.content, a.size, id);
    if (known != id)
        return fv__fail(at.fault, "%s: added_tokens: \"%s\" has id %lld, in model.vocab %lld", at.where, a.content,
                        (long long)id, (long long)known);
    bool changes = t->normal.clean || t->normal.cjk || t->normal.accents || t->normal.lower;
    if (a.normalized && changes)
        return fv__fail(at.fault, "%s: added_tokens: \"%s\" is matched after normalising, which is not supported",
                        at.where, a.content);
    return fv__added_add(t, a);
}

static fv_status load_added(fv_tokenizer *t, fv__json_at_file root) {
    const fv__json *list = fv__json_get(root.object, "added_tokens");
    for (size_t i = 0; i < fv__json_count(list); i++) {
        fv__json_at_file at = root;
        at.object = fv__json_at(list, i);
        FV_TRY(load_added_one(t, at));
    }
    return FV_OK;
}

static fv_status load_steps(fv_tokenizer *t, fv__json_at_file root) {
    fv__json_at_file at = root;
    at.object = fv__json_get(root.object, "normalizer");
    FV_TRY(load_normalizer(t, at));
    at.object = fv__json_get(root.object, "pre_tokenizer");
    FV_TRY(load_pre(t, at));
    at.object = fv__json_get(root.object, "post_processor");
    return check_post(at);
}

static fv_status load_model(fv_tokenizer *t, fv__json_at_file root) {
    fv__json *object;
    const char *type;
    fv__json_at_file at = root;
    FV_TRY(fv__json_need_object(root, "model", &object));
    at.object = object;
    FV_TRY(type_of(at, &type));
    for (int i = 0; (t->model = fv__token_model_at(i)); i++)
        if (type && !strcmp(type, t->model->type)) break;
    if (!t->model) return refuse(root.where, "model", type, "WordLevel, BPE, WordPiece");
    return t->model->load(t, at);
}

static fv_status load(fv_tokenizer *t, fv__json_at_file root) {
    if (fv__json_kind_of(root.object) != FV_JSON_OBJECT)
        return fv__fail(root.fault, "%s: expected an object\n  found:   %s", root.where,
                        fv__json_kind_name(root.object));
    FV_TRY(load_steps(t, root));
    FV_TRY(load_model(t, root));
    FV_TRY(load_added(t, root));
    fv_status status = fv__tokenizer_finish(t);
    return status == FV_BAD_MODEL ? fv__fail(status, "%s: %s", root.where, fv_message()) : status;
}

fv_status fv_tokenizer_load(fv_tokenizer **tokenizer, const char *path) {
    fv__json *json;
    fv_tokenizer *t = NULL;
    *tokenizer = NULL;
    FV_TRY(fv__json_load(&json, path, FV_BAD_MODEL));
    fv_status status = fv__tokenizer_new(&t, fv__token_model_at(0));
    if (status == FV_OK) status = load(t, (fv__json_at_file){.object = json, .where = path, .fault = FV_BAD_MODEL});
    fv__json_free(json);
    if (status == FV_OK)
        *tokenizer = t;
    else
        fv_tokenizer_free(t);
    return status;
}
