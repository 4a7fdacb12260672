/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/op.h>

#include "derp_conf.h"

/* The commands `tailplane derp ...`. Control loop. */
extern const struct op derp_ops[];
/* Between start and stop; NULL: not running. */
void derp_ops_use(const struct derp_conf *conf);
/* Of `tailplane status`, and the head of `tailplane derp status`. */
void derp_status_fill(json_t *status);
