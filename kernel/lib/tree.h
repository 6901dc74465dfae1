/*
 * tree.h - a balanced binary tree whose nodes live inside the objects                       floor 0
 *
 * The tree knows no keys: the caller walks down from `root` with its own comparison and tells
 * tree_insert_at() where it arrived.
 *
 *	struct tree_node **link = &root.root, *parent = NULL;
 *
 *	while (*link) {
 *		parent = *link;
 *		link = key < key_of(parent) ? &parent->left : &parent->right;
 *	}
 *	tree_insert_at(&root, parent, link, &object->node);
 */
#ifndef LIB_TREE_H
#define LIB_TREE_H

#include "lib/types.h"

struct tree_node {
	struct tree_node *left;
	struct tree_node *right;
	struct tree_node *parent; /* NULL: this is the root, or not in a tree */
	int height;               /* 1 for a leaf; 0: not in a tree */
};

struct tree_root {
	struct tree_node *root; /* NULL: empty */

	/*
	 * NULL, or: compute what this node says about its whole subtree (a largest gap, a sum)
	 * from the node itself and what its two children say.
	 */
	void (*augment)(struct tree_node *node);
};

/* The object that contains this node. */
#define tree_entry(node, type, member) container_of(node, type, member)

/* < 0, 0, > 0: a stands before, at, behind b. */
typedef int tree_compare(const struct tree_node *a, const struct tree_node *b);

/* Is what this node says about its subtree what augment() would say? */
typedef bool tree_augment_ok(const struct tree_node *node);

void tree_insert_at(struct tree_root *root, struct tree_node *parent, struct tree_node **link,
	struct tree_node *node);
void tree_erase(struct tree_root *root, struct tree_node *node);
void tree_augment_path(struct tree_root *root, struct tree_node *node);

struct tree_node *tree_first(const struct tree_root *root);
struct tree_node *tree_last(const struct tree_root *root);
struct tree_node *tree_next(const struct tree_node *node);
struct tree_node *tree_prev(const struct tree_node *node);

int tree_check(const struct tree_root *root, tree_compare *compare, tree_augment_ok *augment_ok);

/* tree_linked - is this node in a tree? (Its memory was zero before it was first inserted.) */
static inline bool tree_linked(const struct tree_node *node)
{
	return node->height != 0;
}

#endif
