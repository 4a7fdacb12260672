/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group of libconfig's tree into the struct that a table describes: types, bounds, defaults,
 * required and unique values, unknown names. Nothing stops at the first complaint.
 * One thread at a time: the caller's.
 */
#include "settings_private.h"

#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"

static void *member_of(const struct setting *setting, void *base)
{
	return (char *)base + setting->offset;
}

static struct setting_place place_of(const struct binder *binder, const config_setting_t *node)
{
	return source_place(binder->source, config_setting_source_line(node));
}

/* "a string" for complaints about what stands in the text. */
static const char *node_form(const config_setting_t *node)
{
	static const char *const forms[] = {
		[CONFIG_TYPE_GROUP] = "a group",
		[CONFIG_TYPE_INT] = "a number",
		[CONFIG_TYPE_INT64] = "a number",
		[CONFIG_TYPE_FLOAT] = "a fraction",
		[CONFIG_TYPE_STRING] = "a string",
		[CONFIG_TYPE_BOOL] = "true or false",
		[CONFIG_TYPE_ARRAY] = "a list",
		[CONFIG_TYPE_LIST] = "a list",
	};

	return forms[config_setting_type(node)];
}

/* How the setting is written, in the shortest example. */
static const char *example(const struct setting *setting, char buf[static 128])
{
	const struct setting_kind *kind = setting_kind(setting);
	const char *value = kind->example;
	char def[64];

	if (setting->type == SETTING_ENUM && setting->choices[0]) {
		snprintf(def, sizeof(def), "\"%s\"", setting->choices[0]);
		value = def;
	} else if (setting->def && strlen(setting->def) < sizeof(def) - 2) {
		snprintf(def, sizeof(def), kind->token == TOKEN_IS_STRING ? "\"%s\"" : "%s",
			setting->def);
		value = def;
	}
	if (!(setting->flags & SETTING_LIST))
		snprintf(buf, 128, "%s = %s;", setting->name, value);
	else if (setting->type == SETTING_GROUP)
		snprintf(buf, 128, "%s = ( { ... }, { ... } );", setting->name);
	else
		snprintf(buf, 128, "%s = [ %s ];", setting->name, value);
	return buf;
}

/* The setting itself, or one element of its list, is of another type than its table says. */
static void complain_form(const struct binder *binder, const config_setting_t *node,
	const struct setting *setting, bool element)
{
	bool list = (setting->flags & SETTING_LIST) && !element;
	char text[128], form[256];

	setting_complain(binder->errs, place_of(binder, node), "%s%s is %s, and takes %s%s: %s",
		element ? "an element of " : "", setting->name, node_form(node),
		list ? "a list, each element " : "", setting_form(setting, form),
		example(setting, text));
}

static enum setting_token node_token(const config_setting_t *node)
{
	switch (config_setting_type(node)) {
	case CONFIG_TYPE_BOOL:
		return TOKEN_IS_BOOL;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return TOKEN_IS_INT;
	case CONFIG_TYPE_STRING:
		return TOKEN_IS_STRING;
	case CONFIG_TYPE_GROUP:
		return TOKEN_IS_GROUP;
	default:
		return TOKEN_IS_NONE;
	}
}

/* A plain value as the text that the type's parser takes. */
static const char *node_text(const config_setting_t *node, char buf[static 32])
{
	switch (config_setting_type(node)) {
	case CONFIG_TYPE_STRING:
		return config_setting_get_string(node);
	case CONFIG_TYPE_BOOL:
		return config_setting_get_bool(node) ? "true" : "false";
	case CONFIG_TYPE_INT:
		snprintf(buf, 32, "%d", config_setting_get_int(node));
		return buf;
	default:
		snprintf(buf, 32, "%lld", config_setting_get_int64(node));
		return buf;
	}
}

/* One value: of the setting itself or an element of its list. */
static void bind_value(const struct binder *binder, const config_setting_t *node,
	const struct setting *setting, void *value)
{
	const struct setting_kind *kind = setting_kind(setting);
	struct setting_place place = place_of(binder, node);
	struct err err = {0};
	char buf[32];

	if (node_token(node) != kind->token) {
		complain_form(binder, node, setting, setting->flags & SETTING_LIST);
		return;
	}
	setting_mark(binder->errs, value, setting_value_size(setting), place);
	if (setting->type == SETTING_GROUP)
		bind_group(binder, node, place, setting->name, setting->sub, value);
	else if (kind->parse(binder->arena, setting, node_text(node, buf), value, &err))
		setting_complain(binder->errs, place, "%s: %s", setting->name, err.msg);
}

/* ---- lists ---- */

struct unique {
	const struct setting *setting; /* of the group's table */
	const struct setting_kind *kind;
};

static int compare_values(const struct unique *unique, const char *left, const char *right)
{
	left += unique->setting->offset;
	right += unique->setting->offset;
	return unique->kind->compare ? unique->kind->compare(left, right)
				     : memcmp(left, right, unique->kind->size);
}

/* Elements with one value side by side, of those the first in the text first. */
static int compare_elements(const void *a, const void *b, void *unique)
{
	const char *left = *(char *const *)a, *right = *(char *const *)b;
	int order = compare_values(unique, left, right);

	return order ? order : left < right ? -1 : left > right;
}

static void complain_same(const struct binder *binder, const struct setting *list,
	const struct setting *setting, const char *first, const char *again)
{
	struct setting_place at = binder->errs->whole;

	if (binder->errs->shown < SETTING_ERRORS_MAX)
		at = setting_find(binder->errs, first + setting->offset);
	setting_error(binder->errs, again + setting->offset,
		"%s is the same as at %s:%u; each element of %s needs its own", setting->name,
		at.file, at.line, list->name);
}

static void check_unique(const struct binder *binder, const struct setting *list,
	const struct setting *setting, const struct setting_list *groups)
{
	struct unique unique = {.setting = setting, .kind = setting_kind(setting)};
	const char **sorted = arena_alloc(binder->arena, groups->count * sizeof(*sorted));
	size_t n = 0;

	for (size_t i = 0; i < groups->count; i++) {
		const char *element = (const char *)groups->items + i * list->size;

		if (!unique.kind->unset || !unique.kind->unset(setting, element + setting->offset))
			sorted[n++] = element;
	}
	qsort_r(sorted, n, sizeof(*sorted), compare_elements, &unique);
	for (size_t i = 1; i < n; i++) {
		if (!compare_values(&unique, sorted[i - 1], sorted[i]))
			complain_same(binder, list, setting, sorted[i - 1], sorted[i]);
	}
}

static void bind_list(const struct binder *binder, const config_setting_t *node,
	const struct setting *setting, struct setting_list *list)
{
	size_t size = setting_value_size(setting);
	int n = config_setting_length(node);

	if (!config_setting_is_array(node) && !config_setting_is_list(node)) {
		complain_form(binder, node, setting, false);
		return;
	}
	setting_mark(binder->errs, list, sizeof(*list), place_of(binder, node));
	if (n > LIST_ELEMENTS_MAX) {
		setting_complain(binder->errs, place_of(binder, node),
			"%s has %d elements; it takes up to %d", setting->name, n,
			LIST_ELEMENTS_MAX);
		return;
	}
	if (!n && (setting->flags & SETTING_REQUIRED))
		setting_complain(binder->errs, place_of(binder, node),
			"%s is empty, and needs an element", setting->name);

	list->items = n ? arena_alloc(binder->arena, (size_t)n * size) : NULL;
	list->count = (size_t)n;
	for (int i = 0; i < n; i++)
		bind_value(binder, config_setting_get_elem(node, (unsigned)i), setting,
			(char *)list->items + (size_t)i * size);

	for (const struct setting *s = setting->sub; setting->type == SETTING_GROUP && s->name;
		s++) {
		if ((s->flags & SETTING_UNIQUE) && !(s->flags & SETTING_LIST))
			check_unique(binder, setting, s, list);
	}
}

/* ---- groups ---- */

static void bind_defaults(const struct binder *binder, const struct setting *table, void *base);

/* A default that doesn't parse is a mistake in a plugin: named, so that its author finds it. */
static void bind_default(const struct binder *binder, const struct setting *setting, void *base)
{
	void *value = member_of(setting, base);
	struct err err = {0};

	if (setting->flags & SETTING_LIST)
		return;
	if (setting->type == SETTING_GROUP)
		bind_defaults(binder, setting->sub, value);
	else if (setting->def &&
		 setting_kind(setting)->parse(binder->arena, setting, setting->def, value, &err))
		setting_complain(binder->errs, binder->errs->whole,
			"the plugin's default of %s is wrong: %s", setting->name, err.msg);
}

static void bind_defaults(const struct binder *binder, const struct setting *table, void *base)
{
	for (const struct setting *s = table; s->name; s++)
		bind_default(binder, s, base);
}

void bind_member(const struct binder *binder, const config_setting_t *node,
	const struct setting *setting, void *base)
{
	if (setting->flags & SETTING_LIST)
		bind_list(binder, node, setting, member_of(setting, base));
	else
		bind_value(binder, node, setting, member_of(setting, base));
}

static const struct setting *find_setting(const struct setting *table, const char *name)
{
	for (; table && table->name; table++) {
		if (!strcmp(table->name, name))
			return table;
	}
	return NULL;
}

static void complain_unknown(const struct binder *binder, const config_setting_t *node,
	const char *group, const struct setting *table)
{
	struct nearest nearest = {.typed = config_setting_name(node)};
	struct setting_place place = place_of(binder, node);
	char names[256] = "";
	size_t len = 0;

	for (const struct setting *s = table; s && s->name; s++) {
		nearest_offer(&nearest, s->name);
		if (len < sizeof(names))
			len += (size_t)snprintf(
				names + len, sizeof(names) - len, "%s%s", len ? ", " : "", s->name);
	}
	if (nearest.best)
		setting_complain(binder->errs, place,
			"unknown setting \"%s\" in %s; did you mean \"%s\"?", nearest.typed, group,
			nearest.best);
	else if (len)
		setting_complain(binder->errs, place,
			"unknown setting \"%s\" in %s, which takes %s%s", nearest.typed, group,
			names, len < sizeof(names) ? "" : "...");
	else
		setting_complain(binder->errs, place,
			"unknown setting \"%s\": %s takes no settings", nearest.typed, group);
}

void bind_group(const struct binder *binder, const config_setting_t *node,
	struct setting_place place, const char *name, const struct setting *table, void *base)
{
	char text[128];

	for (int i = 0; node && i < config_setting_length(node); i++) {
		const config_setting_t *child = config_setting_get_elem(node, (unsigned)i);

		if (!find_setting(table, config_setting_name(child)))
			complain_unknown(binder, child, name, table);
	}
	for (const struct setting *s = table; s && s->name; s++) {
		const config_setting_t *child =
			node ? config_setting_get_member(node, s->name) : NULL;

		if (child)
			bind_member(binder, child, s, base);
		else if (s->flags & SETTING_REQUIRED)
			setting_complain(binder->errs, place, "%s is missing in %s: %s", s->name,
				name, example(s, text));
		else
			bind_default(binder, s, base);
	}
}

/* ---- the tables themselves, which other people's plugins bring ---- */

static const char *table_mistake(const struct setting *s, size_t size)
{
	bool list = s->flags & SETTING_LIST;

	if (!setting_kind(s))
		return "has an unknown type";
	if (s->type == SETTING_ENUM && (!s->choices || !s->choices[0]))
		return "has no choices";
	if (s->type == SETTING_GROUP && (!s->sub || !s->size))
		return "has no table for its group";
	if (s->type != SETTING_INT && (s->min < 0 || s->max < 0))
		return "has bounds below zero";
	if (s->min > s->max)
		return "has its bounds in the wrong order";
	if (s->offset + (list ? sizeof(struct setting_list) : setting_value_size(s)) > size)
		return "lies outside of its struct";
	return NULL;
}

static bool check_tables(const struct binder *binder, const char *name, const struct setting *table,
	size_t size, unsigned depth)
{
	bool ok = true;

	for (const struct setting *s = table; s && s->name; s++) {
		const char *mistake = table_mistake(s, size);

		if (mistake)
			setting_complain(binder->errs, binder->errs->whole,
				"the plugin's table of settings is wrong: %s in %s %s", s->name,
				name, mistake);
		ok = ok && !mistake;
		if (!mistake && s->type == SETTING_GROUP && depth < NESTING_MAX)
			ok = check_tables(binder, s->name, s->sub, s->size, depth + 1) && ok;
	}
	return ok;
}

bool bind_check_table(
	const struct binder *binder, const char *name, const struct setting *table, size_t size)
{
	return check_tables(binder, name, table, size, 0);
}
