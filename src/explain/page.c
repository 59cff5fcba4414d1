/* page: the explorer page's own bytes, carried in the library so that a page needs nothing but itself. */
#include "explain/page.h"

#include "page.inc"

fv__page_part fv__page_part_before(void) { return (fv__page_part){fv__page_before, fv__page_before_size}; }
fv__page_part fv__page_part_after(void) { return (fv__page_part){fv__page_after, fv__page_after_size}; }
