/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where paths of peers lie: close together, one cache line each, since workers read one for each
 * packet that they seal. Control loop. There are two places for each peer, the one published and
 * the one that waits for a grace period; who roams faster than that gets memory from elsewhere.
 */
#include "control.h"
#include "reserve.h"

#define PATH_SIZE 64

static struct {
	uint8_t *places;
	uint32_t n, used; /* used: places that were ever taken */
	void *spare;      /* list through their first bytes */
} all;

static_assert(sizeof(struct peer_path) <= PATH_SIZE, "a path is one cache line");

int paths_init(uint32_t max_peers)
{
	memset(&all, 0, sizeof(all));
	all.n = max_peers * 2;
	all.places = reserve((size_t)all.n * PATH_SIZE);
	return all.places ? 0 : -1;
}

void paths_fini(void)
{
	reserve_free(all.places, (size_t)all.n * PATH_SIZE);
	memset(&all, 0, sizeof(all));
}

struct peer_path *path_new(void)
{
	void *place = all.spare;

	if (place)
		memcpy(&all.spare, place, sizeof(all.spare));
	else if (all.used < all.n)
		place = all.places + (size_t)all.used++ * PATH_SIZE;
	else
		return control_zalloc(PATH_SIZE);
	return memset(place, 0, PATH_SIZE);
}

void path_free(void *path)
{
	uint8_t *place = path;

	if (place < all.places || place >= all.places + (size_t)all.n * PATH_SIZE) {
		free(path);
		return;
	}
	memcpy(place, &all.spare, sizeof(all.spare));
	all.spare = place;
}
