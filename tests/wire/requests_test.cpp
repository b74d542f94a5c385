// iproute2's requests against ours: what a captured request means, and that encoding that meaning gives its bytes
// again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_bpf.h>
#include <linux/tc_act/tc_tunnel_key.h>

#include <cstring>
#include <map>
#include <set>

#include "tc/codec/flower.hpp"
#include "tc/codec/qdisc.hpp"
#include "tests/wire/vector.hpp"

namespace sepal::wire {
namespace {

using tc::Action;
using tc::DecodedFilter;

std::map<std::string, Vector> by_name(const std::string& folder) {
  std::map<std::string, Vector> out;
  for (Vector& vector : load_vectors(folder)) out.emplace(vector.name, vector);
  return out;
}

DecodedFilter decoded(const Vector& vector) {
  auto filter = tc::decode_filter(vector.bytes);
  EXPECT_TRUE(filter) << vector.name << ": " << filter.error().message();
  return filter ? *filter : DecodedFilter{};
}

bool is_add(const Vector& vector) {
  return vector.command.starts_with("tc filter add ") || vector.command.starts_with("tc filter replace ");
}
bool is_foreign(const Vector& vector) { return vector.name.starts_with("foreign-"); }

void clear_flags(Node& tree, uint16_t flags) {
  uint16_t value = 0;
  std::memcpy(&value, tree.children[0].payload.data() + 2, sizeof value);
  value = static_cast<uint16_t>(value & ~flags);
  std::memcpy(tree.children[0].payload.data() + 2, &value, sizeof value);
}

// What iproute2 says by habit and this codec does not, or the other way round, without another meaning:
//   - it sets NLM_F_ACK itself; here the transport does;
//   - TCA_FLOWER_FLAGS is there even when it is zero;
//   - of a port without a mask it sends none, which the kernel takes for all bits (of everything else it sends all);
//   - tunnel_key unset says NO_CSUM 0;
//   - a legacy pedit (without "ex") stays one; here it becomes an extended one relative to the network header;
//   - police: an MTU of 0, which the kernel takes for "any" with packets and for 2040 with bytes; here it is always
//   "any";
//     the table of transmission times is filled, which nothing reads.
void drop_habits(Node& tree) {
  clear_flags(tree, NLM_F_ACK);
  Node* options = tree.child(TCA_OPTIONS);
  if (options == nullptr) return;
  if (const Node* flags = options->child(TCA_FLOWER_FLAGS);
      flags != nullptr && flags->payload == std::vector<uint8_t>(4, 0)) {
    options->remove(TCA_FLOWER_FLAGS);
  }
  for (const uint16_t mask : {TCA_FLOWER_KEY_TCP_SRC_MASK, TCA_FLOWER_KEY_TCP_DST_MASK, TCA_FLOWER_KEY_UDP_SRC_MASK,
                              TCA_FLOWER_KEY_UDP_DST_MASK, TCA_FLOWER_KEY_SCTP_SRC_MASK, TCA_FLOWER_KEY_SCTP_DST_MASK,
                              TCA_FLOWER_KEY_ENC_UDP_DST_PORT_MASK}) {
    const Node* found = options->child(mask);
    if (found != nullptr && found->payload == std::vector<uint8_t>(2, 0xff)) options->remove(mask);
  }
  Node* actions = options->child(TCA_FLOWER_ACT);
  if (actions == nullptr) return;
  for (Node& action : actions->children) {
    const std::string kind = reinterpret_cast<const char*>(action.child(TCA_ACT_KIND)->payload.data());
    Node* inside = action.child(TCA_ACT_OPTIONS);
    if (kind == "tunnel_key") {
      tc_tunnel_key parms{};
      std::memcpy(&parms, inside->child(TCA_TUNNEL_KEY_PARMS)->payload.data(), sizeof parms);
      if (parms.t_action == TCA_TUNNEL_KEY_ACT_RELEASE) inside->remove(TCA_TUNNEL_KEY_NO_CSUM);
    } else if (kind == "police") {
      std::memset(inside->child(TCA_POLICE_TBF)->payload.data() + offsetof(tc_police, mtu), 0, sizeof(uint32_t));
      if (Node* table = inside->child(TCA_POLICE_RATE); table != nullptr) {
        std::fill(table->payload.begin(), table->payload.end(), uint8_t{0});
      }
    }
  }
}

// What encode_add puts on every rule of ours and iproute2 only when told: the cookie and the flag of own actions.
void drop_what_was_not_asked_for(Node& ours, Node& theirs) {
  Node* our_actions = ours.child(TCA_OPTIONS)->child(TCA_FLOWER_ACT);
  Node* their_actions = theirs.child(TCA_OPTIONS)->child(TCA_FLOWER_ACT);
  for (Node& action : our_actions->children) {
    Node* same = their_actions->child(action.type);
    if (same == nullptr) continue;
    for (const uint16_t type : {TCA_ACT_COOKIE, TCA_ACT_FLAGS}) {
      if (same->child(type) == nullptr) action.remove(type);
    }
  }
}

// The descriptor in a captured request with act_bpf.
int captured_program(Node& theirs) {
  for (Node& action : theirs.child(TCA_OPTIONS)->child(TCA_FLOWER_ACT)->children) {
    if (Node* fd = action.child(TCA_ACT_OPTIONS)->child(TCA_ACT_BPF_FD); fd != nullptr) {
      int value = -1;
      std::memcpy(&value, fd->payload.data(), sizeof value);
      return value;
    }
  }
  return -1;
}

TEST(Requests, encoding_what_a_request_of_iproute2_means_gives_its_bytes_again) {
  size_t compared = 0;
  for (const Vector& vector : load_vectors("requests")) {
    if (!is_add(vector) || is_foreign(vector) || vector.name == "pedit-legacy") continue;
    const DecodedFilter filter = decoded(vector);
    EXPECT_EQ(filter.state.unknown_attributes, 0U) << vector.command;
    Node theirs = parse_tree(vector.bytes);
    tc::EncodeContext context;
    context.program_fd = [&](const tc::Bpf&) { return captured_program(theirs); };
    const bool replace = vector.command.starts_with("tc filter replace ");
    std::vector<uint8_t> bytes;
    auto added = tc::encode_add(bytes, filter.rule, filter.state.cookie.value_or(tc::Cookie{}),
                                replace ? tc::AddMode::replace : tc::AddMode::create, context);
    ASSERT_TRUE(added) << vector.command << ": " << added.error().message();
    Node ours = parse_tree(bytes);
    drop_habits(theirs);
    drop_habits(ours);
    drop_what_was_not_asked_for(ours, theirs);
    EXPECT_EQ(to_text(ours), to_text(theirs)) << vector.command;
    ++compared;
  }
  EXPECT_GE(compared, 50U);
}

// The other half of the proof: bytes that come back right could still have been read wrong twice.
TEST(Requests, mean_what_their_commands_say) {
  const auto vectors = by_name("requests");
  std::set<std::string> told;
  for (const auto& [name, text] : load_lines("meanings.txt")) {
    ASSERT_TRUE(vectors.contains(name)) << name;
    EXPECT_EQ(tc::to_text(decoded(vectors.at(name)).rule), text) << vectors.at(name).command;
    told.insert(name);
  }
  for (const auto& [name, vector] : vectors) {
    EXPECT_TRUE(!is_add(vector) || told.contains(name)) << "meanings.txt lacks\n"
                                                        << name << ": " << tc::to_text(decoded(vector).rule);
  }
}

TEST(Requests, there_is_a_vector_for_every_key_and_every_action) {
  std::set<tc::Key> keys = {tc::Key::hash};  // not in this iproute2
  std::set<size_t> actions;
  for (const Vector& vector : load_vectors("requests")) {
    if (!is_add(vector) || is_foreign(vector)) continue;
    const DecodedFilter filter = decoded(vector);
    for (const tc::KeyMatch& key : filter.rule.spec.match.keys()) keys.insert(key.key);
    for (const Action& action : filter.rule.spec.actions) actions.insert(action.kind.index());
  }
  EXPECT_EQ(keys.size(), tc::kKeyCount);
  EXPECT_EQ(actions.size(), std::variant_size_v<tc::ActionKind> - 1) << "all but UnknownAction";
}

TEST(Requests, a_legacy_pedit_is_the_extended_one_relative_to_the_network_header) {
  const DecodedFilter filter = decoded(by_name("requests").at("pedit-legacy"));
  EXPECT_EQ(std::get<tc::Pedit>(filter.rule.spec.actions.at(0).kind).keys.at(0),
            (tc::PeditKey{tc::PeditKey::Header::network, tc::PeditKey::Command::set, 12, 0xc0000201, 0xffffffff}));
}

TEST(Requests, the_cookie_is_found_where_iproute2_puts_it) {
  const DecodedFilter filter = decoded(by_name("requests").at("cookie"));
  EXPECT_EQ(filter.state.cookie, (tc::Cookie{1, 0x1234, Zone(0x5678), 0x0123456789abcdefULL}));
}

// Deleting and asking name the same place; iproute2 adds options that the kernel does not read there, and asks with
// echo.
TEST(Requests, delete_get_and_dump_are_those_of_iproute2) {
  const auto vectors = by_name("requests");
  const tc::RuleId id{IfIndex(1), 0x2000064, 0x1234, tc::kEthIpv4, 0x12345};
  const auto same = [&](const std::string& name, const std::vector<uint8_t>& bytes) {
    Node theirs = parse_tree(vectors.at(name).bytes);
    theirs.remove(TCA_OPTIONS);
    if (name != "dump" && name != "dump-terse") clear_flags(theirs, NLM_F_ACK | NLM_F_ECHO);
    EXPECT_EQ(to_text(parse_tree(bytes)), to_text(theirs)) << vectors.at(name).command;
  };
  std::vector<uint8_t> bytes;
  ASSERT_TRUE(tc::encode_delete(bytes, id));
  same("delete", bytes);
  bytes.clear();
  ASSERT_TRUE(tc::encode_get(bytes, id));
  same("get", bytes);
  bytes.clear();
  ASSERT_TRUE(tc::encode_dump(bytes, IfIndex(1), std::nullopt, false));
  same("dump", bytes);
  bytes.clear();
  ASSERT_TRUE(tc::encode_dump(bytes, IfIndex(1), 0x2000064, true));
  same("dump-terse", bytes);
  bytes.clear();
  ASSERT_TRUE(tc::encode_clsact_add(bytes, IfIndex(0x1234)));
  same("clsact-add", bytes);
  bytes.clear();
  ASSERT_TRUE(tc::encode_clsact_delete(bytes, IfIndex(0x1234)));
  same("clsact-delete", bytes);
}

TEST(Requests, foreign_filters_are_read_as_far_as_they_are_known) {
  const auto vectors = by_name("requests");
  const DecodedFilter matchall = decoded(vectors.at("foreign-matchall"));
  EXPECT_EQ(matchall.kind, "matchall");
  EXPECT_EQ(matchall.rule.id, (tc::RuleId{IfIndex(1), 1, 0x1234, tc::kEthAll, 0x12345}));
  EXPECT_EQ(matchall.rule.spec, tc::RuleSpec{});

  const DecodedFilter options = decoded(vectors.at("foreign-options"));
  EXPECT_EQ(options.kind, "flower");
  EXPECT_EQ(tc::to_text(options.rule.spec),
            "vlan_id 291 vlan_ethtype 802.1Q eth_type 802.1Q action sample (not shown) action gact (not shown)");
  // indev, cvlan_id, enc_tos and its mask; the gact's probability.
  EXPECT_EQ(options.state.unknown_attributes, 5U);
}

}  // namespace
}  // namespace sepal::wire
