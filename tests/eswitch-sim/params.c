// SPDX-License-Identifier: GPL-2.0
/*
 * devlink parameters by mlx5's names: flow_steering_mode (dmfs, smfs) and esw_port_metadata, with the contract's
 * refusals (§1.9). Both are runtime parameters.
 */
#include "esim.h"

enum {
	PARAM_STEERING = DEVLINK_PARAM_GENERIC_ID_MAX + 1,
	PARAM_METADATA,
};

static bool is_switchdev(struct devlink *devlink)
{
	struct esim_pf *pf = devlink_priv(devlink);

	return pf->mode == DEVLINK_ESWITCH_MODE_SWITCHDEV;
}

static int steering_get(struct devlink *devlink, u32 id, struct devlink_param_gset_ctx *ctx)
{
	struct esim_pf *pf = devlink_priv(devlink);

	strscpy(ctx->val.vstr, pf->smfs && pf->caps.smfs ? "smfs" : "dmfs", sizeof(ctx->val.vstr));
	return 0;
}

static int steering_set(struct devlink *devlink, u32 id, struct devlink_param_gset_ctx *ctx ESIM_PARAM_SET_EXTACK)
{
	struct esim_pf *pf = devlink_priv(devlink);

	pf->smfs = !strcmp(ctx->val.vstr, "smfs");
	esim_ring_add(pf->journal, "flow_steering_mode value=%s", pf->smfs ? "smfs" : "dmfs");
	return 0;
}

static int steering_validate(struct devlink *devlink, u32 id, union devlink_param_value value,
			     struct netlink_ext_ack *extack)
{
	struct esim_pf *pf = devlink_priv(devlink);

	if (!strcmp(value.vstr, "dmfs"))
		return 0;
	if (strcmp(value.vstr, "smfs"))
		return ESIM_REFUSE(extack, EINVAL, "Bad parameter: supported values are [\"dmfs\", \"smfs\"]");
	if (!pf->caps.smfs)
		return ESIM_REFUSE(extack, EOPNOTSUPP, "Software managed steering is not supported by current device");
	if (is_switchdev(devlink))
		return ESIM_REFUSE(extack, EOPNOTSUPP,
				   "Software managed steering is not supported when eswitch offloads enabled.");
	return 0;
}

static int metadata_get(struct devlink *devlink, u32 id, struct devlink_param_gset_ctx *ctx)
{
	struct esim_pf *pf = devlink_priv(devlink);

	ctx->val.vbool = pf->port_metadata;
	return 0;
}

static int metadata_set(struct devlink *devlink, u32 id, struct devlink_param_gset_ctx *ctx ESIM_PARAM_SET_EXTACK)
{
	struct esim_pf *pf = devlink_priv(devlink);

	pf->port_metadata = ctx->val.vbool;
	esim_ring_add(pf->journal, "esw_port_metadata value=%d", pf->port_metadata);
	return 0;
}

static int metadata_validate(struct devlink *devlink, u32 id, union devlink_param_value value,
			     struct netlink_ext_ack *extack)
{
	if (is_switchdev(devlink))
		return ESIM_REFUSE(extack, EBUSY, "E-Switch must either disabled or non switchdev mode");
	return 0;
}

static const struct devlink_param params[] = {
	DEVLINK_PARAM_DRIVER(PARAM_STEERING, "flow_steering_mode", DEVLINK_PARAM_TYPE_STRING,
			     BIT(DEVLINK_PARAM_CMODE_RUNTIME), steering_get, steering_set, steering_validate),
	DEVLINK_PARAM_DRIVER(PARAM_METADATA, "esw_port_metadata", DEVLINK_PARAM_TYPE_BOOL,
			     BIT(DEVLINK_PARAM_CMODE_RUNTIME), metadata_get, metadata_set, metadata_validate),
};

int esim_params_register(struct esim_pf *pf)
{
	return devlink_params_register(pf->devlink, params, ARRAY_SIZE(params));
}

void esim_params_unregister(struct esim_pf *pf)
{
	devlink_params_unregister(pf->devlink, params, ARRAY_SIZE(params));
}
