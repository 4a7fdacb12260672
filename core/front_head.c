/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include "front_head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_FIRST 512

struct front_head *head_new(void)
{
	struct front_head *head = calloc(1, sizeof(*head));

	if (!head)
		return NULL;
	http_parser_init(&head->parser, HTTP_REQUEST);
	head->parser.data = head;
	return head;
}

void head_free(struct front_head *head)
{
	if (!head)
		return;
	free(head->text);
	free(head->body);
	free(head);
}

static int bad(struct front_head *head, uint16_t status, const char *why)
{
	if (!head->status) {
		head->status = status;
		head->why = why;
	}
	return 1;
}

/* ---- what the parser reports: places in `text` ---- */

/* Pieces of one span follow each other, unless a line was folded. */
static int extend(struct front_head *head, struct head_span *span, const char *at, size_t len)
{
	uint16_t place = (uint16_t)(at - head->text);

	if (!len) /* `at` is anywhere */
		return 0;
	if (!span->len)
		span->at = place;
	else if (span->at + span->len != place)
		return bad(head, 400, "folded header lines are not taken");
	span->len = (uint16_t)(span->len + len);
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	struct front_head *head = parser->data;

	if (head->url.len + len > HEAD_URL_MAX)
		return bad(head, 414, "this address is too long");
	return extend(head, &head->url, at, len);
}

static int on_field(http_parser *parser, const char *at, size_t len)
{
	struct front_head *head = parser->data;

	if (head->complete) /* a trailer: not looked at */
		return 0;
	if (memchr(at, ' ', len))
		return bad(head, 400, "a blank in the name of a header field");
	if (head->in_value || !head->n_fields) {
		if (head->n_fields == HEAD_FIELDS_MAX)
			return bad(head, 431, "too many header fields");
		head->n_fields++;
		head->in_value = false;
	}
	return extend(head, &head->fields[head->n_fields - 1].name, at, len);
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
	struct front_head *head = parser->data;

	if (head->complete)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (((unsigned char)at[i] < ' ' && at[i] != '\t') || at[i] == 0x7f)
			return bad(head, 400, "control characters in a header field");
	}
	head->in_value = true;
	return extend(head, &head->fields[head->n_fields - 1].value, at, len);
}

static int on_headers_complete(http_parser *parser)
{
	struct front_head *head = parser->data;

	head->complete = true;
	http_parser_pause(parser, 1);
	return 0;
}

/* By how much it grows depends on what arrived, not on what was announced. */
static int on_body(http_parser *parser, const char *at, size_t len)
{
	struct front_head *head = parser->data;
	size_t need = head->body_len + len;

	if (need > head->body_max)
		return bad(head, 413, "the request's body is too long");
	if (need > head->body_size) {
		size_t size = need < 2 * head->body_size ? 2 * head->body_size : need;
		uint8_t *grown = realloc(head->body, size + 1);

		if (!grown)
			return bad(head, 503, "no memory");
		head->body = grown;
		head->body_size = size;
	}
	memcpy(head->body + head->body_len, at, len);
	head->body_len = need;
	head->body[need] = '\0';
	return 0;
}

static int on_message_complete(http_parser *parser)
{
	struct front_head *head = parser->data;

	head->done = true;
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings parser_settings = {
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* ---- feeding ---- */

static enum head_result verdict(struct front_head *head)
{
	enum http_errno error = HTTP_PARSER_ERRNO(&head->parser);

	if (head->status)
		return HEAD_BAD;
	if (head->done)
		return HEAD_DONE;
	if (error == HPE_OK || error == HPE_PAUSED)
		return HEAD_MORE;
	if (error == HPE_HEADER_OVERFLOW)
		bad(head, 431, "the request's head is too long");
	else if (error == HPE_INVALID_VERSION || head->parser.http_major > 1)
		bad(head, 505, "versions 1.0 and 1.1 only");
	else
		bad(head, 400, http_errno_description(error));
	return HEAD_BAD;
}

static bool text_room(struct front_head *head, size_t n)
{
	size_t size = head->size ? head->size : TEXT_FIRST;
	char *grown;

	while (size < head->len + n + 1)
		size *= 2;
	if (size == head->size)
		return true;
	grown = realloc(head->text, size);
	if (!grown)
		return false;
	head->text = grown;
	head->size = (uint16_t)size;
	return true;
}

static void finish_text(struct front_head *head, struct head_span *span)
{
	while (span->len && strchr(" \t", head->text[span->at + span->len - 1]))
		span->len--;
	head->text[span->at + span->len] = '\0';
}

/* "http://host/path" is "/path"; behind the path a NUL instead of '?'. */
static void split_url(struct front_head *head)
{
	char *url = head->text + head->url.at, *scheme = strstr(url, "://"), *path;

	if (*url != '/' && scheme && (path = strchr(scheme + 3, '/'))) {
		head->url.at = (uint16_t)(path - head->text);
		head->url.len = (uint16_t)(head->url.len - (path - url));
		url = path;
	}
	url[strcspn(url, "#")] = '\0';
	head->url.len = (uint16_t)strlen(url);
	url[strcspn(url, "?")] = '\0';
}

/* Behind each span is a byte of the head that nobody needs any more: blank, colon or line end. A
 * field without value is at 0, where the method was. */
static void finish_texts(struct front_head *head)
{
	finish_text(head, &head->url);
	split_url(head);
	for (unsigned i = 0; i < head->n_fields; i++) {
		finish_text(head, &head->fields[i].name);
		finish_text(head, &head->fields[i].value);
	}
}

static enum head_result feed_head(
	struct front_head *head, const char *bytes, size_t n, size_t *used)
{
	size_t room = HEAD_MAX - head->len, taken;

	if (n > room)
		n = room;
	if (!text_room(head, n))
		return bad(head, 503, "no memory"), HEAD_BAD;
	memcpy(head->text + head->len, bytes, n);
	taken = http_parser_execute(&head->parser, &parser_settings, head->text + head->len, n);
	head->len = (uint16_t)(head->len + taken);
	*used = taken;
	if (head->status || !head->complete) {
		if (head->len >= HEAD_MAX)
			bad(head, 431, "the request's head is too long");
		return verdict(head);
	}
	if (head->parser.http_major != 1)
		return bad(head, 505, "versions 1.0 and 1.1 only"), HEAD_BAD;
	finish_texts(head);
	return HEAD_COMPLETE;
}

enum head_result head_feed(struct front_head *head, const char *bytes, size_t n, size_t *used)
{
	*used = 0;
	if (!head->complete)
		return feed_head(head, bytes, n, used);
	*used = http_parser_execute(&head->parser, &parser_settings, bytes, n);
	return verdict(head);
}

uint64_t head_body_announced(const struct front_head *head)
{
	if (head->parser.flags & F_CHUNKED)
		return UINT64_MAX;
	return head->parser.flags & F_CONTENTLENGTH ? head->parser.content_length : 0;
}

/* The parser stopped before the head's last line feed: given once more, it goes on. */
enum head_result head_resume(struct front_head *head, size_t body_max)
{
	uint64_t announced = head_body_announced(head);

	head->body_max = body_max;
	if (announced > body_max && (announced != UINT64_MAX || !body_max))
		return bad(head, 413, "the request's body is too long"), HEAD_BAD;
	http_parser_pause(&head->parser, 0);
	return HEAD_MORE;
}

/* ---- what was read ---- */

const char *head_method(const struct front_head *head)
{
	return http_method_str(head->parser.method);
}

const char *head_path(const struct front_head *head)
{
	return head->text + head->url.at;
}

const char *head_query(const struct front_head *head)
{
	const char *path = head_path(head);
	size_t len = strlen(path);

	/* the split put a NUL where the '?' was */
	return len < head->url.len ? path + len + 1 : "";
}

const char *head_field(const struct front_head *head, const char *name)
{
	for (unsigned i = 0; i < head->n_fields; i++) {
		if (strcasecmp(head->text + head->fields[i].name.at, name) == 0)
			return head->text + head->fields[i].value.at;
	}
	return NULL;
}

bool head_field_has(const struct front_head *head, const char *name, const char *word)
{
	const char *list = head_field(head, name);
	size_t len = strlen(word);

	while (list && *list) {
		list += strspn(list, " \t,");
		if (strncasecmp(list, word, len) == 0 &&
			(list[len] == '\0' || strchr(" \t,", list[len])))
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

/* ---- queries ---- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static ssize_t unescape(const char *text, size_t len, char *buf, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = text[i] == '+' ? ' ' : (unsigned char)text[i];

		if (c == '%') {
			int high = i + 1 < len ? hex(text[i + 1]) : -1;
			int low = i + 2 < len ? hex(text[i + 2]) : -1;

			c = high < 0 || low < 0 ? 0 : high << 4 | low;
			i += 2;
		}
		if (n + 1 >= size || !c)
			return -EINVAL;
		buf[n++] = (char)c;
	}
	buf[n] = '\0';
	return (ssize_t)n;
}

ssize_t query_get(const char *query, const char *name, char *buf, size_t size)
{
	size_t name_len = strlen(name);

	while (*query) {
		size_t len = strcspn(query, "&");

		if (len > name_len && query[name_len] == '=' && memcmp(query, name, name_len) == 0)
			return unescape(query + name_len + 1, len - name_len - 1, buf, size);
		query += len;
		query += *query == '&';
	}
	return -ENOENT;
}

/* ---- proxies ---- */

bool head_is_trusted(const struct head_proxies *proxies, const struct net_addr *addr)
{
	for (size_t i = 0; i < proxies->n; i++) {
		if (net_prefix_contains(&proxies->trusted[i], addr))
			return true;
	}
	return false;
}

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80"; "::ffff:192.0.2.1" is the first
 * of them. */
static bool parse_address(struct net_addr *addr, const char *text, size_t len)
{
	char copy[NET_ENDPOINT_STRLEN];
	struct net_endpoint ep;

	while (len && strchr(" \t", *text))
		text++, len--;
	while (len && strchr(" \t", text[len - 1]))
		len--;
	if (!len || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (net_addr_parse(addr, copy) != 0) {
		if (net_endpoint_parse(&ep, copy) != 0)
			return false;
		*addr = ep.addr;
	}
	net_addr_unmap(addr);
	return true;
}

/* From the right: each proxy appends whom it saw. True: an address that is not a trusted proxy's;
 * what is left of it may be anybody's invention. `addr` is the last one read. */
static bool forwarded_for(
	const char *list, const struct head_proxies *proxies, struct net_addr *addr, bool *found)
{
	size_t end = strlen(list), start;
	struct net_addr one;

	do {
		start = end;
		while (start && list[start - 1] != ',')
			start--;
		if (!parse_address(&one, list + start, end - start))
			return true;
		*addr = one;
		*found = true;
		end = start - 1;
	} while (start && head_is_trusted(proxies, addr));
	return !head_is_trusted(proxies, addr);
}

/* Some proxies append to the field, others add one behind it. */
bool head_client_address(
	const struct front_head *head, const struct head_proxies *proxies, struct net_addr *addr)
{
	const char *real = head_field(head, "X-Real-IP");
	bool found = false, outside = false;

	for (unsigned i = head->n_fields; i-- && !outside;) {
		if (strcasecmp(head->text + head->fields[i].name.at, "X-Forwarded-For") == 0)
			outside = forwarded_for(
				head->text + head->fields[i].value.at, proxies, addr, &found);
	}
	return found || (real && parse_address(addr, real, strlen(real)));
}
