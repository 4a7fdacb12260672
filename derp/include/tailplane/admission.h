/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who knows which clients may use the relay: provided as "admission" through core_service by the
 * control server in the same process. Control loop.
 */
#include <stdbool.h>
#include <stdint.h>

#define ADMISSION_SERVICE "admission"

struct admission_ops {
	/* Whether this node key may. `answer` on the control loop, exactly once, maybe before this
	 * returns. */
	void (*ask)(
		const uint8_t key[static 32], void (*answer)(void *arg, bool allowed), void *arg);
};
