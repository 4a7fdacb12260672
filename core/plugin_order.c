/* SPDX-License-Identifier: BSD-3-Clause */
/* Plugins in order of their needs. Pure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plugins.h"

enum mark { UNSEEN, ON_THE_WAY, PLACED };

struct ordering {
	struct instance **in, **out;
	enum mark *marks;
	size_t *way; /* from the plugin that began down to the one looked at */
	size_t n, n_out, n_way;
	struct err *err;
};

static size_t index_of(struct instance *const *plugins, size_t n, const char *name)
{
	size_t i = 0;

	while (i < n && strcmp(plugins[i]->plugin->name, name) != 0)
		i++;
	return i;
}

static int complain_circle(const struct ordering *o, size_t i)
{
	char text[400] = "";
	size_t from = 0, len = 0;

	while (o->way[from] != i)
		from++;
	for (; from < o->n_way && len < sizeof(text); from++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s -> ",
			o->in[o->way[from]]->plugin->name);
	return err_set(o->err, -EINVAL, "plugins need each other in a circle: %s%s", text,
		o->in[i]->plugin->name);
}

static int place(struct ordering *o, size_t i)
{
	const struct plugin *plugin = o->in[i]->plugin;

	if (o->marks[i] == PLACED)
		return 0;
	if (o->marks[i] == ON_THE_WAY)
		return complain_circle(o, i);
	o->marks[i] = ON_THE_WAY;
	o->way[o->n_way++] = i;
	for (const char *const *need = plugin->needs; need && *need; need++) {
		size_t j = index_of(o->in, o->n, *need);

		if (j == o->n)
			return err_set(o->err, -EINVAL,
				"plugin \"%s\" needs \"%s\", which is not loaded: add it to "
				"plugins",
				plugin->name, *need);
		if (place(o, j) != 0)
			return -EINVAL;
	}
	o->n_way--;
	o->marks[i] = PLACED;
	o->out[o->n_out++] = o->in[i];
	return 0;
}

int plugin_order(struct instance **plugins, size_t n, size_t *at, struct err *err)
{
	struct ordering o = {.in = plugins, .n = n, .err = err};
	int rc = 0;

	o.out = calloc(n + 1, sizeof(struct instance *));
	o.marks = calloc(n + 1, sizeof(*o.marks));
	o.way = calloc(n + 1, sizeof(*o.way));
	if (!o.out || !o.marks || !o.way)
		rc = err_set(err, -ENOMEM, "no memory to order %zu plugins", n);
	for (size_t i = 0; !rc && i < n; i++) {
		rc = place(&o, i);
		*at = o.n_way ? o.way[o.n_way - 1] : i;
	}
	if (!rc && n)
		memcpy(plugins, o.out, n * sizeof(struct instance *));
	free(o.out);
	free(o.marks);
	free(o.way);
	return rc;
}

bool plugin_needs(struct instance *const *plugins, size_t n, const struct plugin *plugin,
	const struct plugin *other)
{
	for (const char *const *need = plugin->needs; need && *need; need++) {
		size_t i = index_of(plugins, n, *need);

		if (strcmp(*need, other->name) == 0)
			return true;
		if (i < n && plugin_needs(plugins, n, plugins[i]->plugin, other))
			return true;
	}
	return false;
}
