/* SPDX-License-Identifier: BSD-3-Clause */
/* `preauthkeys ...` and `apikeys ...`. Runs on: the control loop. */
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* ---- pre-auth keys ---- */

static json_t *answer_preauth(const struct tailnet_result *result)
{
	const struct preauth *key = preauth_by_id(ops_tailnet, result->id);

	return key ? preauth_json(key, result->secret) : json_object();
}

void run_preauthkeys_create(struct op_call *call, const json_t *args)
{
	struct user *user = arg_text(args, "user") ? arg_user(call, args, "user") : NULL;
	struct preauth_wish wish = {
		.user = user ? user->d.id : 0,
		.reusable = arg_is(args, "reusable"),
		.ephemeral = arg_is(args, "ephemeral"),
	};

	if (arg_text(args, "user") && !user)
		return;
	if (!arg_expiry(call, args, "expiration", "1h", &wish.expiry))
		return;
	wish.tags = arg_texts(args, "tags", &wish.n_tags);
	preauth_create(ops_tailnet, &wish, answer_done, answer_new(call, answer_preauth, NULL));
	free((void *)wish.tags);
}

void run_preauthkeys_list(struct op_call *call, const json_t *args)
{
	const struct user *user = NULL;
	json_t *rows = json_array();
	struct preauth **keys;
	size_t n;

	if (arg_text(args, "user") && !(user = arg_user(call, args, "user"))) {
		json_decref(rows);
		return;
	}
	keys = preauths_list(ops_tailnet, &n);
	for (size_t i = 0; i < n; i++) {
		if (!user || keys[i]->d.user == user->d.id)
			json_array_append_new(rows, preauth_json(keys[i], NULL));
	}
	free(keys);
	op_reply(call, rows);
}

void run_preauthkeys_expire(struct op_call *call, const json_t *args)
{
	int64_t id;

	if (arg_id(call, args, "id", &id))
		preauth_expire(ops_tailnet, id, answer_done, answer_new(call, NULL, "Key expired"));
}

void run_preauthkeys_delete(struct op_call *call, const json_t *args)
{
	int64_t id;

	if (arg_id(call, args, "id", &id))
		preauth_remove(ops_tailnet, id, answer_done, answer_new(call, NULL, "Key deleted"));
}

/* ---- keys of the API ---- */

static json_t *answer_apikey(const struct tailnet_result *result)
{
	const struct apikey *key = apikey_by_id(ops_tailnet, result->id);
	json_t *out = key ? apikey_json(key) : json_object();

	json_object_set_new(out, "apiKey", json_string(result->secret));
	return out;
}

void run_apikeys_create(struct op_call *call, const json_t *args)
{
	int64_t expiry;

	if (arg_expiry(call, args, "expiration", "90d", &expiry))
		apikey_create(
			ops_tailnet, expiry, answer_done, answer_new(call, answer_apikey, NULL));
}

void run_apikeys_list(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();
	size_t n;
	struct apikey **keys = apikeys_list(ops_tailnet, &n);

	(void)args;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, apikey_json(keys[i]));
	free(keys);
	op_reply(call, rows);
}

static const struct apikey *chosen(struct op_call *call, const json_t *args)
{
	const char *prefix = arg_text(args, "prefix");
	const struct apikey *key = NULL;
	int64_t id;

	if (!prefix == !arg_text(args, "id")) {
		op_fail(call, "give either --prefix or --id");
		return NULL;
	}
	if (prefix) {
		/* as the list shows it, or the beginning of the key itself */
		if (strncmp(prefix, AUTHKEY_API, strlen(AUTHKEY_API)) == 0)
			prefix += strlen(AUTHKEY_API);
		key = apikey_by_prefix(ops_tailnet, prefix);
	} else if (arg_id(call, args, "id", &id)) {
		key = apikey_by_id(ops_tailnet, id);
	} else {
		return NULL;
	}
	if (!key)
		op_fail(call, "there is no such key: see tailplane apikeys list");
	return key;
}

void run_apikeys_expire(struct op_call *call, const json_t *args)
{
	const struct apikey *key = chosen(call, args);

	if (key)
		apikey_expire(ops_tailnet, key->d.id, answer_done,
			answer_new(call, NULL, "API key expired"));
}

void run_apikeys_delete(struct op_call *call, const json_t *args)
{
	const struct apikey *key = chosen(call, args);

	if (key)
		apikey_remove(ops_tailnet, key->d.id, answer_done,
			answer_new(call, NULL, "API key deleted"));
}
