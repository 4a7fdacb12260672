/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Hugepages for as long as this process lives. Control loop.
 *
 * The pages that the kernel's pool lacks are added to it before EAL starts, and the pool's size is
 * put back right after EAL has mapped them: the kernel then counts those in use as surplus and
 * takes them back when the process ends, however it ends. A lock on the kernel's own file keeps
 * daemons that start at the same time apart.
 */
#include "hugepages.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"
/* What stays free for everybody else. */
#define KEEP_FREE_MIB 512

static int control = -1;      /* NR_HUGEPAGES, locked until all is settled */
static long long before = -1; /* the pool's size then */

static long long meminfo(const char *key)
{
	FILE *f = fopen("/proc/meminfo", "re");
	size_t len = strlen(key);
	long long value = -1;
	char line[128];

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			value = strtoll(line + len + 1, NULL, 10);
			break;
		}
	fclose(f);
	return value;
}

static long long pages_free(void)
{
	return meminfo("HugePages_Free") - meminfo("HugePages_Rsvd");
}

static int pool_resize(long long n)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%lld\n", n);

	return pwrite(control, text, (size_t)len, 0) < 0 ? -errno : 0;
}

/* EAL can't be started a second time after it failed to get its memory, so try first. */
static bool is_mappable(unsigned long long bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);

	if (at == MAP_FAILED)
		return false;
	munmap(at, bytes);
	return true;
}

/* Without the right to write, at least what is free may be used. */
static int control_open(void)
{
	int fd = open(NR_HUGEPAGES, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fd = open(NR_HUGEPAGES, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

static int pool_grow(long long pages, struct err *why)
{
	long long missing = pages - pages_free(), memory = meminfo("MemAvailable") / 1024, total;
	int rc;

	if (missing <= 0)
		return 0;
	if (memory < missing * 2 + KEEP_FREE_MIB)
		return err_set(why, -ENOMEM,
			"%lld MiB wanted, only %lld MiB of memory are available", missing * 2,
			memory);
	/* others' surplus counts in the total, and becomes ordinary before anything is added */
	total = meminfo("HugePages_Total");
	before = total - meminfo("HugePages_Surp");
	rc = pool_resize(total + missing);
	if (rc < 0)
		return err_set(why, rc, "cannot reserve them: %s", strerror(-rc));
	if (pages_free() < pages)
		return err_set(why, -ENOMEM, "the kernel found too few: memory is fragmented");
	return 0;
}

int hugepages_reserve(unsigned long long mib, struct err *why)
{
	long long pages = (long long)(mib + 1) / 2;
	int rc;

	if (meminfo("HugePages_Total") < 0)
		return err_set(why, -ENOTSUP, "the kernel has none");
	if (meminfo("Hugepagesize") != 2048)
		return err_set(why, -ENOTSUP, "the kernel's default size is not 2 MiB");
	control = control_open();
	rc = pool_grow(pages, why);
	if (rc == 0 && !is_mappable((unsigned long long)pages << 21))
		rc = err_set(why, -EPERM, "mapping them is not permitted");
	if (rc < 0)
		hugepages_settle();
	return rc;
}

void hugepages_settle(void)
{
	if (control >= 0) {
		if (before >= 0)
			pool_resize(before);
		close(control);
	}
	control = -1;
	before = -1;
}
