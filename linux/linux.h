/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef LINUX_LINUX_H
#define LINUX_LINUX_H

#include "guest/os.h"

/* What can be known of a Linux guest; attach it as g->os. guest_destroy() ends it. */
struct os *linux_os_create(struct guest *g);

#endif
