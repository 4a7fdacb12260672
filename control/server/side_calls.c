/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients call besides registration and maps: a right answer, or a refusal that says what is
 * missing; never silence. Control loop. */
#include <stdio.h>
#include <string.h>

#include <tailplane/log.h>

#include "json_in.h"
#include "json_out.h"
#include "key_text.h"
#include "server.h"

struct side_call {
	const char *method; /* NULL: any */
	const char *path;   /* with '/' at the end: all below it */
	void (*serve)(struct server *server, struct rpc *rpc);
	int status; /* without `serve`: this and the text */
	const char *text;
};

/* The node that the body's NodeKey names, if it is this machine's; else answers. */
static struct node *caller(struct server *server, struct rpc *rpc, json_t **body)
{
	struct err err = {0};
	struct public_key key;
	struct node *node = NULL;

	*body = json_in_object(rpc->body, rpc->body_len, &err);
	if (*body && !json_in_key(*body, "NodeKey", KEY_TEXT_NODE, &key, &err))
		node = node_by_keys(server->tailnet, &rpc->machine, &key);
	if (node)
		return node;
	json_decref(*body);
	if (err.msg[0])
		answer(rpc, 400, "text/plain", err.msg);
	else
		answer(rpc, 403, "text/plain", "no such node on this machine\n");
	return NULL;
}

static void whoami(struct server *server, struct rpc *rpc)
{
	char machine[KEY_TEXT_SIZE], line[256];
	struct node *node;
	size_t at = INDEX_FIRST;

	node = node_of_machine(server->tailnet, &rpc->machine, &at);
	snprintf(line, sizeof(line), "%s %s\n",
		key_text_format(machine, KEY_TEXT_MACHINE, &rpc->machine),
		node ? node->d.label : "(no node)");
	answer(rpc, 200, "text/plain", line);
}

static void audit_log(struct server *server, struct rpc *rpc)
{
	const char *action, *details;
	json_t *body;
	struct node *node = caller(server, rpc, &body);

	if (!node)
		return;
	if (json_in_string(body, "Action", &action, NULL) ||
		json_in_string(body, "Details", &details, NULL)) {
		answer(rpc, 400, "text/plain", "Action and Details are strings\n");
	} else {
		log_info("audit: node %lld (%s): %.40s %.200s", (long long)node->d.id,
			node->d.label, action, details);
		answer_json(rpc, 200, "{}", 2);
	}
	json_decref(body);
}

static void update_health(struct server *server, struct rpc *rpc)
{
	(void)server;
	answer_json(rpc, 204, "", 0);
}

static void feature_query(struct server *server, struct rpc *rpc)
{
	static const char funnel[] =
		"{\"Complete\":false,\"ShouldWait\":false,\"Text\":\"Funnel needs public ingress "
		"servers, which this control server does not have.\"}";
	static const char serve[] =
		"{\"Complete\":false,\"ShouldWait\":false,\"Text\":\"HTTPS certificates need a "
		"public DNS zone, which this control server does not have: `tailscale serve "
		"--http` works without.\"}";
	const char *feature;
	json_t *body;

	if (!caller(server, rpc, &body))
		return;
	if (json_in_string(body, "Feature", &feature, NULL))
		feature = "";
	if (!strcmp(feature, "funnel"))
		answer_json(rpc, 200, funnel, sizeof(funnel) - 1);
	else
		answer_json(rpc, 200, serve, sizeof(serve) - 1);
	json_decref(body);
}

static void ping_response(struct server *server, struct rpc *rpc)
{
	const char *token = strrchr(rpc->path, '/') + 1;

	if (ping_answer(server, token, rpc))
		answer_json(rpc, 204, "", 0);
	else
		answer(rpc, 404, "text/plain", "nobody waits for this\n");
}

static const struct side_call calls[] = {
	{NULL, "/machine/ping/", ping_response, 0, NULL},
	{"GET", "/machine/whoami", whoami, 0, NULL},
	{"POST", "/machine/audit-log", audit_log, 0, NULL},
	{"POST", "/machine/update-health", update_health, 0, NULL},
	{"POST", "/machine/feature/query", feature_query, 0, NULL},
	{"GET", SSH_ACTION_PATH, serve_ssh_action, 0, NULL},
	{"POST", "/machine/set-dns", NULL, 501,
		"set-dns: this control server serves no public DNS zone\n"},
	{"PATCH", "/machine/set-device-attr", NULL, 501,
		"set-device-attr: this control server keeps no device attributes\n"},
	{"POST", "/machine/id-token", NULL, 501,
		"id-token: this control server issues no identity tokens\n"},
	{"POST", "/machine/webclient/", NULL, 501,
		"webclient: this control server does not authenticate web clients\n"},
	{NULL, "/machine/tka/", NULL, 501, "tailnet lock is not available on this server\n"},
};

static bool path_is(const char *path, const char *wanted)
{
	size_t len = strlen(wanted);

	if (wanted[len - 1] == '/')
		return !strncmp(path, wanted, len) && path[len];
	return !strcmp(path, wanted);
}

void serve_side_call(struct server *server, struct rpc *rpc)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		const struct side_call *call = &calls[i];

		if (!path_is(rpc->path, call->path))
			continue;
		if (call->method && strcmp(call->method, rpc->method))
			answer(rpc, 405, "text/plain", "not with this method\n");
		else if (call->serve)
			call->serve(server, rpc);
		else
			answer(rpc, call->status, "text/plain", call->text);
		return;
	}
	answer(rpc, 404, "text/plain", "no such call\n");
}
