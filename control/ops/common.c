/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments as people type them, and answers that come when the store has written. Runs on: the
 * control loop. */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/settings.h>

struct tailnet *ops_tailnet;

void ops_use(struct tailnet *t)
{
	ops_tailnet = t;
}

/* ---- arguments ---- */

const char *arg_text(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

bool arg_is(const json_t *args, const char *name)
{
	return json_is_true(json_object_get(args, name));
}

struct user *arg_user(struct op_call *call, const json_t *args, const char *name)
{
	const char *word = arg_text(args, name);
	struct user *user = word ? user_by_word(ops_tailnet, word) : NULL;

	if (!user)
		op_fail(call, "there is no user %s: see tailplane users list", word ? word : "");
	return user;
}

struct node *arg_node(struct op_call *call, const json_t *args)
{
	const char *word = arg_text(args, "identifier");
	struct node *node = word ? node_by_word(ops_tailnet, word) : NULL;

	if (!node)
		op_fail(call, "there is no node %s: see tailplane nodes list", word ? word : "");
	return node;
}

bool arg_id(struct op_call *call, const json_t *args, const char *name, int64_t *id)
{
	const char *text = arg_text(args, name);
	char *end;

	errno = 0;
	*id = text ? strtoll(text, &end, 10) : 0;
	if (text && *text && !*end && !errno && *id > 0)
		return true;
	op_fail(call, "%s takes a number, as the list shows it, not %s", name, text ? text : "");
	return false;
}

bool arg_expiry(
	struct op_call *call, const json_t *args, const char *name, const char *def, int64_t *at)
{
	const char *text = arg_text(args, name);
	int64_t now = tailnet_wall(ops_tailnet);
	struct err err = {0};
	uint64_t ns;

	*at = 0;
	if (!text)
		text = def;
	if (!text)
		return true;
	if (setting_parse_duration(&ns, text, &err) != 0 || ns == 0 ||
		ns > (uint64_t)(INT64_MAX - now)) {
		op_fail(call, "%s takes a time such as 1h, 24h or 90d, not %s", name, text);
		return false;
	}
	*at = now + (int64_t)ns;
	return true;
}

const char **arg_texts(const json_t *args, const char *name, size_t *n)
{
	const json_t *list = json_object_get(args, name);
	const char **texts = calloc(json_array_size(list) + 1, sizeof(*texts));

	if (!texts)
		abort(); /* a command line's worth */
	*n = json_array_size(list);
	for (size_t i = 0; i < *n; i++)
		texts[i] = json_string_value(json_array_get(list, i));
	return texts;
}

/* ---- answers ---- */

struct answer {
	struct op_call
		*call; /* NULL: the asker went away; what it asked for is done all the same */
	answer_fn make;
	const char *said;
};

static void asker_left(void *arg)
{
	struct answer *answer = arg;

	answer->call = NULL;
}

struct answer *answer_new(struct op_call *call, answer_fn make, const char *said)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	if (!answer)
		abort();
	*answer = (struct answer){.call = call, .make = make, .said = said};
	op_on_close(call, asker_left, answer);
	return answer;
}

void answer_done(void *arg, const struct tailnet_result *result)
{
	struct answer *answer = arg;
	struct op_call *call = answer->call;

	if (call && result->error)
		op_fail(call, "%s", result->why ? result->why : strerror(-result->error));
	else if (call && answer->make)
		op_reply(call, answer->make(result));
	else if (call)
		op_reply(call, json_pack("{s:s}", "result", answer->said));
	free(answer);
}
