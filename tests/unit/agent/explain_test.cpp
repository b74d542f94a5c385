// explain over a kernel in memory: the words it takes, the way it tells, and that it notices a kernel that differs.
#include "agent/explain.hpp"

#include "agent/question.hpp"
#include "tests/unit/agent/world_fixture.hpp"

namespace sepal::agent {
namespace {

class ExplainTest : public AgentTest {
 protected:
  ExplainTest() {
    slow_path_.loaded = {
        {"sepal_neigh", {}}, {"sepal_slice", {}}, {"sepal_policy", {}}, {"sepal_icmp", {}}, {"sepal_question", {}}};
    config_ = usual_config();
    apply(config_);
    auto ground = survey(kernel_of_test_, config_, paths_);
    EXPECT_TRUE(ground) << ground.error().message();
    ground_ = std::move(*ground);
  }

  Result<Question> ask(const std::vector<std::string>& words, const std::vector<std::string>& more = {}) {
    auto options = Options::parse(more, {{"--frame", true}, {"--vni", true}, {"--vlan", true}, {"--ttl", true}});
    EXPECT_TRUE(options);
    return read_question(words, *options, config_, ground_);
  }
  Explanation told(const std::vector<std::string>& words, const std::vector<std::string>& more = {}) {
    auto question = ask(words, more);
    EXPECT_TRUE(question) << question.error().message();
    auto explanation = explain(kernel_of_test_, config_, ground_, *question, paths_);
    EXPECT_TRUE(explanation) << explanation.error().message();
    return std::move(*explanation);
  }
  static std::vector<unsigned> groups(const Way& way) {
    std::vector<unsigned> groups;
    for (const Stop& stop : way.stops) groups.push_back(static_cast<unsigned>(tc::parse_chain(stop.chain).group));
    return groups;
  }

  config::Config config_;
  Kernel kernel_of_test_ = kernel();
  Ground ground_;
};

TEST_F(ExplainTest, a_first_packet_goes_through_group_7_and_an_established_one_does_not) {
  const Explanation told = this->told({"blue/web", "udp", "10.0.0.1", "10.0.0.3:80"});
  ASSERT_EQ(told.ways.size(), 2U);
  EXPECT_EQ(groups(told.ways[0]), (std::vector<unsigned>{0, 2, 7, 3, 4}));
  EXPECT_EQ(groups(told.ways[1]), (std::vector<unsigned>{0, 2, 3, 4}));
  EXPECT_EQ(told.ways[1].outcome.device, device_index("blue-app"));
  EXPECT_EQ(told.differences, 0U);
}

TEST_F(ExplainTest, tcp_within_the_tenants_subnets_begins_in_group_2) {
  const Explanation told = this->told({"blue/web", "tcp", "10.0.0.1", "10.0.0.3:80"});
  ASSERT_EQ(told.ways.size(), 2U);
  for (const Way& way : told.ways) EXPECT_EQ(groups(way), (std::vector<unsigned>{0, 2, 3, 4}));
  EXPECT_NE(told.ways[0].stops[1].rule, told.ways[1].stops[1].rule);
  EXPECT_EQ(told.ways[1].outcome.device, device_index("blue-app"));
  EXPECT_EQ(told.differences, 0U);
}

TEST_F(ExplainTest, a_spoofed_source_ends_in_group_0_with_its_reason) {
  const Explanation told = this->told({"blue/web", "udp", "10.0.0.99", "10.0.0.3:53"});
  ASSERT_EQ(told.ways.size(), 1U);
  EXPECT_EQ(told.ways[0].outcome.reason(), tc::DropReason::spoofed);
}

TEST_F(ExplainTest, every_software_rule_says_why) {
  const Explanation told = this->told({"blue/web", "tcp", "10.0.0.1", "10.0.0.3:80"});
  for (const Stop& stop : told.ways[0].stops) EXPECT_NE(stop.why, "") << tc::to_string(tc::parse_chain(stop.chain));
}

TEST_F(ExplainTest, a_rule_that_somebody_deleted_is_missing_on_the_way) {
  const uint32_t routes = tc::chain_number(tc::Lane::guest, tc::Group::encap, Vni(100));
  std::erase_if(kernel_.filters, [&](const auto& entry) { return entry.first.chain == routes; });
  const Explanation told = this->told({"blue/web", "tcp", "10.0.0.1", "10.0.0.3:80"});
  EXPECT_GT(told.differences, 0U);
  for (const Stop& stop : told.ways[0].stops) {
    const bool route = stop.chain == routes;
    EXPECT_EQ(stop.standing, route ? Standing::missing : Standing::as_wanted);
  }
}

TEST_F(ExplainTest, a_frame_in_hex_is_asked_about_as_it_is) {
  const std::string tagged =
      "02736570616c0200000001018100000a0800450000280001000040060000 0a0000010a000003 9c400050"
      "00000000000000005002200000000000";
  const Explanation told = this->told({"blue/web"}, {"--frame", tagged});
  EXPECT_EQ(told.ways.back().outcome.reason(), tc::DropReason::spoofed);
}

TEST_F(ExplainTest, each_wrong_word_has_an_answer) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"blue/nobody", "tcp", "10.0.0.1", "10.0.0.3:80"}, "no port 'blue/nobody'"},
      {{"blue/web", "gre4", "10.0.0.1", "10.0.0.3"}, "'gre4' is no protocol"},
      {{"blue/web", "tcp", "10.0.0.1", "10.0.0.3"}, "needs a destination port"},
      {{"blue/web", "icmp", "10.0.0.1", "10.0.0.3:80"}, "this protocol has no ports"},
      {{"blue/web", "tcp", "10.0.0.1:70000", "10.0.0.3:80"}, "a port is a number up to 65535"},
      {{"blue/web", "tcp", "10.0.0.1", "[fd00::3]:80"}, "are of two families"},
      {{"blue/web", "tcp", "ten", "10.0.0.3:80"}, "'ten' is no address"},
      {{"blue/web", "tcp", "10.0.0.1"}, "write explain TENANT/PORT"},
      {{"tunnel", "tcp", "10.0.0.2", "10.0.0.1:80"}, "add --vni N"},
  };
  for (const auto& [words, answer] : wrong) {
    const auto question = ask(words);
    ASSERT_FALSE(question) << answer;
    EXPECT_NE(question.error().message().find(answer), std::string::npos) << question.error().message();
  }
  const auto frame = ask({"blue/web"}, {"--frame", "02zz"});
  ASSERT_FALSE(frame);
  EXPECT_NE(frame.error().message().find("in hex"), std::string::npos);
}

}  // namespace
}  // namespace sepal::agent
