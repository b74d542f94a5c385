// See judge.hpp. An LPM trie is stood in for by one hash table over all prefixes, asked for each length in use.
#include "policy/judge.hpp"

#include <algorithm>
#include <bitset>
#include <cstring>
#include <functional>
#include <string_view>
#include <unordered_map>

namespace {

// Keys have no padding: bytes are values.
template <typename Key>
struct HashBytes {
  size_t operator()(const Key& key) const {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(&key), sizeof key});
  }
};
template <typename Key>
struct SameBytes {
  bool operator()(const Key& a, const Key& b) const { return std::memcmp(&a, &b, sizeof a) == 0; }
};
template <typename Key, typename Value>
using ByBytes = std::unordered_map<Key, Value, HashBytes<Key>, SameBytes<Key>>;

}  // namespace

struct sepal_policy_tables {
  ByBytes<sepal_prefix_key, sepal_prefix_value> prefixes;
  ByBytes<sepal_choice_key, sepal_choice_value> choices;
  std::bitset<129> lengths[3];  // in use: IPv4, IPv6, ports
};

static const sepal_prefix_value* sepal_look_up_prefix(const sepal_policy_tables* tables, const sepal_prefix_key* key) {
  const auto& lengths = tables->lengths[std::min<uint32_t>(key->table, SEPAL_TABLE_PORTS)];
  sepal_prefix_key shorter = *key;
  for (uint32_t bits = key->prefix_bits - SEPAL_PREFIX_FIXED_BITS + 1; bits-- > 0;) {
    const uint32_t byte = bits / 8;
    if (byte < sizeof shorter.bytes) {
      shorter.bytes[byte] = static_cast<uint8_t>(shorter.bytes[byte] & ~(0xffU >> bits % 8));
    }
    if (!lengths.test(bits)) continue;
    shorter.prefix_bits = SEPAL_PREFIX_FIXED_BITS + bits;
    const auto found = tables->prefixes.find(shorter);
    if (found != tables->prefixes.end()) return &found->second;
  }
  return nullptr;
}

static const sepal_choice_value* sepal_look_up_choice(const sepal_policy_tables* tables, const sepal_choice_key* key) {
  const auto found = tables->choices.find(*key);
  return found == tables->choices.end() ? nullptr : &found->second;
}

#include "bpf/policy.h"

namespace sepal::policy {

struct Judge::Index : sepal_policy_tables {};

Judge::Judge(const Tables& tables) : index_(std::make_unique<Index>()) {
  index_->prefixes.reserve(tables.prefixes.size());
  index_->choices.reserve(tables.choices.size());
  for (const PrefixEntry& entry : tables.prefixes) {
    index_->prefixes.emplace(entry.key, entry.value);
    index_->lengths[std::min<uint32_t>(entry.key.table, SEPAL_TABLE_PORTS)].set(entry.key.prefix_bits -
                                                                                SEPAL_PREFIX_FIXED_BITS);
  }
  for (const ChoiceEntry& entry : tables.choices) index_->choices.emplace(entry.key, entry.value);
}
Judge::~Judge() = default;
Judge::Judge(Judge&&) noexcept = default;
Judge& Judge::operator=(Judge&&) noexcept = default;

Verdict Judge::judge(const Flow& flow) const {
  sepal_flow packet{};
  std::copy(flow.source.bytes.begin(), flow.source.bytes.end(), packet.source);
  std::copy(flow.destination.bytes.begin(), flow.destination.bytes.end(), packet.destination);
  packet.is_ipv6 = flow.source.is_v4() ? 0 : 1;
  packet.protocol = flow.protocol;
  packet.detail[0] = static_cast<uint8_t>(flow.detail >> 8U);
  packet.detail[1] = static_cast<uint8_t>(flow.detail & 0xffU);
  const sepal_verdict said = sepal_judge(index_.get(), &packet, flow.from_peer ? 1 : 0);
  auto side = [&said](sepal_direction direction) {
    return Side{said.sides[direction].rule, said.sides[direction].enforced_rule};
  };
  return {side(SEPAL_EGRESS), side(SEPAL_INGRESS), said.allowed != 0};
}

uint8_t event_of(const Verdict& verdict) {
  sepal_verdict said{};
  said.sides[SEPAL_EGRESS] = {verdict.egress.rule, verdict.egress.enforced_rule};
  said.sides[SEPAL_INGRESS] = {verdict.ingress.rule, verdict.ingress.enforced_rule};
  said.allowed = verdict.allowed ? 1 : 0;
  return sepal_event_of(&said);
}

uint32_t telling_rule(const Side& side) {
  const sepal_side said{side.rule, side.enforced_rule};
  return sepal_telling_rule(&said);
}

}  // namespace sepal::policy
