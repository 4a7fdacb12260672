/* SPDX-License-Identifier: BSD-3-Clause */
/* From a plugin's name to its const struct. Runs on: the control loop. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "ops.h"
#include "plugins.h"

#define PATH_ENV "TAILPLANE_PLUGIN_PATH"

static struct instance *instances;

struct instance *plugin_first(void)
{
	return instances;
}

/* ---- where ---- */

typedef void (*dir_fn)(void *arg, const char *dir);

static void each_dir(const struct setting_list *plugin_path, dir_fn fn, void *arg)
{
	const char *env = getenv(PATH_ENV);
	char *const *paths = plugin_path->items;
	char dir[PATH_MAX];

	while (env && *env) {
		size_t len = strcspn(env, ":");

		if (len && len < sizeof(dir)) {
			memcpy(dir, env, len);
			dir[len] = '\0';
			fn(arg, dir);
		}
		env += len + (env[len] == ':');
	}
	for (size_t i = 0; i < plugin_path->count; i++)
		fn(arg, paths[i]);
	fn(arg, PLUGIN_DIR);
}

struct search {
	const char *name;
	char *found;
	char tried[300];
};

static void look_in(void *arg, const char *dir)
{
	struct search *search = arg;
	size_t len = strlen(search->tried);
	char *path;

	if (search->found)
		return;
	if (asprintf(&path, "%s/%s.so", dir, search->name) < 0)
		abort();
	if (access(path, F_OK) == 0) {
		search->found = path;
		return;
	}
	free(path);
	snprintf(search->tried + len, sizeof(search->tried) - len, "%s%s", len ? ", " : "", dir);
}

/* ---- what ---- */

static int check_ops(const struct plugin *plugin, struct err *err)
{
	for (const struct op *op = plugin->ops; op && op->name; op++) {
		if (op_is_core(op->name))
			return err_set(
				err, -EINVAL, "its operation \"%s\" is the core's", op->name);
		for (const struct instance *i = instances; i; i = i->next) {
			for (const struct op *other = i->plugin->ops; other && other->name;
				other++) {
				if (strcmp(op->name, other->name) == 0)
					return err_set(err, -EINVAL,
						"its operation \"%s\" is that of plugin \"%s\"",
						op->name, i->plugin->name);
			}
		}
	}
	return 0;
}

static int check(const struct plugin *plugin, const char *name, struct err *err)
{
	if (plugin->abi != TAILPLANE_ABI)
		return err_set(err, -EINVAL,
			"it was built for plugin ABI %u, this daemon has %u: build it again",
			plugin->abi, TAILPLANE_ABI);
	if (plugin->size != sizeof(*plugin))
		return err_set(err, -EINVAL,
			"its struct plugin has %u bytes, this daemon's %zu: build it again",
			plugin->size, sizeof(*plugin));
	if (!plugin->name || strcmp(plugin->name, name) != 0)
		return err_set(
			err, -EINVAL, "it calls itself \"%s\"", plugin->name ? plugin->name : "");
	if (strcmp(name, "core") == 0 || strcmp(name, "plugins") == 0)
		return err_set(
			err, -EINVAL, "the group \"%s\" of the configuration is taken", name);
	return check_ops(plugin, err);
}

static const struct plugin *open_object(const char *path, const char *name, struct err *err)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct plugin *plugin;
	struct err why = {0};

	if (!handle) {
		err_set(err, -EINVAL, "cannot load plugin \"%s\": %s", name, dlerror());
		return NULL;
	}
	plugin = dlsym(handle, "tailplane_plugin");
	if (!plugin) {
		err_set(err, -EINVAL, "%s is no plugin: it has no symbol tailplane_plugin", path);
		return NULL;
	}
	if (check(plugin, name, &why) != 0) {
		err_set(err, -EINVAL, "%s cannot be plugin \"%s\": %s", path, name, why.msg);
		return NULL;
	}
	return plugin;
}

static struct instance *find(const char *name)
{
	struct instance *inst = instances;

	while (inst && strcmp(inst->plugin->name, name) != 0)
		inst = inst->next;
	return inst;
}

static struct instance *add(const struct plugin *plugin, char *path)
{
	struct instance *inst = calloc(1, sizeof(*inst)), **end = &instances;

	if (!inst)
		abort();
	inst->plugin = plugin;
	inst->path = path;
	inst->dir = strndup(path, (size_t)(strrchr(path, '/') - path));
	inst->since = time(NULL);
	while (*end)
		end = &(*end)->next;
	*end = inst;
	return inst;
}

struct instance *plugin_load(
	const char *name, const struct setting_list *plugin_path, struct err *err)
{
	struct search search = {.name = name};
	struct instance *inst = find(name);
	const struct plugin *plugin;

	if (inst)
		return inst;
	each_dir(plugin_path, look_in, &search);
	if (!search.found) {
		err_set(err, -ENOENT,
			"there is no plugin \"%s\": no %s.so in %s; see core.plugin_path", name,
			name, search.tried);
		return NULL;
	}
	plugin = open_object(search.found, name, err);
	if (!plugin) {
		free(search.found);
		return NULL;
	}
	return add(plugin, search.found);
}

/* ---- all of them ---- */

struct names {
	char **names;
	size_t n;
};

static void list_dir(void *arg, const char *path)
{
	struct names *all = arg;
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len < 4 || strcmp(entry->d_name + len - 3, ".so") != 0 ||
			(len > 8 && strcmp(entry->d_name + len - 8, "-node.so") == 0))
			continue;
		all->names = array_grow(all->names, all->n, sizeof(*all->names));
		all->names[all->n++] = strndup(entry->d_name, len - 3);
	}
	if (dir)
		closedir(dir);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void plugin_load_all(const struct setting_list *plugin_path)
{
	struct names all = {0};

	each_dir(plugin_path, list_dir, &all);
	if (all.n)
		qsort(all.names, all.n, sizeof(*all.names), compare_names);
	for (size_t i = 0; i < all.n; i++) {
		struct err err = {0};

		if (!plugin_load(all.names[i], plugin_path, &err))
			log_warnx("%s", err.msg);
		free(all.names[i]);
	}
	free(all.names);
}
