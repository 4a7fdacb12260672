/* SPDX-License-Identifier: BSD-3-Clause */
/* The store with SQLite behind it: upgrades, and files that are not as they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store_zoo.h"

static const struct store_column pets_2[] = {
	{"id", STORE_INT, STORE_KEY},
	{"name", STORE_TEXT, STORE_UNIQUE},
	{"chip", STORE_BLOB, STORE_NULLABLE | STORE_UNIQUE},
	{"legs", STORE_INT, 0, 2, "4"},
	{"owner", STORE_TEXT, STORE_NULLABLE, 2},
	{NULL},
};
static const struct store_column owners[] = {
	{"name", STORE_TEXT, STORE_KEY}, {"since", STORE_INT}, {NULL}};
static const struct store_table tables_2[] = {{"pets", pets_2}, {"owners", owners, 2}, {NULL}};

static int keep_name(void *arg, const struct store_value *values, struct err *err)
{
	(void)err;
	return snprintf(arg, 40, "%.*s", (int)values[1].len, (const char *)values[1].bytes) < 0;
}

/* Version 2: whose pet came first owns them all. */
static int migrate_2(struct store_migration *m, unsigned to, struct err *err)
{
	struct store_txn *txn;
	char name[40] = "";

	if (to != 2)
		return 0;
	assert_int_equal(store_migration_load(m, "pets", keep_name, name, err), 0);
	txn = store_txn_new();
	store_insert(txn, "owners", (struct store_value[]){store_text(name), store_int(7)});
	return store_migration_write(m, txn, err);
}

static const struct store_schema zoo_2 = {
	.name = "zoo", .version = 2, .tables = tables_2, .migrate = migrate_2};

static int refuse(struct store_migration *m, unsigned to, struct err *err)
{
	(void)m;
	return to == 2 ? err_set(err, -EINVAL, "no such way") : 0;
}

static const struct store_schema zoo_broken = {
	.name = "zoo", .version = 2, .tables = tables_2, .migrate = refuse};

static void test_upgrade(void **state)
{
	struct err err = {0};
	struct store_txn *txn;
	char copy[120];

	(void)state;
	again(&zoo_1);
	commit(pet(1, "puss"));
	again(&zoo_2);
	txn = store_txn_new();
	store_expect(txn, "pets", store_int(1), "legs", store_int(4));
	store_expect(txn, "pets", store_int(1), "owner", store_null());
	store_expect(txn, "owners", store_text("puss"), "since", store_int(7));
	assert_int_equal(commit(txn).error, 0);
	/* the way back: the newer store is refused, the copy is not */
	store_stop();
	configure();
	assert_int_equal(store_declare(&zoo_1, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "zoo-1"));
	store_stop();
	snprintf(copy, sizeof(copy), "%s.zoo-1", db_path());
	assert_int_equal(rename(copy, db_path()), 0);
	again(&zoo_1);
	assert_string_equal(pets(), "1:puss ");
}

/* A store that was made by the new version at once is like one that was upgraded. */
static void test_new_at_latest(void **state)
{
	struct store_txn *txn = store_txn_new();

	(void)state;
	again(&zoo_2);
	store_insert(txn, "pets",
		(struct store_value[]){store_int(1), store_text("ant"), store_null(), store_int(6),
			store_text("queen")});
	store_expect(txn, "pets", store_int(1), "legs", store_int(6));
	assert_int_equal(commit(txn).error, 0);
}

static void test_upgrade_fails(void **state)
{
	struct err err = {0};

	(void)state;
	again(&zoo_1);
	commit(pet(1, "puss"));
	store_stop();
	configure();
	assert_int_equal(store_declare(&zoo_broken, &err), -EINVAL);
	assert_string_equal(err.msg, "no such way");
	again(&zoo_1); /* as if it had not been tried */
	assert_string_equal(pets(), "1:puss ");
}

static void test_foreign_files(void **state)
{
	struct err err = {0}, garbage = {0};
	sqlite3 *db;
	FILE *f;

	(void)state;
	store_stop();
	assert_int_equal(sqlite3_open(db_path(), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE x (y)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	configure();
	assert_int_equal(store_declare(&zoo_1, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "another program"));
	f = fopen(db_path(), "w");
	for (int i = 0; i < 9999; i++)
		fputs("this is no database", f);
	fclose(f);
	assert_int_equal(store_declare(&zoo_1, &garbage), -EBADMSG);
	assert_non_null(strstr(garbage.msg, "tailplane restore"));
}

static void test_private(void **state)
{
	struct stat st;

	(void)state;
	again(&zoo_1);
	assert_int_equal(stat(db_path(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* Another program holds the file, longer than we wait; then lets go. */
static void test_locked(void **state)
{
	const char *why;
	sqlite3 *db;

	(void)state;
	again(&zoo_1);
	commit(pet(1, "puss"));
	assert_int_equal(sqlite3_open(db_path(), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(commit(pet(2, "rex")).error, -EBUSY);
	assert_false(store_healthy(&why));
	assert_non_null(strstr(why, "another program"));
	sqlite3_close(db);
	assert_int_equal(commit(pet(2, "rex")).error, 0);
	assert_true(store_healthy(NULL));
	assert_string_equal(pets(), "1:puss 2:rex ");
}

/* A disk that is full, by a limit on the size of files. */
static void test_full(void **state)
{
	struct rlimit before, small = {.rlim_cur = 200000, .rlim_max = RLIM_INFINITY};
	static char long_name[100000];
	struct outcome outcome;

	(void)state;
	again(&zoo_1);
	commit(pet(1, "puss"));
	memset(long_name, 'x', sizeof(long_name) - 1);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 2; i < 10; i++) {
		long_name[0] = (char)('a' + i);
		outcome = commit(pet(i, long_name));
		if (outcome.error)
			break;
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_true(outcome.error == -EIO || outcome.error == -ENOSPC);
	assert_false(store_healthy(NULL));
	assert_int_equal(commit(pet(20, "after")).error, 0);
	again(&zoo_1);
	assert_non_null(strstr(pets(), "1:puss "));
	assert_non_null(strstr(pets(), "20:after "));
}

/* Killed while it writes: each commit that was acknowledged is there, none is half. */
static void child_commits(int fd)
{
	char a[24], b[24];

	configure();
	again(&zoo_1);
	for (int64_t i = 0;; i += 2) {
		struct store_txn *txn;

		snprintf(a, sizeof(a), "p%lld", (long long)i);
		snprintf(b, sizeof(b), "p%lld", (long long)i + 1);
		txn = pet(i, a);
		store_insert(txn, "pets",
			(struct store_value[]){store_int(i + 1), store_text(b), store_null()});
		if (commit(txn).error || write(fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static int count_row(void *arg, const struct store_value *values, struct err *err)
{
	int64_t *n = arg;

	(void)err;
	assert_int_equal(values[0].number, *n); /* no gaps */
	++*n;
	return 0;
}

static void test_killed(void **state)
{
	struct err err = {0};

	(void)state;
	for (int round = 0; round < 8; round++) {
		int pipe_fds[2], status;
		int64_t acknowledged = -2, i, n = 0;
		pid_t pid;

		store_stop();
		unlink(db_path());
		assert_int_equal(pipe(pipe_fds), 0);
		pid = fork();
		if (pid == 0)
			child_commits(pipe_fds[1]);
		close(pipe_fds[1]);
		for (int seen = 0; seen < 1 + round * 7; seen++)
			assert_int_equal(read(pipe_fds[0], &acknowledged, sizeof(i)), sizeof(i));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (read(pipe_fds[0], &i, sizeof(i)) == sizeof(i))
			acknowledged = i;
		close(pipe_fds[0]);
		again(&zoo_1);
		assert_int_equal(store_load("pets", count_row, &n, &err), 0);
		assert_true(n >= acknowledged + 2);
		assert_int_equal(n % 2, 0);
	}
}

/* A plugin's author is told, not SQLite. */
static void test_bad_schemas(void **state)
{
	static const struct store_column no_key[] = {{"id", STORE_INT}, {NULL}};
	static const struct store_column late[] = {
		{"id", STORE_INT, STORE_KEY}, {"a", STORE_INT, 0, 9}, {NULL}};
	static const struct store_column middle[] = {{"id", STORE_INT, STORE_KEY},
		{"a", STORE_INT, STORE_NULLABLE, 2}, {"b", STORE_INT}, {NULL}};
	const struct store_table bad[] = {
		{"a", no_key}, {"b", late}, {"c", middle}, {"d e", pets_1}, {"pets", pets_1}};

	(void)state;
	again(&zoo_1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const struct store_table tables[] = {bad[i], {NULL}};
		const struct store_schema schema = {.name = "bad", .version = 2, .tables = tables};
		struct err err = {0};

		assert_int_equal(store_declare(&schema, &err), -EINVAL);
		assert_true(*err.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_upgrade, start, stop),
		cmocka_unit_test_setup_teardown(test_new_at_latest, start, stop),
		cmocka_unit_test_setup_teardown(test_upgrade_fails, start, stop),
		cmocka_unit_test_setup_teardown(test_foreign_files, start, stop),
		cmocka_unit_test_setup_teardown(test_private, start, stop),
		cmocka_unit_test_setup_teardown(test_locked, start, stop),
		cmocka_unit_test_setup_teardown(test_full, start, stop),
		cmocka_unit_test_setup_teardown(test_killed, start, stop),
		cmocka_unit_test_setup_teardown(test_bad_schemas, start, stop),
	};

	signal(SIGXFSZ, SIG_IGN);
	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
