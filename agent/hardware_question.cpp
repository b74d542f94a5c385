// See hardware_question.hpp.
#include "agent/hardware_question.hpp"

#include "agent/filters.hpp"
#include "tc/codec/flower.hpp"
#include "tc/rule/build.hpp"

namespace sepal::agent {
namespace {

HardwareRefusal refusal_of(const tc::CompiledRule& rule, const Error& error) {
  return {rule.rule.id, rule.cookie.content, cause_of(error.sys_errno), error.sys_errno, error.ext_ack};
}

// The lightest rule there is, on the uplink: the NIC takes it unless it takes none.
tc::CompiledRule lightest(const World& world, const tc::CompiledRule& asked) {
  tc::CompiledRule rule;
  rule.rule.id = {world.facts.uplink, kSpareChain, 1, tc::kEthIpv4, 1};
  rule.rule.spec = {tc::Match().eth_type(tc::kEthIpv4), {tc::drop()}, false};
  rule.cookie = asked.cookie;
  return rule;
}

}  // namespace

tc::Rule trial_of(const tc::Rule& rule, uint32_t chain) {
  tc::Rule trial = rule;
  trial.id.chain = chain;
  trial.spec.skip_hw = false;
  for (tc::Action& action : trial.spec.actions) {
    action.shared = false;
    auto* gact = std::get_if<tc::Gact>(&action.kind);
    if (gact != nullptr && gact->verdict.control == tc::Control::goto_chain) gact->verdict.chain = chain + 1;
  }
  return trial;
}

Result<std::optional<Error>> try_in_hardware(Kernel& kernel, const tc::Rule& trial, const tc::Cookie& cookie) {
  netlink::Bytes request;
  if (auto put = append_write(request, Write::only_in_hardware, trial, cookie, kernel.slow_path); !put)
    return Unexpected(put.error());
  auto answer = netlink::transact_one(kernel.route, std::move(request));
  if (!answer && answer.error().code == Errc::resync) return Unexpected(answer.error());
  if (!answer) return std::optional(answer.error());
  if (auto withdrawn = withdraw_trial(kernel, trial.id); !withdrawn) return Unexpected(withdrawn.error());
  return std::optional<Error>();
}

Result<void> withdraw_trial(Kernel& kernel, const tc::RuleId& id) {
  netlink::Bytes request;
  if (auto put = append_removal(request, id); !put) return put;
  auto removed = netlink::transact_one(kernel.route, std::move(request));
  if (removed || removed.error().code == Errc::not_found) return {};
  return Unexpected(
      while_doing(removed.error(), "take a trial rule out of device " + std::to_string(id.device.value())));
}

Result<std::optional<HardwareRefusal>> would_refuse(Kernel& kernel, const tc::CompiledRule& rule) {
  auto said = try_in_hardware(kernel, trial_of(rule.rule, kSpareChain), rule.cookie);
  if (!said) return Unexpected(said.error());
  return *said ? std::optional(refusal_of(rule, **said)) : std::nullopt;
}

Result<std::optional<HardwareRefusal>> ask_again(Asker asker, const World& world, const tc::CompiledRule& rule) {
  Kernel& kernel = asker.kernel;
  asker.shared.want(rule.rule.spec);
  if (auto ready = asker.shared.ready(kernel.route); !ready) return Unexpected(ready.error());
  netlink::Bytes request;
  if (auto put = append_write(request, Write::replace, rule.rule, rule.cookie, kernel.slow_path, &asker.shared); !put)
    return Unexpected(put.error());
  auto remark = kernel.route.remark(std::move(request));
  if (!remark && remark.error().code == Errc::resync) return Unexpected(remark.error());
  if (!remark) return std::optional(refusal_of(rule, remark.error()));
  auto there = get_filter(kernel.route, rule.rule.id);
  if (!there) return Unexpected(there.error());
  if (*there && (*there)->state.in_hw) return std::optional<HardwareRefusal>();

  HardwareRefusal refusal{rule.rule.id, rule.cookie.content, RefusalCause::unclear, 0, std::move(*remark)};
  const bool own_port = rule.rule.id.device != world.facts.vxlan;
  if (!own_port && !refusal.words.empty()) {
    refusal.cause = RefusalCause::unsupported;  // the driver has words for what it cannot do, and none for a lack
    return std::optional(std::move(refusal));
  }
  auto errno_of = would_refuse(kernel, own_port ? rule : lightest(world, rule));
  if (!errno_of) return Unexpected(errno_of.error());
  if (*errno_of) {
    refusal.cause = (*errno_of)->cause;
    refusal.sys_errno = own_port ? (*errno_of)->sys_errno : 0;
    if (refusal.words.empty() && own_port) refusal.words = (*errno_of)->words;
  } else if (own_port) {
    refusal.cause = RefusalCause::busy;  // refused just now, taken just after
  }
  return std::optional(std::move(refusal));
}

}  // namespace sepal::agent
