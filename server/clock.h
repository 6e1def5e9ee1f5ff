/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SERVER_CLOCK_H
#define SERVER_CLOCK_H

/* Seconds of a clock that nobody sets. */
double clock_seconds(void);

#endif
