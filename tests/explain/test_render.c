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
    fv__buf *const all[] = {&svg, &text, &npy, &png, &html};
    for (int i = 0; i < 5; i++) fv__buf_free(all[i]);
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
    assert_non_null(strstr(out.data, "ant        ##....\n"));
    assert_non_null(strstr(out.data, "cow        @@\n"));
    fv__buf_free(&out);
    fv_explanation_free(e);
}

/* ---- pictures */

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
        cmocka_unit_test(the_png_is_the_picture),
        cmocka_unit_test(shades_are_monotone),
        cmocka_unit_test(long_texts_are_binned),
        cmocka_unit_test(npy_has_shape_and_numbers),
    };
    return cmocka_run_group_tests_name("explain_render", tests, scratch_make, scratch_remove);
}
