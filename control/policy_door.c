/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine that goes is not asked again from that moment on. What nodes are told follows when the
 * loop goes on, so that one that stops and starts, as in a reload, is one change, and so that all
 * plugins have their new state when it matters whether the engine is still configured. Control
 * loop.
 */
#include "policy_door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>

#include "policy.h"

static struct {
	struct tailnet *tailnet;
	struct map *map;
	ev_timer look;
	/* The plugin whose policy was in force last; NULL: none was since it left the
	 * configuration. It outlives a restart of the control server. */
	const char *engine;
	const struct policy_ops *said;
} door;

static void compare_name(void *arg, const char *name, const char *dir)
{
	const char **wanted = arg;

	(void)dir;
	if (*wanted && strcmp(*wanted, name) == 0)
		*wanted = NULL;
}

static bool is_configured(const char *plugin)
{
	const char *wanted = plugin;

	core_each_plugin(compare_name, &wanted);
	return !wanted;
}

static void use(void)
{
	const struct policy_ops *engine = core_service(POLICY_SERVICE);

	if (engine)
		door.engine = engine->plugin;
	door.tailnet->policy = engine ? engine : door.engine ? &policy_closed : &policy_allow_all;
}

static void say(void)
{
	if (door.said == door.tailnet->policy)
		return;
	door.said = door.tailnet->policy;
	if (door.tailnet->policy == &policy_closed)
		log_warnx("control: the policy engine %s does not run: nobody sees anybody until "
			  "it does",
			door.engine);
	else if (door.tailnet->policy == &policy_allow_all)
		log_warnx("control: no policy engine is configured any more: all nodes see and "
			  "reach each other");
	else
		log_info("control: the policy of %s is in force", door.engine);
}

LOOP_CALLBACK(policy_look, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	if (door.tailnet->policy == &policy_closed && !is_configured(door.engine)) {
		door.engine = NULL;
		use();
	}
	say();
	map_policy_changed(door.map);
}

static void changed(void)
{
	if (door.map)
		ev_timer_start(core_loop(), &door.look);
}

static void came_or_went(void)
{
	use();
	changed();
}

/* ---- what an engine sees ------------------------------------------------------------------- */

static void look(const struct node *node, struct policy_node *seen)
{
	*seen = (struct policy_node){
		.id = node->d.id,
		.user = node->d.user,
		.name = node->d.label,
		.login = user_login(node->user),
		.tags = node->d.tags,
		.v4 = node->d.v4,
		.v6 = node->d.v6,
		.approved = node->approved,
		.n_approved = node->n_approved,
	};
}

static void each(void (*fn)(void *arg, const struct node *node), void *arg)
{
	size_t n;
	struct node **nodes = door.tailnet ? nodes_list(door.tailnet, &n) : NULL;

	for (size_t i = 0; nodes && i < n; i++)
		fn(arg, nodes[i]);
	free(nodes);
}

/* ---- life ---------------------------------------------------------------------------------- */

void policy_door_open(struct tailnet *t)
{
	static const struct policy_control_ops ops = {changed, look, each};

	door.tailnet = t;
	if (door.engine && !is_configured(door.engine))
		door.engine = NULL;
	use();
	door.said = &policy_allow_all;
	say();
	ev_timer_init(&door.look, policy_look, 0., 0.);
	core_watch_service(POLICY_SERVICE, came_or_went);
	core_provide(POLICY_CONTROL_SERVICE, &ops);
}

void policy_door_start(struct map *map)
{
	door.map = map;
}

void policy_door_stop(void)
{
	core_provide(POLICY_CONTROL_SERVICE, NULL);
	core_watch_service(POLICY_SERVICE, NULL);
	ev_timer_stop(core_loop(), &door.look);
	door.map = NULL;
}

const char *policy_door_state(void)
{
	static char words[128];

	if (door.tailnet->policy == &policy_allow_all)
		return "none: all nodes see and reach each other";
	if (door.tailnet->policy != &policy_closed)
		return door.engine;
	snprintf(words, sizeof(words), "%.64s does not run: nobody sees anybody", door.engine);
	return words;
}
