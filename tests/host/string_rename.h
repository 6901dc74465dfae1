/*
 * string_rename.h - lib/string.c beside the C library: its own memcpy and so on get other names.
 *
 * Included in front of lib/string.c by the Makefile, and by test_string.c after <string.h>.
 */
#ifndef STRING_RENAME_H
#define STRING_RENAME_H

#define memcpy  pagoda_memcpy
#define memmove pagoda_memmove
#define memset  pagoda_memset
#define memcmp  pagoda_memcmp
#define memchr  pagoda_memchr
#define strlen  pagoda_strlen
#define strcmp  pagoda_strcmp
#define strncmp pagoda_strncmp
#define strchr  pagoda_strchr
#define strrchr pagoda_strrchr
#define strstr  pagoda_strstr

#endif
