/* Renderers: the same bytes every time, data that never becomes markup or a terminal's command, pages within their budget whose
 * blocks say what the weights were. */
#define _GNU_SOURCE /* memmem */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/text.h"
#include "explain/blocks.h"
#include "explain/canvas.h"
#include "explain/page.h"
#include "io/json.h"
#include "io/pack.h"
#include "scratch.h"

#include <math.h>
#include <png.h>

/* ---- explanations to draw ------------------------------------------------------------------------------------------- */

static const char hostile[] = "</script><script>alert(1)</script> <!-- & \"quoted\" 'q' ]]> \x1b[31mred\x07 \xE2\x80\xA8 \xE2\x80\xAE"
                              "evil <svg onload=alert(2)> %s%n";

/* `tokens` words of nine letters ("w00000017 "), two layers of four heads with different habits. */
static fv_explanation *many_words(int64_t tokens, int32_t layers, int32_t heads) {
    fv_explanation *e;
    fv__buf text = {0};
    fv_explain_token *token = calloc((size_t)tokens, sizeof *token);
    float *w = calloc((size_t)(tokens * tokens), sizeof *w), *a = calloc((size_t)tokens, sizeof *a);
    for (int64_t i = 0; i < tokens; i++) {
        token[i] = (fv_explain_token){"piece", 10 * i, 10 * i + 9, (int32_t)(i / 2 * 2 + i % 2), false};
        fv__buf_printf(&text, "w%08d ", (int)i);
        a[i] = (float)(i % 7 - 3);
    }
    assert_int_equal(fv_explanation_create(&e, "many", "model"), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "games", .9, 2), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "net", .1, 0), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", text.data, text.size, token, tokens, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_map(e, "self", "Self-attention", 0, 0, true, false, NULL), FV_OK);
    for (int32_t n = 0; n < layers * heads; n++) {
        for (int64_t i = 0; i < tokens; i++) {
            double sum = 0;
            for (int64_t j = 0; j < tokens; j++) {
                double x = fv__random_normal(5, (uint64_t)n, (uint64_t)(i * tokens + j)) + (n % 2 && j == i - 1 ? 8 : 0);
                sum += w[i * tokens + j] = (float)exp(x);
            }
            for (int64_t j = 0; j < tokens; j++) w[i * tokens + j] /= (float)sum;
        }
        assert_int_equal(fv_explanation_add_head(e, 0, n / heads, n % heads, NULL, NULL, w), FV_OK);
    }
    assert_int_equal(fv_explanation_combine(e, 0), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "attention", "Attention", "", 0, -1, false, w), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "gradient-attention", "Gradient x attention", "", 0, 0, true, a), FV_OK);
    fv__buf_free(&text);
    free(token);
    free(w);
    free(a);
    return e;
}

/* Every text in it is hostile, the tokens are whole and cut pieces of it. */
static fv_explanation *all_hostile(void) {
    fv_explanation *e;
    const size_t size = sizeof hostile - 1;
    const fv_explain_token token[3] = {{hostile, 0, 0, -1, true}, {hostile, 0, 30, 0, false}, {hostile, 30, (int64_t)size, 1, false}};
    const float w[9] = {.5f, .25f, .25f, 0, 1, 0, .1f, .2f, .7f}, a[3] = {.2f, .3f, .5f};
    assert_int_equal(fv_explanation_create(&e, hostile, hostile), FV_OK);
    e->kind = fv__explain_text(e, hostile, size);
    e->attention = e->kind;
    assert_int_equal(fv_explanation_add_note(e, hostile, hostile), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, hostile, .7, 1), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "net", .3, 1), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, hostile, hostile, size, token, 3, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_map(e, "self", hostile, 0, 0, true, false, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_head(e, 0, 0, 0, NULL, NULL, w), FV_OK);
    assert_int_equal(fv_explanation_add_head(e, 0, 0, 1, "mean", hostile, w), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "attention", hostile, hostile, 0, 0, true, a), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "gradient-attention", hostile, hostile, 0, -1, true, a), FV_OK);
    return e;
}

static fv_status collect(void *context, const void *bytes, size_t count) {
    fv__buf_add(context, bytes, count);
    return FV_OK;
}

/* `settings` is name, value, ..., NULL. */
static fv__buf rendered(const fv_explanation *e, const char *renderer, const char *const *settings) {
    fv_render_options o;
    fv__buf out = {0};
    fv_options_init(fv_render_option_rows(), &o);
    for (; settings && *settings; settings += 2)
        assert_int_equal(fv_options_set(fv_render_option_rows(), &o, settings[0], settings[1]), FV_OK);
    assert_int_equal(fv_render(e, renderer, &o, collect, &out), FV_OK);
    assert_false(out.failed);
    assert_true(out.size > 0);
    return out;
}
#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- all renderers -------------------------------------------------------------------------------------------------- */

static void the_same_bytes_every_time(void **state) {
    (void)state;
    const fv_renderer *r;
    int count = 0;
    fv_explanation *first = many_words(40, 2, 4), *second = many_words(40, 2, 4);
    for (; (r = fv_renderer_at(count)); count++) {
        fv_set_threads(1);
        fv__buf a = rendered(first, r->name, NULL);
        fv_set_threads(2);
        fv__buf b = rendered(second, r->name, NULL);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        assert_ptr_equal(fv_renderer_find(r->name), r);
        fv__buf_free(&a);
        fv__buf_free(&b);
    }
    assert_int_equal(count, 5);
    fv_set_threads(0);
    fv_explanation_free(first);
    fv_explanation_free(second);
}

static void renderers_are_found_by_ending(void **state) {
    (void)state;
    assert_string_equal(fv_renderer_find("a/b.page.HTML")->name, "html");
    assert_string_equal(fv_renderer_find("x.htm")->name, "html");
    assert_string_equal(fv_renderer_find("x.svg")->name, "svg");
    assert_null(fv_renderer_find("x.jpeg"));
    assert_null(fv_renderer_find(".png"));
    assert_null(fv_renderer_find("png.gif"));
    fv_explanation *e = many_words(4, 1, 1);
    assert_int_equal(fv_render_file(e, "/nowhere/x.gif", NULL), FV_USAGE);
    assert_non_null(strstr(fv_message(), ".txt .html .png .svg .npy"));
    fv_explanation_free(e);
}

static fv_status full(void *context, const void *bytes, size_t count) {
    (void)bytes;
    size_t *left = context;
    if (count > *left) return FV_NO_RESOURCES;
    *left -= count;
    return FV_OK;
}

static void a_full_receiver_stops_the_rendering(void **state) {
    (void)state;
    fv_explanation *e = many_words(20, 1, 2);
    for (int i = 0; fv_renderer_at(i); i++) {
        size_t left = 100;
        assert_int_equal(fv_render(e, fv_renderer_at(i)->name, NULL, full, &left), FV_NO_RESOURCES);
    }
    fv_explanation_free(e);
}

/* Whatever call fails, the file that was there stays. */
static void a_failed_file_leaves_the_old_one(void **state) {
    (void)state;
    fv_explanation *e = many_words(12, 1, 2);
    const char *path = scratch_file("page.html", "old", 3);
    int64_t failures = 0;
    for (int64_t n = 1; n < 100; n++) {
        fv__inject(FV_DOOR_FILE, n, false);
        fv_status status = fv_render_file(e, path, NULL);
        fv__inject(FV_DOOR_FILE, 0, false);
        if (status == FV_OK) break;
        failures++;
        assert_true(scratch_holds(path, "old", 3) || failures > 1);
        assert_int_equal(scratch_count(), 1);
    }
    assert_true(failures > 0 && !scratch_holds(path, "old", 3));
    unlink(path);
    fv_explanation_free(e);
}

static void running_out_of_memory_is_reported(void **state) {
    (void)state;
    fv_explanation *e = many_words(6, 1, 2);
    for (int i = 0; fv_renderer_at(i); i++) {
        int64_t n = 1;
        for (fv_status status = FV_FAIL; status != FV_OK; n++) {
            fv__buf out = {0};
            size_t room = 100000000;
            fv__inject(FV_DOOR_ALLOC, n, false);
            status = fv_render(e, fv_renderer_at(i)->name, NULL, full, &room);
            fv__inject(FV_DOOR_ALLOC, 0, false);
            if (status != FV_OK) assert_int_equal(status, FV_NO_RESOURCES);
            fv__buf_free(&out);
        }
        assert_true(n > 3);
    }
    fv_explanation_free(e);
}

/* Models without attention give words with bars. */
static void without_maps_there_are_still_pictures(void **state) {
    (void)state;
    const fv_explain_token token[2] = {{"", 0, 4, 0, false}, {"", 5, 9, 1, false}};
    const float a[2] = {.75f, -.5f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_create(&e, "t", "bayes"), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "games", 1, 1), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "good evil", 9, token, 2, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "contribution", "Contribution", "", 0, 0, true, a), FV_OK);
    fv__buf svg = rendered(e, "svg", NULL), text = rendered(e, "terminal", SET("colors", "ascii")), npy = rendered(e, "npy", NULL);
    assert_non_null(strstr(svg.data, ">evil</text>"));
    assert_non_null(strstr(svg.data, ">+0.750</text>"));
    assert_non_null(strstr(text.data, "evil"));
    assert_non_null(strstr(text.data, "-0.500"));
    assert_memory_equal(npy.data + npy.size - 8, a, 8);
    fv__buf png = rendered(e, "png", NULL), html = rendered(e, "html", NULL);
    fv_render_options o;
    fv_options_init(fv_render_option_rows(), &o);
    o.matrix = "rollout";
    size_t room = 1 << 20;
    assert_int_equal(fv_render(e, "svg", &o, full, &room), FV_USAGE);
    fv__buf *const all[] = {&svg, &text, &npy, &png, &html};
    for (int i = 0; i < 5; i++) fv__buf_free(all[i]);
    fv_explanation_free(e);
}

/* ---- hostile texts ---------------------------------------------------------------------------------------------------- */

/* In the payload every `<` opens or closes an element of ours. */
static void nothing_hostile_in_the_page(void **state) {
    (void)state;
    fv_explanation *e = all_hostile();
    fv__buf page = rendered(e, "html", NULL);
    const char *at = page.data + fv__page_part_before().size, *end = page.data + page.size - fv__page_part_after().size;
    int opened = 0, closed = 0;
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        assert_true(c >= 32 || c == '\n');
        assert_false(c == 0xE2 && (unsigned char)at[1] == 0x80 && ((unsigned char)at[2] == 0xA8 || (unsigned char)at[2] == 0xA9));
        if (c != '<') continue;
        bool open = !strncmp(at, "<script type=\"application/json\" id=\"fv-meta\">", 45) ||
                    !strncmp(at, "<script type=\"text/plain\" id=\"fv-", 33);
        bool close = !strncmp(at, "</script>\n", 10);
        assert_true(open || close);
        opened += open;
        closed += close;
    }
    assert_int_equal(opened, closed);
    assert_true(opened > 1);
    assert_null(strstr(page.data, "<script>alert(1)"));
    fv__buf_free(&page);
    fv_explanation_free(e);
}

static void nothing_hostile_in_svg(void **state) {
    (void)state;
    static const char *const known[] = {"<svg xmlns", "</svg>", "<title>", "</title>", "<rect ", "<text ", "</text>", "<path "};
    fv_explanation *e = all_hostile();
    fv__buf svg = rendered(e, "svg", NULL);
    int svgs = 0;
    for (size_t i = 0; i < svg.size; i++) {
        unsigned char c = (unsigned char)svg.data[i];
        assert_true(c >= 32 || c == '\n');
        if (c == '&') assert_true(svg.data[i + 1] == '#');
        if (c != '<') continue;
        bool ours = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) ours |= !strncmp(svg.data + i, known[k], strlen(known[k]));
        assert_true(ours);
        svgs += !strncmp(svg.data + i, "<svg", 4);
    }
    assert_int_equal(svgs, 1);
    assert_non_null(strstr(svg.data, "&#60;/script"));
    fv__buf_free(&svg);
    fv_explanation_free(e);
}

/* Every escape is one of ours: ESC [ digits and semicolons m. */
static void nothing_hostile_on_the_terminal(void **state) {
    (void)state;
    static const char *const modes[] = {"truecolor", "256", "ascii"};
    fv_explanation *e = all_hostile();
    for (int m = 0; m < 3; m++) {
        fv__buf out = rendered(e, "terminal", SET("colors", modes[m], "columns", "100"));
        int escapes = 0;
        for (size_t i = 0; i < out.size; i++) {
            unsigned char c = (unsigned char)out.data[i];
            if (c == 0x1b) {
                size_t digits = strspn(out.data + i + 2, "0123456789;");
                assert_true(out.data[i + 1] == '[' && out.data[i + 2 + digits] == 'm');
                assert_true(strncmp(out.data + i, "\x1b[31m", 5) != 0);
                escapes++;
            } else {
                assert_true(c >= 32 || c == '\n');
            }
        }
        assert_null(strstr(out.data, "\xE2\x80\xAE")); /* right-to-left override */
        assert_true(m == 2 ? escapes == 0 : escapes > 10);
        fv__buf_free(&out);
    }
    fv_explanation_free(e);
}

/* ---- terminal --------------------------------------------------------------------------------------------------------- */

/* Columns of the widest line, escapes not counted. */
static int64_t widest_line(const fv__buf *out) {
    int64_t widest = 0;
    fv__buf line = {0};
    for (size_t i = 0; i < out->size; i++) {
        if (out->data[i] == 0x1b) {
            while (out->data[i] != 'm') i++;
        } else if (out->data[i] != '\n') {
            fv__buf_add(&line, out->data + i, 1);
        } else {
            int64_t columns = fv__text_columns(line.data ? line.data : "", line.size);
            widest = columns > widest ? columns : widest;
            line.size = 0;
        }
    }
    fv__buf_free(&line);
    return widest;
}

static void the_terminal_obeys_its_width(void **state) {
    (void)state;
    static const char *const widths[] = {"20", "21", "27", "28", "40", "71", "72", "73", "100", "200"};
    static const char *const modes[] = {"ascii", "truecolor"};
    fv_explanation *cases[] = {many_words(8, 1, 2), many_words(130, 2, 4), many_words(450, 1, 1), all_hostile()};
    for (int c = 0; c < 4; c++) {
        for (int w = 0; w < 10; w++)
            for (int m = 0; m < 2; m++) {
                fv__buf out = rendered(cases[c], "terminal", SET("columns", widths[w], "colors", modes[m]));
                assert_in_range(widest_line(&out), 10, atoi(widths[w]));
                fv__buf_free(&out);
            }
        fv_explanation_free(cases[c]);
    }
}

static void the_environment_chooses_colours(void **state) {
    (void)state;
    static const struct { const char *no, *term, *depth, *expected; } cases[] = {
        {NULL, "xterm-256color", NULL, "\x1b[48;5;"}, {NULL, "xterm-256color", "truecolor", "\x1b[48;2;"},
        {"1", "xterm-256color", "truecolor", NULL},   {"", "xterm-256color", "truecolor", "\x1b[48;2;"},
        {NULL, "dumb", "truecolor", NULL},            {NULL, NULL, "truecolor", NULL}};
    fv_explanation *e = many_words(8, 1, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const value[] = {"NO_COLOR", cases[i].no, "TERM", cases[i].term, "COLORTERM", cases[i].depth};
        for (int k = 0; k < 6; k += 2) value[k + 1] ? setenv(value[k], value[k + 1], 1) : unsetenv(value[k]);
        fv__buf out = rendered(e, "terminal", NULL);
        if (cases[i].expected)
            assert_non_null(strstr(out.data, cases[i].expected));
        else
            assert_null(memchr(out.data, 0x1b, out.size));
        fv__buf_free(&out);
    }
    unsetenv("NO_COLOR");
    setenv("COLUMNS", "33", 1);
    fv__buf out = rendered(e, "terminal", SET("colors", "ascii"));
    assert_in_range(widest_line(&out), 25, 33);
    unsetenv("COLUMNS");
    fv__buf_free(&out);
    fv_explanation_free(e);
}

/* The darkest mark of the ramp is where the largest weight is. */
static void the_ascii_matrix_marks_the_largest_weight(void **state) {
    (void)state;
    const float w[9] = {.8f, .1f, .1f, .1f, .1f, .8f, .99f, .01f, 0};
    const char *labels[3] = {"ant", "bee", "cow"};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 3, 3, labels, NULL), FV_OK);
    fv__buf out = rendered(e, "terminal", SET("colors", "ascii", "columns", "40", "matrix", "0:0", "scale", "linear"));
    assert_non_null(strstr(out.data, "           a b c\n           n e o\n           t e w\n"));
    assert_non_null(strstr(out.data, "ant        ##....\n"));
    assert_non_null(strstr(out.data, "cow        @@\n"));
    fv__buf_free(&out);
    fv_explanation_free(e);
}

/* ---- pictures --------------------------------------------------------------------------------------------------------- */

static void the_png_is_the_picture(void **state) {
    (void)state;
    const float w[4] = {1, 0, .25f, .75f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 2, 2, NULL, NULL), FV_OK);
    fv__buf png = rendered(e, "png", SET("matrix", "0:0", "cell", "20"));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, png.data, png.size));
    image.format = PNG_FORMAT_RGB;
    unsigned char *pixel = malloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, pixel, 0, NULL));
    fv_render_options o;
    fv_options_init(fv_render_option_rows(), &o);
    o.matrix = "0:0", o.cell = 20;
    fv__figure f;
    assert_int_equal(fv__figure_make(&f, e, &o), FV_OK);
    assert_int_equal(image.width, 2 * f.width);
    assert_int_equal(image.height, 2 * f.height);
    for (int i = 0; i < 4; i++) { /* the middle of each cell has the colour of its shade */
        int64_t x = 2 * (f.left + 20 * (i % 2) + 10), y = 2 * (f.top + 20 * (i / 2) + 10);
        fv__rgb color = fv__shade_color(sqrt(w[i]));
        assert_memory_equal(pixel + (y * image.width + x) * 3, &color, 3);
    }
    fv__figure_free(&f);
    free(pixel);
    fv__buf_free(&png);
    fv_explanation_free(e);
}

static void shades_are_monotone(void **state) {
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2)
        for (int i = 1; i <= 200; i++) {
            fv__rgb a = fv__shade_color(sign * (i - 1) / 200.0), b = fv__shade_color(sign * i / 200.0);
            assert_true(a.r + a.g + a.b >= b.r + b.g + b.b);
        }
    assert_true(fv__shade(FV_SCALE_SQRT, .25, 1) == .5 && fv__shade(FV_SCALE_LINEAR, .25, .5) == .5);
    assert_true(fabs(fv__shade(FV_SCALE_LOG, .01, 1) - .5) < 1e-12 && fv__shade(FV_SCALE_LOG, 1e-9, 1) == 0);
}

/* A long text is binned, and the diagonal survives because a bin shows its largest weight. */
static void long_texts_are_binned(void **state) {
    (void)state;
    enum { N = 1700 };
    float *w = calloc((size_t)N * N, sizeof *w);
    for (int i = 0; i < N; i++) w[i * N + i] = 1;
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, N, N, NULL, NULL), FV_OK);
    fv_render_options o;
    fv_options_init(fv_render_option_rows(), &o);
    fv__figure f;
    assert_int_equal(fv__figure_make(&f, e, &o), FV_OK);
    assert_int_equal(f.bin, 2);
    assert_int_equal(f.rows, N / 2);
    fv__buf svg = rendered(e, "svg", SET("matrix", "0:0"));
    int runs = 0;
    for (const char *at = strstr(svg.data, "fill=\"#00278a\" d=\""); at && *at != '/'; at++) runs += *at == 'M';
    assert_int_equal(runs, N / 2);
    fv__buf_free(&svg);
    fv__figure_free(&f);
    fv_explanation_free(e);
    free(w);
}

static void npy_has_shape_and_numbers(void **state) {
    (void)state;
    fv_explanation *e = many_words(5, 2, 3);
    fv__buf npy = rendered(e, "npy", NULL);
    assert_memory_equal(npy.data, "\x93NUMPY\1\0", 8);
    assert_non_null(strstr(npy.data + 10, "'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 5, 5), }"));
    size_t header = 10 + (size_t)(unsigned char)npy.data[8] + 256 * (size_t)(unsigned char)npy.data[9];
    assert_int_equal(header % 64, 0);
    assert_int_equal(npy.size, header + 2 * 3 * 25 * 4);
    for (size_t h = 0; h < 6; h++) assert_memory_equal(npy.data + header + h * 100, e->map[0].head[h].weight, 100);
    fv__buf_free(&npy);
    fv_explanation_free(e);
}

/* ---- the page --------------------------------------------------------------------------------------------------------- */

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(digits, c, 64);
    return at ? (int)(at - digits) : -1;
}

/* Content of a block, or an empty buffer when the page does not have it. */
static fv__buf block_of(const fv__buf *page, const char *id, bool deflated) {
    char mark[80];
    fv__buf packed = {0}, out = {0};
    snprintf(mark, sizeof mark, "<script type=\"text/plain\" id=\"fv-%s\">", id);
    const char *at = memmem(page->data, page->size, mark, strlen(mark));
    if (!at) return out;
    for (at += strlen(mark); *at != '<' && *at != '='; at += 4) {
        uint32_t bits = 0, have = 0;
        for (int k = 0; k < 4; k++) {
            int digit = base64_digit(at[k]);
            bits = bits << 6 | (uint32_t)(digit < 0 ? 0 : digit);
            have += digit >= 0;
        }
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        fv__buf_add(&packed, bytes, have - 1);
        if (have < 4) break;
    }
    if (!deflated) return packed;
    assert_int_equal(fv__inflate(&out, packed.data, packed.size, 1 << 26), FV_OK);
    fv__buf_free(&packed);
    return out;
}

static fv__json *meta_of(const fv__buf *page) {
    static const char mark[] = "<script type=\"application/json\" id=\"fv-meta\">";
    const char *at = memmem(page->data, page->size, mark, sizeof mark - 1);
    assert_non_null(at);
    at += sizeof mark - 1;
    fv__json *meta = NULL;
    assert_int_equal(fv__json_parse(&meta, at, (size_t)(strstr(at, "</script>") - at), "meta", FV_BAD_DATA), FV_OK);
    return meta;
}

static void the_meta_says_what_is_there(void **state) {
    (void)state;
    fv_explanation *e = many_words(20, 2, 4);
    fv__buf page = rendered(e, "html", NULL);
    fv__json *meta = meta_of(&page);
    assert_string_equal(fv__json_text(fv__json_get(meta, "format")), "fovea-explorer");
    assert_int_equal(fv__json_int(fv__json_get(meta, "version"), 0), 1);
    fv__json *sequence = fv__json_at(fv__json_get(meta, "sequences"), 0), *map = fv__json_at(fv__json_get(meta, "maps"), 0);
    assert_int_equal(fv__json_count(fv__json_get(sequence, "start")), 20);
    assert_int_equal(fv__json_int(fv__json_at(fv__json_get(sequence, "end"), 3), 0), 39);
    assert_int_equal(fv__json_count(fv__json_get(map, "heads")), 8 + 2 + 1);
    assert_int_equal(fv__json_int(fv__json_get(map, "select"), -1), 9); /* mean of the last layer, as the others draw */
    fv__json *stats = fv__json_get(map, "stats");
    for (size_t s = 0; s < fv__json_count(stats); s++)
        assert_int_equal(fv__json_count(fv__json_get(fv__json_at(stats, s), "values")), 11);
    assert_int_equal(fv__json_count(fv__json_get(fv__json_at(fv__json_get(meta, "attributions"), 1), "values")), 20);
    assert_int_equal(fv__json_int(fv__json_path(meta, "prediction.predicted"), -1), 0);
    fv__json_free(meta);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

/* Hundreds of classes: the probable ones, and those something speaks about. */
static void few_of_many_classes_are_sent(void **state) {
    (void)state;
    fv_explanation *e;
    const float a[1] = {1};
    const fv_explain_token token = {"x", 0, 1, 0, false};
    assert_int_equal(fv_explanation_create(&e, "t", "m"), FV_OK);
    for (int c = 0; c < 300; c++) assert_int_equal(fv_explanation_add_class(e, c == 7 ? "rare" : "c", c == 7 ? 0 : 1 / 299.0, 0), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "x", 1, &token, 1, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "g", "G", "", 0, 7, true, a), FV_OK);
    fv__buf page = rendered(e, "html", NULL);
    fv__json *meta = meta_of(&page), *classes = fv__json_path(meta, "prediction.classes");
    assert_int_equal(fv__json_count(classes), 21);
    int64_t spoken = fv__json_int(fv__json_get(fv__json_at(fv__json_get(meta, "attributions"), 0), "class"), -1);
    assert_string_equal(fv__json_text(fv__json_get(fv__json_at(classes, (size_t)spoken), "name")), "rare");
    assert_int_equal(fv__json_int(fv__json_path(meta, "prediction.omitted"), 0), 279);
    assert_true(fabs(fv__json_float(fv__json_path(meta, "prediction.omitted_probability"), 0) - 279 / 299.0) < 1e-5);
    fv__json_free(meta);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

static void small_maps_travel_exactly(void **state) {
    (void)state;
    fv_explanation *e = many_words(20, 2, 4);
    for (int compressed = 0; compressed < 2; compressed++) {
        fv__buf page = rendered(e, "html", SET("compress", compressed ? "true" : "false"));
        for (int n = 0; n < 11; n++) {
            char id[40];
            snprintf(id, sizeof id, "exact-0-%d", n);
            fv__buf block = block_of(&page, id, compressed);
            assert_int_equal(block.size, 1600);
            assert_memory_equal(block.data, e->map[0].head[n].weight, 1600);
            fv__buf_free(&block);
        }
        fv__buf_free(&page);
    }
    fv_explanation_free(e);
}

static void whole_blocks_keep_their_promise(void **state) {
    (void)state;
    enum { N = 200 };
    fv_explanation *e = many_words(N, 2, 4);
    fv__buf page = rendered(e, "html", NULL);
    for (int n = 0; n < 11; n++) {
        char id[40];
        snprintf(id, sizeof id, "full-0-%d", n);
        fv__buf block = block_of(&page, id, true);
        assert_int_equal(block.size, N * 4 + N * N);
        for (int i = 0; i < N; i++) {
            float max;
            memcpy(&max, block.data + i * 4, 4);
            for (int j = 0; j < N; j++) {
                double c = (unsigned char)block.data[N * 4 + i * N + j] / 255.0, p = e->map[0].head[n].weight[i * N + j];
                assert_true(fabs(max * c * c - p) <= 0.004 * max);
            }
        }
        fv__buf_free(&block);
    }
    fv__buf exact = block_of(&page, "exact-0-9", true);
    assert_int_equal(exact.size, N * N * 4);
    fv__buf_free(&exact);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

/* The heaviest keys of each row in falling order, and what they leave out. */
static void check_top(const char *block, const float *weight, int n, int top) {
    const float *rowmax = (const float *)(const void *)block, *rest = rowmax + n, *entropy = rest + n;
    const uint16_t *key = (const uint16_t *)(const void *)(entropy + n);
    const unsigned char *code = (const unsigned char *)(key + n * top);
    for (int i = 0; i < n; i++) {
        const float *row = weight + i * n;
        double kept = 0, bits = 0, total = 0;
        for (int j = 0; j < n; j++) total += row[j], bits -= row[j] > 0 ? row[j] * log2(row[j]) : 0;
        for (int k = 0; k < top; k++) {
            double c = code[i * top + k] / 255.0, p = row[key[i * top + k]];
            assert_true(fabs(rowmax[i] * c * c - p) <= 0.004 * rowmax[i]);
            if (k > 0) assert_true(p <= row[key[i * top + k - 1]]);
            kept += p;
        }
        int heavier = 0;
        for (int j = 0; j < n; j++) heavier += row[j] > row[key[i * top + top - 1]];
        assert_true(heavier < top);
        assert_true(fabs(kept + rest[i] - total) < 1e-5 && fabs(entropy[i] - bits) < 1e-3);
    }
}

static void a_page_keeps_its_budget(void **state) {
    (void)state;
    enum { N = 220 };
    static const char *const budgets[] = {"650K", "900K", "16M"};
    fv_explanation *e = many_words(N, 4, 4);
    size_t before = 0;
    for (int b = 0; b < 3; b++) {
        fv__buf page = rendered(e, "html", SET("max-size", budgets[b], "full", "3:2"));
        size_t limit;
        assert_int_equal(fv__parse_bytes(budgets[b], &limit), FV_OK);
        assert_in_range(page.size, before, limit);
        before = page.size;
        fv__buf asked = block_of(&page, "full-0-14", true), selected = block_of(&page, "full-0-19", true);
        assert_int_equal(asked.size, N * 4 + N * N);
        assert_int_equal(selected.size, N * 4 + N * N);
        fv__buf top = block_of(&page, "top-0-1", true), last = block_of(&page, "full-0-20", true);
        if (b == 2)
            assert_true(top.size == 0 && last.size > 0);
        else {
            assert_int_equal(top.size, N * 12 + N * 16 * 3);
            check_top(top.data, e->map[0].head[1].weight, N, 16);
            fv__buf thumb = block_of(&page, "thumb-0", true);
            assert_int_equal(thumb.size, 21 * 64 * 64);
            fv__buf_free(&thumb);
        }
        if (b == 0) assert_int_equal(last.size, 0);
        fv__buf *const all[] = {&asked, &selected, &top, &last, &page};
        for (int i = 0; i < 5; i++) fv__buf_free(all[i]);
    }
    fv_explanation_free(e);
}

/* Max-pooled: a line one token wide is still there, at every place of its way. */
static void thumbnails_keep_thin_lines(void **state) {
    (void)state;
    enum { N = 150 };
    static float w[N * N];
    for (int i = 0; i < N; i++) w[i * N + (i > 0 ? i - 1 : 0)] = i % 2 ? 1 : .25f;
    fv__buf thumb = {0};
    fv__block_thumb(&thumb, w, N, N, 64, 64);
    assert_int_equal(thumb.size, 64 * 64);
    for (int i = 0; i < N; i++) {
        int r = -1, c = -1, j = i > 0 ? i - 1 : 0;
        for (int k = 0; k < 64; k++) {
            if (k * N / 64 <= i && i < (k + 1) * N / 64) r = k;
            if (k * N / 64 <= j && j < (k + 1) * N / 64) c = k;
        }
        assert_true((unsigned char)thumb.data[r * 64 + c] >= 128);
    }
    fv__buf_free(&thumb);
}

static void sizes_are_read_with_units(void **state) {
    (void)state;
    static const struct { const char *text; size_t bytes; } good[] = {{"0", 0}, {"123", 123}, {"800K", 819200}, {"16M", 16 << 20}, {"2gb", (size_t)2 << 30}, {"1kB", 1024}};
    static const char *const bad[] = {"", "M", "1.5M", "-1", "16X", "16MM", "99999999999999999999", "9999999999999G"};
    size_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(fv__parse_bytes(good[i].text, &bytes), FV_OK);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(fv__parse_bytes(bad[i], &bytes), FV_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_every_time),
        cmocka_unit_test(renderers_are_found_by_ending),
        cmocka_unit_test(a_full_receiver_stops_the_rendering),
        cmocka_unit_test(a_failed_file_leaves_the_old_one),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(without_maps_there_are_still_pictures),
        cmocka_unit_test(nothing_hostile_in_the_page),
        cmocka_unit_test(nothing_hostile_in_svg),
        cmocka_unit_test(nothing_hostile_on_the_terminal),
        cmocka_unit_test(the_terminal_obeys_its_width),
        cmocka_unit_test(the_environment_chooses_colours),
        cmocka_unit_test(the_ascii_matrix_marks_the_largest_weight),
        cmocka_unit_test(the_png_is_the_picture),
        cmocka_unit_test(shades_are_monotone),
        cmocka_unit_test(long_texts_are_binned),
        cmocka_unit_test(npy_has_shape_and_numbers),
        cmocka_unit_test(the_meta_says_what_is_there),
        cmocka_unit_test(few_of_many_classes_are_sent),
        cmocka_unit_test(small_maps_travel_exactly),
        cmocka_unit_test(whole_blocks_keep_their_promise),
        cmocka_unit_test(a_page_keeps_its_budget),
        cmocka_unit_test(thumbnails_keep_thin_lines),
        cmocka_unit_test(sizes_are_read_with_units),
    };
    return cmocka_run_group_tests_name("explain_render", tests, scratch_make, scratch_remove);
}
