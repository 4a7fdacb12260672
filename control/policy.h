/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What stands in for a policy engine: see <tailplane/policy.h>. Control loop. */
#include <tailplane/policy.h>

/* None is configured. */
extern const struct policy_ops policy_allow_all;
/* One is configured, and does not run. */
extern const struct policy_ops policy_closed;
