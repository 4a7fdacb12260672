/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "tailplane/err.h"

/* Control loop: the tables of fragments, one per worker; before the workers start and after they
 * have stopped. */
int reassemble_start(unsigned workers, struct err *err);
void reassemble_stop(void);
