#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "tc/rule/build.hpp"
#include "tc/rule/rule.hpp"
#include "tc/rule/xxh64.hpp"

namespace sepal::tc {
namespace {

uint64_t xxh64(std::string_view text) {
  Xxh64 hash;
  hash.update(text.data(), text.size());
  return hash.digest();
}

std::string counting(int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(i);
  return out;
}

// Values of libxxhash 0.8.1: XXH64(data, size, 0).
TEST(Xxh64, agrees_with_the_reference_at_every_tail_length) {
  EXPECT_EQ(xxh64(""), 0xef46db3751d8e999U);
  EXPECT_EQ(xxh64("a"), 0xd24ec4f1a98c6e5bU);
  EXPECT_EQ(xxh64("abc"), 0x44bc2cf5ad770999U);
  EXPECT_EQ(xxh64("sepal"), 0x02e0cbd190ac3cf3U);
  EXPECT_EQ(xxh64(counting(31)), 0xc346d2b59b4d8ee1U);
  EXPECT_EQ(xxh64(counting(32)), 0xcbf59c5116ff32b4U);
  EXPECT_EQ(xxh64(counting(101)), 0xe99038495f85381eU);
  EXPECT_EQ(xxh64(counting(256)), 0x1facbe8406cd904bU);
}

TEST(Xxh64, does_not_depend_on_how_the_input_is_cut) {
  const std::string text = counting(101);
  for (size_t step = 1; step < 40; ++step) {
    Xxh64 hash;
    for (size_t at = 0; at < text.size(); at += step) {
      hash.update(text.data() + at, std::min(step, text.size() - at));
    }
    EXPECT_EQ(hash.digest(), 0xe99038495f85381eU) << step;
  }
}

// One rule with everything in it.
RuleSpec full_spec() {
  RuleSpec spec;
  spec.match.eth_type(kEthIpv4).ip(Key::dst_ip4, *IpPrefix::parse("192.0.2.0/24")).ct_state(kCtTrk | kCtEst, kCtRpl);
  Ct ct;
  ct.zone = Zone(0x1234);
  ct.commit = true;
  ct.nat = true;
  ct.direction = Ct::Direction::src;
  ct.nat_first = ct.nat_last = *IpAddr::parse("203.0.113.7");
  ct.nat_ports = PortRange{1024, 2047};
  ct.mark = ct.mark_mask = 1;
  TunnelSet tunnel{*IpAddr::parse("2001:db8::1"), *IpAddr::parse("2001:db8::2"), 0x123456, 4789, 1, 64, false};
  spec.actions = {
      rewrite_macs_and_ttl(*MacAddr::parse("02:00:00:00:00:0a"), *MacAddr::parse("02:00:00:00:00:0b"), Family::ipv4),
      csum(kCsumIpv4Header),
      {ct},
      {tunnel},
      tunnel_unset(),
      vlan_push(Vid(291)),
      police_packets(1000, 50),
      {SkbeditMark{5, 0xff}},
      bpf("sepal_neigh", {1, 2, 3, 4, 5, 6, 7, 8}, Control::drop),
      redirect(IfIndex(7)),
      goto_chain(0x2000064)};
  return spec;
}

// These numbers stand in the cookies and handles of kernels out there: a release that changes them rewrites every rule
// once. If that is meant, raise Cookie::kLayout and only then change them here.
TEST(ContentHash, is_the_same_on_every_machine_and_in_every_release) {
  EXPECT_EQ(content_hash(RuleSpec{}, kEthAll), 16777591370474936489U);
  EXPECT_EQ(content_hash(full_spec(), kEthAll), 17683185762693917169U);
  EXPECT_EQ(match_handle(full_spec().match), 1582179861U);
  EXPECT_EQ(instance_hash("default"), 13918U);
}

TEST(ContentHash, does_not_see_whether_and_by_which_number_an_action_is_shared) {
  RuleSpec shared = full_spec();
  shared.actions[0].shared = true;
  shared.actions[0].index = 0x40000001;
  EXPECT_EQ(content_hash(shared, kEthAll), content_hash(full_spec(), kEthAll));
  EXPECT_EQ(shared, full_spec());
}

TEST(ContentHash, of_a_shared_action_changes_with_its_content_and_its_place_in_or_out_of_hardware) {
  const ActionKind kind = csum(kCsumIpv4Header).kind;
  const std::set<uint64_t> seen = {content_hash(SharedAction{kind, false}), content_hash(SharedAction{kind, true}),
                                   content_hash(SharedAction{csum(kCsumTcp).kind, false}),
                                   content_hash(SharedAction{tunnel_unset().kind, false})};
  EXPECT_EQ(seen.size(), 4U);
  EXPECT_EQ(content_hash(SharedAction{kind, false}), 2282150178957540476U)
      << "stands in kernels out there, as those of rules do";
}

TEST(ContentHash, changes_with_each_member_of_a_rule) {
  const RuleSpec base = full_spec();
  std::set<uint64_t> seen = {content_hash(base, kEthAll), content_hash(base, kEthIpv4)};
  size_t variants = 2;
  const auto changed = [&](size_t action, const std::function<void(Action&)>& change) {
    RuleSpec spec = base;
    change(spec.actions[action]);
    ASSERT_NE(spec, base);
    seen.insert(content_hash(spec, kEthAll));
    ++variants;
    EXPECT_EQ(seen.size(), variants) << to_text(spec.actions[action]);
  };
  const auto spec_changed = [&](const std::function<void(RuleSpec&)>& change) {
    RuleSpec spec = base;
    change(spec);
    seen.insert(content_hash(spec, kEthAll));
    ++variants;
    EXPECT_EQ(seen.size(), variants) << to_text(spec);
  };
  spec_changed([](RuleSpec& s) { s.skip_hw = true; });
  spec_changed([](RuleSpec& s) { s.match.set(Key::ct_zone, 0); });
  spec_changed([](RuleSpec& s) { s.match.ip(Key::dst_ip4, *IpPrefix::parse("192.0.2.0/25")); });
  spec_changed([](RuleSpec& s) { std::swap(s.actions[0], s.actions[1]); });
  spec_changed([](RuleSpec& s) { s.actions.pop_back(); });

  changed(0, [](Action& a) { a.unusual_verdict = Verdict{Control::pass, 0}; });
  changed(0, [](Action& a) { std::get<Pedit>(a.kind).keys[0].header = PeditKey::Header::ip4; });
  changed(0, [](Action& a) { std::get<Pedit>(a.kind).keys[0].command = PeditKey::Command::add; });
  changed(0, [](Action& a) { std::get<Pedit>(a.kind).keys[0].offset = 12; });
  changed(0, [](Action& a) { std::get<Pedit>(a.kind).keys[0].value = 12; });
  changed(0, [](Action& a) { std::get<Pedit>(a.kind).keys[0].mask = 12; });
  changed(0, [](Action& a) { std::get<Pedit>(a.kind).keys.pop_back(); });
  changed(1, [](Action& a) { std::get<Csum>(a.kind).flags = kCsumTcp; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).zone = Zone(0x1235); });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).commit = false; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).force = true; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).clear = true; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).nat = false; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).direction = Ct::Direction::dst; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).nat_first.reset(); });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).nat_last = *IpAddr::parse("203.0.113.8"); });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).nat_ports = PortRange{1024, 2048}; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).nat_ports.reset(); });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).mark = 2; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).mark_mask = 3; });
  changed(2, [](Action& a) { std::get<Ct>(a.kind).verdict = {Control::goto_chain, 9}; });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).source = *IpAddr::parse("2001:db8::3"); });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).destination = *IpAddr::parse("2001:db8::3"); });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).key_id = 1; });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).dst_port = 1; });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).tos = 2; });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).ttl = 2; });
  changed(3, [](Action& a) { std::get<TunnelSet>(a.kind).checksum = true; });
  changed(5, [](Action& a) { std::get<VlanAction>(a.kind).kind = VlanAction::Kind::modify; });
  changed(5, [](Action& a) { std::get<VlanAction>(a.kind).id = Vid(1); });
  changed(5, [](Action& a) { std::get<VlanAction>(a.kind).protocol = kEthQinq; });
  changed(5, [](Action& a) { std::get<VlanAction>(a.kind).priority = 1; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).rate_packets_per_second = 1; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).burst_packets = 1; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).rate_bytes_per_second = 1; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).burst_bytes = 1; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).exceed = {Control::pass, 0}; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).mtu = 1514; });
  changed(6, [](Action& a) { std::get<Police>(a.kind).conform = {Control::pass, 0}; });
  changed(7, [](Action& a) { std::get<SkbeditMark>(a.kind).mark = 6; });
  changed(7, [](Action& a) { std::get<SkbeditMark>(a.kind).mask = 6; });
  changed(8, [](Action& a) { std::get<Bpf>(a.kind).name = "sepal_slice"; });
  changed(8, [](Action& a) { std::get<Bpf>(a.kind).tag[7] = 9; });
  changed(8, [](Action& a) { std::get<Bpf>(a.kind).verdict = {Control::pass, 0}; });
  changed(9, [](Action& a) { std::get<Mirred>(a.kind).device = IfIndex(8); });
  changed(9, [](Action& a) { std::get<Mirred>(a.kind).mirror = true; });
  changed(9, [](Action& a) { std::get<Mirred>(a.kind).ingress = true; });
  changed(10, [](Action& a) { std::get<Gact>(a.kind).verdict.chain = 1; });
  changed(10, [](Action& a) { std::get<Gact>(a.kind).verdict.control = Control::pass; });
}

TEST(MatchHandle, is_a_handle_the_kernel_takes_and_depends_on_the_match_alone) {
  std::set<uint32_t> seen;
  for (uint32_t i = 0; i < 10'000; ++i) {
    const uint32_t handle = match_handle(Match().set(Key::ct_mark, i));
    EXPECT_GE(handle, 1U);
    EXPECT_LE(handle, 0x7fffffffU);
    seen.insert(handle);
  }
  EXPECT_GT(seen.size(), 9'990U);
  EXPECT_NE(match_handle(Match().set(Key::ct_mark, 1, 0xff)), match_handle(Match().set(Key::ct_mark, 1, 0xfff)));
  EXPECT_NE(match_handle(Match().set(Key::ct_mark, 1)), match_handle(Match().set(Key::hash, 1)));
}

TEST(InstanceHash, tells_names_apart) { EXPECT_NE(instance_hash("default"), instance_hash("lab-a")); }

}  // namespace
}  // namespace sepal::tc
