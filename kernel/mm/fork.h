/*
 * fork.h - a copy of a space that shares its pages until one side writes.                     floor 5
 */
#ifndef MM_FORK_H
#define MM_FORK_H

#include "mm/mm.h"

/*
 * fork_mm - clone every area and entry; both sides become read-only; a huge page stays huge on both.
 *   locks    none held; takes parent->lock for writing
 *   returns  the child's space (users 1), or NULL: no memory, nothing changed for the parent but write-protection
 *   Linux    dup_mmap, copy_page_range, copy_huge_pmd
 */
struct mm *fork_mm(struct mm *parent) __must_check;

#endif
