/*
 * mempolicy.h - numbers of mbind, set_mempolicy, get_mempolicy and move_pages, with Linux's values.
 */
#ifndef ABI_MEMPOLICY_H
#define ABI_MEMPOLICY_H

#define MPOL_DEFAULT        0
#define MPOL_PREFERRED      1
#define MPOL_BIND           2
#define MPOL_INTERLEAVE     3
#define MPOL_LOCAL          4
#define MPOL_PREFERRED_MANY 5
#define MPOL_MAX            6

/* get_mempolicy */
#define MPOL_F_NODE         0x1 /* a node instead of the mode */
#define MPOL_F_ADDR         0x2 /* of the area at addr */
#define MPOL_F_MEMS_ALLOWED 0x4

/* mbind, move_pages */
#define MPOL_MF_STRICT   0x1
#define MPOL_MF_MOVE     0x2
#define MPOL_MF_MOVE_ALL 0x4 /* pages that others map, too */

#endif
