// A small network for tests that go rule by rule: tenant blue, VNI 100, with ports web and db, and how to read its
// rules.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/model.hpp"
#include "tc/model/packet.hpp"
#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {

// The ports' devices, where all ports are there.
inline constexpr IfIndex kWeb{10};
inline constexpr IfIndex kDb{11};

config::Config blue_with_two_ports();
void add_public(config::Config& config, std::optional<Vid> vlan = {});
constexpr uint32_t blue(Group group, Lane lane = Lane::guest) { return chain_number(lane, group, Vni(100)); }

// The rules of one chain as text without their place: match and actions.
std::vector<std::string> chain_text(const RuleSet& rules, IfIndex device, uint32_t chain);
// Null: there is none.
const CompiledRule* routed_to(const RuleSet& rules, IfIndex device, uint32_t chain, const char* to);
model::Packet guest_packet(uint8_t from, const char* to);

}  // namespace sepal::tc
