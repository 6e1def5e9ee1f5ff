/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>

/*
 * Allocation that ends the process with one line on stderr when memory is
 * out. Ending is safe: a VMM's threads go on when the process that holds them
 * ends. Sizes that a peer, a guest or a file
 * controls are bounded by their parsers before they come here.
 */
void *xmalloc(size_t bytes);
void *xcalloc(size_t n, size_t bytes);
void *xrealloc(void *p, size_t bytes);
/* Grows or shrinks an array to n elements of bytes each; checks the product. */
void *xreallocarray(void *p, size_t n, size_t bytes);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t bytes);

#endif
