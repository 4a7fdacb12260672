/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The client's end of the control protocol: upgrade, Noise, HTTP/2. Bytes in, bytes out; no socket,
 * no clock, any thread. For tests and the load generator.
 *
 * Ask for requests at any time; give what arrives to ts_client_input; send what ts_client_output
 * shows and say so with ts_client_sent.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "secret.h"

struct ts_client;

/* Called from within ts_client_input; requests may be made in them. NULL: not of interest. */
struct ts_client_ops {
	void (*status)(void *user, int32_t stream, int status);
	void (*data)(void *user, int32_t stream, const uint8_t *bytes, size_t len);
	/* Once per request; `error`: of RST_STREAM, 0 for an answer that is whole. */
	void (*end)(void *user, int32_t stream, uint32_t error);
	/* The server may send more only when ts_client_consume says so; else at once. */
	bool hold_window;
};

struct ts_client_conf {
	const char *host; /* for the Host field */
	struct private_key machine;
	struct public_key server;
	uint16_t version; /* capability version */
	const struct ts_client_ops *ops;
	void *user;
	uint32_t window; /* of a stream; 0: 4 MiB, as Go's client has */
};

/* NULL: no memory, or keys that make no secret. */
struct ts_client *ts_client_new(const struct ts_client_conf *conf);
void ts_client_free(struct ts_client *client);

/* The stream's number, or negative. `body` NULL: none; copied. */
int32_t ts_client_request(struct ts_client *client, const char *method, const char *path,
	const char *authority, const void *body, size_t len);
void ts_client_cancel(struct ts_client *client, int32_t stream);
void ts_client_ping(struct ts_client *client);
/* These bytes, sealed, in place of HTTP/2: for those who test a server. After the handshake. */
int ts_client_text(struct ts_client *client, const void *text, size_t len);
void ts_client_consume(struct ts_client *client, int32_t stream, size_t len);
/* The window that streams begin with, anew; and more of a stream's, whatever it has consumed. */
void ts_client_begin_with(struct ts_client *client, uint32_t window);
void ts_client_give(struct ts_client *client, int32_t stream, int32_t increment);

/* 0, or -errno with the reason from ts_client_error: the connection is over. */
int ts_client_input(struct ts_client *client, const uint8_t *bytes, size_t len);
const char *ts_client_error(const struct ts_client *client);
/* What is to be sent; NULL: nothing. */
const uint8_t *ts_client_output(struct ts_client *client, size_t *len);
void ts_client_sent(struct ts_client *client, size_t len);

struct ts_client_facts {
	const char *early; /* JSON of the early payload; NULL: there was none */
	bool goaway;
	uint64_t pongs, records, data_frames;
};
struct ts_client_facts ts_client_facts(const struct ts_client *client);
