/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

static void zero_equal_is_zero(void **state)
{
	uint8_t a[40], b[40];

	memset(a, 0x5a, sizeof(a));
	memcpy(b, a, sizeof(b));
	assert_true(secret_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		assert_false(secret_equal(a, b, sizeof(a)));
		assert_true(secret_equal(a, b, i));
		b[i] ^= 0x80;
	}
	secret_zero(a, 39);
	assert_true(secret_is_zero(a, 39));
	assert_false(secret_is_zero(a, 40));
	assert_int_equal(a[39], 0x5a);
}

/* Around the sizes of cells, and of what has a mapping of its own. */
static const size_t sizes[] = {0, 1, 63, 64, 65, 4095, 4096, 8193, 16384, 16385, 100000, 1 << 20};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void memory_is_zero_and_apart(void **state)
{
	uint8_t *blocks[N_SIZES][3];

	for (size_t i = 0; i < N_SIZES; i++) {
		for (int j = 0; j < 3; j++) {
			blocks[i][j] = secret_alloc(sizes[i]);
			assert_non_null(blocks[i][j]);
			assert_int_equal((uintptr_t)blocks[i][j] % 64, 0);
			assert_true(secret_is_zero(blocks[i][j], sizes[i]));
			memset(blocks[i][j], (int)(i * 3) + j + 1, sizes[i]);
		}
	}
	for (size_t i = 0; i < N_SIZES; i++) {
		for (int j = 0; j < 3; j++) {
			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(blocks[i][j][k], (int)(i * 3) + j + 1);
			secret_free(blocks[i][j], sizes[i]);
		}
	}
	for (size_t i = 0; i < N_SIZES; i++) {
		uint8_t *again = secret_alloc(sizes[i]);

		assert_true(secret_is_zero(again, sizes[i]));
		secret_free(again, sizes[i]);
	}
	secret_free(NULL, 32);
}

/* Read as another process would: the sanitizer forbids to touch it. */
static void freed_memory_is_zero(void **state)
{
	uint8_t *secret = secret_alloc(256), seen[256];
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	memset(secret, 0xee, 256);
	off_t at = (off_t)(uintptr_t)secret;
	assert_int_equal(pread(fd, seen, 256, at), 256);
	assert_int_equal(seen[100], 0xee);
	secret_free(secret, 256);
	assert_int_equal(pread(fd, seen, 256, at), 256);
	/* The list of free cells is kept in the first bytes. */
	assert_true(secret_is_zero(seen + sizeof(void *), 256 - sizeof(void *)));
	close(fd);
}

/* The kernel's flags of the mapping that holds `p`, as smaps has them: "rd wr dd lo ". */
static void mapping_flags(const void *p, char flags[static 512])
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long from, to;
	bool found = false;
	char line[512];

	assert_non_null(file);
	flags[0] = '\0';
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			found = (uintptr_t)p >= from && (uintptr_t)p < to;
		if (found && strncmp(line, "VmFlags: ", 9) == 0) {
			strcpy(flags, line + 9);
			break;
		}
	}
	fclose(file);
}

static void kept_out_of_core_dumps(void **state)
{
	for (size_t i = 0; i < N_SIZES; i++) {
		char flags[512];
		void *p = secret_alloc(sizes[i]);

		mapping_flags(p, flags);
		assert_non_null(strstr(flags, "dd "));
		secret_free(p, sizes[i]);
	}
}

static void locked_where_allowed(void **state)
{
	struct rlimit limit;
	char flags[512];

	if (SANITIZED) {
		print_message("the sanitizer makes mlock do nothing\n");
		skip();
	}
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() != 0 && limit.rlim_cur < (4 << 20)) {
		print_message("RLIMIT_MEMLOCK is below 4 MiB\n");
		skip();
	}
	void *p = secret_alloc(64);
	mapping_flags(p, flags);
	secret_free(p, 64);
	assert_non_null(strstr(flags, "lo "));
}

/* No lock to be had is no reason to have no secret. */
static void more_than_may_be_locked(void **state)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct rlimit none = {0, 0};

		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 ||
			(geteuid() == 0 && setresuid(65534, 65534, 65534) < 0))
			_exit(2);
		uint8_t *p = secret_alloc(1 << 20);
		if (p == NULL)
			_exit(1);
		memset(p, 1, 1 << 20);
		secret_free(p, 1 << 20);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Its complaint, or NULL. */
static void *alloc_and_free(void *arg)
{
	uint8_t mark = *(uint8_t *)arg, *held[16] = {NULL};

	for (unsigned i = 0; i < 20000; i++) {
		uint8_t **slot = &held[i % 16];
		size_t len = (size_t)32 << (i % 16 % 4);

		if (*slot != NULL) {
			for (size_t j = 0; j < len; j++) {
				if ((*slot)[j] != mark)
					return (void *)"another thread wrote here";
			}
			secret_free(*slot, len);
		}
		*slot = secret_alloc(len);
		if (*slot == NULL || !secret_is_zero(*slot, len))
			return (void *)"not zero";
		memset(*slot, mark, len);
	}
	for (unsigned i = 0; i < 16; i++)
		secret_free(held[i], (size_t)32 << (i % 4));
	return NULL;
}

static void many_threads(void **state)
{
	pthread_t threads[4];
	uint8_t marks[4] = {1, 2, 3, 4};

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, alloc_and_free, &marks[i]), 0);
	for (int i = 0; i < 4; i++) {
		void *complaint;

		assert_int_equal(pthread_join(threads[i], &complaint), 0);
		if (complaint != NULL)
			fail_msg("%s", (const char *)complaint);
	}
}

static void random_fills_all_and_no_more(void **state)
{
	uint8_t bytes[1002] = {0}, seen[1002] = {0};

	for (int i = 0; i < 8; i++) {
		secret_random(bytes + 1, 1000);
		for (int j = 0; j < 1002; j++)
			seen[j] |= bytes[j];
	}
	assert_int_equal(seen[0] | seen[1001], 0);
	assert_null(memchr(seen + 1, 0, 1000));
	secret_random(bytes, 0);
	assert_int_equal(bytes[0], 0);
}

static volatile sig_atomic_t n_signals;

static void count_signal(int number)
{
	n_signals++;
}

/* A signal cuts a long read short. */
static void random_in_pieces(void **state)
{
	const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = count_signal}, before;
	size_t len = 16 << 20;
	uint8_t *bytes = calloc(1, len);

	assert_non_null(bytes);
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	secret_random(bytes, len);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	assert_true(n_signals > 0);
	for (size_t at = 0; at < len; at += 16)
		assert_false(secret_is_zero(bytes + at, 16));
	free(bytes);
}

/* A kernel that has no random bytes to give, for the rest of this process's life. */
static int forbid_getrandom(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0 ? -errno : 0;
}

static void no_random_bytes_no_process(void **state)
{
	int said[2];

	assert_int_equal(pipe(said), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct rlimit none = {0, 0};
		uint8_t key[32];

		setrlimit(RLIMIT_CORE, &none);
		dup2(said[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		if (forbid_getrandom() < 0)
			_exit(77);
		secret_random(key, sizeof(key));
		_exit(0);
	}
	int status;
	char words[256] = "";
	close(said[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("no seccomp here\n");
		skip();
	}
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_true(read(said[0], words, sizeof(words) - 1) > 0);
	close(said[0]);
	assert_non_null(strstr(words, "getrandom"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zero_equal_is_zero),
		cmocka_unit_test(memory_is_zero_and_apart),
		cmocka_unit_test(freed_memory_is_zero),
		cmocka_unit_test(kept_out_of_core_dumps),
		cmocka_unit_test(locked_where_allowed),
		cmocka_unit_test(more_than_may_be_locked),
		cmocka_unit_test(many_threads),
		cmocka_unit_test(random_fills_all_and_no_more),
		cmocka_unit_test(random_in_pieces),
		cmocka_unit_test(no_random_bytes_no_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
