/* SPDX-License-Identifier: BSD-3-Clause */
/* The store with SQLite behind it: conditions, order, upgrades, and files that are not as they
 * should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job_pool.h"
#include "state_dirs.h"
#include "store.h"

static char folder[64];

static const struct store_column pets_1[] = {
	{"id", STORE_INT, STORE_KEY},
	{"name", STORE_TEXT, STORE_UNIQUE},
	{"chip", STORE_BLOB, STORE_NULLABLE | STORE_UNIQUE},
	{NULL},
};
static const struct store_table tables_1[] = {{"pets", pets_1}, {NULL}};
static const struct store_schema zoo_1 = {.name = "zoo", .version = 1, .tables = tables_1};

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

/* ---- set up ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void configure(void)
{
	static char path[] = "db.sqlite";
	struct core_conf conf = {.database.sqlite.path = path};

	store_configure(&conf);
}

static int start(void **state)
{
	struct err err = {0};
	char state_dir[80], runtime_dir[80];

	(void)state;
	strcpy(folder, "/tmp/tailplane-store-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(state_dir, sizeof(state_dir), "%s/state", folder);
	snprintf(runtime_dir, sizeof(runtime_dir), "%s/run", folder);
	state_dirs_set(state_dir, runtime_dir, (uid_t)-1, (gid_t)-1);
	assert_int_equal(state_dirs_make(&err), 0);
	configure();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	store_stop();
	return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void again(const struct store_schema *schema)
{
	struct err err = {0};

	store_stop();
	configure();
	if (store_declare(schema, &err) != 0)
		fail_msg("%s", err.msg);
}

static const char *db_path(void)
{
	static char path[100];

	snprintf(path, sizeof(path), "%s/state/db.sqlite", folder);
	return path;
}

/* What a completion said, in the order in which they came. */
struct outcome {
	int error, place;
	uint64_t seq;
	char why[100];
};
static int places;

static void note(void *arg, const struct store_result *result)
{
	struct outcome *outcome = arg;

	outcome->error = result->error;
	outcome->seq = result->seq;
	outcome->place = ++places;
	snprintf(outcome->why, sizeof(outcome->why), "%s", result->why ? result->why : "");
}

static struct outcome commit(struct store_txn *txn)
{
	struct outcome outcome = {.error = 1};

	store_commit(txn, note, &outcome);
	assert_int_equal(outcome.error, 1); /* never before store_commit returned */
	store_drain();
	return outcome;
}

static struct store_txn *pet(int64_t id, const char *name)
{
	struct store_txn *txn = store_txn_new();

	store_insert(
		txn, "pets", (struct store_value[]){store_int(id), store_text(name), store_null()});
	return txn;
}

static int list_row(void *arg, const struct store_value *values, struct err *err)
{
	char *out = arg;

	(void)err;
	sprintf(out + strlen(out), "%lld:%.*s ", (long long)values[0].number, (int)values[1].len,
		(const char *)values[1].bytes);
	return 0;
}

static const char *pets(void)
{
	static char out[65536];
	struct err err = {0};

	*out = 0;
	assert_int_equal(store_load("pets", list_row, out, &err), 0);
	return out;
}

/* ---- tests ---- */

static void test_rows(void **state)
{
	struct store_txn *txn;

	(void)state;
	again(&zoo_1);
	assert_string_equal(pets(), "");
	assert_int_equal(commit(pet(2, "rex")).error, 0);
	txn = pet(1, "cat");
	store_update(txn, "pets", store_int(1), "name", store_text("puss"));
	store_update(txn, "pets", store_int(2), "name", store_text("cat"));
	assert_int_equal(commit(txn).error, 0);
	assert_string_equal(pets(), "1:puss 2:cat ");
	txn = store_txn_new();
	store_delete(txn, "pets", store_int(2));
	assert_int_equal(commit(txn).error, 0);
	again(&zoo_1);
	assert_string_equal(pets(), "1:puss ");
}

static void test_values(void **state)
{
	static const uint8_t chip[] = {0, 1, 0, 255};
	struct store_txn *txn = store_txn_new();
	struct err err = {0};

	(void)state;
	again(&zoo_1);
	store_insert(txn, "pets",
		(struct store_value[]){store_int(INT64_MAX), store_text(""), store_bytes(chip, 4)});
	store_insert(txn, "pets",
		(struct store_value[]){
			store_int(INT64_MIN), store_text("a'\"\xc3\xa4"), store_bytes("", 0)});
	assert_int_equal(commit(txn).error, 0);
	txn = store_txn_new();
	store_expect(txn, "pets", store_int(INT64_MAX), "chip", store_bytes(chip, 4));
	store_expect(txn, "pets", store_int(INT64_MIN), "chip", store_bytes("", 0));
	store_expect(txn, "pets", store_int(INT64_MIN), "name", store_text("a'\"\xc3\xa4"));
	assert_int_equal(commit(txn).error, 0);
	assert_int_equal(store_load("nothing", list_row, NULL, &err), -ENOENT);
}

/* A conflict takes back its own transaction, whole, and no other. */
static void test_conflicts(void **state)
{
	struct store_txn *txn;
	struct outcome outcome, neighbour = {0};

	(void)state;
	again(&zoo_1);
	commit(pet(1, "puss"));
	txn = pet(2, "rex");
	store_update(txn, "pets", store_int(3), "name", store_text("nobody"));
	store_commit(pet(4, "duck"), note, &neighbour);
	outcome = commit(txn);
	assert_int_equal(outcome.error, -EAGAIN);
	assert_string_equal(outcome.why, "pets.name");
	assert_int_equal(outcome.seq, 0);
	assert_int_equal(neighbour.error, 0);
	assert_string_equal(pets(), "1:puss 4:duck ");

	outcome = commit(pet(1, "other"));
	assert_int_equal(outcome.error, -EAGAIN);
	assert_string_equal(outcome.why, "pets.id");
	outcome = commit(pet(9, "duck"));
	assert_string_equal(outcome.why, "pets.name");

	txn = pet(5, "cow");
	store_expect(txn, "pets", store_int(1), "name", store_text("rex"));
	assert_int_equal(commit(txn).error, -EAGAIN);
	txn = pet(5, "cow");
	store_expect(txn, "pets", store_int(1), "chip", store_null());
	assert_int_equal(commit(txn).error, 0);
	txn = store_txn_new();
	store_delete(txn, "pets", store_int(77));
	assert_int_equal(commit(txn).error, -EAGAIN);
	assert_true(store_healthy(NULL));
}

static void test_counters(void **state)
{
	struct store_txn *txn = store_txn_new();
	struct err err = {0};
	struct outcome outcome;
	int64_t value = -1;

	(void)state;
	again(&zoo_1);
	assert_int_equal(store_counter("pet", &value, &err), 0);
	assert_int_equal(value, 0);
	store_count(txn, "pet", 0, 3);
	store_count(txn, "pet", 3, 4);
	assert_int_equal(commit(txn).error, 0);
	txn = pet(1, "late");
	store_count(txn, "pet", 3, 5);
	outcome = commit(txn);
	assert_int_equal(outcome.error, -EAGAIN);
	assert_string_equal(outcome.why, "pet");
	txn = store_txn_new();
	store_count(txn, "never", 1, 2);
	assert_int_equal(commit(txn).error, -EAGAIN);
	again(&zoo_1);
	assert_int_equal(store_counter("pet", &value, &err), 0);
	assert_int_equal(value, 4);
	assert_string_equal(pets(), "");
}

/* Completions come in the order of the commits, with rising numbers, whatever is written together.
 */
static void test_order(void **state)
{
	enum { N = 5000 };
	struct outcome *outcomes = calloc(N, sizeof(*outcomes));
	uint64_t seq = 0;
	char name[20];

	(void)state;
	again(&zoo_1);
	places = 0;
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "p%d", i % 1000 == 999 ? i - 1 : i);
		store_commit(pet(i, name), note, &outcomes[i]);
	}
	store_drain();
	for (int i = 0; i < N; i++) {
		assert_int_equal(outcomes[i].place, i + 1);
		assert_int_equal(outcomes[i].error, i % 1000 == 999 ? -EAGAIN : 0);
		if (outcomes[i].error)
			continue;
		assert_true(outcomes[i].seq > seq);
		seq = outcomes[i].seq;
	}
	free(outcomes);
}

/* A commit from a completion, and a drain in one. */
static void nested(void *arg, const struct store_result *result)
{
	assert_int_equal(result->error, 0);
	store_commit(pet(2, "second"), note, arg);
	store_drain();
	assert_int_equal(((struct outcome *)arg)->error, 0);
}

static void test_nested(void **state)
{
	struct outcome second = {.error = 1};

	(void)state;
	again(&zoo_1);
	store_commit(pet(1, "first"), nested, &second);
	store_drain();
	assert_string_equal(pets(), "1:first 2:second ");
}

/* "No such row" holds for what the same transaction took away, and for what others brought. */
static void test_expect_none(void **state)
{
	struct store_txn *txn;

	(void)state;
	again(&zoo_1);
	assert_int_equal(commit(pet(1, "puss")).error, 0);
	txn = store_txn_new();
	store_expect_none(txn, "pets", "name", store_text("puss"));
	assert_int_equal(commit(txn).error, -EAGAIN);
	txn = store_txn_new();
	store_expect_none(txn, "pets", "name", store_text("rex"));
	store_delete(txn, "pets", store_int(1));
	store_expect_none(txn, "pets", "name", store_text("puss"));
	assert_int_equal(commit(txn).error, 0);
	assert_string_equal(pets(), "");
}

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
	signal(SIGXFSZ, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows, start, stop),
		cmocka_unit_test_setup_teardown(test_values, start, stop),
		cmocka_unit_test_setup_teardown(test_conflicts, start, stop),
		cmocka_unit_test_setup_teardown(test_counters, start, stop),
		cmocka_unit_test_setup_teardown(test_order, start, stop),
		cmocka_unit_test_setup_teardown(test_nested, start, stop),
		cmocka_unit_test_setup_teardown(test_expect_none, start, stop),
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

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
