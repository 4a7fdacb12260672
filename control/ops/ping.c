/* SPDX-License-Identifier: BSD-3-Clause */
/* `nodes ping`: asks a node's client through its stream, and waits for what it answers. Runs on:
 * the control loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "control.h"

#define WAIT_S 10
/* That comes back, so that the answer is of the client's own code. */
#define ECHO_TEXT "tailplane"
#define REQUEST_LEN (sizeof(request) - 1)

static const char request[] =
	"POST /echo HTTP/1.1\r\nHost: client\r\nContent-Length: 9\r\n\r\n" ECHO_TEXT;

struct asking {
	struct op_call *call; /* NULL: the asker went away */
	char label[LABEL_SIZE];
	int64_t node;
	uint64_t asked; /* ns, monotonic */
};

static void asker_left(void *arg)
{
	struct asking *asking = arg;

	asking->call = NULL;
}

static bool echoed(const char *body, size_t len)
{
	size_t n = strlen(ECHO_TEXT);

	return len > n && !memcmp(body + len - n, ECHO_TEXT, n);
}

/* A client answers with HTTP/1.1; its words go to a terminal. */
static void status_line(char *line, size_t size, const char *body, size_t len)
{
	size_t n = 0;

	for (; n < len && n + 1 < size && body[n] >= ' ' && body[n] <= '~'; n++)
		line[n] = body[n];
	line[n] = 0;
}

static void answered(void *arg, bool alive, const void *body, size_t len)
{
	struct asking *asking = arg;
	uint64_t took = tailnet_clock(ops_tailnet) - asking->asked;
	char line[64];

	if (asking->call && !alive) {
		op_fail(asking->call, "%s has a connection here, and did not answer within %d s",
			asking->label, WAIT_S);
	} else if (asking->call) {
		status_line(line, sizeof(line), body, len);
		op_reply(asking->call,
			json_pack("{s:o, s:s, s:s, s:I}", "id", id_json(asking->node), "node",
				asking->label, "answer", echoed(body, len) ? "echo" : line, "took",
				(json_int_t)took));
	}
	free(asking);
}

void run_nodes_ping(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);
	struct asking *asking = node ? calloc(1, sizeof(*asking)) : NULL;
	struct ping_wish wish = {
		.c2n = request, .c2n_len = REQUEST_LEN, .timeout = WAIT_S * 1000000000ull};
	int rc;

	if (!node)
		return;
	if (!asking)
		abort();
	asking->call = call;
	asking->node = node->d.id;
	asking->asked = tailnet_clock(ops_tailnet);
	snprintf(asking->label, sizeof(asking->label), "%s", node->d.label);
	rc = ping_node(&control.server, node, &wish, answered, asking);
	if (!rc) {
		op_on_close(call, asker_left, asking);
		return;
	}
	free(asking);
	if (rc == -ENOTCONN)
		op_fail(call, "%s has no connection here", node->d.label);
	else
		op_fail(call, "%s: %s", node->d.label, strerror(-rc));
}
