/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef RSP_SESSION_H
#define RSP_SESSION_H

#include "base/cursor.h"
#include "base/packet.h"
#include "rsp/rsp.h"

/* What the files of rsp/ share; nobody else includes this. */

enum rsp_state {
	RSP_IDLE,    /* the next packet is answered at once */
	RSP_RUNNING, /* a continue or step is under way: packets wait for the stop */
	RSP_MONITOR, /* a monitor command is under way: packets wait for its end */
};

#define RSP_NO_VCPU (~0u)

struct rsp_session {
	struct guest *guest; /* NULL: there is none */
	struct rsp_host host;
	enum rsp_state state;
	bool ended;
	bool gone; /* we were told that the guest is */

	struct packet_decoder decoder;
	struct buf queue;    /* received packets, from queue_at on: struct queued, payload */
	size_t queue_at;
	bool draining;
	struct buf out;
	struct buf last;     /* the frame that '-' asks for again */
	struct buf reply;    /* what a handler fills in */
	bool silent;         /* set by a handler: no reply, or not yet */
	bool interrupt;      /* set by a handler: stop the guest when the reply is sent */
	bool no_ack;
	bool extended;       /* the client stays when it has let go of the guest */
	bool takes_text;     /* the client takes E.text in answer to any packet (error-message) */
	bool takes_swbreak, takes_hwbreak; /* and these in stop replies */
	bool thread_suffix;  /* lldb's g, G, p and P name their thread */
	bool lists_threads;  /* lldb's stop replies name all threads */
	unsigned patience_ms; /* how long the client waits for the end of a search */

	bool phys_memory;    /* m, M, x and X take guest-physical addresses */
	unsigned sstep;      /* QEMU's single-step flags */
	unsigned vcpu;       /* Hg: registers and memory */
	unsigned run_vcpu;   /* Hc: what c and s let run; RSP_NO_VCPU: all, and s steps vcpu */
	unsigned next_thread;
	struct guest_event stop; /* the last one; what ? tells */

	/* Fixed for the session, whatever becomes of the vCPUs' mode. */
	struct buf target_xml;
	bool *present;       /* one a row of arch->regs: it is in target_xml */
};

enum rsp_match {
	RSP_LETTER, /* arguments follow the name directly */
	RSP_WORD,   /* behind the name the packet ends, or ':', ';' or ',' comes */
};

#define RSP_BARE 1u       /* takes no arguments: anything behind the name is an error */
#define RSP_CODE_ERRORS 2u /* clients take E.text only where they announced error-message */
#define RSP_URGENT 4u     /* is answered while the guest runs */
#define RSP_GUESTLESS 8u  /* means something where no guest is attached */
#define RSP_DIGITS 16u    /* its reply is of letters and digits, and has long runs */

/* One packet. Of the rows that match the one with the longest name is taken. */
struct rsp_command {
	const char *name;
	enum rsp_match match;
	unsigned flags;
	/*
	 * Takes all of args, then acts, then fills s->reply; an empty reply means
	 * "not supported". With an error what is in s->reply is forgotten.
	 */
	struct err *(*handle)(struct rsp_session *s, struct cursor *args);
};

/* The rows in turn; NULL behind the last. */
const struct rsp_command *rsp_command_nth(size_t n);
/* The row for a payload, with args set behind its name; NULL: unknown packet. */
const struct rsp_command *rsp_command_find(const char *payload, size_t bytes, struct cursor *args);

/* Ends a run: sends the stop reply, or e (taken over) in its place. */
void rsp_run_ended(struct rsp_session *s, struct err *e);

/* From here on the session is about g, which is stopped, or NULL. */
void rsp_set_guest(struct rsp_session *s, struct guest *g);

/* For handlers whose reply is OK. */
struct err *rsp_ok(struct rsp_session *s) MUST_CHECK;
/* For handlers that found the packet malformed. */
struct err *rsp_malformed(void) MUST_CHECK;

/* memory.c: as gdb means addresses, virtual or physical. */
struct err *rsp_read_memory(struct rsp_session *s, uint64_t addr, void *ret, size_t bytes,
			    size_t *ret_bytes) MUST_CHECK;

/* registers.c */
void rsp_registers_init(struct rsp_session *s);
/* "10:efbeadde;" for pc, sp and fp of a vCPU, as far as they are known. */
void rsp_add_expedited(struct rsp_session *s, unsigned vcpu, struct buf *out);

/* threads.c: thread ids are vCPU numbers + 1. */
enum rsp_thread {
	RSP_THREAD_ANY, /* 0 */
	RSP_THREAD_ALL, /* -1 */
	RSP_THREAD_ONE,
};

/* ret_vcpu is set for RSP_THREAD_ONE; an error also for a thread that does not exist. */
struct err *rsp_take_thread(const struct rsp_session *s, struct cursor *c, enum rsp_thread *ret,
			    unsigned *ret_vcpu) MUST_CHECK;
/* A thread that must be one, and the packet's end. */
struct err *rsp_take_one_thread(const struct rsp_session *s, struct cursor *c, unsigned *ret_vcpu) MUST_CHECK;
/* The packet's end, before it lldb's ";thread:ID;" where that is on; else the vCPU that Hg chose. */
struct err *rsp_take_suffix(const struct rsp_session *s, struct cursor *c, unsigned *ret_vcpu) MUST_CHECK;
void rsp_add_threads_xml(const struct rsp_session *s, struct buf *out);

/* stop.c */
bool rsp_guest_gone(const struct rsp_session *s);
void rsp_add_stop_reply(struct rsp_session *s, struct buf *out);

/* query.c */
void rsp_apply_sstep(const struct rsp_session *s);

/* Handlers, named after their packets. */
typedef struct err *rsp_handler(struct rsp_session *s, struct cursor *args);

/* attach.c */
rsp_handler rsp_extended, rsp_qAttached, rsp_vAttach, rsp_vRun, rsp_D, rsp_k, rsp_vKill;
/* breakpoint.c */
rsp_handler rsp_Z, rsp_z;
/* lldb.c */
rsp_handler rsp_qHostInfo, rsp_qProcessInfo, rsp_qGDBServerVersion, rsp_qMemoryRegionInfo;
rsp_handler rsp_QThreadSuffixSupported, rsp_QListThreadsInStopReply;
/* memory.c */
rsp_handler rsp_m, rsp_M, rsp_x, rsp_X;
/* query.c */
rsp_handler rsp_qSupported, rsp_QStartNoAckMode, rsp_QNonStop, rsp_qSymbol, rsp_qOffsets, rsp_qRcmd;
rsp_handler rsp_vMustReplyEmpty, rsp_qqemu_PhyMemMode, rsp_Qqemu_PhyMemMode;
rsp_handler rsp_qqemu_sstepbits, rsp_qqemu_sstep, rsp_Qqemu_sstep;
/* registers.c */
rsp_handler rsp_g, rsp_G, rsp_p, rsp_P;
/* run.c */
rsp_handler rsp_c, rsp_C, rsp_s, rsp_S, rsp_vCont, rsp_vCont_query, rsp_vCtrlC;
/* scan.c */
rsp_handler rsp_qCRC, rsp_qSearch_memory;
/* stop.c */
rsp_handler rsp_stop_reason, rsp_qThreadStopInfo;
/* threads.c */
rsp_handler rsp_H, rsp_T, rsp_qC, rsp_qfThreadInfo, rsp_qsThreadInfo, rsp_qThreadExtraInfo;
/* xfer.c */
rsp_handler rsp_qXfer_features, rsp_qXfer_memory_map, rsp_qXfer_threads;

#endif
