// A kernel's replies: the dump of a filter that iproute2 installed means what the request meant.
#include <gtest/gtest.h>

#include <map>

#include "tc/codec/flower.hpp"
#include "tc/codec/terse.hpp"
#include "tests/wire/vector.hpp"

namespace sepal::wire {
namespace {

std::map<std::string, Vector> by_name(const std::string& folder) {
  std::map<std::string, Vector> out;
  for (Vector& vector : load_vectors(folder)) out.emplace(vector.name, vector);
  return out;
}

tc::DecodedFilter decoded(const Vector& vector) {
  auto filter = tc::decode_filter(vector.bytes);
  EXPECT_TRUE(filter) << vector.name << ": " << filter.error().message();
  return filter ? *filter : tc::DecodedFilter{};
}

TEST(Replies, a_kernel_s_dump_means_what_the_request_meant) {
  const auto requests = by_name("requests");
  size_t compared = 0;
  for (const auto& [name, vector] : by_name("replies")) {
    if (name == "cookie-terse") continue;
    tc::DecodedFilter wanted = decoded(requests.at(name));
    tc::DecodedFilter reply = decoded(vector);
    EXPECT_FALSE(reply.is_head());
    EXPECT_EQ(reply.kind, wanted.kind);
    // Replies are captured side by side, each in a chain of its own.
    EXPECT_GE(reply.rule.id.chain, 1000U);
    wanted.rule.id.chain = reply.rule.id.chain;
    for (size_t i = 0; i < wanted.rule.spec.actions.size() && i < reply.rule.spec.actions.size(); ++i) {
      tc::Action& theirs = reply.rule.spec.actions[i];
      // iproute2 does not mark own actions, so what the kernel numbered looks shared; and only a reply knows a tag.
      if (wanted.rule.spec.actions[i].index == 0) theirs.index = 0;
      if (auto* bpf = std::get_if<tc::Bpf>(&theirs.kind)) {
        EXPECT_NE(bpf->tag, tc::Bpf{}.tag);
        bpf->tag = {};
      }
    }
    EXPECT_EQ(tc::to_text(reply.rule), tc::to_text(wanted.rule)) << vector.command;
    EXPECT_EQ(reply.rule, wanted.rule) << vector.command;
    EXPECT_EQ(reply.state.cookie, wanted.state.cookie) << vector.command;
    EXPECT_EQ(reply.state.unknown_attributes, wanted.state.unknown_attributes) << vector.command;
    EXPECT_EQ(reply.state.skip_hw, wanted.rule.spec.skip_hw);
    EXPECT_FALSE(reply.state.in_hw);
    EXPECT_EQ(reply.state.stats.size(), wanted.rule.spec.actions.size());
    ++compared;
  }
  EXPECT_GE(compared, 55U);
}

TEST(Replies, own_actions_are_told_from_shared_ones_by_their_flag) {
  const auto replies = by_name("replies");
  const tc::DecodedFilter marked = decoded(replies.at("cookie"));
  for (const tc::Action& action : marked.rule.spec.actions) EXPECT_EQ(action.index, 0U);
  EXPECT_EQ(decoded(replies.at("shared")).rule.spec.actions.at(0).index, 0x1234U);
}

TEST(Replies, a_terse_dump_is_enough_to_know_a_filter_of_ours) {
  const auto replies = by_name("replies");
  const tc::DecodedFilter full = decoded(replies.at("cookie"));
  const tc::DecodedFilter terse = decoded(replies.at("cookie-terse"));
  EXPECT_EQ(terse.rule.id, full.rule.id);
  EXPECT_EQ(terse.state.cookie, (tc::Cookie{1, 0x1234, Zone(0x5678), 0x0123456789abcdefULL}));
  for (const char* name : {"cookie", "cookie-terse"}) {
    const auto place = tc::decode_terse(replies.at(name).bytes);
    ASSERT_TRUE(place) << place.error().message();
    EXPECT_EQ(place->id, full.rule.id);
    EXPECT_EQ(place->cookie, full.state.cookie);
  }
  EXPECT_EQ(terse.state.stats, full.state.stats);
  EXPECT_TRUE(terse.rule.spec.match.empty());
  EXPECT_EQ(terse.rule.spec.actions,
            (std::vector<tc::Action>{{tc::UnknownAction{"vlan"}}, {tc::UnknownAction{"gact"}}}));
}

}  // namespace
}  // namespace sepal::wire
