/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET /machine/ssh/action/SRC/to/DST: a node asks whether to let an SSH session in, because a rule
 * of its SSHPolicy says so. The policy engine decides, and may take its time. A refusal is an
 * answer, too: any other status a node would ask about again and again. Control loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "server.h"

struct asking {
	struct rpc_user user;
	struct rpc *rpc; /* NULL: the node has gone */
};

static void asker_closed(struct rpc *rpc)
{
	struct asking *asking = rpc->user;

	asking->rpc = NULL;
	rpc_done(rpc);
}

static void reject(struct rpc *rpc, const char *why)
{
	char text[256];
	int len = snprintf(text, sizeof(text), "{\"reject\":true,\"message\":\"%s\\r\\n\"}", why);

	answer_json(rpc, 200, text, (size_t)len);
}

static void decided(void *arg, const char *action)
{
	struct asking *asking = arg;

	if (asking->rpc && action)
		answer_json(asking->rpc, 200, action, strlen(action));
	else if (asking->rpc)
		reject(asking->rpc, "The policy does not let you in.");
	free(asking);
}

static void ask(const struct policy_ops *policy, const struct policy_ssh *asked, struct rpc *rpc)
{
	struct asking *asking = calloc(1, sizeof(*asking));

	if (!asking) {
		answer(rpc, 500, "text/plain", "out of memory\n");
		return;
	}
	asking->user.closed = asker_closed;
	asking->rpc = rpc;
	rpc->user = asking;
	policy->ssh_action(asked, decided, asking);
}

/* The node whose number stands at *text, which is moved behind it. */
static struct node *read_node(const struct server *server, const char **text)
{
	char *end;
	long long id = **text >= '1' && **text <= '9' ? strtoll(*text, &end, 10) : 0;

	if (!id)
		return NULL;
	*text = end;
	return node_by_id(server->tailnet, id);
}

void serve_ssh_action(struct server *server, struct rpc *rpc)
{
	const struct policy_ops *policy = server->tailnet->policy;
	const char *at = rpc->path + strlen(SSH_ACTION_PATH), *to;
	struct policy_ssh asked = {.query = rpc->query};

	asked.from = read_node(server, &at);
	to = strncmp(at, "/to/", 4) == 0 ? at + 4 : NULL;
	asked.to = to ? read_node(server, &to) : NULL;
	if (!to || *to)
		answer(rpc, 404, "text/plain", "no such call\n");
	else if (!asked.to || memcmp(&asked.to->d.machine, &rpc->machine, sizeof(rpc->machine)))
		answer(rpc, 403, "text/plain", "this is for the machine that is logged in to\n");
	else if (!asked.from)
		reject(rpc, "The node that you come from is not in this tailnet any more.");
	else if (!policy->ssh_action)
		reject(rpc, "No SSH policy is loaded on the control server.");
	else
		ask(policy, &asked, rpc);
}
