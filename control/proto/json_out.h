/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * JSON written by appending: what map messages are made with, since most of their bytes are copied
 * from texts that were made before. No tree, no look back. Protocol library.
 *
 * Without memory the writer fails once and ignores the rest; json_out_ok tells at the end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tailplane/net.h>

#include "secret.h"

struct json_out {
	char *text; /* heap, not NUL-terminated */
	size_t len, size;
	bool failed;
};

void json_out_fini(struct json_out *out);
static inline void json_out_reset(struct json_out *out)
{
	out->len = 0;
	out->failed = false;
}
static inline bool json_out_ok(const struct json_out *out)
{
	return !out->failed;
}

/* Room for `len` more bytes; NULL without memory. */
char *json_out_room(struct json_out *out, size_t len);
/* Gives back what it has room for and does not hold. */
void json_out_fit(struct json_out *out);

static inline void json_out_raw(struct json_out *out, const char *text, size_t len)
{
	char *to = json_out_room(out, len);

	if (to) {
		memcpy(to, text, len);
		out->len += len;
	}
}

/* A literal, or a text that is JSON already. */
static inline void json_out_text(struct json_out *out, const char *text)
{
	json_out_raw(out, text, strlen(text));
}

/* With quotes; escapes what must be. What is not UTF-8 becomes U+FFFD; U+0000 cannot be in it. */
void json_out_string(struct json_out *out, const char *text);
void json_out_int(struct json_out *out, int64_t number);
void json_out_uint(struct json_out *out, uint64_t number);
void json_out_bool(struct json_out *out, bool yes);
/* "nodekey:..." with quotes. */
void json_out_key(struct json_out *out, const char *prefix, const struct public_key *key);
/* RFC 3339 in UTC with quotes; Unix nanoseconds. */
void json_out_time(struct json_out *out, int64_t ns);
void json_out_addr(struct json_out *out, const struct net_addr *addr);
void json_out_prefix(struct json_out *out, const struct net_prefix *prefix);
/* Standard base64, padded, with quotes. */
void json_out_base64(struct json_out *out, const void *bytes, size_t len);
