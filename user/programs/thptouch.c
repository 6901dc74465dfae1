/*
 * thptouch.c - touch an area aligned to 2 MiB and tell what the kernel made of it.          ring 3
 *
 *   thptouch write|read SIZE [--huge|--nohuge] [--step 4K] [--hold SECONDS]
 *
 * Prints the thp_* counters that moved while it touched, its own minor faults, and the sums of its
 * area in smaps. It changes no setting: what comes out depends on enabled, defrag and the advice.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib.h"

struct options {
	bool write;
	int advice; /* MADV_HUGEPAGE, MADV_NOHUGEPAGE or -1 for none */
	unsigned long size, step, hold;
};

static void usage(void)
{
	fprintf(stderr, "usage: thptouch write|read SIZE [--huge|--nohuge] [--step 4K] "
			"[--hold SECONDS]\n"
			"SIZE and step are bytes, or a number with K, M or G; SIZE is at least one "
			"page\n");
	exit(2);
}

static bool options_parse(int argc, char **argv, struct options *o)
{
	*o = (struct options){.advice = -1, .step = PAGE_BYTES};
	if (argc < 3 || (strcmp(argv[1], "write") != 0 && strcmp(argv[1], "read") != 0))
		return false;
	o->write = argv[1][0] == 'w';
	if (!size_parse(argv[2], &o->size) || o->size == 0 || o->size > 1UL << 46)
		return false;
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], "--huge") == 0)
			o->advice = MADV_HUGEPAGE;
		else if (strcmp(argv[i], "--nohuge") == 0)
			o->advice = MADV_NOHUGEPAGE;
		else if (strcmp(argv[i], "--step") == 0 && i + 1 < argc) {
			if (!size_parse(argv[++i], &o->step) || o->step == 0)
				return false;
		} else if (strcmp(argv[i], "--hold") == 0 && i + 1 < argc) {
			if (!size_parse(argv[++i], &o->hold) || o->hold > 86400)
				return false;
		} else {
			return false;
		}
	}
	return true;
}

static void report(const struct counters *before, const struct counters *after,
	unsigned long faults, unsigned long start, unsigned long size)
{
	struct smaps_sum sum;

	for (int i = 0; i < after->nr; i++) {
		unsigned long old = counters_get(before, after->at[i].name);

		if (after->at[i].value != old)
			printf("%s %ld\n", after->at[i].name, (long)(after->at[i].value - old));
	}
	printf("minor_faults %lu\n", faults);
	if (!smaps_read(start, start + size, &sum))
		die("thptouch: cannot read /proc/self/smaps");
	printf("Size %lu kB\nRss %lu kB\nPss %lu kB\nAnonymous %lu kB\nAnonHugePages %lu kB\n",
		sum.size, sum.rss, sum.pss, sum.anon, sum.anon_huge);
}

int main(int argc, char **argv)
{
	static struct counters before, after;
	unsigned long faults;
	struct options o;
	char *area;

	if (!options_parse(argc, argv, &o))
		usage();
	area = area_map(0, o.size, PROT_READ | PROT_WRITE, 0);
	if (area == MAP_FAILED)
		die("thptouch: cannot map %lu bytes: %s", o.size, strerror(errno));
	if (o.advice >= 0 && madvise(area, o.size, o.advice) < 0)
		die("thptouch: madvise: %s", strerror(errno));
	counters_read(&after); /* once for nothing: later reads then fault no more */
	counters_read(&before);
	faults = faults_minor();
	for (unsigned long at = 0; at < o.size; at += o.step) {
		if (o.write)
			touch_write(area + at, 1);
		else
			touch_read(area + at);
		if (o.step > o.size - at)
			break;
	}
	faults = faults_minor() - faults;
	counters_read(&after);
	report(&before, &after, faults, (unsigned long)area, o.size);
	if (o.hold) {
		fflush(stdout);
		sleep_ms(o.hold * 1000);
	}
	return 0;
}
