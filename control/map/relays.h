/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The map of relays that nodes are shown: read from files, fetched from URLs, kept for the next
 * start, and the relay in this process. Control loop. */
#include <stddef.h>

#include "conf.h"

struct relays;

/* `changed` on the loop whenever relays_json differs from before. `url`: the server's; the relay in
 * this process has the same host. */
struct relays *relays_start(
	const struct control_conf *conf, const char *url, void (*changed)(void *arg), void *arg);
void relays_stop(struct relays *relays);
/* The relay in this process came, went, or has another region. */
void relays_look(struct relays *relays);
/* JSON of "DERPMap"; NULL: none yet. Valid until `changed`. */
const char *relays_json(const struct relays *relays);
/* Number of regions, and what went wrong last; NULL: nothing. */
size_t relays_count(const struct relays *relays);
const char *relays_problem(const struct relays *relays);
