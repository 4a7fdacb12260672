/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel says about this process. Runs on: the control loop. */
#include "metrics_text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Beginnings of what /proc/self/fd links to, most telling first; the last takes the rest. */
static const struct fd_kind {
	const char *name, *prefix;
} fd_kinds[] = {
	{"socket", "socket:"},
	{"pipe", "pipe:"},
	{"eventfd", "anon_inode:[eventfd]"},
	{"epoll", "anon_inode:[eventpoll]"},
	{"timerfd", "anon_inode:[timerfd]"},
	{"anon", "anon_inode:"},
	{"tun", "/dev/net/tun"},
	{"vfio", "/dev/vfio"},
	{"hugepage", "/dev/hugepages"},
	{"device", "/dev/"},
	{"file", ""},
};
#define N_FD_KINDS (sizeof(fd_kinds) / sizeof(fd_kinds[0]))

static void count_fds(double counts[static N_FD_KINDS])
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char target[64] = "";
		unsigned i = 0;

		if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) < 0)
			continue;
		while (strncmp(target, fd_kinds[i].prefix, strlen(fd_kinds[i].prefix)) != 0)
			i++;
		counts[i]++;
	}
	if (dir)
		closedir(dir);
}

static void collect_fds(struct metric_sink *sink)
{
	static const struct metric fds = {
		"tailplane_process_open_fds", METRIC_GAUGE, "Open file descriptors by kind."};
	static const struct metric max = {"tailplane_process_max_fds", METRIC_GAUGE,
		"The most file descriptors that the process may have open."};
	double counts[N_FD_KINDS] = {0};
	struct rlimit limit;

	count_fds(counts);
	for (unsigned i = 0; i < N_FD_KINDS; i++) {
		struct metric_label label = {"kind", fd_kinds[i].name};

		metric_add(sink, &fds, &label, 1, counts[i]);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metric_add(sink, &max, NULL, 0, (double)limit.rlim_cur);
}

static void collect_memory(struct metric_sink *sink)
{
	static const struct metric resident = {"tailplane_process_resident_memory_bytes",
		METRIC_GAUGE, "Memory of the process that is in RAM (hugepages are not in it)."};
	static const struct metric virtual = {"tailplane_process_virtual_memory_bytes",
		METRIC_GAUGE, "Address space of the process."};
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long size, rss;

	if (file && fscanf(file, "%lu %lu", &size, &rss) == 2) {
		double page = (double)sysconf(_SC_PAGESIZE);

		metric_add(sink, &resident, NULL, 0, (double)rss * page);
		metric_add(sink, &virtual, NULL, 0, (double)size * page);
	}
	if (file)
		fclose(file);
}

static double seconds_of(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

static void collect_cpu(struct metric_sink *sink)
{
	static const struct metric cpu = {"tailplane_process_cpu_seconds_total", METRIC_COUNTER,
		"Processor time of all threads, by mode."};
	static const struct metric_label user = {"mode", "user"}, system = {"mode", "system"};
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	metric_add(sink, &cpu, &user, 1, seconds_of(&usage.ru_utime));
	metric_add(sink, &cpu, &system, 1, seconds_of(&usage.ru_stime));
}

void metrics_process_collect(struct metric_sink *sink)
{
	static const struct metric build = {
		"tailplane_build_info", METRIC_GAUGE, "1; the labels say what was built."};
	const struct metric_label labels[] = {{"version", TAILPLANE_VERSION}};

	metric_add(sink, &build, labels, 1, 1);
	collect_memory(sink);
	collect_cpu(sink);
	collect_fds(sink);
}
