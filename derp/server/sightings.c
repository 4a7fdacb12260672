/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who got packets of whom: when a key leaves the region, they are told, and drop the path back.
 * Runs on: the I/O loop of the receiver; sources are its replica's peers. The first packet of a
 * pair costs an allocation, the others a look at the receiver's last source or into the table.
 */
#include <stdlib.h>

#include "relay.h"

static uint64_t hash_pair(const struct peer *source, const struct conn *conn)
{
	uint64_t a = (uintptr_t)source >> 4, b = (uintptr_t)conn >> 4;

	a = (a ^ b << 29) * 0x9e3779b97f4a7c15u;
	a = (a ^ a >> 32 ^ b) * 0x9e3779b97f4a7c15u;
	return a ^ a >> 29;
}

struct pair {
	struct peer *source;
	struct conn *conn;
};

static bool same_pair(const void *item, const void *key)
{
	const struct sighting *sighting = item;
	const struct pair *pair = key;

	return sighting->source == pair->source && sighting->conn == pair->conn;
}

static struct sighting *sighting_new(struct derp_loop *loop, const struct pair *pair, uint64_t hash)
{
	struct sighting *sighting =
		limit_memory(loop, sizeof(*sighting)) ? calloc(1, sizeof(*sighting)) : NULL;

	if (!sighting)
		return NULL;
	sighting->source = pair->source;
	sighting->conn = pair->conn;
	if (table_add(&loop->sightings, hash, sighting) == 0) {
		COUNT(loop, memory_bytes, sizeof(*sighting));
		return sighting;
	}
	free(sighting);
	return NULL;
}

static void link_in(struct sighting *sighting)
{
	struct peer *source = sighting->source;
	struct conn *conn = sighting->conn;

	sighting->of_source = source->sightings;
	sighting->of_source_prev = &source->sightings;
	sighting->of_conn = conn->sightings;
	sighting->of_conn_prev = &conn->sightings;
	if (sighting->of_source)
		sighting->of_source->of_source_prev = &sighting->of_source;
	if (sighting->of_conn)
		sighting->of_conn->of_conn_prev = &sighting->of_conn;
	source->sightings = conn->sightings = sighting;
}

void sighting_note(struct derp_loop *loop, struct peer *source, struct conn *conn)
{
	struct pair pair = {source, conn};
	uint64_t hash = hash_pair(source, conn);
	struct sighting *sighting = table_find(&loop->sightings, hash, same_pair, &pair);

	if (!sighting) {
		sighting = sighting_new(loop, &pair, hash);
		if (!sighting)
			return; /* without room he is not told */
		link_in(sighting);
	}
	conn->last_source = source;
}

static void sighting_free(struct derp_loop *loop, struct sighting *sighting)
{
	table_remove(&loop->sightings, hash_pair(sighting->source, sighting->conn), sighting);
	*sighting->of_source_prev = sighting->of_source;
	if (sighting->of_source)
		sighting->of_source->of_source_prev = sighting->of_source_prev;
	*sighting->of_conn_prev = sighting->of_conn;
	if (sighting->of_conn)
		sighting->of_conn->of_conn_prev = sighting->of_conn_prev;
	UNCOUNT(loop, memory_bytes, sizeof(*sighting));
	free(sighting);
}

void sightings_tell(struct derp_loop *loop, struct peer *source)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_GONE_LEN];
	uint32_t len =
		(uint32_t)derp_peer_gone_put(frame, source->key.bytes, DERP_GONE_DISCONNECTED);

	while (source->sightings) {
		struct conn *conn = source->sightings->conn;

		sighting_free(loop, source->sightings);
		if (conn->last_source == source)
			conn->last_source = NULL;
		COUNT(loop, peer_gone_disconnected_frames, 1);
		output_control(conn, frame, len);
	}
}

void sightings_forget(struct conn *conn)
{
	while (conn->sightings) {
		struct peer *source = conn->sightings->source;

		sighting_free(conn->loop, conn->sightings);
		peer_release(conn->loop, source);
	}
	conn->last_source = NULL;
}
