/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tailnet and its commands without a network: machines are made by `join NAME`, with the words
 * of a registration, and `ask NAME` leaves one that waits for a person.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/plugin.h>

#include "ops.h"
#include "pending.h"
#include "policy.h"
#include "registration.h"

static struct tailnet tailnet;
static struct op with_ours[64];

static struct public_key key_of(const char *name, uint8_t kind)
{
	struct public_key key = {.bytes = {kind}};

	strncpy((char *)key.bytes + 1, name, sizeof(key.bytes) - 2);
	return key;
}

struct asked {
	struct op_call *call;
	json_t *hostinfo;
};

static void joined(void *arg, const struct registration_result *result)
{
	struct asked *asked = arg;

	if (result->outcome == REGISTRATION_ACCEPTED)
		op_reply(asked->call, json_integer(result->node));
	else
		op_fail(asked->call, "%s", result->why ? result->why : "not accepted");
	json_decref(asked->hostinfo);
	free(asked);
}

static struct registration registration_of(const json_t *args, json_t *hostinfo)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	const char *auth_key = json_string_value(json_object_get(args, "auth-key"));

	return (struct registration){
		.machine = key_of(name, 1),
		.key = key_of(name, 2),
		.auth_key = auth_key ? auth_key : "",
		.hostinfo = hostinfo,
		.cap = 130,
	};
}

static json_t *hostinfo_of(const json_t *args)
{
	json_t *routes = json_object_get(args, "routes");

	return json_pack("{s:s, s:o, s:s}", "Hostname",
		json_string_value(json_object_get(args, "name")), "RoutableIPs",
		routes ? json_incref(routes) : json_array(), "OS", "linux");
}

static void run_join(struct op_call *call, const json_t *args)
{
	struct asked *asked = calloc(1, sizeof(*asked));
	struct registration registration;

	asked->call = call;
	asked->hostinfo = hostinfo_of(args);
	registration = registration_of(args, asked->hostinfo);
	tailnet_register(&tailnet, &registration, joined, asked);
}

static void run_ask(struct op_call *call, const json_t *args)
{
	json_t *hostinfo = hostinfo_of(args);
	struct registration registration = registration_of(args, hostinfo);

	op_reply(call, json_string(pending_take(&tailnet, &registration)->id));
	json_decref(hostinfo);
}

static const struct op_arg machine_args[] = {
	{.name = "name", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL},
	{.name = "auth-key", .type = SETTING_STRING},
	{.name = "routes", .type = SETTING_STRING, .flags = OP_ARG_LIST},
	{NULL},
};

/* A policy engine that has one policy, for `policy get` and its like. */
static void engine_command(struct op_call *call, const json_t *args, enum policy_command command)
{
	static const char *const words[] = {"get", "set", "check"};
	char text[64] = "";
	int fd = op_take_fd(call);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	(void)args;
	if (fd >= 0)
		close(fd);
	op_reply(call, json_sprintf("%s %.*s", words[command], (int)(n > 0 ? n : 0), text));
}

static void run_engine(struct op_call *call, const json_t *args)
{
	static const struct policy_ops engine = {.command = engine_command};

	(void)args;
	core_provide(POLICY_SERVICE, &engine);
	op_reply(call, NULL);
}

static const struct op ours[] = {
	{.name = "join", .help = "Joins.", .args = machine_args, .run = run_join},
	{.name = "engine", .help = "Loads a policy engine.", .run = run_engine},
	{.name = "ask", .help = "Asks.", .args = machine_args, .run = run_ask},
	{NULL},
};

/* The real one looks at a front door and relays, which are not here. */
void run_doctor(struct op_call *call, const json_t *args)
{
	json_t *rows = json_pack("[{s:s, s:s, s:s, s:s}]", "check", "front door", "state", "failed",
		"found", "not there", "advice", "load the control plugin");

	(void)args;
	op_reply_failed(call, rows, "%d of %d checks failed", 1, 1);
}

/* Nobody has a stream here. */
void run_nodes_ping(struct op_call *call, const json_t *args)
{
	(void)args;
	op_fail(call, "no connection");
}

static ev_timer due;

static void arm(void *arg)
{
	uint64_t at = tailnet_due(&tailnet), now = tailnet_clock(&tailnet);

	(void)arg;
	ev_timer_stop(core_loop(), &due);
	if (!at)
		return;
	ev_timer_set(&due, at > now ? (double)(at - now) / 1e9 : 0., 0.);
	ev_timer_start(core_loop(), &due);
}

static void run_due(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)timer, (void)revents;
	tailnet_run(&tailnet);
	arm(NULL);
}

static int start(const void *conf, struct err *err)
{
	struct tailnet_conf settings = {
		.ephemeral_timeout = 60000000000,
		.offline_grace = 10000000000,
		.route_grace = 3000000000,
		.pending_expiry = 900000000000,
		.pending_max = 16,
		.wake = arm,
	};
	int rc;

	(void)conf;
	net_prefix_parse(&settings.v4, "100.64.0.0/10");
	net_prefix_parse(&settings.v6, "fd7a:115c:a1e0::/48");
	ev_init(&due, run_due);
	rc = tailnet_open(&tailnet, &settings, err);
	if (rc)
		return rc;
	ops_use(&tailnet);
	events_start(&tailnet);
	return 0;
}

static void stop(void)
{
	store_drain();
	ev_timer_stop(core_loop(), &due);
	events_stop(&tailnet);
	tailnet_close(&tailnet);
}

/* The table must be whole before anybody reads it. */
__attribute__((constructor)) static void join_tables(void)
{
	size_t n = 0;

	for (const struct op *op = ours; op->name; op++)
		with_ours[n++] = *op;
	for (const struct op *op = control_ops; op->name; op++)
		with_ours[n++] = *op;
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "tailnet",
	.version = "1",
	.ops = with_ours,
	.start = start,
	.stop = stop,
};
