/* SPDX-License-Identifier: BSD-3-Clause */
/* `auth ...`: registrations that wait for a person. Runs on: the control loop. */
#include <errno.h>
#include <string.h>

#include "common.h"
#include "key_text.h"
#include "pending.h"

static struct pending *chosen(struct op_call *call, const json_t *args)
{
	const char *given = arg_text(args, "auth-id");
	const char *id = given ? given : arg_text(args, "key"); /* `nodes register` */
	struct pending *pending;

	if (!id || !auth_id_valid(id)) {
		op_fail(call,
			"--%s takes what the page of the registration shows: " AUTH_ID
			"..., not %s",
			given ? "auth-id" : "key", id ? id : "");
		return NULL;
	}
	pending = pending_by_id(ops_tailnet, id);
	if (!pending)
		op_fail(call,
			"no registration waits under %s: it was decided, or its time is over; the "
			"client gets a new one by trying again",
			id);
	return pending;
}

void run_auth_register(struct op_call *call, const json_t *args)
{
	struct pending *pending = chosen(call, args);
	struct user *user = pending ? arg_user(call, args, "user") : NULL;

	if (user)
		pending_register(ops_tailnet, pending->id, user->d.id, answer_done,
			answer_new(call, answer_node, NULL));
}

/* One that a person already owns: its own user gets it back. */
void run_auth_approve(struct op_call *call, const json_t *args)
{
	struct pending *pending = chosen(call, args);
	struct node *node = NULL, *owned = NULL;
	size_t at = INDEX_FIRST;

	if (!pending)
		return;
	while ((node = node_of_machine(ops_tailnet, &pending->machine, &at))) {
		if (node->user && owned) {
			op_fail(call, "several users have a node on this machine: say which with "
				      "tailplane auth register --user");
			return;
		}
		if (node->user)
			owned = node;
	}
	if (!owned)
		op_fail(call,
			"nobody has a node on this machine yet: say whose it is with tailplane "
			"auth register --auth-id %s --user NAME",
			pending->id);
	else
		pending_register(ops_tailnet, pending->id, owned->user->d.id, answer_done,
			answer_new(call, answer_node, NULL));
}

void run_auth_reject(struct op_call *call, const json_t *args)
{
	struct pending *pending = chosen(call, args);
	int rc = pending ? pending_reject(ops_tailnet, pending->id, "rejected by an administrator")
			 : 0;

	if (!pending)
		return;
	if (rc)
		op_fail(call, "%s: %s", arg_text(args, "auth-id"),
			rc == -EALREADY ? "was decided already" : strerror(-rc));
	else
		op_reply(call, json_pack("{s:s}", "result", "Auth request rejected"));
}

void run_auth_list(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();
	char key[KEY_TEXT_SIZE];

	(void)args;
	for (const struct pending *p = ops_tailnet->pending_oldest; p; p = p->newer) {
		if (p->state != PENDING_WAITS)
			continue;
		json_array_append_new(rows,
			json_pack("{s:s, s:s, s:s, s:o, s:b}", "authId", p->id, "hostname",
				p->hostname ? p->hostname : "", "machineKey",
				key_text_format(key, KEY_TEXT_MACHINE, &p->machine), "createdAt",
				time_json(p->created), "ephemeral", p->ephemeral));
	}
	op_reply(call, rows);
}
