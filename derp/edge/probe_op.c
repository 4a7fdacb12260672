/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "probe_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/jobs.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>
#include <tailplane/relay.h>

#include "health.h"
#include "lookup.h"
#include "node.h"
#include "place.h"
#include "probe.h"
#include "stun.h"
#include "stun_server.h"
#include "tls.h"

/* One command: whom the system trusts is read, unless it is this relay; a look-up if the URL has a
 * name; then the probe. */
struct asked {
	struct job job;
	struct derp_lookup lookup;
	struct asked *next, **prev;
	struct op_call *call; /* NULL: nobody waits any more */
	struct derp_probe *probe;
	SSL_CTX *tls; /* NULL: this relay, or not read yet */
	uint16_t stun_port;
};

static struct asked *asked_all;

static void asked_free(struct asked *asked)
{
	*asked->prev = asked->next;
	if (asked->next)
		asked->next->prev = asked->prev;
	if (asked->probe)
		derp_probe_cancel(asked->probe);
	SSL_CTX_free(asked->tls);
	free(asked);
}

static void fail(struct asked *asked, const char *why)
{
	if (asked->call)
		op_fail(asked->call, "%s", why);
	asked_free(asked);
}

static void probed(void *user, json_t *result)
{
	struct asked *asked = user;

	asked->probe = NULL;
	if (asked->call)
		op_reply(asked->call, result);
	else
		json_decref(result);
	asked_free(asked);
}

static void probe_start(struct asked *asked)
{
	struct derp_probe_conf conf = {.loop = core_loop(),
		.target = &asked->lookup.target,
		.stun_port = asked->stun_port,
		.key = asked->tls ? NULL : health_probe_key(),
		.tls = asked->tls ? asked->tls : health_tls(),
		.done = probed,
		.user = asked};

	asked->probe = derp_probe_start(&conf);
	if (!asked->probe)
		fail(asked, "out of memory");
}

static void looked_up(struct derp_lookup *lookup)
{
	struct asked *asked = lookup->user;
	struct err err = {0};

	if (lookup->problem)
		err_set(&err, -ENOENT, "%s: %s", lookup->host, lookup->problem);
	if (!asked->call)
		asked_free(asked);
	else if (lookup->problem)
		fail(asked, err.msg);
	else
		probe_start(asked);
}

static void find_and_probe(struct asked *asked)
{
	if (asked->lookup.target.n_addresses) {
		probe_start(asked);
		return;
	}
	memcpy(asked->lookup.host, asked->lookup.target.host, sizeof(asked->lookup.host));
	derp_lookup_start(&asked->lookup);
}

/* Parsing all authorities of the system takes tens of milliseconds. */
static void authorities_run(struct job *job)
{
	((struct asked *)job)->tls = derp_tls_ctx_new(NULL);
}

static void authorities_done(struct job *job)
{
	struct asked *asked = (struct asked *)job;

	if (!asked->call)
		asked_free(asked);
	else if (!asked->tls)
		fail(asked, "OpenSSL cannot make a context");
	else
		find_and_probe(asked);
}

/* A job goes on: its end frees. */
static void asker_gone(void *arg)
{
	struct asked *asked = arg;

	asked->call = NULL;
	if (asked->probe)
		asked_free(asked);
}

static struct asked *asked_new(struct op_call *call)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	if (!asked)
		return NULL;
	asked->call = call;
	asked->next = asked_all;
	asked->prev = &asked_all;
	if (asked_all)
		asked_all->prev = &asked->next;
	asked_all = asked;
	op_on_close(call, asker_gone, asked);
	return asked;
}

/* One of the map that the control server in this process shows. False: it has none of that name. */
static bool of_map(struct asked *asked, const char *name, struct err *err)
{
	const struct relay_map_ops *control = core_service(RELAY_MAP_SERVICE);
	const char *text = control ? control->map() : NULL;
	json_t *map = text ? json_loads(text, 0, NULL) : NULL;
	const json_t *found = map ? derp_node_find(map, name) : NULL;
	struct derp_node node;

	if (found && derp_node_read(&node, found, err) == 0) {
		asked->lookup.target = node.target;
		asked->stun_port = node.stun_port;
	}
	json_decref(map);
	return found;
}

static void set_target(struct asked *asked, const char *relay, struct err *err)
{
	asked->stun_port = relay ? STUN_PORT : stun_port();
	if (!relay && !place_target(&asked->lookup.target))
		err_set(err, -ENOENT, "nothing listens");
	else if (relay && !of_map(asked, relay, err))
		derp_target_parse(&asked->lookup.target, relay, err);
}

void probe_run(struct op_call *call, const json_t *args)
{
	const char *relay = json_string_value(json_object_get(args, "relay"));
	struct asked *asked = asked_new(call);
	struct err err = {0};

	if (!asked) {
		op_fail(call, "out of memory");
		return;
	}
	asked->lookup.user = asked;
	asked->lookup.done = looked_up;
	set_target(asked, relay, &err);
	if (err.msg[0]) {
		fail(asked, err.msg);
	} else if (relay) {
		asked->job = (struct job){
			.run = authorities_run, .done = authorities_done, .name = "authorities"};
		job_submit(&asked->job);
	} else {
		find_and_probe(asked);
	}
}

void probe_stop(void)
{
	for (struct asked *asked = asked_all; asked; asked = asked->next) {
		if (asked->call)
			op_fail(asked->call, "the relay is stopping");
		asked->call = NULL; /* a job's end begins nothing more, and frees */
	}
	if (asked_all) /* others may have jobs that take long */
		jobs_drain();
	while (asked_all)
		asked_free(asked_all);
}

const struct op_column probe_columns[] = {
	{"problem", "Problem", OP_TEXT},
	{"address", "Address", OP_TEXT},
	{"key", "Key", OP_TEXT},
	{"tls", "TLS", OP_TEXT},
	{"cipher", "Cipher", OP_TEXT},
	{"subject", "Certificate", OP_TEXT},
	{"issuer", "Signed by", OP_TEXT},
	{"expires", "Valid until", OP_AGO},
	{"pin", "Its hash", OP_TEXT},
	{"fast_start", "Fast start", OP_TEXT},
	{"tcp", "TCP after", OP_DURATION},
	{"handshake", "TLS after", OP_DURATION},
	{"up", "Accepted after", OP_DURATION},
	{"ping", "Ping", OP_DURATION},
	{"rtt_min", "Packet there and back, least", OP_DURATION},
	{"rtt_median", "Median", OP_DURATION},
	{"rtt_max", "Most", OP_DURATION},
	{"stun", "STUN", OP_TEXT},
	{"rtt", "answer after", OP_DURATION}, /* in its rows */
	{NULL, NULL, OP_TEXT},
};
