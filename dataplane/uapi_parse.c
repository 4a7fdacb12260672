/* SPDX-License-Identifier: BSD-3-Clause */
/* Parser of WireGuard's user-space socket protocol: lines of key=value. Protocol library. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "uapi_parse.h"

#define VALUE_MAX 128

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int hex_key(uint8_t key[32], const char *text)
{
	if (strlen(text) != 64)
		return -EINVAL;
	for (unsigned i = 0; i < 32; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		key[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

void uapi_hex(const uint8_t key[static 32], char text[static 65])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 32; i++) {
		text[2 * i] = digits[key[i] >> 4];
		text[2 * i + 1] = digits[key[i] & 15];
	}
	text[64] = '\0';
}

static int number(uint32_t *out, const char *text, uint64_t max)
{
	char *end;
	unsigned long long v;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || *end || v > max)
		return -EINVAL;
	*out = (uint32_t)v;
	return 0;
}

static int is_true(bool *out, const char *text)
{
	*out = true;
	return strcmp(text, "true") ? -EINVAL : 0;
}

static int grow(void **array, size_t n, size_t size)
{
	void *grown;

	if (n & (n - 1)) /* room until the next power of two */
		return 0;
	grown = realloc(*array, (n ? n * 2 : 1) * size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	return 0;
}

static int peer_begin(struct uapi_request *r, const char *value)
{
	struct uapi_peer *p;

	/* not realloc: what held a preshared key must be zeroed */
	if (!(r->n_peers & (r->n_peers - 1))) {
		size_t size = (r->n_peers ? r->n_peers * 2 : 1) * sizeof(*p);
		struct uapi_peer *grown = aligned_alloc(_Alignof(struct uapi_peer), size);

		if (!grown)
			return -ENOMEM;
		if (r->n_peers) {
			memcpy(grown, r->peers, r->n_peers * sizeof(*p));
			secret_zero(r->peers, r->n_peers * sizeof(*p));
		}
		free(r->peers);
		r->peers = grown;
	}
	p = &r->peers[r->n_peers];
	memset(p, 0, sizeof(*p));
	if (hex_key(p->public_key.bytes, value))
		return -EINVAL;
	r->n_peers++;
	return 0;
}

static int allowed_ip(struct uapi_peer *p, const char *value)
{
	struct uapi_allowed_ip *ip;

	if (grow((void **)&p->allowed_ips, p->n_allowed_ips, sizeof(*ip)))
		return -ENOMEM;
	ip = &p->allowed_ips[p->n_allowed_ips];
	ip->remove = *value == '-';
	if (net_prefix_parse(&ip->prefix, value + ip->remove))
		return -EINVAL;
	p->n_allowed_ips++;
	return 0;
}

static int keepalive(struct uapi_peer *p, const char *value)
{
	uint32_t v = 0;

	p->has_keepalive = true;
	if (strcmp(value, "off") && number(&v, value, UINT16_MAX))
		return -EINVAL;
	p->keepalive = (uint16_t)v;
	return 0;
}

static int peer_line(struct uapi_peer *p, const char *key, const char *value)
{
	uint32_t version;

	if (!strcmp(key, "allowed_ip"))
		return allowed_ip(p, value);
	if (!strcmp(key, "endpoint")) {
		p->has_endpoint = true;
		return net_endpoint_parse(&p->endpoint, value);
	}
	if (!strcmp(key, "preshared_key")) {
		p->has_preshared_key = true;
		return hex_key(p->preshared_key.bytes, value);
	}
	if (!strcmp(key, "persistent_keepalive_interval"))
		return keepalive(p, value);
	if (!strcmp(key, "replace_allowed_ips"))
		return is_true(&p->replace_allowed_ips, value);
	if (!strcmp(key, "remove"))
		return is_true(&p->remove, value);
	if (!strcmp(key, "update_only"))
		return is_true(&p->update_only, value);
	if (!strcmp(key, "protocol_version"))
		return number(&version, value, 1);
	return -EINVAL;
}

static int listen_port(struct uapi_request *r, const char *value)
{
	uint32_t v;

	if (number(&v, value, UINT16_MAX))
		return -EINVAL;
	r->has_listen_port = true;
	r->listen_port = (uint16_t)v;
	return 0;
}

static int interface_line(struct uapi_request *r, const char *key, const char *value)
{
	if (!strcmp(key, "private_key")) {
		r->has_private_key = true;
		return hex_key(r->private_key.bytes, value);
	}
	if (!strcmp(key, "listen_port"))
		return listen_port(r, value);
	if (!strcmp(key, "fwmark")) {
		r->has_fwmark = true;
		return number(&r->fwmark, *value ? value : "0", UINT32_MAX);
	}
	if (!strcmp(key, "replace_peers"))
		return is_true(&r->replace_peers, value);
	return -EINVAL;
}

static int line_take(struct uapi_request *r, char *line)
{
	char *value = strchr(line, '=');

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	if (!strcmp(line, "public_key"))
		return peer_begin(r, value);
	if (r->n_peers)
		return peer_line(&r->peers[r->n_peers - 1], line, value);
	return interface_line(r, line, value);
}

/* The next line without its end into `line`; its length with the end, 0 when it is too long or
 * holds a NUL, or there is none. */
static size_t line_next(char line[VALUE_MAX], const char *text, size_t len)
{
	const char *end = memchr(text, '\n', len);
	size_t n = end ? (size_t)(end - text) : 0;

	if (!end || n >= VALUE_MAX || memchr(text, '\0', n))
		return 0;
	memcpy(line, text, n);
	line[n] = '\0';
	return n + 1;
}

int uapi_parse(struct uapi_request *r, const char *text, size_t len)
{
	char line[VALUE_MAX];
	size_t at = line_next(line, text, len), n;
	int rc = 0;

	memset(r, 0, sizeof(*r));
	if (!at || (strcmp(line, "get=1") && strcmp(line, "set=1")))
		return -EINVAL;
	r->get = *line == 'g';
	while (!rc) {
		n = line_next(line, text + at, len - at);
		at += n;
		if (!n)
			rc = -EINVAL;
		else if (!*line)
			break;
		else
			rc = r->get ? -EINVAL : line_take(r, line);
	}
	secret_zero(line, sizeof(line));
	return rc;
}

void uapi_request_fini(struct uapi_request *r)
{
	for (size_t i = 0; i < r->n_peers; i++)
		free(r->peers[i].allowed_ips);
	if (r->peers)
		secret_zero(r->peers, r->n_peers * sizeof(*r->peers));
	free(r->peers);
	secret_zero(r, sizeof(*r));
}
