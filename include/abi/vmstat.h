/*
 * vmstat.h - every counter of /proc/vmstat, in the order it is printed, under Linux's names.
 *
 * One list, expanded wherever a counter is declared or printed. GAUGES rise and fall and count
 * pages (or huge pages where the name says so); EVENTS only rise. Counters of mechanisms that
 * refuse by a named reason and that Linux does not have carry the prefix khugepaged_.
 */
#ifndef ABI_VMSTAT_H
#define ABI_VMSTAT_H

#define VMSTAT_GAUGES(X)                                                                           \
	X(nr_anon_pages)                 /* anonymous pages mapped, in 4 KiB pages */              \
	X(nr_page_table_pages)           /* table frames, deposited ones included */               \
	X(nr_kernel_stack)               /* KiB of kernel stacks */                                \
	X(nr_active_anon)                /* pages on the active anonymous LRU, in 4 KiB pages */   \
	X(nr_inactive_anon)              /* pages on the inactive anonymous LRU */                 \
	X(nr_isolated_anon)              /* pages taken off the LRU by collapse or migration */    \
	X(nr_slab_unreclaimable)         /* pages of kmalloc caches */                             \
	X(nr_shmem)                      /* pages of memory objects */                             \
	X(nr_shmem_hugepages)            /* huge pages of memory objects */                        \
	X(nr_anon_transparent_hugepages) /* huge pages mapped by a pmd at least once */            \
	X(nr_thp_1g)                     /* leaves of 1 GiB */                                     \
	X(nr_thp_prezeroed)              /* free huge pages that were cleared in advance */

#define VMSTAT_EVENTS(X)                                                                           \
	X(pgalloc_dma32)                                                                           \
	X(pgalloc_normal)                                                                          \
	X(pgfree)                                                                                  \
	X(pgfault)                                                                                 \
	X(pgmajfault)                                                                              \
	X(pglazyfree)                                                                              \
	X(pglazyfreed)                                                                             \
	X(pgreuse)                                                                                 \
	X(pgmigrate_success)                                                                       \
	X(pgmigrate_fail)                                                                          \
	X(thp_migration_success)                                                                   \
	X(thp_migration_fail)                                                                      \
	X(thp_migration_split)                                                                     \
	X(compact_migrate_scanned)                                                                 \
	X(compact_free_scanned)                                                                    \
	X(compact_isolated)                                                                        \
	X(compact_stall)                                                                           \
	X(compact_fail)                                                                            \
	X(compact_success)                                                                         \
	X(compact_daemon_wake)                                                                     \
	X(compact_daemon_migrate_scanned)                                                          \
	X(compact_daemon_free_scanned)                                                             \
	X(oom_kill)                                                                                \
	X(numa_pte_updates)                                                                        \
	X(numa_huge_pte_updates)                                                                   \
	X(numa_hint_faults)                                                                        \
	X(numa_hint_faults_local)                                                                  \
	X(numa_pages_migrated)                                                                     \
	X(thp_fault_alloc)                                                                         \
	X(thp_fault_fallback)                                                                      \
	X(thp_fault_fallback_charge)                                                               \
	X(thp_collapse_alloc)                                                                      \
	X(thp_collapse_alloc_failed)                                                               \
	X(thp_file_alloc)                                                                          \
	X(thp_file_fallback)                                                                       \
	X(thp_file_fallback_charge)                                                                \
	X(thp_file_mapped)                                                                         \
	X(thp_split_page)                                                                          \
	X(thp_split_page_failed)                                                                   \
	X(thp_deferred_split_page)                                                                 \
	X(thp_underused_split_page)                                                                \
	X(thp_split_pmd)                                                                           \
	X(thp_scan_exceed_none_pte)                                                                \
	X(thp_scan_exceed_swap_pte)                                                                \
	X(thp_scan_exceed_share_pte)                                                               \
	X(thp_split_pud)                                                                           \
	X(thp_zero_page_alloc)                                                                     \
	X(thp_zero_page_alloc_failed)                                                              \
	X(thp_swpout)                                                                              \
	X(thp_swpout_fallback)                                                                     \
	X(thp_wp_copy)           /* 2 MiB copied by a write fault (cow=copy) */                    \
	X(thp_wp_fallback)       /* wp_huge_pmd split and copied 4 KiB instead */                  \
	X(thp_wp_reuse)          /* the last owner wrote: made writable in place */                \
	X(thp_fault_alloc_1g)    /* faults that got 1 GiB */                                       \
	X(thp_fault_fallback_1g) /* faults that may have 1 GiB and found none */                   \
	X(thp_fault_deferred_1g) /* ... and did not work for one: that has failed lately */        \
	X(contig_alloc_success)  /* ranges above the largest block that were made free */          \
	X(contig_alloc_fail)     /* and those that could not be */                                 \
	X(thp_prezeroed)         /* huge pages cleared by an idle CPU */                           \
	X(thp_prezero_alloc)     /* faults that got one of them */                                 \
	X(thp_prezero_miss)      /* faults that found none while prezero was on */                 \
	X(tlb_shootdown)         /* flushes that had to ask another CPU */                         \
	X(fault_overlap) /* faults that cleared memory while another fault of the same space did */

enum vm_stat {
#define X(name) VM_##name,
	VMSTAT_GAUGES(X)
	VMSTAT_EVENTS(X)
#undef X
		NR_VM_STATS
};

#endif
