/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "server/refuse.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/packet.h"

#define WAIT_MS 2000
#define MAX_WAITING 16

struct refusal {
	struct comm_client client; /* in < 0: the place is free */
	struct loop_source *reader, *timer;
};

struct refusals {
	struct loop *loop;
	struct refusal waiting[MAX_WAITING];
};

struct refusals *refusals_create(struct loop *l)
{
	struct refusals *r = xcalloc(1, sizeof(*r));

	r->loop = l;
	for (size_t i = 0; i < MAX_WAITING; i++)
		r->waiting[i].client.in = -1;
	return r;
}

static void end(void *arg)
{
	struct refusal *one = arg;

	if (one->client.in < 0)
		return;
	loop_remove(one->reader);
	loop_remove(one->timer);
	comm_close_client(&one->client);
}

void refusals_destroy(struct refusals *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < MAX_WAITING; i++)
		end(&r->waiting[i]);
	free(r);
}

static void on_readable(void *arg, short revents)
{
	struct refusal *one = arg;
	char ignored[512];

	(void)revents;
	if (read(one->client.in, ignored, sizeof(ignored)) <= 0)
		end(one);
}

static void send_refusal(const struct comm_client *client, const char *why)
{
	struct buf payload = { 0 }, packet = { 0 };

	buf_addf(&payload, "E.%s", why);
	/* Acknowledges the client's first packet, for which this is the answer. */
	buf_addch(&packet, '+');
	packet_encode(&packet, payload.data, payload.len);
	/* A new connection has room for a line; one that has not gets none. */
	if (send(client->out, packet.data, packet.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		shutdown(client->out, SHUT_WR);
	buf_deinit(&packet);
	buf_deinit(&payload);
}

void refusals_add(struct refusals *r, struct comm_client *client, const char *why)
{
	send_refusal(client, why);
	for (size_t i = 0; i < MAX_WAITING; i++) {
		struct refusal *one = &r->waiting[i];

		if (one->client.in >= 0)
			continue;
		one->client = *client;
		one->reader = loop_add_fd(r->loop, client->in, POLLIN, on_readable, one);
		one->timer = loop_add_timer(r->loop, WAIT_MS, end, one);
		return;
	}
	comm_close_client(client);
}
