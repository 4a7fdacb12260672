/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What browsers and relays ask of the control server over plain HTTP. Control loop. */
#include <tailplane/err.h>

#include "tailnet.h"

int pages_start(struct tailnet *tailnet, struct err *err);
void pages_stop(void);
