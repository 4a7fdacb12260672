/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop, and before it runs. */
#include "conf.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <tailplane/state.h>

#define HEX_LEN 64
#define FILE_MAX 256

static const struct setting peers[] = {
	{"url", SETTING_STRING, SETTING_REQUIRED | SETTING_UNIQUE,
		offsetof(struct derp_mesh_peer, url),
		.help = "https://host[:port], or http:// for one without TLS."},
	{"address", SETTING_STRING, 0, offsetof(struct derp_mesh_peer, address),
		.help = "Another name or address to connect to, as within a private network; the "
			"certificate is still the url's."},
	{"cert_name", SETTING_STRING, 0, offsetof(struct derp_mesh_peer, cert_name),
		.help = "What the certificate is for, if not the url's host; or sha256-raw: and "
			"its SHA-256 in hex, for one that signs itself."},
	{0},
};

const struct setting derp_mesh_settings[] = {
	{"psk_file", SETTING_SECRET_FILE, 0, offsetof(struct derp_mesh_conf, psk_file),
		.help = "The key that the nodes of a region share: 64 hex digits, the file of "
			"derper's --mesh-psk-file. Without one, nobody is a node of this region."},
	{"with", SETTING_STRING, SETTING_LIST, offsetof(struct derp_mesh_conf, with),
		.help = "The other nodes of the region, as derper's --mesh-with has them: host, or "
			"host/address to connect to another one. This node may be among them."},
	{"peers", SETTING_GROUP, SETTING_LIST, offsetof(struct derp_mesh_conf, peers), .sub = peers,
		.size = sizeof(struct derp_mesh_peer),
		.help = "More of them, with what their certificates are."},
	{0},
};

/* ---- the key ---- */

int derp_mesh_key_parse(struct symmetric_key *key, const char *text, size_t len)
{
	size_t n = 0;

	while (len && isspace((unsigned char)*text))
		text++, len--;
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (len != HEX_LEN ||
		sodium_hex2bin(key->bytes, sizeof(key->bytes), text, len, NULL, &n, NULL) != 0 ||
		n != sizeof(key->bytes) || secret_is_zero(key->bytes, sizeof(key->bytes))) {
		secret_zero(key, sizeof(*key));
		return -EINVAL;
	}
	return 0;
}

int derp_mesh_key_load(struct symmetric_key *key, const char *path, struct err *err)
{
	char text[FILE_MAX];
	struct err why = {0};
	ssize_t n = state_read_secret(path, text, sizeof(text), &why);
	int rc = n < 0 ? (int)n : derp_mesh_key_parse(key, text, (size_t)n);

	secret_zero(text, sizeof(text));
	if (n < 0)
		err_set(err, rc, "derp.mesh.psk_file: %s", why.msg);
	else if (rc)
		err_set(err, rc, "%s is not a mesh key: %d hex digits", path, HEX_LEN);
	return rc;
}

/* ---- the nodes ---- */

/* `address` into the target, or to `dial` if it is a name. */
static int set_address(struct derp_target *target, const char *address,
	char dial[static DERP_HOST_MAX + 1], struct err *err)
{
	struct net_addr addr;

	target->n_addresses = 0;
	if (net_addr_parse(&addr, address) == 0) {
		derp_target_address(target, &addr);
		return 0;
	}
	if (!derp_host_valid(address) || strchr(address, ':'))
		return err_set(err, -EINVAL, "%s: not a name or an address", address);
	snprintf(dial, DERP_HOST_MAX + 1, "%s", address);
	return 0;
}

static int node_of_with(const char *text, struct derp_target *target,
	char dial[static DERP_HOST_MAX + 1], struct err *err)
{
	char host[2 * DERP_HOST_MAX];
	const char *slash = strchr(text, '/');
	int rc;

	if (strlen(text) >= sizeof(host) || strstr(text, "//"))
		return err_set(err, -EINVAL, "%s: not host or host/address", text);
	snprintf(
		host, sizeof(host), "%.*s", (int)(slash ? slash - text : (long)strlen(text)), text);
	rc = derp_target_parse(target, host, err);
	if (!rc && slash)
		rc = set_address(target, slash + 1, dial, err);
	return rc;
}

static int node_of_peer(const struct derp_mesh_peer *peer, struct derp_target *target,
	char dial[static DERP_HOST_MAX + 1], struct err *err)
{
	int rc = derp_target_parse(target, peer->url, err);

	if (!rc && peer->address)
		rc = set_address(target, peer->address, dial, err);
	if (rc || !peer->cert_name)
		return rc;
	if (!derp_cert_name_valid(peer->cert_name))
		return err_set(err, -EINVAL,
			"%s: neither a name nor " DERP_CERT_PIN " and 64 hex digits",
			peer->cert_name);
	snprintf(target->cert_name, sizeof(target->cert_name), "%s", peer->cert_name);
	return 0;
}

int derp_mesh_node_at(const struct derp_mesh_conf *conf, size_t i, struct derp_target *target,
	char dial[static DERP_HOST_MAX + 1], struct err *err)
{
	int rc;

	dial[0] = '\0';
	if (i < conf->with.count)
		rc = node_of_with(((char **)conf->with.items)[i], target, dial, err);
	else if (i - conf->with.count < conf->peers.count)
		rc = node_of_peer(
			&((struct derp_mesh_peer *)conf->peers.items)[i - conf->with.count], target,
			dial, err);
	else
		return -ENOENT;
	if (!rc && !target->n_addresses && !dial[0])
		snprintf(dial, DERP_HOST_MAX + 1, "%s", target->host);
	return rc;
}

void derp_mesh_validate(const struct derp_mesh_conf *conf, struct setting_errors *errs)
{
	size_t n = conf->with.count + conf->peers.count;
	char dial[DERP_HOST_MAX + 1];
	struct derp_target target;

	if (n && !conf->psk_file)
		setting_error(errs, conf, "other nodes of the region take a psk_file");
	for (size_t i = 0; i < n; i++) {
		struct err err = {0};
		const void *field =
			i < conf->with.count
				? (const void *)&conf->with
				: &((struct derp_mesh_peer *)
						  conf->peers.items)[i - conf->with.count]
					   .url;

		if (derp_mesh_node_at(conf, i, &target, dial, &err) == -EINVAL)
			setting_error(errs, field, "%s", err.msg);
	}
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool derp_mesh_conf_equal(const struct derp_mesh_conf *a, const struct derp_mesh_conf *b)
{
	const struct derp_mesh_peer *p = a->peers.items, *q = b->peers.items;
	bool equal = same(a->psk_file, b->psk_file) && a->with.count == b->with.count &&
		     a->peers.count == b->peers.count;

	for (size_t i = 0; equal && i < a->with.count; i++)
		equal = same(((char **)a->with.items)[i], ((char **)b->with.items)[i]);
	for (size_t i = 0; equal && i < a->peers.count; i++)
		equal = same(p[i].url, q[i].url) && same(p[i].address, q[i].address) &&
			same(p[i].cert_name, q[i].cert_name);
	return equal;
}
