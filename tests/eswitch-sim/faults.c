// SPDX-License-Identifier: GPL-2.0
/*
 * Faults on request: the next operations of a kind fail, or take their time, or keys and actions by name are refused.
 */
#include <linux/delay.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "esim.h"

const char *const esim_op_names[ESIM_N_OPS] = {
	[ESIM_OP_REPLACE] = "replace",	 [ESIM_OP_DESTROY] = "destroy",
	[ESIM_OP_STATS] = "stats",	 [ESIM_OP_CT] = "ct",
	[ESIM_OP_METER] = "meter",	 [ESIM_OP_ENCAP] = "encap",
	[ESIM_OP_MODE_SET] = "mode_set", [ESIM_OP_SRIOV] = "sriov",
	[ESIM_OP_HW_ADDR] = "hw_addr",
};

void esim_faults_init(struct esim_pf *pf)
{
	int i;

	for (i = 0; i < ESIM_N_OPS; i++)
		spin_lock_init(&pf->faults[i].lock);
}

int esim_fault(struct esim_pf *pf, enum esim_op op)
{
	struct esim_fault *fault = &pf->faults[op];
	u32 delay = READ_ONCE(fault->delay_us);
	int err = 0;

	if (delay >= 1000)
		msleep(delay / 1000);
	else if (delay)
		usleep_range(delay, delay + 10);
	spin_lock_bh(&fault->lock);
	if (fault->after) {
		fault->after--;
	} else if (fault->count) {
		fault->count--;
		err = -fault->error;
	}
	spin_unlock_bh(&fault->lock);
	return err;
}

/* Is `name` in the comma-separated list? */
bool esim_refused(struct esim_pf *pf, const char *name)
{
	size_t len = strlen(name);
	const char *at = pf->refuse;

	while ((at = strstr(at, name))) {
		if ((at == pf->refuse || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
		at += len;
	}
	return false;
}

static int fault_show(struct seq_file *s, void *unused)
{
	struct esim_fault *fault = s->private;

	seq_printf(s, "%d %d %d\n", fault->count, fault->error, fault->after);
	return 0;
}

static int fault_open(struct inode *inode, struct file *file)
{
	return single_open(file, fault_show, inode->i_private);
}

/* "count errno [after]": once `after` more have passed, the next `count` fail. */
static ssize_t fault_write(struct file *file, const char __user *buffer, size_t len, loff_t *pos)
{
	struct esim_fault *fault = ((struct seq_file *)file->private_data)->private;
	int count, error = EIO, after = 0;
	char text[64] = {};

	if (len >= sizeof(text) || copy_from_user(text, buffer, len))
		return -EINVAL;
	if (sscanf(text, "%d %d %d", &count, &error, &after) < 1 || count < 0 || error <= 0 || error > MAX_ERRNO ||
	    after < 0)
		return -EINVAL;
	spin_lock_bh(&fault->lock);
	fault->count = count;
	fault->error = error;
	fault->after = after;
	spin_unlock_bh(&fault->lock);
	return len;
}

const struct file_operations esim_fault_fops = {
	.owner = THIS_MODULE,
	.open = fault_open,
	.read = seq_read,
	.write = fault_write,
	.llseek = seq_lseek,
	.release = single_release,
};
