// iproute2's requests about actions as objects of their own against ours.
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cstring>
#include <map>

#include "tc/codec/action_object.hpp"
#include "tests/wire/vector.hpp"

namespace sepal::wire {
namespace {

using tc::ActionObject;

std::map<std::string, Vector> vectors() {
  std::map<std::string, Vector> out;
  for (Vector& vector : load_vectors("actions")) out.emplace(vector.name, vector);
  return out;
}

ActionObject decoded(const std::vector<uint8_t>& bytes) {
  std::vector<ActionObject> objects;
  auto read = tc::decode_actions_message(bytes, [&](const ActionObject& object) { objects.push_back(object); });
  EXPECT_TRUE(read) << read.error().message();
  EXPECT_EQ(objects.size(), 1U);
  return objects.empty() ? ActionObject{} : objects.front();
}

// All but the length, and NLM_F_ACK, which the transport sets here.
std::string text(std::vector<uint8_t> bytes) {
  bytes[offsetof(nlmsghdr, nlmsg_flags)] &= static_cast<uint8_t>(~NLM_F_ACK);
  return to_text(parse_action_tree(bytes));
}

TEST(ActionRequests, encoding_what_a_request_of_iproute2_means_gives_its_bytes_again) {
  const auto known = vectors();
  for (const char* name : {"pedit", "csum", "tunnel-key"}) {
    const Vector& vector = known.at(name);
    const bool replace = vector.command.find(" replace ") != std::string::npos;
    std::vector<uint8_t> ours;
    ASSERT_TRUE(
        tc::encode_action_add(ours, decoded(vector.bytes), replace ? tc::AddMode::replace : tc::AddMode::create));
    EXPECT_EQ(text(ours), text(vector.bytes)) << vector.command;
  }
  std::vector<uint8_t> ours;
  ASSERT_TRUE(tc::encode_action_delete(ours, "csum", 0x40000002));
  EXPECT_EQ(text(ours), text(known.at("delete").bytes));
}

TEST(ActionRequests, mean_what_their_commands_say) {
  const auto known = vectors();
  const auto told = [&](const char* name) {
    const ActionObject object = decoded(known.at(name).bytes);
    return tc::to_text(tc::Action{object.action.kind}) + (object.action.skip_hw ? " skip_hw " : " ") +
           std::to_string(object.index);
  };
  EXPECT_EQ(told("csum"), "action csum ip4h 1073741826");
  EXPECT_EQ(told("pedit"),
            "action pedit ex munge eth dst set 02:11:22:33:44:55 munge eth src set 02:66:77:88:99:aa munge ip ttl add "
            "255 1073741825");
  EXPECT_EQ(told("tunnel-key"),
            "action tunnel_key set src_ip 192.0.2.1 dst_ip 198.51.100.2 id 1193046 dst_port 4789 nocsum skip_hw "
            "1073741827");
  EXPECT_EQ(decoded(known.at("csum").bytes).cookie, (tc::Cookie{1, 0x1234, Zone(0), 0x0123456789abcdefULL}));
}

// What a filter says of a shared action is what `action KIND … index N` says there, and no cookie.
TEST(ActionRequests, a_reference_is_the_object_without_cookie_and_flags) {
  const auto known = vectors();
  for (const char* name : {"pedit", "csum", "tunnel-key"}) {
    ActionObject object = decoded(known.at(name).bytes);
    auto reference = tc::encode_reference(object.action, object.index);
    ASSERT_TRUE(reference);
    object.cookie.reset();
    object.action.skip_hw = false;
    std::vector<uint8_t> request;
    ASSERT_TRUE(tc::encode_action_add(request, object, tc::AddMode::create));
    ASSERT_GT(request.size(), reference->size());
    EXPECT_TRUE(std::equal(reference->rbegin(), reference->rend(), request.rbegin())) << name;
  }
}

TEST(ActionRequests, an_object_that_cannot_be_is_refused) {
  std::vector<uint8_t> bytes;
  EXPECT_FALSE(tc::encode_action_add(bytes, {{tc::Pedit{}}, 5, {}}, tc::AddMode::create));
  EXPECT_FALSE(tc::encode_action_add(bytes, {{tc::Csum{1}}, 0, {}}, tc::AddMode::create))
      << "the number is ours to choose";
  EXPECT_FALSE(tc::encode_reference({tc::Pedit{}}, 5));
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace sepal::wire
