/*
 * test_kmalloc.c - mm/kmalloc.c: slabs, sizes, and frees that must be refused.
 */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "fake_machine.h"
#include "mm/buddy.h"
#include "mm/kmalloc.h"
#include "vmstat.h"

#define MIB (1ul << 20)

static struct kmem_cache things;

static u64 start(void)
{
	machine_start(32 * MIB, 4);
	kmem_cache_init(&things, "things", 40);
	return buddy_free_pages();
}

TEST(a_slab_comes_and_goes)
{
	u64 free = start();
	void *objects[200];

	CHECK_EQ(things.per_slab, (4096 - 96) / 40);
	for (unsigned i = 0; i < 200; i++) {
		objects[i] = kmem_cache_zalloc(&things);
		CHECK(objects[i] && ((char *)objects[i])[39] == 0);
		memset(objects[i], 0xaa, 40);
	}
	CHECK_EQ(things.nr_active, 200);
	CHECK_EQ(things.nr_slabs, 2);
	CHECK_EQ(vmstat_read(VM_nr_slab_unreclaimable), 2);
	CHECK(kmalloc_check());
	for (unsigned i = 0; i < 200; i++)
		kmem_cache_free(&things, objects[i]);
	CHECK_EQ(things.nr_slabs, 0); /* nothing stays behind */
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(kmalloc_check() && buddy_check());
}

TEST(every_size_fits_and_is_aligned)
{
	u64 free = start();

	for (u64 bytes = 0; bytes <= 8200; bytes += bytes < 300 ? 1 : 37) {
		char *p = kmalloc(bytes), *q = kmalloc(bytes);

		CHECK(p && q && p != q);
		memset(p, 1, bytes);
		memset(q, 2, bytes);
		CHECK(bytes == 0 || (p[bytes - 1] == 1 && p[0] == 1));
		CHECK(IS_ALIGNED((u64)p, 8));
		if (bytes >= 512)
			CHECK(IS_ALIGNED((u64)p, 64)); /* XSAVE wants that */
		CHECK(kmalloc_check());
		kfree(p);
		kfree(q);
	}
	CHECK_EQ(buddy_free_pages(), free);
}

TEST(large_ones_are_blocks)
{
	u64 free = start();
	char *p = kmalloc(4 * MIB), *q;

	CHECK(p && IS_ALIGNED((u64)p, PAGE_SIZE));
	memset(p, 7, 4 * MIB);
	CHECK_EQ(free - buddy_free_pages(), 1024);
	q = kzalloc(4097);
	CHECK(q && q[0] == 0 && q[4096] == 0);
	CHECK_EQ(free - buddy_free_pages(), 1026);
	CHECK(!kmalloc(4 * MIB + 1));
	CHECK(!kmalloc(~0ul));
	kfree(p);
	kfree(q);
	kfree(NULL);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(buddy_check());
}

TEST(no_memory_is_an_answer)
{
	start();
	buddy_inject_fail(1, 0);
	CHECK(!kmem_cache_alloc(&things));
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK_EQ(things.nr_active, 0);
	CHECK(kmem_cache_alloc(&things));
	buddy_inject_fail(1, -1);
	CHECK(!kzalloc(10000));
	CHECK_EQ(buddy_inject_fired, 1);
	CHECK(kmalloc_check());
}

TEST(wrong_frees_are_refused)
{
	char *a, *b, *large;
	struct page *table;

	start();
	a = kmem_cache_alloc(&things);
	b = kmem_cache_alloc(&things);
	large = kmalloc(8192);
	table = buddy_alloc(0, MIGRATE_UNMOVABLE, PAGE_TABLE, 0);
	kmem_cache_free(&things, b);
	CHECK_PANICS("kmalloc", kmem_cache_free(&things, b)); /* twice, its slab lives */
	CHECK_PANICS("kmalloc", kmem_cache_free(&things, a + 8));
	CHECK_PANICS("kmalloc", kmem_cache_free(&things, a - 96));
	CHECK_PANICS("kmalloc", kmem_cache_free(&things, kmalloc(40)));
	CHECK_PANICS("kmalloc", kfree(page_to_virt(table)));
	CHECK_PANICS("kmalloc", kfree(large + 4096));
	CHECK_PANICS("kmalloc", kfree(large + 8));
	CHECK_PANICS("kmalloc", kfree(&a)); /* on the stack */
	CHECK_PANICS("kmalloc", kfree(phys_to_virt(9)));
	kmem_cache_free(&things, a); /* the slab goes with it */
	CHECK_PANICS("kmalloc", kmem_cache_free(&things, a));
	kfree(large);
	CHECK_PANICS("kmalloc", kfree(large));
}

TEST(the_checker_names_what_is_broken)
{
	struct page *p;
	void *object;

	start();
	object = kmem_cache_alloc(&things);
	p = virt_to_page(object);
	CHECK(kmalloc_check());
	((u64 *)page_to_virt(p))[4] ^= 2; /* the first word of free bits */
	CHECK(!kmalloc_check() && machine_said("K1"));
	((u64 *)page_to_virt(p))[4] ^= 2;
	p->type = PAGE_ANON;
	CHECK(!kmalloc_check() && machine_said("K2"));
	p->type = PAGE_KERNEL;
	p->private += 8;
	CHECK(!kmalloc_check() && machine_said("K2"));
	p->private -= 8;
	things.nr_active++;
	CHECK(!kmalloc_check() && machine_said("K3"));
	things.nr_active--;
	vmstat_inc(VM_nr_slab_unreclaimable);
	CHECK(!kmalloc_check() && machine_said("K3"));
	vmstat_add(VM_nr_slab_unreclaimable, -1);
	CHECK(kmalloc_check());
}

static void count_cache(struct kmem_cache *c, void *ctx)
{
	CHECK(strlen(c->name) > 2);
	CHECK(c->per_slab * c->size <= PAGE_SIZE << c->slab_order);
	++*(unsigned *)ctx;
}

TEST(slabinfo_sees_every_cache)
{
	unsigned n = 0;

	start();
	kmem_cache_for_each(count_cache, &n);
	CHECK_EQ(n, 12);
}

/* Each object is filled with its own byte; nobody may write into another's. */
TEST(random_sizes_against_a_model)
{
	static struct {
		u8 *p;
		u64 bytes;
		u8 fill;
	} model[300];
	u64 free = start();

	for (u64 step = 0; step < check_rounds(8000); step++) {
		u64 i = check_below(ARRAY_SIZE(model));

		machine_cpu = check_below(4);
		if (!model[i].p) {
			model[i].bytes = check_below(check_below(20) ? 3000 : 100000);
			model[i].fill = step;
			model[i].p = kmalloc(model[i].bytes);
			if (model[i].p)
				memset(model[i].p, model[i].fill, model[i].bytes);
			continue;
		}
		for (u64 n = 0; n < model[i].bytes; n++)
			CHECK_EQ(model[i].p[n], model[i].fill);
		kfree(model[i].p);
		model[i].p = NULL;
		if (step % 16 == 0)
			CHECK(kmalloc_check());
	}
	for (u64 i = 0; i < ARRAY_SIZE(model); i++)
		kfree(model[i].p);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(kmalloc_check() && buddy_check());
}

static void *allocate_and_free(void *arg)
{
	void *mine[40] = {NULL};

	machine_cpu = (u64)arg;
	for (u64 i = 0; i < 20000; i++) {
		void **slot = &mine[i * 7 % 40];

		if (*slot)
			kmem_cache_free(&things, *slot);
		*slot = kmem_cache_alloc(&things);
		CHECK(*slot);
		memset(*slot, (int)(u64)arg, 40);
	}
	for (u64 i = 0; i < 40; i++)
		kmem_cache_free(&things, mine[i]);
	return NULL;
}

TEST(four_cpus_share_a_cache)
{
	pthread_t threads[4];
	u64 free = start();

	for (u64 i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, allocate_and_free, (void *)i), 0);
	for (u64 i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(things.nr_active, 0);
	CHECK_EQ(buddy_free_pages(), free);
	CHECK(kmalloc_check() && buddy_check());
}
