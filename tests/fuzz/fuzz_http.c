/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An HTTP/1 request in pieces: the first byte says how it is cut and how long a body may be. What
 * was read must lie within the text, and cutting must not change what was read.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "front_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct front_head *head)
{
	static const struct net_prefix trusted[] = {
		{{AF_INET, {10}}, 8}, {{AF_INET6, {0xfd}}, 8}, {{AF_INET, {127}}, 8}};
	struct head_proxies proxies = {trusted, 3};
	struct net_addr addr;
	char value[16];
	ssize_t n;

	assert(strlen(head_path(head)) <= HEAD_URL_MAX);
	assert(strlen(head_query(head)) <= HEAD_URL_MAX);
	assert(head_method(head));
	for (unsigned i = 0; i < head->n_fields; i++) {
		const char *name = head->text + head->fields[i].name.at;

		assert(strlen(name) == head->fields[i].name.len);
		assert(strlen(head->text + head->fields[i].value.at) == head->fields[i].value.len);
		assert(head_field(head, name));
	}
	head_field_has(head, "Connection", "upgrade");
	n = query_get(head_query(head), "v", value, sizeof(value));
	assert(n < (ssize_t)sizeof(value));
	if (head_client_address(head, &proxies, &addr))
		assert(addr.family == AF_INET || addr.family == AF_INET6);
}

/* The result, and in `*used` how many bytes were the request's. */
static enum head_result read_all(
	struct front_head *head, const uint8_t *data, size_t size, size_t step, size_t *all)
{
	enum head_result result = HEAD_MORE;

	*all = 0;
	while (*all < size && (result == HEAD_MORE || result == HEAD_COMPLETE)) {
		size_t left = size - *all, used;

		result = head_feed(
			head, (const char *)data + *all, left < step ? left : step, &used);
		*all += used;
		if (result == HEAD_COMPLETE) {
			look(head);
			result = head_resume(head, 64);
		} else if (result == HEAD_MORE) {
			assert(used == (left < step ? left : step));
		}
	}
	assert(head->body_len <= 64 && head->len <= HEAD_MAX);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct front_head *whole = head_new(), *cut = head_new();
	enum head_result a, b;
	size_t used_a, used_b;

	if (size && whole && cut) {
		a = read_all(whole, data + 1, size - 1, SIZE_MAX, &used_a);
		b = read_all(cut, data + 1, size - 1, 1 + data[0] % 16, &used_b);
		assert(a == b);
		if (a == HEAD_DONE) {
			assert(used_a == used_b && whole->body_len == cut->body_len);
			assert(!whole->body_len ||
				memcmp(whole->body, cut->body, whole->body_len) == 0);
		}
	}
	head_free(whole);
	head_free(cut);
	return 0;
}
