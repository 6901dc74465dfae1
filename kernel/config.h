/*
 * config.h - the choices made at build time, as constants.                             floor 0
 *
 * The Makefile passes -DCONFIG_DEBUG=1 for DEBUG=1. Code asks `if (CONFIG_DEBUG)`, never #ifdef, so
 * that both sides are always compiled.
 */
#ifndef CONFIG_H
#define CONFIG_H

#ifndef CONFIG_DEBUG
#define CONFIG_DEBUG 0
#endif

#define CONFIG_CHECKS CONFIG_DEBUG /* DCHECK(), lock classes, poison on free */
#define CONFIG_INJECT                                                                              \
	CONFIG_DEBUG /* injection points: failing allocations, skipped flushes, delays */

/* Mistakes that can be switched on: seeded.h. The Makefile passes 1 for the kernel of a debug build. */
#ifndef CONFIG_SEEDED
#define CONFIG_SEEDED 0
#endif

#define MAX_CPUS 16

#define PAGODA_VERSION "0.1"

#ifdef __clang__
#define PAGODA_COMPILER __VERSION__
#else
#define PAGODA_COMPILER "gcc " __VERSION__
#endif

#endif
