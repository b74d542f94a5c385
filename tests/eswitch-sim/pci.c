// SPDX-License-Identifier: GPL-2.0
/*
 * The virtual PCI bus: a host bridge whose configuration space is an array in memory, so that the PCI core gives the
 * card everything real: sysfs, SR-IOV, bind and unbind, remove and rescan. No BARs, no interrupts.
 */
#include <linux/vmalloc.h>

#include "esim.h"

#define FUNCTIONS   256
#define CONFIG_SIZE 4096
#define CAP_PCIE    0x40
#define CAP_SRIOV   0x100

static u8 *config_of(struct esim_card *card, unsigned int devfn)
{
	return card->config + devfn * CONFIG_SIZE;
}

static void put16(u8 *config, int at, u16 value)
{
	put_unaligned_le16(value, config + at);
}

static unsigned int first_vf(unsigned int pf)
{
	return 8 + pf * esim_max_vfs;
}

/* A VF answers only while its PF has VFs enabled and it is among them. */
static bool present(struct esim_card *card, unsigned int devfn)
{
	unsigned int pf, index;
	u8 *sriov;

	if (devfn < 8)
		return devfn < esim_pfs;
	if (!esim_max_vfs)
		return false;
	pf = (devfn - 8) / esim_max_vfs;
	index = (devfn - 8) % esim_max_vfs;
	if (pf >= esim_pfs)
		return false;
	sriov = config_of(card, pf) + CAP_SRIOV;
	return (get_unaligned_le16(sriov + PCI_SRIOV_CTRL) & PCI_SRIOV_CTRL_VFE) &&
	       index < get_unaligned_le16(sriov + PCI_SRIOV_NUM_VF);
}

struct esim_card *esim_card_of(struct pci_dev *pdev)
{
	return container_of(pdev->bus->sysdata, struct esim_card, sysdata);
}

static int config_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	struct esim_card *card = container_of(bus->sysdata, struct esim_card, sysdata);
	u8 *config = config_of(card, devfn) + where;

	if (devfn >= FUNCTIONS || !present(card, devfn)) {
		*value = ~0;
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*value = size == 1 ? *config : size == 2 ? get_unaligned_le16(config) : get_unaligned_le32(config);
	return PCIBIOS_SUCCESSFUL;
}

/* The writable parts of a function; what is written elsewhere is lost, as with read-only registers. */
static bool writable(unsigned int devfn, int at)
{
	if (at == PCI_COMMAND || at == PCI_COMMAND + 1 || at == PCI_INTERRUPT_LINE)
		return true;
	if (devfn >= 8)
		return false;
	at -= CAP_SRIOV;
	return at == PCI_SRIOV_CTRL || at == PCI_SRIOV_CTRL + 1 || at == PCI_SRIOV_NUM_VF ||
	       at == PCI_SRIOV_NUM_VF + 1 || (at >= PCI_SRIOV_SYS_PGSIZE && at < PCI_SRIOV_SYS_PGSIZE + 4);
}

static int config_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	struct esim_card *card = container_of(bus->sysdata, struct esim_card, sysdata);
	int i;

	if (devfn >= FUNCTIONS || !present(card, devfn))
		return PCIBIOS_DEVICE_NOT_FOUND;
	for (i = 0; i < size; i++)
		if (writable(devfn, where + i))
			config_of(card, devfn)[where + i] = value >> (8 * i);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_ops = {.read = config_read, .write = config_write};

static void fill_function(u8 *config, bool vf)
{
	/* A VF's IDs read as all ones; the core takes them from the PF's capability. */
	put16(config, PCI_VENDOR_ID, vf ? 0xffff : ESIM_VENDOR);
	put16(config, PCI_DEVICE_ID, vf ? 0xffff : ESIM_PF_ID);
	put16(config, PCI_STATUS, PCI_STATUS_CAP_LIST);
	put16(config, PCI_CLASS_DEVICE, PCI_CLASS_NETWORK_ETHERNET);
	put16(config, PCI_SUBSYSTEM_VENDOR_ID, ESIM_VENDOR);
	config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_NORMAL | (vf ? 0 : 0x80);
	config[PCI_CAPABILITY_LIST] = CAP_PCIE;
	config[CAP_PCIE] = PCI_CAP_ID_EXP;
	put16(config, CAP_PCIE + PCI_EXP_FLAGS, 2 | (PCI_EXP_TYPE_RC_END << 4));
	put_unaligned_le32(PCI_EXP_DEVCAP_FLR, config + CAP_PCIE + PCI_EXP_DEVCAP);
}

static void fill_sriov(u8 *config, unsigned int pf)
{
	u8 *sriov = config + CAP_SRIOV;

	put_unaligned_le32(PCI_EXT_CAP_ID_SRIOV | (1 << 16), sriov);
	put16(sriov, PCI_SRIOV_INITIAL_VF, esim_max_vfs);
	put16(sriov, PCI_SRIOV_TOTAL_VF, esim_max_vfs);
	sriov[PCI_SRIOV_FUNC_LINK] = pf;
	put16(sriov, PCI_SRIOV_VF_OFFSET, first_vf(pf) - pf);
	put16(sriov, PCI_SRIOV_VF_STRIDE, 1);
	put16(sriov, PCI_SRIOV_VF_DID, ESIM_VF_ID);
	put_unaligned_le32(0x553, sriov + PCI_SRIOV_SUP_PGSIZE);
	put_unaligned_le32(1, sriov + PCI_SRIOV_SYS_PGSIZE);
}

struct esim_card *esim_card_create(int number)
{
	struct esim_card *card = kzalloc(sizeof(*card), GFP_KERNEL);
	struct pci_host_bridge *bridge;
	unsigned int pf, vf;
	int err = -ENOMEM;

	if (!card)
		return ERR_PTR(err);
	card->number = number;
	put_unaligned_be64(0x02e5170000000000ull | number, card->switch_id);
	card->sysdata.domain = 1 + number;
	card->sysdata.node = NUMA_NO_NODE;
	card->config = vzalloc(FUNCTIONS * CONFIG_SIZE);
	if (!card->config)
		goto free_card;
	for (pf = 0; pf < esim_pfs; pf++) {
		fill_function(config_of(card, pf), false);
		if (esim_max_vfs)
			fill_sriov(config_of(card, pf), pf);
		for (vf = 0; vf < esim_max_vfs; vf++)
			fill_function(config_of(card, first_vf(pf) + vf), true);
	}
	bridge = pci_alloc_host_bridge(0);
	if (!bridge)
		goto free_config;
	bridge->sysdata = &card->sysdata;
	bridge->ops = &config_ops;
	bridge->busnr = 3;
	bridge->domain_nr = card->sysdata.domain;
	pci_lock_rescan_remove();
	err = pci_scan_root_bus_bridge(bridge);
	if (!err) {
		card->bus = bridge->bus;
		pci_bus_add_devices(card->bus);
	}
	pci_unlock_rescan_remove();
	if (!err)
		return card;
	pci_free_host_bridge(bridge);
free_config:
	vfree(card->config);
free_card:
	kfree(card);
	return ERR_PTR(err);
}

void esim_card_destroy(struct esim_card *card)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(card->bus);
	pci_remove_root_bus(card->bus);
	pci_unlock_rescan_remove();
	vfree(card->config);
	kfree(card);
}
