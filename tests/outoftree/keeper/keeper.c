/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A policy engine of one rule: users are apart, or all are together. It changes its mind while it
 * runs, lets SSH sessions in after a while or not, and can go. Control loop.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/plugin.h>
#include <tailplane/policy.h>

struct keeper_conf {
	bool together;
};

static const struct setting settings[] = {
	{.name = "together",
		.type = SETTING_BOOL,
		.offset = offsetof(struct keeper_conf, together),
		.def = "false",
		.help = "Whether users see each other."},
	{0},
};

static bool together, ssh_opens;

static struct {
	ev_timer timer;
	void (*answer)(void *arg, const char *action);
	void *arg;
	unsigned asked;
} session;

static struct policy_node seen_of(const struct node *node)
{
	const struct policy_control_ops *control = core_service(POLICY_CONTROL_SERVICE);
	struct policy_node seen = {0};

	control->look(node, &seen);
	return seen;
}

static uint32_t view_of(const struct node *viewer)
{
	return together ? 0 : (uint32_t)seen_of(viewer).user;
}

static bool shows(uint32_t view, const struct node *peer)
{
	return together || seen_of(peer).user == (int64_t)view;
}

static const char *filters(const struct node *node)
{
	(void)node;
	return "{\"base\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,"
	       "\"Last\":65535}}]}]}";
}

static const char *ssh(const struct node *node)
{
	(void)node;
	return "{\"rules\":[{\"principals\":[{\"any\":true}],\"sshUsers\":{\"root\":\"root\"},"
	       "\"action\":"
	       "{\"holdAndDelegate\":\"https://unused/machine/ssh/action/$SRC_NODE_ID/to/"
	       "$DST_NODE_ID?local_user=$LOCAL_USER\"}}]}";
}

LOOP_CALLBACK(keeper_decides, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	session.answer(session.arg, ssh_opens ? "{\"accept\":true}" : NULL);
	session.answer = NULL;
}

static void ssh_action(
	const struct policy_ssh *asked, void (*answer)(void *arg, const char *action), void *arg)
{
	session.asked++;
	if (session.answer || strcmp(asked->query, "local_user=root") != 0 ||
		strcmp(seen_of(asked->from).name, "b") != 0 ||
		strcmp(seen_of(asked->to).name, "a") != 0) {
		answer(arg, "{\"reject\":true,\"message\":\"not this one\"}");
		return;
	}
	session.answer = answer;
	session.arg = arg;
	ev_timer_start(core_loop(), &session.timer);
}

static const struct policy_ops policy = {
	.plugin = "keeper",
	.view_of = view_of,
	.shows = shows,
	.filters = filters,
	.ssh = ssh,
	.ssh_action = ssh_action,
};

static void count_node(void *arg, const struct node *node)
{
	(void)node;
	++*(unsigned *)arg;
}

static void run(struct op_call *call, const json_t *args)
{
	const char *word = json_string_value(json_object_get(args, "word"));
	const struct policy_control_ops *control = core_service(POLICY_CONTROL_SERVICE);
	unsigned nodes = 0;

	if (strcmp(word, "go") == 0)
		core_provide(POLICY_SERVICE, NULL);
	else if (strcmp(word, "come") == 0)
		core_provide(POLICY_SERVICE, &policy);
	else if (strcmp(word, "open") == 0)
		ssh_opens = true;
	else
		together = strcmp(word, "together") == 0;
	control->changed();
	control->each(count_node, &nodes);
	op_reply(call, json_pack("{s:i, s:i}", "nodes", (int)nodes, "asked", (int)session.asked));
}

static int start(const void *conf, struct err *err)
{
	(void)err;
	together = ((const struct keeper_conf *)conf)->together;
	ev_timer_init(&session.timer, keeper_decides, .3, 0.);
	core_provide(POLICY_SERVICE, &policy);
	return 0;
}

static void stop(void)
{
	core_provide(POLICY_SERVICE, NULL);
	ev_timer_stop(core_loop(), &session.timer);
	if (session.answer)
		session.answer(session.arg, NULL);
	session.answer = NULL;
}

static const char *const words[] = {"together", "apart", "open", "go", "come", NULL};
static const struct op_arg args[] = {
	{.name = "word",
		.type = SETTING_ENUM,
		.flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL,
		.choices = words,
		.help = "What shall be."},
	{NULL},
};
static const struct op ops[] = {
	{.name = "keeper",
		.help = "Changes its mind.",
		.scope = OP_WRITE,
		.args = args,
		.run = run},
	{NULL},
};

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "keeper",
	.version = "1",
	.summary = "Keeps users apart",
	.settings = settings,
	.settings_size = sizeof(struct keeper_conf),
	.ops = ops,
	.start = start,
	.stop = stop,
};
