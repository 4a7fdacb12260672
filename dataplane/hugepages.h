/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "tailplane/err.h"

/* Sees to it that so many MiB can be mapped in 2 MiB pages. 0, or -errno with a reason. Control
 * loop, before EAL starts. */
int hugepages_reserve(unsigned long long mib, struct err *why);
/* After EAL has mapped them, and also if it failed. */
void hugepages_settle(void);
