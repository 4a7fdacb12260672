/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

/* A map of relays as Headscale reads it: YAML, names in lower case. Heap; NULL: no memory. Pure. */
char *map_text_yaml(const json_t *map);
