// Compiled rules in tc's own words: exactly what tc reads.
#include "tests/bench/tc_text.hpp"

#include <gtest/gtest.h>

#include "tc/rule/build.hpp"

namespace sepal::bench {
namespace {

using tc::Control;

const TcWords kPlain{{{IfIndex(7), "web"}, {IfIndex(8), "app"}}, "/pins/%s", false};

std::string said(tc::Match match, std::vector<tc::Action> actions, bool skip_hw = false,
                 const TcWords& words = kPlain) {
  tc::CompiledRule rule;
  rule.rule.id = {IfIndex(7), 5, 2, tc::kEthIpv4, 0x1f};
  rule.rule.spec = {std::move(match), std::move(actions), skip_hw};
  return tc_batch({&rule}, words);
}

std::string line(const std::string& rest) {
  return "filter add dev web ingress chain 5 protocol ip prio 7 handle 0x1f flower" + rest + "\n";
}

TEST(TcText, a_routes_rule) {
  const MacAddr from = *MacAddr::parse("02:00:00:00:00:01");
  const MacAddr to = *MacAddr::parse("02:00:00:00:00:02");
  EXPECT_EQ(
      said(tc::Match().ip(tc::Key::dst_ip4, *IpPrefix::parse("10.1.0.0/16")),
           {tc::rewrite_macs_and_ttl(from, to, Family::ipv4), tc::csum(tc::kCsumIpv4Header), tc::redirect(IfIndex(8))}),
      line(" dst_ip 10.1.0.0/16 action pedit ex munge eth dst set 02:00:00:00:00:02 munge eth src set "
           "02:00:00:00:00:01 munge ip ttl add 255 pipe action csum ip4h action mirred egress redirect dev app"));
}

TEST(TcText, what_fits_what_is_too_big_and_what_comes_too_often) {
  EXPECT_EQ(said({}, {tc::police_fits(1564), tc::goto_chain(9)}, true),
            line(" skip_hw action police mtu 1564 conform-exceed continue/pipe action gact goto chain 9"));
  EXPECT_EQ(said({}, {tc::police_size(1564), tc::drop()}),
            line(" action police mtu 1564 conform-exceed pipe/continue action gact drop"));
  EXPECT_EQ(said({}, {tc::police_packets(200, 300), tc::drop()}),
            line(" action police pkts_rate 200 pkts_burst 300 conform-exceed drop/pipe action gact drop"));
}

TEST(TcText, what_a_program_answers) {
  EXPECT_EQ(said({}, {tc::set_mark(5), tc::bpf("judge", {}, Control::next_rule), tc::csum(tc::kCsumIcmp), tc::taken()}),
            line(" action skbedit mark 5 action bpf object-pinned /pins/judge continue action csum icmp "
                 "action gact drop"));
}

TEST(TcText, the_cookie_stands_on_the_last_action_and_no_action_counts_per_cpu) {
  TcWords words = kPlain;
  words.cookies = true;
  const std::string text = said({}, {tc::set_mark(0), tc::drop()}, false, words);
  EXPECT_TRUE(text.starts_with(line("").substr(0, line("").size() - 1) +
                               " action skbedit mark 0 no_percpu action gact drop cookie "))
      << text;
  EXPECT_TRUE(text.ends_with(" no_percpu\n")) << text;
}

}  // namespace
}  // namespace sepal::bench
