/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration as a whole: its text, libconfig's tree of it, the plugins that it names and the
 * groups that were bound. One thread at a time: the caller's.
 */
#include "settings_parse.h"

#include <errno.h>
#include <libconfig.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "settings_private.h"

struct group {
	const char *name;
	const struct setting *table;
	const void *base;
	bool good; /* all of it may be read */
};

struct config {
	struct arena arena;
	struct setting_errors errs;
	struct source source;
	config_t tree;
	bool well_formed;            /* there is a tree to read */
	struct setting_list plugins; /* const char * */
	struct group *groups;
	size_t n_groups;
};

static const struct setting plugins_setting = {
	.name = "plugins",
	.type = SETTING_STRING,
	.flags = SETTING_LIST,
	.offset = offsetof(struct config, plugins),
};

static struct binder binder_of(struct config *config)
{
	return (struct binder){&config->errs, &config->arena, &config->source};
}

/*
 * Settings and elements get the lines that the scan saw: libconfig takes an element's line when it
 * has read one token beyond it. Both meet them in the order of the text; `n` counts them.
 */
static void set_lines(const struct source *source, config_setting_t *node, size_t *n)
{
	for (int i = 0; config_setting_is_aggregate(node) && i < config_setting_length(node); i++) {
		config_setting_t *child = config_setting_get_elem(node, (unsigned)i);

		if (*n < source->n_values)
			child->line = source->value_lines[*n];
		++*n;
		set_lines(source, child, n);
	}
}

/* What the scan lets through and libconfig refuses: lists of mixed types, in the main. */
static void complain_parse(struct config *config)
{
	const char *text = config_error_text(&config->tree);
	struct setting_place place =
		source_place(&config->source, (unsigned)config_error_line(&config->tree));

	if (text && strstr(text, "mismatched element type"))
		setting_complain(
			&config->errs, place, "the elements of a [ ] are not all of one type");
	else
		setting_complain(&config->errs, place, "%s; write NAME = VALUE;",
			text ? text : "not understood");
}

static bool parse(struct config *config)
{
	size_t n = 0;

	if (!config_read_string(&config->tree, config->source.text)) {
		complain_parse(config);
		return false;
	}
	set_lines(&config->source, config_root_setting(&config->tree), &n);
	if (n == config->source.n_values)
		return true;
	/* two lexers of one text that do not agree: trust neither */
	setting_complain(
		&config->errs, config->errs.whole, "not understood: write it more plainly");
	return false;
}

/* A plugin's name is a file's and a group's: no way out of the folder of plugins. */
static bool is_plugin_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

	return *name && strchr(letters, *name) && strlen(name) < 64 &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}

static bool is_among(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(names[i], name))
			return true;
	}
	return false;
}

/* Those that can be loaded; the others are complained about, and nothing stumbles over them again.
 */
static void read_plugins(struct config *config)
{
	const config_setting_t *node = config_lookup(&config->tree, plugins_setting.name);
	struct setting_list *list = &config->plugins;
	struct binder binder = binder_of(config);
	const char **names, **good;
	size_t n = 0;

	if (!node)
		return;
	bind_member(&binder, node, &plugins_setting, config);
	if (list->count > GROUP_KEYS_MAX) {
		setting_error(&config->errs, list, "%zu plugins; it takes up to %d", list->count,
			GROUP_KEYS_MAX);
		list->count = 0;
	}
	names = list->items;
	good = arena_alloc(&config->arena, list->count * sizeof(*good));
	for (size_t i = 0; i < list->count; i++) {
		if (!names[i])
			continue; /* was no string */
		if (!is_plugin_name(names[i])) {
			setting_error(&config->errs, &names[i],
				"\"%s\" cannot name a plugin: it takes small letters, digits, "
				"\"_\" and \"-\"",
				names[i]);
		} else if (is_among(good, n, names[i])) {
			setting_error(&config->errs, &names[i], "\"%s\" is named twice", names[i]);
		} else {
			setting_mark(&config->errs, &good[n], sizeof(*good),
				setting_find(&config->errs, &names[i]));
			good[n++] = names[i];
		}
	}
	list->items = good;
	list->count = n;
}

static struct config *config_new(const char *name, const char *text, size_t size)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		abort();
	config->errs.arena = &config->arena;
	config->errs.whole.file = arena_strdup(&config->arena, name);
	config_init(&config->tree);
	config->well_formed =
		source_read(&config->source, config->errs.whole.file, text, size, &config->errs) &&
		parse(config);
	if (config->well_formed)
		read_plugins(config);
	return config;
}

struct config *config_open(const char *path)
{
	return config_new(path, NULL, 0);
}

struct config *config_open_text(const char *name, const char *text, size_t size)
{
	return config_new(name, text, size);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	config_destroy(&config->tree);
	source_fini(&config->source);
	setting_errors_fini(&config->errs);
	arena_fini(&config->arena);
	free(config->groups);
	free(config);
}

size_t config_plugins(struct config *config, const char *const **names)
{
	*names = config->plugins.items;
	return config->plugins.count;
}

/* Where an absent group is missed: at the plugin's name in the list. */
static struct setting_place absent_place(const struct config *config, const char *group)
{
	const char *const *names = config->plugins.items;

	for (size_t i = 0; i < config->plugins.count; i++) {
		if (!strcmp(names[i], group))
			return setting_find(&config->errs, &names[i]);
	}
	return config->errs.whole;
}

static void add_group(
	struct config *config, const char *name, const struct setting *table, const void *base)
{
	config->groups = array_grow(config->groups, config->n_groups, sizeof(*config->groups));
	config->groups[config->n_groups++] =
		(struct group){.name = name, .table = table, .base = base};
}

const void *config_bind(
	struct config *config, const char *group, const struct setting *table, size_t size)
{
	struct binder binder = binder_of(config);
	struct setting_place place;
	size_t before = config->errs.count;
	const config_setting_t *node;
	void *base;

	if (!config->well_formed || !bind_check_table(&binder, group, table, size))
		return NULL;

	base = arena_alloc(&config->arena, size ? size : 1);
	group = arena_strdup(&config->arena, group);
	add_group(config, group, table, base);
	node = config_setting_get_member(config_root_setting(&config->tree), group);
	place = node ? source_place(&config->source, config_setting_source_line(node))
		     : absent_place(config, group);
	if (node && !config_setting_is_group(node)) {
		setting_complain(
			&config->errs, place, "%s takes a group: %s = { ... };", group, group);
		return NULL;
	}
	setting_mark(&config->errs, base, size, place);
	bind_group(&binder, node, place, group, table, base);
	config->groups[config->n_groups - 1].good = config->errs.count == before;
	return config->errs.count == before ? base : NULL;
}

/* `name` up to the next dot. */
static bool is_named(const char *name, const char *part)
{
	size_t len = strcspn(name, ".");

	return strlen(part) == len && !strncmp(name, part, len);
}

static const void *find_setting(const struct setting *table, const void *base, const char *name)
{
	const char *rest = strchr(name, '.');

	for (const struct setting *s = table; s && s->name; s++) {
		const void *field = (const char *)base + s->offset;

		if (!is_named(name, s->name))
			continue;
		if (!rest)
			return field;
		return s->type == SETTING_GROUP && !(s->flags & SETTING_LIST)
			       ? find_setting(s->sub, field, rest + 1)
			       : NULL;
	}
	return NULL;
}

const void *setting_of(const struct setting_errors *errs, const char *name)
{
	const struct config *config =
		(const void *)((const char *)errs - offsetof(struct config, errs));
	const char *rest = strchr(name, '.');

	for (size_t i = 0; rest && i < config->n_groups; i++) {
		const struct group *group = &config->groups[i];

		if (is_named(name, group->name))
			return group->good ? find_setting(group->table, group->base, rest + 1)
					   : NULL;
	}
	return NULL;
}

/* A plugin that is named and was not bound could not be loaded, which its loader has complained of.
 */
static bool is_known(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_groups; i++) {
		if (!strcmp(config->groups[i].name, name))
			return true;
	}
	return is_among(config->plugins.items, config->plugins.count, name) ||
	       !strcmp(name, plugins_setting.name);
}

static void complain_unknown(struct config *config, const config_setting_t *node)
{
	struct nearest nearest = {.typed = config_setting_name(node)};
	struct setting_place place =
		source_place(&config->source, config_setting_source_line(node));

	nearest_offer(&nearest, plugins_setting.name);
	for (size_t i = 0; i < config->n_groups; i++)
		nearest_offer(&nearest, config->groups[i].name);
	if (nearest.best)
		setting_complain(&config->errs, place, "unknown group \"%s\"; did you mean \"%s\"?",
			nearest.typed, nearest.best);
	else
		setting_complain(&config->errs, place,
			"unknown group \"%s\"; if it is a plugin's, name the plugin in the list "
			"\"plugins\"",
			nearest.typed);
}

int config_finish(struct config *config)
{
	const config_setting_t *root = config_root_setting(&config->tree);

	for (int i = 0; config->well_formed && i < config_setting_length(root); i++) {
		const config_setting_t *node = config_setting_get_elem(root, (unsigned)i);

		if (!is_known(config, config_setting_name(node)))
			complain_unknown(config, node);
	}
	return config->errs.count ? -EINVAL : 0;
}

struct setting_errors *config_errors(struct config *config)
{
	return &config->errs;
}

const char *config_error(struct config *config, size_t i)
{
	return setting_errors_text(&config->errs, i);
}

void config_print_errors(struct config *config, FILE *out)
{
	const char *text;

	for (size_t i = 0; (text = config_error(config, i)); i++)
		fprintf(out, "%s\n", text);
}

void config_print(const struct config *config, FILE *out)
{
	settings_print_member(out, &plugins_setting, config, 0);
	for (size_t i = 0; i < config->n_groups; i++) {
		const struct group *group = &config->groups[i];

		if (!group->table || !group->table->name)
			continue;
		fprintf(out, "\n%s = {\n", group->name);
		settings_print(out, group->table, group->base, 1);
		fputs("};\n", out);
	}
}
