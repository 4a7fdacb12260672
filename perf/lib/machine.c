/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <jansson.h>

#include "clock.h"
#include "cores.h"

/* "model name" of /proc/cpuinfo, which not every architecture has. */
void machine_cpu_name(char *name, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(name, size, "unknown");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		char *value = strchr(line, ':');

		if (strncmp(line, "model name", 10) == 0 && value != NULL) {
			value += 1 + strspn(value + 1, " \t");
			snprintf(name, size, "%.*s", (int)strcspn(value, "\n"), value);
			break;
		}
	}
	if (file != NULL)
		fclose(file);
}

json_t *machine_json(double core_ghz)
{
	struct utsname os;
	char cpu[128];

	uname(&os);
	machine_cpu_name(cpu, sizeof(cpu));
	return json_pack("{s:s, s:I, s:f, s:f, s:s, s:f, s:s, s:s, s:s}", "cpu", cpu, "cpus",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "clock_ghz",
		core_ghz > 0 ? core_ghz : clock_core_ghz(), "core_to_core_ns",
		cores_round_trip_ns(), "ticks", CLOCK_NAME, "ticks_ghz", clock_ticks_per_ns(),
		"kernel", os.release, "arch", os.machine, "compiler", __VERSION__);
}
