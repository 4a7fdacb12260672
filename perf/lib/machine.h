/* SPDX-License-Identifier: BSD-3-Clause */
/* What a benchmark ran on: the "machine" object of every report. */
#pragma once

#include <stddef.h>

struct json_t;

void machine_cpu_name(char *name, size_t size);
/* After clock_start. `core_ghz` as measured through the run (clock_core_ghz), 0: now. Returns an
 * object of jansson's that the caller may add to and owns. */
struct json_t *machine_json(double core_ghz);
