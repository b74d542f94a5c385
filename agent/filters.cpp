// The codec applied to the transport.
#include "agent/filters.hpp"

#include <cstdio>

#include "tc/codec/flower.hpp"

namespace sepal::agent {
namespace {

Result<void> keep_filter(netlink::BytesView message, std::vector<Filter>& filters) {
  auto decoded = tc::decode_filter(message);
  if (!decoded) return Unexpected(decoded.error());
  if (!decoded->is_head())
    filters.push_back({std::move(decoded->rule), std::move(decoded->state), std::move(decoded->kind)});
  return {};
}

}  // namespace

Result<std::vector<Filter>> dump_filters(netlink::Transport& route, IfIndex device, std::optional<uint32_t> chain) {
  netlink::Bytes request;
  if (auto put = tc::encode_dump(request, device, chain, false); !put) return Unexpected(put.error());
  std::vector<Filter> filters;
  auto dumped = netlink::dump_whole(
      route, request, [&filters] { filters.clear(); },
      [&filters](netlink::BytesView message) { return keep_filter(message, filters); });
  if (!dumped) return Unexpected(dumped.error());
  return filters;
}

Result<void> dump_places(netlink::Transport& route, IfIndex device, Detail detail, const std::function<void()>& restart,
                         const std::function<void(const tc::TerseFilter&)>& sink) {
  netlink::Bytes request;
  if (auto put = tc::encode_dump(request, device, std::nullopt, detail == Detail::terse); !put) return put;
  return netlink::dump_whole(route, request, restart, [&sink](netlink::BytesView message) -> Result<void> {
    auto decoded = tc::decode_terse(message);
    if (!decoded) return Unexpected(decoded.error());
    if (!decoded->is_head()) sink(*decoded);
    return {};
  });
}

Result<std::optional<Filter>> get_filter(netlink::Transport& route, const tc::RuleId& id) {
  netlink::Bytes request;
  if (auto put = tc::encode_get(request, id); !put) return Unexpected(put.error());
  std::vector<Filter> filters;
  auto got =
      route.get(std::move(request), [&filters](netlink::BytesView message) { return keep_filter(message, filters); });
  if (!got && got.error().code == Errc::not_found) return std::optional<Filter>();
  // The kernel says EINVAL when the priority belongs to another kind or protocol: not this filter, then.
  if (!got && got.error().code != Errc::resync) return std::optional<Filter>();
  if (!got) return Unexpected(got.error());
  if (filters.empty()) return std::optional<Filter>();
  return std::optional<Filter>(std::move(filters.front()));
}

Result<void> append_write(netlink::Bytes& requests, Write write, const tc::Rule& rule, const tc::Cookie& cookie,
                          SlowPath& slow_path, const SharedActions* shared) {
  tc::EncodeContext context;
  context.program_fd = [&slow_path](const tc::Bpf& action) {
    const auto fd = slow_path.program_fd(action);
    return fd ? *fd : -1;
  };
  if (shared != nullptr) {
    context.shared = [shared](const tc::Action& action, bool skip_hw) { return shared->reference(action, skip_hw); };
  }
  // The driver tells why it will not take a rule only when asked; a rule it never sees needs no reasons.
  context.verbose = !rule.spec.skip_hw;
  context.skip_sw = write == Write::only_in_hardware;
  return tc::encode_add(requests, rule, cookie, write == Write::add ? tc::AddMode::create : tc::AddMode::replace,
                        context);
}

Result<void> append_removal(netlink::Bytes& requests, const tc::RuleId& id) { return tc::encode_delete(requests, id); }

std::string describe_place(const std::string& device, const tc::RuleId& id, std::string_view kind) {
  char numbers[80];
  std::snprintf(numbers, sizeof numbers, " chain 0x%x prio %u handle 0x%x ", id.chain, id.prio, id.handle);
  return device + numbers + std::string(kind);
}

}  // namespace sepal::agent
