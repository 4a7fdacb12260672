/* SPDX-License-Identifier: BSD-3-Clause */
/* gateway.json in the state directory: the pools and the clients' addresses. No private keys. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"

#define FILE_MAX (4u << 20)

static int client_parse(struct client *c, const json_t *row)
{
	const char *name, *key, *addr4, *addr6;

	if (json_unpack((json_t *)row, "{s:s, s:s, s:s, s:s}", "name", &name, "public_key", &key,
		    "address4", &addr4, "address6", &addr6))
		return -EINVAL;
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->public_key, sizeof(c->public_key), "%s", key);
	return net_addr_parse(&c->addr4, addr4) || net_addr_parse(&c->addr6, addr6) ? -EINVAL : 0;
}

static int state_parse(struct gateway_state *state, const json_t *root)
{
	const char *pool4, *pool6;
	json_t *rows;

	if (json_unpack((json_t *)root, "{s:s, s:s, s:o}", "pool4", &pool4, "pool6", &pool6,
		    "clients", &rows) ||
		net_prefix_parse(&state->pool4, pool4) || net_prefix_parse(&state->pool6, pool6) ||
		json_array_size(rows) > CLIENTS_MAX)
		return -EINVAL;
	state->clients = calloc(json_array_size(rows) + 1, sizeof(struct client));
	if (!state->clients)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		if (client_parse(&state->clients[i], json_array_get(rows, i)))
			return -EINVAL;
		state->n_clients = i + 1;
	}
	return 0;
}

int gateway_state_load(struct gateway_state *state, struct err *err)
{
	char *path = state_path("gateway.json"), *text = malloc(FILE_MAX);
	struct err why = {0};
	json_error_t where;
	json_t *root;
	ssize_t len = path && text ? state_read(path, text, FILE_MAX, &why) : -ENOMEM;
	int rc = 0;

	memset(state, 0, sizeof(*state));
	if (len >= 0) {
		state->existed = true;
		root = json_loadb(text, (size_t)len, 0, &where);
		rc = root ? state_parse(state, root) : -EINVAL;
		if (rc)
			err_set(err, rc, "%s:%d: not as this program writes it: %s", path,
				root ? 1 : where.line,
				root ? "a field is missing or wrong" : where.text);
		json_decref(root);
	} else if (len != -ENOENT) {
		rc = err_set(err, (int)len, "%s", why.msg);
	}
	free(text);
	free(path);
	return rc;
}

static void saved(void *arg, int error, const struct err *err)
{
	(void)arg;
	if (error)
		log_warnx("the gateway's clients could not be kept: %s", err->msg);
}

void gateway_state_save(const struct gateway_state *state)
{
	char pool4[NET_PREFIX_STRLEN], pool6[NET_PREFIX_STRLEN], addr4[NET_ADDR_STRLEN],
		addr6[NET_ADDR_STRLEN], *path = state_path("gateway.json"), *text;
	json_t *rows = json_array(), *root;

	for (size_t i = 0; i < state->n_clients; i++) {
		const struct client *c = &state->clients[i];

		json_array_append_new(
			rows, json_pack("{ss ss ss ss}", "name", c->name, "public_key",
				      c->public_key, "address4", net_addr_format(&c->addr4, addr4),
				      "address6", net_addr_format(&c->addr6, addr6)));
	}
	root = json_pack("{ss ss so}", "pool4", net_prefix_format(&state->pool4, pool4), "pool6",
		net_prefix_format(&state->pool6, pool6), "clients", rows);
	text = json_dumps(root, JSON_INDENT(1));
	if (path && text)
		state_write_later(path, text, strlen(text), 0600, saved, NULL);
	json_decref(root);
	free(text);
	free(path);
}

void gateway_state_fini(struct gateway_state *state)
{
	free(state->clients);
	memset(state, 0, sizeof(*state));
}
