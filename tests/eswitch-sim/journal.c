// SPDX-License-Identifier: GPL-2.0
/*
 * Rings of lines, numbered from 1: the journal of control operations and the trace of packets. When full the oldest
 * line goes, which a reader sees by the number. Writing to the file empties it.
 */
#include <linux/seq_file.h>
#include <linux/vmalloc.h>

#include "esim.h"

#define LINE_LEN 224

struct esim_ring {
	spinlock_t lock;
	u32 n;
	u64 next, first; /* sequence numbers: the next one to write, the oldest one there */
	char (*lines)[LINE_LEN];
};

struct esim_ring *esim_ring_create(u32 n)
{
	struct esim_ring *ring = kzalloc(sizeof(*ring), GFP_KERNEL);

	if (!ring)
		return NULL;
	ring->lines = vzalloc(array_size(n, LINE_LEN));
	if (!ring->lines) {
		kfree(ring);
		return NULL;
	}
	spin_lock_init(&ring->lock);
	ring->n = n;
	ring->next = ring->first = 1;
	return ring;
}

void esim_ring_destroy(struct esim_ring *ring)
{
	if (!ring)
		return;
	vfree(ring->lines);
	kfree(ring);
}

void esim_ring_add(struct esim_ring *ring, const char *format, ...)
{
	va_list args;
	char *line;
	int len;

	spin_lock_bh(&ring->lock);
	line = ring->lines[ring->next % ring->n];
	len = scnprintf(line, LINE_LEN, "seq=%llu ", ring->next);
	va_start(args, format);
	vscnprintf(line + len, LINE_LEN - len, format, args);
	va_end(args);
	ring->next++;
	if (ring->next - ring->first > ring->n)
		ring->first++;
	spin_unlock_bh(&ring->lock);
}

/* The position is the sequence number, so that a line is never shown twice. */
static void *ring_start(struct seq_file *s, loff_t *pos)
{
	struct esim_ring *ring = s->private;
	bool any;

	spin_lock_bh(&ring->lock);
	if (*pos < ring->first)
		*pos = ring->first;
	any = *pos < ring->next;
	spin_unlock_bh(&ring->lock);
	return any ? pos : NULL;
}

static void *ring_next(struct seq_file *s, void *v, loff_t *pos)
{
	(*pos)++;
	return ring_start(s, pos);
}

static void ring_stop(struct seq_file *s, void *v)
{
}

static int ring_show(struct seq_file *s, void *v)
{
	struct esim_ring *ring = s->private;
	u64 number = *(loff_t *)v;

	spin_lock_bh(&ring->lock);
	if (number >= ring->first)
		seq_printf(s, "%s\n", ring->lines[number % ring->n]);
	spin_unlock_bh(&ring->lock);
	return 0;
}

static const struct seq_operations ring_seq = {
	.start = ring_start, .next = ring_next, .stop = ring_stop, .show = ring_show};

static int ring_open(struct inode *inode, struct file *file)
{
	int err = seq_open(file, &ring_seq);

	if (!err)
		((struct seq_file *)file->private_data)->private = inode->i_private;
	return err;
}

static ssize_t ring_write(struct file *file, const char __user *buffer, size_t len, loff_t *pos)
{
	struct esim_ring *ring = ((struct seq_file *)file->private_data)->private;

	spin_lock_bh(&ring->lock);
	ring->first = ring->next;
	spin_unlock_bh(&ring->lock);
	return len;
}

const struct file_operations esim_ring_fops = {
	.owner = THIS_MODULE,
	.open = ring_open,
	.read = seq_read,
	.write = ring_write,
	.llseek = seq_lseek,
	.release = seq_release,
};
