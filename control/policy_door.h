/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Which policy is in force: the engine's that is there, or what stands in for it. Control loop. */
#include "map.h"
#include "tailnet.h"

/* Before the map is made, and when it is. */
void policy_door_open(struct tailnet *t);
void policy_door_start(struct map *map);
void policy_door_stop(void);
/* In words, for `status`. */
const char *policy_door_state(void);
