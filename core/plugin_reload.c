/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reload: all or nothing, in two steps. Runs on: the control loop.
 *
 * First everything that can be known without effect: the text is read, checked and bound, and each
 * running plugin says what the new settings mean to it. Then, when nobody refused:
 *
 *   stop, in reverse order of needs, who restarts or leaves;
 *   in order of needs: who joined gets its init, who joined or restarts its start, and who absorbs
 *   applies, if one of those that start needs it;
 *   the others who absorb, apply; who left gets its fini.
 *
 * Starts can fail, applies cannot: so as many applies as possible come when no start is left. When
 * a start fails, the way is walked back: what started stops, what applied applies the old settings,
 * what was stopped starts with them. Only a plugin that fails even with its old settings is left
 * FAILED, and those that need it with it; the next reload tries it again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front_life.h"
#include "log_thread.h"
#include "plugins.h"
#include "privileges.h"

struct reload {
	struct configuration *old, *next;
	FILE *errors;
	bool refused;
	bool *applied; /* by place in `next` */
};

/* ---- first step: no effects ---- */

static void refuse(struct reload *r, const char *who, const char *reason)
{
	fprintf(r->errors, "plugin %s: %s\n", who, *reason ? reason : "refused the new settings");
	r->refused = true;
}

static enum plugin_change ask(struct reload *r, struct instance *inst, const void *conf)
{
	const struct plugin *plugin = inst->plugin;
	struct err why = {0};

	if (inst->state != STATE_UP)
		return CHANGE_RESTART;
	if (!plugin->check)
		return !plugin->settings || settings_equal(plugin->settings, inst->conf, conf)
			       ? CHANGE_NONE
			       : CHANGE_RESTART;
	switch (plugin->check(inst->conf, conf, &why)) {
	case PLUGIN_ABSORB:
		return CHANGE_ABSORB;
	case PLUGIN_RESTART:
		return CHANGE_RESTART;
	case PLUGIN_REFUSE:
		break;
	}
	refuse(r, plugin->name, why.msg);
	return CHANGE_NONE;
}

static enum plugin_change welcome(struct reload *r, const struct instance *inst)
{
	uint64_t lacking = inst->plugin->caps & ~privileges_held();

	if (lacking) {
		fprintf(r->errors,
			"plugin %s: it needs the capability %s, which was given up: restart the "
			"daemon\n",
			inst->plugin->name, privileges_name(lacking));
		r->refused = true;
	}
	return CHANGE_ADD;
}

static bool starts(const struct instance *inst)
{
	return inst->change == CHANGE_ADD || inst->change == CHANGE_RESTART;
}

/* Who needs one that restarts restarts with it. */
static void spread_restart(struct configuration *next)
{
	for (size_t i = 0; i < next->n; i++) {
		struct instance *inst = next->plugins[i];

		for (size_t j = 0; j < i && !starts(inst); j++) {
			if (starts(next->plugins[j]) &&
				plugin_needs(next->plugins, next->n, inst->plugin,
					next->plugins[j]->plugin))
				inst->change = CHANGE_RESTART;
		}
	}
}

static void plan_core(struct reload *r)
{
	struct err err = {0};

	if (core_conf_check(r->old->core, r->next->core, &err) != 0 ||
		front_prepare(r->next->core, false, &err) != 0) {
		fprintf(r->errors, "%s\n", err.msg);
		r->refused = true;
	}
}

static void plan(struct reload *r)
{
	for (size_t i = 0; i < r->old->n; i++)
		r->old->plugins[i]->change = CHANGE_REMOVE;
	for (size_t i = 0; i < r->next->n; i++) {
		struct instance *inst = r->next->plugins[i];

		if (configuration_find(r->old, inst) < 0)
			inst->change = welcome(r, inst);
		else
			inst->change = ask(r, inst, r->next->confs[i]);
	}
	spread_restart(r->next);
	plan_core(r);
}

/* ---- second step ---- */

static bool is_needed_by_a_start(const struct configuration *next, size_t i)
{
	for (size_t j = i + 1; j < next->n; j++) {
		if (starts(next->plugins[j]) &&
			plugin_needs(next->plugins, next->n, next->plugins[j]->plugin,
				next->plugins[i]->plugin))
			return true;
	}
	return false;
}

static void stop_old(const struct configuration *old)
{
	for (size_t i = old->n; i--;) {
		struct instance *inst = old->plugins[i];

		if ((inst->change == CHANGE_RESTART || inst->change == CHANGE_REMOVE) &&
			inst->state == STATE_UP)
			instance_stop(inst);
	}
}

static void apply(struct reload *r, size_t i)
{
	instance_apply(r->next->plugins[i], r->next, r->next->confs[i]);
	r->applied[i] = true;
}

static int start_one(struct reload *r, size_t i, struct err *err)
{
	struct instance *inst = r->next->plugins[i];
	int rc = inst->change == CHANGE_ADD ? instance_init(inst, r->next->confs[i], err) : 0;

	if (rc)
		return rc;
	rc = instance_start(inst, r->next, r->next->confs[i], err);
	if (rc && inst->change == CHANGE_ADD)
		instance_fini(inst);
	return rc;
}

/* `*i` is where it ended: all before it are done. */
static int start_next(struct reload *r, size_t *i, struct err *err)
{
	int rc = 0;

	for (*i = 0; !rc && *i < r->next->n; ++*i) {
		struct instance *inst = r->next->plugins[*i];

		if (starts(inst))
			rc = start_one(r, *i, err);
		else if (inst->change == CHANGE_ABSORB && is_needed_by_a_start(r->next, *i))
			apply(r, *i);
		if (rc)
			break;
	}
	return rc;
}

static void finish(struct reload *r)
{
	for (size_t i = 0; i < r->next->n; i++) {
		if (r->next->plugins[i]->change == CHANGE_ABSORB && !r->applied[i])
			apply(r, i);
	}
	for (size_t i = r->old->n; i--;) {
		struct instance *inst = r->old->plugins[i];

		if (inst->change == CHANGE_REMOVE) {
			instance_fini(inst);
			instance_set_state(inst, STATE_DOWN, "not in the configuration");
		}
	}
	front_commit();
}

/* ---- the way back ---- */

/* Those that need it stop before it, and start again behind it. */
static void stop_with_dependents(struct reload *r, struct instance *inst)
{
	for (size_t i = r->old->n; i--;) {
		struct instance *other = r->old->plugins[i];

		if (other->state != STATE_UP ||
			(other != inst && !plugin_needs(r->old->plugins, r->old->n, other->plugin,
						  inst->plugin)))
			continue;
		instance_stop(other);
		other->change = CHANGE_RESTART;
	}
}

static void unapply(struct reload *r, struct instance *inst)
{
	ssize_t i = configuration_find(r->old, inst);
	struct err why = {0};

	switch (inst->plugin->check(inst->conf, r->old->confs[i], &why)) {
	case PLUGIN_ABSORB:
		instance_apply(inst, r->old, r->old->confs[i]);
		break;
	case PLUGIN_RESTART:
		stop_with_dependents(r, inst);
		break;
	case PLUGIN_REFUSE:
		fprintf(r->errors, "plugin %s: keeps the new settings: %s\n", inst->plugin->name,
			why.msg);
		break;
	}
}

static void undo_next(struct reload *r, size_t end)
{
	for (size_t i = end; i--;) {
		struct instance *inst = r->next->plugins[i];

		if (starts(inst) && inst->state == STATE_UP)
			instance_stop(inst);
		if (inst->change == CHANGE_ADD) {
			instance_fini(inst);
			instance_set_state(inst, STATE_DOWN, "the reload that brought it failed");
		} else if (r->applied[i]) {
			unapply(r, inst);
		}
	}
}

/* What it needs and does not run, or NULL. */
static const char *missing_need(const struct configuration *c, const struct instance *inst)
{
	for (const char *const *need = inst->plugin->needs; need && *need; need++) {
		for (size_t i = 0; i < c->n; i++) {
			if (strcmp(c->plugins[i]->plugin->name, *need) == 0 &&
				c->plugins[i]->state != STATE_UP)
				return *need;
		}
	}
	return NULL;
}

static void start_again(struct reload *r, size_t i)
{
	struct instance *inst = r->old->plugins[i];
	const char *need = missing_need(r->old, inst);
	struct err err = {0};
	char reason[128];

	if (need) {
		snprintf(reason, sizeof(reason), "it needs %s, which does not run", need);
		instance_set_state(inst, STATE_FAILED, reason);
		fprintf(r->errors, "plugin %s: %s\n", inst->plugin->name, reason);
	} else if (instance_start(inst, r->old, r->old->confs[i], &err) != 0) {
		fprintf(r->errors, "%s%s\n",
			r->old == r->next ? "" : "with the old settings too: ", err.msg);
	}
}

static void go_back(struct reload *r, size_t end)
{
	undo_next(r, end);
	plugins_set_active(r->old);
	for (size_t i = 0; i < r->old->n; i++) {
		const struct instance *inst = r->old->plugins[i];

		if ((inst->change == CHANGE_RESTART || inst->change == CHANGE_REMOVE) &&
			inst->state != STATE_UP)
			start_again(r, i);
	}
}

static int carry_out(struct reload *r)
{
	struct err err = {0};
	size_t end;
	int rc;

	stop_old(r->old);
	plugins_set_active(r->next);
	rc = start_next(r, &end, &err);
	if (!rc) {
		finish(r);
		return 0;
	}
	fprintf(r->errors, "%s; went back to the old settings\n", err.msg);
	go_back(r, end);
	return rc;
}

/* ---- both ---- */

static void tell(const struct reload *r, FILE *out)
{
	static const char *const words[] = {[CHANGE_ABSORB] = "took the settings in",
		[CHANGE_RESTART] = "restarted",
		[CHANGE_ADD] = "added"};
	const char *between = "";

	for (size_t i = 0; i < r->next->n; i++) {
		const struct instance *inst = r->next->plugins[i];

		if (inst->change == CHANGE_NONE)
			continue;
		fprintf(out, "%s%s %s", between, inst->plugin->name, words[inst->change]);
		between = ", ";
	}
	for (size_t i = 0; i < r->old->n; i++) {
		if (r->old->plugins[i]->change != CHANGE_REMOVE)
			continue;
		fprintf(out, "%s%s removed", between, r->old->plugins[i]->plugin->name);
		between = ", ";
	}
	if (!*between)
		fputs("nothing to do", out);
}

static int reload(struct reload *r, FILE *summary)
{
	int rc;

	plan(r);
	rc = r->refused ? -EBUSY : carry_out(r);
	if (rc)
		front_abandon();
	else
		tell(r, summary);
	return rc;
}

int plugins_reload(const char *path, char **summary, char **errors)
{
	struct reload r = {.old = configuration_get(plugins_active())};
	size_t errors_len, summary_len;
	FILE *out = open_memstream(summary, &summary_len);
	int rc = -EINVAL;

	r.errors = open_memstream(errors, &errors_len);
	if (!out || !r.errors)
		abort();
	r.next = configuration_read(path, r.errors);
	if (r.next) {
		r.applied = calloc(r.next->n + 1, sizeof(*r.applied));
		if (!r.applied)
			abort();
		rc = reload(&r, out);
	}
	free(r.applied);
	configuration_put(r.next);
	configuration_put(r.old);
	fclose(out);
	fclose(r.errors);
	return rc;
}

/* ---- with the same settings ---- */

int plugins_restart_around(bool (*who)(const struct plugin *plugin),
	int (*between)(void *arg, struct err *err), void *arg, struct err *err)
{
	struct configuration *c = configuration_get(plugins_active());
	struct reload r = {.old = c, .next = c};
	size_t errors_len;
	char *errors;
	int rc;

	r.errors = open_memstream(&errors, &errors_len);
	if (!r.errors)
		abort();
	for (size_t i = 0; i < c->n; i++)
		c->plugins[i]->change = who(c->plugins[i]->plugin) ? CHANGE_RESTART : CHANGE_NONE;
	spread_restart(c);
	stop_old(c);
	rc = between(arg, err);
	for (size_t i = 0; i < c->n; i++) {
		if (c->plugins[i]->change == CHANGE_RESTART)
			start_again(&r, i);
	}
	fclose(r.errors);
	if (!rc && *errors)
		rc = err_set(err, -EIO, "%.*s", (int)strcspn(errors, "\n"), errors);
	free(errors);
	configuration_put(c);
	return rc;
}
