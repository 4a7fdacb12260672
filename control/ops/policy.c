/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of the policy: the engine's, when one is loaded. Control loop. */
#include <tailplane/plugin.h>

#include "common.h"
#include "policy.h"

static void hand_on(struct op_call *call, const json_t *args, enum policy_command command)
{
	const struct policy_ops *engine = core_service(POLICY_SERVICE);

	if (engine && engine->command)
		engine->command(call, args, command);
	else if (ops_tailnet->policy == &policy_closed)
		op_fail(call, "the policy engine does not run: nobody sees anybody until it does; "
			      "see tailplane status");
	else if (engine)
		op_fail(call, "the policy engine has no text to get, set or check");
	else
		op_fail(call, "no policy engine is loaded: all nodes see and reach each other, and "
			      "there is no policy to get, set or check");
}

void run_policy_get(struct op_call *call, const json_t *args)
{
	hand_on(call, args, POLICY_GET);
}

void run_policy_set(struct op_call *call, const json_t *args)
{
	hand_on(call, args, POLICY_SET);
}

void run_policy_check(struct op_call *call, const json_t *args)
{
	hand_on(call, args, POLICY_CHECK);
}
