/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_TEXT_FILE_H
#define TESTS_TEXT_FILE_H

/* All of a file, by its path from the top directory; the test fails when it cannot be read. Caller frees. */
char *text_file_read(const char *path);

#endif
