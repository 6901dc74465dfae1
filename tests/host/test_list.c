/*
 * test_list.c - lib/list.h against an array.
 */
#include <string.h>

#include "check.h"
#include "lib/list.h"

#define NR_ITEMS 16
#define NR_LISTS 3

struct item {
	int number;
	struct list link;
};

static struct item items[NR_ITEMS];
static struct list lists[NR_LISTS];

/* The model: for each list the numbers on it, in order. */
static int model[NR_LISTS][NR_ITEMS];
static int length[NR_LISTS];

static void start(void)
{
	for (int i = 0; i < NR_LISTS; i++) {
		list_init(&lists[i]);
		length[i] = 0;
	}
	for (int i = 0; i < NR_ITEMS; i++) {
		items[i].number = i;
		list_init(&items[i].link);
	}
}

static void model_insert(int list, int at, int number)
{
	memmove(&model[list][at + 1], &model[list][at], (size_t)(length[list] - at) * sizeof(int));
	model[list][at] = number;
	length[list]++;
}

static void model_remove(int number)
{
	for (int list = 0; list < NR_LISTS; list++) {
		for (int i = 0; i < length[list]; i++) {
			if (model[list][i] != number)
				continue;
			length[list]--;
			memmove(&model[list][i], &model[list][i + 1],
				(size_t)(length[list] - i) * sizeof(int));
			return;
		}
	}
}

static void compare(void)
{
	for (int list = 0; list < NR_LISTS; list++) {
		struct item *item;
		int n = 0;

		list_for_each_entry (item, &lists[list], link) {
			CHECK(n < length[list]);
			CHECK_EQ(item->number, model[list][n++]);
		}
		CHECK_EQ(n, length[list]);
		CHECK_EQ(list_empty(&lists[list]), n == 0);
		CHECK((list_first(&lists[list]) == NULL) == (n == 0));
		if (n > 0)
			CHECK_EQ(list_last_entry(&lists[list], struct item, link)->number,
				model[list][n - 1]);
	}
}

TEST(random_operations_against_an_array)
{
	start();
	for (u64 round = 0; round < check_rounds(50000); round++) {
		int number = (int)check_below(NR_ITEMS), to = (int)check_below(NR_LISTS);
		struct list *link = &items[number].link;
		bool front = check_below(2);

		model_remove(number);
		switch (check_below(4)) {
		case 0:
			list_del(link);
			break;
		case 1:
			list_del(link);
			(front ? list_add : list_add_tail)(link, &lists[to]);
			model_insert(to, front ? 0 : length[to], number);
			break;
		case 2:
			(front ? list_move : list_move_tail)(link, &lists[to]);
			model_insert(to, front ? 0 : length[to], number);
			break;
		case 3:
			list_del(link);
			if (check_below(20) == 0) {
				int from = (to + 1) % NR_LISTS;

				list_splice_tail(&lists[from], &lists[to]);
				for (int i = 0; i < length[from]; i++)
					model_insert(to, length[to], model[from][i]);
				length[from] = 0;
			}
		}
		compare();
	}
}

TEST(a_list_may_be_emptied_while_it_is_walked)
{
	struct item *item, *tmp;
	int n = 0;

	start();
	for (int i = 0; i < NR_ITEMS; i++)
		list_add_tail(&items[i].link, &lists[0]);
	list_for_each_entry_safe (item, tmp, &lists[0], link) {
		CHECK_EQ(item->number, n++);
		list_del(&item->link);
		memset(&item->link, 0xff, sizeof(item->link));
	}
	CHECK_EQ(n, NR_ITEMS);
	CHECK(list_empty(&lists[0]));
	CHECK(list_first_entry_or_null(&lists[0], struct item, link) == NULL);
}

TEST(static_heads)
{
	static struct list head = LIST_INIT(head);

	CHECK(list_empty(&head));
}

TEST(broken_links_are_noticed)
{
	start();
	list_add_tail(&items[0].link, &lists[0]);
	list_add_tail(&items[1].link, &lists[0]);
	list_del(&items[1].link);
	list_del(&items[1].link); /* allowed: it stands alone */
	list_add_tail(&items[1].link, &lists[0]);

	CHECK_PANICS("list", items[0].link.next = &items[5].link; list_del(&items[0].link));
	CHECK_PANICS("list", items[1].link.prev = &items[5].link; list_del(&items[0].link));
	CHECK_PANICS("list", lists[0].next = &items[5].link; list_del(&items[0].link));
	CHECK_PANICS("list", items[0].link.prev = NULL; list_add(&items[2].link, &lists[0]));
	CHECK_PANICS("list", lists[0].next = &items[1].link;
		     list_add_tail(&items[2].link, &lists[0]); list_add(&items[3].link, &lists[0]));
	CHECK_PANICS("list", items[1].link.next = NULL; list_splice_tail(&lists[0], &lists[1]));
}
