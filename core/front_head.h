/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The bytes of one HTTP/1 request. Protocol library: no socket, no clock, any thread. http-parser
 * reads; here are the bounds, and where what was read lies.
 */
#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>

#define HEAD_MAX 8192
#define HEAD_URL_MAX 2048
#define HEAD_FIELDS_MAX 64

enum head_result {
	HEAD_MORE,     /* feed on */
	HEAD_COMPLETE, /* the head is: decide about the body, then head_resume */
	HEAD_DONE,     /* the request is whole */
	HEAD_BAD,      /* answer `status` with `why`, and close */
};

struct head_span {
	uint16_t at, len;
};

struct front_head {
	http_parser parser;
	uint16_t len, size; /* of text: used, there */
	uint16_t n_fields;
	uint16_t status; /* HEAD_BAD */
	bool in_value, complete, done;
	const char *why;
	struct head_span url;
	struct {
		struct head_span name, value;
	} fields[HEAD_FIELDS_MAX];
	uint8_t *body; /* heap, one byte longer than its room */
	size_t body_len, body_size, body_max;
	char *text; /* heap: the head as it came; after head_finish texts end with NUL */
};

struct front_head *head_new(void);
void head_free(struct front_head *head);

/* Takes `n` bytes, says how many it `used`: after HEAD_COMPLETE and HEAD_DONE the rest is not its
 * own. */
enum head_result head_feed(struct front_head *head, const char *bytes, size_t n, size_t *used);
/* After HEAD_COMPLETE: a body of up to `body_max` bytes may follow; a larger one is HEAD_BAD. */
enum head_result head_resume(struct front_head *head, size_t body_max);
/* How long the announced body is; 0: none, UINT64_MAX: chunks. */
uint64_t head_body_announced(const struct front_head *head);

/* After HEAD_COMPLETE. */
const char *head_method(const struct front_head *head);
const char *head_path(const struct front_head *head);
const char *head_query(const struct front_head *head);
const char *head_field(const struct front_head *head, const char *name);
/* Whether the list in the field of that name has this word. */
bool head_field_has(const struct front_head *head, const char *name, const char *word);

/* Percent escapes and '+'. The length, -ENOENT, or -EINVAL. */
ssize_t query_get(const char *query, const char *name, char *buf, size_t size);

/*
 * Who a trusted proxy says is at the far end: the last address of X-Forwarded-For that is not a
 * trusted proxy itself, or X-Real-IP. False: neither says.
 */
struct head_proxies {
	const struct net_prefix *trusted;
	size_t n;
};
bool head_is_trusted(const struct head_proxies *proxies, const struct net_addr *addr);
bool head_client_address(
	const struct front_head *head, const struct head_proxies *proxies, struct net_addr *addr);
