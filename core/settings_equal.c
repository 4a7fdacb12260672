/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a reload changed anything. Pure: runs on any thread. */
#include <string.h>

#include "settings_parse.h"
#include "settings_private.h"

static bool values_equal(const struct setting *setting, const void *a, const void *b)
{
	const struct setting_kind *kind = setting_kind(setting);

	if (setting->type == SETTING_GROUP)
		return settings_equal(setting->sub, a, b);
	return !(kind->compare ? kind->compare(a, b) : memcmp(a, b, kind->size));
}

static bool lists_equal(
	const struct setting *setting, const struct setting_list *a, const struct setting_list *b)
{
	size_t size = setting_value_size(setting);

	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!values_equal(setting, (const char *)a->items + i * size,
			    (const char *)b->items + i * size))
			return false;
	}
	return true;
}

bool settings_equal(const struct setting *table, const void *a, const void *b)
{
	for (const struct setting *s = table; s && s->name; s++) {
		const char *left = (const char *)a + s->offset,
			   *right = (const char *)b + s->offset;
		bool list = s->flags & SETTING_LIST;

		if (!(list ? lists_equal(s, (const void *)left, (const void *)right)
			   : values_equal(s, left, right)))
			return false;
	}
	return true;
}
