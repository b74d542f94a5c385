// SPDX-License-Identifier: GPL-2.0
/*
 * A NIC with an eSwitch that exists only here: for tests of what programs such NICs, in a virtual machine, never on
 * a machine that matters. README.md tells what it does and what it cannot.
 */
#include <linux/module.h>

#include "esim.h"

static unsigned int cards = 1;
module_param(cards, uint, 0444);
MODULE_PARM_DESC(cards, "NICs, each in a PCI domain of its own");

unsigned int esim_pfs = 1;
module_param_named(pfs, esim_pfs, uint, 0444);
MODULE_PARM_DESC(pfs, "ports (physical functions) per NIC");

unsigned int esim_max_vfs = 64;
module_param_named(max_vfs, esim_max_vfs, uint, 0444);
MODULE_PARM_DESC(max_vfs, "VFs per physical function");

bool esim_kernel_limits = true;
module_param_named(kernel_limits, esim_kernel_limits, bool, 0444);
MODULE_PARM_DESC(kernel_limits, "refuse what mlx5 is built without on a kernel like this one");

struct workqueue_struct *esim_wq;
static LIST_HEAD(all_cards);

static void destroy_cards(void)
{
	struct esim_card *card, *next;

	list_for_each_entry_safe (card, next, &all_cards, list) {
		list_del(&card->list);
		esim_card_destroy(card);
	}
}

static int __init esim_init(void)
{
	unsigned int i;
	int err;

	if (!cards || cards > 8 || !esim_pfs || esim_pfs > 4 || esim_max_vfs > ESIM_MAX_VFS ||
	    8 + esim_pfs * esim_max_vfs > 256)
		return -EINVAL;
	esim_wq = alloc_workqueue(ESIM_NAME, WQ_UNBOUND, 0);
	if (!esim_wq)
		return -ENOMEM;
	esim_debugfs_init();
	esim_restart_enable(true);
	err = pci_register_driver(&esim_pci_driver);
	if (err)
		goto undo;
	for (i = 0; i < cards; i++) {
		struct esim_card *card = esim_card_create(i);

		if (IS_ERR(card)) {
			err = PTR_ERR(card);
			destroy_cards();
			pci_unregister_driver(&esim_pci_driver);
			goto undo;
		}
		list_add_tail(&card->list, &all_cards);
	}
	return 0;
undo:
	esim_restart_enable(false);
	esim_debugfs_exit();
	destroy_workqueue(esim_wq);
	return err;
}

static void __exit esim_exit(void)
{
	destroy_cards();
	pci_unregister_driver(&esim_pci_driver);
	esim_restart_enable(false);
	esim_debugfs_exit();
	/* What waits for a grace period is queued only after it. */
	rcu_barrier();
	destroy_workqueue(esim_wq);
}

module_init(esim_init);
module_exit(esim_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("simulated NIC with an eSwitch, for tests");
