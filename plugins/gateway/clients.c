/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients: a key pair made here, an address of the pool, a peer of the tunnel (through the data
 * plane's operations), and a wg-quick configuration that is shown once. The private key is not
 * kept. Control loop.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway.h"
#include "secret.h"
#include "x25519.h"

struct adding {
	struct client client;
	struct private_key private_key;
	struct client_request request;
	char name[64];
};

static void adding_end(struct adding *a, const char *text, const char *error)
{
	a->request.done(a->request.arg, text, error);
	secret_zero(a, sizeof(*a));
	free(a);
}

/* ---- what a client is told ------------------------------------------------------------------- */

/* The address that this machine uses towards the internet; no packet is sent. */
static bool own_address(int family, struct net_addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct net_endpoint far = {.port = 9}, near;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool found = false;

	/* addresses for documentation: routed nowhere, but the default route takes them */
	net_addr_parse(&far.addr, family == AF_INET ? "192.0.2.1" : "2001:db8::1");
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&ss, net_endpoint_to_sockaddr(&far, &ss)) &&
		!getsockname(fd, (struct sockaddr *)&ss, &len) &&
		!net_endpoint_from_sockaddr(&near, (struct sockaddr *)&ss)) {
		*out = near.addr;
		found = true;
	}
	if (fd >= 0)
		close(fd);
	return found;
}

static void endpoint_text(char *out, size_t size, int port)
{
	char text[NET_ENDPOINT_STRLEN];
	struct net_endpoint ep = {.port = (uint16_t)port};

	if (gateway_conf->endpoint) {
		snprintf(out, size, "%s", gateway_conf->endpoint);
		return;
	}
	if (!own_address(AF_INET, &ep.addr) && !own_address(AF_INET6, &ep.addr))
		net_addr_parse(&ep.addr, "127.0.0.1");
	snprintf(out, size, "%s", net_endpoint_format(&ep, text));
}

static char *config_text(const struct adding *a, const char *server_key, int port, int mtu)
{
	char key[45], endpoint[300], addr4[NET_ADDR_STRLEN], addr6[NET_ADDR_STRLEN],
		pool4[NET_PREFIX_STRLEN], pool6[NET_PREFIX_STRLEN], allowed[128];
	struct net_prefix net4 = net_prefix_masked(&gateway_state.pool4),
			  net6 = net_prefix_masked(&gateway_state.pool6);
	char *text = NULL;
	int rc;

	setting_format_key(a->private_key.bytes, key);
	endpoint_text(endpoint, sizeof(endpoint), port);
	snprintf(allowed, sizeof(allowed), "%s, %s",
		gateway_conf->forward ? "0.0.0.0/0" : net_prefix_format(&net4, pool4),
		gateway_conf->forward ? "::/0" : net_prefix_format(&net6, pool6));
	rc = asprintf(&text,
		"[Interface]\n"
		"PrivateKey = %s\n"
		"Address = %s/%u, %s/%u\n"
		"MTU = %d\n"
		"%s%s%s"
		"\n"
		"[Peer]\n"
		"PublicKey = %s\n"
		"Endpoint = %s\n"
		"AllowedIPs = %s\n"
		"PersistentKeepalive = 25\n",
		key, net_addr_format(&a->client.addr4, addr4), gateway_state.pool4.len,
		net_addr_format(&a->client.addr6, addr6), gateway_state.pool6.len, mtu,
		gateway_conf->dns ? "DNS = " : "", gateway_conf->dns ? gateway_conf->dns : "",
		gateway_conf->dns ? "\n" : "", server_key, endpoint, allowed);
	secret_zero(key, sizeof(key));
	return rc < 0 ? NULL : text;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static bool client_keep(const struct client *client)
{
	struct client *grown =
		realloc(gateway_state.clients, (gateway_state.n_clients + 1) * sizeof(*grown));

	if (!grown)
		return false;
	grown[gateway_state.n_clients++] = *client;
	gateway_state.clients = grown;
	gateway_state_save(&gateway_state);
	return true;
}

static const json_t *tunnel_row(const json_t *rows, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const char *its = json_string_value(json_object_get(row, "name"));

		if (its && !strcmp(its, name))
			return row;
	}
	return NULL;
}

static void tunnel_known(void *arg, const json_t *result, const char *error)
{
	struct adding *a = arg;
	const json_t *row = tunnel_row(result, gateway_conf->tunnel);
	char *text;

	if (!row) {
		adding_end(a, NULL, error ? error : "the gateway's tunnel is not there");
		return;
	}
	text = config_text(a, json_string_value(json_object_get(row, "public_key")),
		(int)json_integer_value(json_object_get(row, "listen_port")),
		(int)json_integer_value(json_object_get(row, "mtu")));
	if (text && client_keep(&a->client))
		adding_end(a, text, NULL);
	else
		adding_end(a, NULL, "out of memory");
	if (text)
		secret_zero(text, strlen(text));
	free(text);
}

static void peer_added(void *arg, const json_t *result, const char *error)
{
	(void)result;
	if (error)
		adding_end(arg, NULL, error);
	else
		op_invoke("tunnels", json_object(), tunnel_known, arg);
}

static struct client *client_find(const char *name)
{
	for (size_t i = 0; i < gateway_state.n_clients; i++)
		if (!strcmp(gateway_state.clients[i].name, name))
			return &gateway_state.clients[i];
	return NULL;
}

static json_t *peer_args(const struct client *c)
{
	char addr4[NET_ADDR_STRLEN], addr6[NET_ADDR_STRLEN];

	return json_pack("{ss ss ss s[ss]}", "tunnel", gateway_conf->tunnel, "public-key",
		c->public_key, "name", c->name, "allowed-ips", net_addr_format(&c->addr4, addr4),
		net_addr_format(&c->addr6, addr6));
}

void client_add(const struct client_request *request)
{
	struct adding *a = calloc(1, sizeof(*a));
	struct public_key public;

	if (!a) {
		request->done(request->arg, NULL, "out of memory");
		return;
	}
	a->request = *request;
	snprintf(a->client.name, sizeof(a->client.name), "%s", request->name);
	if (!*a->client.name || strpbrk(a->client.name, " \t\n/")) {
		adding_end(a, NULL, "a client's name is one word");
		return;
	}
	if (client_find(a->client.name)) {
		adding_end(a, NULL,
			"there is a client of that name: remove it first, or choose another");
		return;
	}
	if (pool_next(&gateway_state.pool4, &gateway_state, &a->client.addr4) ||
		pool_next(&gateway_state.pool6, &gateway_state, &a->client.addr6)) {
		adding_end(a, NULL, "the address pool is used up");
		return;
	}
	x25519_generate(&a->private_key);
	x25519_public(&public, &a->private_key);
	setting_format_key(public.bytes, a->client.public_key);
	op_invoke("peers add", peer_args(&a->client), peer_added, a);
}

/* ---- operations ------------------------------------------------------------------------------ */

struct add_call {
	struct op_call *call;
	bool qr;
};

static void add_done(void *arg, const char *text, const char *error)
{
	struct add_call *a = arg;
	char *qr = text && a->qr ? qr_text(text) : NULL;

	if (error)
		op_fail(a->call, "%s", error);
	else
		op_reply(a->call, json_sprintf("%s%s%s", text, qr ? "\n" : "", qr ? qr : ""));
	if (qr)
		secret_zero(qr, strlen(qr));
	free(qr);
	free(a);
}

static void clients_add_run(struct op_call *call, const json_t *args)
{
	struct add_call *a = calloc(1, sizeof(*a));
	struct client_request request = {.name = json_string_value(json_object_get(args, "name")),
		.done = add_done,
		.arg = a};

	if (!a) {
		op_fail(call, "out of memory");
		return;
	}
	a->call = call;
	a->qr = json_is_true(json_object_get(args, "qr"));
	client_add(&request);
}

static void removed(void *arg, const json_t *result, const char *error)
{
	if (error)
		op_fail(arg, "%s", error);
	else
		op_reply(arg, json_deep_copy(result));
}

static void clients_remove_run(struct op_call *call, const json_t *args)
{
	struct client *c = client_find(json_string_value(json_object_get(args, "name")));
	json_t *peer;

	if (!c) {
		op_fail(call, "there is no such client: `tailplane clients` lists them");
		return;
	}
	peer = json_pack("{ss ss}", "tunnel", gateway_conf->tunnel, "peer", c->public_key);
	*c = gateway_state.clients[--gateway_state.n_clients];
	gateway_state_save(&gateway_state);
	op_invoke("peers remove", peer, removed, call);
}

static void clients_run(struct op_call *call, const json_t *args)
{
	char addr4[NET_ADDR_STRLEN], addr6[NET_ADDR_STRLEN];
	json_t *rows = json_array();

	(void)args;
	for (size_t i = 0; i < gateway_state.n_clients; i++) {
		const struct client *c = &gateway_state.clients[i];

		json_array_append_new(rows,
			json_pack("{ss s[ss] ss}", "name", c->name, "addresses",
				net_addr_format(&c->addr4, addr4),
				net_addr_format(&c->addr6, addr6), "public_key", c->public_key));
	}
	op_reply(call, rows);
}

static const struct op_arg add_args[] = {
	{"name", SETTING_STRING, OP_ARG_REQUIRED | OP_ARG_POSITIONAL, NULL, NULL,
		"what to call it"},
	{"qr", SETTING_BOOL, 0, NULL, NULL, "adds a QR code for phones"}, {0}};
static const struct op_arg remove_args[] = {
	{"name", SETTING_STRING, OP_ARG_REQUIRED | OP_ARG_POSITIONAL, NULL, "clients:name",
		"which one"},
	{0}};
static const struct op_column columns[] = {{"name", "CLIENT", OP_TEXT},
	{"addresses", "ADDRESSES", OP_TEXT}, {"public_key", "PUBLIC KEY", OP_TEXT}, {0}};

const struct op gateway_ops[] = {
	{"clients", "Clients of the gateway", OP_READ, NULL, columns, clients_run},
	{"clients add", "Makes a client and prints its configuration, this once", OP_WRITE,
		add_args, NULL, clients_add_run},
	{"clients remove", "Removes a client", OP_WRITE, remove_args, NULL, clients_remove_run},
	{0},
};
