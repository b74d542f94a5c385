// Governed by linux/netfilter/nf_tables.h. A rule is read for three things only: a comparison with the port's two
// bytes, a look into a set, and a verdict. That errs where a rule compares something else with the same two bytes;
// whoever is warned looks himself.
#include "netlink/firewall.hpp"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <tuple>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

struct TableKey {
  uint8_t family = 0;
  std::string name;
  auto operator<=>(const TableKey&) const = default;
};

struct Said {  // by a rule, or by all of a table
  bool accepts = false;
  bool drops = false;
  bool by_set = false;
};

std::string_view family_name(uint8_t family) {
  switch (family) {
    case NFPROTO_INET: return "inet";
    case NFPROTO_IPV4: return "ip";
    case NFPROTO_IPV6: return "ip6";
    default: return {};
  }
}

std::string text_of(const AttrTable& table, uint16_t type) {
  const Attr* attr = table.find(type);
  return attr == nullptr ? std::string() : std::string(attr->string());
}

// What is inside the attribute of that type; empty when there is none.
AttrTable inside(const AttrTable& table, uint16_t type, uint16_t max) {
  const Attr* attr = table.find(type);
  auto nested = AttrTable::parse(attr == nullptr ? BytesView{} : attr->payload, max);
  return nested ? std::move(*nested) : *AttrTable::parse({}, max);
}

Result<void> dump_objects(Transport& netfilter, uint8_t message_type, uint16_t max,
                          const std::function<void()>& restart,
                          const std::function<void(uint8_t family, const AttrTable&)>& visit) {
  Bytes request;
  MessageBuilder message(request, static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8U | message_type),
                         NLM_F_REQUEST | NLM_F_DUMP, nfgenmsg{});
  if (auto built = message.finish(); !built) return built;
  return dump_whole(netfilter, request, restart, [&](BytesView reply) -> Result<void> {
    nfgenmsg header{};
    auto attributes = read_fixed_header(reply, header);
    if (!attributes) return Unexpected(attributes.error());
    auto table = AttrTable::parse(*attributes, max);
    if (!table) return Unexpected(table.error());
    visit(header.nfgen_family, *table);
    return {};
  });
}

// NFTA_CMP_DATA { NFTA_DATA_VALUE } against the port, NFTA_CMP_OP equal.
bool compares_with(const AttrTable& data, uint16_t port) {
  const AttrTable value = inside(data, NFTA_CMP_DATA, NFTA_DATA_MAX);
  const Attr* bytes = value.find(NFTA_DATA_VALUE);
  const Attr* op = data.find(NFTA_CMP_OP);
  return bytes != nullptr && bytes->payload.size() == sizeof port && bytes->be16() == port && op != nullptr &&
         op->be32() == NFT_CMP_EQ;
}

// An extension of iptables: struct xt_udp { __u16 spts[2], dpts[2]; __u8 invflags }, host order.
bool matches_udp(const AttrTable& data, uint16_t port) {
  const Attr* info = data.find(NFTA_MATCH_INFO);
  if (text_of(data, NFTA_MATCH_NAME) != "udp" || info == nullptr) return false;
  uint16_t ports[4];
  if (info->payload.size() <= sizeof ports) return false;
  std::memcpy(ports, info->payload.data(), sizeof ports);
  const bool any = ports[2] == 0 && ports[3] == 0xffff;
  return !any && info->payload[sizeof ports] == 0 && ports[2] <= port && port <= ports[3];
}

std::optional<uint32_t> verdict_of(const AttrTable& data) {
  const AttrTable value = inside(data, NFTA_IMMEDIATE_DATA, NFTA_DATA_MAX);
  const AttrTable verdict = inside(value, NFTA_DATA_VERDICT, NFTA_VERDICT_MAX);
  const Attr* code = verdict.find(NFTA_VERDICT_CODE);
  return code == nullptr ? std::nullopt : code->be32();
}

// NFTA_RULE_EXPRESSIONS { NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA } … }
Said read_rule(const AttrTable& rule, uint16_t port) {
  const Attr* expressions = rule.find(NFTA_RULE_EXPRESSIONS);
  bool names_port = false;
  bool looks_up = false;
  std::optional<uint32_t> verdict;
  bool rejects = false;
  (void)for_each_attr(expressions == nullptr ? BytesView{} : expressions->payload,
                      [&](const Attr& element) -> Result<void> {
                        auto expression = AttrTable::parse(element.payload, NFTA_EXPR_MAX);
                        if (!expression) return {};
                        const std::string name = text_of(*expression, NFTA_EXPR_NAME);
                        const auto data = [&](uint16_t max) { return inside(*expression, NFTA_EXPR_DATA, max); };
                        if (name == "cmp") names_port = names_port || compares_with(data(NFTA_CMP_MAX), port);
                        if (name == "match") names_port = names_port || matches_udp(data(NFTA_MATCH_MAX), port);
                        if (name == "lookup" || name == "range") looks_up = true;
                        if (name == "immediate") verdict = verdict_of(data(NFTA_IMMEDIATE_MAX));
                        if (name == "reject") rejects = true;
                        return {};
                      });
  const bool accepts = verdict == uint32_t{NF_ACCEPT};
  const bool drops = rejects || verdict == uint32_t{NF_DROP};
  return {names_port && accepts, names_port && drops, looks_up && (accepts || drops)};
}

FirewallChain::Hook hook_of(uint32_t number) {
  if (number == NF_INET_LOCAL_IN) return FirewallChain::Hook::input;
  if (number == NF_INET_PRE_ROUTING) return FirewallChain::Hook::prerouting;
  return FirewallChain::Hook::other;
}

}  // namespace

Result<std::vector<FirewallChain>> list_firewall(Transport& netfilter, uint16_t port) {
  std::vector<FirewallChain> chains;
  std::vector<TableKey> tables;  // of each chain
  auto listed = dump_objects(
      netfilter, NFT_MSG_GETCHAIN, NFTA_CHAIN_MAX,
      [&] {
        chains.clear();
        tables.clear();
      },
      [&](uint8_t family, const AttrTable& chain) {
        const Attr* number = nullptr;
        const AttrTable hook = inside(chain, NFTA_CHAIN_HOOK, NFTA_HOOK_MAX);
        number = hook.find(NFTA_HOOK_HOOKNUM);
        if (number == nullptr || family_name(family).empty()) return;  // no base chain, or none for IP
        const Attr* policy = chain.find(NFTA_CHAIN_POLICY);
        FirewallChain& found = chains.emplace_back();
        found.family = family_name(family);
        found.table = text_of(chain, NFTA_CHAIN_TABLE);
        found.name = text_of(chain, NFTA_CHAIN_NAME);
        found.hook = hook_of(number->be32().value_or(NF_INET_NUMHOOKS));
        found.policy_drop = policy != nullptr && policy->be32() == uint32_t{NF_DROP};
        tables.push_back({family, found.table});
      });
  // So says nfnetlink when nobody serves that subsystem.
  if (!listed && (listed.error().sys_errno == EINVAL || listed.error().code == Errc::unsupported))
    return std::vector<FirewallChain>();
  if (!listed) return Unexpected(while_doing(listed.error(), "list nftables chains"));

  std::map<TableKey, Said> said;
  auto read = dump_objects(
      netfilter, NFT_MSG_GETRULE, NFTA_RULE_MAX, [&said] { said.clear(); },
      [&](uint8_t family, const AttrTable& rule) {
        const Said one = read_rule(rule, port);
        Said& all = said[{family, text_of(rule, NFTA_RULE_TABLE)}];
        all = {all.accepts || one.accepts, all.drops || one.drops, all.by_set || one.by_set};
      });
  if (!read) return Unexpected(while_doing(read.error(), "list nftables rules"));
  for (size_t i = 0; i < chains.size(); ++i) {
    const Said all = said[tables[i]];
    chains[i].accepts_port = all.accepts;
    chains[i].drops_port = all.drops;
    chains[i].decides_by_set = all.by_set;
  }
  return chains;
}

}  // namespace sepal::netlink
