// SPDX-License-Identifier: GPL-2.0
/*
 * The PCI functions: a PF's probe makes the eswitch, a VF's the guest's netdev; the number of VFs is set here.
 * PF and VF share one driver, so that unbinding, driver_override and autoprobe work on both.
 */
#include "esim.h"

static void pf_objects_init(struct esim_pf *pf)
{
	int i;

	init_rwsem(&pf->mode_sem);
	mutex_init(&pf->rules_lock);
	mutex_init(&pf->encap_lock);
	spin_lock_init(&pf->ct_lock);
	INIT_LIST_HEAD(&pf->rules);
	INIT_LIST_HEAD(&pf->tunnels);
	INIT_LIST_HEAD(&pf->meters);
	INIT_LIST_HEAD(&pf->ct_zones);
	INIT_LIST_HEAD(&pf->encaps);
	INIT_LIST_HEAD(&pf->direct_blocks);
	INIT_LIST_HEAD(&pf->indirect_blocks);
	hash_init(pf->rules_by_cookie);
	hash_init(pf->rules_by_key);
	hash_init(pf->chains);
	hash_init(pf->act_stats);
	hash_init(pf->ct_by_cookie);
	hash_init(pf->ct_by_tuple);
	hash_init(pf->ct_by_translated);
	INIT_WORK(&pf->reset_work, esim_reset_fn);
	for (i = 0; i < pf->n_ports; i++) {
		pf->ports[i].pf = pf;
		pf->ports[i].number = i;
	}
	pf->mode = DEVLINK_ESWITCH_MODE_LEGACY;
	pf->encap_mode = DEVLINK_ESWITCH_ENCAP_MODE_BASIC;
	pf->smfs = true;
	pf->port_metadata = true;
	pf->carrier = true;
	pf->stats_ms = 1000;
	pf->vxlan_ports[0] = htons(4789);
	pf->limits = (struct esim_limits){.rules = 1 << 20,
					  .ct = 1 << 20,
					  .meters = 1 << 16,
					  .encaps = 1 << 16,
					  .tunnels = 4095,
					  .mappings = 65535};
	pf->caps = (struct esim_caps){.ignore_flow_level = true,
				      .reg_c1_loopback = true,
				      .modify_fwd_to_table = true,
				      .multi_fdb_encap = true,
				      .reformat_fwd_to_table = true,
				      .termination_table = true,
				      .termination_raw = true,
				      .multi_path = true,
				      .flow_meter = true,
				      .icmp_parser = true,
				      .ttl_match = true,
				      .cvlan = true,
				      .vlan_actions = true,
				      .encap = true,
				      .vni_match = true,
				      .ct = ESIM_KERNEL_CT || !esim_kernel_limits,
				      .tc = ESIM_KERNEL_TC || !esim_kernel_limits,
				      .act_stats_defect = true,
				      .smfs = true,
				      .uplink_hw_tc = true,
				      .max_modify = 32,
				      .max_encap_header = 128};
	esim_faults_init(pf);
}

static void pf_free_memory(struct esim_pf *pf)
{
	esim_ring_destroy(pf->journal);
	esim_ring_destroy(pf->trace);
	ida_destroy(&pf->tunnel_ids);
	ida_destroy(&pf->zone_ids);
	kvfree(pf->ports);
}

static int pf_probe(struct pci_dev *pdev)
{
	struct devlink *devlink = devlink_alloc(&esim_devlink_ops, sizeof(struct esim_pf), &pdev->dev);
	struct esim_pf *pf;
	int err = -ENOMEM;

	if (!devlink)
		return err;
	pf = devlink_priv(devlink);
	pf->devlink = devlink;
	pf->pdev = pdev;
	pf->card = esim_card_of(pdev);
	pf->number = PCI_FUNC(pdev->devfn);
	pf->n_ports = esim_max_vfs + 1;
	ida_init(&pf->tunnel_ids);
	ida_init(&pf->zone_ids);
	pf->ports = kvcalloc(pf->n_ports, sizeof(*pf->ports), GFP_KERNEL);
	pf->journal = esim_ring_create(8192);
	pf->trace = esim_ring_create(1024);
	if (!pf->ports || !pf->journal || !pf->trace)
		goto free;
	pf_objects_init(pf);
	err = pci_enable_device(pdev);
	if (err)
		goto free;
	pci_set_drvdata(pdev, pf);
	esim_pipeline_start(pf);
	err = esim_encap_start(pf);
	if (err)
		goto stop;
	err = esim_params_register(pf);
	if (err)
		goto stop_encap;
	devl_lock(devlink);
	err = esim_uplink_create(pf);
	devl_unlock(devlink);
	if (err)
		goto params;
	err = esim_wire_create(pf);
	if (err)
		goto uplink;
	esim_reloadable(devlink);
	devlink_register(devlink);
	esim_debugfs_create(pf);
	return 0;
uplink:
	devl_lock(devlink);
	esim_uplink_destroy(pf);
	devl_unlock(devlink);
params:
	esim_params_unregister(pf);
stop_encap:
	esim_encap_stop(pf);
stop:
	esim_pipeline_stop(pf);
	pci_disable_device(pdev);
free:
	pf_free_memory(pf);
	devlink_free(devlink);
	return err;
}

static void vfs_disable(struct esim_pf *pf)
{
	pci_disable_sriov(pf->pdev);
	devl_lock(pf->devlink);
	esim_reps_destroy(pf);
	pf->num_vfs = 0;
	devl_unlock(pf->devlink);
}

static void pf_remove(struct esim_pf *pf)
{
	debugfs_remove_recursive(pf->debugfs);
	cancel_work_sync(&pf->reset_work);
	devlink_unregister(pf->devlink);
	vfs_disable(pf);
	devl_lock(pf->devlink);
	esim_mode_legacy(pf);
	esim_uplink_destroy(pf);
	devl_unlock(pf->devlink);
	esim_far_destroy(&pf->ports[0]);
	esim_params_unregister(pf);
	esim_encap_stop(pf);
	esim_pipeline_stop(pf);
	pci_disable_device(pf->pdev);
	pf_free_memory(pf);
	devlink_free(pf->devlink);
}

static int pf_sriov_configure(struct pci_dev *pdev, int n)
{
	struct esim_pf *pf = pci_get_drvdata(pdev);
	int err = esim_fault(pf, ESIM_OP_SRIOV);

	if (err)
		goto out;
	if (!n) {
		vfs_disable(pf);
		goto out;
	}
	devl_lock(pf->devlink);
	pf->num_vfs = n;
	if (pf->mode == DEVLINK_ESWITCH_MODE_SWITCHDEV)
		err = esim_reps_create(pf, n);
	if (err)
		pf->num_vfs = 0;
	devl_unlock(pf->devlink);
	if (!err) {
		err = pci_enable_sriov(pdev, n);
		if (err)
			vfs_disable(pf);
	}
out:
	esim_ring_add(pf->journal, "sriov n=%d result=%d", n, err);
	return err ? err : n;
}

static int vf_probe(struct pci_dev *vf)
{
	struct esim_pf *pf = pci_get_drvdata(pci_physfn(vf));
	int number = pci_iov_vf_id(vf);

	if (!pf || number < 0 || number + 1 >= pf->n_ports)
		return -ENODEV;
	pci_set_drvdata(vf, &pf->ports[number + 1]);
	return esim_vf_netdev_create(&pf->ports[number + 1], vf);
}

static int esim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev->is_virtfn ? vf_probe(pdev) : pf_probe(pdev);
}

static void esim_remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn)
		esim_far_destroy(pci_get_drvdata(pdev));
	else
		pf_remove(pci_get_drvdata(pdev));
}

static const struct pci_device_id ids[] = {
	{PCI_DEVICE(ESIM_VENDOR, ESIM_PF_ID)},
	{PCI_DEVICE(ESIM_VENDOR, ESIM_VF_ID)},
	{},
};
MODULE_DEVICE_TABLE(pci, ids);

struct pci_driver esim_pci_driver = {
	.name = ESIM_NAME,
	.id_table = ids,
	.probe = esim_probe,
	.remove = esim_remove,
	.sriov_configure = pf_sriov_configure,
};
