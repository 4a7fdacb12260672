/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers given by command, kept in tunnels/NAME.peers.json of the state directory. The file says
 * what differs from the settings: whole peers, and keys of the settings' peers that are not wanted.
 * It holds preshared keys, so its mode is 0600. Control loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "control.h"

#define FILE_MAX (64 << 20)

static char *file_of(const char *tunnel)
{
	char name[128];

	snprintf(name, sizeof(name), "tunnels/%s.peers.json", tunnel);
	return state_path(name);
}

static bool is_zero(const struct symmetric_key *key)
{
	return secret_is_zero(key, sizeof(*key));
}

/* ---- reading --------------------------------------------------------------------------------- */

static int entry_allowed_ips(struct peer_spec *spec, const json_t *list)
{
	size_t n = json_array_size(list);

	spec->allowed_ips = calloc(n ? n : 1, sizeof(*spec->allowed_ips));
	if (!spec->allowed_ips)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || net_prefix_parse(&spec->allowed_ips[i], text))
			return -EINVAL;
	}
	spec->n_allowed_ips = n;
	return 0;
}

static int entry_parse(struct peers_state_entry *e, const json_t *row)
{
	const char *key = NULL, *name = "", *endpoint = "", *psk = NULL;
	json_int_t keepalive = 0;
	json_t *ips = NULL;
	int removed = 0;

	if (json_unpack((json_t *)row, "{s:s, s?b, s?s, s?s, s?s, s?I, s?o}", "public_key", &key,
		    "removed", &removed, "name", &name, "endpoint", &endpoint, "preshared_key",
		    &psk, "persistent_keepalive", &keepalive, "allowed_ips", &ips) ||
		setting_parse_key(e->spec.public_key.bytes, key, NULL) ||
		(psk && setting_parse_key(e->spec.preshared_key.bytes, psk, NULL)))
		return -EINVAL;
	e->removed = removed;
	snprintf(e->spec.name, sizeof(e->spec.name), "%s", name);
	snprintf(e->spec.endpoint, sizeof(e->spec.endpoint), "%s", endpoint);
	e->spec.persistent_keepalive = (uint64_t)keepalive;
	return entry_allowed_ips(&e->spec, ips);
}

/* Bytes to read it whole; a file beyond FILE_MAX is refused when it is read. */
static size_t file_room(const char *path)
{
	struct stat st;

	if (stat(path, &st) || st.st_size < 0)
		return 1;
	return st.st_size < FILE_MAX ? (size_t)st.st_size + 1 : FILE_MAX;
}

static json_t *file_read(const char *path, struct err *err)
{
	size_t room = file_room(path);
	char *text = malloc(room);
	ssize_t len;
	json_error_t where;
	json_t *rows = NULL;

	if (!text) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	len = state_read_secret(path, text, room, err);
	if (len == -ENOENT) {
		memset(err, 0, sizeof(*err));
		rows = json_array();
	} else if (len >= 0) {
		rows = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &where);
		if (!json_is_array(rows)) {
			json_decref(rows);
			rows = NULL;
			err_set(err, -EINVAL, "%s:%d: no list of peers: %s", path, where.line,
				where.text);
		}
		secret_zero(text, (size_t)len);
	}
	free(text);
	return rows;
}

int peers_state_load(
	const char *tunnel, struct peers_state_entry **entries, size_t *n, struct err *err)
{
	char *path = file_of(tunnel);
	json_t *rows = file_read(path, err);
	int rc = rows ? 0 : -EINVAL;

	*n = 0;
	*entries = calloc(json_array_size(rows) + 1, sizeof(**entries));
	if (!*entries)
		rc = -ENOMEM;
	for (size_t i = 0; !rc && i < json_array_size(rows); i++) {
		*n = i + 1;
		rc = entry_parse(&(*entries)[i], json_array_get(rows, i));
		if (rc)
			err_set(err, rc, "%s: peer %zu is not as this program writes them", path,
				i + 1);
	}
	json_decref(rows);
	free(path);
	return rc;
}

void peers_state_free(struct peers_state_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		peer_spec_fini(&entries[i].spec);
	free(entries);
}

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *entry_json(const struct peer_spec *spec, enum peers_state_change change)
{
	char key[45], prefix[NET_PREFIX_STRLEN];
	json_t *ips = json_array(), *row;

	setting_format_key(spec->public_key.bytes, key);
	if (change == PEERS_STATE_REMOVE) {
		json_decref(ips);
		return json_pack("{ss sb}", "public_key", key, "removed", 1);
	}
	for (size_t i = 0; i < spec->n_allowed_ips; i++)
		json_array_append_new(
			ips, json_string(net_prefix_format(&spec->allowed_ips[i], prefix)));
	row = json_pack("{ss ss ss sI so}", "public_key", key, "name", spec->name, "endpoint",
		spec->endpoint, "persistent_keepalive", (json_int_t)spec->persistent_keepalive,
		"allowed_ips", ips);
	if (!is_zero(&spec->preshared_key)) {
		setting_format_key(spec->preshared_key.bytes, key);
		json_object_set_new(row, "preshared_key", json_string(key));
		secret_zero(key, sizeof(key));
	}
	return row;
}

/* The newest row is the last: at a start prefixes go to whom they were given last. */
static void rows_replace(json_t *rows, const struct public_key *key, json_t *row)
{
	char text[45];

	setting_format_key(key->bytes, text);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *old = json_array_get(rows, i);
		const char *its = json_string_value(json_object_get(old, "public_key"));

		if (its && !strcmp(its, text)) {
			json_array_remove(rows, i);
			break;
		}
	}
	if (row)
		json_array_append_new(rows, row);
}

/* What the file holds or, while a write is on its way, will hold. */
struct rows_cache {
	char tunnel[64];
	json_t *rows;
	struct rows_cache *next;
};
static struct rows_cache *caches;

static json_t *rows_of(const char *tunnel, struct err *err)
{
	struct rows_cache *c = caches;
	char *path;

	while (c && strcmp(c->tunnel, tunnel))
		c = c->next;
	if (c)
		return c->rows;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	snprintf(c->tunnel, sizeof(c->tunnel), "%s", tunnel);
	path = file_of(tunnel);
	c->rows = file_read(path, err);
	free(path);
	if (!c->rows) {
		free(c);
		return NULL;
	}
	c->next = caches;
	caches = c;
	return c->rows;
}

void peers_state_put(const char *tunnel, const struct peer_spec *spec,
	enum peers_state_change change, void (*done)(void *arg, int error, const struct err *err),
	void *arg)
{
	struct err err = {0};
	json_t *rows = rows_of(tunnel, &err);
	char *path, *text;

	if (!rows) {
		done(arg, -EINVAL, &err);
		return;
	}
	rows_replace(rows, &spec->public_key,
		change == PEERS_STATE_FORGET ? NULL : entry_json(spec, change));
	text = json_dumps(rows, JSON_INDENT(1));
	path = file_of(tunnel);
	if (text && path)
		state_write_later(path, text, strlen(text), 0600, done, arg);
	else
		done(arg, -ENOMEM, &err);
	if (text)
		secret_zero(text, strlen(text));
	free(text);
	free(path);
}

void peers_state_forget(void)
{
	while (caches) {
		struct rows_cache *c = caches;

		caches = c->next;
		json_decref(c->rows);
		free(c);
	}
}
