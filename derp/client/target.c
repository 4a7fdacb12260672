/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "target.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIN_HEX_LEN 64

bool derp_target_address(struct derp_target *target, const struct net_addr *addr)
{
	if (target->n_addresses == DERP_ADDRESSES_MAX)
		return false;
	target->addresses[target->n_addresses++] =
		(struct net_endpoint){.addr = *addr, .port = target->port};
	return true;
}

bool derp_host_valid(const char *host)
{
	size_t n =
		strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:");

	return n && n <= DERP_HOST_MAX && !host[n];
}

bool derp_cert_name_valid(const char *cert_name)
{
	size_t pin = strlen(DERP_CERT_PIN);

	if (strncmp(cert_name, DERP_CERT_PIN, pin) != 0)
		return derp_host_valid(cert_name) && !strchr(cert_name, ':');
	return strlen(cert_name) == pin + PIN_HEX_LEN &&
	       strspn(cert_name + pin, "0123456789abcdef") == PIN_HEX_LEN;
}

static bool take_scheme(struct derp_target *target, const char **at)
{
	target->plain = strncmp(*at, "http://", 7) == 0;
	if (target->plain)
		*at += 7;
	else if (strncmp(*at, "https://", 8) == 0)
		*at += 8;
	else if (strstr(*at, "://"))
		return false;
	target->port = target->plain ? 80 : 443;
	return true;
}

/* `at` as far as `len`: "host", "host:port", "[v6]", "[v6]:port", or a bare IPv6 address. */
static bool take_host(struct derp_target *target, const char *at, size_t len)
{
	char text[DERP_HOST_MAX + 16];
	struct net_addr addr;
	size_t n;

	if (!len || len >= sizeof(text))
		return false;
	memcpy(text, at, len);
	text[len] = '\0';
	if (net_addr_parse(&addr, text) == 0) {
		snprintf(target->host, sizeof(target->host), "%s", text);
		return true;
	}
	if (text[0] == '[' && text[len - 1] == ']') {
		memmove(text, text + 1, len - 2);
		text[len - 2] = '\0';
		snprintf(target->host, sizeof(target->host), "%.*s", DERP_HOST_MAX, text);
		return net_addr_parse(&addr, text) == 0;
	}
	if (strchr(text, ':'))
		return net_hostport_split(
			       text, target->host, sizeof(target->host), &target->port) == 0 &&
		       target->port;
	n = strlen(text);
	if (n > DERP_HOST_MAX)
		return false;
	memcpy(target->host, text, n + 1);
	return true;
}

int derp_target_parse(struct derp_target *target, const char *url, struct err *err)
{
	const char *at = url, *path;
	struct net_addr addr;
	size_t len;

	*target = (struct derp_target){0};
	if (!take_scheme(target, &at))
		return err_set(err, -EINVAL, "%s: a relay is reached by https:// or http://", url);
	len = strcspn(at, "/");
	path = at + len;
	if (strcmp(path, "") != 0 && strcmp(path, "/") != 0 && strcmp(path, "/derp") != 0)
		return err_set(err, -EINVAL, "%s: the path of a relay is /derp", url);
	if (!take_host(target, at, len) || !derp_host_valid(target->host))
		return err_set(err, -EINVAL, "%s: not a host and port", url);
	if (net_addr_parse(&addr, target->host) == 0)
		derp_target_address(target, &addr);
	return 0;
}
