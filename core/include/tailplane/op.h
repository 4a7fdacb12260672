/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include "settings.h"

#pragma GCC visibility push(default)

/*
 * One table of operations feeds the CLI, bash completion and the manual (later REST and Lua).
 * An operation runs on the control loop and answers exactly once, now or later, by op_reply or
 * op_fail. Between, it may stream with op_emit.
 */
struct op_call;

enum op_scope { OP_READ, OP_WRITE };

enum op_arg_flag {
	OP_ARG_REQUIRED = 1 << 0,
	OP_ARG_POSITIONAL = 1 << 1, /* given by place; others as --name VALUE (bool: --name) */
	OP_ARG_LIST = 1 << 2,       /* repeated or comma-separated; a JSON array for `run` */
	OP_ARG_FILE = 1 << 3, /* the CLI opens this path for writing and passes the descriptor */
	OP_ARG_SECRET_FILE = 1 << 4, /* the CLI reads the file and passes its content */
	OP_ARG_INPUT = 1 << 5,       /* beside OP_ARG_FILE: opened for reading */
};

struct op_arg {
	const char *name;       /* NULL ends a table; words joined with '-' */
	enum setting_type type; /* checked before `run`; JSON: bool, integer or string as written */
	unsigned flags;
	const char *const *choices; /* ENUM; passed as its string */
	const char *complete;       /* "op name:key": candidates come from that operation's rows */
	const char *help;
	char letter; /* also as -X VALUE; 0: none */
};

/* How the CLI shows a value on a terminal; -o json and yaml give it as it is. */
enum op_format {
	OP_TEXT,
	OP_COUNT,    /* 12 345 */
	OP_BYTES,    /* integer bytes -> 1.2 GiB */
	OP_BITRATE,  /* integer bit/s */
	OP_DURATION, /* integer ns -> 1 h 3 min */
	OP_AGO,      /* unix time, s (0: never), or RFC 3339 (null: never) -> 12 s ago */
	OP_STATE,    /* coloured word: up, down, failed ... */
	OP_PERCENT,  /* number 0..100 */
	OP_COUNTER,  /* OP_COUNT that only grows: --watch shows its rate as well */
	OP_TRAFFIC,  /* OP_BYTES that only grow, the same */
	OP_ALONE,    /* first column: of an object this is all that people see, bare, for scripts */
};

struct op_column {
	/* key NULL ends a table; "user.name": of the object within */
	const char *key, *title;
	enum op_format format;
};

struct op {
	const char *name; /* the command's words: "peers add"; NULL ends a table */
	const char *help;
	enum op_scope scope;
	const struct op_arg *args;
	/* A result that is an array of objects becomes a table with these columns, an object
	 * becomes "title: value" lines; NULL: keys in order of appearance. A string is printed as
	 * it is. */
	const struct op_column *columns;
	/* `args` was checked against the table, and stays until the answer. */
	void (*run)(struct op_call *call, const json_t *args);
	/* Other words for each word of the name, in its order: "authkey|pre ls|show", "-" for none.
	 * Understood, completed never. */
	const char *aliases;
};

/* Takes the reference of `result`. */
void op_reply(struct op_call *call, json_t *result);
/* The same with the result as JSON text, heap, which is freed here: for an answer of megabytes, of
 * which nobody needs a tree. */
void op_reply_text(struct op_call *call, char *text, size_t len);
void op_fail(struct op_call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A result that says that something is wrong: shown as any other, and the command has failed. Takes
 * the reference. */
void op_reply_failed(struct op_call *call, json_t *result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One row of a stream; takes the reference. */
void op_emit(struct op_call *call, json_t *row);
/* The descriptor passed for an OP_ARG_FILE argument (now the caller's), or -1. */
int op_take_fd(struct op_call *call);
/* `closed` runs on the loop if the client goes away before the answer; after it `call` is gone.
 * The operation must then not answer. */
void op_on_close(struct op_call *call, void (*closed)(void *arg), void *arg);

/* For a plugin that uses another's operation: arguments as the CLI would pass them (reference
 * taken), `done` on the loop, maybe before this returns, with either a result or an error text
 * (both borrowed). The rows of a stream come as one array, as the result. */
void op_invoke(const char *name, json_t *args,
	void (*done)(void *arg, const json_t *result, const char *error), void *arg);

#pragma GCC visibility pop
