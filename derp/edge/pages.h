/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What a relay serves beside /derp. Control loop. */
#include "derp_conf.h"

/* Another plugin (control) has pages of its own for "/" and the like: ours would be in their way.
 */
int derp_pages_start(const struct derp_conf *conf, bool alone, struct err *err);
void derp_pages_apply(const struct derp_conf *conf);
void derp_pages_stop(void);
