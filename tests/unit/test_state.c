/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of the state directory: whole or not at all, and secrets for nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job_pool.h"
#include "state_dirs.h"

static char folder[64];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static int start(void **state)
{
	struct err err = {0};
	char state_dir[80], runtime_dir[80];

	(void)state;
	strcpy(folder, "/tmp/tailplane-state-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(state_dir, sizeof(state_dir), "%s/a/state/", folder);
	snprintf(runtime_dir, sizeof(runtime_dir), "%s/run", folder);
	state_dirs_set(state_dir, runtime_dir, (uid_t)-1, (gid_t)-1);
	assert_int_equal(state_dirs_make(&err), 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static struct stat stat_of(const char *name)
{
	char *path = state_path(name);
	struct stat st = {0};

	stat(path, &st);
	free(path);
	return st;
}

static void test_directories(void **state)
{
	struct stat st;
	char *path = state_path("x/y");
	char expected[100];

	(void)state;
	snprintf(expected, sizeof(expected), "%s/a/state/x/y", folder);
	assert_string_equal(path, expected);
	free(path);
	path = state_path("/x");
	assert_string_equal(path, "/x");
	free(path);
	assert_int_equal(stat(core_state_dir(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(core_runtime_dir(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
}

static void test_write_and_read(void **state)
{
	struct err err = {0};
	char buf[16];

	(void)state;
	assert_int_equal(state_write("f", "hello", 5, 0644, &err), 0);
	assert_int_equal(state_read("f", buf, sizeof(buf), &err), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(stat_of("f").st_mode & 0777, 0644);
	/* the size of the buffer is a bound that may be reached */
	assert_int_equal(state_read("f", buf, 5, &err), 5);
	assert_int_equal(state_read("f", buf, 4, &err), -EFBIG);
	assert_non_null(strstr(err.msg, "longer than 4 bytes"));
	assert_int_equal(state_write("f", "", 0, 0600, &err), 0);
	assert_int_equal(state_read("f", buf, sizeof(buf), &err), 0);
	assert_int_equal(stat_of("f").st_mode & 0777, 0600);
}

static void test_what_is_not_there(void **state)
{
	struct err err = {0};
	char buf[4];

	(void)state;
	assert_int_equal(state_read("nothing", buf, sizeof(buf), &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nothing: No such file"));
	err = (struct err){0};
	assert_int_equal(state_read(".", buf, sizeof(buf), &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a regular file"));
}

/* A fifo has no writer: opening it must not wait for one. */
static void test_a_fifo_is_no_file(void **state)
{
	struct err err = {0};
	char buf[4], *path = state_path("fifo");

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	free(path);
	assert_int_equal(state_read_secret("fifo", buf, sizeof(buf), &err), -EINVAL);
}

static void test_secrets(void **state)
{
	struct err err = {0};
	char buf[8], *path = state_path("key");

	(void)state;
	assert_int_equal(state_write("key", "secret", 6, 0600, &err), 0);
	assert_int_equal(state_read_secret("key", buf, sizeof(buf), &err), 6);
	for (unsigned bit = 1; bit <= 040; bit <<= 1) {
		char line[128];

		assert_int_equal(chmod(path, 0600 | bit), 0);
		err = (struct err){0};
		memset(buf, 'x', sizeof(buf));
		assert_int_equal(state_read_secret("key", buf, sizeof(buf), &err), -EPERM);
		snprintf(line, sizeof(line), "chmod 600 %s", path);
		assert_non_null(strstr(err.msg, line));
		assert_memory_equal(buf, "\0\0\0\0\0\0\0\0", 8);
	}
	free(path);
}

static void test_folders_are_made(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(state_write("a/b/c", "x", 1, 0600, &err), 0);
	assert_int_equal(stat_of("a").st_mode & 0777, 0700);
	assert_int_equal(stat_of("a/b").st_mode & 0777, 0700);
	assert_int_equal(stat_of("a/b/c").st_size, 1);
}

static unsigned entries(void)
{
	unsigned n = 0;
	FILE *ls;
	char command[128], line[256];

	snprintf(command, sizeof(command), "ls -A %s", core_state_dir());
	ls = popen(command, "r");
	while (fgets(line, sizeof(line), ls))
		n++;
	pclose(ls);
	return n;
}

/* What an earlier crash left is replaced, with the mode that is asked for; nothing else remains. */
static void test_leftovers(void **state)
{
	struct err err = {0};
	char *temp = state_path(".f.new");
	FILE *file = fopen(temp, "w");

	(void)state;
	fputs("half of a long content that was never finished", file);
	fclose(file);
	chmod(temp, 0666);
	free(temp);
	assert_int_equal(state_write("f", "whole", 5, 0600, &err), 0);
	assert_int_equal(stat_of("f").st_size, 5);
	assert_int_equal(stat_of("f").st_mode & 0777, 0600);
	assert_int_equal(entries(), 1);
}

static void test_a_failed_write_keeps_the_old(void **state)
{
	struct err err = {0};
	char buf[8], *path = state_path("folder/f");

	(void)state;
	assert_int_equal(state_write("folder/f", "old", 3, 0600, &err), 0);
	free(path);
	/* a folder in the way of the new file */
	path = state_path("folder/.f.new");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(state_write("folder/f", "new", 3, 0600, &err) < 0);
	assert_non_null(strstr(err.msg, "cannot write "));
	assert_int_equal(state_read("folder/f", buf, sizeof(buf), &err), 3);
	assert_memory_equal(buf, "old", 3);
	free(path);
}

/* A reader who opens at any time sees a whole content, never none and never a mix. */
static void test_a_reader_sees_one_or_the_other(void **state)
{
	enum { LEN = 100000 };
	struct err err = {0};
	char *text = malloc(LEN), *buf = malloc(LEN);
	int status;
	pid_t writer;

	(void)state;
	memset(text, 'a', LEN);
	assert_int_equal(state_write("f", text, LEN, 0600, &err), 0);
	writer = fork();
	if (writer == 0) {
		for (int i = 0; i < 40; i++) {
			memset(text, 'a' + i % 26, LEN);
			if (state_write("f", text, LEN, 0600, &err))
				_exit(1);
		}
		_exit(0);
	}
	do {
		assert_int_equal(state_read("f", buf, LEN, &err), LEN);
		memset(text, buf[0], LEN);
		assert_memory_equal(buf, text, LEN);
	} while (waitpid(writer, &status, WNOHANG) == 0);
	assert_int_equal(status, 0);
	free(text);
	free(buf);
}

static int last_error;
static unsigned n_done;

static void written(void *arg, int error, const struct err *err)
{
	assert_string_equal(arg, "arg");
	assert_int_equal(error != 0, err->msg[0] != '\0');
	last_error = error;
	n_done++;
}

static void test_later(void **state)
{
	struct err err = {0};
	char buf[8], text[8];

	(void)state;
	n_done = 0;
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "%d", i);
		state_write_later("f", text, strlen(text), 0600, written, (void *)"arg");
		memset(text, 0, sizeof(text)); /* it was copied */
	}
	jobs_drain();
	assert_int_equal(n_done, 20);
	assert_int_equal(last_error, 0);
	assert_int_equal(state_read("f", buf, sizeof(buf), &err), 2);
	assert_memory_equal(buf, "19", 2);
	state_write_later("/proc/none", "x", 1, 0600, written, (void *)"arg");
	jobs_drain();
	assert_true(last_error < 0);
}

static void test_lock(void **state)
{
	struct err err = {0};
	char pid[32];
	int status;
	pid_t other;

	(void)state;
	assert_int_equal(state_dirs_lock(-1, &err), 0);
	other = fork();
	if (other == 0) {
		snprintf(pid, sizeof(pid), " process %d:", getppid());
		_exit(state_dirs_lock(-1, &err) == -EBUSY && strstr(err.msg, pid) ? 0 : 1);
	}
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(status, 0);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FOLDER(test_directories),
		WITH_FOLDER(test_write_and_read),
		WITH_FOLDER(test_what_is_not_there),
		WITH_FOLDER(test_a_fifo_is_no_file),
		WITH_FOLDER(test_secrets),
		WITH_FOLDER(test_folders_are_made),
		WITH_FOLDER(test_leftovers),
		WITH_FOLDER(test_a_failed_write_keeps_the_old),
		WITH_FOLDER(test_a_reader_sees_one_or_the_other),
		WITH_FOLDER(test_later),
		WITH_FOLDER(test_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
