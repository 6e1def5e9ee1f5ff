/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <signal.h>

#include "server/command.h"
#include "server/inherited.h"

int main(int argc, char **argv)
{
	struct inherited inherited;
	int status;

	inherited_record(&inherited);
	/* A reader that leaves and a file size limit are errors of write(), not our death. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	status = command_main(argc, argv, &inherited);
	inherited_deinit(&inherited);
	return status;
}
