// act_bpf with an eBPF program: in goes a descriptor and a name of our choice, out come that name, the program's id and
// its tag. Governed by linux/tc_act/tc_bpf.h and net/sched/act_bpf.c.
#include <linux/tc_act/tc_bpf.h>

#include <algorithm>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {

void encode_bpf(netlink::MessageBuilder& message, const Bpf& bpf, int program_fd, const Common& common) {
  const auto parms = with<tc_act_bpf>(common);
  message.put_bytes(TCA_ACT_BPF_PARMS, &parms, sizeof parms);
  message.put_u32(TCA_ACT_BPF_FD, static_cast<uint32_t>(program_fd));
  message.put_string(TCA_ACT_BPF_NAME, bpf.name);
}

Result<DecodedKind> decode_bpf(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_ACT_BPF_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  const auto parms = attrs->parms<tc_act_bpf>(TCA_ACT_BPF_PARMS);
  Bpf bpf;
  bpf.name = attrs->string(TCA_ACT_BPF_NAME);
  bpf.verdict = verdict_from_wire(parms.action);
  if (attrs->has(TCA_ACT_BPF_TAG)) {  // a request has none
    const auto tag = attrs->bytes(TCA_ACT_BPF_TAG);
    if (tag.size() != bpf.tag.size()) return malformed_options("bpf");
    std::copy(tag.begin(), tag.end(), bpf.tag.begin());
  }
  if (attrs->malformed()) return malformed_options("bpf");
  const Common common = common_of(parms);
  // Classic BPF comes as its instructions.
  if (!attrs->only({TCA_ACT_BPF_PARMS, TCA_ACT_BPF_TM, TCA_ACT_BPF_PAD, TCA_ACT_BPF_FD, TCA_ACT_BPF_NAME,
                    TCA_ACT_BPF_TAG, TCA_ACT_BPF_ID})) {
    return not_modelled("bpf", common, attrs->unknown());
  }
  return DecodedKind{std::move(bpf), common, attrs->unknown()};
}

}  // namespace sepal::tc
