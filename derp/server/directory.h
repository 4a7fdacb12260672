/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The door of the relay for the mesh: connections that this node made to the other nodes of its
 * region, and what they have told of theirs.
 *
 * A link is a connection like a client's, on the I/O loop that made it: packets for keys that only
 * the other node has go out on it as ForwardPacket, in the same bursts and through the same queues.
 * All functions are for the link's own I/O loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/io.h>

#include "secret.h"

struct derp_link;

struct derp_link_ops {
	/* Each frame from the other node but Ping, which is answered, and unknown ones. Bytes are
	 * valid during the call. May close the link only by returning false. */
	bool (*frame)(void *user, uint8_t type, const uint8_t *payload, size_t len);
	/* The connection has ended, for whichever reason (text, static); all keys added by it are
	 * gone. The link must not be used any more. Not called after derp_link_close. */
	void (*closed)(void *user, const char *why);
};

/* Takes a connection whose handshake is done, ServerInfo included; `early` bytes that the client
 * read ahead are in the stream. `peer`: the other node's key. Sends WatchConns. NULL: no memory, or
 * the server is stopping; the stream is closed then. */
struct derp_link *derp_link_open(struct io_stream *stream, const struct public_key *peer,
	const struct derp_link_ops *ops, void *user);
void derp_link_close(struct derp_link *link);

/* `key` is reached by this link (its PeerPresent came), or no longer is (PeerGone). Of several
 * links for a key the first one that learned it counts. A key twice on one link is one. */
void derp_forwarder_add(struct derp_link *link, const struct public_key *key);
void derp_forwarder_remove(struct derp_link *link, const struct public_key *key);
