/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Control loop, when no worker runs any more: frees the fragments that wait for their turn. */
void fragment_stop(void);
