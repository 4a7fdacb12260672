/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Samples as Prometheus text (exposition format 0.0.4). Runs on: the control loop; a sink belongs
 * to its maker.
 */
#include "metrics_text.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct metric_sink {
	char *text;
	size_t len;
	FILE *out;
	const struct metric *last; /* whose HELP and TYPE were written */
};

struct metric_sink *metric_sink_new(void)
{
	struct metric_sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	sink->out = open_memstream(&sink->text, &sink->len);
	if (!sink->out) {
		free(sink);
		return NULL;
	}
	return sink;
}

char *metric_sink_finish(struct metric_sink *sink, size_t *len)
{
	bool failed = ferror(sink->out);
	char *text;

	failed |= fclose(sink->out) != 0;
	text = sink->text;
	*len = sink->len;
	free(sink);
	if (failed) {
		free(text);
		return NULL;
	}
	return text;
}

static void put_escaped(FILE *out, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '\\' || (*text == '"' && quotes))
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
}

static void put_head(struct metric_sink *sink, const struct metric *metric)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};

	if (sink->last && strcmp(sink->last->name, metric->name) == 0)
		return;
	sink->last = metric;
	fprintf(sink->out, "# HELP %s ", metric->name);
	put_escaped(sink->out, metric->help, false);
	fprintf(sink->out, "\n# TYPE %s %s\n", metric->name, types[metric->type]);
}

static void put_number(FILE *out, double value)
{
	char text[32];

	if (isnan(value)) {
		fputs("NaN", out);
	} else if (isinf(value)) {
		fputs(value > 0 ? "+Inf" : "-Inf", out);
	} else if (value == floor(value) && fabs(value) < 9007199254740992.) {
		fprintf(out, "%.0f", value);
	} else {
		/* the shortest that reads back to the same */
		for (int digits = 6; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, value);
			if (strtod(text, NULL) == value)
				break;
		}
		fputs(text, out);
	}
}

/* `le` NULL: none. */
static void put_sample(FILE *out, const char *name, const char *suffix,
	const struct metric_label *labels, unsigned n_labels, const double *le, double value)
{
	const char *between = "{";

	fprintf(out, "%s%s", name, suffix);
	for (unsigned i = 0; i < n_labels; i++) {
		fprintf(out, "%s%s=\"", between, labels[i].name);
		put_escaped(out, labels[i].value, true);
		fputc('"', out);
		between = ",";
	}
	if (le) {
		fprintf(out, "%sle=\"", between);
		put_number(out, *le);
		fputc('"', out);
	}
	fputs(n_labels || le ? "} " : " ", out);
	put_number(out, value);
	fputc('\n', out);
}

void metric_add(struct metric_sink *sink, const struct metric *metric,
	const struct metric_label *labels, unsigned n_labels, double value)
{
	put_head(sink, metric);
	put_sample(sink->out, metric->name, "", labels, n_labels, NULL, value);
}

void metric_histogram(struct metric_sink *sink, const struct metric *metric,
	const struct metric_label *labels, unsigned n_labels, const double *bounds,
	const uint64_t *counts, unsigned n_bounds, double sum)
{
	uint64_t total = 0;

	put_head(sink, metric);
	for (unsigned i = 0; i <= n_bounds; i++) {
		double le = i < n_bounds ? bounds[i] : INFINITY;

		total += counts[i];
		put_sample(
			sink->out, metric->name, "_bucket", labels, n_labels, &le, (double)total);
	}
	put_sample(sink->out, metric->name, "_sum", labels, n_labels, NULL, sum);
	put_sample(sink->out, metric->name, "_count", labels, n_labels, NULL, (double)total);
}
