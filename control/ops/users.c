/* SPDX-License-Identifier: BSD-3-Clause */
/* `users ...`. Runs on: the control loop. */
#include <stdlib.h>
#include <string.h>

#include "common.h"

void run_users_create(struct op_call *call, const json_t *args)
{
	const struct user_wish wish = {
		.name = arg_text(args, "name"),
		.display_name = arg_text(args, "display-name"),
		.email = arg_text(args, "email"),
		.picture = arg_text(args, "picture-url"),
	};

	user_create(ops_tailnet, &wish, answer_done, answer_new(call, answer_user, NULL));
}

/* Also by number, for scripts: --identifier. */
static struct user *chosen(struct op_call *call, const json_t *args)
{
	bool by_id = arg_text(args, "identifier"), by_name = arg_text(args, "name");

	if (by_id && by_name) {
		op_fail(call, "give either --identifier or --name");
		return NULL;
	}
	if (!by_id && !by_name) {
		op_fail(call, "which user? Give --identifier or --name");
		return NULL;
	}
	return arg_user(call, args, by_id ? "identifier" : "name");
}

static bool is_wanted(const struct user *user, const json_t *args)
{
	const char *email = arg_text(args, "email"), *name = arg_text(args, "name");
	const char *id = arg_text(args, "identifier");

	return (!email || strcmp(user->d.email ? user->d.email : "", email) == 0) &&
	       (!name || strcmp(user->d.name, name) == 0) &&
	       (!id || user == user_by_word(ops_tailnet, id));
}

void run_users_list(struct op_call *call, const json_t *args)
{
	json_t *rows = json_array();
	size_t n;
	struct user **users = users_list(ops_tailnet, &n);

	for (size_t i = 0; i < n; i++) {
		if (is_wanted(users[i], args))
			json_array_append_new(rows, user_json(users[i]));
	}
	free(users);
	op_reply(call, rows);
}

void run_users_rename(struct op_call *call, const json_t *args)
{
	struct user *user = chosen(call, args);

	if (user)
		user_rename(ops_tailnet, user->d.id, arg_text(args, "new-name"), answer_done,
			answer_new(call, answer_user, NULL));
}

void run_users_destroy(struct op_call *call, const json_t *args)
{
	struct user *user = chosen(call, args);

	if (user)
		user_remove(ops_tailnet, user->d.id, answer_done,
			answer_new(call, NULL, "User destroyed"));
}
