/* jansson takes its memory through our door. */
#ifndef FV_IO_JSON_MEMORY_H
#define FV_IO_JSON_MEMORY_H

#include <stdbool.h>

/* Before jansson is called: sets its allocator (once) and forgets earlier failures of this thread. */
void fv__json_memory_begin(void);
/* Did an allocation fail since then? jansson's own error does not tell reliably. */
bool fv__json_memory_failed(void);

#endif
