/* Pictures: PNG through libpng, into memory first and from there atomically into the file. */
#include "fovea/files.h"
#include "io/pack.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>

typedef struct sink {
    fv__buf *out;
    jmp_buf back; /* libpng reports errors by not returning; this is the only place in fovea that jumps */
    char message[128];
} sink;

static void on_error(png_structp png, png_const_charp message) {
    sink *s = png_get_error_ptr(png);
    snprintf(s->message, sizeof s->message, "%s", message);
    longjmp(s->back, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    fv__log(FV_LOG_DEBUG, "libpng: %s", message);
}

static png_voidp take(png_structp png, png_alloc_size_t bytes) {
    (void)png;
    return fv__alloc(bytes);
}

static void give(png_structp png, png_voidp pointer) {
    (void)png;
    fv__free(pointer);
}

static void on_bytes(png_structp png, png_bytep bytes, size_t count) { fv__buf_add(png_get_io_ptr(png), bytes, count); }

static void on_flush(png_structp png) { (void)png; }

static int color_type(int channels) {
    return channels == 1 ? PNG_COLOR_TYPE_GRAY : channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
}

/* May jump back into encode(), and so owns nothing. */
static void write_picture(png_structp png, png_infop info, const unsigned char *pixels, int64_t w, int64_t h,
                          int channels) {
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, 8, color_type(channels), PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int64_t y = 0; y < h; y++) png_write_row(png, pixels + y * w * channels);
    png_write_end(png, info);
}

/* Everything that is used after the jump was set before it and is not changed in between. */
static bool encode(sink *s, png_structp png, png_infop info, const unsigned char *pixels, int64_t w, int64_t h,
                   int channels) {
    if (setjmp(s->back)) return false;
    png_set_write_fn(png, s->out, on_bytes, on_flush);
    write_picture(png, info, pixels, w, h, channels);
    return true;
}

/* libpng calls on_error from here too, when its memory is out. */
static png_structp create(sink *s) {
    if (setjmp(s->back)) return NULL;
    return png_create_write_struct_2(PNG_LIBPNG_VER_STRING, s, on_error, on_warning, NULL, take, give);
}

fv_status fv__png_encode(fv__buf *out, const unsigned char *pixels, int64_t width, int64_t height, int channels) {
    size_t bytes;
    bool fits = fv__size_of((int64_t[]){height, width, channels}, 3, 1, &bytes);
    if (!fits || width < 1 || height < 1 || width > 1000000 || height > 1000000 ||
        (channels != 1 && channels != 3 && channels != 4))
        return fv__fail(FV_USAGE,
                        "picture: its size\n  expected 1 to 1000000 pixels a side, 1, 3 or 4 channels\n"
                        "  found:   %lld x %lld pixels, %d channels",
                        (long long)width, (long long)height, channels);
    sink s = {.out = out};
    png_structp png = create(&s);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = info && encode(&s, png, info, pixels, width, height, channels);
    png_destroy_write_struct(&png, &info);
    if (!info && !done && !s.message[0]) return FV_NO_RESOURCES;
    return done ? fv__buf_status(out) : fv__fail(FV_NO_RESOURCES, "picture: %s", s.message);
}

fv_status fv_png_write(const char *path, const unsigned char *pixels, int64_t width, int64_t height, int channels) {
    fv__buf bytes = {0};
    fv_status status = fv__png_encode(&bytes, pixels, width, height, channels);
    if (status == FV_OK) status = fv__write_file(path, bytes.data, bytes.size);
    fv__buf_free(&bytes);
    return status;
}
