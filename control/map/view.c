/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "delta.h"
#include "frame.h"
#include "record.h"

struct view_user {
	int64_t id; /* profile_id */
};

struct view *view_new(uint32_t id)
{
	struct view *view = calloc(1, sizeof(*view));

	if (!view)
		return NULL;
	view->id = id;
	TAILQ_INIT(&view->live);
	return view;
}

static void frames_drop(struct block *block)
{
	blob_put(block->frame);
	block->frame = NULL;
	for (unsigned i = 0; i < BLOCK_PARTS; i++) {
		blob_put(block->parts[i]);
		block->parts[i] = NULL;
	}
}

static void block_free(struct block *block)
{
	frames_drop(block);
	json_out_fini(&block->text);
	free(block);
}

void view_free(struct view *view)
{
	struct view_user *user;

	for (size_t i = 0; i < view->n_blocks; i++)
		block_free(view->blocks[i]);
	for (size_t at = INDEX_FIRST; (user = index_walk(&view->users, &at));)
		free(user);
	index_fini(&view->users);
	blob_put(view->tail);
	free(view->blocks);
	delta_free(view->gathered);
	delta_free(view->delta);
	free(view);
}

/* ---- members ------------------------------------------------------------------------------- */

/* The last block whose first id is not above; 0 if all are. */
static size_t block_for(const struct view *view, int64_t id)
{
	size_t low = 0, high = view->n_blocks;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (view->blocks[middle]->nodes[0]->d.id <= id)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The first place in the block whose id is not below. */
static unsigned place_in(const struct block *block, int64_t id)
{
	unsigned low = 0, high = block->n;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (block->nodes[middle]->d.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct block *find(const struct view *view, const struct node *node, unsigned *place)
{
	struct block *block;

	if (!view->n_blocks)
		return NULL;
	block = view->blocks[block_for(view, node->d.id)];
	*place = place_in(block, node->d.id);
	return *place < block->n && block->nodes[*place] == node ? block : NULL;
}

bool view_has(const struct view *view, const struct node *node)
{
	unsigned place;

	return find(view, node, &place);
}

static struct block *block_insert(struct view *view, size_t at)
{
	struct block **blocks, *block = calloc(1, sizeof(*block));

	if (!block)
		return NULL;
	if (view->n_blocks == view->size) {
		blocks = realloc(view->blocks, (view->size + 16) * sizeof(struct block *));
		if (!blocks) {
			free(block);
			return NULL;
		}
		view->blocks = blocks;
		view->size += 16;
	}
	memmove(view->blocks + at + 1, view->blocks + at,
		(view->n_blocks - at) * sizeof(struct block *));
	view->blocks[at] = block;
	view->n_blocks++;
	block->dirty = true;
	return block;
}

/* Makes room in a full block. Behind the last id a new block begins, else it is halved. */
static struct block *block_split(struct view *view, size_t at, int64_t id)
{
	struct block *block = view->blocks[at], *more = block_insert(view, at + 1);

	if (!more)
		return NULL;
	if (id > block->nodes[block->n - 1]->d.id)
		return more;
	more->n = block->n / 2;
	block->n -= more->n;
	memcpy(more->nodes, block->nodes + block->n, more->n * sizeof(struct node *));
	block->dirty = true;
	return id > more->nodes[0]->d.id ? more : block;
}

int view_add(struct view *view, struct node *node)
{
	struct block *block;
	unsigned place;
	size_t at;

	if (!view->n_blocks && !block_insert(view, 0))
		return -ENOMEM;
	at = block_for(view, node->d.id);
	block = view->blocks[at];
	if (block->n == BLOCK_MAX)
		block = block_split(view, at, node->d.id);
	if (!block)
		return -ENOMEM;
	place = place_in(block, node->d.id);
	memmove(block->nodes + place + 1, block->nodes + place,
		(block->n - place) * sizeof(struct node *));
	block->nodes[place] = node;
	block->n++;
	block->dirty = true;
	view->n_nodes++;
	return 0;
}

void view_drop(struct view *view, const struct node *node)
{
	unsigned place;
	struct block *block = find(view, node, &place);
	size_t at = 0;

	if (!block)
		return;
	view->n_nodes--;
	block->n--;
	memmove(block->nodes + place, block->nodes + place + 1,
		(block->n - place) * sizeof(struct node *));
	block->dirty = true;
	if (block->n)
		return;
	while (view->blocks[at] != block)
		at++;
	view->n_blocks--;
	memmove(view->blocks + at, view->blocks + at + 1,
		(view->n_blocks - at) * sizeof(struct block *));
	block_free(block);
}

struct node *view_next(struct view_walk *walk)
{
	const struct block *block;

	if (walk->block == walk->view->n_blocks)
		return NULL;
	block = walk->view->blocks[walk->block];
	if (walk->place < block->n)
		return block->nodes[walk->place++];
	walk->block++;
	walk->place = 0;
	return view_next(walk);
}

void view_touch(struct view *view, const struct node *node)
{
	unsigned place;
	struct block *block = find(view, node, &place);

	if (block)
		block->dirty = true;
}

void view_touch_all(struct view *view)
{
	for (size_t i = 0; i < view->n_blocks; i++)
		view->blocks[i]->dirty = true;
	blob_put(view->tail);
	view->tail = NULL;
}

/* ---- profiles ------------------------------------------------------------------------------ */

static struct view_user *known(const struct view *view, int64_t id, uint64_t hash)
{
	struct view_user *user;

	for (size_t at = INDEX_FIRST; (user = index_next(&view->users, hash, &at));)
		if (user->id == id)
			return user;
	return NULL;
}

bool view_knows(const struct view *view, const struct user *user)
{
	int64_t id = profile_id(user);

	return known(view, id, index_hash(&id, sizeof(id)));
}

bool view_meet(struct view *view, const struct user *user)
{
	int64_t id = profile_id(user);
	uint64_t hash = index_hash(&id, sizeof(id));
	struct view_user *mine;

	if (known(view, id, hash))
		return false;
	mine = calloc(1, sizeof(*mine));
	if (!mine)
		return true;
	mine->id = id;
	if (index_add(&view->users, hash, mine))
		free(mine);
	blob_put(view->tail);
	view->tail = NULL;
	return true;
}

void view_forget_user(struct view *view, int64_t id)
{
	uint64_t hash = index_hash(&id, sizeof(id));
	struct view_user *mine = known(view, id, hash);

	if (!mine)
		return;
	index_remove(&view->users, hash, mine);
	free(mine);
	blob_put(view->tail);
	view->tail = NULL;
}

void view_profiles(const struct view *view, const struct tailnet *t, struct json_out *out)
{
	const struct view_user *mine;
	bool any = false;

	for (size_t at = INDEX_FIRST; (mine = index_walk(&view->users, &at));) {
		const struct user *user = user_by_id(t, mine->id);

		if (!user && mine->id != TAGGED_USER_ID)
			continue;
		if (any)
			json_out_raw(out, ",", 1);
		any = true;
		record_profile(out, user);
	}
}

/* ---- frames -------------------------------------------------------------------------------- */

static bool block_text(struct block *block, const struct view *view, const struct map_conf *conf,
	const struct policy_ops *policy)
{
	if (!block->dirty)
		return true;
	frames_drop(block);
	json_out_reset(&block->text);
	for (unsigned i = 0; i < block->n; i++) {
		block->offsets[i] = (uint32_t)block->text.len;
		json_out_raw(&block->text, ",", 1);
		record_peer(&block->text, conf, policy, view->id, block->nodes[i]);
	}
	block->offsets[block->n] = (uint32_t)block->text.len;
	json_out_fit(&block->text);
	block->dirty = !json_out_ok(&block->text);
	return !block->dirty;
}

/* The frame of a stretch of the text, made once. */
static struct blob *kept_frame(struct blob **frame, const char *text, size_t len)
{
	if (!*frame)
		*frame = frame_make(text, len);
	return *frame ? blob_get(*frame) : NULL;
}

/* Of a part: all records but that at `place`. */
static struct blob *own_part(const struct block *block, size_t at, size_t end, unsigned place)
{
	static struct json_out out;
	const char *text = block->text.text;
	bool bare = text[at] != ',', is_first = block->offsets[place] <= at;

	json_out_reset(&out);
	if (!is_first)
		json_out_raw(&out, text + at, block->offsets[place] - at);
	at = block->offsets[place + 1] + (is_first && bare);
	json_out_raw(&out, text + at, end - at);
	return json_out_ok(&out) ? frame_make(out.text, out.len) : NULL;
}

/* For the member at `place`: how many. */
static int parts_frames(struct block *block, unsigned place, bool first, struct blob **frames)
{
	unsigned size = BLOCK_MAX / BLOCK_PARTS;
	int n = 0;

	for (unsigned from = 0; from < block->n; from += size) {
		unsigned to = from + size < block->n ? from + size : block->n;
		size_t at = block->offsets[from] + (first && !from), end = block->offsets[to];
		bool own = place >= from && place < to;

		if (own && to - from == 1)
			continue;
		frames[n] = own ? own_part(block, at, end, place)
				: kept_frame(&block->parts[from / size], block->text.text + at,
					  end - at);
		if (!frames[n++])
			break;
	}
	return n;
}

/* The frames of a block for one that is at `place` in it, or (BLOCK_MAX) not. The last is NULL
 * where memory is short. */
static int block_frames(struct block *block, unsigned place, bool first, struct blob **frames)
{
	if (block->frame_first != first)
		frames_drop(block);
	block->frame_first = first;
	if (place < BLOCK_MAX)
		return parts_frames(block, place, first, frames);
	frames[0] = kept_frame(&block->frame, block->text.text + first, block->text.len - first);
	return 1;
}

int view_frames(struct view *view, const struct map_conf *conf, const struct policy_ops *policy,
	const struct node *self, struct blob **frames, struct map_stats *stats)
{
	unsigned place, n = 0;
	const struct block *own = find(view, self, &place);

	for (size_t i = 0; i < view->n_blocks; i++) {
		struct block *block = view->blocks[i];

		if (block == own && block->n == 1)
			continue;
		stats->blocks_built += block->dirty;
		stats->blocks_private += block == own;
		if (!block_text(block, view, conf, policy))
			goto fail;
		n += (unsigned)block_frames(
			block, block == own ? place : BLOCK_MAX, !n, frames + n);
		if (!frames[n - 1]) {
			n--;
			goto fail;
		}
	}
	return (int)n;
fail:
	while (n--)
		blob_put(frames[n]);
	return -ENOMEM;
}
