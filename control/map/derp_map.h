/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Maps of relays, merged from several sources. Pure: any thread. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <tailplane/err.h>

#define DERP_MAP_MAX (1024 * 1024)

/*
 * Adds the regions of a map in JSON to `regions` (an object by region number): one of the same
 * number is replaced, null removes it. Only members that clients know get through. A region that
 * they could not use, or with a member of another kind than they expect, is left out, with the
 * reason in `err` though the answer is 0. -EINVAL: it is no map.
 */
int derp_map_merge(json_t *regions, const char *text, size_t len, struct err *err);
/* "DERPMap" of these regions; heap; NULL when there are none. */
char *derp_map_text(json_t *regions);
