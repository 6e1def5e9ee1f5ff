/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_HISTORY_H
#define SERVER_HISTORY_H

/*
 * The file of the console's history, mode 0600, in the user's state directory;
 * it and the directories are made where they are missing. NULL when that is
 * impossible. Caller frees.
 */
char *history_path(void);

#endif
