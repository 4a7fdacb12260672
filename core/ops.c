/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls of operations, from wherever they come. Runs on: the control loop.
 *
 * A call ends by its answer. Until then it is in one list, whoever waits for it or not: an
 * operation whose client has gone and that cannot be told so answers into nothing. A plugin that
 * stops takes its calls along (ops_close_streams, ops_fail_pending).
 */
#include "ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nearest.h"
#include "plugins.h"

struct op_call {
	struct op_call *next, **prev;
	const struct op *op;
	struct instance *owner;     /* NULL: the core's */
	const struct op_sink *sink; /* NULL: nobody waits */
	void *ctx;
	json_t *args;
	int fd;
	void (*closed)(void *arg);
	void *closed_arg;
	bool *answered; /* of the op_start that is still on the stack, or NULL */
};

static struct op_call *calls;

/* ---- the table ---- */

static const struct op *find_in(const struct op *ops, const char *name)
{
	while (ops && ops->name && strcmp(ops->name, name) != 0)
		ops++;
	return ops && ops->name ? ops : NULL;
}

bool op_is_core(const char *name)
{
	return find_in(core_ops, name) != NULL;
}

const struct op *op_find(const char *name, struct instance **owner)
{
	const struct op *op = find_in(core_ops, name);

	*owner = NULL;
	for (struct instance *inst = plugin_first(); !op && inst; inst = inst->next) {
		op = inst->state == STATE_UP ? find_in(inst->plugin->ops, name) : NULL;
		*owner = inst;
	}
	return op;
}

/* ---- life of a call ---- */

static void call_free(struct op_call *call)
{
	*call->prev = call->next;
	if (call->next)
		call->next->prev = call->prev;
	if (call->answered)
		*call->answered = true;
	if (call->fd >= 0)
		close(call->fd);
	json_decref(call->args);
	free(call);
}

static struct op_call *call_new(const struct op *op, struct instance *owner, json_t *args, int fd,
	const struct op_sink *sink, void *ctx)
{
	struct op_call *call = calloc(1, sizeof(*call));

	if (!call)
		abort();
	*call = (struct op_call){.next = calls,
		.prev = &calls,
		.op = op,
		.owner = owner,
		.sink = sink,
		.ctx = ctx,
		.args = args,
		.fd = fd};
	if (calls)
		calls->prev = &call->next;
	calls = call;
	return call;
}

static void fail_unknown(const char *name, const struct op_sink *sink, void *ctx)
{
	struct nearest nearest = {.typed = name};
	char text[256];

	for (const struct op *op = core_ops; op->name; op++)
		nearest_offer(&nearest, op->name);
	for (struct instance *inst = plugin_first(); inst; inst = inst->next) {
		for (const struct op *op = inst->plugin->ops; op && op->name; op++) {
			if (inst->state == STATE_UP)
				nearest_offer(&nearest, op->name);
		}
	}
	if (nearest.best)
		snprintf(text, sizeof(text), "there is no operation \"%.64s\"; is \"%s\" meant?",
			name, nearest.best);
	else
		snprintf(text, sizeof(text), "there is no operation \"%.64s\"", name);
	sink->error(ctx, text, NULL);
}

struct op_call *op_start(
	const char *name, json_t *args, int fd, const struct op_sink *sink, void *ctx)
{
	struct instance *owner;
	const struct op *op = op_find(name, &owner);
	struct op_call *call;
	struct err err = {0};
	bool answered = false;
	uint64_t since;

	if (!args)
		args = json_object();
	if (!op || op_check_args(op, args, fd >= 0, &err) != 0) {
		if (!op)
			fail_unknown(name, sink, ctx);
		else
			sink->error(ctx, err.msg, NULL);
		json_decref(args);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	call = call_new(op, owner, args, fd, sink, ctx);
	call->answered = &answered;
	since = core_now();
	op->run(call, args);
	loop_callback_done(op->name, since);
	if (answered)
		return NULL;
	call->answered = NULL;
	return call;
}

void op_abandon(struct op_call *call)
{
	void (*closed)(void *arg) = call->closed;
	void *arg = call->closed_arg;

	call->sink = NULL;
	if (closed) {
		call_free(call);
		closed(arg);
	}
}

static void call_fail(struct op_call *call, const char *text, const json_t *result)
{
	const struct op_sink *sink = call->sink;

	call->sink = NULL;
	if (sink)
		sink->error(call->ctx, text, result);
}

static void fail_stopped(struct op_call *call)
{
	char text[128];

	snprintf(text, sizeof(text), "plugin %s stopped meanwhile", call->owner->plugin->name);
	call_fail(call, text, NULL);
}

/* Each round begins anew: what is told may end other calls. */
void ops_close_streams(const struct instance *inst)
{
	struct op_call *call = calls;

	while (call) {
		if (call->owner == inst && call->closed) {
			fail_stopped(call);
			op_abandon(call);
			call = calls;
		} else {
			call = call->next;
		}
	}
}

/* The call stays: its plugin may, against the rules, answer yet. */
void ops_fail_pending(const struct instance *inst)
{
	struct op_call *call = calls;

	while (call) {
		if (call->owner == inst && call->sink) {
			fail_stopped(call);
			call = calls;
		} else {
			call = call->next;
		}
	}
}

/* ---- for operations ---- */

void op_reply(struct op_call *call, json_t *result)
{
	if (!result)
		result = json_null();
	if (call->sink)
		call->sink->result(call->ctx, result);
	json_decref(result);
	call_free(call);
}

void op_reply_text(struct op_call *call, char *text, size_t len)
{
	if (call->sink)
		call->sink->text(call->ctx, text, len);
	explicit_bzero(text, len);
	free(text);
	call_free(call);
}

__attribute__((format(printf, 3, 0))) static void fail_with(
	struct op_call *call, const json_t *result, const char *fmt, va_list args)
{
	char *text;
	int n = vasprintf(&text, fmt, args);

	call_fail(call, n < 0 ? "no memory" : text, result);
	if (n >= 0)
		free(text);
	call_free(call);
}

void op_fail(struct op_call *call, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail_with(call, NULL, fmt, args);
	va_end(args);
}

void op_reply_failed(struct op_call *call, json_t *result, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail_with(call, result, fmt, args);
	va_end(args);
	json_decref(result);
}

void op_emit(struct op_call *call, json_t *row)
{
	if (call->sink && row)
		call->sink->row(call->ctx, row);
	json_decref(row);
}

int op_take_fd(struct op_call *call)
{
	int fd = call->fd;

	call->fd = -1;
	return fd;
}

void op_on_close(struct op_call *call, void (*closed)(void *arg), void *arg)
{
	call->closed = closed;
	call->closed_arg = arg;
}

/* ---- from one plugin to another ---- */

struct invocation {
	void (*done)(void *arg, const json_t *result, const char *error);
	void *arg;
	json_t *rows; /* NULL: none came */
};

static void invocation_end(struct invocation *inv, const json_t *result, const char *error)
{
	inv->done(inv->arg, inv->rows && !error ? inv->rows : result, error);
	json_decref(inv->rows);
	free(inv);
}

static void invocation_row(void *ctx, const json_t *row)
{
	struct invocation *inv = ctx;

	if (!inv->rows)
		inv->rows = json_array();
	json_array_append(inv->rows, (json_t *)row);
}

static void invocation_result(void *ctx, const json_t *result)
{
	invocation_end(ctx, result, NULL);
}

static void invocation_text(void *ctx, const char *text, size_t len)
{
	json_t *result = json_loadb(text, len, JSON_DECODE_ANY, NULL);

	invocation_end(ctx, result, result ? NULL : "the answer is no JSON");
	json_decref(result);
}

static void invocation_error(void *ctx, const char *text, const json_t *result)
{
	(void)result;
	invocation_end(ctx, NULL, text);
}

void op_invoke(const char *name, json_t *args,
	void (*done)(void *arg, const json_t *result, const char *error), void *arg)
{
	static const struct op_sink sink = {
		invocation_row, invocation_result, invocation_text, invocation_error};
	struct invocation *inv = calloc(1, sizeof(*inv));

	if (!inv)
		abort();
	*inv = (struct invocation){.done = done, .arg = arg};
	op_start(name, args, -1, &sink, inv);
}
