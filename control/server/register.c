/* SPDX-License-Identifier: BSD-3-Clause */
/* POST /machine/register. Control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>

#include "json_out.h"
#include "pending.h"
#include "registration.h"
#include "requests.h"
#include "server.h"

#define REFUSED_LOG_NS (10 * 1000000000ull)

/* A request that waits: for the store, or for a person. */
struct waiting {
	struct rpc_user user;
	struct server *server;
	struct rpc *rpc;
	struct registration asked;
	struct register_request request;
	struct pending_waiter waiter;
};

static void waiting_free(struct waiting *w)
{
	pending_leave(&w->waiter);
	register_request_fini(&w->request);
	if (w->rpc)
		rpc_done(w->rpc);
	free(w);
}

/* Its decision is under way: it is carried out, and told to nobody. */
static void asker_closed(struct rpc *rpc)
{
	struct waiting *w = rpc->user;

	w->rpc = NULL;
	rpc_done(rpc);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void reply(struct waiting *w, struct json_out *out)
{
	if (!w->rpc)
		; /* nobody is there */
	else if (json_out_ok(out))
		rpc_reply(w->rpc, 200, NULL, out->text, out->len);
	else
		rpc_reply(w->rpc, 500, "text/plain", "out of memory\n", 14);
	json_out_fini(out);
	waiting_free(w);
}

static void reply_user(struct json_out *out, const struct user *user, int64_t id)
{
	json_out_text(out, "\"User\":{\"ID\":");
	json_out_int(out, id);
	json_out_text(out, ",\"DisplayName\":");
	json_out_string(out, user_display(user));
	json_out_text(out, "},\"Login\":{\"ID\":");
	json_out_int(out, id);
	json_out_text(out, ",\"Provider\":");
	json_out_string(out, user ? user->d.provider : "");
	json_out_text(out, ",\"LoginName\":");
	json_out_string(out, user_login(user));
	json_out_text(out, ",\"DisplayName\":");
	json_out_string(out, user_display(user));
	json_out_text(out, ",\"ProfilePicURL\":");
	json_out_string(out, user ? user->d.picture : "");
	json_out_text(out, "}");
}

static void reply_accepted(struct waiting *w, int64_t id)
{
	const struct node *node = node_by_id(w->server->tailnet, id);
	struct json_out out = {0};

	if (!node) {
		json_out_text(&out, "{\"Error\":\"the node was deleted while it registered\"}");
		reply(w, &out);
		return;
	}
	w->server->stats.registrations++;
	json_out_text(&out, "{");
	reply_user(&out, node->user, node->user ? node->user->d.id : TAGGED_USER_ID);
	json_out_text(&out, ",\"NodeKeyExpired\":false,\"MachineAuthorized\":");
	json_out_bool(&out, node->d.approved);
	json_out_text(&out, ",\"AuthURL\":\"\",\"Error\":\"\"}");
	reply(w, &out);
}

static void reply_error(struct waiting *w, const char *why)
{
	struct json_out out = {0};

	json_out_text(&out, "{\"Error\":");
	json_out_string(&out, why);
	json_out_text(&out, "}");
	reply(w, &out);
}

static void reply_auth_url(struct waiting *w)
{
	const struct pending *pending = w->rpc ? pending_take(w->server->tailnet, &w->asked) : NULL;
	struct json_out out = {0}, url = {0};

	if (!pending) {
		reply_error(w, "the server is out of memory");
		return;
	}
	json_out_text(&url, w->server->conf.server_url);
	json_out_text(&url, "/register/");
	json_out_raw(&url, pending->id, strlen(pending->id) + 1);
	json_out_text(&out, "{\"MachineAuthorized\":false,\"AuthURL\":");
	json_out_string(&out, json_out_ok(&url) ? url.text : "");
	json_out_text(&out, "}");
	json_out_fini(&url);
	reply(w, &out);
}

/* Clients retry a refused key for ever: one line in a while says how many. */
static void refused(struct waiting *w, const char *why)
{
	struct server *server = w->server;
	uint64_t now = tailnet_clock(server->tailnet);

	server->stats.refused++;
	if (server->refused_logged && now - server->refused_logged < REFUSED_LOG_NS)
		return;
	server->refused_logged = now;
	log_info("registration refused: %s (%llu so far)", why,
		(unsigned long long)server->stats.refused);
}

static void decided(void *arg, const struct registration_result *result)
{
	struct waiting *w = arg;
	struct json_out out = {0};

	switch (result->outcome) {
	case REGISTRATION_ACCEPTED:
		reply_accepted(w, result->node);
		break;
	case REGISTRATION_EXPIRED:
		json_out_text(&out, "{\"NodeKeyExpired\":true,\"MachineAuthorized\":false}");
		reply(w, &out);
		break;
	case REGISTRATION_PENDING:
		reply_auth_url(w);
		break;
	case REGISTRATION_REFUSED:
		refused(w, result->why);
		reply_error(w, result->why);
		break;
	case REGISTRATION_FAILED:
		log_warnx("registration: %s", result->why);
		if (w->rpc)
			rpc_reply(w->rpc, 500, "text/plain", result->why, strlen(result->why));
		waiting_free(w);
		break;
	}
}

/* ---- waiting for a person ------------------------------------------------------------------ */

static void person_decided(struct pending_waiter *waiter, const struct pending *pending)
{
	struct waiting *w = (struct waiting *)((char *)waiter - offsetof(struct waiting, waiter));

	if (!pending)
		reply_auth_url(w); /* it expired: a new one */
	else if (pending->state == PENDING_DONE)
		reply_accepted(w, pending->node);
	else
		reply_error(w, pending->reason ? pending->reason : "the registration was rejected");
}

static void waiter_closed(struct rpc *rpc)
{
	waiting_free(rpc->user);
}

/* The entry that a followup names, if it is this machine's. */
static struct pending *followed(const struct waiting *w)
{
	const char *id = strrchr(w->request.followup, '/');
	struct pending *pending =
		id && auth_id_valid(id + 1) ? pending_by_id(w->server->tailnet, id + 1) : NULL;

	if (!pending || memcmp(&pending->machine, &w->rpc->machine, sizeof(pending->machine)) ||
		memcmp(&pending->key, &w->request.node_key, sizeof(pending->key)))
		return NULL;
	return pending;
}

static bool follow(struct waiting *w)
{
	struct pending *pending = *w->request.followup ? followed(w) : NULL;

	if (!pending)
		return false;
	if (pending->state != PENDING_WAITS) {
		person_decided(&w->waiter, pending);
		return true;
	}
	w->user.closed = waiter_closed;
	w->waiter.decided = person_decided;
	pending_wait(pending, &w->waiter);
	return true;
}

/* ---- the request --------------------------------------------------------------------------- */

static void ask(struct waiting *w)
{
	const struct register_request *r = &w->request;

	w->asked = (struct registration){
		.machine = w->rpc->machine,
		.key = r->node_key,
		.old_key = r->old_node_key,
		.lock = r->lock_key,
		.auth_key = r->auth_key,
		.hostinfo = r->hostinfo,
		.expiry = r->expiry,
		.cap = r->version,
		.ephemeral = r->ephemeral,
	};
	if (!follow(w))
		tailnet_register(w->server->tailnet, &w->asked, decided, w);
}

void serve_register(struct server *server, struct rpc *rpc)
{
	struct waiting *w = calloc(1, sizeof(*w));
	struct err err = {0};

	if (!w) {
		answer(rpc, 500, "text/plain", "out of memory\n");
		return;
	}
	if (register_request_parse(&w->request, rpc->body, rpc->body_len, &err)) {
		free(w);
		answer(rpc, 400, "text/plain", err.msg);
		return;
	}
	w->user.closed = asker_closed;
	w->server = server;
	w->rpc = rpc;
	rpc->user = w;
	if (w->request.version < CAP_VERSION_MIN)
		reply_error(w, "this client is too old for this server: 1.80 or newer is needed");
	else
		ask(w);
}
