/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast each implementation of the AEAD is, beside OpenSSL's EVP in the same run.
 *
 * Bursts are sealed and opened in place, hot in cache, buffers 2304 bytes apart with the text at 16
 * modulo 64, as packet buffers have it. Each cell (implementation, operation, size, keys) is
 * measured once per round, so that a machine that slows down slows all of them; a figure is the
 * median of the rounds. Gbit/s counts the text alone. A burst is timed by itself, since opening in
 * place needs the ciphertext brought back each time, which is not to be counted.
 *
 * "imix" is 64, 576 and 1420 bytes, 7 : 4 : 1 in random order.
 */
#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <sodium.h>

#include "aead.h"
#include "openssl_aead.h"
#include "prng.h"

#define TEXT_MAX 1420
#define PITCH 2304
#define PATTERNS 64 /* different bursts of "imix", so that no branch is learnt */
#define ROUNDS_MAX 99
#define METHODS_MAX 8
#define CELL_MS 3
#define SAMPLES_MIN PATTERNS
#define SAMPLES_MAX 4096

enum op { SEAL, OPEN, N_OPS };
static const char *const op_names[] = {"seal", "open"};
static const unsigned sizes[] = {64, 128, 256, 512, 1024, 1420, 0}; /* 0: imix */
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))
static const unsigned key_counts[] = {1, 32};
#define N_KEY_COUNTS (sizeof(key_counts) / sizeof(key_counts[0]))

struct method {
	const char *name;
	void (*seal)(struct aead_item *items, unsigned n);
	void (*open)(struct aead_item *items, unsigned n);
};

struct cell {
	double ns_per_packet[ROUNDS_MAX];
	double bytes_per_packet;
};

static struct method methods[METHODS_MAX];
static unsigned n_methods;
static struct cell cells[METHODS_MAX][N_OPS][N_KEY_COUNTS][N_SIZES];

static struct openssl_aead openssl;
static struct symmetric_key keys[AEAD_BURST_MAX];
static _Alignas(64) uint8_t buffers[AEAD_BURST_MAX * PITCH];
static uint8_t sealed[PATTERNS][AEAD_BURST_MAX][TEXT_MAX + AEAD_TAG_LEN];
static unsigned lens[PATTERNS][AEAD_BURST_MAX];
static struct aead_item items[AEAD_BURST_MAX];

static unsigned n_rounds = 9, burst = 32;
static bool as_json;

/* --- the clock --- */

#if defined(__x86_64__)
#define CLOCK_NAME "tsc"
static uint64_t ticks(void)
{
	return __builtin_ia32_rdtsc();
}
#else
#define CLOCK_NAME "ns"
static uint64_t ticks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
#endif

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double ticks_per_ns;

static void clock_calibrate(void)
{
	double start = seconds(), now;
	uint64_t from = ticks();

	do
		now = seconds();
	while (now - start < 0.1);
	ticks_per_ns = (double)(ticks() - from) / ((now - start) * 1e9);
}

/* --- OpenSSL behind the same interface --- */

static struct openssl_message message_of(const struct aead_item *item, uint8_t nonce[12])
{
	memset(nonce, 0, 4);
	memcpy(nonce + 4, item->nonce, 8);
	return (struct openssl_message){
		.key = item->key->bytes,
		.nonce = nonce,
		.src = item->src[0].data,
		.len = item->src[0].len,
	};
}

static void openssl_seal_burst(struct aead_item *burst_items, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t nonce[12];
		struct openssl_message message = message_of(&burst_items[i], nonce);

		openssl_seal(&openssl, burst_items[i].dst, &message);
	}
}

static void openssl_open_burst(struct aead_item *burst_items, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t nonce[12];
		struct openssl_message message = message_of(&burst_items[i], nonce);

		burst_items[i].ok = openssl_open(&openssl, burst_items[i].dst, &message);
	}
}

static void methods_find(void)
{
	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		if (!(*impl)->usable() || n_methods + 1 == METHODS_MAX)
			continue;
		methods[n_methods++] = (struct method){(*impl)->name, (*impl)->seal, (*impl)->open};
	}
	openssl_aead_init(&openssl);
	methods[n_methods++] = (struct method){"openssl", openssl_seal_burst, openssl_open_burst};
}

/* --- bursts --- */

static unsigned imix_len(struct prng *prng)
{
	unsigned n = prng_below(prng, 12);

	return n < 7 ? 64 : n < 11 ? 576 : 1420;
}

static uint8_t *buffer(unsigned i)
{
	return buffers + (size_t)i * PITCH + 16;
}

/* Packet i of pattern p always has the same key and nonce. */
static void item_set(unsigned pattern, unsigned i, unsigned n_keys, uint32_t src_len)
{
	uint64_t counter = (uint64_t)pattern * AEAD_BURST_MAX + i;

	items[i] = (struct aead_item){
		.key = &keys[i % n_keys],
		.src = {{buffer(i), src_len}},
		.dst = buffer(i),
	};
	memcpy(items[i].nonce, &counter, sizeof(counter));
}

/* Fills `lens` and `sealed`; returns the mean text. */
static double patterns_make(unsigned size, unsigned n_keys)
{
	struct prng prng = {size + 1};
	double bytes = 0;

	for (unsigned p = 0; p < PATTERNS; p++) {
		for (unsigned i = 0; i < burst; i++) {
			lens[p][i] = size != 0 ? size : imix_len(&prng);
			bytes += lens[p][i];
			item_set(p, i, n_keys, lens[p][i]);
		}
		openssl_seal_burst(items, burst);
		for (unsigned i = 0; i < burst; i++)
			memcpy(sealed[p][i], buffer(i), lens[p][i] + AEAD_TAG_LEN);
	}
	return bytes / PATTERNS / burst;
}

static uint64_t seal_once(const struct method *method, unsigned pattern, unsigned n_keys)
{
	for (unsigned i = 0; i < burst; i++)
		item_set(pattern, i, n_keys, lens[pattern][i]);

	uint64_t start = ticks();
	method->seal(items, burst);
	return ticks() - start;
}

static uint64_t open_once(const struct method *method, unsigned pattern, unsigned n_keys)
{
	for (unsigned i = 0; i < burst; i++) {
		uint32_t len = lens[pattern][i] + AEAD_TAG_LEN;

		memcpy(buffer(i), sealed[pattern][i], len);
		item_set(pattern, i, n_keys, len);
	}
	uint64_t start = ticks();
	method->open(items, burst);
	uint64_t spent = ticks() - start;

	for (unsigned i = 0; i < burst; i++) {
		if (!items[i].ok)
			errx(1, "%s: an authentic packet was refused", method->name);
	}
	return spent;
}

static int compare_ticks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Nanoseconds per packet: the mean of the middle half of the bursts, so that those during which
 * another process had the core do not count. */
static double measure(const struct method *method, enum op op, unsigned n_keys)
{
	static uint64_t samples[SAMPLES_MAX];
	uint64_t enough = (uint64_t)(CELL_MS * 1e6 * ticks_per_ns), spent = 0, middle = 0;
	unsigned n = 0;

	while ((spent < enough || n < SAMPLES_MIN) && n < SAMPLES_MAX) {
		samples[n] = op == SEAL ? seal_once(method, n % PATTERNS, n_keys)
					: open_once(method, n % PATTERNS, n_keys);
		spent += samples[n++];
	}
	qsort(samples, n, sizeof(samples[0]), compare_ticks);
	for (unsigned i = n / 4; i < n - n / 4; i++)
		middle += samples[i];
	return (double)middle / (n - n / 4 * 2) / ticks_per_ns / burst;
}

static void round_run(unsigned round)
{
	for (unsigned k = 0; k < N_KEY_COUNTS; k++) {
		for (unsigned s = 0; s < N_SIZES; s++) {
			double bytes = patterns_make(sizes[s], key_counts[k]);

			for (unsigned job = 0; job < n_methods * N_OPS; job++) {
				unsigned m = job / N_OPS;
				enum op op = job % N_OPS;
				struct cell *cell = &cells[m][op][k][s];

				cell->bytes_per_packet = bytes;
				cell->ns_per_packet[round] =
					measure(&methods[m], op, key_counts[k]);
			}
		}
	}
}

/* --- the report --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void cells_sort(void)
{
	struct cell *cell = &cells[0][0][0][0];

	for (size_t i = 0; i < sizeof(cells) / sizeof(*cell); i++)
		qsort(cell[i].ns_per_packet, n_rounds, sizeof(double), compare);
}

static double gbps(const struct cell *cell, double ns)
{
	return cell->bytes_per_packet * 8 / ns;
}

static double median(const struct cell *cell)
{
	return cell->ns_per_packet[n_rounds / 2];
}

static const char *size_name(unsigned size)
{
	static char name[16];

	if (size == 0)
		return "imix";
	snprintf(name, sizeof(name), "%u", size);
	return name;
}

static void table_print(enum op op, unsigned k)
{
	printf("\n%s, burst %u, keys %u: Gbit/s, median (min-max); %s cycles per packet "
	       "below\n%-10s",
		op_names[op], burst, key_counts[k], CLOCK_NAME, "");
	for (unsigned s = 0; s < N_SIZES; s++)
		printf("%18s", size_name(sizes[s]));
	for (unsigned m = 0; m < n_methods; m++) {
		printf("\n%-10s", methods[m].name);
		for (unsigned s = 0; s < N_SIZES; s++) {
			const struct cell *cell = &cells[m][op][k][s];

			printf("%6.2f (%4.1f-%4.1f)", gbps(cell, median(cell)),
				gbps(cell, cell->ns_per_packet[n_rounds - 1]),
				gbps(cell, cell->ns_per_packet[0]));
		}
		printf("\n%-10s", "");
		for (unsigned s = 0; s < N_SIZES; s++)
			printf("%18.0f", median(&cells[m][op][k][s]) * ticks_per_ns);
	}
	printf("\n");
}

/* "model name" of /proc/cpuinfo, which not every architecture has. */
static void cpu_name(char *name, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(name, size, "unknown");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		char *value = strchr(line, ':');

		if (strncmp(line, "model name", 10) == 0 && value != NULL) {
			snprintf(name, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
			break;
		}
	}
	if (file != NULL)
		fclose(file);
}

static json_t *machine_json(void)
{
	struct utsname os;
	char cpu[128];

	uname(&os);
	cpu_name(cpu, sizeof(cpu));
	return json_pack("{s:s, s:I, s:s, s:f, s:s, s:s, s:s, s:s, s:s}", "cpu", cpu, "cpus",
		(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "clock", CLOCK_NAME, "clock_ghz",
		ticks_per_ns, "kernel", os.release, "arch", os.machine, "compiler", __VERSION__,
		"libsodium", sodium_version_string(), "openssl", OpenSSL_version(OPENSSL_VERSION));
}

static json_t *cell_json(unsigned m, enum op op, unsigned k, unsigned s)
{
	const struct cell *cell = &cells[m][op][k][s];
	double ns = median(cell);

	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f}", "impl",
		methods[m].name, "op", op_names[op], "size", size_name(sizes[s]), "batch",
		(int)burst, "keys", (int)key_counts[k], "gbps", gbps(cell, ns), "gbps_min",
		gbps(cell, cell->ns_per_packet[n_rounds - 1]), "gbps_max",
		gbps(cell, cell->ns_per_packet[0]), "mpps", 1e3 / ns, "cycles_per_packet",
		ns * ticks_per_ns);
}

static void report_json(void)
{
	json_t *results = json_array();

	for (unsigned m = 0; m < n_methods; m++) {
		for (unsigned i = 0; i < N_OPS * N_KEY_COUNTS * N_SIZES; i++)
			json_array_append_new(
				results, cell_json(m, i / N_SIZES / N_KEY_COUNTS,
						 i / N_SIZES % N_KEY_COUNTS, i % N_SIZES));
	}
	json_t *report = json_pack("{s:o, s:i, s:o}", "machine", machine_json(), "rounds",
		(int)n_rounds, "results", results);
	if (report == NULL)
		errx(1, "the report cannot be made");
	json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(5));
	putchar('\n');
	json_decref(report);
}

static void report_text(void)
{
	char cpu[128];

	cpu_name(cpu, sizeof(cpu));
	printf("%s, %.3f GHz %s, libsodium %s, %s; %u rounds\n", cpu, ticks_per_ns, CLOCK_NAME,
		sodium_version_string(), OpenSSL_version(OPENSSL_VERSION), n_rounds);
	for (unsigned k = 0; k < N_KEY_COUNTS; k++) {
		for (enum op op = 0; op < N_OPS; op++)
			table_print(op, k);
	}
}

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < 1 || n > max)
		errx(2, "'%s': a number from 1 to %u would be right", text, max);
	return (unsigned)n;
}

static void options_read(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"rounds", required_argument, NULL, 'r'},
		{"batch", required_argument, NULL, 'b'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			as_json = true;
			break;
		case 'r':
			n_rounds = number(optarg, ROUNDS_MAX);
			break;
		case 'b':
			burst = number(optarg, AEAD_BURST_MAX);
			break;
		default:
			errx(2, "usage: bench_aead [--json] [--rounds N] [--batch N]");
		}
	}
}

int main(int argc, char **argv)
{
	struct prng prng = {1};

	options_read(argc, argv);
	prng_fill(&prng, keys, sizeof(keys));
	prng_fill(&prng, buffers, sizeof(buffers));
	clock_calibrate();
	methods_find();
	for (unsigned round = 0; round < n_rounds; round++)
		round_run(round);
	cells_sort();
	if (as_json)
		report_json();
	else
		report_text();
	openssl_aead_fini(&openssl);
	return 0;
}
