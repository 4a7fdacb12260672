/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target without libFuzzer: over each file of the given folders, each of its
 * prefixes, and copies with a few bytes changed by a fixed pseudo-random sequence, so that a
 * failure is the same on every machine. Each input lies in a heap block of exactly its size: a
 * sanitizer sees one byte read too far.
 */
#include <dirent.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEED_SIZE_MAX (1 << 20)
#define PREFIXES_MAX 512
#define CHANGED_COPIES 512

static uint64_t random_state = 0x9e3779b97f4a7c15;
static unsigned long n_inputs;

static uint32_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 32;
}

static void run_copy(const uint8_t *seed, size_t size, unsigned n_changes)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		err(1, "malloc");
	if (size)
		memcpy(copy, seed, size);
	for (unsigned i = 0; size && i < n_changes; i++) {
		uint8_t *at = &copy[random_next() % size];

		*at = random_next() % 2 ? random_next() : *at ^ (1u << random_next() % 8);
	}
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	n_inputs++;
}

static void run_seed(const char *path)
{
	static uint8_t seed[SEED_SIZE_MAX];
	FILE *file = fopen(path, "rb");

	if (!file)
		err(1, "%s", path);
	size_t size = fread(seed, 1, sizeof(seed), file);
	if (ferror(file) || !feof(file))
		errx(1, "%s: unreadable, or more than %d bytes", path, SEED_SIZE_MAX);
	fclose(file);

	run_copy(seed, size, 0);
	for (size_t len = 0; len < size && len < PREFIXES_MAX; len++)
		run_copy(seed, len, 0);
	for (unsigned i = 0; i < CHANGED_COPIES; i++)
		run_copy(seed, size, 1 + i % 8);
}

static unsigned run_folder(const char *path)
{
	struct dirent **names;
	unsigned n_seeds = 0;
	int n = scandir(path, &names, NULL, alphasort);

	if (n < 0)
		err(1, "%s", path);
	for (int i = 0; i < n; i++) {
		char *file;

		if (names[i]->d_name[0] != '.') {
			if (asprintf(&file, "%s/%s", path, names[i]->d_name) < 0)
				err(1, "asprintf");
			run_seed(file);
			free(file);
			n_seeds++;
		}
		free(names[i]);
	}
	free(names);
	return n_seeds;
}

int main(int argc, char **argv)
{
	unsigned n_seeds = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0)
			err(1, "%s", argv[i]);
		if (S_ISDIR(st.st_mode)) {
			n_seeds += run_folder(argv[i]);
		} else {
			run_seed(argv[i]);
			n_seeds++;
		}
	}
	printf("%u seeds, %lu inputs\n", n_seeds, n_inputs);
	return n_seeds ? 0 : 1;
}
