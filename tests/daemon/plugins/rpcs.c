/* SPDX-License-Identifier: BSD-3-Clause */
/* The service half of a control server, as far as the transport's tests need one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/plugin.h>

#include "transport.h"

struct held {
	struct held *next, **prev;
	struct rpc *rpc;
	bool stream;
};

static struct held *all;
static int64_t requests, closed, drained;

static struct held *hold(struct rpc *rpc, bool stream)
{
	struct held *held = calloc(1, sizeof(*held));

	held->rpc = rpc;
	held->stream = stream;
	held->next = all;
	held->prev = &all;
	if (all)
		all->prev = &held->next;
	all = held;
	rpc->user = held;
	return held;
}

static void let_go(struct held *held)
{
	struct rpc *rpc = held->rpc;

	*held->prev = held->next;
	if (held->next)
		held->next->prev = held->prev;
	free(held);
	rpc_done(rpc);
}

static void reply_whoami(struct rpc *rpc)
{
	char from[NET_ENDPOINT_STRLEN], key[65], text[512];

	for (unsigned i = 0; i < 32; i++)
		snprintf(key + 2 * i, 3, "%02x", rpc->machine.bytes[i]);
	snprintf(text, sizeof(text),
		"{\"machine\":\"%s\",\"version\":%u,\"from\":\"%s\",\"method\":\"%s\",\"query\":"
		"\"%s\",\"body\":%zu}",
		key, rpc->version, net_endpoint_format(&rpc->from, from), rpc->method, rpc->query,
		rpc->body_len);
	rpc_header(rpc, "x-extra", "yes");
	rpc_reply(rpc, 200, NULL, text, strlen(text));
	rpc_done(rpc);
}

static void request(struct rpc *rpc)
{
	requests++;
	if (strcmp(rpc->path, "/machine/whoami") == 0) {
		reply_whoami(rpc);
	} else if (strcmp(rpc->path, "/machine/echo") == 0) {
		rpc_reply(rpc, 200, "application/octet-stream", rpc->body, rpc->body_len);
		rpc_done(rpc);
	} else if (strcmp(rpc->path, "/machine/map") == 0) {
		hold(rpc, true);
		rpc_stream(rpc);
	} else if (strcmp(rpc->path, "/machine/wait") == 0) {
		hold(rpc, false);
	} else {
		rpc_reply(rpc, 404, "text/plain", "nothing here\n", 13);
		rpc_done(rpc);
	}
}

static void on_closed(struct rpc *rpc)
{
	closed++;
	let_go(rpc->user);
}

static void on_drained(struct rpc *rpc)
{
	(void)rpc;
	drained++;
}

static const struct rpc_ops rpc_ops = {request, on_closed, on_drained};

/* ---- operations: what the tests make it do ---- */

/* Bytes that tell their place, so that a mix-up is seen. */
static struct blob *make_blob(size_t len, unsigned seed)
{
	struct blob *blob = blob_new(len);

	for (size_t i = 0; i < len; i++)
		blob->data[i] = (uint8_t)(i * 7 + i / 251 + seed);
	return blob;
}

/* One message of three blobs to every stream; the middle one is shared. */
static json_int_t send_each(struct blob *shared)
{
	json_int_t n = 0;

	for (struct held *held = all; held; held = held->next) {
		struct blob *blobs[] = {make_blob(100, 1), blob_get(shared), make_blob(9, 3)};

		if (!held->stream) {
			for (unsigned i = 0; i < 3; i++)
				blob_put(blobs[i]);
			continue;
		}
		rpc_send(held->rpc, blobs, 3);
		n++;
	}
	return n;
}

/* The same to all together; `one`: the three in one blob. */
static json_int_t send_together(struct blob *shared, bool one)
{
	struct blob *blobs[] = {make_blob(100, 1), blob_get(shared), make_blob(9, 3)}, *whole;
	struct rpc *rpcs[RPC_MANY_MAX];
	unsigned n = 0;

	for (struct held *held = all; held && n < RPC_MANY_MAX; held = held->next)
		if (held->stream)
			rpcs[n++] = held->rpc;
	if (!one) {
		rpc_send_many(rpcs, n, blobs, 3);
		return n;
	}
	whole = blob_new((size_t)shared->len + 109);
	memcpy(whole->data, blobs[0]->data, 100);
	memcpy(whole->data + 100, shared->data, shared->len);
	memcpy(whole->data + 100 + shared->len, blobs[2]->data, 9);
	for (unsigned i = 0; i < 3; i++)
		blob_put(blobs[i]);
	rpc_send_many(rpcs, n, &whole, 1);
	return n;
}

static void run_send(struct op_call *call, const json_t *args)
{
	size_t len = (size_t)json_integer_value(json_object_get(args, "len"));
	json_int_t times = json_integer_value(json_object_get(args, "times")), n = 0;
	bool together = json_is_true(json_object_get(args, "together"));
	struct blob *shared = make_blob(len, 2);

	for (json_int_t i = 0; i < times; i++)
		n += together ? send_together(shared, i % 2) : send_each(shared);
	blob_put(shared);
	op_reply(call, json_integer(n));
}

static void run_end(struct op_call *call, const json_t *args)
{
	bool discard = json_is_true(json_object_get(args, "discard"));

	while (all) {
		if (all->stream)
			rpc_end(all->rpc, discard);
		else
			rpc_reply(all->rpc, 200, "text/plain", "late", 4);
		let_go(all);
	}
	op_reply(call, NULL);
}

static void run_facts(struct op_call *call, const json_t *args)
{
	uint64_t bytes = 0, age = 0;
	json_int_t n = 0;

	(void)args;
	for (struct held *held = all; held; held = held->next) {
		struct rpc_backlog backlog = rpc_backlog(held->rpc);

		bytes += backlog.bytes;
		age = backlog.age > age ? backlog.age : age;
		n++;
	}
	op_reply(call,
		json_pack("{sI sI sI sI sI sI}", "requests", requests, "closed", closed, "drained",
			drained, "held", n, "backlog", (json_int_t)bytes, "age", (json_int_t)age));
}

static void run_want_drained(struct op_call *call, const json_t *args)
{
	(void)args;
	for (struct held *held = all; held; held = held->next) {
		rpc_want_drained(held->rpc);
		rpc_want_drained(held->rpc);
	}
	op_reply(call, NULL);
}

static void run_close(struct op_call *call, const json_t *args)
{
	(void)args;
	if (all)
		rpc_close_machine(&all->rpc->machine);
	op_reply(call, NULL);
}

static const struct op_arg send_args[] = {
	{.name = "len", .type = SETTING_INT, .flags = OP_ARG_REQUIRED},
	{.name = "times", .type = SETTING_INT, .flags = OP_ARG_REQUIRED},
	{.name = "together", .type = SETTING_BOOL},
	{NULL},
};
static const struct op_arg end_args[] = {{.name = "discard", .type = SETTING_BOOL}, {NULL}};

static const struct op ops[] = {
	{"rpc send", "Sends messages", OP_WRITE, send_args, NULL, run_send},
	{"rpc end", "Ends all", OP_WRITE, end_args, NULL, run_end},
	{"rpc facts", "Tells", OP_READ, NULL, NULL, run_facts},
	{"rpc drained", "Wants to know", OP_WRITE, NULL, NULL, run_want_drained},
	{"rpc close", "Closes a machine", OP_WRITE, NULL, NULL, run_close},
	{NULL},
};

static int start(const void *conf, struct err *err)
{
	static const struct transport_conf transport_conf = {
		.private_key_path = "noise_private.key", .server_url = "http://a.test:8080"};

	(void)conf;
	return transport_start(&transport_conf, &rpc_ops, err);
}

static void stop(void)
{
	transport_stop();
	while (all)
		let_go(all); /* would be a leak: the transport closes everything */
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "rpcs",
	.version = "1",
	.summary = "A service for tests of the transport",
	.ops = ops,
	.start = start,
	.stop = stop,
	.collect = transport_collect,
};
