/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rsp/session.h"

#include <string.h>

/* docs/protocol.md has a row for each of these, and no other. */
static const struct rsp_command commands[] = {
	{ "!", RSP_LETTER, RSP_BARE | RSP_GUESTLESS, rsp_extended },
	{ "?", RSP_LETTER, RSP_BARE | RSP_GUESTLESS, rsp_stop_reason },
	{ "C", RSP_LETTER, 0, rsp_C },
	{ "D", RSP_WORD, RSP_GUESTLESS, rsp_D },
	{ "G", RSP_LETTER, 0, rsp_G },
	{ "H", RSP_LETTER, 0, rsp_H },
	{ "M", RSP_LETTER, 0, rsp_M },
	{ "P", RSP_LETTER, 0, rsp_P },
	{ "QListThreadsInStopReply", RSP_WORD, RSP_BARE | RSP_GUESTLESS, rsp_QListThreadsInStopReply },
	{ "QNonStop", RSP_WORD, RSP_GUESTLESS, rsp_QNonStop },
	{ "QStartNoAckMode", RSP_WORD, RSP_BARE | RSP_GUESTLESS, rsp_QStartNoAckMode },
	{ "QThreadSuffixSupported", RSP_WORD, RSP_BARE | RSP_GUESTLESS, rsp_QThreadSuffixSupported },
	{ "Qqemu.PhyMemMode", RSP_WORD, 0, rsp_Qqemu_PhyMemMode },
	{ "Qqemu.sstep=", RSP_LETTER, 0, rsp_Qqemu_sstep },
	{ "S", RSP_LETTER, 0, rsp_S },
	{ "T", RSP_LETTER, 0, rsp_T },
	{ "X", RSP_LETTER, 0, rsp_X },
	{ "Z", RSP_LETTER, 0, rsp_Z },
	{ "c", RSP_LETTER, 0, rsp_c },
	{ "g", RSP_LETTER, RSP_DIGITS, rsp_g },
	{ "k", RSP_LETTER, RSP_BARE | RSP_GUESTLESS, rsp_k },
	{ "m", RSP_LETTER, RSP_CODE_ERRORS | RSP_DIGITS, rsp_m },
	{ "p", RSP_LETTER, 0, rsp_p },
	{ "qAttached", RSP_WORD, 0, rsp_qAttached },
	{ "qC", RSP_WORD, RSP_BARE, rsp_qC },
	{ "qCRC", RSP_WORD, 0, rsp_qCRC },
	{ "qGDBServerVersion", RSP_WORD, RSP_BARE | RSP_GUESTLESS, rsp_qGDBServerVersion },
	{ "qHostInfo", RSP_WORD, RSP_BARE, rsp_qHostInfo },
	{ "qMemoryRegionInfo", RSP_WORD, 0, rsp_qMemoryRegionInfo },
	{ "qOffsets", RSP_WORD, RSP_BARE, rsp_qOffsets },
	{ "qProcessInfo", RSP_WORD, RSP_BARE, rsp_qProcessInfo },
	{ "qRcmd", RSP_WORD, RSP_CODE_ERRORS, rsp_qRcmd },
	{ "qSearch:memory", RSP_WORD, 0, rsp_qSearch_memory },
	{ "qSupported", RSP_WORD, RSP_GUESTLESS, rsp_qSupported },
	{ "qSymbol", RSP_WORD, RSP_GUESTLESS, rsp_qSymbol },
	{ "qThreadExtraInfo", RSP_WORD, 0, rsp_qThreadExtraInfo },
	{ "qThreadStopInfo", RSP_LETTER, 0, rsp_qThreadStopInfo },
	{ "qXfer:features:read", RSP_WORD, 0, rsp_qXfer_features },
	{ "qXfer:memory-map:read", RSP_WORD, 0, rsp_qXfer_memory_map },
	{ "qXfer:threads:read", RSP_WORD, 0, rsp_qXfer_threads },
	{ "qfThreadInfo", RSP_WORD, RSP_BARE, rsp_qfThreadInfo },
	{ "qqemu.PhyMemMode", RSP_WORD, RSP_BARE, rsp_qqemu_PhyMemMode },
	{ "qqemu.sstep", RSP_WORD, RSP_BARE, rsp_qqemu_sstep },
	{ "qqemu.sstep=", RSP_LETTER, 0, rsp_Qqemu_sstep },
	{ "qqemu.sstepbits", RSP_WORD, RSP_BARE, rsp_qqemu_sstepbits },
	{ "qsThreadInfo", RSP_WORD, RSP_BARE, rsp_qsThreadInfo },
	{ "s", RSP_LETTER, 0, rsp_s },
	{ "vAttach", RSP_WORD, RSP_GUESTLESS, rsp_vAttach },
	{ "vCont", RSP_WORD, 0, rsp_vCont },
	{ "vCont?", RSP_WORD, RSP_BARE | RSP_GUESTLESS, rsp_vCont_query },
	{ "vCtrlC", RSP_WORD, RSP_BARE | RSP_URGENT, rsp_vCtrlC },
	{ "vKill", RSP_WORD, RSP_GUESTLESS, rsp_vKill },
	{ "vMustReplyEmpty", RSP_WORD, RSP_BARE | RSP_GUESTLESS, rsp_vMustReplyEmpty },
	{ "vRun", RSP_WORD, RSP_GUESTLESS, rsp_vRun },
	{ "x", RSP_LETTER, RSP_CODE_ERRORS, rsp_x },
	{ "z", RSP_LETTER, 0, rsp_z },
};

const struct rsp_command *rsp_command_nth(size_t n)
{
	return n < ARRAY_LEN(commands) ? &commands[n] : NULL;
}

static bool matches(const struct rsp_command *cmd, struct cursor c, struct cursor *args)
{
	if (!cursor_take_string(&c, cmd->name))
		return false;
	*args = c;
	return cmd->match == RSP_LETTER || cursor_at_end(&c) || *c.at == ':' || *c.at == ';' || *c.at == ',';
}

const struct rsp_command *rsp_command_find(const char *payload, size_t bytes, struct cursor *args)
{
	const struct rsp_command *best = NULL;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct rsp_command *cmd = &commands[i];
		struct cursor rest;

		if (!matches(cmd, cursor_of(payload, bytes), &rest))
			continue;
		if (best && strlen(best->name) > strlen(cmd->name))
			continue;
		best = cmd;
		*args = rest;
	}
	return best;
}
