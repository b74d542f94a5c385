// Filters of the running kernel through the codec: dump, get one, encode a write. The one place of the agent where
// rules meet bytes.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/kernel.hpp"
#include "agent/shared_actions.hpp"
#include "tc/codec/terse.hpp"
#include "tc/rule/rule.hpp"

namespace sepal::agent {

struct Filter {
  tc::Rule rule;
  tc::RuleState state;
  std::string kind;  // "flower"; of other kinds only place and kind are known
};

// All filters of a device's clsact ingress, or of one chain of it, in full. An interrupted dump is repeated a few
// times; then Errc::resync.
Result<std::vector<Filter>> dump_filters(netlink::Transport& route, IfIndex device,
                                         std::optional<uint32_t> chain = std::nullopt);

enum class Detail : uint8_t { terse, full };
// Places and cookies of the same filters, from either kind of dump. `restart` forgets what came of an interrupted one.
Result<void> dump_places(netlink::Transport& route, IfIndex device, Detail detail, const std::function<void()>& restart,
                         const std::function<void(const tc::TerseFilter&)>& sink);

// nullopt: there is none.
Result<std::optional<Filter>> get_filter(netlink::Transport& route, const tc::RuleId& id);

// only_in_hardware: skip_sw, which the kernel refuses with the driver's own errno.
enum class Write : uint8_t { add, replace, only_in_hardware };
// `shared`: where the objects are that the rule refers to; null: it refers to none.
Result<void> append_write(netlink::Bytes& requests, Write write, const tc::Rule& rule, const tc::Cookie& cookie,
                          SlowPath& slow_path, const SharedActions* shared = nullptr);
Result<void> append_removal(netlink::Bytes& requests, const tc::RuleId& id);

// "veth0 chain 0x2000064 prio 1 handle 0x5 flower"
std::string describe_place(const std::string& device, const tc::RuleId& id, std::string_view kind);

}  // namespace sepal::agent
