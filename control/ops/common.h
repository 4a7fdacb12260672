/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the files of this folder share. */
#include "json_out.h"
#include "ops.h"

extern struct tailnet *ops_tailnet;

/* ---- arguments ---- */

const char *arg_text(const json_t *args, const char *name); /* NULL: not given */
bool arg_is(const json_t *args, const char *name);
/* Each answers NULL or false after it failed the call. */
struct user *arg_user(struct op_call *call, const json_t *args, const char *name);
struct node *arg_node(struct op_call *call, const json_t *args);
bool arg_id(struct op_call *call, const json_t *args, const char *name, int64_t *id);
/* A duration from now as Unix ns; `def` when it is not given, NULL for never. */
bool arg_expiry(
	struct op_call *call, const json_t *args, const char *name, const char *def, int64_t *at);
/* Texts of a list, in an array that is freed with free(); they stay with `args`. */
const char **arg_texts(const json_t *args, const char *name, size_t *n);

#define ARG_NODE                                                                  \
	{                                                                         \
		.name = "identifier", .letter = 'i', .type = SETTING_STRING,      \
		.flags = OP_ARG_REQUIRED, .complete = "nodes list:givenName",     \
		.help = "The node: its number, its name or one of its addresses." \
	}
/* ---- answers ---- */

/* What a change is answered with, made when it is done; NULL: {"result": said}. */
typedef json_t *(*answer_fn)(const struct tailnet_result *result);
struct answer;
/* For the completion of a change: pass answer_done with it. */
struct answer *answer_new(struct op_call *call, answer_fn make, const char *said);
void answer_done(void *arg, const struct tailnet_result *result);

/* Headscale's shapes (REST v1 of 0.30); ids are texts, times RFC 3339 or null. */
json_t *time_json(int64_t when);
json_t *id_json(int64_t id);
json_t *user_json(const struct user *user); /* NULL: null */
json_t *node_json(const struct node *node);
/* For many nodes: as text. Their users and keys are few, so what was written for the last one is
 * kept, and is right until the loop goes on. Zero-initialize. */
struct node_shapes {
	const struct user *user;
	int64_t preauth;
	struct json_out user_text, preauth_text;
};
void put_node(struct json_out *out, const struct node *node, struct node_shapes *shapes);
void node_shapes_fini(struct node_shapes *shapes);
json_t *preauth_json(const struct preauth *key, const char *text); /* text NULL: masked */
json_t *apikey_json(const struct apikey *key);
json_t *text_array(const char *stored); /* a JSON array as it is kept */
json_t *answer_node(const struct tailnet_result *result);
json_t *answer_user(const struct tailnet_result *result);

/* ---- the operations, by file ---- */

void run_users_create(struct op_call *call, const json_t *args);
void run_users_list(struct op_call *call, const json_t *args);
void run_users_rename(struct op_call *call, const json_t *args);
void run_users_destroy(struct op_call *call, const json_t *args);

void run_preauthkeys_create(struct op_call *call, const json_t *args);
void run_preauthkeys_list(struct op_call *call, const json_t *args);
void run_preauthkeys_expire(struct op_call *call, const json_t *args);
void run_preauthkeys_delete(struct op_call *call, const json_t *args);
void run_apikeys_create(struct op_call *call, const json_t *args);
void run_apikeys_list(struct op_call *call, const json_t *args);
void run_apikeys_expire(struct op_call *call, const json_t *args);
void run_apikeys_delete(struct op_call *call, const json_t *args);

void run_nodes_list(struct op_call *call, const json_t *args);
void run_nodes_routes(struct op_call *call, const json_t *args);
void run_nodes_rename(struct op_call *call, const json_t *args);
void run_nodes_delete(struct op_call *call, const json_t *args);
void run_nodes_expire(struct op_call *call, const json_t *args);
void run_nodes_tag(struct op_call *call, const json_t *args);
void run_nodes_approve_routes(struct op_call *call, const json_t *args);
void run_nodes_approve(struct op_call *call, const json_t *args);
void run_nodes_set_ip(struct op_call *call, const json_t *args);
void run_nodes_backfill(struct op_call *call, const json_t *args);

void run_auth_register(struct op_call *call, const json_t *args);
void run_auth_approve(struct op_call *call, const json_t *args);
void run_auth_reject(struct op_call *call, const json_t *args);
void run_auth_list(struct op_call *call, const json_t *args);

void run_policy_get(struct op_call *call, const json_t *args);
void run_policy_set(struct op_call *call, const json_t *args);
void run_policy_check(struct op_call *call, const json_t *args);

void run_events_watch(struct op_call *call, const json_t *args);
