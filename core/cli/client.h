/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include <tailplane/err.h>

/*
 * The control socket from the client's side: one JSON object per line, answered by any number of
 * {"row":...} and one {"result":...} or {"error":...}.
 */
struct client {
	int fd; /* -1: not connected */
	char *buffer;
	size_t used, size;
};

/* 0, or -errno with a reason that says how to get further. */
int client_connect(struct client *client, const char *path, struct err *err);
void client_close(struct client *client);

/* Passes `fd` along unless it is -1. */
int client_send(struct client *client, const char *op, json_t *args, int fd, struct err *err);
/*
 * The next line of the answer (new reference): an object with one of row, result, error. Waits up
 * to `timeout_ms` (-1: for ever); NULL with `err` unset when that passed, with a reason when the
 * daemon went away.
 */
json_t *client_receive(struct client *client, int timeout_ms, struct err *err);

/* The same in two steps, for who may do without the tree: false as NULL above; else the line has
 * come, and is the first *len bytes of the buffer until one of the others is called. */
bool client_wait(struct client *client, int timeout_ms, size_t *len, struct err *err);
json_t *client_take(struct client *client, size_t len, struct err *err);
void client_drop(struct client *client, size_t len);

/* Sends and takes the whole answer: the result, or the rows as an array if there were any. NULL
 * with a reason (or none when the time passed). */
json_t *client_ask(
	struct client *client, const char *op, json_t *args, int timeout_ms, struct err *err);
