/* Renderers: the same bytes every time, data that never becomes markup or a terminal's command, widths that are
 * obeyed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/text.h"
#include "explain/canvas.h"
#include "explain_case.h"
#include "support/scratch.h"

#include <png.h>

/* ---- all renderers */

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
    assert_int_equal(count, 6);
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
    assert_non_null(strstr(fv_message(), ".txt .html .png .svg .pdf .npy"));
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
        fv__inject(FV_FAULT_FILE, n, false);
        fv_status status = fv_render_file(e, path, NULL);
        fv__inject(FV_FAULT_FILE, 0, false);
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
            fv__inject(FV_FAULT_ALLOC, n, false);
            status = fv_render(e, fv_renderer_at(i)->name, NULL, full, &room);
            fv__inject(FV_FAULT_ALLOC, 0, false);
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
    fv__buf svg = rendered(e, "svg", NULL), text = rendered(e, "terminal", SET("colors", "ascii")),
            npy = rendered(e, "npy", NULL);
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
    fv__buf pdf = rendered(e, "pdf", NULL);
    assert_memory_equal(pdf.data, "%PDF-1.", 7);
    fv__buf *const all[] = {&svg, &text, &npy, &png, &html, &pdf};
    for (int i = 0; i < 6; i++) fv__buf_free(all[i]);
    fv_explanation_free(e);
}

/* ---- hostile texts */

static void nothing_hostile_in_svg(void **state) {
    (void)state;
    static const char *const known[] = {"<svg xmlns", "</svg>", "<title>", "</title>",
                                        "<rect ",     "<text ", "</text>", "<path "};
    fv_explanation *e = all_hostile();
    fv__buf svg = rendered(e, "svg", NULL);
    int svgs = 0;
    for (size_t i = 0; i < svg.size; i++) {
        unsigned char c = (unsigned char)svg.data[i];
        assert_true(c >= 32 || c == '\n');
        if (c == '&') assert_true(svg.data[i + 1] == '#');
        if (c != '<') continue;
        bool ours = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            ours |= !strncmp(svg.data + i, known[k], strlen(known[k]));
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

/* ---- terminal */

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
            int64_t columns = fv_text_columns(line.data ? line.data : "", line.size);
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
    static const struct {
        const char *no, *term, *depth, *expected;
    } cases[] = {{NULL, "xterm-256color", NULL, "\x1b[48;5;"},
                 {NULL, "xterm-256color", "truecolor", "\x1b[48;2;"},
                 {"1", "xterm-256color", "truecolor", NULL},
                 {"", "xterm-256color", "truecolor", "\x1b[48;2;"},
                 {NULL, "dumb", "truecolor", NULL},
                 {NULL, NULL, "truecolor", NULL}};
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
    assert_non_null(strstr(out.data, "ant        ##\n"));
    assert_non_null(strstr(out.data, "cow        @@\n"));
    fv__buf_free(&out);
    fv_explanation_free(e);
}

/* Every line of a matrix has its cells in the same columns, whatever the width of the captions. */
static void wide_captions_keep_the_columns(void **state) {
    (void)state;
    const float w[9] = {.9f, .05f, .05f, .05f, .9f, .05f, .05f, .05f, .9f};
    const char *labels[3] = {"ab", "\xE4\xBD\xA0\xE5\xA5\xBD", "\xF0\x9F\x98\x80"};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 3, 3, labels, NULL), FV_OK);
    fv__buf out = rendered(e, "terminal", SET("colors", "ascii", "columns", "40", "matrix", "0:0", "scale", "linear"));
    assert_non_null(strstr(out.data,
                           "           a \xE4\xBD\xA0\n" /* letters, not columns, make a tower */
                           "           b \xE5\xA5\xBD\xF0\x9F\x98\x80\n"
                           "ab         %%\n"
                           "\xE4\xBD\xA0\xE5\xA5\xBD         %%\n"
                           "\xF0\x9F\x98\x80             %%\n"));
    fv__buf_free(&out);
    fv_explanation_free(e);
}

/* ---- pictures */

static int warnings;
static void count_warnings(void *context, fv_log_level level, const char *line) {
    (void)context;
    (void)line;
    warnings += level == FV_LOG_WARN;
}

static unsigned char *pixels_of(const fv__buf *png, png_image *image) {
    *image = (png_image){.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(image, png->data, png->size));
    image->format = PNG_FORMAT_RGB;
    unsigned char *pixel = malloc(PNG_IMAGE_SIZE(*image));
    assert_true(png_image_finish_read(image, NULL, pixel, 0, NULL));
    return pixel;
}

static void the_png_is_the_picture(void **state) {
    (void)state;
    const float w[4] = {1, 0, .25f, .75f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 2, 2, NULL, NULL), FV_OK);
    fv__buf png = rendered(e, "png", SET("matrix", "0:0", "cell", "20"));
    png_image image;
    unsigned char *pixel = pixels_of(&png, &image);
    fv_render_options o;
    fv_options_init(fv_render_option_rows(), &o);
    o.matrix = "0:0", o.cell = 20;
    fv__figure f;
    assert_int_equal(fv__figure_make(&f, e, &o), FV_OK);
    assert_int_equal(image.width, 2 * f.width);
    assert_int_equal(image.height, 2 * f.height);
    for (int i = 0; i < 4; i++) { /* the middle of each cell has the colour of its shade */
        int64_t x = 2 * (f.left + 20 * (i % 2) + 10), y = 2 * (f.top + 20 * (i / 2) + 10);
        fv__rgb color = fv__shade_color(fv__tone_shade(&f.tone, fv__tone_unit(&f.tone, i / 2), i % 2, w[i]));
        assert_memory_equal(pixel + (y * image.width + x) * 3, &color, 3);
    }
    fv__figure_free(&f);
    free(pixel);
    fv__buf_free(&png);
    fv_explanation_free(e);
}

/* Every script has letters: two words of one length in another script never give the same picture, as boxes did. */
static void pictures_have_every_script(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"\xC3\xA9t\xC3\xA9", "\xC3\xA8t\xC3\xA8"},                               /* Latin with accents */
        {"\xE4\xBD\xA0\xE5\xA5\xBD", "\xE4\xB8\x96\xE7\x95\x8C"},                 /* Han */
        {"\xD8\xB3\xD9\x84\xD8\xA7\xD9\x85", "\xD8\xB9\xD8\xA7\xD9\x84\xD9\x85"}, /* Arabic */
        {"\xE0\xA4\xA8\xE0\xA4\xAE", "\xE0\xA4\xA6\xE0\xA4\xB2"},                 /* Devanagari */
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\xA1"},                                 /* emoji */
    };
    const float w[4] = {1, 0, 0, 1};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        fv__buf png[2];
        for (int k = 0; k < 2; k++) {
            const char *labels[2] = {pairs[i][k], "x"};
            fv_explanation *e;
            assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 2, 2, labels, NULL), FV_OK);
            warnings = 0;
            fv_set_log(count_warnings, NULL);
            png[k] = rendered(e, "png", NULL);
            fv_set_log(NULL, NULL);
            assert_int_equal(warnings, 0);
            fv_explanation_free(e);
        }
        assert_true(png[0].size != png[1].size || memcmp(png[0].data, png[1].data, png[0].size) != 0);
        fv__buf_free(&png[0]);
        fv__buf_free(&png[1]);
    }
}

/* A character that no font has is said, not only drawn as a box. */
static void a_missing_font_is_said(void **state) {
    (void)state;
    const float w[1] = {1};
    const char *labels[1] = {"\xF0\x93\x80\x80"}; /* an Egyptian hieroglyph */
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 1, 1, labels, NULL), FV_OK);
    warnings = 0;
    fv_set_log(count_warnings, NULL);
    fv__buf png = rendered(e, "png", NULL);
    fv_set_log(NULL, NULL);
    assert_int_equal(warnings, 1);
    fv__buf_free(&png);
    fv_explanation_free(e);
}

/* Captions are as wide as their letters: i needs less room than W. */
static void captions_are_measured(void **state) {
    (void)state;
    const float w[1] = {1};
    static const char *const label[2] = {"iiiiiiii", "WWWWWWWW"};
    int64_t width[2];
    for (int k = 0; k < 2; k++) {
        fv_explanation *e;
        fv__figure f;
        fv_render_options o;
        fv_options_init(fv_render_option_rows(), &o);
        assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 1, 1, &label[k], NULL), FV_OK);
        assert_int_equal(fv__figure_make(&f, e, &o), FV_OK);
        width[k] = f.query_caption;
        fv__figure_free(&f);
        fv_explanation_free(e);
    }
    assert_true(width[0] > 0 && 2 * width[0] < width[1]);
}

/* Letters that belong together are not parted where a caption is cut, and what joins them is kept. */
static void captions_are_cut_between_letters(void **state) {
    (void)state;
    static const char astronaut[] = "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80"; /* woman, joiner, rocket */
    fv__buf plain = {0}, cut = {0};
    fv__plain_text(&plain, astronaut, sizeof astronaut - 1);
    assert_int_equal(plain.size, sizeof astronaut - 1);
    fv__buf_text(&plain, "abc");
    fv__fit_columns(&cut, plain.data, plain.size, 3);
    assert_int_equal(cut.size, 1); /* "~": the woman alone is not what was written */
    assert_int_equal(fv__cluster(astronaut, sizeof astronaut - 1), sizeof astronaut - 1);
    assert_int_equal(fv__cluster("e\xCC\x81x", 4), 3);
    fv__buf_free(&plain);
    fv__buf_free(&cut);
}

/* No date, no other bytes: a page made again is the same file. */
static void a_pdf_has_a_fixed_date(void **state) {
    (void)state;
    fv_explanation *e = many_words(4, 1, 1);
    fv__buf pdf = rendered(e, "pdf", NULL);
    bool found = false;
    for (size_t i = 0; i + 14 < pdf.size; i++) found |= !memcmp(pdf.data + i, "19700101000000", 14);
    assert_true(found);
    fv__buf_free(&pdf);
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

/* Even attention is pale, whatever the number of keys and with later keys hidden; what stands out is dark. */
static void even_attention_is_pale(void **state) {
    (void)state;
    enum { N = 20 };
    float even[N * N], causal[N * N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            even[i * N + j] = 1.f / N;
            causal[i * N + j] = j <= i ? 1.f / (float)(i + 1) : 0;
        }
    fv_explain_token token[N] = {{0}};
    const fv_explain_sequence key = {.count = N, .token = token};
    for (int s = FV_SCALE_LINEAR; s <= FV_SCALE_LOG; s++) {
        fv__tone a = fv__tone_of((fv__scale)s, true, false, even, N, &key),
                 b = fv__tone_of((fv__scale)s, true, true, causal, N, &key);
        for (int i = 0; i < N; i++) {
            assert_true(fabs(fv__tone_shade(&a, fv__tone_unit(&a, i), i, even[i]) - FV_SHADE_EVEN) < 1e-6);
            assert_true(fabs(fv__tone_shade(&b, fv__tone_unit(&b, i), 0, causal[i * N]) - FV_SHADE_EVEN) < 1e-6);
        }
        even[0] = .9f;
        a = fv__tone_of((fv__scale)s, true, false, even, N, &key);
        double unit = fv__tone_unit(&a, 0);
        assert_true(fv__tone_shade(&a, unit, 0, .9) == 1 && fv__tone_shade(&a, unit, 1, .2) < 1);
        for (int k = 1; k < 100; k++)
            assert_true(fv__tone_shade(&a, unit, 0, k / 100.0) >= fv__tone_shade(&a, unit, 0, (k - 1) / 100.0));
        even[0] = 1.f / N;
    }
}

/* A word of many pieces gets more from a head that looks nowhere: that is even too. */
static void even_attention_is_pale_for_words(void **state) {
    (void)state;
    enum { N = 6 };
    const fv_explain_token token[N] = {{"a", 0, 1, 0, false}, {"b", 1, 2, 0, false}, {"c", 2, 3, 0, false},
                                       {"d", 3, 4, 0, false}, {"e", 5, 6, 1, false}, {"f", 7, 8, 2, false}};
    float w[N * N], a[N];
    for (int i = 0; i < N * N; i++) w[i] = 1.f / N;
    for (int i = 0; i < N; i++) a[i] = 1.f / N;
    fv_explanation *e, *words;
    assert_int_equal(fv_explanation_create(&e, "t", "m"), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "abcd e f", 8, token, N, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_weights(e, "self", "Self-attention", 0, 0, w, 1, 1), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "attention", "Attention", "", 0, -1, false, a), FV_OK);
    assert_int_equal(fv_explanation_words(&words, e), FV_OK);
    const fv_explain_sequence *s = &words->sequence[0];
    const float *row = words->map[0].head[0].weight;
    assert_int_equal(s->count, 3);
    assert_int_equal(s->token[0].pieces, 4);
    fv__tone tone = fv__tone_of(FV_SCALE_SQRT, true, false, row, 3, s),
             share = fv__attribution_tone(FV_SCALE_SQRT, &words->attribution[0], s);
    for (int j = 0; j < 3; j++) {
        assert_true(fabs(fv__tone_shade(&tone, fv__tone_unit(&tone, 0), j, row[j]) - FV_SHADE_EVEN) < 1e-5);
        double value = words->attribution[0].value[j];
        assert_true(fabs(fv__tone_shade(&share, fv__tone_unit(&share, 0), j, value) - FV_SHADE_EVEN) < 1e-5);
    }
    assert_true(fv__nearly_uniform(&words->map[0], &words->map[0].head[0]));
    fv_explanation_free(words);
    fv_explanation_free(e);
}

/* Uniform attention is called so, and something else opens first where there is something else. */
static void nearly_uniform_attention_is_said(void **state) {
    (void)state;
    enum { N = 8 };
    float w[2 * N * N];
    for (int i = 0; i < 2 * N * N; i++) w[i] = 1.f / N;
    fv_explanation *e;
    int map;
    int64_t head;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 2, N, N, NULL, NULL), FV_OK);
    fv__buf text = rendered(e, "terminal", SET("colors", "ascii")), svg = rendered(e, "svg", NULL);
    assert_non_null(strstr(text.data, "Nearly uniform: every key gets about the same"));
    assert_non_null(strstr(svg.data, "nearly uniform attention"));
    assert_null(strstr(svg.data, "fill=\"#00278a\" d=\"M5")); /* nothing dark but the bar of colours */
    fv__buf_free(&text);
    fv__buf_free(&svg);
    fv_explanation_free(e);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) w[i * N + j] = j == 3 ? .3f : .1f; /* head 0 looks somewhere, the mean hardly */
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 2, N, N, NULL, NULL), FV_OK);
    assert_int_equal(fv_explanation_find(e, NULL, &map, &head), FV_OK);
    assert_int_equal(head, 0);
    fv_explanation_free(e);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bytes_every_time),
        cmocka_unit_test(renderers_are_found_by_ending),
        cmocka_unit_test(a_full_receiver_stops_the_rendering),
        cmocka_unit_test(a_failed_file_leaves_the_old_one),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(without_maps_there_are_still_pictures),
        cmocka_unit_test(nothing_hostile_in_svg),
        cmocka_unit_test(nothing_hostile_on_the_terminal),
        cmocka_unit_test(the_terminal_obeys_its_width),
        cmocka_unit_test(the_environment_chooses_colours),
        cmocka_unit_test(the_ascii_matrix_marks_the_largest_weight),
        cmocka_unit_test(wide_captions_keep_the_columns),
        cmocka_unit_test(the_png_is_the_picture),
        cmocka_unit_test(pictures_have_every_script),
        cmocka_unit_test(a_missing_font_is_said),
        cmocka_unit_test(captions_are_measured),
        cmocka_unit_test(captions_are_cut_between_letters),
        cmocka_unit_test(a_pdf_has_a_fixed_date),
        cmocka_unit_test(shades_are_monotone),
        cmocka_unit_test(even_attention_is_pale),
        cmocka_unit_test(even_attention_is_pale_for_words),
        cmocka_unit_test(nearly_uniform_attention_is_said),
        cmocka_unit_test(long_texts_are_binned),
        cmocka_unit_test(npy_has_shape_and_numbers),
    };
    return cmocka_run_group_tests_name("explain_render", tests, scratch_make, scratch_remove);
}
