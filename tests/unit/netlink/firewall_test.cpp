#include "netlink/firewall.hpp"

#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>
#include <functional>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

constexpr uint16_t kPort = 4789;
using Put = std::function<void(MessageBuilder&)>;

// What nftables would answer to the two dumps.
class Tables : public Transport {
 public:
  int refusal = 0;

  void chain(uint8_t family, const char* table, const char* name, std::optional<uint32_t> hook, uint32_t policy) {
    message(
        chains_, NFT_MSG_NEWCHAIN, family,
        [&](MessageBuilder& m) {
          m.put_string(NFTA_CHAIN_TABLE, table);
          m.put_string(NFTA_CHAIN_NAME, name);
          if (!hook) return;
          auto nest = m.nest(NFTA_CHAIN_HOOK);
          m.put_be32(NFTA_HOOK_HOOKNUM, *hook);
          m.put_be32(NFTA_HOOK_PRIORITY, 0);
        },
        policy);
  }
  void rule(uint8_t family, const char* table, const std::vector<std::pair<const char*, Put>>& expressions) {
    message(rules_, NFT_MSG_NEWRULE, family, [&](MessageBuilder& m) {
      m.put_string(NFTA_RULE_TABLE, table);
      m.put_string(NFTA_RULE_CHAIN, "elsewhere");
      auto list = m.nest(NFTA_RULE_EXPRESSIONS);
      for (const auto& [name, data] : expressions) {
        auto element = m.nest(NFTA_LIST_ELEM);
        m.put_string(NFTA_EXPR_NAME, name);
        auto nest = m.nest(NFTA_EXPR_DATA);
        data(m);
      }
    });
  }

  Result<void> transact(Bytes&, const std::function<void(size_t, const Answer&)>&) override { return {}; }
  Result<void> get(Bytes, const MessageSink&) override { return {}; }
  Result<void> dump(Bytes request, const MessageSink& sink) override {
    if (refusal != 0) return fail_errno(refusal, "");
    const unsigned type = read_nlmsghdr(request)->nlmsg_type & 0xffU;
    for (const Bytes& bytes : type == NFT_MSG_GETCHAIN ? chains_ : rules_)
      if (auto taken = sink(bytes); !taken) return taken;
    return {};
  }
  [[nodiscard]] uint64_t writes() const override { return 0; }

 private:
  static void message(std::vector<Bytes>& out, uint8_t type, uint8_t family, const Put& put,
                      std::optional<uint32_t> policy = {}) {
    nfgenmsg header{};
    header.nfgen_family = family;
    MessageBuilder built(out.emplace_back(), static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8U | type), NLM_F_MULTI,
                         header);
    put(built);
    if (policy) built.put_be32(NFTA_CHAIN_POLICY, *policy);
    (void)built.finish();
  }
  std::vector<Bytes> chains_;
  std::vector<Bytes> rules_;
};

std::pair<const char*, Put> compare(uint16_t port) {
  return {"cmp", [port](MessageBuilder& m) {
            m.put_be32(NFTA_CMP_OP, NFT_CMP_EQ);
            auto nest = m.nest(NFTA_CMP_DATA);
            m.put_be16(NFTA_DATA_VALUE, port);
          }};
}
std::pair<const char*, Put> verdict(uint32_t code) {
  return {"immediate", [code](MessageBuilder& m) {
            auto data = m.nest(NFTA_IMMEDIATE_DATA);
            auto nest = m.nest(NFTA_DATA_VERDICT);
            m.put_be32(NFTA_VERDICT_CODE, code);
          }};
}
std::pair<const char*, Put> udp_match(uint16_t first, uint16_t last) {
  return {"match", [first, last](MessageBuilder& m) {
            m.put_string(NFTA_MATCH_NAME, "udp");
            uint8_t info[10] = {0, 0, 0xff, 0xff};
            std::memcpy(info + 4, &first, 2);
            std::memcpy(info + 6, &last, 2);
            m.put_bytes(NFTA_MATCH_INFO, info, sizeof info);
          }};
}

TEST(Firewall, base_chains_say_their_hook_and_policy_and_others_are_left_out) {
  Tables tables;
  tables.chain(NFPROTO_INET, "filter", "input", NF_INET_LOCAL_IN, NF_DROP);
  tables.chain(NFPROTO_INET, "filter", "elsewhere", {}, NF_ACCEPT);
  tables.chain(NFPROTO_IPV4, "raw", "PREROUTING", NF_INET_PRE_ROUTING, NF_ACCEPT);
  tables.chain(NFPROTO_ARP, "arp", "input", 0, NF_DROP);
  const auto chains = list_firewall(tables, kPort);
  ASSERT_TRUE(chains) << chains.error().message();
  ASSERT_EQ(chains->size(), 2U);
  EXPECT_EQ((*chains)[0],
            (FirewallChain{"inet", "filter", "input", FirewallChain::Hook::input, true, false, false, false}));
  EXPECT_EQ((*chains)[1],
            (FirewallChain{"ip", "raw", "PREROUTING", FirewallChain::Hook::prerouting, false, false, false, false}));
}

FirewallChain with_rule(const std::vector<std::pair<const char*, Put>>& expressions) {
  Tables tables;
  tables.chain(NFPROTO_INET, "filter", "input", NF_INET_LOCAL_IN, NF_DROP);
  tables.rule(NFPROTO_INET, "filter", expressions);
  const auto chains = list_firewall(tables, kPort);
  EXPECT_TRUE(chains && chains->size() == 1);
  return chains && !chains->empty() ? chains->front() : FirewallChain{};
}

TEST(Firewall, a_rule_that_names_the_port_and_accepts_or_drops_is_seen) {
  EXPECT_TRUE(with_rule({compare(kPort), verdict(NF_ACCEPT)}).accepts_port);
  EXPECT_TRUE(with_rule({compare(kPort), verdict(NF_DROP)}).drops_port);
  EXPECT_TRUE(with_rule({compare(kPort), {"reject", [](MessageBuilder&) {}}}).drops_port);
  EXPECT_TRUE(with_rule({udp_match(4000, 5000), verdict(NF_ACCEPT)}).accepts_port);
}

TEST(Firewall, a_rule_about_something_else_is_not_taken_for_one) {
  const FirewallChain nothing{"inet", "filter", "input", FirewallChain::Hook::input, true, false, false, false};
  EXPECT_EQ(with_rule({compare(22), verdict(NF_ACCEPT)}), nothing);
  EXPECT_EQ(with_rule({verdict(NF_ACCEPT)}), nothing);
  EXPECT_EQ(with_rule({compare(kPort), {"counter", [](MessageBuilder&) {}}}), nothing);
  EXPECT_EQ(with_rule({udp_match(0, 0xffff), verdict(NF_ACCEPT)}), nothing) << "any UDP packet is not this port";
  EXPECT_EQ(with_rule({udp_match(5000, 6000), verdict(NF_ACCEPT)}), nothing);
}

TEST(Firewall, a_set_that_may_hold_the_port_is_told) {
  EXPECT_TRUE(with_rule({{"lookup", [](MessageBuilder&) {}}, verdict(NF_ACCEPT)}).decides_by_set);
}

TEST(Firewall, a_rule_of_another_table_does_not_count) {
  Tables tables;
  tables.chain(NFPROTO_INET, "filter", "input", NF_INET_LOCAL_IN, NF_DROP);
  tables.rule(NFPROTO_IPV4, "filter", {compare(kPort), verdict(NF_ACCEPT)});
  EXPECT_FALSE(list_firewall(tables, kPort)->front().accepts_port);
}

TEST(Firewall, a_kernel_without_nftables_has_no_chains_and_other_refusals_are_errors) {
  Tables tables;
  tables.refusal = EINVAL;
  EXPECT_EQ(list_firewall(tables, kPort)->size(), 0U);
  tables.refusal = EPERM;
  EXPECT_FALSE(list_firewall(tables, kPort));
}

}  // namespace
}  // namespace sepal::netlink
