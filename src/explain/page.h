/* page: the two fixed parts of the explorer page, made by tools/embed from src/explain/page/. */
#ifndef FV_EXPLAIN_PAGE_H
#define FV_EXPLAIN_PAGE_H

#include <stddef.h>

typedef struct fv__page_part {
    const unsigned char *bytes;
    size_t size;
} fv__page_part;
fv__page_part fv__page_part_before(void);
fv__page_part fv__page_part_after(void);

#endif
