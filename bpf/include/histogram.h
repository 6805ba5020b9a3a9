/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Durations by their size. A probe puts a `struct histogram` where it wants one, into a map's value, for
 * each CPU or namespace, and counts by observe(). User space sets the bounds before loading, from the
 * declaration of the series, and reads the histogram as probing/histogram.py says.
 */
#pragma once

#include "probe.h"

#define HISTOGRAM_BUCKETS 32

struct histogram {
	__u64 sum_ns;
	__u64 counts[HISTOGRAM_BUCKETS];
};

/*
 * Upper bounds of the buckets but the last, inclusive and ascending; those that are not used are ~0, so
 * that nothing lies above them. All histograms of an object have the same.
 */
const volatile __u64 histogram_bounds_ns[HISTOGRAM_BUCKETS - 1];

/* The bucket that a duration is in, sought from the lowest on: short ones are the most by far. */
static __always_inline __u32 bucket_of(__u64 duration_ns)
{
	__u32 bucket = 0;

	while (bucket < HISTOGRAM_BUCKETS - 1 && duration_ns > histogram_bounds_ns[bucket])
		bucket++;
	return bucket;
}

/* The compiler forgets that a bucket is below 32; verifiers must see it. */
static __always_inline __u64 *count_of(struct histogram *histogram, __u64 duration_ns)
{
	return &histogram->counts[bucket_of(duration_ns) & (HISTOGRAM_BUCKETS - 1)];
}

static __always_inline void observe(struct histogram *histogram, __u64 duration_ns)
{
	__sync_fetch_and_add(count_of(histogram, duration_ns), 1);
	__sync_fetch_and_add(&histogram->sum_ns, duration_ns);
}

/* The same where nothing else counts meanwhile, as in a map of each CPU: atomic operations would be in vain. */
static __always_inline void observe_alone(struct histogram *histogram, __u64 duration_ns)
{
	*count_of(histogram, duration_ns) += 1;
	histogram->sum_ns += duration_ns;
}
