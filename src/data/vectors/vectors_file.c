/* file.c - word vectors in files: safetensors, and the text formats of word2vec, fastText and GloVe (a line of two
 * numbers first, or none).
 *
 * Vectors and words are two tensors of one file, so that a full disk or a kill cannot leave the words of one run beside
 * the vectors of another. Files of earlier versions have their words in PATH.vocab.txt. */
#include "data/vectors/vectors.h"
#include "fovea/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char vectors_name[] = "vectors", words_name[] = "words"; /* (words, dim); U8, a line for each word */

static fv_status list_words(fv__buf *text, const fv_vectors *v, const char *path) {
    for (int64_t i = 0; i < v->count; i++) {
        if (strpbrk(v->word[i], "\r\n"))
            return fv__fail(FV_USAGE, "%s: words to be saved\n  expected words without line breaks\n  found:   one",
                            path);
        fv__buf_text(text, v->word[i]);
        fv__buf_add(text, "\n", 1);
    }
    return fv__buf_status(text);
}

fv_status fv_vectors_save(const fv_vectors *v, const char *path) {
    fv__buf text = {0};
    fv_status status = list_words(&text, v, path);
    fv_named_tensor both[2] = {
        {vectors_name, fv_tensor_2d((void *)(uintptr_t)v->data, FV_F32, v->count, v->dim)},
        {words_name, fv_tensor_1d(text.data, FV_U8, (int64_t)text.size)},
    };
    if (status == FV_OK) status = fv_safetensors_write(path, both, 2, NULL);
    fv__buf_free(&text);
    return status;
}

/* ---- safetensors */

/* Cuts a text into lines in place. *lines points into it. */
static fv_status cut_lines(char *text, const char ***lines, int64_t *count) {
    size_t n = 0, room = 0;
    *lines = NULL;
    for (char *at = text; *at;) {
        char *end = strchr(at, '\n');
        fv_status status = FV_GROW(lines, &room, n + 1);
        if (status != FV_OK) return status;
        (*lines)[n++] = at;
        if (!end) break;
        *end = 0;
        if (end > at && end[-1] == '\r') end[-1] = 0;
        at = end + 1;
    }
    *count = (int64_t)n;
    return FV_OK;
}

static fv_status build_from_tensor(fv_vectors **vectors, const fv_tensor *t, const char **words, int64_t count,
                                   const char *path) {
    if (t->rank != 2 || t->dim[0] != count)
        return fv__fail(FV_BAD_DATA,
                        "%s: tensor \"vectors\" does not fit its list of words\n  expected %lld rows\n  found:   "
                        "rank %d with %lld",
                        path, (long long)count, t->rank, (long long)(t->rank ? t->dim[0] : 0));
    float *data = fv__alloc_array((size_t)count, (size_t)t->dim[1] * sizeof *data);
    if (!data) return FV_NO_RESOURCES;
    fv_tensor copy = fv_tensor_2d(data, FV_F32, count, t->dim[1]);
    fv_status status = fv_tensor_copy(&copy, t);
    if (status == FV_OK) return fv__vectors_build(vectors, data, count, t->dim[1], words);
    fv__free(data);
    return status;
}

/* A copy that ends in NUL, to be cut. */
static fv_status copy_words(char **text, const void *bytes, size_t size, const char *where) {
    if (fv__utf8_valid(bytes, size) < size || memchr(bytes, 0, size))
        return fv__fail(FV_BAD_DATA,
                        "%s: the words of the vectors\n  expected one word a line, in UTF-8\n  found:   other bytes",
                        where);
    if (!(*text = fv__alloc(size + 1))) return FV_NO_RESOURCES;
    memcpy(*text, bytes, size);
    return FV_OK;
}

static fv_status read_words_beside(char **text, const char *path) {
    fv__buf beside = {0};
    fv__file file;
    fv__buf_printf(&beside, "%s.vocab.txt", path);
    fv_status status = fv__buf_status(&beside);
    if (status == FV_OK) status = fv__file_read(&file, beside.data);
    if (status == FV_OK) {
        status = copy_words(text, file.data, file.size, beside.data);
        fv__file_free(&file);
    }
    fv__buf_free(&beside);
    return status;
}

static fv_status read_words(char **text, const fv_tensor_file *file, const char *path) {
    fv_tensor words;
    if (!fv_tensor_file_has(file, words_name)) return read_words_beside(text, path);
    FV_TRY(fv_tensor_file_find(file, words_name, &words));
    if (words.dtype != FV_U8 || words.rank != 1)
        return fv__fail(FV_BAD_DATA,
                        "%s: tensor \"%s\"\n  expected u8 and one axis: a line of text for each word\n"
                        "  found:   %s and %d axes",
                        path, words_name, fv_dtype_name(words.dtype), words.rank);
    return copy_words(text, words.data, (size_t)words.dim[0], path);
}

static fv_status load_tensors(fv_vectors **vectors, const char *path) {
    fv_tensor_file *file = NULL;
    fv_tensor tensor;
    char *text = NULL;
    const char **words = NULL;
    int64_t count = 0;
    FV_TRY(fv_tensor_file_open(&file, path));
    fv_status status = fv_tensor_file_find(file, vectors_name, &tensor);
    if (status == FV_OK) status = fv_tensor_file_check_finite(file);
    if (status == FV_OK) status = read_words(&text, file, path);
    if (status == FV_OK) status = cut_lines(text, &words, &count);
    if (status == FV_OK) status = build_from_tensor(vectors, &tensor, words, count, path);
    fv__free(words);
    fv__free(text);
    fv_tensor_file_close(file);
    return status;
}

/* ---- text */

typedef struct reader {
    const char *path;
    fv__map *seen;
    const char **word;
    float *data;
    size_t words, word_capacity, data_capacity;
    int64_t dim, announced, line, twice; /* announced: words, by the first line; -1: it says nothing */
} reader;

static bool is_gap(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* The last field that ends before *end, which moves to its start; false when there is none behind `line`. */
static bool last_field(const char *line, char **end) {
    char *p = *end;
    while (p > line && is_gap(p[-1])) p--;
    *p = 0;
    while (p > line && !is_gap(p[-1])) p--;
    bool any = *p != 0;
    *end = p;
    return any && p > line;
}

/* The last `dim` fields of a line, from its end; returns how many there are, -1 when one is no number. The word, which
 * may have blanks in it, is what is left. */
static int64_t read_numbers(char *line, float *out, int64_t dim) {
    char *end = line + strlen(line);
    for (int64_t i = dim; i-- > 0;) {
        double value;
        if (!last_field(line, &end)) return dim - 1 - i;
        if (!fv__parse_float(end, &value)) return -1;
        out[i] = (float)value;
    }
    while (end > line && is_gap(end[-1])) end--;
    *end = 0;
    return dim;
}

/* Numbers at the end of a line, without changing it. */
static int64_t count_numbers(const char *line) {
    int64_t count = 0;
    char *copy = fv__strdup(line), *end = copy ? copy + strlen(copy) : NULL;
    double value;
    while (end && last_field(copy, &end) && fv__parse_float(end, &value)) count++;
    fv__free(copy);
    return count;
}

/* "x 0.1", where one number is expected behind x and two are there: no word has that shape. */
static bool is_word_with_number(const char *word) {
    const char *gap = strpbrk(word, " \t");
    double value;
    return gap && gap > word && fv__parse_float(gap + 1 + strspn(gap + 1, " \t"), &value);
}

static fv_status wrong_line(const reader *r, int64_t found) {
    if (found < 0)
        return fv__fail(FV_BAD_DATA,
                        "%s:%lld: expected a word and %lld numbers\n  found:   something that is not a number", r->path,
                        (long long)r->line, (long long)r->dim);
    return fv__fail(FV_BAD_DATA, "%s:%lld: expected a word and %lld numbers\n  found:   %lld numbers", r->path,
                    (long long)r->line, (long long)r->dim, (long long)found);
}

/* The first of equal words counts. */
static fv_status add_line(reader *r, char *line) {
    FV_TRY(FV_GROW(&r->data, &r->data_capacity, (r->words + 1) * (size_t)r->dim));
    FV_TRY(FV_GROW(&r->word, &r->word_capacity, r->words + 1));
    int64_t found = read_numbers(line, r->data + r->words * (size_t)r->dim, r->dim);
    if (found == r->dim && is_word_with_number(line)) found++;
    if (found != r->dim || !*line) return wrong_line(r, found);
    if (fv__map_get(r->seen, line, strlen(line), -1) >= 0) {
        r->twice++;
        return FV_OK;
    }
    FV_TRY(fv__map_set(r->seen, line, strlen(line), 1));
    r->word[r->words++] = line;
    return FV_OK;
}

/* "COUNT WIDTH", or the dim of the first row. */
static fv_status read_width(reader *r, const char *line, bool *header) {
    char *end;
    long long count = strtoll(line, &end, 10), dim = end > line && *end == ' ' ? strtoll(end, &end, 10) : -1;
    *header = dim > 0 && count >= 0 && !end[strspn(end, " \r")];
    r->announced = *header ? count : -1;
    r->dim = *header ? dim : count_numbers(line);
    if (r->dim >= 1 && r->dim <= 65536) return FV_OK;
    return fv__fail(FV_BAD_DATA,
                    "%s:1: the first line\n  expected a word and its numbers, or \"COUNT WIDTH\"\n  found:   neither",
                    r->path);
}

static fv_status read_lines(reader *r, char *text) {
    for (char *at = text, *end; *at; at = end) {
        bool header = false;
        end = at + strcspn(at, "\n");
        if (*end) *end++ = 0;
        r->line++;
        if (r->line == 1) FV_TRY(read_width(r, at, &header));
        if (!header) FV_TRY(add_line(r, at));
    }
    if (!r->words)
        return fv__fail(FV_BAD_DATA, "%s: vectors\n  expected a word and its numbers on a line\n  found:   none",
                        r->path);
    if (r->announced >= 0 && r->announced != (int64_t)r->words + r->twice)
        fv__log(FV_LOG_WARN, "%s: the first line announces %lld words, but there are %lld: was the file cut short?",
                r->path, (long long)r->announced, (long long)((int64_t)r->words + r->twice));
    if (r->twice)
        fv__log(FV_LOG_WARN, "%s: %lld words are there twice; the first vector counts", r->path, (long long)r->twice);
    return FV_OK;
}

static fv_status load_text(fv_vectors **vectors, const char *path, const fv__file *file) {
    reader r = {.path = path};
    size_t valid = fv__utf8_valid(file->data, file->size);
    if (valid < file->size || memchr(file->data, 0, file->size))
        return fv__fail(
            FV_BAD_DATA,
            "%s: not a file of vectors\n  expected safetensors, or the text format of word2vec or fastText (.vec)\n"
            "  found:   bytes that are no text in UTF-8\n  try:     convert a binary file with the program that wrote "
            "it",
            path);
    char *text = fv__alloc(file->size + 1);
    fv_status status = text ? fv__map_create(&r.seen) : FV_NO_RESOURCES;
    if (status == FV_OK) {
        memcpy(text, file->data, file->size);
        status = read_lines(&r, text);
    }
    if (status == FV_OK) {
        status = fv__vectors_build(vectors, r.data, (int64_t)r.words, r.dim, r.word);
        r.data = NULL;
    }
    fv__free(r.data);
    fv__free(r.word);
    fv__map_free(r.seen);
    fv__free(text);
    return status;
}

/* A safetensors file begins with the length of its header, whose ninth byte is "{". */
fv_status fv_vectors_load(fv_vectors **vectors, const char *path) {
    fv__file file;
    *vectors = NULL;
    FV_TRY(fv__file_read(&file, path));
    bool tensors = file.size > 8 && file.data[8] == '{' && !file.data[7];
    fv_status status = tensors ? FV_OK : load_text(vectors, path, &file);
    fv__file_free(&file);
    return tensors ? load_tensors(vectors, path) : status;
}
