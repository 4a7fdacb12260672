/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <tailplane/settings.h>

/*
 * From the text of a configuration to the structs of those who declared settings. In two phases,
 * since the tables are known only when the plugins named in the text are loaded:
 *
 *   config = config_open(path);
 *   n = config_plugins(config, &names);    load them
 *   conf = config_bind(config, "core", core_settings, sizeof(struct core_conf));   and each
 * plugin's plugin->validate(conf, config_errors(config));    where conf is not NULL
 *   config_finish(config);    0, or -EINVAL: see config_error
 *
 * Complaints pile up in the order of the text; no step stops at the first. When even the form of
 * the text is wrong, config_plugins answers none and config_bind NULL.
 *
 * All of it lives in the config until config_free: structs, strings, names, complaints.
 * One thread at a time.
 */
struct config;

/* Never NULL: what went wrong is a complaint. Includes are relative to the including file. */
struct config *config_open(const char *path);
/* For an embedded text; `name` stands for the file in complaints. It may not include files. */
struct config *config_open_text(const char *name, const char *text, size_t size);
void config_free(struct config *config);

/* The list `plugins`, in the order of the text, free of doubles and of what cannot name a plugin.
 * For a complaint about one of them: setting_error(config_errors(config), &names[i], ...). */
size_t config_plugins(struct config *config, const char *const **names);
/*
 * The settings of one group, of `size` bytes, defaults in place where the text (or the whole group)
 * is silent. NULL when there is something to complain about in the group: then nothing reads it.
 * `table` may be NULL (takes none), then the answer points to nothing readable but is not NULL.
 */
const void *config_bind(
	struct config *config, const char *group, const struct setting *table, size_t size);
/* Complains about groups that are neither bound nor a named plugin's. 0, or -EINVAL when there is
 * any complaint at all. */
int config_finish(struct config *config);

struct setting_errors *config_errors(struct config *config);
/* "file:line: what is wrong, and what would be right"; NULL behind the last. */
const char *config_error(struct config *config, size_t i);
/* All of them, one a line. */
void config_print_errors(struct config *config, FILE *out);

/*
 * -nv: the plugins and each bound group with its effective values, defaults included. Reads back to
 * the same: print(parse(print(parse(x)))) is print(parse(x)), byte for byte.
 */
void config_print(const struct config *config, FILE *out);

/* Whether two structs of one table hold the same settings: lists and strings by content. */
bool settings_equal(const struct setting *table, const void *a, const void *b);

/* Whether `text` would do as one value of this setting (its type, bounds, choices): for arguments
 * of operations. 0 or -EINVAL with a reason. Bools are "true" and "false", integers digits. */
int setting_check(const struct setting *setting, const char *text, struct err *err);
