/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "json_out.h"

#include <stdlib.h>

#include <sodium.h>

#include <tailplane/utf8.h>

#include "key_text.h"
#include "times.h"

void json_out_fini(struct json_out *out)
{
	free(out->text);
	*out = (struct json_out){0};
}

char *json_out_room(struct json_out *out, size_t len)
{
	size_t size = out->size ? out->size : 1024;
	char *text;

	if (out->failed)
		return NULL;
	if (out->size - out->len >= len)
		return out->text + out->len;
	while (size - out->len < len)
		size *= 2;
	text = realloc(out->text, size);
	if (!text) {
		out->failed = true;
		return NULL;
	}
	out->text = text;
	out->size = size;
	return out->text + out->len;
}

void json_out_fit(struct json_out *out)
{
	char *text = out->len ? realloc(out->text, out->len) : NULL;

	if (!text)
		return;
	out->text = text;
	out->size = out->len;
}

static void escaped(struct json_out *out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	char text[7] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15], 0};

	if (c == '"')
		json_out_raw(out, "\\\"", 2);
	else if (c == '\\')
		json_out_raw(out, "\\\\", 2);
	else
		json_out_raw(out, text, 6);
}

void json_out_string(struct json_out *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	json_out_raw(out, "\"", 1);
	while (*at) {
		const unsigned char *plain = at;
		size_t len;

		while (*at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
			at++;
		json_out_raw(out, (const char *)plain, (size_t)(at - plain));
		if (!*at)
			break;
		if (*at < 0x80) {
			escaped(out, *at++);
			continue;
		}
		len = utf8_character((const char *)at);
		if (len)
			json_out_raw(out, (const char *)at, len);
		else
			json_out_raw(out, "\xef\xbf\xbd", 3);
		at += len ? len : 1;
	}
	json_out_raw(out, "\"", 1);
}

void json_out_uint(struct json_out *out, uint64_t number)
{
	char text[20];
	size_t at = sizeof(text);

	do
		text[--at] = (char)('0' + number % 10);
	while (number /= 10);
	json_out_raw(out, text + at, sizeof(text) - at);
}

void json_out_int(struct json_out *out, int64_t number)
{
	if (number < 0)
		json_out_raw(out, "-", 1);
	json_out_uint(out, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

void json_out_bool(struct json_out *out, bool yes)
{
	json_out_text(out, yes ? "true" : "false");
}

void json_out_key(struct json_out *out, const char *prefix, const struct public_key *key)
{
	char text[KEY_TEXT_SIZE];

	json_out_raw(out, "\"", 1);
	json_out_text(out, key_text_format(text, prefix, key));
	json_out_raw(out, "\"", 1);
}

void json_out_time(struct json_out *out, int64_t ns)
{
	char text[TIME_TEXT_SIZE];

	json_out_raw(out, "\"", 1);
	json_out_text(out, time_text_format(text, ns));
	json_out_raw(out, "\"", 1);
}

void json_out_addr(struct json_out *out, const struct net_addr *addr)
{
	char text[NET_ADDR_STRLEN];

	json_out_raw(out, "\"", 1);
	json_out_text(out, net_addr_format(addr, text));
	json_out_raw(out, "\"", 1);
}

void json_out_prefix(struct json_out *out, const struct net_prefix *prefix)
{
	char text[NET_PREFIX_STRLEN];

	json_out_raw(out, "\"", 1);
	json_out_text(out, net_prefix_format(prefix, text));
	json_out_raw(out, "\"", 1);
}

void json_out_base64(struct json_out *out, const void *bytes, size_t len)
{
	size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
	char *to;

	json_out_raw(out, "\"", 1);
	to = json_out_room(out, room);
	if (to) {
		sodium_bin2base64(to, room, bytes, len, sodium_base64_VARIANT_ORIGINAL);
		out->len += room - 1;
	}
	json_out_raw(out, "\"", 1);
}
