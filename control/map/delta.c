/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "record.h"
#include "view.h"

/* Up to this many records a recipient among them gets one frame of its own; beyond it, pieces. */
#define PIECE_MIN 48
#define LIT(out, text) json_out_raw(out, text, sizeof(text) - 1)

struct entry {
	struct node *node; /* until delta_finish */
	int64_t id;
	unsigned what; /* patch; 0: whole record */
};

struct list {
	struct entry *items;
	size_t n, size;
};

struct delta {
	struct list changed, patched;
	int64_t *removed, *profiles;
	size_t n_removed, n_profiles;

	/* after delta_finish */
	struct json_out text; /* lead, records with commas between, tail */
	size_t lead;          /* where the records begin */
	uint32_t *offsets; /* of each record, with the comma before it; and the end of the last */
	size_t piece;      /* records in a piece */
	struct blob *whole, *head, *tail, **pieces;
};

struct delta *delta_new(void)
{
	return calloc(1, sizeof(struct delta));
}

static size_t n_pieces(const struct delta *d)
{
	return d->piece ? (d->changed.n + d->piece - 1) / d->piece : 0;
}

void delta_free(struct delta *d)
{
	if (!d)
		return;
	for (size_t i = 0; d->pieces && i < n_pieces(d); i++)
		blob_put(d->pieces[i]);
	blob_put(d->whole);
	blob_put(d->head);
	blob_put(d->tail);
	json_out_fini(&d->text);
	free(d->pieces);
	free(d->offsets);
	free(d->changed.items);
	free(d->patched.items);
	free(d->removed);
	free(d->profiles);
	free(d);
}

/* ---- gathering ----------------------------------------------------------------------------- */

static void add(struct list *list, struct node *node, unsigned what)
{
	if (list->n == list->size) {
		size_t size = list->size ? 2 * list->size : 16;
		struct entry *items = realloc(list->items, size * sizeof(*items));

		if (!items)
			return; /* told again with its next change */
		list->items = items;
		list->size = size;
	}
	list->items[list->n++] = (struct entry){node, node->d.id, what};
}

static void add_id(int64_t **ids, size_t *n, int64_t id)
{
	int64_t *more = realloc(*ids, (*n + 1) * sizeof(*more));

	if (!more)
		return;
	*ids = more;
	more[(*n)++] = id;
}

void delta_change(struct delta *d, struct node *node)
{
	add(&d->changed, node, 0);
}

void delta_patch(struct delta *d, struct node *node, unsigned what)
{
	add(&d->patched, node, what);
}

void delta_remove(struct delta *d, int64_t id)
{
	add_id(&d->removed, &d->n_removed, id);
}

void delta_profile(struct delta *d, int64_t user)
{
	for (size_t i = 0; i < d->n_profiles; i++)
		if (d->profiles[i] == user)
			return;
	add_id(&d->profiles, &d->n_profiles, user);
}

void delta_inherit(struct delta *d, const struct delta *other)
{
	for (size_t i = 0; i < other->n_removed; i++)
		delta_remove(d, other->removed[i]);
	for (size_t i = 0; i < other->n_profiles; i++)
		delta_profile(d, other->profiles[i]);
}

size_t delta_records(const struct delta *d)
{
	return d->changed.n;
}

size_t delta_patches(const struct delta *d)
{
	return d->patched.n;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void sort(struct list *list)
{
	if (list->n)
		qsort(list->items, list->n, sizeof(*list->items), by_id);
}

static void write_removed(struct delta *d)
{
	if (!d->n_removed)
		return;
	LIT(&d->text, "\"PeersRemoved\":[");
	for (size_t i = 0; i < d->n_removed; i++) {
		if (i)
			LIT(&d->text, ",");
		json_out_int(&d->text, d->removed[i]);
	}
	LIT(&d->text, "],");
}

static void write_profiles(struct delta *d, const struct tailnet *t)
{
	bool any = false;

	for (size_t i = 0; i < d->n_profiles; i++) {
		const struct user *user = user_by_id(t, d->profiles[i]);

		if (!user && d->profiles[i] != TAGGED_USER_ID)
			continue;
		json_out_text(&d->text, any ? "," : "\"UserProfiles\":[");
		record_profile(&d->text, user);
		any = true;
	}
	if (any)
		LIT(&d->text, "],");
}

static void write_patches(struct delta *d)
{
	if (!d->patched.n)
		return;
	LIT(&d->text, "\"PeersChangedPatch\":[");
	for (size_t i = 0; i < d->patched.n; i++) {
		if (i)
			LIT(&d->text, ",");
		record_patch(&d->text, d->patched.items[i].node, d->patched.items[i].what);
	}
	LIT(&d->text, "],");
}

/* A member that is always there ends each message, so that the others may end with a comma. */
void delta_finish(struct delta *d, const struct tailnet *t, const struct view *view,
	const struct map_conf *conf, const struct policy_ops *policy)
{
	sort(&d->changed);
	sort(&d->patched);
	d->offsets = calloc(d->changed.n + 1, sizeof(*d->offsets));
	if (!d->offsets)
		d->changed.n = 0;
	LIT(&d->text, "{");
	write_removed(d);
	write_profiles(d, t);
	write_patches(d);
	LIT(&d->text, "\"PeersChanged\":[");
	d->lead = d->text.len;
	for (size_t i = 0; i < d->changed.n; i++) {
		d->offsets[i] = (uint32_t)d->text.len;
		if (i)
			LIT(&d->text, ",");
		record_peer(&d->text, conf, policy, view->id, d->changed.items[i].node);
	}
	if (d->offsets)
		d->offsets[d->changed.n] = (uint32_t)d->text.len;
	LIT(&d->text, "]}");
	if (d->changed.n > PIECE_MIN) {
		d->piece = 32;
		while (n_pieces(d) > DELTA_FRAMES_MAX - 2)
			d->piece *= 2;
		d->pieces = calloc(n_pieces(d), sizeof(struct blob *));
	}
}

/* ---- frames -------------------------------------------------------------------------------- */

/* The place of that node among the changed, or -1. */
static ssize_t place_of(const struct delta *d, int64_t self)
{
	size_t low = 0, high = d->changed.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (d->changed.items[middle].id < self)
			low = middle + 1;
		else
			high = middle;
	}
	return low < d->changed.n && d->changed.items[low].id == self ? (ssize_t)low : -1;
}

static bool concerns(const struct delta *d, int64_t self, ssize_t place)
{
	if (d->n_removed || d->n_profiles || d->changed.n > (place >= 0))
		return true;
	return d->patched.n > 1 || (d->patched.n == 1 && d->patched.items[0].id != self);
}

/* Records from `from` to `to` but for `skip`, without the comma before the first. */
static void records(const struct delta *d, struct json_out *out, size_t from, size_t to,
	size_t skip, bool first)
{
	for (size_t i = from; i < to; i++) {
		size_t at = d->offsets[i], end = d->offsets[i + 1];

		if (i == skip)
			continue;
		if (first && i)
			at++;
		else if (!first && !i)
			LIT(out, ",");
		json_out_raw(out, d->text.text + at, end - at);
		first = false;
	}
}

static struct blob *made(struct json_out *out)
{
	return json_out_ok(out) ? frame_make(out->text, out->len) : NULL;
}

static struct json_out *scratch(void)
{
	static struct json_out out;

	json_out_reset(&out);
	return &out;
}

static struct blob *without(struct delta *d, size_t place)
{
	struct json_out *out = scratch();

	json_out_raw(out, d->text.text, d->lead);
	records(d, out, 0, d->changed.n, place, true);
	LIT(out, "]}");
	return made(out);
}

/* Piece `i`; for the recipient at `place` one of its own, if it is in it. */
static struct blob *piece(struct delta *d, size_t i, size_t place, bool first)
{
	size_t from = i * d->piece, to = from + d->piece;
	struct json_out *out = scratch();
	bool own, usual = first == !i;

	if (to > d->changed.n)
		to = d->changed.n;
	own = place >= from && place < to;
	if (!own && usual && d->pieces[i])
		return blob_get(d->pieces[i]);
	records(d, out, from, to, place, first);
	if (own || !usual)
		return made(out);
	d->pieces[i] = made(out);
	return d->pieces[i] ? blob_get(d->pieces[i]) : NULL;
}

static struct blob *part(struct blob **kept, const char *text, size_t len)
{
	if (!*kept)
		*kept = frame_make(text, len);
	return *kept ? blob_get(*kept) : NULL;
}

static int in_pieces(struct delta *d, size_t place, struct blob **frames)
{
	unsigned n = 0;
	bool first = true;

	frames[n] = part(&d->head, d->text.text, d->lead);
	for (size_t i = 0; frames[n] && i < n_pieces(d); i++) {
		bool alone = place == i * d->piece && place + 1 == d->changed.n;

		if (alone)
			continue;
		frames[++n] = piece(d, i, place, first);
		first = false;
	}
	if (frames[n])
		frames[++n] = part(&d->tail, "]}", 2);
	if (frames[n])
		return (int)n + 1;
	while (n--)
		blob_put(frames[n]);
	return -ENOMEM;
}

int delta_frames(struct delta *d, int64_t self, struct blob *frames[DELTA_FRAMES_MAX])
{
	ssize_t place = place_of(d, self);

	if (!json_out_ok(&d->text))
		return -ENOMEM;
	if (!concerns(d, self, place))
		return 0;
	if (place < 0)
		frames[0] = part(&d->whole, d->text.text, d->text.len);
	else if (d->pieces)
		return in_pieces(d, (size_t)place, frames);
	else
		frames[0] = without(d, (size_t)place);
	return frames[0] ? 1 : -ENOMEM;
}
