/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/op.h>

void store_run_backup(struct op_call *call, const json_t *args);
void store_run_restore(struct op_call *call, const json_t *args);
