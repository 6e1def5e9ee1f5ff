/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include "server/inherited.h"

/* The whole program behind main(). Returns its exit status: 0 done, 1 failed, 2 usage. */
int command_main(int argc, char **argv, struct inherited *inherited);

#endif
