/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/op.h>

struct instance;

/* Where the answer of a call goes. `row` may be called often, then one of the others, once. The
 * values are borrowed. */
struct op_sink {
	void (*row)(void *ctx, const json_t *row);
	void (*result)(void *ctx, const json_t *result);
	void (*text)(void *ctx, const char *text, size_t len); /* a result as JSON */
	/* `result` NULL, or what was found all the same. */
	void (*error)(void *ctx, const char *text, const json_t *result);
};

/*
 * Checks the arguments against the operation's table and runs it. Takes the reference of `args`
 * (NULL: none) and the descriptor `fd` (-1: none). The answer may come before this returns: then
 * NULL; else the call that is under way.
 */
struct op_call *op_start(
	const char *name, json_t *args, int fd, const struct op_sink *sink, void *ctx);
/* Whoever waits for it has gone: nothing more goes to its sink. */
void op_abandon(struct op_call *call);

/* The core's operation or that of a running plugin; NULL. `owner` NULL: the core's. */
const struct op *op_find(const char *name, struct instance **owner);
bool op_is_core(const char *name);
/* All that can be called now, as `describe` tells it: new reference. */
json_t *ops_describe(void);

/* Before a plugin stops: calls that know of clients that go away are told that theirs has. */
void ops_close_streams(const struct instance *inst);
/* After: whatever still waits for an answer gets one. */
void ops_fail_pending(const struct instance *inst);

/* 0, or -EINVAL with what is wrong with `args` (an object) and what would be right. */
int op_check_args(const struct op *op, const json_t *args, bool has_fd, struct err *err);

/* ops_core.c */
extern const struct op core_ops[];
